"""The benchmark on units with known meanings: what is measured, as tables, and the recipe that it speaks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pure_cli.artifacts import Calibration, read_collected
from pure_cli.config import CalibrateSettings
from pure_cli.core.features import Kind
from pure_cli.core.meanings import RULES
from pure_cli.core.metrics.agreement import agreement
from pure_cli.core.metrics.statistics import FEWEST_VALUES, Estimate, shared_area, shared_mean
from pure_cli.data.listing import UNKNOWN_LABEL, Listing
from pure_cli.errors import PureError, unknown
from pure_cli.stages.evaluation.study import Result, Table, ends, interval, number, spread
from pure_cli.stages.inputs.features import RULE
from pure_cli.stages.inputs.freshness import require_unchanged
from pure_cli.stages.outcome import Progress
from pure_cli.stages.planted.scores import CHECKS, LEAKING, RecipeScores, Units, kinds_for, leaks, score
from pure_cli.stages.planted.units import HALVES, MERGED, SUMS, TRIES, UNIONS, make_units
from pure_cli.stages.runtime.images import first_image
from pure_cli.stages.runtime.network import open_network
from pure_cli.stages.runtime.soundness import require_sound
from pure_cli.waiting import waiting_for
from pure_cli.words import printable
from pure_cli.workspace import Store

UNITS = 90  # of each kind and number of meanings, where the data have them
LEAK_UNITS = 24  # of each kind that the checks look at
LEAK = 0.2  # of what features find, from which on a check that finds it too speaks of a leak
FEWEST = 10  # units with two or three meanings that a recipe takes
SPLIT_SINGLES = 0.05  # of the units with one meaning may be split
JUDGED = 2  # kinds by relevance and of activations, beside the paper's, whose number of meanings is looked at
FOLDS = 2
UNTESTABLE = "not testable"  # for leaks; see Benchmark.testable
LAYERS = 5  # lower layers that are tried at most
NAMED = 4  # classes that a sentence names
STEPS = 100  # of the progress
AHEAD = "against the paper's"  # a column
NOTHING = Estimate(np.nan, np.nan, np.nan, 0)
WORDS = {1: "one", 2: "two", 3: "three"}  # meanings


@dataclass(frozen=True)
class Benchmark:
    """All that was measured on a layer.

    Attributes
    ----------
    kinds : of features; the first is the paper's recipe
    scores : of each
    leak : (kind of unit, features, check) to adjusted Rand indices
    notes : sentences that the user should read
    """

    layer: str
    units: Units
    kinds: list[str]
    scores: dict[str, RecipeScores]
    leak: dict[tuple[str, str, str], np.ndarray]
    seed: int
    notes: Sequence[str] = ()

    @property
    def paper(self) -> str:
        return self.kinds[0]

    def which(self, kind: str, count: int | None = None) -> np.ndarray:
        """(U,) bool, the units of a kind, with so many meanings."""
        own = self.units.kind == kind
        return own if count is None else own & (self.units.count == count)

    def mean(self, values: np.ndarray, which: np.ndarray) -> Estimate:
        rows = np.flatnonzero(which)
        return shared_mean(values[rows], [self.units.parts[row] for row in rows], self.seed)

    @property
    def without_labels(self) -> str:
        """The kind of units that judges without labels look at."""
        return next(kind for kind in (UNIONS, MERGED, SUMS) if self.which(kind, 2).any())

    def proxies(self, features: str, kind: str) -> tuple[float, float]:
        """Of units with two meanings: stability of the splits between bootstrap samples, and mean agreement with the
        splits by features of other layers."""
        own, rows = self.scores[features], np.flatnonzero(self.which(kind, 2))
        others = [one for one in self.kinds if Kind.of(one).lower_layers != Kind.of(features).lower_layers]
        agree = [agreement(own.label[row], self.scores[one].label[row]).ari for one in others for row in rows]
        return float(np.nanmean(own.stability[rows])), float(np.mean(agree)) if agree else float("nan")

    def alone(self, values: np.ndarray) -> Estimate:
        """The mean of a few units that were looked at, taken as independent."""
        return shared_mean(values, [(row,) for row in range(len(values))], self.seed)

    def testable(self, features: str, kind: str) -> bool:
        """Whether the checks could find a leak: of activations they find nothing by their nature."""
        looked_at = [self.leak.get((kind, features, check), np.empty(0)) for check in LEAKING]
        return bool(Kind.of(features).transform) and all(np.isfinite(self.alone(one).low) for one in looked_at)

    def leaks(self, features: str, kind: str = UNIONS) -> list[str]:
        """The checks that find a fifth of what the features find, where there should be nothing."""
        own = self.mean(self.scores[features].ari, self.which(kind, 2)).mean
        found = []
        for check in LEAKING:
            estimate = self.alone(self.leak.get((kind, features, check), np.empty(0)))
            if estimate.low > 0 and estimate.mean >= LEAK * own:
                found.append(check)
        return found


def run(
    store: Store,
    layer: str,
    grouping: Mapping[str, str],
    settings: CalibrateSettings,
    progress: Progress,
) -> Benchmark:
    """Make units, and measure every kind of features on them.

    Parameters
    ----------
    grouping : class to group, where groups of classes are the meanings; empty where classes are

    Raises
    ------
    PureError
        Too few images, or a layer of directions.
    """
    from pure_cli.models.ends import pre_activation
    from pure_cli.models.layers import candidates

    collected = read_collected(store)
    whole = require_unchanged(store, collected, [layer])
    listing = grouped(whole, grouping)
    own = collected.layers[layer]
    if not own.lower_layers:
        raise PureError(f"No layer is known to lie below '{layer}', so there is nothing to attribute to.")
    network = open_network(collected, settings.device, settings.deterministic)
    image, seed, budget = network.inputs(first_image(listing, network)), settings.seed, settings.budget
    paper = own.lower_layers[0]
    before = pre_activation(network.model, image, layer)
    found = [name for name in candidates(network.model, image, layer, paper) if name != before]
    every = list(dict.fromkeys([*(settings.lower_layer or found[: LAYERS - 1]), paper]))
    require_sound(network, listing, [layer, *every])  # what is odd about it collect has said
    before = None if before in every else before  # nothing can be attributed to itself
    done = [0.0]

    def advance(part: float) -> None:
        done[0] = min(STEPS, done[0] + part)
        progress(int(done[0]), STEPS)

    progress(0, STEPS)
    waiting_for("looking for units with known meanings")
    wanted, most = max(4, round(UNITS * budget)), max(2, round(LEAK_UNITS * min(1.0, budget)))
    drawn = HALVES * (-(-wanted // HALVES)) * (4 + 2 * TRIES)  # unions and pairs, at most
    share = {"images": 8 / max(1, len(listing)), "units": 27 / drawn, "leaks": 20 / (3 * most)}
    made = make_units(
        store, collected, listing, network, layer, before, every,
        wanted, seed, lambda what, count: advance(share[what] * count), settings,
    )  # fmt: skip
    if not made:
        raise PureError(
            f"The images give no units with known meanings for '{layer}': every class of a union, and every channel of "
            f"a pair, needs its share of {own.n} references. Collect with fewer (-n) or more images."
        )
    units, kinds, scores = Units(made), kinds_for(every, paper), {}
    for kind in kinds:
        scores[kind] = score(units, kind, False, seed)
        advance(20 / len(kinds))
    judged = _judged(units, kinds, scores) if (units.kind == UNIONS).any() else []
    for kind in judged:
        scores[kind] = score(units, kind, True, seed)
        advance(25 / len(judged))
    leak = leaks(units, kinds, network, most, seed, lambda what, count: advance(share[what] * count))
    progress(STEPS, STEPS)
    return Benchmark(layer, units, kinds, scores, leak, seed, ungrouped(whole, grouping))


def grouped(listing: Listing, grouping: Mapping[str, str]) -> Listing:
    """The images with groups of classes for labels; classes without a group have no label.

    Raises
    ------
    PureError
        A class that the images do not have.
    """
    if not grouping:
        return listing
    known = _classes(listing, grouping)
    for name in grouping:
        if name not in known.values():
            raise unknown("class", name, known.values())
    groups = sorted(set(grouping.values()))
    new = {label: groups.index(grouping[name]) for label, name in known.items() if name in grouping}
    labels = np.array([new.get(int(label), UNKNOWN_LABEL) for label in listing.labels], dtype=np.int64)
    return replace(listing, labels=labels, names=tuple(groups), codes=())


def _classes(listing: Listing, grouping: Mapping[str, str]) -> dict[int, str]:
    """Label to what a grouping calls the class."""
    by_code = any(name in listing.codes for name in grouping)
    return dict(enumerate(listing.codes if by_code else listing.names)) or {
        int(c): str(c) for c in np.unique(listing.labels) if c >= 0
    }


def ungrouped(listing: Listing, grouping: Mapping[str, str]) -> list[str]:
    """A sentence on the classes that a grouping leaves out."""
    known = _classes(listing, grouping) if grouping else {}
    without = [name for name in known.values() if name not in grouping]
    if not without:
        return []
    named = ", ".join(f"'{printable(name)}'" for name in without[:NAMED])
    more = f" and {len(without) - NAMED:,} more" if len(without) > NAMED else ""
    return [
        f"The grouping names {len(known) - len(without):,} of {len(known):,} classes; no union is made of the others "
        f"({named}{more})."
    ]


def _judged(units: Units, kinds: Sequence[str], scores: dict[str, RecipeScores]) -> list[str]:
    """The kinds whose numbers of meanings are looked at: the paper's, the best by relevance, and activations."""
    unions = units.kind == UNIONS
    which = unions if unions.any() else np.ones(len(unions), bool)

    def ari(kind: str) -> float:
        values = scores[kind].ari[which]
        return float(np.nanmean(values)) if np.isfinite(values).any() else -1.0

    relevance = sorted((kind for kind in kinds[1:] if Kind.of(kind).transform), key=ari, reverse=True)
    lower = sorted((kind for kind in kinds if kind.startswith("lower-activation")), key=ari, reverse=True)
    return list(dict.fromkeys([kinds[0], *relevance[:JUDGED], *lower[:1], "activation-max", "activation-mean"]))


