"""A stage that workers do gives the same bytes as one process; here the workers are in this process."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from pure_cli import Workspace
from pure_cli.config import read_config, stage_options
from pure_cli.core.parts import Part
from pure_cli.engines import ray as ray_engine
from pure_cli.engines.devices import Device
from pure_cli.engines.rounds import Told
from pure_cli.engines.worker import FOLDER, Done, Refused, Worker, remove_left
from pure_cli.errors import PureError, PureFailure

TWO = [Device(name, name, 0, "cpu", 1) for name in ("a", "b")]


class InTurn:
    """An engine of two workers that take turns; a part for which `fails` holds fails."""

    def __init__(self, fails=lambda part: False):
        self.told, self.fails, self.did = Told(), fails, []
        self.workers: list[Worker] = []

    def devices(self):
        return TWO

    def run(self, work, queue, done):
        self.workers = self.workers or [Worker(1, work.trusted) for _ in TWO]
        for worker in self.workers:
            for name, path in work.files.items():
                worker.write(name, [path.read_bytes()])
        while (part := queue.take()) is not None:
            self.did.append((work.stage, str(part)))
            if self.fails(part):
                queue.fail(part, "it failed")
                continue
            options = {**work.options, "part": str(part), "workers": 0, "device": "cpu"}
            answer = self.workers[len(self.did) % 2].do(work.stage, options, work.stages)
            if isinstance(answer, Refused):
                raise PureError(answer.message)
            assert isinstance(answer, Done)
            done(part, answer)
            queue.finish(part)

    def close(self):
        for worker in self.workers:
            worker.close()
        self.workers = []


@pytest.fixture
def engine(monkeypatch):
    """What stands in for Ray's."""
    engine = InTurn()

    def opened(settings, stack):
        stack.callback(engine.close)
        return engine

    monkeypatch.setattr(ray_engine, "opened", opened)
    return engine


def do_all(study: Workspace, model: str, images: Path, tiny_weights: Path, **how) -> list:
    few = {"batch_size": 4, "workers": 0, "progress": False, **how}
    return [
        study.collect(
            model=model, data=images, weights=tiny_weights, references=8, layer=["layer3", "layer2"], limit=24, **few
        ),
        study.attribute(neurons="0-3", **few),
        study.embed(embedder=f"{model}", embedder_layer="layer2", crop="activation", **few),
        study.cluster(k=2, features="pure", progress=False),
        study.assign(quantiles=2, per_quantile=3, figures=0, **few),
    ]


def test_every_stage_with_parts_gives_the_bytes_of_one_process(engine, tmp_path, model_file, tiny_weights, images):
    where = f"{model_file}:tiny", images, tiny_weights
    do_all(Workspace(tmp_path / "alone"), *where)
    outcomes = do_all(Workspace(tmp_path / "shared"), *where, on="ray", parts=3)
    for name in ("collect", "attribute", "crops", "embed", "cluster", "assign"):
        ours, theirs = ((tmp_path / folder / f"{name}.h5").read_bytes() for folder in ("alone", "shared"))
        assert ours == theirs, name
    for stage, rounds in (("collect", 1), ("attribute", 1), ("embed", 1), ("assign", 2)):
        did = [part for own, part in engine.did if own == stage]
        assert sorted(did) == sorted(["1/3", "2/3", "3/3"] * rounds)
    assert not (tmp_path / "shared" / "parts").exists()
    assert [outcome.details.get("parts") for outcome in outcomes] == [3, 3, 3, None, 6]
    engine.did.clear()
    again = do_all(Workspace(tmp_path / "shared"), *where, on="ray")
    assert not engine.did
    assert all(outcome.up_to_date for outcome in again)


def collect(study: Workspace, model_file: Path, images: Path, **how):
    few = {"batch_size": 4, "workers": 0, "progress": False}
    return study.collect(model=f"{model_file}:tiny", data=images, layer="layer3", references=8, **few, **how)


