"""What the harder units with known meanings show, as tables: trees, correlated concepts, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pure_cli.core.metrics.statistics import FEWEST_VALUES
from pure_cli.stages.evaluation.study import Table, ends, interval
from pure_cli.stages.planted.benchmark import Benchmark
from pure_cli.stages.planted.candidates import KINDS, LEVELS, TREE, USUAL
from pure_cli.stages.planted.scores import BRANCHES, BY_CHANCE, BY_TREE, CLOSE, FOUND

AHEAD = "against the paper's"  # a column
THREE, TWO = "ARI, 3", "ARI, 2 branches"


def tables_of_harder(found: Benchmark) -> Iterator[Table]:
    """Tables of what harder units there are; those without rows are none."""
    yield _tree_table(found)
    yield _correlated_table(found)
    yield _made_table(found)


def _tree_table(found: Benchmark) -> Table:
    """Splits of units whose meanings form a tree, by its cuts."""
    which, rows, name = found.which(TREE), [], f"planted-{TREE}"
    if not which.any():
        return Table(name, "", [], [])
    for features in found.kinds:
        own, paper = found.scores[features], found.scores[found.paper]
        row: dict[str, Any] = {"features": features}
        for column, values in ((BY_TREE, own.tree[BY_TREE]), (TWO, own.tree[BRANCHES]), (THREE, own.ari)):
            row |= interval(column, found.mean(values, which))
        row |= {column: found.mean(own.tree[column], which).mean for column in (CLOSE, FOUND, BY_CHANCE)}
        row |= interval(AHEAD, found.mean(own.tree[BY_TREE] - paper.tree[BY_TREE], which))
        row["leaks"] = found.leaks_in_words(features, TREE)
        rows.append(row)
    note = (
        f"Three classes, two of them close. {BY_TREE}: adjusted Rand index of the split with the largest silhouette, "
        f"with the better of the cut in two and the cut in three, adjusted for chance ({BY_CHANCE}: what labels dealt "
        f"at random reach before). {TWO}, {THREE}: the split in two with the branches, in three with the classes. "
        f"{CLOSE}: share of the units whose split in two leaves the close classes together; 0.33 by chance. {FOUND}: "
        "share of the units with the largest silhouette at 2 or 3 clusters, of 2 to 5."
    )
    title = f"{found.layer}: learned unions of three classes, two of them close ({int(which.sum())} units)"
    return Table(name, title, list(rows[0]), rows, note, intervals=ends(BY_TREE, TWO, THREE, AHEAD),
                 shown=["features", BY_TREE, TWO, THREE, CLOSE, FOUND, AHEAD])  # fmt: skip


def _correlated_table(found: Benchmark) -> Table:
    """Recovery by the correlation of the two concepts that a unit sums."""
    levels = {kind: level for kind, level in LEVELS.items() if found.which(kind).any()}
    rows: list[dict[str, Any]] = []
    for features in found.kinds if levels else ():
        row: dict[str, Any] = {"features": features}
        for kind, level in levels.items():
            row |= interval(_at(level), found.mean(found.scores[features].ari, found.which(kind)))
            row[f"leaks, {level:g}"] = found.leaks_in_words(features, kind)
        rows.append(row)
    note = (
        "Adjusted Rand index with the concept that gives more to a unit, the sum of two classes' probes whose scores "
        "over the images correlate so much; 0 by chance. Activations cannot be tested for leaks."
    )
    sizes = ", ".join(f"{int(found.which(kind).sum())} at {level:g}" for kind, level in levels.items())
    columns = [_at(level) for level in levels.values()]
    return Table("planted-correlated", f"{found.layer}: sums of two correlated concepts ({sizes})",
                 list(rows[0]) if rows else [], rows, note, intervals=ends(*columns),
                 shown=["features", *columns])  # fmt: skip


def _at(level: float) -> str:
    return f"ARI, correlation {level:g}"


def _made_table(found: Benchmark) -> Table:
    """How many candidates have references for all of their meanings, and what pixels alone tell of these."""
    every, rows = [*found.units.made, *found.units.without], []
    if all(one.kind in USUAL for one in every):
        return Table("planted-made", "", [], [])
    names = next(list(one.alone) for one in every)
    for kind in KINDS:
        own = [one for one in every if one.kind == kind]
        for count in sorted({count for one in own for count in one.tried}):
            parts = [part for one in own for part in one.parts if len(part) == count]
            made, tried = len(parts), sum(one.tried.get(count, 0) for one in own)
            row = {"units": kind, "meanings": count, "candidates": tried, "made": made, "left out": tried - made}
            for name in names:
                values = [one.alone[name][one.count == count] for one in own if len(one.neuron)]
                row |= interval(f"{name} alone", found.over(np.concatenate([np.empty(0), *values]), parts))
            rows.append(row)
    note = (
        "Candidates whose references lack one of the meanings are left out. Pixels alone: adjusted Rand index of "
        "clusters of the references' mean colours and edge strength, embedder alone: of their vectors by the network "
        f"that was held out; 95 % interval, of {FEWEST_VALUES} units or more."
    )
    columns = [f"{name} alone" for name in names]
    return Table("planted-made", f"{found.layer}: units that were made, and left out", list(rows[0]), rows, note,
                 intervals=ends(*columns),
                 shown=["units", "meanings", "candidates", "made", "left out", *columns])  # fmt: skip