# ----------------------------------------------------------------------------------------------------- the recipe


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
    which = found.which(UNIONS)
    fold = _folds(found.units.name, found.seed)
    paper = found.scores[found.paper].ari
    first, difference = _on_the_other_half(found, kinds, which, fold)
    ahead = found.mean(difference, which)
    shows = ahead.low > 0
    best = _best(found, kinds, which) if shows else found.paper
    ari, right = paper + difference if shows else paper, np.full(len(which), np.nan)
    for part, kind in enumerate(first if shows else [found.paper] * FOLDS):
        k = choose(found, kind, threshold(found, kind, which & (fold != part)))
        right[which & (fold == part)] = (k == found.units.count)[which & (fold == part)]
    several = {count: word for count, word in WORDS.items() if count > 1}
    measures = [
        *((f"adjusted Rand index, {word} meanings", ari, count) for count, word in several.items()),
        *((f"… by the paper's recipe, {word}", paper, count) for count, word in several.items()),
        ("difference of the best on the other half, both", difference, None),
        ("k right, one meaning", right, 1),
        *((f"k right, {word} meanings", right, count) for count, word in several.items()),
    ]
    rows = []
    for name, values, meanings in measures:
        estimate = found.mean(values, found.which(UNIONS, meanings))
        if estimate.n:
            rows.append({"measure": name, "mean": number(estimate.mean), "low": number(estimate.low),
                         "high": number(estimate.high), "units": estimate.n})  # fmt: skip
    limit = threshold(found, best, which)
    parsed = Kind.of(best)
    by_relevance = [kind for kind in kinds if Kind.of(kind).transform] or [found.paper]
    _, of_circuits = _on_the_other_half(found, by_relevance, which, fold)
    circuits = _best(found, by_relevance, which) if found.mean(of_circuits, which).low > 0 else found.paper
    lower = list(parsed.lower_layers or Kind.of(circuits).lower_layers)
    scores = {str(row["measure"]): row["mean"] for row in rows}
    why = _verdict(first, found.paper, ahead)
    table = Table(
        "planted-recipe",
        f"The calibrated recipe ({best}, k by gap, threshold {limit:.3f}) on units that it was not chosen by",
        ["measure", "mean", "low", "high", "units"],
        rows,
        "Chosen on one half of the learned unions, measured on the other, and the other way round (among kinds of "
        f"features that were good on all); 95 % intervals. Of relevance, {circuits} is recommended. " + why,
        _in_words(found, best, limit, why),
        intervals={"mean": ("low", "high")},
    )
    return Calibration(best, lower, RULE, limit, "truth", scores, circuits=circuits), table


