"""The recipe that the benchmark on units with known meanings speaks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pure_cli.artifacts import Calibration
from pure_cli.core.features import Kind
from pure_cli.core.metrics.statistics import Estimate
from pure_cli.stages.evaluation.study import Table, number
from pure_cli.stages.inputs.features import RULE
from pure_cli.stages.planted.benchmark import Benchmark
from pure_cli.stages.planted.candidates import UNIONS, USUAL

SPLIT_SINGLES = 0.05  # of the units with one meaning may be split
FOLDS = 2
WORDS = {1: "one", 2: "two", 3: "three"}  # meanings


def recipe(found: Benchmark) -> tuple[Calibration, Table]:
    """The best recipe, and how much better it is than the paper's on units that it was not chosen by.

    Kinds of features that leak are left out. Learned unions decide; where there are none, since no image has a label,
    the splits' stability and their agreement with those of other layers do. The paper's recipe is kept where the
    interval of the difference does not exclude 0, on units by which the other recipe was not chosen: on those by which
    it was, the best of many kinds is ahead by luck alone.
    """
    if not found.which(UNIONS).any():
        return _recipe_by_proxy(found)
    kinds = [kind for kind in found.kinds if not found.leaks(kind)]
    kinds = [kind for kind in kinds if np.isfinite(found.scores[kind].p).any()] or [found.paper]
    by_relevance = [kind for kind in kinds if Kind.of(kind).transform] or [found.paper]
    choice, circuits = _chosen_among(found, kinds), _chosen_among(found, by_relevance).best
    limit = threshold(found, choice.best, found.which(UNIONS))
    rows, why = _measured_rows(found, choice), _verdict(choice, found.paper)
    table = Table(
        "planted-recipe",
        f"The calibrated recipe ({choice.best}, {rule_in_words(limit)}) on units that it was not chosen by",
        ["measure", "mean", "low", "high", "units"],
        rows,
        "Chosen on one half of the learned unions, measured on the other, and the other way round (among kinds of "
        f"features that were good on all); 95 % intervals. Of relevance, {circuits} is recommended. " + why,
        _in_words(found, choice.best, limit, why),
        intervals={"mean": ("low", "high")},
    )
    lower = list(Kind.of(choice.best).lower_layers or Kind.of(circuits).lower_layers)
    scores = {str(row["measure"]): row["mean"] for row in rows}
    return Calibration(choice.best, lower, RULE, limit, "truth", scores, circuits=circuits), table


@dataclass(frozen=True)
class _Choice:
    """Which of some kinds of features is recommended, by the learned unions.

    Attributes
    ----------
    best : the one that is recommended: the paper's unless another is shown to be ahead
    first : the best kind without each fold
    difference : (U,) by how much that kind is ahead of the paper's on the fold's units
    ahead : the mean of these differences
    """

    best: str
    first: list[str]
    difference: np.ndarray
    ahead: Estimate

    @property
    def is_shown(self) -> bool:
        """The interval of the difference excludes 0."""
        return self.ahead.low > 0


def _chosen_among(found: Benchmark, kinds: Sequence[str]) -> _Choice:
    which = found.which(UNIONS)
    first, difference = _on_the_other_half(found, kinds, which)
    choice = _Choice(found.paper, first, difference, found.mean(difference, which))
    return replace(choice, best=_best(found, kinds, which)) if choice.is_shown else choice


def _measured_rows(found: Benchmark, choice: _Choice) -> list[dict[str, Any]]:
    """Rows of a table: how well the recipe does on units that it was not chosen by, and how well the paper's does."""
    paper, several = found.scores[found.paper].ari, {count: word for count, word in WORDS.items() if count > 1}
    ari, right = paper + choice.difference if choice.is_shown else paper, _k_is_right(found, choice)
    measures = [
        *((f"adjusted Rand index, {word} meanings", ari, count) for count, word in several.items()),
        *((f"… by the paper's recipe, {word}", paper, count) for count, word in several.items()),
        ("difference of the best on the other half, both", choice.difference, None),
        ("k right, one meaning", right, 1),
        *((f"k right, {word} meanings", right, count) for count, word in several.items()),
    ]
    rows = []
    for name, values, meanings in measures:
        estimate = found.mean(values, found.which(UNIONS, meanings))
        if estimate.n:
            rows.append({"measure": name, "mean": number(estimate.mean), "low": number(estimate.low),
                         "high": number(estimate.high), "units": estimate.n})  # fmt: skip
    return rows


def _k_is_right(found: Benchmark, choice: _Choice) -> np.ndarray:
    """(U,) float, whether the number of meanings is found by the kind and threshold of the other half; NaN for others
    than unions."""
    which, fold = found.which(UNIONS), _folds(found)
    right = np.full(len(which), np.nan)
    for part, kind in enumerate(choice.first if choice.is_shown else [found.paper] * FOLDS):
        k = choose(found, kind, threshold(found, kind, which & (fold != part)))
        right[which & (fold == part)] = (k == found.units.count)[which & (fold == part)]
    return right


