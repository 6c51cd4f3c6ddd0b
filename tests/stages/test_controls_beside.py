"""Controls beside the figures of evaluate, against workspaces that were made by hand."""

import csv
import json

import h5py
import numpy as np
import pytest
import torch

from pure_cli import Workspace
from pure_cli.artifacts import read_collected
from pure_cli.models.weights import read_weights

LAYER = "layer3.0.bn2"
BOTH = ["untrained", "shuffled"]
HOW = {"metric": ["labels", "ms"], "judge": "pixels+none", "k": "2,3", "neurons": "0-9", "workers": 0}


def start(folder, model_file, images, weights, judged=True):
    made = Workspace(folder)
    made.collect(model=f"{model_file}:tiny", weights=weights, data=images, n=12, workers=0, layer=LAYER)
    made.attribute(workers=0, lower_layer=["layer2", "layer3.0.conv1"])
    if judged:
        made.embed(embedder="pixels", workers=0, crop="none")
    return made


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, images, model_file, tiny_weights):
    return start(tmp_path_factory.mktemp("controls") / "w", model_file, images, tiny_weights)


@pytest.fixture(scope="module")
def tables(workspace):
    found = workspace.evaluate(**HOW, controls=BOTH, latex=True)
    return {table["name"]: table for table in found.details["tables"]}


def rows_of(workspace, name="labels"):
    return next(t for t in workspace.evaluate(**HOW).details["tables"] if t["name"] == name)["rows"]


def test_an_untrained_control_is_what_weights_none_gives(workspace, tables, tmp_path, model_file, images):
    by_hand = start(tmp_path / "u", model_file, images, "none")
    for name, column in (("labels", "ari"), ("labels", "purity"), ("ms", "references")):
        for row, own in zip(tables[name]["rows"], rows_of(by_hand, name), strict=True):
            assert row[f"{column} untrained"] == own[column]
            assert row["untrained"] == own[{"labels": "ari"}.get(name, column)][0]
    assert "untrained: fresh weights (seed 0)" in tables["labels"]["note"]


def test_controls_stand_beside_as_many_references(tmp_path, model_file, images, tiny_weights):
    how = {"metric": "references", "features": ["activation-mean"], "k": 2, "neurons": "0-1", "workers": 0}
    shown = []
    for weights, controls in ((tiny_weights, ["untrained"]), ("none", [])):
        made = Workspace(tmp_path / ("trained" if controls else "none"))
        made.collect(model=f"{model_file}:tiny", weights=weights, data=images, n=30, workers=0, layer=LAYER)
        made.attribute(workers=0, neurons="0-1")
        shown.append(made.evaluate(**how, controls=controls).details["tables"][0]["rows"])
    trained, by_hand = shown
    assert [row["n"] for row in trained] == [20, 30]
    assert [row["bootstrap untrained"] for row in trained] == [row["bootstrap"] for row in by_hand]
    assert by_hand[0]["bootstrap"] != by_hand[1]["bootstrap"]


def test_a_shuffled_control_has_the_same_values_elsewhere(workspace, tables, tiny_weights):
    own = Workspace(workspace.path / "controls" / "shuffled")
    before, now = read_weights(tiny_weights), read_weights(own.path / "weights.pth")
    for name, values in before.items():
        if values.ndim > 1:
            assert torch.equal(values.flatten().sort().values, now[name].flatten().sort().values)
            assert values.numel() < 9 or not torch.equal(values, now[name])
    assert not torch.equal(before["bn1.running_mean"], now["bn1.running_mean"])
    assert [row["ari shuffled"] for row in tables["labels"]["rows"]] == [row["ari"] for row in rows_of(own)]
    kept = read_collected(own.store).layers[LAYER].top
    assert (kept.image != read_collected(workspace.store).layers[LAYER].top.image).any()


def test_figures_of_controls_are_in_files_too(workspace, tables):
    (folder,) = workspace.path.glob("evaluate/*/*controls-untrained,shuffled*")
    first = next(csv.DictReader((folder / "labels.csv").open(encoding="utf-8")))
    for name in BOTH:
        assert float(first[f"ari {name}"]) == tables["labels"]["rows"][0][f"ari {name}"][0]
        assert f"purity {name} error" in first
    assert "ari untrained" in (folder / "labels.tex").read_text(encoding="utf-8")
    assert (folder / "labels-lines.png").is_file()
    with h5py.File(workspace.path / "evaluate.h5") as file:
        (run,) = (file[f"labels/{LAYER}/{run}"] for run in file[f"labels/{LAYER}"] if "controls" in run)
        for name in BOTH:
            mean = np.nanmean(run[f"{name}/pure/k2/ari"][:])
            assert mean == pytest.approx(tables["labels"]["rows"][0][f"ari {name}"][0])
        assert np.nanmean(run["pure/k2/ari"][:]) == pytest.approx(tables["labels"]["rows"][0]["ari"][0])