def test_what_is_done_stays_where_a_part_is_given_up_and_is_not_done_again(engine, tmp_path, model_file, images):
    study = Workspace(tmp_path / "w")
    engine.fails = lambda part: part == Part(5, 2)
    with pytest.raises(PureFailure, match=r"Part 2/5 was given up after 3 tries \(the last: it failed\)"):
        collect(study, model_file, images, on="ray", parts=5)
    assert len(list((tmp_path / "w" / "parts").glob("*.h5"))) == 4
    engine.did.clear()
    engine.fails = lambda part: False
    collect(study, model_file, images, on="ray")
    assert engine.did == [("collect", "2/5")]


def test_force_does_all_parts_again(engine, tmp_path, model_file, images):
    study = Workspace(tmp_path / "w")
    for times in (1, 2):
        collect(study, model_file, images, on="ray", parts=2, force=times == 2)
        assert len(engine.did) == 2 * times


def test_a_wrong_layer_is_told_as_one_process_tells_it(engine, tmp_path, model_file, images):
    study, wrong = Workspace(tmp_path / "w"), {"model": f"{model_file}:tiny", "data": images, "layer": "layer9"}
    with pytest.raises(PureError) as alone:
        Workspace(tmp_path / "v").collect(**wrong, progress=False)
    with pytest.raises(PureError) as shared:
        study.collect(**wrong, on="ray", progress=False)
    assert str(alone.value) == str(shared.value)
    assert len(engine.did) == 1


def test_the_usual_number_of_parts_is_four_a_worker_and_none_is_tiny(engine, tmp_path, model_file, images):
    collect(Workspace(tmp_path / "w"), model_file, images, on="ray")
    assert len(engine.did) == 60 // 32


def test_a_file_of_options_may_name_the_engine(engine, tmp_path, model_file, images):
    few = "layer: layer3\nreferences: 8\nbatch_size: 4\nworkers: 0"
    text = (
        f"model: {model_file}:tiny\ndata: {images}\n{few}\non: ray\nparts: 2\nattribute: {{neurons: 0-5, parts: 3}}\n"
    )
    (tmp_path / "study.yaml").write_text(text)
    content = read_config(tmp_path / "study.yaml")
    study = Workspace(tmp_path / "w")
    for stage in ("collect", "attribute"):
        study.do(stage, stage_options(content, stage), progress=False)
    assert Counter(stage for stage, _ in engine.did) == {"collect": 2, "attribute": 3}


def test_without_ray_one_sentence_names_the_extra(tmp_path, model_file, images, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PureError, match=r"pip install 'pure-cli\[ray\]'"):
        collect(Workspace(tmp_path / "w"), model_file, images, on="ray")


def test_a_model_that_was_handed_over_stays_here(tmp_path, tiny, images):
    with pytest.raises(PureError, match=r"cannot go to other processes.*FILE\.py:FUNCTION"):
        Workspace(tmp_path / "w", model=tiny).collect(data=images, on="ray", progress=False)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"on": "dask"}, "ray:HOST:PORT"),
        ({"on": "ray:here"}, "ray:HOST:PORT"),
        ({"on": "ray", "part": "1/2"}, "leave out --part"),
        ({"parts": 3}, "--parts is for --on"),
        ({"on": "ray", "device": "cuda:0,cuda:1"}, "a device of its own"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, model_file, images, options, what):
    with pytest.raises(PureError, match=what):
        Workspace(tmp_path / "w").collect(model=f"{model_file}:tiny", data=images, progress=False, **options)


def test_a_worker_leaves_no_folder_and_those_of_killed_ones_go(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    worker = Worker(1)
    (tmp_path / f"{FOLDER}killed").mkdir()
    (tmp_path / f"{FOLDER}killed" / ".in-use").touch()
    remove_left()
    assert len(list(tmp_path.iterdir())) == 1, "the one that is alive keeps its folder"
    worker.close()
    assert not list(tmp_path.iterdir())
