"""What the images of a data set say of virtual neurons, in tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pure_cli.artifacts import Assignment
from pure_cli.core.assignment import HELD_OUT
from pure_cli.core.neurons import NO_PART
from pure_cli.words import counted


def carried(assignment: Assignment, row: int) -> np.ndarray:
    """(Q, V + 1) how much of a neuron's activation in each quantile belongs to each of its virtual neurons, and at last
    to none of them: the mean share of the images drawn, weighted by their scores. NaN where it fires on none."""
    quantile, score = assignment.quantile[row], assignment.score[row].clip(min=0).astype(np.float64)
    found = np.full((assignment.mass.shape[1], assignment.share.shape[2]), np.nan)
    for part in range(len(found)):
        own = quantile == part
        if score[own].sum() > 0:
            found[part] = (assignment.share[row][own] * score[own, None]).sum(axis=0) / score[own].sum()
    return found


def in_all(assignment: Assignment, row: int) -> tuple[np.ndarray, np.ndarray]:
    """(V + 1) the same over all quantiles, each by its mass, and the standard errors of that by the draw."""
    parts, mass = carried(assignment, row), assignment.mass[row]
    known = np.isfinite(parts).all(axis=1) & (mass > 0)
    if not known.any():
        empty = np.full(parts.shape[1], np.nan)
        return empty, empty
    weight = mass[known] / mass[known].sum()
    variance = np.zeros(parts.shape[1])
    for part, of_part in zip(np.flatnonzero(known), weight, strict=True):
        own = assignment.quantile[row] == part
        drawn, there = int(own.sum()), int(assignment.count[row, part])
        if 1 < drawn < there:
            variance += of_part**2 * assignment.share[row][own].var(axis=0, ddof=1) / drawn * (1 - drawn / there)
    return weight @ parts[known], np.sqrt(variance)


def table_of(assignment: Assignment, layer: str, neurons: np.ndarray) -> dict[str, Any]:
    """A table of `pure_cli.views.tables`: a row for each virtual neuron."""
    places = np.searchsorted(assignment.neuron, neurons).tolist()
    rows = [row for place in places for row in _rows(assignment, place)]
    drawn = int((assignment.image[places] >= 0).sum())
    return {
        "name": "assignment",
        "title": f"{layer}: shares of the activation on {assignment.provenance.settings['data']}",
        "columns": ["virtual neuron", "images", "share", "lowest", "highest"],
        "rows": rows,
        "note": (
            "share: of the neuron's activation on all images on which it fires, with the standard error of the draw; "
            "lowest and highest: in the quantiles where it fires least and most. none: circuits farther from every "
            f"centroid than {1 - HELD_OUT:.0%} of held-out references, so {HELD_OUT:.0%} is what references themselves "
            "would have."
        ),
        "verdict": _verdict(assignment, layer, neurons, drawn),
    }


def _rows(assignment: Assignment, place: int) -> Iterator[dict[str, Any]]:
    """Of one neuron: a row for each virtual neuron, and one for none of them."""
    neuron, (whole, error), parts = int(assignment.neuron[place]), in_all(assignment, place), carried(assignment, place)
    known = np.flatnonzero(np.isfinite(parts).all(axis=1))
    count, none = int(assignment.hard[place].max(initial=-1)) + 1, len(whole) - 1
    for column in [*range(count), none]:
        yield {
            "virtual neuron": f"{neuron} {NO_PART}" if column == none else f"{neuron}.{column + 1}",
            "images": int(assignment.count[place].sum()),
            "share": [float(whole[column]), float(error[column])] if len(known) else None,
            "lowest": float(parts[known[0], column]) if len(known) else None,
            "highest": float(parts[known[-1], column]) if len(known) else None,
        }


def _verdict(assignment: Assignment, layer: str, neurons: np.ndarray, drawn: int) -> str:
    places = np.searchsorted(assignment.neuron, neurons).tolist()
    none = [float(in_all(assignment, place)[0][-1]) for place in places]
    known = [value for value in none if np.isfinite(value)]
    told = f"{counted(drawn, 'circuit')} of {counted(len(neurons), 'neuron')} of '{layer}' were looked at."
    if not known:
        return f"{told} None of them fires on these images."
    return f"{told} On average, {np.mean(known):.0%} of a neuron's activation belongs to none of its virtual neurons."