def _on_the_other_half(
    found: Benchmark, kinds: Sequence[str], which: np.ndarray, fold: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """The best kind without each fold, and (U,) by how much it is ahead of the paper's recipe on that fold's units."""
    best = [_best(found, kinds, which & (fold != part)) for part in range(FOLDS)]
    ahead = np.full(len(which), np.nan)
    for part, kind in enumerate(best):
        outside = which & (fold == part)
        ahead[outside] = (found.scores[kind].ari - found.scores[found.paper].ari)[outside]
    return best, ahead


def _verdict(first: Sequence[str], paper: str, ahead: Estimate) -> str:
    """What the difference between the best on one half and the paper's recipe on the other allows to say."""
    if set(first) == {paper}:
        return "No kind of features has a higher mean than the paper's recipe, which is kept."
    names = " and ".join(dict.fromkeys(first))
    by = f"The best on one half ({names}) is {ahead.mean:+.3f} ({_interval(ahead)}) ahead of the paper's on the other"
    if ahead.low > 0:
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


def _folds(names: np.ndarray, seed: int) -> np.ndarray:
    """(U,) fold of each unit; the same for the same unit on both halves of the images."""
    unique, place = np.unique(names, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(unique)) % FOLDS)[place]


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


def choose(found: Benchmark, kind: str, limit: float) -> np.ndarray:
    """(U,) number of meanings by the gap statistic, and one where polysemanticity does not exceed the limit."""
    own = found.scores[kind]
    return np.where(own.polysemanticity > limit, own.k[RULE], 1)


