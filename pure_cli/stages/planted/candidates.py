"""Directions that may be units with known meanings, before it is known which images they fire for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.data.listing import UNKNOWN_LABEL

if TYPE_CHECKING:
    from pure_cli.core.directions import Directions

UNIONS, MERGED, SUMS = "unions", "merged", "sums"
FINER, ALIKE, TREE, CORRELATED, JOINED = "finer", "alike", "tree", "correlated", "joined"
CORRELATIONS = (0.0, 0.25, 0.5, 0.75)
LEVELS = {f"{CORRELATED}-{level:g}": level for level in CORRELATIONS}  # a kind of units for each
USUAL = (UNIONS, MERGED, SUMS)
KINDS = (*USUAL, FINER, ALIKE, TREE, *LEVELS, JOINED)
SCARCE = 2  # a class of a union has at least n / SCARCE images in each half


@dataclass(frozen=True)
class Candidates:
    """Directions in a module that may be units of one kind.

    Attributes
    ----------
    parts : of each, the meanings, or the channels or classes that are summed
    labels : (L,) int, the meaning that each image of the data set shows, -1 for none; None where a reference's meaning
        is the part that adds most to the unit
    concepts : where parts are no channels, the direction of each part, as many as there are candidates
    branch : of each part, where the meanings form a tree; close ones share one
    strays : references that show none of a unit's meanings are left out of its truth
    """

    kind: str
    module: str
    directions: Directions
    parts: list[tuple[int, ...]]
    labels: np.ndarray | None = None
    concepts: Sequence[Directions] | None = None
    branch: tuple[int, ...] | None = None
    strays: bool = False


def drawn(things: Sequence[int], size: int, count: int, generator: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Different subsets of a size in random order, all where there are no more than `count`."""
    if comb(len(things), size) <= 20 * count:
        every = list(combinations(things, size))
        chosen = generator.permutation(len(every))[:count]
        yield from (every[i] for i in chosen.tolist())
        return
    seen: dict[tuple[int, ...], None] = {}
    while len(seen) < count:
        seen[tuple(sorted(generator.choice(things, size, replace=False).tolist()))] = None
    yield from seen


def frequent(labels: np.ndarray, making: np.ndarray, finding: np.ndarray, n: int) -> list[int]:
    """The meanings that have images enough in both halves.

    Parameters
    ----------
    labels : (L,) int, of the data set
    making, finding : data-set indices of the halves
    """
    known = np.unique(labels[labels != UNKNOWN_LABEL])
    return [
        int(c) for c in known if min((labels[making] == c).sum(), (labels[finding] == c).sum()) >= max(2, n // SCARCE)
    ]
