"""Directions all the way: collected, attributed, clustered, embedded, rendered and evaluated as neurons are."""

import h5py
import numpy as np
import pytest

N = 8


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, images, model_file, tiny_weights):
    """A workspace with the channels of layer3, and with the same as directions, and three others."""
    from pure_cli import Workspace

    folder = tmp_path_factory.mktemp("directions")
    np.save(folder / "axes.npy", np.eye(12))
    (folder / "mixed.csv").write_text(
        "name,bias," + ",".join(map(str, range(12))) + "\n"
        + "first,0,1" + ",0" * 11 + "\nsum,0.5,1,1" + ",0" * 10 + "\nless,-0.1,0,1,-1" + ",0" * 9 + "\n"
    )  # fmt: skip
    workspace = Workspace(folder / "w")
    options = {"model": f"{model_file}:tiny", "weights": tiny_weights, "data": images, "n": N, "workers": 0}
    workspace.collect(layer="layer3", **options)
    workspace.collect(layer="layer3", directions=folder / "axes.npy", **options)
    workspace.collect(directions=folder / "mixed.csv", directions_relu=True, workers=0, layer="layer3")
    workspace.attribute(lower_layer=["layer2", "layer3.0.relu1"], workers=0)
    return workspace


def arrays(path, group):
    with h5py.File(path) as file:
        found = {}
        file[group].visititems(
            lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
        return found


def test_axes_have_the_references_and_relevances_of_the_channels(workspace):
    for name in ("collect", "attribute"):
        path = workspace.path / f"{name}.h5"
        plain, ours = arrays(path, "layers/layer3"), arrays(path, "layers/axes@layer3")
        for key, values in plain.items():
            if key == "activations/image":
                continue
            np.testing.assert_array_equal(ours[key], values, err_msg=key)


def test_directions_are_kept_in_the_workspace_with_their_names(workspace):
    found = arrays(workspace.path / "collect.h5", "layers/mixed@layer3")
    assert found["directions/weight"].shape == (3, 12) and found["image"].shape == (3, N)
    assert [name.decode() for name in found["directions/name"]] == ["first", "sum", "less"]
    plain = arrays(workspace.path / "collect.h5", "layers/layer3")
    np.testing.assert_array_equal(found["image"][0], plain["image"][0])
    assert (found["value"] >= 0).all()


def test_the_other_stages_take_them_like_neurons(workspace, cli):
    path = workspace.path
    answer = cli("cluster", "-w", path, "--layer", "mixed@layer3", "--transform", "sqrt-l2", "--json")
    assert answer.code == 0, answer.err
    (table,) = answer.json["tables"]
    assert table["features"] == "pure-sqrt-l2"
    assert {row["name"] for row in table["neurons"]} == {"first", "sum", "less"}
    answer = cli("cluster", "-w", path, "--layer", "mixed@layer3", "--features", "lower-activation@layer3.0.relu1")
    assert answer.code == 0 and "sum" in answer.out, answer.err
    joined = "pure@layer2+layer3.0.relu1"
    assert cli("cluster", "-w", path, "--layer", "mixed@layer3", "--features", joined).code == 0
    with h5py.File(path / "cluster.h5") as file:
        assert file[f"layers/mixed@layer3/{joined}/k2/virtual/centroid"].shape[1] == 10 + 12
    answer = cli("render", "-w", path, "--layer", "mixed@layer3", "--neurons", "1", "--transform", "sqrt-l2", "--json")
    assert answer.code == 0, answer.err
    for crop in ("crp", "activation"):
        answer = cli("embed", "-w", path, "--layer", "mixed@layer3", "--embedder", "pixels", "--crop", crop)
        assert answer.code == 0, answer.err
    options = ["--metric", "ms", "--judge", "pixels", "--sample", 30, "--k", "2", "--json"]
    kinds = ["--features", "pure-sqrt-l2", "--features", "lower-activation"]
    answer = cli("evaluate", "-w", path, "--layer", "mixed@layer3", *options, *kinds)
    assert answer.code == 0, answer.err
    assert any(result["layer"] == "mixed@layer3" for result in workspace.info()["results"])


def test_collect_again_is_up_to_date_and_other_directions_replace_it(workspace, tmp_path, cli):
    assert cli("collect", "-w", workspace.path, "--layer", "axes@layer3", "--json").json["up_to_date"]
    np.save(tmp_path / "axes.npy", np.eye(12))
    again = ["collect", "-w", workspace.path, "--layer", "layer3", "--directions", tmp_path / "axes.npy", "--json"]
    assert cli(*again).json["up_to_date"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--layer", "nothing@layer3"], "There are no directions 'nothing@layer3'"),
        (["--layer", "layer2", "--directions", "FILE"], "have 12 numbers each, and 'layer2' has 10 channels"),
        (["--layer", "layer2", "--layer", "layer3", "--directions", "FILE"], "Name it with --layer, once"),
        (["--directions", "nowhere.npy"], "There is no file of directions"),
        (["--directions-relu"], "--directions-relu needs --directions FILE"),
        (["--directions-part", "encoder"], "--directions-part needs --directions FILE"),
    ],
)
def test_what_is_wrong_is_said(workspace, tmp_path, cli, options, says):
    np.save(tmp_path / "other.npy", np.eye(12))
    options = [str(tmp_path / "other.npy") if option == "FILE" else option for option in options]
    answer = cli("collect", "-w", workspace.path, *options)
    assert answer.code == 2
    assert says in " ".join(answer.err.split())


def test_relevance_at_the_maximal_position_is_a_result_of_its_own(tmp_path, images, model_file, tiny_weights, cli):
    from pure_cli import Workspace

    workspace = Workspace(tmp_path / "w")
    workspace.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=N, workers=0, layer="layer3")
    workspace.attribute(lower_layer="layer2", workers=0)
    whole = arrays(tmp_path / "w" / "attribute.h5", "layers/layer3")
    answer = cli(
        "attribute", "-w", tmp_path / "w", "--lower-layer", "layer2", "--position", "max", "--workers", 0, "--json"
    )
    assert answer.code == 0 and any("replaced" in note for note in answer.json["notes"]), answer.err
    peak = arrays(tmp_path / "w" / "attribute.h5", "layers/layer3")
    assert not np.allclose(whole["relevance/layer2"], peak["relevance/layer2"])
    np.testing.assert_allclose(np.abs(peak["relevance/layer2"]).sum(-1)[peak["norm/layer2"] > 1e-9], 1, rtol=1e-5)