# ----------------------------------------------------------------------------------------------------- the tables


def result(found: Benchmark) -> tuple[Result, Calibration | None]:
    """Tables and per-unit values, and a recipe where there are units enough."""
    calibration, tables = None, []
    if (found.units.count[found.which(found.without_labels)] > 1).sum() >= FEWEST:
        calibration, recipe_table = recipe(found)
        tables.append(recipe_table)
    recommended = calibration.features if calibration else None
    for kind, counts, what in (
        (UNIONS, (2, 3), "learned unions of classes"),
        (MERGED, (2,), "merged units, the ReLU of the sum of two channels"),
        (SUMS, (2,), "sums of two channels, which leak by their nature"),
    ):
        if found.which(kind).any():
            tables.append(_agreement_table(found, kind, counts, what, recommended))
    if calibration:
        main = next(i for i, table in enumerate(tables) if table.name == f"planted-{found.without_labels}")
        tables[main] = replace(tables[main], verdict=tables[0].verdict)
        tables[0] = replace(tables[0], verdict="")
    tables += [_meanings_table(found), _rules_table(found)]
    tables += [_confusion_table(found, calibration)] if calibration else []
    tables += [_leak_table(found), _proxy_table(found)]
    return Result(_arrays(found), [_without_nan(table) for table in tables if table.rows]), calibration


def _without_nan(table: Table) -> Table:
    """The same with None for numbers that there are not."""

    def known(value: Any) -> Any:
        if isinstance(value, list):
            return (
                None if value and value[0] is not None and not np.isfinite(value[0]) else [known(one) for one in value]
            )
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return replace(table, rows=[{name: known(value) for name, value in row.items()} for row in table.rows])


def _in_words(found: Benchmark, best: str, limit: float, why: str) -> str:
    """What calibrate recommends, and why."""
    kept = f"the paper's recipe ({best})" if best == found.paper else best
    return f"Recommended for '{found.layer}': {kept}, k by {RULE}, threshold {limit:.3f}. {why}"


