"""What the benchmark found, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pure_cli.core.metrics.statistics import Estimate
from pure_cli.stages.benchmarking.measure import Measured, Scores
from pure_cli.stages.benchmarking.methods import HIDDEN, PAPER
from pure_cli.stages.evaluation.study import Table, ends, interval, number

NOTE = (
    "ARI: adjusted Rand index with the known meanings where k is told (2, 3: how many), mean over seeds; (low … high): "
    "95 %, by bootstrap over what units share; noise: standard deviation of the mean between seeds. k right, mean k: "
    "where it is not told, the share of units with the right number, and the mean. `classes` (control): "
    "of unions it is nearly the truth itself."
)


def tables(found: Measured) -> list[Table]:
    """One for each kind of units."""
    first, *others = [_table(found, kind) for kind in dict.fromkeys(found.track.kind)]
    return [replace(first, note=NOTE), *others]


def _table(found: Measured, kind: str) -> Table:
    counts = np.unique(found.track.count[found.which(kind)]).tolist()
    several, asked = [count for count in counts if count > 1], len(counts) > 1
    measured_against = found.by_name(HIDDEN) or found.by_name(PAPER)
    against = f"against {measured_against.method.name}" if measured_against else ""
    rows = []
    for own in found.scores:
        row: dict[str, Any] = {"method": own.method.name}
        for count in several:
            which = found.which(kind, count)
            row |= interval(f"ARI, {count}", found.mean(own.ari.mean(axis=0), which))
            row[f"noise, {count}"] = number(found.noise(own, which))
        for count in counts if asked else []:
            right, mean = number_found(found, own, found.which(kind, count), count)
            row |= {**interval(f"k right, {count}", right), f"mean k, {count}": number(mean)}
        if measured_against:
            ahead = (own.ari - measured_against.ari).mean(axis=0)
            row |= interval(against, found.mean(ahead, found.which(kind)))
        rows.append(row)
    spreads = [f"ARI, {count}" for count in several] + [f"k right, {count}" for count in counts if asked]
    spreads += [against] if against else []
    measured = next((row for row, own in zip(rows, found.scores, strict=True) if own.method.is_users), None)
    verdict = _verdict(kind, measured, several, against) if measured else ""
    sizes = ", ".join(f"{int(found.which(kind, count).sum())} of {count}" for count in counts)
    shown = ["method", *(name for count in several for name in (f"ARI, {count}", f"noise, {count}"))]
    shown += [name for name in spreads if name not in shown]
    return Table(
        f"benchmark-{kind}",
        f"{found.track.name} ({found.track.version}): {kind}, by number of meanings: {sizes}",
        list(rows[0]),
        rows,
        verdict=verdict,
        intervals=ends(*spreads),
        shown=shown,
    )


def _verdict(kind: str, row: Mapping[str, Any], several: list[int], against: str) -> str:
    """How well the user's method does, in words."""

    def said(name: str, form: str) -> str:
        mean, low, high = (row[f"{name}{end}"] for end in ("", " low", " high"))
        return f"{mean:{form}}" + (f" ({low:{form}} … {high:{form}})" if low is not None else "")

    found = ", ".join(f"{said(f'ARI, {count}', '.3f')} of {count} meanings" for count in several)
    ahead = f"; {said(against, '+.3f')} {against}" if against else ""
    return f"'{row['method']}' on {kind}: {found}{ahead}."


def number_found(found: Measured, own: Scores, which: np.ndarray, count: int) -> tuple[Estimate, float]:
    """Share of units with the right number of meanings, and the mean number; NaN where the method chooses none."""
    chose = np.where(own.k > 0, own.k, np.nan)
    right = np.where(np.isnan(chose), np.nan, chose == count)
    known = chose[which & ~np.isnan(chose)]
    return found.mean(right, which), float(known.mean()) if len(known) else float("nan")
