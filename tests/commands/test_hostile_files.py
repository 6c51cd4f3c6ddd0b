"""Files from someone else: nothing in them is run, and nothing outside of their folders is read or written."""

import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pure_cli.errors import PureError
from pure_cli.models.spec import parse_model
from pure_cli.models.trust import ALLOWED, require_trusted, trust
from pure_cli.words import printable
from pure_cli.workspace import Store, write_array

HOSTILE = "\x1b[2J\x1b]0;title\x07[red]x[/]\n\u202e$\\frac{"


class Payload:
    """What leaves a mark where it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def stranger(study, monkeypatch):
    """A study that someone else made: none of its files was ever named by the user."""
    study.to("attribute")
    monkeypatch.setenv("XDG_STATE_HOME", str(study.folder / "state of the user"))
    monkeypatch.setattr("pure_cli.models.trust._named_here", set())
    mark = study.folder / "mark"
    hidden = study.model_file.parent / "hidden.py"
    hidden.write_text(f"open({str(mark)!r}, 'w')\n" + study.model_file.read_text())
    rename_model(study.workspace, str(hidden))
    return study


def rename_model(workspace, file):
    """Let the references of a workspace be of another model file, as their maker could."""
    from dataclasses import replace

    from pure_cli.artifacts import read_collected, write_collected
    from pure_cli.models.spec import source_fingerprint

    collected = read_collected(Store(workspace))
    model = f"{file}:tiny"
    source = source_fingerprint(parse_model(model))
    layers = {}
    for name, layer in collected.layers.items():
        made_from = {**layer.provenance.made_from, "model": source}
        layers[name] = replace(layer, provenance=replace(layer.provenance, made_from=made_from))
    write_collected(Store(workspace), replace(collected, origin={**collected.origin, "model": model}, layers=layers))


@pytest.mark.parametrize("command", ["attribute", "collect", "embed"])
def test_model_file_that_only_the_workspace_names_is_not_run(stranger, refused, command):
    more = ("--embedder", "pixels") if command == "embed" else ("--force",)
    refused(stranger.pure(command, "--workers", 0, *more), "hidden.py", "never named yourself", ALLOWED)
    assert not (stranger.folder / "mark").exists()


@pytest.mark.parametrize("way", ["collect", "file", "folder"])
def test_model_file_of_a_workspace_is_run_once_the_user_named_it(stranger, monkeypatch, way):
    hidden = stranger.model_file.parent / "hidden.py"
    if way == "collect":
        again = [*stranger.inputs]
        again[1] = f"{hidden}:tiny"
        assert stranger.pure("collect", *again, "--workers", 0).code == 0
    else:
        monkeypatch.setenv(ALLOWED, os.pathsep.join(["/nowhere", str(hidden if way == "file" else hidden.parent)]))
    answer = stranger.pure("attribute", "--workers", 0)
    assert answer.code == 0, answer.err
    assert (stranger.folder / "mark").exists()


def test_what_the_user_named_is_remembered_for_the_next_process(stranger, monkeypatch):
    spec = parse_model(stranger.model)
    with pytest.raises(PureError, match="never named yourself"):
        require_trusted(spec)
    assert trust(spec) is None
    monkeypatch.setattr("pure_cli.models.trust._named_here", set())  # as another process
    require_trusted(spec)
    with pytest.raises(PureError, match="never named yourself"):  # what else the file can do was not named
        require_trusted(parse_model(f"{stranger.model_file}:reused"))


def test_where_the_home_cannot_be_written_collect_says_so_and_this_process_goes_on(study, monkeypatch):
    blocked = study.folder / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    answer = study.collect()
    assert answer.code == 0
    assert "cannot be remembered" in answer.err and f"{ALLOWED}=" in answer.err
    assert study.pure("attribute", "--workers", 0).code == 0


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", ["whole", "in the state"])
def test_weights_that_would_run_code_are_refused_and_do_not(study, refused, protocol, kind):
    mark = study.folder / "mark"
    content = Payload(mark)
    if kind == "in the state":
        content = {**torch.load(study.weights, weights_only=True), "extra": content}
    torch.save(content, study.weights, pickle_protocol=max(protocol, 2)) if protocol else study.weights.write_bytes(
        pickle.dumps(content, protocol)
    )
    refused(study.collect(), study.weights, "more than weights")
    assert not mark.exists()


def test_directions_that_would_run_code_are_refused_and_do_not(study, refused):
    mark, file = study.folder / "mark", study.folder / "directions.npy"
    np.save(file, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    refused(study.collect("--layer", "layer3", "--directions", file), file.name)
    file = file.with_suffix(".npz")
    np.savez(file, weight=np.array([Payload(mark)], dtype=object))
    refused(study.collect("--layer", "layer3", "--directions", file), file.name)
    assert not mark.exists()


def test_config_with_a_python_object_is_refused_and_does_nothing(study, refused):
    mark, config = study.folder / "mark", study.folder / "study.yaml"
    config.write_text(
        f"collect: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{mark}]]"
    )
    refused(study.pure("run", "-c", config), config.name)
    assert not mark.exists()


def foreign(kind, file, name, secret):
    """Replace a data set by one that has its content from another file."""
    values = file[name][:]
    del file[name]
    if kind == "external link":
        file[name] = h5py.ExternalLink(str(secret), "/secret")
    elif kind == "soft link":
        file["aside"] = values
        file[name] = h5py.SoftLink("/aside")
    elif kind == "external storage":
        file.create_dataset(name, values.shape, values.dtype, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    else:
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout[:] = h5py.VirtualSource(str(secret), "secret", values.shape, values.dtype)
        file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual"])
@pytest.mark.parametrize("name", ["layers/layer3/value", "images/label"])
def test_workspace_file_that_refers_to_another_is_refused(finished, refused, kind, name):
    secret = finished.folder / "secret.h5"
    with h5py.File(secret, "w") as file:
        write_array(file, "secret", np.zeros((12, 6), np.float32))
    with h5py.File(finished.file("collect"), "r+") as file:
        foreign(kind, file, name, secret)
    refused(finished.pure("attribute", "--workers", 0), "collect.h5", "refers to other places")
    assert "refers to other places" in finished.pure("info").err


def test_a_layer_that_would_lead_out_of_its_folder_is_refused(finished, refused):
    with h5py.File(finished.file("collect"), "r+") as file:
        file.move("layers/layer3", "layers/..")
    refused(finished.pure("attribute", "--workers", 0), "collect.h5", "is no layer")


def test_features_that_would_lead_out_of_the_folder_of_figures_are_refused(finished, refused):
    """The names of figures are made of settings that stand in the file."""
    from pure_cli.artifacts import read_clusterings, read_collected
    from pure_cli.settings.render import RenderSettings
    from pure_cli.stages.render import _jobs

    clustering = next(iter(read_clusterings(Store(finished.workspace)).values()))
    clustering.provenance.settings["features"] = "../../../elsewhere"

    class Source:
        require_current = lambda *_: None  # noqa: E731

    class There:
        layers, features_of = lambda *_: None, lambda *_: Source()
        collected = read_collected(Store(finished.workspace))

    with pytest.raises(PureError, match="outside of"):
        _jobs("layer3", There(), clustering, RenderSettings(), finished.workspace / "figures")


def test_evaluate_deletes_no_file_that_the_workspace_names_elsewhere(finished):
    precious = finished.folder / "precious.txt"
    precious.write_text("mine")
    evaluate = ("evaluate", "--metric", "labels", "--workers", 0)
    assert finished.pure(*evaluate).code == 0
    path = finished.workspace / "evaluate.json"
    content = json.loads(path.read_text())
    for entry in content.values():
        entry["files"] += [str(precious), "../../../precious.txt"]
    path.write_text(json.dumps(content))
    assert finished.pure(*evaluate, "--force").code == 0
    assert precious.read_text() == "mine"


def harmless(text):
    """Nothing that a terminal would obey."""
    return not any(char in text for char in "\x1b\x07\x08\r\u202e\udcff")


def test_names_reach_the_terminal_spelled_out(study):
    classes = sorted(path for path in study.data.iterdir())
    odd = classes[0].rename(study.data / HOSTILE.replace("/", "|"))
    (odd / "broken\x1b[31m\udcff.png").write_bytes(b"no image")
    study.to("render")
    answers = [study.collect(), study.pure("info", "--damaged"), study.pure("cluster"), study.pure("evaluate")]
    answers += [study.pure("evaluate", "--metric", "labels"), study.pure("attribute", "--layer", HOSTILE)]
    answers.append(study.run("info", "-w", study.folder / HOSTILE))
    for answer in answers:
        assert harmless(answer.out + answer.err), ascii(answer.out + answer.err)
    assert "[red]x[|]" in answers[2].out or "[red]" in answers[2].out  # shown, and not obeyed
    assert "\\x1b[31m\\udcff.png" in answers[1].out


def test_what_is_printable_stays_and_the_rest_is_spelled_out():
    assert printable("Grüße, 猫 100 %") == "Grüße, 猫 100 %"
    assert printable("a\nb\x1b[0m\udcff") == "a\\nb\\x1b[0m\\udcff"


def test_names_in_tables_and_figures_are_text(tmp_path):
    from pure_cli.views.evaluation import _broken
    from pure_cli.views.style import shortened
    from pure_cli.views.tables import as_csv, as_latex

    table = {"title": HOSTILE, "name": "x", "note": HOSTILE, "columns": ["features"], "rows": [{"features": HOSTILE}]}
    latex = as_latex(table)
    assert harmless(latex) and "\\frac" not in latex.replace("\\textbackslash{}frac", "")
    assert harmless(shortened(HOSTILE, 7, 5)) and all(map(harmless, _broken(HOSTILE, 1)))

    from pure_cli.files import write_whole

    write_whole(tmp_path / "table.csv", as_csv({**table, "rows": [{"features": "\udcff"}]}))
    assert "\\udcff" in (tmp_path / "table.csv").read_text()
