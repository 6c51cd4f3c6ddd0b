"""How many times more frequent a class is in a virtual neuron than in the data set."""

import shutil

import h5py
import numpy as np
import pytest

from pure_cli import Workspace
from pure_cli.artifacts import Collected
from pure_cli.stages.cluster import classes_of

FACE, DOG, CAT = range(3)


def collected(labels, everywhere):
    """References with some labels, of 100 images."""
    return Collected(
        {"images": 100}, {}, np.arange(len(labels)), [], np.array(labels), ["face", "dog", "cat"], [], everywhere
    )


@pytest.mark.parametrize(
    ("labels", "everywhere", "classes", "lift"),
    [
        ([FACE] * 5 + [DOG] * 3 + [CAT] * 2, {FACE: 60, DOG: 30, CAT: 10}, [["cat", 2]], [2.0]),
        ([FACE] * 6 + [CAT] * 4, {FACE: 50, CAT: 2}, [["cat", 4], ["face", 6]], [20.0, 1.2]),
        ([FACE] * 8 + [DOG] + [CAT], {FACE: 50, DOG: 45, CAT: 5}, [["face", 8], ["cat", 1]], [1.6, 2.0]),
        ([FACE] * 6 + [-1] * 4, {FACE: 30, -1: 10}, [["no label", 4], ["face", 6]], [4.0, 2.0]),
        ([FACE] * 6 + [CAT] * 4, {}, [["face", 6], ["cat", 4]], [None, None]),
        ([FACE] * 5, {FACE: 100}, [], []),
        ([-1] * 5, {-1: 100}, [], []),
    ],
)
def test_classes_that_stand_out_come_first(labels, everywhere, classes, lift):
    found = classes_of(np.arange(len(labels)), collected(labels, everywhere))
    assert found["classes"] == classes
    assert found["lift"] == (lift if None in lift else pytest.approx(lift))


@pytest.fixture
def workspace(tmp_path, images, model_file, tiny_weights):
    """References among three classes of 20, 6 and 4 images, of which one in the second cannot be read."""
    data = tmp_path / "data"
    shutil.copytree(images, data)
    for folder, keep in zip(sorted(data.iterdir()), (20, 6, 4), strict=True):
        for file in sorted(folder.iterdir())[keep:]:
            file.unlink()
    sorted(sorted(data.iterdir())[1].iterdir())[0].write_bytes(b"no image")
    workspace = Workspace(tmp_path / "w")
    workspace.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=data, n=8, workers=0, layer="layer3")
    workspace.attribute(lower_layer=["layer2"], workers=0)
    return workspace


def test_the_table_tells_the_lift_and_an_earlier_file_none(workspace, cli):
    shares = np.array([20, 5, 4]) / 29
    with h5py.File(workspace.path / "collect.h5") as file:
        names = file["labels/name"][:].astype(str).tolist()
        assert file["labels/number"][:].tolist() == [0, 1, 2]
        assert file["labels/count"][:].tolist() == [20, 5, 4]
    (table,) = cli("cluster", "-w", workspace.path, "--json").json["tables"]
    virtual = [one for row in table["neurons"] for one in row["virtual_neurons"]]
    assert any(one["classes"] for one in virtual)
    for one in virtual:
        expected = [count / one["size"] / shares[names.index(name)] for name, count in one["classes"]]
        assert one["lift"] == pytest.approx(expected) and all(lift > 1 for lift in one["lift"])
    shown = cli("cluster", "-w", workspace.path).out
    assert "×)" in shown and "×: how many times more frequent" in shown

    with h5py.File(workspace.path / "collect.h5", "a") as file:
        del file["labels/number"], file["labels/count"]
    (table,) = cli("cluster", "-w", workspace.path, "--json").json["tables"]
    assert {lift for row in table["neurons"] for one in row["virtual_neurons"] for lift in one["lift"]} == {None}
    assert "×" not in cli("cluster", "-w", workspace.path).out
