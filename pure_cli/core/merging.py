"""The best images of every neuron, from those of parts of the data: the same in any order of the parts.

Without torch, so that a thousand parts are put together on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from pure_cli.core.bands import sample_hash
from pure_cli.core.references import NO_IMAGE, TopImages, scrambled

ARRAYS = ("value", "image", "position", "mean")  # of `TopImages`
AT_ONCE = 8  # places of all rows that are read together: of most parts few count
_LOW = 1 << 32  # what lies below the value in a rank
_SIGN = np.int32(0x7FFFFFFF)
_NOTHING = np.iinfo(np.int64).min  # the rank of a place without an image

Read = Callable[[int, int], TopImages]
"""Gives the places ``start:stop`` of all rows."""


class Order(Protocol):
    """In which images come first: by rank, of equal ones by hash."""

    def lead(self, top: TopImages) -> np.ndarray:
        """(C, m) numbers that do not ascend along a row: an image with a lower one than another comes behind it."""

    def rank(self, top: TopImages) -> np.ndarray:
        """(C, m) int64, `_NOTHING` where there is no image."""

    def hashed(self, top: TopImages) -> np.ndarray:
        """(C, m), of equal ranks the lower one comes first."""


class ByScore:
    """The highest score first, of equal ones the higher mean over space, then the lower `scrambled` index."""

    def lead(self, top: TopImages) -> np.ndarray:
        return top.value

    def rank(self, top: TopImages) -> np.ndarray:
        rank = _ordered(top.value) * _LOW + (_ordered(top.mean) + _LOW // 2)
        return np.where(top.image == NO_IMAGE, _NOTHING, rank)

    def hashed(self, top: TopImages) -> np.ndarray:
        return scrambled(top.image.clip(min=0))


class BySampleHash:
    """The images of a sample, the highest `sample_hash` first.

    Parameters
    ----------
    seed : of the sample
    """

    def __init__(self, seed: int):
        self._seed = seed

    def lead(self, top: TopImages) -> np.ndarray:
        return np.where(top.image == NO_IMAGE, _NOTHING, self.hashed(top) >> 1)

    def rank(self, top: TopImages) -> np.ndarray:
        return self.lead(top)

    def hashed(self, top: TopImages) -> np.ndarray:
        return sample_hash(top.image.clip(min=0), self._seed)


class MergedImages:
    """The n best images of every neuron of some parts of the data.

    What is read of a part waits until there is as much as there are places: sorting is what takes time.

    Parameters
    ----------
    channels, n : neurons, and images of each
    order : in which they come
    """

    def __init__(self, channels: int, n: int, order: Order):
        self._top = TopImages.empty(channels, n)
        self._order = order
        self._last: np.ndarray | None = None  # of each neuron, how far its last image leads
        self._waiting: list[TopImages] = []
        self._disjoint = True

    def add(self, top: TopImages, disjoint: bool = True) -> None:
        """Let the best images (C, m) of a part compete; parameters as of `add_from`."""
        self.add_from(lambda start, stop: _places(top, start, stop), top.image.shape, disjoint)

    def add_from(self, read: Read, shape: tuple[int, ...], disjoint: bool = True) -> None:
        """Let the best images of a part compete, of which no more is read than can be among the best.

        Parameters
        ----------
        read : gives the part's images, in the same order
        shape : (C, m) of these
        disjoint : no image of the part was in one before

        Raises
        ------
        ValueError
            Another number of neurons.
        """
        channels, n = self._top.image.shape
        if shape[0] != channels:
            raise ValueError(f"the best of {shape} cannot be merged into the best of {self._top.image.shape}")
        self._disjoint &= disjoint
        for start in range(0, min(shape[1], n), AT_ONCE):
            new = read(start, min(start + AT_ONCE, shape[1], n))
            reaches = None if self._last is None else self._order.lead(new) >= self._last[:, None]
            if reaches is None or reaches.any():
                self._waiting.append(new)
            if reaches is not None and not reaches[:, -1].any():
                break
        if sum(one.image.shape[1] for one in self._waiting) >= n:
            self._settle()

    @property
    def top(self) -> TopImages:
        """What was found so far."""
        self._settle()
        return self._top

    def _settle(self) -> None:
        """Let those that wait compete."""
        if self._waiting:
            together = _joined([self._top, *self._waiting])
            self._top = self._best(together, self._top.image.shape[1], self._disjoint)
            self._last = self._order.lead(_places(self._top, -1, None))[:, 0]
            self._waiting = []

    def _best(self, top: TopImages, n: int, disjoint: bool) -> TopImages:
        """The n best of images (C, m), each once."""
        rank = self._order.rank(top)
        order = np.argsort(-(rank + 1), axis=1, kind="stable")  # of the lowest number there is, no negative exists
        ranks = np.take_along_axis(rank, order, 1)
        equal = ((ranks[:, 1:] == ranks[:, :-1]) & (ranks[:, 1:] != _NOTHING)).any(axis=1)
        for row in np.flatnonzero(equal).tolist():
            order[row] = np.lexsort((self._order.hashed(_rows(top, slice(row, row + 1)))[0], -(rank[row] + 1)))
        if not disjoint:
            order = _first_ones_first(np.take_along_axis(top.image, order, 1), order)
        places = order[:, :n] + (np.arange(len(order)) * order.shape[1])[:, None]
        found = TopImages(*(getattr(top, name).ravel()[places] for name in ARRAYS))
        return found if disjoint else _without_repeats(found)


def _first_ones_first(image: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The order with images that came before at the end of each row."""
    again = _repeats(image)
    behind = np.argsort(again, axis=1, kind="stable")
    return np.take_along_axis(order, behind, 1)


def _without_repeats(top: TopImages) -> TopImages:
    """With no image in place of one that came before."""
    again, nothing = _repeats(top.image), TopImages.empty(*top.image.shape)
    return TopImages(*(np.where(again, getattr(nothing, name), getattr(top, name)) for name in ARRAYS))


def _repeats(image: np.ndarray) -> np.ndarray:
    """(C, m) bool, whether an image was in the row before."""
    order = np.argsort(image, axis=1, kind="stable")
    ordered = np.take_along_axis(image, order, 1)
    same = np.zeros(image.shape, bool)
    same[:, 1:] = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_IMAGE)
    found = np.empty_like(same)
    np.put_along_axis(found, order, same, 1)
    return found


def _rows(top: TopImages, rows: np.ndarray | slice) -> TopImages:
    return TopImages(*(getattr(top, name)[rows] for name in ARRAYS))


def _places(top: TopImages, start: int, stop: int | None) -> TopImages:
    return TopImages(*(getattr(top, name)[:, start:stop] for name in ARRAYS))


def _joined(tops: Sequence[TopImages]) -> TopImages:
    return TopImages(*(np.concatenate([getattr(top, name) for top in tops], axis=1) for name in ARRAYS))


def _ordered(values: np.ndarray) -> np.ndarray:
    """int64 within 32 bits, in the order of float32 numbers; 0 and -0 are the same."""
    bits = (values + np.float32(0)).view(np.int32)
    return (bits ^ ((bits >> np.int32(31)) & _SIGN)).astype(np.int64)
