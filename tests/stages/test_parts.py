"""Parts of a stage's work, put together: the bytes that one process leaves, or a refusal by name."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from materials import make_images
from PIL import Image

from pure_cli import Workspace
from pure_cli.artifacts import read_collected, read_headers
from pure_cli.errors import PureError, PureFailure
from pure_cli.settings.parts import launched, others_started
from pure_cli.stages.resume.parts import part_place

QUICK = {"batch_size": 8, "workers": 0, "progress": False}
REFERENCES = {"references": 5, "layer": ["layer3", "layer2"]}


@pytest.fixture(scope="module")
def inputs(model_file, tiny_weights, images):
    return {"model": f"{model_file}:tiny", "weights": tiny_weights, "data": images, **REFERENCES, **QUICK}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, inputs) -> Workspace:
    """What one process finds."""
    workspace = Workspace(tmp_path_factory.mktemp("whole") / "w")
    workspace.collect(**inputs)
    workspace.attribute(neurons="0-5", **QUICK)
    workspace.embed(embedder="pixels", crop="activation", neurons="0-5", **QUICK)
    workspace.cluster(k=2)
    workspace.assign(neurons="0-3", figures=1, **QUICK)
    return workspace


def after(whole: Workspace, folder: Path, *names: str) -> Workspace:
    """A workspace with some of the files that one process made."""
    folder.mkdir()
    for name in names:
        shutil.copy(whole.path / f"{name}.h5", folder)
    return Workspace(folder)


def assert_same(one: Workspace, other: Workspace, *names: str) -> None:
    for name in names:
        assert (one.path / f"{name}.h5").read_bytes() == (other.path / f"{name}.h5").read_bytes(), name
    assert not (one.path / "parts").exists()
    assert not (one.path / ".partial").exists()


@pytest.mark.parametrize("seed", range(6))
def test_any_number_order_overlap_and_repetition_of_parts_gives_the_bytes_of_one_process(seed, tmp_path, inputs, whole):
    draw, workspace = random.Random(seed), Workspace(tmp_path / "w")
    count = draw.choice([1, 2, 3, 5, 8, 11])  # of eight batches: some have no image
    parts = [f"{number}/{count}" for number in range(1, count + 1)]
    parts += draw.choices(parts, k=2) + [f"{draw.randint(1, 4)}/4" for _ in range(draw.choice([0, 2]))]
    draw.shuffle(parts)
    for part in parts:
        workspace.collect(part=part, **inputs)
    outcome = workspace.merge(progress=False)
    assert outcome.computed == len(set(parts))
    assert_same(workspace, whole, "collect")


def test_collect_without_a_part_does_those_that_are_missing(tmp_path, inputs, whole):
    workspace = Workspace(tmp_path / "w")
    for part in ("4/4", "2/4"):
        workspace.collect(part=part, **inputs)
    with pytest.raises(PureError, match=r"Of 60 images, 32 are in no part .* 2 parts are missing: 1/4 and 3/4\."):
        workspace.merge(progress=False)
    seen = []
    workspace.collect(**{**inputs, "progress": lambda done, total: seen.append(total)})
    assert 60 not in seen  # of images in a pass
    assert_same(workspace, whole, "collect")


def test_a_part_that_is_there_is_up_to_date_and_one_again_gives_the_same_bytes(tmp_path, inputs):
    workspace = Workspace(tmp_path / "w")
    first = workspace.collect(part="1/2", **inputs)
    (path,) = (workspace.path / "parts").glob("*.h5")
    before = path.read_bytes()
    assert (first.details["part"], first.details["images"], first.details["of"]) == ("1/2", 32, 60)
    assert workspace.collect(part="1/2", **inputs).up_to_date
    assert not workspace.collect(part="1/2", force=True, **inputs).up_to_date
    assert path.read_bytes() == before


@pytest.mark.parametrize("more", [{"quantiles": 3}, {"pool": "mean"}, {"limit": 37}, {"by": "relevance"}])
def test_parts_of_other_ways_to_collect_are_those_of_one_process(more, tmp_path, inputs):
    one, other = Workspace(tmp_path / "one"), Workspace(tmp_path / "other")
    one.collect(**inputs, **more)
    for part in ("2/3", "3/3", "1/3", "1/2"):
        other.collect(part=part, **inputs, **more)
    other.merge(progress=False)
    assert_same(other, one, "collect")


def test_damaged_images_and_numbers_that_are_not_finite_count_once(tmp_path, inputs, model_file):
    images = make_images(tmp_path / "images")
    damaged = sorted(images.rglob("*.png"))[10]
    damaged.write_bytes(damaged.read_bytes()[:100])
    odd = tmp_path / "odd.py"
    odd.write_text(
        model_file.read_text()
        + """

