"""What the benchmark on units with known meanings found, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pure_cli.artifacts import Calibration
from pure_cli.core.meanings import RULES
from pure_cli.core.metrics.statistics import FEWEST_VALUES, Estimate, mean_and_error, shared_area
from pure_cli.stages.evaluation.study import Result, Table, ends, finite, interval, number, spread
from pure_cli.stages.planted.benchmark import UNTESTABLE, Benchmark
from pure_cli.stages.planted.candidates import ALIKE, FINER, JOINED, KINDS, MERGED, SUMS, UNIONS
from pure_cli.stages.planted.harder_tables import AHEAD, tables_of_harder
from pure_cli.stages.planted.recipe import WORDS, choose, recipe, rule_in_words
from pure_cli.stages.planted.scores import CHECKS

FEWEST = 10  # units with two or three meanings that a recipe takes
SPECIFIC = "specificity"
SPECIFIC_NOTE = (
    " Specificity: how much more of the activation is lost on a virtual neuron's own images than on its sibling's "
    "without half of its circuit at the features' lower layer (of activations at the paper's), on references held out; "
    "± its error over {} units of two meanings."
)
NOTHING = Estimate(np.nan, np.nan, np.nan, 0)


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
        (FINER, (2, 3), "learned unions of parts of one class"),
        (ALIKE, (2,), "learned unions of two classes that look alike"),
        (JOINED, (2, 3), "sums of the network's outputs"),
    ):
        if found.which(kind).any():
            tables.append(_agreement_table(found, kind, counts, what, recommended))
    if calibration:
        main = next(i for i, table in enumerate(tables) if table.name == f"planted-{found.without_labels}")
        tables[main] = replace(tables[main], verdict=tables[0].verdict)
        tables[0] = replace(tables[0], verdict="")
    tables += [*tables_of_harder(found), _meanings_table(found), _rules_table(found)]
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


def _agreement_table(
    found: Benchmark, kind: str, counts: Sequence[int], what: str, recommended: str | None = None
) -> Table:
    rows, cut = [], kind == found.without_labels
    for features in found.kinds:
        own, paper = found.scores[features], found.scores[found.paper]
        row: dict[str, Any] = {"features": features}
        for count in counts:
            which = found.which(kind, count)
            row |= interval(f"ARI, {count}", found.mean(own.ari, which))
            row[f"NMI, {count}"] = number(found.mean(own.nmi, which).mean)
        row |= interval(AHEAD, found.mean(own.ari - paper.ari, found.which(kind)))
        row |= {SPECIFIC: finite(mean_and_error(found.specific.get(features, np.empty(0))))} if cut else {}
        leaks, testable = found.leaks(features, kind), found.testable(features, kind)
        row |= {"leak": bool(leaks) if leaks or testable else UNTESTABLE,
                "leaks": found.leaks_in_words(features, kind)}  # fmt: skip
        rows.append(row)
    sizes = ", ".join(f"{int(found.which(kind, count).sum())} of {count} meanings" for count in counts)
    indices = [f"ARI, {count}" for count in counts]
    columns = ["features", *(name for count in counts for name in (*spread(f"ARI, {count}"), f"NMI, {count}")),
               *spread(AHEAD), *([SPECIFIC] if cut else []), "leaks"]  # fmt: skip
    note = (
        "ARI, NMI: adjusted Rand index and normalised mutual information with the known meanings (2, 3: how many); "
        f"(low … high): 95 %, by bootstrap over classes or channels, of {FEWEST_VALUES} units or more. The first "
        "line is the paper's recipe. Leak: a check finds meanings where there should be none; "
        f"{UNTESTABLE}: activations by their nature, or too few units, which is no pass."
    )
    best = next((i for i, row in enumerate(rows) if row["features"] == recommended), None)
    note += SPECIFIC_NOTE.format(max(map(len, found.specific.values()), default=0)) if cut else ""
    note += " *: recommended." if best is not None else ""
    return Table(
        f"planted-{kind}", f"{found.layer}: {what} ({sizes})", columns, rows, note, best=best,
        intervals=ends(*indices, AHEAD), shown=["features", *indices, *([SPECIFIC] if cut else []), "leak", AHEAD],
    )  # fmt: skip


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
    how = f"{calibration.features}, {rule_in_words(calibration.threshold)}"
    title = f"{found.layer}: numbers of meanings that are found by {how}"
    note = "Share of the units in each line; right: with its 95 % interval."
    return Table("planted-confusion", title, columns, rows, note, intervals=ends("right"))


def _leak_table(found: Benchmark) -> Table:
    rows = []
    for kind in KINDS:
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
        "Adjusted Rand index with the known meanings, ± half of the 95 % interval, two meanings (three of trees). "
        "Constant activations: the backward pass begins at the channels as each image has it, but at all places alike, "
        "and runs through one number for each channel, its mean; shuffled images: it begins as each image has it and "
        "runs through another image's activations. Both should find nothing. Mean maps: it runs through the mean of "
        "the images at each place: what is told by where the unit fires. Gradient alone: each image's own backward "
        "pass, times the mean activation: what the ReLUs above the lower layer tell. Planted channels "
        "removed: without the channels "
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
    if not which.any():
        return Table("planted-proxies", "", [], [])
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
        arrays |= {f"{features}/{name}": values for name, values in own.tree.items()}
    return arrays