def test_without_controls_tables_and_files_are_as_they_were(workspace, tables):
    plain = workspace.evaluate(**HOW)
    assert plain.up_to_date
    assert not any("untrained" in json.dumps(table) for table in plain.details["tables"])


def test_a_second_run_opens_no_network(workspace, tables, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a network was opened")

    monkeypatch.setattr("pure_cli.models.load.load_model", fail)
    monkeypatch.setattr("pure_cli.stages.references.passes.run_dataset_pass", fail)
    again = workspace.evaluate(**HOW, controls=BOTH)
    assert again.up_to_date
    assert json.dumps({table["name"]: table for table in again.details["tables"]}) == json.dumps(tables)


def test_info_names_controls_and_what_stands_beside_them(workspace, tables):
    found = workspace.info()["results"]
    controls = [one for one in found if one["stage"] == "control"]
    assert {one["what"].partition(":")[0] for one in controls} == set(BOTH)
    assert all("labels" in one["what"] and one["stale"] is None for one in controls)
    beside = [one for one in found if "controls-" in one["what"]]
    assert len(beside) == 2 and all(one["stale"] is None for one in beside)


def test_other_weights_of_the_network_make_controls_anew(tmp_path, model_file, images, tiny_weights):
    workspace = start(tmp_path / "w", model_file, images, tiny_weights, judged=False)
    how = {"metric": ["labels"], "k": 2, "features": "pure", "workers": 0, "controls": ["shuffled"]}
    before = workspace.evaluate(**how).details["tables"][0]["rows"]
    torch.save(
        {name: values.flip(0) if values.ndim else values for name, values in read_weights(tiny_weights).items()},
        tmp_path / "other.pth",
    )
    workspace.collect(weights=tmp_path / "other.pth", workers=0)
    assert any(
        "other weights" in (one["stale"] or "") for one in workspace.info()["results"] if one["stage"] == "control"
    )
    workspace.attribute(workers=0)
    after = workspace.evaluate(**how).details["tables"][0]["rows"]
    assert [row["ari shuffled"] for row in before] != [row["ari shuffled"] for row in after]
    assert all(one["stale"] is None for one in workspace.info()["results"])


def test_a_control_of_an_untrained_network_needs_another_seed(tmp_path, model_file, images):
    workspace = start(tmp_path / "w", model_file, images, "none", judged=False)
    how = {"metric": ["labels"], "k": 2, "features": "pure", "workers": 0}
    same = workspace.evaluate(**how, controls=["untrained"])
    assert any("untrained:1 has other weights" in note for note in same.notes)
    assert not any("controls" in table for table in same.details["tables"])
    other = workspace.evaluate(**how, controls=["untrained:1"]).details["tables"][0]
    assert all(row["ari untrained:1"] != row["ari"] for row in other["rows"])
    assert (workspace.path / "controls" / "untrained-1" / "collect.h5").is_file()


def test_a_network_that_was_handed_over_is_drawn_anew_by_its_modules(tmp_path, tiny, images):
    workspace = Workspace(tmp_path / "w", model=tiny)
    workspace.collect(data=images, n=12, workers=0, layer=LAYER)
    workspace.attribute(workers=0, lower_layer="layer2")
    found = workspace.evaluate(metric="labels", features="pure", k=2, workers=0, controls="untrained").details[
        "tables"
    ][0]
    assert "drawn by each module of the trained network" in found["note"]
    assert any(row["ari untrained"] != row["ari"] for row in found["rows"])
    own = read_collected(Workspace(tmp_path / "w" / "controls" / "untrained").store)
    assert own.origin["state"] != read_collected(workspace.store).origin["state"]


def test_a_dead_network_is_told(workspace, tables):
    from types import SimpleNamespace

    from pure_cli.stages.controls.network import Control
    from pure_cli.stages.controls.workspace import _dead
    from pure_cli.stages.inputs.features import Sources

    own = Workspace(workspace.path / "controls" / "shuffled").store
    study = SimpleNamespace(layer=LAYER, neurons=np.arange(6))
    top = read_collected(own).layers[LAYER].top
    constant = [neuron for neuron in range(6) if len(set(top.value[neuron][top.value[neuron] > 0])) < 2]
    assert len(list(_dead(own, Control("shuffled", 0), study))) == bool(constant)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sources, "excites", lambda *_: np.zeros(12, bool))
        (said,) = _dead(own, Control("shuffled", 0), study)
    assert "is dead in" in said


@pytest.mark.parametrize("name", ["trained", "untrained:x", "shuffled:-1"])
def test_other_names_are_refused(workspace, cli, name):
    answer = cli("evaluate", "-w", workspace.path, "--metric", "labels", "--controls", name)
    assert answer.code == 2 and "untrained or shuffled" in answer.err
