"""What is recommended, and what is said of it, on numbers that are made up."""

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

from pure_cli import Workspace
from pure_cli.core.meanings import RULES
from pure_cli.errors import PureError
from pure_cli.registry import METRICS
from pure_cli.stages.cluster import _refused_by
from pure_cli.stages.inputs.features import RULE
from pure_cli.stages.planted.benchmark import UNTESTABLE, Benchmark
from pure_cli.stages.planted.candidates import ALIKE, UNIONS
from pure_cli.stages.planted.recipe import _folds, recipe
from pure_cli.stages.planted.scores import CHECKS, LEAKING, MEAN_MAPS
from pure_cli.stages.planted.tables import _agreement_table

PAPER, OTHER, THIRD = "pure@layer2", "activation-mean", "pure-sqrt-l2@layer3.0"
CLASSES = [parts for count in (1, 2, 3) for parts in combinations(range(8), count)]
NAMES = np.array(["+".join(map(str, parts)) for parts in CLASSES])
SEED = 0


def benchmark(leak=None, **ahead):
    """Learned unions of eight classes; by how much each kind of features is ahead of the paper's 0.5."""
    count = np.array([len(parts) for parts in CLASSES])
    noise = np.random.default_rng(1).normal(0, 0.02, len(count))
    scores = {}
    for kind, more in {
        PAPER: 0.0,
        **{{"other": OTHER, "third": THIRD}[name]: more for name, more in ahead.items()},
    }.items():
        ari = np.where(count > 1, 0.5 + noise + more, np.nan)
        scores[kind] = SimpleNamespace(ari=ari, nmi=ari, p=np.full(len(count), 0.01), polysemanticity=(count - 1) / 2,
                                       k=dict.fromkeys(RULES, count))  # fmt: skip
    units = SimpleNamespace(kind=np.full(len(count), UNIONS), count=count, name=NAMES, parts=CLASSES)
    return Benchmark("layer3", units, list(scores), scores, leak or {}, {}, SEED)


FIRST_HALF = _folds(benchmark()) == 0


def difference(table) -> dict:
    return next(row for row in table.rows if row["measure"].startswith("difference"))


def test_a_difference_that_shows_on_the_other_half_is_recommended():
    found, table = recipe(benchmark(other=0.3, third=0.2))
    assert (found.features, found.circuits) == (OTHER, THIRD)
    assert difference(table)["mean"] == pytest.approx(0.3) and difference(table)["low"] > 0
    assert "recommended only where this interval excludes 0" in table.note


def test_what_is_ahead_only_where_it_was_chosen_is_no_detectable_difference():
    lucky = benchmark(other=np.where(FIRST_HALF, 0.5, -0.1), third=np.where(FIRST_HALF, -0.1, 0.5))
    ahead = lucky.mean(lucky.scores[OTHER].ari - lucky.scores[PAPER].ari, lucky.which(UNIONS))
    assert ahead.low > 0  # on all unions, those included by which it was chosen
    found, table = recipe(lucky)
    assert found.features == found.circuits == PAPER
    assert difference(table)["mean"] == pytest.approx(-0.1)
    assert "no detectable difference, so the paper's recipe is kept" in table.note


def test_other_units_beside_them_change_nothing():
    lucky = {"other": np.where(FIRST_HALF, 0.5, -0.1), "third": np.where(FIRST_HALF, -0.1, 0.5)}
    alone, more = (benchmark(**lucky) for _ in range(2))
    extra = np.array([f"0+{number}" for number in range(8, 20)])
    units = more.units
    units.kind, units.count = np.append(units.kind, [ALIKE] * 12), np.append(units.count, [2] * 12)
    units.name, units.parts = np.append(units.name, extra), [*units.parts, *((0, number) for number in range(8, 20))]
    for own in more.scores.values():
        own.ari, own.p = np.append(own.ari, np.zeros(12)), np.append(own.p, np.zeros(12))
        own.nmi, own.polysemanticity = own.ari, np.append(own.polysemanticity, np.zeros(12))
        own.k = {rule: np.append(found, [1] * 12) for rule, found in own.k.items()}
    assert recipe(more)[0] == recipe(alone)[0] and recipe(more)[1].rows == recipe(alone)[1].rows


def test_the_best_is_kept_where_it_is_the_papers():
    found, table = recipe(benchmark(other=-0.1))
    assert found.features == PAPER and difference(table)["mean"] == 0
    assert "No kind of features has a higher mean than the paper's recipe" in table.note


@pytest.mark.parametrize(
    ("values", "says"),
    [([0.0, 0.01, -0.01], "none found"), ([0.0], UNTESTABLE), ([], UNTESTABLE), ([0.4, 0.45, 0.5], CHECKS[0])],
)
def test_what_the_checks_cannot_see_is_not_testable(values, says):
    leak = {(UNIONS, kind, check): np.array(values) for kind in (PAPER, OTHER) for check in CHECKS}
    leak |= {(UNIONS, OTHER, check): np.zeros(5) for check in CHECKS}
    table = _agreement_table(benchmark(leak, other=0.1), UNIONS, (2, 3), "unions")
    leaks = {row["features"]: row["leaks"] for row in table.rows}
    assert leaks[PAPER].startswith(says)
    assert leaks[OTHER] == UNTESTABLE  # activations give zeros by their nature


