"""pure evaluate --metric rivals: all that a layer is read by, in one table."""

import h5py
import numpy as np
import pytest

from pure_cli import Workspace

N = 8


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, images, model_file, tiny_weights):
    """Neurons, virtual neurons by activations, four principal components and twenty random directions of layer3."""
    workspace = Workspace(tmp_path_factory.mktemp("rivals") / "w")
    workspace.collect(layer="layer3", model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=N, workers=0)
    workspace.attribute(layer="layer3", workers=0)
    for how, m in (("random", 20), ("pca", 5)):
        outcome = workspace.directions(how, m=m, workers=0)
        workspace.collect(layer="layer3", directions=outcome.details["files"]["layer3"], workers=0)
    return workspace


def table(workspace, **options):
    outcome = workspace.evaluate(metric="rivals", layer="layer3", features="activation-mean", k=2, **options)
    return outcome, outcome.details["tables"][0]


def labels_of(workspace, layer):
    """The labels of each neuron's references, and which excite it."""
    references = workspace.references(layer)
    with h5py.File(workspace.path / "collect.h5") as file:
        label = dict(zip(file["images/index"][:].tolist(), file["images/label"][:].tolist(), strict=True))
    for image, value in zip(references["image"], references["value"], strict=True):
        yield np.array([label[int(i)] for i in image]), value > 0


def test_rows_have_the_purity_of_a_plain_loop_over_as_many_units(workspace):
    outcome, found = table(workspace)
    rows = {row["units"]: row for row in found["rows"]}
    assert list(rows) == ["neurons", "pca-5@layer3", "random-20@layer3", "virtual neurons (activation-mean, k = 2)",
                          "neurons dealt at random (k = 2)"]  # fmt: skip
    assert "5 units of each" in found["title"] and found["columns"][-1] == "entropy"
    classes = labels_of(workspace, "pca-5@layer3")
    expected = [np.bincount(row[excited]).max() / excited.sum() for row, excited in classes]
    assert rows["pca-5@layer3"]["purity"][0] == pytest.approx(np.mean(expected))
    assert rows["pca-5@layer3"]["purity"][1] == pytest.approx(np.std(expected, ddof=1) / 5**0.5)
    for row in rows.values():
        assert row["above chance"][0] == pytest.approx(row["purity"][0] - row["chance"])
    assert outcome.computed == 1


def test_up_to_date_until_other_directions_are_there(workspace):
    table(workspace)
    assert table(workspace)[0].up_to_date
    outcome = workspace.directions("kmeans", m=4, workers=0)
    workspace.collect(layer="layer3", directions=outcome.details["files"]["layer3"], workers=0)
    outcome, found = table(workspace)
    assert not outcome.up_to_date and "4 units of each" in found["title"]
    assert "kmeans-4@layer3" in [row["units"] for row in found["rows"]]


def test_embeddings_that_are_there_judge_too(workspace):
    workspace.embed(layer="layer3", embedder="pixels", crop="none", workers=0)
    _, found = table(workspace)
    by = {row["units"]: row["ms"] for row in found["rows"]}
    assert by["neurons"][0] is not None and by["pca-5@layer3"][0] is None
    before = workspace.evaluate(metric="ms", layer="layer3", features="activation-mean", k=2).details["tables"][0][
        "rows"
    ][0]
    assert by["neurons"][0] == pytest.approx(before["references"][0], abs=0.2)  # of the units drawn


def test_dealt_at_random_each_part_is_as_large_and_siblings_share_nothing():
    from pure_cli.stages.evaluation.rivals import _dealt
    from pure_cli.stages.evaluation.study import Virtual

    labels = np.array([[0, 0, 0, 1, 1, -1], [0, 1, 1, 0, 0, 1]])
    members = np.stack([row == k for row in labels for k in (0, 1)])
    virtual = Virtual(np.array([3, 3, 8, 8]), np.array([0, 1] * 2), members.sum(1), np.array([0, 0, 1, 1]), members)
    drawn = [_dealt(virtual, seed) for seed in range(20)]
    for dealt in drawn:
        assert (dealt.sum(axis=1) == members.sum(axis=1)).all()
        assert (dealt[::2] + dealt[1::2] == members[::2] + members[1::2]).all() and not (dealt[::2] & dealt[1::2]).any()
    assert len({dealt.tobytes() for dealt in drawn}) > 10


@pytest.mark.parametrize(("other", "near"), [((0.5, 0.1), ["b"]), ((0.1, 0.1), []), ((None, None), [])])
def test_units_within_two_errors_are_not_told_apart(other, near):
    from pure_cli.stages.evaluation.rivals import _near

    rows = [{"units": "a", "above chance": (0.6, 0.05)}, {"units": "b", "above chance": other}]
    assert _near(rows, 0) == near
