"""What the images of a data set say of virtual neurons, in tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pure_cli.artifacts import Assignment
from pure_cli.core.assignment import HELD_OUT
from pure_cli.core.neurons import NO_PART
from pure_cli.words import counted


def carried(assignment: Assignment, row: int) -> tuple[np.ndarray, np.ndarray]:
    """(Q, V + 1) how much of a neuron's activation in each quantile belongs to each of its virtual neurons, and at last
    to none of them: the mean share of the images drawn, weighted by their scores. NaN where it fires on none.

    And the standard errors of that by the draw, NaN where a single image was drawn of several: of a ratio, by the
    jackknife, for draws without putting back (Cochran 1977, Sampling Techniques, sections 6.17 and 2.6).
    """
    quantile, score = assignment.quantile[row], assignment.score[row].clip(min=0).astype(np.float64)
    found = np.full((assignment.mass.shape[1], assignment.share.shape[2]), np.nan)
    error = found.copy()
    for part, there in enumerate(assignment.count[row].tolist()):
        own = quantile == part
        if score[own].sum() > 0:
            found[part], spread = _mean_and_error(assignment.share[row][own].astype(np.float64), score[own])
            error[part] = spread * np.sqrt(1 - own.sum() / there) if own.sum() < there else 0
    return found, error


def _mean_and_error(shares: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V,) of shares (n, V) with weights (n,), and the standard error of that over draws from endless many."""
    parts, count = shares * weight[:, None], len(weight)
    mean = parts.sum(axis=0) / weight.sum()
    left = weight.sum() - weight
    if (left <= 0).any():
        return mean, np.full_like(mean, np.nan)
    without = (parts.sum(axis=0) - parts) / left[:, None]
    return mean, np.sqrt(without.var(axis=0) * (count - 1))


def in_all(assignment: Assignment, row: int) -> tuple[np.ndarray, np.ndarray]:
    """(V + 1) the same over all quantiles, each by its mass."""
    (parts, errors), mass = carried(assignment, row), assignment.mass[row]
    known = np.isfinite(parts).all(axis=1) & (mass > 0)
    if not known.any():
        empty = np.full(parts.shape[1], np.nan)
        return empty, empty
    weight = mass[known] / mass[known].sum()
    return weight @ parts[known], np.sqrt(weight**2 @ errors[known] ** 2)


def table_of(assignment: Assignment, layer: str, neurons: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """A table of `pure_cli.views.tables`: a row for each virtual neuron.

    Parameters
    ----------
    counts : virtual neurons that each of the neurons has
    """
    places = np.searchsorted(assignment.neuron, neurons).tolist()
    rows = [
        row for place, count in zip(places, counts.tolist(), strict=True) for row in _rows(assignment, place, count)
    ]
    drawn = int((assignment.image[places] >= 0).sum())
    return {
        "name": "assignment",
        "title": f"{layer}: shares of the activation on {assignment.provenance.settings['data']}",
        "columns": ["virtual neuron", "images", "share", "lowest", "highest"],
        "rows": rows,
        "note": (
            "share: of the neuron's activation on all images on which it fires, with the standard error of the draw; "
            "lowest and highest: in the quantiles where it fires least and most, the same. none: circuits farther from "
            f"every centroid than {1 - HELD_OUT:.0%} of held-out references, so {HELD_OUT:.0%} is what references "
            "themselves would have."
        ),
        "verdict": _verdict(assignment, layer, neurons, drawn),
    }


def _rows(assignment: Assignment, place: int, count: int) -> Iterator[dict[str, Any]]:
    """Of one neuron: a row for each of its `count` virtual neurons, and one for none of them."""
    neuron, whole, parts = int(assignment.neuron[place]), in_all(assignment, place), carried(assignment, place)
    known = np.flatnonzero(np.isfinite(parts[0]).all(axis=1))
    none = len(whole[0]) - 1
    for column in [*range(count), none]:

        def pair(mean: np.ndarray, error: np.ndarray, column: int = column) -> list[float | None] | None:
            if not len(known):
                return None
            return [float(mean[column]), float(error[column]) if np.isfinite(error[column]) else None]

        yield {
            "virtual neuron": f"{neuron} {NO_PART}" if column == none else f"{neuron}.{column + 1}",
            "images": int(assignment.count[place].sum()),
            "share": pair(*whole),
            "lowest": pair(*(values[known[0]] for values in parts)) if len(known) else None,
            "highest": pair(*(values[known[-1]] for values in parts)) if len(known) else None,
        }


def _verdict(assignment: Assignment, layer: str, neurons: np.ndarray, drawn: int) -> str:
    places = np.searchsorted(assignment.neuron, neurons).tolist()
    none = [float(in_all(assignment, place)[0][-1]) for place in places]
    known = [value for value in none if np.isfinite(value)]
    told = f"{counted(drawn, 'circuit')} of {counted(len(neurons), 'neuron')} of '{layer}' were looked at."
    if not known:
        return f"{told} None of them fires on these images."
    return f"{told} On average, {np.mean(known):.0%} of a neuron's activation belongs to none of its virtual neurons."
