"""Which weights embeddings are by, runs that stand side by side, and what evaluate says of the judge."""

import json
import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from pure_cli.provenance import Provenance
from pure_cli.stages.evaluation.published import same_setting

LAYER = "layer3.0.bn2"
N = 12


@pytest.fixture(scope="module")
def other_weights(tmp_path_factory, model_file):
    from pure_cli.models.load import load_model
    from pure_cli.models.spec import parse_model

    path = tmp_path_factory.mktemp("other") / "other.pth"
    torch.save(load_model(parse_model(f"{model_file}:tiny"), None, 7).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory, images, model_file, tiny_weights, other_weights):
    """A workspace with relevances of all 12 neurons, an embedder by other weights for neurons 0 to 5, and pixels."""
    from pure_cli import Workspace

    workspace = Workspace(tmp_path_factory.mktemp("judges") / "workspace")
    workspace.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=N, workers=0, layer=LAYER)
    workspace.attribute(workers=0, lower_layer="layer2")
    workspace.embed(embedder="pixels", workers=0, crop="none")
    options = {"embedder_layer": "layer2", "embedder_weights": other_weights, "crop": "none"}
    workspace.embed(embedder=f"{model_file}:tiny", neurons="0-5", workers=0, **options)
    return workspace.path


@pytest.fixture
def study(made, tmp_path):
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "workspace")


JUDGE = "tiny_model.py:tiny:layer2+none"


def embeddings(path):
    with h5py.File(path / "embed.h5") as file:
        group = file[f"layers/{LAYER}/{JUDGE}"]
        return group["neuron"][:].tolist(), group["embedding"][:]


def test_embeddings_by_other_weights_are_refused_and_kept(study, cli, model_file, tiny_weights):
    before = embeddings(study)
    name = ("--embedder", f"{model_file}:tiny", "--embedder-layer", "layer2", "--crop", "none", "--workers", 0)
    answer = cli("embed", "-w", study, *name, "--embedder-weights", tiny_weights)
    assert answer.code == 2
    assert "other.pth" in answer.err and "tiny.pth" in answer.err and "--force" in answer.err
    assert embeddings(study)[0] == before[0]
    np.testing.assert_array_equal(embeddings(study)[1], before[1])
    answer = cli("embed", "-w", study, *name, "--embedder-weights", tiny_weights, "--neurons", "0-5", "--force")
    assert answer.code == 0, answer.err
    assert not np.allclose(embeddings(study)[1], before[1])


@pytest.mark.parametrize("way", ["embed by file", "embed by name", "evaluate"])
def test_weights_once_given_need_not_be_given_again(study, cli, model_file, other_weights, way):
    if way == "embed by file":
        answer = cli(
            "embed", "-w", study, "--embedder", f"{model_file}:tiny", "--embedder-layer", "layer2", "--crop", "none"
        )
    elif way == "embed by name":
        answer = cli("embed", "-w", study, "--embedder", JUDGE, "--workers", 0)
    else:
        answer = cli("evaluate", "-w", study, "--metric", JUDGE, "--embed", "--k", 2, "--json")
    assert answer.code == 0, answer.err
    neurons, found = embeddings(study)
    assert neurons == list(range(12))
    again = cli("embed", "-w", study, "--embedder", JUDGE, "--embedder-weights", other_weights, "--json")
    assert again.json["up_to_date"]
    assert np.isfinite(found).all()


def test_weights_that_nobody_trained_are_said(study, cli, model_file):
    other = ("--embedder", f"{model_file}:tiny", "--embedder-layer", "layer1", "--crop", "none", "--neurons", 0)
    answer = cli("embed", "-w", study, *other, "--embedder-weights", "none")
    assert answer.code == 0
    assert "untrained" in answer.err
    info = cli("info", "-w", study, "--json").json
    holds = [result["what"] for result in info["results"] if result["stage"] == "embed"]
    assert any("untrained" in what for what in holds)
    assert any("other.pth" in what for what in holds)
    assert "no judge" in cli("evaluate", "-w", study, "--metric", "pixels+none", "--k", 2).err


def test_an_embedder_of_few_neurons_does_not_shrink_an_evaluation(study, cli):
    answer = cli("evaluate", "-w", study, "--metric", "labels", "--k", 2, "--json")
    assert answer.code == 0, answer.err
    table = answer.json["tables"][0]
    assert "12 neurons" in table["title"]
    assert {row["features"] for row in table["rows"]} == {"pure", "activation-max", "activation-mean", "pixels+none"}
    assert any(JUDGE in note and "--features" in note for note in answer.json["notes"])