class Odd(Tiny):
    def forward(self, x):
        return super().forward(torch.where(x[:, :1, :1, :1] > 0, x * float("inf"), x))


def odd():
    model = tiny()
    model.__class__ = Odd
    return model
"""
    )
    own = {**inputs, "data": images, "model": f"{odd}:odd", "layer": "layer2"}
    one, other = Workspace(tmp_path / "one"), Workspace(tmp_path / "other")
    told = one.collect(**own).notes
    for part in ("1/4", "2/4", "3/4", "4/4", "2/3"):
        other.collect(part=part, **own)
    merged = other.merge(progress=False)
    assert any("not finite" in note for note in told) and any("could not be read" in note for note in told)
    assert [note for note in told if note not in merged.notes] == []
    assert_same(other, one, "collect")


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"references": 6}, "the number of references"),
        ({"layer": "layer1"}, "the layers"),
        ({"weights": None}, "the weights"),
        ({"mean": "0.4,0.4,0.4"}, "the preprocessing"),
        ({"limit": 50}, "the images"),
        ({"quantiles": 2}, "the bands"),
    ],
)
def test_parts_of_other_work_are_refused_by_name(more, named, tmp_path, inputs):
    workspace = Workspace(tmp_path / "w")
    workspace.collect(part="1/2", **inputs)
    (path,) = (workspace.path / "parts").glob("*.h5")
    for part in ("2/2", None):
        with pytest.raises(PureError, match=named) as caught:
            workspace.collect(part=part, **{**inputs, **more})
        assert path.name in str(caught.value)
    workspace.collect(part="2/2", **inputs)
    workspace.merge(progress=False)


def test_parts_of_images_that_changed_in_between_are_refused(tmp_path, inputs):
    images = make_images(tmp_path / "images")
    own, workspace = {**inputs, "data": images}, Workspace(tmp_path / "w")
    workspace.collect(part="1/2", **own)
    changed = sorted(images.rglob("*.png"))[3]
    size = changed.stat().st_size
    for value in range(256):  # an image of as many bytes
        Image.new("RGB", (32, 32), (value, 0, 0)).save(changed)
        content = changed.read_bytes()
        if len(content) <= size:
            changed.write_bytes(content + b"\0" * (size - len(content)))
            break
    assert changed.stat().st_size == size
    workspace.collect(part="1/3", **own)
    workspace.collect(part="2/2", **own)
    with pytest.raises(PureError, match=r"An image changed between the parts 1/[23] and 1/[23]"):
        workspace.merge(progress=False)


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :: 97] = bytes(len(content[len(content) // 2 :: 97]))
    path.write_bytes(content)


@pytest.mark.parametrize("part", ["1/2", None])
def test_a_damaged_part_is_named_and_made_again(part, tmp_path, inputs, whole):
    workspace = Workspace(tmp_path / "w")
    for one in ("1/2", "2/2"):
        workspace.collect(part=one, **inputs)
    path = sorted((workspace.path / "parts").glob("*.h5"))[0]
    damage(path)
    with pytest.raises(PureError, match=f"{path.name}.* Run its --part again"):
        workspace.merge(progress=False)
    workspace.collect(part=part, **inputs)
    if part is not None:
        workspace.merge(progress=False)
    assert_same(workspace, whole, "collect")


@pytest.mark.parametrize("part", ["1/2", None])
def test_damaged_relevances_of_a_part_are_made_again(part, tmp_path, whole):
    workspace = after(whole, tmp_path / "w", "collect")
    for one in ("1/2", "2/2"):
        workspace.attribute(neurons="0-5", part=one, **QUICK)
    for path in (workspace.path / "parts").glob("*-1-of-2.h5"):
        path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(PureError, match=r"-1-of-2\.h5.* Run its --part again"):
        workspace.merge(progress=False)
    workspace.attribute(neurons="0-5", part=part, **QUICK)
    if part is not None:
        workspace.merge(progress=False)
    assert_same(workspace, whole, "attribute")


def test_a_work_that_is_complete_is_merged_beside_one_that_is_not(tmp_path, whole):
    workspace, own = after(whole, tmp_path / "w", "collect"), {**QUICK, "layer": "layer3"}
    workspace.attribute(neurons="0-5", part="2/2", **own)
    with pytest.raises(PureError, match=r"in no part of `pure attribute --neurons 0-5` yet"):
        workspace.merge(progress=False)
    workspace.attribute(neurons="6", part="1/1", **own)
    told = workspace.merge(progress=False)
    assert (told.computed, "--neurons 0-5" in told.notes[-1]) == (1, True)
    assert workspace.attribute(neurons="6", **own).up_to_date


def test_a_part_without_images_says_so(tmp_path, inputs):
    told = Workspace(tmp_path / "w").collect(part="1/11", **inputs)
    others = [Workspace(tmp_path / "w").collect(part=f"{number}/11", **inputs) for number in range(2, 12)]
    empty = [one for one in [told, *others] if not one.details["images"]]
    assert len(empty) == 3  # of eleven parts of eight batches
    assert all("no images" in one.notes[-1] for one in empty)


def test_a_part_that_fails_goes_on_where_it_was(tmp_path, inputs, whole, monkeypatch):
    from pure_cli.stages.references.scores import LayerScores

    workspace, score, batches = Workspace(tmp_path / "w"), LayerScores.score, []

    def fail(self, batch):
        batches.append(len(batch.index))
        if len(batches) == 3:
            raise PureFailure("the disk is gone")
        return score(self, batch)

    monkeypatch.setattr(LayerScores, "score", fail)
    with pytest.raises(PureFailure):
        workspace.collect(part="1/2", **inputs)
    assert part_place(workspace.store, "collect", read_part("1/2")).root.is_dir()
    workspace.collect(part="1/2", **inputs)
    assert len(batches) == 3 + 2  # of four: two had been done
    workspace.collect(part="2/2", **inputs)
    workspace.merge(progress=False)
    assert_same(workspace, whole, "collect")


def read_part(text):
    from pure_cli.core.parts import Part

    number, count = map(int, text.split("/"))
    return Part(count, number)


@pytest.mark.parametrize("seed", range(3))
def test_relevances_embeddings_and_shares_in_parts_are_those_of_one_process(seed, tmp_path, whole):
    draw = random.Random(seed)

    def in_parts(**work):
        count = draw.choice([1, 2, 3, 7])
        parts = [f"{number}/{count}" for number in range(1, count + 1)]
        return draw.sample(parts, count) + draw.choices(parts, k=1)

    workspace = after(whole, tmp_path / "w", "collect")
    for part in in_parts():
        workspace.attribute(neurons="0-5", part=part, **QUICK)
    workspace.merge(progress=False)
    assert_same(workspace, whole, "attribute")
    for part in in_parts():
        workspace.embed(embedder="pixels", crop="activation", neurons="0-5", part=part, **QUICK)
    workspace.merge(progress=False)
    assert_same(workspace, whole, "crops", "embed")
    workspace.cluster(k=2)
    again = in_parts()
    for part in again * 2:
        told = workspace.assign(neurons="0-3", figures=1, part=part, **QUICK)
        if part == again[0] != "1/1":
            told_of_both = any("its part of the circuits" in note for note in told.notes)
            assert told_of_both == (
                not any("circuits" in str(one.what) for one in read_headers(workspace.store, "assign"))
            )
    workspace.merge(progress=False)
    assert_same(workspace, whole, "assign")


def test_attribute_without_a_part_does_what_is_missing_and_no_more(tmp_path, whole, monkeypatch):
    from pure_cli.stages import attribute

    workspace = after(whole, tmp_path / "w", "collect")
    workspace.attribute(neurons="0-5", part="2/2", **QUICK)
    with pytest.raises(PureError, match=r"1 part is missing: 1/2\. Run them, or that without --part"):
        workspace.merge(progress=False)
    there = {one.what["settings"]["layer"]: one.range for one in read_headers(workspace.store, "attribute")}
    done, compute = [], attribute.compute_batch

    def noted(task, work, bounds, inputs):
        done.append((bounds, there[task.job.layer]))
        return compute(task, work, bounds, inputs)

    monkeypatch.setattr(attribute, "compute_batch", noted)
    workspace.attribute(neurons="0-5", **QUICK)
    assert done and all(stop <= first or start >= last for (start, stop), (first, last) in done)
    assert_same(workspace, whole, "attribute")


def test_parts_of_relevances_of_other_references_are_refused_by_name(tmp_path, whole, inputs):
    workspace = after(whole, tmp_path / "w", "collect")
    for part in ("1/2", "2/2"):
        workspace.attribute(neurons="0-5", part=part, **QUICK)
    workspace.collect(**{**inputs, "references": 6})
    with pytest.raises(PureError, match=r"attribute-.*-1-of-2\.h5 is a part of other work: .*references"):
        workspace.merge(progress=False)


def test_work_on_other_neurons_leaves_parts_alone(tmp_path, whole):
    workspace = after(whole, tmp_path / "w", "collect")
    own = {**QUICK, "layer": "layer3"}
    workspace.attribute(neurons="0-5", part="1/2", **own)
    workspace.attribute(neurons="7", **own)
    workspace.attribute(neurons="7", **own)  # up to date
    workspace.attribute(neurons="0-5", part="2/2", **own)
    workspace.attribute(neurons="8-9", part="1/1", **own)
    assert workspace.merge(progress=False).computed == 3
    there = Workspace(tmp_path / "w")
    assert there.attribute(neurons="0-5,7-9", **own).up_to_date


def test_batches_of_other_sizes_are_told(tmp_path, whole):
    workspace = after(whole, tmp_path / "w", "collect")
    workspace.attribute(neurons="0-5", part="1/2", **{**QUICK, "batch_size": 4})
    headers = read_headers(workspace.store, "attribute")
    workspace.attribute(neurons="0-5", **QUICK)
    assert headers[0].batch_size == 4
    for part in ("1/2", "2/2"):
        workspace.attribute(neurons="6-7", part=part, **{**QUICK, "batch_size": 4 if part == "1/2" else 8})
    assert any("batches of 4 and 8 images" in note for note in workspace.attribute(neurons="6-7", **QUICK).notes)
    workspace.attribute(neurons="8-9", part="1/2", **{**QUICK, "batch_size": 4})
    notes = workspace.attribute(neurons="8-9", **QUICK).notes  # does the rest in batches of its own
    assert any("batches of 4 and 8 images" in note for note in notes)


def test_parts_that_were_cut_at_batches_of_other_sizes_leave_a_rest_that_is_told_and_done(tmp_path, inputs, whole, cli):
    workspace = Workspace(tmp_path / "w")
    for part, size in (("1/3", 8), ("2/3", 11), ("3/3", 8)):
        workspace.collect(**{**inputs, "batch_size": size}, part=part)
    assert "`pure collect` does the rest" in cli("info", "-w", workspace.path).out
    with pytest.raises(
        PureError, match=r"cut at batches of other sizes\. Run that without --part, which does the rest"
    ):
        workspace.merge(progress=False)
    assert any("batches of 8 and 11 images" in note for note in workspace.collect(**inputs).notes)
    assert workspace.collect(**inputs).up_to_date
    found, expected = (read_collected(own.store) for own in (workspace, whole))
    np.testing.assert_array_equal(found.image_index, expected.image_index)
    for layer in found.layers:
        top, other = found.layers[layer].top, expected.layers[layer].top
        np.testing.assert_allclose(top.value, other.value, rtol=1e-4, atol=1e-6)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    yield before + 1
    torch.set_num_threads(before)


def test_threads_of_other_numbers_are_told(tmp_path, inputs, two_threads):
    workspace, says = Workspace(tmp_path / "w"), f"with {two_threads - 1} and {two_threads} threads"
    workspace.collect(**inputs, part="1/2")
    torch.set_num_threads(two_threads - 1)
    assert any(says in note for note in workspace.collect(**inputs).notes)
    workspace.attribute(neurons="0-5", part="2/2", **QUICK)
    torch.set_num_threads(two_threads)
    assert any(says in note for note in workspace.attribute(neurons="0-5", **QUICK).notes)
    for part in ("1/2", "2/2"):
        workspace.attribute(neurons="6-9", part=part, **QUICK)
    assert not workspace.merge(progress=False).notes


def test_info_tells_of_parts(tmp_path, inputs, cli):
    workspace = Workspace(tmp_path / "w")
    for part in ("1/4", "3/4"):
        workspace.collect(part=part, **inputs)
    assert "parts of `pure collect`: 2 of 4" in cli("info", "-w", tmp_path / "w").out


def test_merge_says_where_there_is_nothing_to_merge(tmp_path, cli, whole):
    answer = cli("merge", "-w", tmp_path / "w")
    assert (answer.code, "There are no parts" in answer.err) == (2, True)
    answer = cli("merge", "-w", after(whole, tmp_path / "v", "collect").path)
    assert (answer.code, "There are no parts that are not merged" in answer.err) == (0, True)
    answer = cli("merge", "--stage", "embed", "-w", tmp_path / "v")
    assert (answer.code, "There are no parts of `pure embed`" in answer.err) == (2, True)


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "-1/4", "1/0"])
def test_what_is_no_part_is_refused(text, cli, tmp_path):
    answer = cli("attribute", "--part", text, "-w", tmp_path)
    assert answer.code == 2
    assert "as in 3/64" in answer.err


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}, "1/4"),
        ({"RANK": "3", "WORLD_SIZE": "4"}, "4/4"),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8"}, "6/8"),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, "2/2"),
        ({"SLURM_ARRAY_TASK_ID": "12", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_COUNT": "64"}, "3/64"),
        (
            {"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "5"}
            | {"SLURM_ARRAY_TASK_STEP": "2", "RANK": "1", "WORLD_SIZE": "3"},
            "8/15",
        ),
    ],
)
def test_launchers_are_understood(environment, part):
    assert str(launched(environment)) == part


def test_all_processes_of_a_launcher_and_an_array_have_parts_of_their_own():
    found = {
        launched({**array, "RANK": str(rank), "WORLD_SIZE": "4"})
        for rank in range(4)
        for array in [
            {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in [("ID", i), ("MIN", 1), ("COUNT", 3)]}
            for i in (1, 2, 3)
        ]
    }
    assert sorted(part.number for part in found) == list(range(1, 13))
    assert {part.count for part in found} == {12}


def test_auto_without_a_launcher_and_a_launcher_without_auto_are_told(cli, tmp_path, monkeypatch, inputs):
    for name in ("RANK", "WORLD_SIZE", "SLURM_ARRAY_TASK_ID", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    answer = cli("collect", "--model", "m", "--data", tmp_path, "--part", "auto", "-w", tmp_path / "w")
    assert (answer.code, "RANK and WORLD_SIZE" in answer.err) == (2, True)
    assert others_started({}) == others_started({"RANK": "0", "WORLD_SIZE": "1"}) == ""
    assert "--part auto" in others_started({"RANK": "0", "WORLD_SIZE": "2"})
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    words = ["--model", inputs["model"], "--weights", inputs["weights"], "--data", inputs["data"], "--workers", "0"]
    answer = cli("collect", *words, "--batch-size", "8", "-w", tmp_path / "w")
    assert "process 2 of 2" in answer.err
    answer = cli("collect", *words, "--batch-size", "8", "--part", "auto", "-w", tmp_path / "v")
    assert "part 2/2, 28 of 60 images" in answer.out


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch):
    from pure_cli.models.load import find_devices

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "6")
    assert find_devices("auto") == [torch.device("cuda:2")]
    assert find_devices("cuda:1") == [torch.device("cuda:1")]
    monkeypatch.delenv("LOCAL_RANK")
    assert find_devices("auto") == [torch.device("cuda")]


def test_parts_are_cut_at_shards(tmp_path, images, inputs):
    import io
    import tarfile

    files, shards = sorted(images.rglob("*.png")), tmp_path / "shards"
    shards.mkdir()
    for number, names in enumerate(np.array_split(np.arange(len(files)), [13, 30, 44])):
        with tarfile.open(shards / f"shard-{number}.tar", "w") as tar:
            for place in names:
                content = files[place].read_bytes()
                member = tarfile.TarInfo(f"{place:03d}.png")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    own, workspace = {**inputs, "data": shards, "batch_size": 4}, Workspace(tmp_path / "w")
    for part in ("1/2", "2/2"):
        workspace.collect(part=part, **own)
    assert [header.range for header in read_headers(workspace.store, "collect")] == [(0, 32), (32, 60)]  # of 30
    one = Workspace(tmp_path / "one")
    one.collect(**own)
    workspace.merge(progress=False)
    assert_same(workspace, one, "collect")
