"""The units of a layer: its neurons and virtual neurons, with their references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pure_cli.artifacts import Clustering, CollectedLayer
from pure_cli.core.matching import Members
from pure_cli.core.references import NO_IMAGE
from pure_cli.settings.shared import NEURONS, VIRTUAL

WHOLE = -1  # in place of the number of a virtual neuron: the neuron itself


def address(layer: str, neuron: int, part: int) -> str:
    """Of a neuron, or of a virtual neuron that is counted from 0."""
    return f"{layer}/{neuron}" if part == WHOLE else f"{layer}/{neuron}.{part + 1}"


def units_of(
    own: CollectedLayer,
    clustering: Clustering | None,
    neurons: np.ndarray,
    kinds: list[str],
    numbers: Callable[[np.ndarray], np.ndarray] | None = None,
    n: int | None = None,
) -> Units:
    """The units of some kinds that have references which excite them.

    Parameters
    ----------
    clustering : of the virtual neurons; None where none are wanted
    neurons : (N,) int64, ascending
    numbers : from data-set indices to those by which images go, -1 for images that are left out
    n : how many references of each neuron count, the first ones
    """
    image, value = own.top.image[neurons, :n], own.top.value[neurons, :n]
    label = np.full(image.shape, -1, np.int64)
    if clustering is not None:
        _, there, places = np.intersect1d(neurons, clustering.neuron, return_indices=True)
        label[there] = clustering.label[places, :n]
    image = np.where((image != NO_IMAGE) & (value > own.fires_above), numbers(image) if numbers else image, NO_IMAGE)
    return Units.of(neurons, image, np.where(image == NO_IMAGE, -1, label), kinds)


@dataclass(frozen=True, eq=False)
class Units:
    """Neurons and virtual neurons of a layer.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    image : (N, n) int64, numbers of common images, -1 where there is none
    label : (N, n) int64, virtual neuron that each reference belongs to, -1 for none
    row, part : (U,) int64, the row of the neuron of each unit, and which of its virtual neurons it is, counted from 0;
        `WHOLE` for the neuron itself
    """

    neuron: np.ndarray
    image: np.ndarray
    label: np.ndarray
    row: np.ndarray
    part: np.ndarray

    @classmethod
    def of(cls, neuron: np.ndarray, image: np.ndarray, label: np.ndarray, kinds: list[str]) -> Units:
        """All units of some kinds with at least one reference, neurons first."""
        none = np.zeros(0, np.int64)
        neurons = np.flatnonzero((image != NO_IMAGE).any(axis=1)) if NEURONS in kinds else none
        row, part = none, none
        if VIRTUAL in kinds and (label >= 0).any():
            where = np.nonzero(label >= 0)
            row, part = np.unique(np.stack([where[0], label[where]]), axis=1)
        whole = np.full(len(neurons), WHOLE)
        return cls(neuron, image, label, np.concatenate([neurons, row]), np.concatenate([whole, part]))

    def __len__(self) -> int:
        return len(self.row)

    @property
    def identity(self) -> np.ndarray:
        """(U, 2) int64, neuron and virtual neuron of each, as `part` counts them."""
        return np.stack([self.neuron[self.row], self.part], axis=1)

    def places(self, kind: str) -> np.ndarray:
        """Of the units of one kind."""
        return np.flatnonzero((self.part == WHOLE) == (kind == NEURONS))

    def only(self, which: np.ndarray) -> Units:
        """Some of the units."""
        return replace(self, row=self.row[which], part=self.part[which])

    def of_neurons(self, neurons: np.ndarray) -> Units:
        """Those of some neurons."""
        return self.only(np.isin(self.neuron[self.row], neurons))

    def dealt(self, random: np.random.Generator) -> Units:
        """The same, with the references of each neuron dealt out at random among its virtual neurons, as many each."""
        label = self.label.copy()
        for own in label:
            belonging = np.flatnonzero(own >= 0)
            own[belonging] = random.permutation(own[belonging])
        return replace(self, label=label)

    def members(self, item: np.ndarray) -> Members:
        """Which of some items (N, n), one for each reference, belong to each unit."""
        found = []
        if len(self._of_neuron):
            row, slot = np.nonzero((self.image != NO_IMAGE) & (self._place_of_neuron >= 0)[:, None])
            found.append((self._place_of_neuron[row], item[row, slot]))
        if self._place_of_part.size:
            row, slot = np.nonzero(self.label >= 0)
            place = self._place_of_part[row, self.label[row, slot]]
            found.append((place[place >= 0], item[row, slot][place >= 0]))
        unit, items = (np.concatenate(parts) for parts in zip(*found, strict=True)) if found else (self.row, self.row)
        return Members(unit, items, len(self))

    @property
    def _of_neuron(self) -> np.ndarray:
        return self.places(NEURONS)

    @cached_property
    def _place_of_neuron(self) -> np.ndarray:
        """(N,) of each neuron among the units; -1 where it is none."""
        found = np.full(len(self.neuron), -1)
        found[self.row[self._of_neuron]] = self._of_neuron
        return found

    @cached_property
    def _place_of_part(self) -> np.ndarray:
        """(N, V) of each virtual neuron among the units; -1 where it is none."""
        own = self.places(VIRTUAL)
        most = int(self.label.max(initial=-1)) + 1
        found = np.full((len(self.neuron), most if len(own) else 0), -1)
        found[self.row[own], self.part[own]] = own
        return found