def test_a_judge_of_few_neurons_is_said(study, cli):
    answer = cli("evaluate", "-w", study, "--metric", JUDGE, "--k", 2, "--json")
    assert answer.code == 0, answer.err
    assert "6 neurons" in answer.json["tables"][0]["title"]
    assert any("6 of 12 neurons" in note for note in answer.json["notes"])


def test_a_run_on_fewer_neurons_stands_beside_the_whole_one(study, cli):
    whole = cli("evaluate", "-w", study, "--metric", "pixels+none", "--latex", "--json")
    files = sorted((study / "evaluate").rglob("*"))
    csv = (study / "evaluate" / LAYER / "pixels+none-separation-all.csv").read_text()
    part = cli("evaluate", "-w", study, "--metric", "pixels+none", "--neurons", "2-4", "--k", 2, "--json")
    assert part.code == 0, part.err
    assert part.json["folders"] != whole.json["folders"]
    assert (study / "evaluate" / LAYER / "pixels+none-separation-all.csv").read_text() == csv
    assert set(files) < set((study / "evaluate").rglob("*"))
    with h5py.File(study / "evaluate.h5") as file:
        runs = {name: group["neuron"].shape[0] for name, group in file[f"pixels+none/{LAYER}"].items()}
    assert sorted(runs.values()) == [3, 12]
    assert cli("evaluate", "-w", study, "--metric", "pixels+none", "--json").json["up_to_date"]


def test_files_of_earlier_results_go_with_them(study, cli):
    options = ("evaluate", "-w", study, "--metric", "labels", "--k", 2)
    assert cli(*options, "--latex").code == 0
    tex = next((study / "evaluate").rglob("labels.tex"))
    assert cli(*options).code == 0
    assert tex.exists()
    assert cli(*options, "--force").code == 0
    assert not tex.exists()
    assert (tex.parent / "labels.csv").exists()


def test_a_sample_stands_beside_the_references_alone(study, cli):
    options = ("evaluate", "-w", study, "--metric", "ms", "--judge", "pixels+none", "--k", 2, "--json")
    sampled, plain = cli(*options, "--sample", 20), cli(*options)
    assert sampled.json["folders"] != plain.json["folders"]
    assert cli(*options, "--sample", 20).json["up_to_date"]


@pytest.mark.parametrize("features", [(), ("--features", "pure")])
def test_the_judges_own_split_chooses_the_polysemantic_neurons_compared_or_not(study, cli, features):
    options = ("evaluate", "-w", study, "--metric", "pixels+none", "--k", "2-3", "--json", *features)
    tables = {gap: cli(*options, "--polysemantic", gap).json["tables"][-1] for gap in (-1, 10_000)}
    assert all(table["name"] == "separation-polysemantic" for table in tables.values())
    assert "0 neurons" in tables[10_000]["title"] and "largest gap" in tables[10_000]["title"]
    assert {row["k"] for row in tables[-1]["rows"]} == {2, 3, None}
    assert all(row["intra"][0] is not None for row in tables[-1]["rows"])


def test_what_an_error_advises_works(study, cli, model_file, tiny_weights):
    name = ("--embedder", f"{model_file}:tiny", "--embedder-layer", "layer2", "--crop", "none", "--workers", 0)
    answer = cli("embed", "-w", study, *name, "--embedder-weights", tiny_weights, "--neurons", 0)
    advice = answer.err.split("`")[1].split()
    assert advice[:2] == ["pure", "embed"]
    answer = cli(*advice[1:], "-w", study, "--neurons", "0-1", "--workers", 0)
    assert answer.code == 0, answer.err
    assert "4 neurons of them are not made again" in answer.err
    assert embeddings(study)[0] == [0, 1]
    assert cli("embed", "-w", study, *name, "--embedder-weights", tiny_weights, "--neurons", "0-1", "--json").json[
        "up_to_date"
    ]


def test_each_crop_has_weights_of_its_own(study, cli, model_file, tiny_weights):
    name = ("--embedder", f"{model_file}:tiny", "--embedder-layer", "layer2", "--workers", 0, "--neurons", "0-5")
    assert cli("embed", "-w", study, *name, "--embedder-weights", tiny_weights, "--crop", "activation").code == 0
    for crop in ("none", "activation"):
        answer = cli("embed", "-w", study, *name, "--crop", crop, "--json")
        assert answer.code == 0, answer.err
        assert answer.json["up_to_date"]