def _agreement_table(
    found: Benchmark, kind: str, counts: Sequence[int], what: str, recommended: str | None = None
) -> Table:
    rows = []
    for features in found.kinds:
        own, paper = found.scores[features], found.scores[found.paper]
        row: dict[str, Any] = {"features": features}
        for count in counts:
            which = found.which(kind, count)
            row |= interval(f"ARI, {count}", found.mean(own.ari, which))
            row[f"NMI, {count}"] = number(found.mean(own.nmi, which).mean)
        row |= interval(AHEAD, found.mean(own.ari - paper.ari, found.which(kind)))
        leaks, testable = found.leaks(features, kind), found.testable(features, kind)
        row |= {"leak": bool(leaks) if leaks or testable else UNTESTABLE,
                "leaks": ", ".join(leaks) or ("none found" if testable else UNTESTABLE)}  # fmt: skip
        rows.append(row)
    sizes = ", ".join(f"{int(found.which(kind, count).sum())} of {count} meanings" for count in counts)
    indices = [f"ARI, {count}" for count in counts]
    columns = ["features", *(name for count in counts for name in (*spread(f"ARI, {count}"), f"NMI, {count}")),
               *spread(AHEAD), "leaks"]  # fmt: skip
    note = (
        "ARI, NMI: adjusted Rand index and normalised mutual information with the known meanings (2, 3: how many); "
        f"(low … high): 95 %, by bootstrap over classes or channels, of {FEWEST_VALUES} units or more. The first "
        "line is the paper's recipe. Leak: a check finds meanings where there should be none; "
        f"{UNTESTABLE}: activations by their nature, or too few units, which is no pass."
    )
    best = next((i for i, row in enumerate(rows) if row["features"] == recommended), None)
    note += " *: recommended." if best is not None else ""
    return Table(
        f"planted-{kind}", f"{found.layer}: {what} ({sizes})", columns, rows, note, best=best,
        intervals=ends(*indices, AHEAD), shown=["features", *indices, "leak", AHEAD],
    )  # fmt: skip


def _interval(estimate: Estimate) -> str:
    return "–" if not np.isfinite(estimate.low) else f"{estimate.low:.3f} … {estimate.high:.3f}"


def _meanings_table(found: Benchmark) -> Table:
    """One meaning against several."""
    unions = found.which(UNIONS)
    several, parts = found.units.count[unions] > 1, [found.units.parts[row] for row in np.flatnonzero(unions)]
    if several.all() or not several.any():
        return Table("planted-meanings", "", [], [])
    clear = [np.nan_to_num(np.nanmax(found.scores[kind].silhouette, axis=1), nan=0.0)[unions] for kind in found.kinds]
    judged = [kind for kind in found.kinds if np.isfinite(found.scores[kind].p[unions]).all()]
    poly = [found.scores[kind].polysemanticity[unions] for kind in judged]
    areas = {}
    for what, kinds, scores in (("silhouette", found.kinds, clear), ("polysemanticity", judged, poly)):
        estimates = shared_area(scores, several, parts, found.seed)
        areas[what] = dict(zip(kinds, zip(estimates[::2], estimates[1::2], strict=True), strict=True))
    rows = []
    for kind in found.kinds:
        row: dict[str, Any] = {"features": kind}
        for what, own in areas.items():
            for name, estimate in zip((what, f"{what} {AHEAD}"), own.get(kind, (NOTHING, NOTHING)), strict=True):
                row |= interval(name, estimate)
        rows.append(row)
    note = (
        "Area under the curve: how often a learned union of several classes scores higher than one of a single class."
    )
    title = f"{found.layer}: one meaning against several, by silhouette and by polysemanticity"
    intervals = ends(*(name for what in areas for name in (what, f"{what} {AHEAD}")))
    return Table("planted-meanings", title, list(rows[0]), rows, note, intervals=intervals)


def _rules_table(found: Benchmark) -> Table:
    """The number of meanings by every rule."""
    unions, count, rows = found.which(UNIONS), found.units.count, []
    for kind in found.kinds:
        own = found.scores[kind]
        if not unions.any() or not np.isfinite(own.p[unions]).all():
            continue
        for rule in RULES:
            row: dict[str, Any] = {"features": kind, "rule": rule}
            for true, word in WORDS.items():
                right = found.mean((own.k[rule] == count).astype(float), unions & (count == true))
                row |= interval(word, right)
            paper = (found.scores[found.paper].k[rule] == count).astype(float)
            row |= interval(AHEAD, found.mean((own.k[rule] == count) - paper, unions))
            rows.append(row)
    note = "Share of the learned unions of one, two and three classes for which a rule finds that number of meanings."
    title = f"{found.layer}: how many meanings, by rule"
    columns, intervals = list(rows[0]) if rows else [], ends(*WORDS.values(), AHEAD)
    return Table("planted-rules", title, columns, rows, note, intervals=intervals)