def _on_the_other_half(found: Benchmark, kinds: Sequence[str], which: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The best kind without each fold, and (U,) by how much it is ahead of the paper's recipe on that fold's units."""
    fold = _folds(found)
    best = [_best(found, kinds, which & (fold != part)) for part in range(FOLDS)]
    ahead = np.full(len(which), np.nan)
    for part, kind in enumerate(best):
        outside = which & (fold == part)
        ahead[outside] = (found.scores[kind].ari - found.scores[found.paper].ari)[outside]
    return best, ahead


def _verdict(choice: _Choice, paper: str) -> str:
    """What the difference between the best on one half and the paper's recipe on the other allows to say."""
    if set(choice.first) == {paper}:
        return "No kind of features has a higher mean than the paper's recipe, which is kept."
    names, ahead = " and ".join(dict.fromkeys(choice.first)), choice.ahead
    by = f"The best on one half ({names}) is {ahead.mean:+.3f} ({_interval(ahead)}) ahead of the paper's on the other"
    if choice.is_shown:
        return f"{by}; another recipe is recommended only where this interval excludes 0."
    return f"{by}: no detectable difference, so the paper's recipe is kept."


def _recipe_by_proxy(found: Benchmark) -> tuple[Calibration, Table]:
    """The kind of features with the best mean rank by the judges that need no labels."""
    source = found.without_labels
    judged = {kind: found.proxies(kind, source) for kind in found.kinds if not found.leaks(kind, source)}
    places = np.argsort(np.argsort(np.array(list(judged.values())), axis=0), axis=0).mean(axis=1)
    place = dict(zip(judged, places.tolist(), strict=True))
    best = max(place, key=lambda kind: place[kind])
    by_relevance = [kind for kind in place if Kind.of(kind).transform]
    circuits = max(by_relevance, key=lambda kind: place[kind], default=found.paper)
    lower = list(Kind.of(best).lower_layers or Kind.of(circuits).lower_layers)
    rows = [
        {"measure": name, "calibrated": number(ours), "the paper's": number(theirs)}
        for name, ours, theirs in zip(
            ("stability", "agreement with other layers"), judged[best], found.proxies(found.paper, source), strict=True
        )
    ]
    why = "No image has a label, so that stability and agreement decide. They follow the truth in part only."
    table = Table(
        "planted-recipe",
        f"The calibrated recipe ({best}, k by gap), chosen without labels",
        ["measure", "calibrated", "the paper's"],
        rows,
        why,
        _in_words(found, best, 0.0, why),
    )
    scores = {str(row["measure"]): row["calibrated"] for row in rows}
    return Calibration(best, lower, RULE, 0.0, "proxy", scores, circuits=circuits), table


def _folds(found: Benchmark) -> np.ndarray:
    """(U,) fold of each of the usual units, whatever others there are, and -1 of the others; the same for the same unit
    on both halves of the images."""
    fold, usual = np.full(len(found.units.name), -1), np.isin(found.units.kind, USUAL)
    unique, place = np.unique(found.units.name[usual], return_inverse=True)
    fold[usual] = (np.random.default_rng(found.seed).permutation(len(unique)) % FOLDS)[place]
    return fold


def _best(found: Benchmark, kinds: Sequence[str], which: np.ndarray) -> str:
    """The kind with the highest mean adjusted Rand index, over two and three meanings alike."""

    def value(kind: str) -> float:
        parts = [found.scores[kind].ari[which & (found.units.count == count)] for count in (2, 3)]
        return float(np.mean([np.nanmean(part) for part in parts if np.isfinite(part).any()] or [-1.0]))

    return max(kinds, key=value)


def threshold(found: Benchmark, kind: str, which: np.ndarray) -> float:
    """The least polysemanticity above which at most 5 % of the units with one meaning are split."""
    single = which & (found.units.count == 1)
    own = found.scores[kind]
    split = np.sort(own.polysemanticity[single & (own.k[RULE] > 1)])[::-1]
    allowed = int(SPLIT_SINGLES * single.sum())
    return float(split[allowed]) if len(split) > allowed else 0.0


def rule_in_words(limit: float) -> str:
    """How k is chosen, with the polysemanticity above which a neuron is split; 0 splits by the rule alone."""
    return f"k by {RULE}" + (f" where polysemanticity is above {limit:.3f}" if limit else "")


def choose(found: Benchmark, kind: str, limit: float) -> np.ndarray:
    """(U,) number of meanings by the gap statistic, and one where polysemanticity does not exceed the limit."""
    own = found.scores[kind]
    return np.where(own.polysemanticity > limit, own.k[RULE], 1)


def _interval(estimate: Estimate) -> str:
    return "–" if not np.isfinite(estimate.low) else f"{estimate.low:.3f} … {estimate.high:.3f}"


def _in_words(found: Benchmark, best: str, limit: float, why: str) -> str:
    """What calibrate recommends, and why."""
    kept = f"the paper's recipe ({best})" if best == found.paper else best
    place = (
        " A part of it is told by where in an image the units fire: see 'mean maps'." if found.by_place(best) else ""
    )
    return f"Recommended for '{found.layer}': {kept}, {rule_in_words(limit)}. {why}{place}"