def test_weights_that_moved_are_asked_for_when_they_are_needed(study, cli, model_file, tmp_path, other_weights):
    moved = tmp_path / "moved.pth"
    shutil.copy(other_weights, moved)
    layer = ("--embedder", f"{model_file}:tiny:layer1", "--crop", "none", "--workers", 0)
    assert cli("embed", "-w", study, *layer, "--embedder-weights", moved, "--neurons", "0").code == 0
    moved.rename(tmp_path / "elsewhere.pth")
    label = ("--embedder", "tiny_model.py:tiny:layer1+none", "--workers", 0)
    assert cli("embed", "-w", study, *label, "--neurons", "0", "--json").json["up_to_date"]
    answer = cli("embed", "-w", study, *label, "--neurons", "0,1")
    assert answer.code == 2
    assert str(moved) in answer.err and "--embedder-weights" in answer.err
    answer = cli("embed", "-w", study, *label, "--neurons", "0,1", "--embedder-weights", tmp_path / "elsewhere.pth")
    assert answer.code == 0, answer.err


def test_stale_embeddings_name_the_command_that_makes_them(study, cli, images):
    assert cli("collect", "-w", study, "-n", 8, "--workers", 0).code == 0
    assert cli("attribute", "-w", study, "--workers", 0).code == 0
    answer = cli("evaluate", "-w", study, "--metric", "pixels+none", "--k", 2)
    assert answer.code == 2
    assert "pure embed --embedder pixels+none" in answer.err
    assert cli("evaluate", "-w", study, "--metric", "pixels+none", "--k", 2, "--embed").code == 0


