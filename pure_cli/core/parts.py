"""Into which parts a list of images is cut, and which of it some parts cover."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Range = tuple[int, int]
"""Start and stop of places in a list."""


@dataclass(frozen=True, order=True)
class Part:
    """One of several parts: 3 of 64. The first is number 1."""

    count: int
    number: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def file_name(self) -> str:
        """As a part of one, in the order of the numbers."""
        return f"{self.number:0{len(str(self.count))}d}-of-{self.count}"


def cuts(total: int, count: int, step: int, edges: Sequence[int] | np.ndarray = (), cost: object = None) -> list[int]:
    """Where `count` parts of a list begin, and where the last one ends.

    Parameters
    ----------
    total : places in the list
    step : a part begins at a multiple of it, so that batches are the same in all parts and in one pass
    edges : places at which files begin, ascending; where they are no fewer than the parts, a part begins as near to one
        of them as `step` allows
    cost : (total,) of each place; the parts cost about the same. None: all of them do

    Returns
    -------
    list of int
        ``count + 1`` places, ascending from 0 to `total`; equal ones are parts without any
    """
    if cost is None:
        wanted = np.arange(count + 1) * total / count
    else:
        done = np.concatenate([[0], np.cumsum(np.asarray(cost, np.float64))])
        wanted = np.searchsorted(done, np.arange(count + 1) * done[-1] / count).astype(np.float64)
    if len(edges) >= count:
        whole = np.concatenate([np.asarray(edges, np.float64), [total]])
        after = np.searchsorted(whole, wanted).clip(1, len(whole) - 1)
        nearer = wanted - whole[after - 1] <= whole[after] - wanted
        wanted = np.where(nearer, whole[after - 1], whole[after])
    found = (np.rint(wanted / step) * step).astype(np.int64).clip(0, total)
    found[0], found[-1] = 0, total
    return [int(place) for place in np.maximum.accumulate(found)]


def gaps(covered: Iterable[Range], total: int) -> list[Range]:
    """What of ``0:total`` no range covers, ascending."""
    found, place = [], 0
    for start, stop in sorted(one for one in covered if one[0] < one[1]):
        if min(start, total) > place:
            found.append((place, min(start, total)))
        place = max(place, stop)
    return [*found, (place, total)] if place < total else found


def overlap(ranges: Iterable[Range]) -> bool:
    """Whether some place is in two of them."""
    last = 0
    for start, stop in sorted(one for one in ranges if one[0] < one[1]):
        if start < last:
            return True
        last = max(last, stop)
    return False