def test_a_leak_bars_a_recipe_and_what_the_place_tells_is_told_of_it():
    for check in LEAKING:
        kept, table = recipe(benchmark({(UNIONS, THIRD, check): np.full(5, 0.2)}, third=0.3))
        assert kept.features == PAPER and "'mean maps'" not in table.verdict, check
    chosen, table = recipe(benchmark({(UNIONS, THIRD, MEAN_MAPS): np.full(5, 0.2)}, third=0.3))
    assert chosen.features == THIRD and table.verdict.endswith("where in an image the units fire: see 'mean maps'.")
    _, table = recipe(benchmark({(UNIONS, THIRD, MEAN_MAPS): np.full(5, 0.1)}, third=0.3))
    assert "'mean maps'" not in table.verdict  # 0.1 of 0.8 is less than a fifth


@pytest.mark.parametrize(
    ("polysemanticity", "p", "threshold", "criterion"),
    [(0.9, 0.06, 0.1, "p"), (0.05, 0.06, 0.1, "p"), (0.1, 0.05, 0.1, "threshold"), (0.2, 0.01, 0.1, RULE)],
)
def test_a_neuron_of_one_meaning_names_the_criterion_that_refused(polysemanticity, p, threshold, criterion):
    assert _refused_by(polysemanticity, p, threshold) == criterion


def test_evaluate_starts_no_calibration_that_nobody_asked_for(tmp_path, images, tiny):
    workspace = Workspace(tmp_path / "w", model=tiny)
    workspace.collect(data=images, n=5, layer="layer3", workers=0)
    with pytest.raises(PureError, match=r"no calibration of 'layer3' that is up to date. Run `pure calibrate` first"):
        workspace.evaluate(metric="planted")
    assert not (workspace.path / "planted").exists()


def test_controls_of_planted_units_are_refused_and_told_beside_other_metrics(tmp_path, monkeypatch):
    from pure_cli.settings.evaluate import EvaluateSettings
    from pure_cli.stages import evaluate as stage
    from pure_cli.stages.outcome import Outcome

    store = Workspace(tmp_path / "w").store
    with pytest.raises(
        PureError, match=r"^--controls does not apply to --metric planted\. Leave it out, or name anoth"
    ):
        stage.evaluate(store, EvaluateSettings(metric="planted", controls="untrained,shuffled"))
    empty = {"tables": [], "folders": []}
    planted = replace(METRICS["planted"], instead=lambda *_: Outcome("calibrate", [], 0, "layers", details=empty))
    monkeypatch.setattr(stage, "METRICS", {"planted": planted, "labels": METRICS["labels"]})
    monkeypatch.setattr(stage, "_measure", lambda *_: ([], []))
    monkeypatch.setattr("pure_cli.stages.controls.beside.with_controls", lambda *_: [])
    found = stage.evaluate(store, EvaluateSettings(metric="planted,labels", controls="untrained"))
    assert found.notes == ["--controls does not apply to --metric planted."]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": [3]}, r"^--k does not apply to --metric planted\. Leave it out, or name another --metric\.$"),
        ({"features": "pure"}, r"^--features does not apply to"),
        ({"neurons": "0-3"}, r"^--neurons does not apply to"),
        ({"judge": "clip", "k": [2]}, r"^--k and --judge do not apply to --metric planted\. Leave them out, or"),
    ],
)
def test_options_that_planted_units_do_not_heed_are_refused(tmp_path, options, said):
    from pure_cli.settings.evaluate import EvaluateSettings
    from pure_cli.stages.evaluate import evaluate

    with pytest.raises(PureError, match=said):
        evaluate(Workspace(tmp_path / "w").store, EvaluateSettings(metric="planted", **options))


def test_no_threshold_of_zero_is_told():
    from pure_cli.stages.planted.recipe import rule_in_words
    from pure_cli.views.verdicts import one_words
    from pure_cli.views.virtual_neurons import as_table

    assert [rule_in_words(limit) for limit in (0.0, 0.1234)] == [
        "k by gap",
        "k by gap where polysemanticity is above 0.123",
    ]
    assert one_words("threshold", 0.01, 0.0, 0.0).endswith("too little (p = 0.01, polysemanticity 0.00).")
    assert one_words("threshold", 0.01, 0.1, 0.12).endswith("polysemanticity 0.10, which is no more than 0.12).")
    row = {"neuron": 1, "name": "", "silhouette": None, "distance": None, "tied": 0, "virtual_neurons": [], "p": 0.01}
    for threshold, said in ((0.0, "polysemanticity is 0;"), (0.1234, "is not above 0.123, the calibrated threshold;")):
        neurons = [{**row, "polysemanticity": 0.0, "threshold": threshold, "refused_by": "threshold"}]
        assert said in as_table({"layer": "a", "features": "pure", "k": "auto", "neurons": neurons})["note"]