def test_the_readmes_config_with_embed_and_evaluate_runs(study, cli, tmp_path):
    config = tmp_path / "study.yaml"
    config.write_text(f"workspace: {study}\nembed: {{embedder: [pixels]}}\nevaluate: {{metric: [labels], k: 2}}\n")
    answer = cli("evaluate", "-c", config, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["tables"]


def test_one_reference_leaves_one_cluster(tmp_path, images, model_file, tiny_weights, cli):
    w = tmp_path / "w"
    model = ("--model", f"{model_file}:tiny", "--weights", tiny_weights, "--data", images, "--layer", LAYER)
    assert cli("collect", *model, "-n", 1, "-w", w, "--workers", 0).code == 0
    assert cli("attribute", "-w", w, "--workers", 0, "--lower-layer", "layer2").code == 0
    answer = cli("evaluate", "-w", w, "--metric", "labels", "--json")
    assert answer.code == 0, answer.err
    assert {row["k"] for row in answer.json["tables"][0]["rows"]} == {1}
    answer = cli("cluster", "-w", w, "--k", 2)
    assert answer.code == 2
    assert "1 reference " in answer.err


def test_info_lists_what_was_measured_and_whether_it_is_stale(study, cli):
    assert cli("evaluate", "-w", study, "--metric", "labels", "--k", 2).code == 0

    def found():
        return [r for r in cli("info", "-w", study, "--json").json["results"] if r["stage"] == "evaluate"]

    (result,) = found()
    assert result["status"] == "up to date"
    assert "labels" in result["what"] and "12 neurons" in result["what"]
    assert cli("cluster", "-w", study, "--seed", 5, "--features", "pure", "--force").code == 0
    (result,) = found()
    assert result["stale"]


def test_values_of_every_virtual_neuron_are_kept(study, cli):
    judge = ("--judge", "pixels+none", "--k", 2, "--features", "pure")
    answer = cli("evaluate", "-w", study, "--metric", "semantics", "--metric", "ms", *judge)
    assert answer.code == 0, answer.err
    with h5py.File(study / "cluster.h5") as file:
        virtual = {name: values[:] for name, values in file[f"layers/{LAYER}/pure/k2/virtual"].items()}
    with h5py.File(study / "evaluate.h5") as file:
        for name, scores in (("ms", ["ms"]), ("semantics", ["clarity", "polysemanticity", "redundancy"])):
            (group,) = file[f"{name}-by-pixels+none/{LAYER}"].values()
            for one in ("neuron", "cluster", "size"):
                np.testing.assert_array_equal(group[f"pure/k2/virtual/{one}"][:], virtual[one])
            for score in scores:
                values, size = group[f"pure/k2/virtual/{score}"][:], virtual["size"]
                first = virtual["neuron"] == virtual["neuron"][0]
                expected = np.average(values[first], weights=size[first])
                row = group["neuron"][:].tolist().index(virtual["neuron"][0])
                assert group[f"pure/k2/{score}"][row] == pytest.approx(expected)


def test_a_single_kind_of_features_has_nothing_to_compare(study, cli):
    answer = cli("evaluate", "-w", study, "--metric", "labels", "--features", "pure", "--k", "2", "--latex", "--json")
    assert [table["name"] for table in answer.json["tables"]] == ["labels"]
    tex = next((study / "evaluate").rglob("labels.tex")).read_text()
    assert LAYER in next(line for line in tex.splitlines() if r"\label" in line)


def test_an_interval_is_two_numbers(study, cli):
    answer = cli("evaluate", "-w", study, "--metric", "labels", "--k", "2", "--json")
    row = answer.json["tables"][1]["rows"][0]
    assert row["low"] <= row["difference"] <= row["high"]


def test_a_neuron_that_never_fires_has_no_values_and_breaks_nothing(tmp_path, images, model_file, tiny_weights, cli):
    state = torch.load(tiny_weights, weights_only=True)
    state["layer3.0.bn2.weight"][3], state["layer3.0.bn2.bias"][3] = 0, -1
    torch.save(state, tmp_path / "dead.pth")
    w = tmp_path / "w"
    model = ("--model", f"{model_file}:tiny", "--weights", tmp_path / "dead.pth", "--data", images, "--layer", LAYER)
    assert cli("collect", *model, "-n", N, "-w", w, "--workers", 0).code == 0
    assert cli("attribute", "-w", w, "--workers", 0, "--lower-layer", "layer2").code == 0
    assert cli("embed", "-w", w, "--embedder", "pixels", "--crop", "none", "--workers", 0).code == 0
    metrics = ("pixels+none", "correlation", "labels", "stability", "semantics", "ms")
    with h5py.File(w / "collect.h5") as file:
        fires = np.flatnonzero((file[f"layers/{LAYER}/value"][:] > 0).all(axis=1))
    assert 3 not in fires
    for neurons in ("3", f"{fires[0]},3,{fires[1]}"):
        for metric in metrics:
            answer = cli("evaluate", "-w", w, "--metric", metric, "--neurons", neurons, "--k", 2, "--json")
            assert answer.code == 0, answer.err
            table = answer.json["tables"][0]
            if neurons == "3":
                kept = [v for row in table["rows"] for v in row.values() if isinstance(v, list) and v[0] is not None]
                assert not kept
            elif metric != "correlation":
                assert "2 of 3 neurons" in table["title"]


def test_an_unknown_metric_is_not_said_to_be_there(study, cli):
    answer = cli("evaluate", "-w", study, "--metric", "purity")
    assert answer.code == 2
    assert "Unknown metric 'purity'" in answer.err
    answer = cli("embed", "-w", study, "--embedder", "qqq")
    assert answer.code == 2
    assert answer.err.count("dinov2") == 1


def of_the_paper(**changed):
    """A study as far as `same_setting` looks at it."""
    recipe = {"text": "clip", "weights": None, "size": None, "layer": None}
    about = {
        "model": "timm:resnet101.a1_in1k",
        "weights": None,
        "n": 100,
        "layer": "layer4",
        "lower": "layer3",
        "rule": "gradient-x-input",
        "crop": "crp",
        "judge_weights": None,
        **changed,
    }
    layer = about["layer"]
    rows = SimpleNamespace(
        recipe={**recipe, "weights": about["judge_weights"]}, provenance=Provenance({"crop": about["crop"]}, {})
    )
    collected = SimpleNamespace(
        origin={"model": about["model"], "weights": about["weights"]},
        layers={layer: SimpleNamespace(n=about["n"], provenance=Provenance({}, {}))},
    )
    attributed = {
        layer: SimpleNamespace(lower_layers=[about["lower"]], provenance=Provenance({"rule": about["rule"]}, {}))
    }
    sources = SimpleNamespace(collected=collected, attributed=attributed, embedded={(layer, "clip"): rows})
    return SimpleNamespace(sources=sources, layer=layer, judge="clip")


def test_published_numbers_stand_only_beside_the_same_setting():
    assert same_setting(of_the_paper())
    for name, value in {
        "model": "timm:resnet50.a1_in1k",
        "weights": "none",
        "n": 50,
        "layer": "layer3",
        "lower": "layer2",
        "rule": "epsilon-plus",
        "crop": "none",
        "judge_weights": "none",
    }.items():
        assert not same_setting(of_the_paper(**{name: value})), name


def test_the_tables_say_whose_weights_judged(study, cli):
    answer = cli("evaluate", "-w", study, "--metric", JUDGE, "--k", 2, "--json")
    assert "other.pth" in answer.json["tables"][0]["title"]
    assert "published" not in answer.json["tables"][0]["columns"]
    assert json.loads((study / "evaluate.json").read_text())
