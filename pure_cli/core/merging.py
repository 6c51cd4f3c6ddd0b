"""The best images of every neuron, from those of parts of the data: the same in any order of the parts.

Without torch, so that a thousand parts are put together on any machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from pure_cli.core.bands import sample_hash
from pure_cli.core.references import NO_IMAGE, TopImages, scrambled

ARRAYS = ("value", "image", "position", "mean")  # of `TopImages`
_LOW = 1 << 32  # what lies below the value in a rank
_SIGN = np.int32(0x7FFFFFFF)
_NOTHING = np.iinfo(np.int64).min  # the rank of a place without an image

Read = Callable[[str, int], np.ndarray]
"""Gives the first m places (C, m) of one of `ARRAYS`."""


class Order(Protocol):
    """In which images come first: by rank, of equal ones by hash."""

    leads: tuple[str, ...]
    """Of `ARRAYS`, what `lead` takes."""

    def lead(self, parts: dict[str, np.ndarray]) -> np.ndarray:
        """(C, m) numbers that do not ascend along a row: an image with a lower one than another comes behind it."""

    def rank(self, top: TopImages) -> np.ndarray:
        """(C, m) int64, `_NOTHING` where there is no image."""

    def hashed(self, top: TopImages) -> np.ndarray:
        """(C, m), of equal ranks the lower one comes first."""


class ByScore:
    """The highest score first, of equal ones the higher mean over space, then the lower `scrambled` index."""

    leads: tuple[str, ...] = ("value",)

    def lead(self, parts: dict[str, np.ndarray]) -> np.ndarray:
        return parts["value"]

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

    leads: tuple[str, ...] = ("image",)

    def __init__(self, seed: int):
        self._seed = seed

    def lead(self, parts: dict[str, np.ndarray]) -> np.ndarray:
        rank = sample_hash(parts["image"].clip(min=0), self._seed) >> 1
        return np.where(parts["image"] == NO_IMAGE, _NOTHING, rank)

    def rank(self, top: TopImages) -> np.ndarray:
        return self.lead({"image": top.image})

    def hashed(self, top: TopImages) -> np.ndarray:
        return sample_hash(top.image.clip(min=0), self._seed)


class MergedImages:
    """The n best images of every neuron of some parts of the data.

    Parameters
    ----------
    channels, n : neurons, and images of each
    order : in which they come
    """

    def __init__(self, channels: int, n: int, order: Order):
        self.top = TopImages.empty(channels, n)
        self._order = order
        self._last: np.ndarray | None = None  # of each neuron, how far its last image leads

    def add(self, top: TopImages, disjoint: bool = True) -> None:
        """Let the best images (C, m) of a part compete; parameters as of `add_from`."""
        self.add_from(lambda name, places: getattr(top, name)[:, :places], top.image.shape, disjoint)

    def add_from(self, read: Read, shape: tuple[int, ...], disjoint: bool = True) -> None:
        """Let the best images of a part compete, of which no more is read than can be among the best.

        Parameters
        ----------
        read : gives the part's arrays, in the same order
        shape : (C, m) of these
        disjoint : no image of the part was in one before

        Raises
        ------
        ValueError
            Another number of neurons.
        """
        channels, n = self.top.image.shape
        if shape[0] != channels:
            raise ValueError(f"the best of {shape} cannot be merged into the best of {self.top.image.shape}")
        lead = self._order.lead({name: read(name, min(shape[1], n)) for name in self._order.leads})
        last = self._last
        count = np.full(channels, lead.shape[1]) if last is None else (lead >= last[:, None]).sum(axis=1)
        rows = np.flatnonzero(count)
        if not len(rows):
            return
        most = int(count.max())
        new = TopImages(*(read(name, most)[rows] for name in ARRAYS))
        best = self._best(_joined(_rows(self.top, rows), new), n, disjoint)
        for name in ARRAYS:
            getattr(self.top, name)[rows] = getattr(best, name)
        self._last = self._order.lead({name: getattr(self.top, name)[:, -1:] for name in self._order.leads})[:, 0]

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
        chosen = order[:, :n]
        found = TopImages(*(np.take_along_axis(getattr(top, name), chosen, 1) for name in ARRAYS))
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


def _joined(one: TopImages, other: TopImages) -> TopImages:
    return TopImages(*(np.concatenate([getattr(one, name), getattr(other, name)], axis=1) for name in ARRAYS))


def _ordered(values: np.ndarray) -> np.ndarray:
    """int64 within 32 bits, in the order of float32 numbers; 0 and -0 are the same."""
    bits = (values + np.float32(0)).view(np.int32)
    return (bits ^ ((bits >> np.int32(31)) & _SIGN)).astype(np.int64)
