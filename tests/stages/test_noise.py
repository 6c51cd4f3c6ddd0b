"""Which figures are bold, on made-up numbers; and noise and chance of real tables."""

import h5py
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from pure_cli import Workspace
from pure_cli.core.reseeds import WIDER
from pure_cli.stages.evaluation.noise import Scores, bold

LAYER = "layer3.0.bn2"
NEURONS = np.random.default_rng(0).normal(size=50)
A_LITTLE = 0.05 * np.random.default_rng(1).normal(size=50)


@pytest.mark.parametrize(
    ("values", "lower", "expected"),
    [
        ([NEURONS + 1, NEURONS, NEURONS - 1], False, [0]),  # one is ahead of all
        ([NEURONS + 1, NEURONS + 1 + A_LITTLE, NEURONS], False, [0, 1]),  # two are not told apart
        ([NEURONS, NEURONS + A_LITTLE], False, []),  # nothing is
        ([NEURONS + 1, None, NEURONS], True, [2]),  # lower is better, and a row has no values
        ([NEURONS], False, []),
    ],
)
def test_bold_are_the_best_and_what_they_are_not_told_apart_from(values, lower, expected):
    assert Scores(values, lower=lower).not_told_apart(0) == expected


def test_a_lead_below_the_noise_is_not_bold():
    turns = [np.tile(level, (50, 1)).T + NEURONS for level in ([0.0, 3.0, 0.0, 3.0, 0.0], np.zeros(5))]
    values = [NEURONS + 1, NEURONS + A_LITTLE]
    assert Scores(values).not_told_apart(0) == [0]
    assert Scores(values, turns).not_told_apart(0) == []
    together = [turns[0], turns[0]]  # the same choices move both: their difference stays
    assert Scores(values, together).not_told_apart(0) == [0]
    assert Scores(values, turns).noise(0, 1) == pytest.approx(WIDER * np.std([0, 3, 0, 3, 0], ddof=1))


def test_the_judges_own_clusters_are_no_match():
    rows = [{"features": "pure"}, {"features": "clip"}, {"features": "activation-max"}]
    scores = {"x": Scores([NEURONS, NEURONS + 5, NEURONS - 1])}
    assert bold(scores, rows, 0) == {"x": [1]}
    assert bold(scores, rows, 0, "clip") == {"x": [0]}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, images, model_file, tiny_weights):
    made = Workspace(tmp_path_factory.mktemp("noise") / "w")
    made.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=20, workers=0, layer=LAYER)
    made.attribute(workers=0, lower_layer="layer2")
    made.embed(embedder="pixels", workers=0, crop="none")
    return made


def test_every_table_has_noise_and_keeps_its_values(workspace):
    judge = "pixels+none"
    metrics = ["labels", "correlation", "semantics", "ms", "stability", judge]
    tables = workspace.evaluate(metric=metrics, judge=judge, k="2,3", sample=30).details["tables"]
    for table in (table for table in tables if table["verdict"]):
        (column,) = [name for name in table["columns"] if name.endswith(" noise") and name != "sample noise"]
        known = [row for row in table["rows"] if row.get("features", row.get("units")) != "random"]
        assert all(row[column] is not None and row[column] >= 0 for row in known), table["name"]
        assert set(table["bold"]) and all(len(own) < len(table["rows"]) for own in table["bold"].values())
        assert "Bold:" in table["note"] and "noise:" in table["note"]
    (ms,) = (table for table in tables if table["name"] == "ms")
    assert ms["rows"][0]["sample noise"] > 0
    with h5py.File(workspace.path / "evaluate.h5") as file:
        run = next(iter(file[f"labels/{LAYER}"]))
        again = file[f"labels/{LAYER}/{run}/pure/k2/ari-reseeded"][:]
    row = next(row for table in tables if table["name"] == "labels" for row in table["rows"])
    means = again[:, np.isfinite(again).all(axis=0)].mean(axis=1)
    assert row["ari noise"] == pytest.approx(WIDER * means.std(ddof=1))


def test_labels_that_are_shuffled_agree_with_nothing(workspace):
    """Planted: the virtual neurons are the classes."""
    from pure_cli.stages.evaluation.labels import _agreements, _by_chance

    classes = np.random.default_rng(0).integers(0, 2, (200, 60))
    assert (_agreements(classes, classes)[:, 2] == 1).all()
    ari = _by_chance(classes, classes, seed=0)[:, 2]
    assert abs(ari.mean()) < 3 * ari.std(ddof=1) / np.sqrt(len(ari))


def test_dealt_at_random_sizes_stay_and_meaning_goes(workspace):
    """What stands under "by chance" of clarity: with two clear meanings, the split has more than the deal."""
    from types import SimpleNamespace

    from pure_cli.stages.evaluation.noise import dealt

    labels = np.tile(np.repeat([0, 1, -1], [20, 10, 5]), (30, 1))
    study = SimpleNamespace(labels=lambda *_: labels, neurons=np.arange(30), seed=0)
    found = dealt(study, "pure", 2)
    for turn in found:
        for own, before in zip(turn, labels, strict=True):
            np.testing.assert_array_equal(np.bincount(own[own >= 0]), [20, 10])
            np.testing.assert_array_equal(own < 0, before < 0)
    ari = [adjusted_rand_score(own[:30], labels[0, :30]) for turn in found for own in turn]
    assert abs(np.mean(ari)) < 3 * np.std(ari) / np.sqrt(len(ari))