def _confusion_table(found: Benchmark, calibration: Calibration) -> Table:
    unions, count = found.which(UNIONS), found.units.count
    rows = []
    chosen = choose(found, calibration.features, calibration.threshold)
    for true in WORDS:
        which = unions & (count == true)
        if which.any():
            shares = {f"k = {k}": float((chosen[which] == k).mean()) for k in range(1, 6)}
            right = found.mean((chosen == true).astype(float), which)
            rows.append({"meanings": true, "units": int(which.sum()), **shares, **interval("right", right)})
    columns = ["meanings", "units", *(f"k = {k}" for k in range(1, 6)), *spread("right")]
    how = f"{calibration.features}, gap, threshold {calibration.threshold:.3f}"
    title = f"{found.layer}: numbers of meanings that are found by {how}"
    note = "Share of the units in each line; right: with its 95 % interval."
    return Table("planted-confusion", title, columns, rows, note, intervals=ends("right"))


def _leak_table(found: Benchmark) -> Table:
    rows = []
    for kind in (UNIONS, MERGED, SUMS):
        for features in found.kinds:
            own = {check: found.leak.get((kind, features, check), np.empty(0)) for check in CHECKS}
            if not any(len(values) for values in own.values()):
                continue
            shown = {}
            for check, values in own.items():
                estimate = found.alone(values)
                shown[check] = [estimate.mean, (estimate.high - estimate.low) / 2] if estimate.n else None
            rows.append({"units": kind, "features": features, **shown})
    note = (
        "Adjusted Rand index with the known meanings, ± half of the 95 % interval, two meanings. Constant activations: "
        "the backward pass begins as each image has it and runs through the mean activation of all; shuffled images: "
        "through another image's. Both should find nothing. Gradient alone: each image's own backward pass, times the "
        "mean activation: what the ReLUs above the lower layer tell. Planted channels removed: without the channels "
        "that the unit is made of. Labels alone: clusters of the images' classes, without a network. Activations have "
        "nothing in the first two by their nature."
    )
    return Table(
        "planted-leaks",
        f"{found.layer}: what is found where nothing should be",
        ["units", "features", *CHECKS],
        rows,
        note,
    )


def _proxy_table(found: Benchmark) -> Table:
    """What can be had without labels, beside the truth."""
    from scipy.stats import spearmanr

    source = found.without_labels
    which = found.which(source, 2)
    rows, truth, stable, alike = [], [], [], []
    for features in found.kinds:
        stability, agree = found.proxies(features, source)
        truth.append(float(np.nanmean(found.scores[features].ari[which])))
        stable.append(stability)
        alike.append(agree)
        rows.append({"features": features, "ARI with the truth": truth[-1], "stability": number(stability),
                     "agreement with other layers": number(agree)})  # fmt: skip
    follow = [spearmanr(truth, values).statistic if len(truth) > 2 else np.nan for values in (stable, alike)]
    rows.append({"features": "rank correlation with the truth", "ARI with the truth": None,
                 "stability": number(follow[0]), "agreement with other layers": number(follow[1])})  # fmt: skip
    note = (
        "Stability: of the split in two between bootstrap samples; agreement: with splits by features of other layers."
    )
    columns = ["features", "ARI with the truth", "stability", "agreement with other layers"]
    return Table(
        "planted-proxies",
        f"{found.layer}: judges that need no labels, on {source} of two meanings",
        columns,
        rows,
        note,
    )


def _arrays(found: Benchmark) -> dict[str, np.ndarray]:
    units = found.units
    arrays: dict[str, np.ndarray] = {
        "unit/kind": np.char.encode(units.kind.astype(str)),
        "unit/name": np.char.encode(units.name.astype(str), "utf-8"),
        "unit/meanings": units.count,
        "unit/half": np.concatenate([[one.half] * len(one.neuron) for one in units.made]),
        "unit/neuron": np.concatenate([one.neuron for one in units.made]),
    }
    for features, own in found.scores.items():
        arrays |= {f"{features}/{name}": getattr(own, name) for name in
                   ("ari", "nmi", "silhouette", "stability", "polysemanticity", "p")}  # fmt: skip
        arrays |= {f"{features}/k/{rule}": values for rule, values in own.k.items()}
    return arrays
