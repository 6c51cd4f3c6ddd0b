"""k chosen for each neuron, as a clustering like any other."""

import h5py
import numpy as np
import pytest

N = 24


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, images, model_file, tiny_weights):
    from pure_cli import Workspace

    workspace = Workspace(tmp_path_factory.mktemp("auto") / "w")
    workspace.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=N, workers=0, layer="layer3")
    workspace.attribute(lower_layer=["layer2"], workers=0)
    return workspace


def arrays(workspace):
    with h5py.File(workspace.path / "cluster.h5") as file:
        group = file["layers/layer3/pure/kauto"]
        return {name: group[name][:] for name in ("neuron", "label", "k", "polysemanticity", "p", "silhouette")}


def test_each_neuron_has_as_many_virtual_neurons_as_its_k(workspace):
    workspace.cluster(k="auto")
    found = arrays(workspace)
    assert found["neuron"].tolist() == list(range(12))
    assert (found["label"].max(axis=1) + 1 == np.maximum(found["k"], 0)).all()
    assert ((found["polysemanticity"] >= 0) & (found["polysemanticity"] <= 1)).all()
    assert ((found["p"] > 0) & (found["p"] <= 1)).all()
    assert (found["k"][found["p"] > 0.05] <= 1).all()
    own = workspace.virtual_neurons("layer3", k="auto").clustering
    assert own.k.tolist() == found["k"].tolist()


def test_neurons_added_later_are_judged_as_if_all_were_there(workspace):
    workspace.cluster(k="auto", force=True)
    whole = arrays(workspace)
    (workspace.path / "cluster.h5").unlink()
    workspace.cluster(k="auto", neurons="3-5")
    workspace.cluster(k=["auto", 2], neurons="0,7")
    workspace.cluster(k="auto")
    for name, values in arrays(workspace).items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)
    assert workspace.cluster(k="auto").up_to_date


def test_tables_and_ranking(workspace, cli):
    answer = cli("cluster", "-w", workspace.path, "--sort", "polysemantic", "--json")
    assert answer.code == 0, answer.err
    (table,) = answer.json["tables"]
    scores = [row["polysemanticity"] for row in table["neurons"]]
    assert table["k"] == "auto" and scores == sorted(scores, reverse=True)
    for row in table["neurons"]:
        one = len(row["virtual_neurons"]) == 1
        refused = "p" if row["p"] > 0.05 else "threshold" if row["polysemanticity"] <= row["threshold"] else "gap"
        assert row["threshold"] == 0 and row["refused_by"] == (refused if one else None)
    assert {row["refused_by"] for row in table["neurons"]} - {None}
    shown = cli("cluster", "-w", workspace.path, "--k", "auto", "--sort", "neuron")
    assert "polysemanticity" in shown.out and "One by: why a neuron stays one; p, " in shown.out.replace("\n", " ")
    assert "threshold, its polysemanticity is 0; gap" in " ".join(shown.out.split())
    both = cli("cluster", "-w", workspace.path, "--k", "2,auto", "--json")
    assert [one["k"] for one in both.json["tables"]] == [2, "auto"]
    assert cli("render", "-w", workspace.path, "--k", "auto", "--neurons", "0", "--crop", "none").code == 0
    assert (workspace.path / "figures" / "layer3" / "neuron-0000-pure-kauto.png").exists()
    assert any("auto" in one["what"] for one in workspace.info()["results"])


@pytest.mark.parametrize(
    "options", [["--k", "automatic"], ["--sort", "best"], ["--recipe", "best"], ["--transform", "l2"]]
)
def test_wrong_words_are_refused(workspace, cli, options):
    answer = cli("cluster", "-w", workspace.path, *options)
    assert answer.code == 2 and options[0] in answer.err
