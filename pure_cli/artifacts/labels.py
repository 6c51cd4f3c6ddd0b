"""Labels in words of neurons and virtual neurons: the file ``labels.h5``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pure_cli.provenance import Provenance
from pure_cli.workspace import Store, read_provenance, read_texts, write_array, write_provenance, write_texts

FILE = "labels"
GIVEN, CHANCE, RARE, UNJUDGED = range(4)  # what became of the first label
NO_LABEL = "no label"
NOT_JUDGED = "?"  # behind a label of which nobody knows how good it is
BY_CLASSES, BY_IMAGES = 1, 2  # what says in which images a concept is: their labels, or their vectors; 0: nothing


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of the units of a layer.

    Attributes
    ----------
    unit : (U, 2) int64, neuron and virtual neuron, counted from 0; -1 for the neuron itself
    concept : (U, T) int64, the concepts that fit best, the best first, places in `names`; -1 for none
    score : (U, T) float32, by which they were chosen
    present : (U, T) int8, `BY_CLASSES` or `BY_IMAGES`
    auprc, chance, pearson, f1 : (U, T) float32, on images that had no part in the choice; NaN where nothing was judged;
        chance is that of the AUPRC
    limit : (U,) float32, the highest AUPRC of the first label in shuffles
    label : (U, L) int64, the concepts that the unit is called by, places in `names`, -1 for no more
    verdict : (U,) int8: `GIVEN`; `CHANCE`, no better than chance; `RARE`, in too few images to be judged; `UNJUDGED`
    names : of concepts
    """

    unit: np.ndarray
    concept: np.ndarray
    score: np.ndarray
    present: np.ndarray
    auprc: np.ndarray
    chance: np.ndarray
    pearson: np.ndarray
    f1: np.ndarray
    limit: np.ndarray
    label: np.ndarray
    verdict: np.ndarray
    names: list[str]
    provenance: Provenance

    @cached_property
    def _rows(self) -> dict[tuple[int, int], int]:
        return {(neuron, part): row for row, (neuron, part) in enumerate(self.unit.tolist())}

    @property
    def neurons(self) -> np.ndarray:
        """(N,) int64, ascending, that have labels."""
        return np.unique(self.unit[:, 0])

    def text(self, neuron: int, part: int = -1) -> str:
        """What a unit is called: its labels, "no label", or "" where it was not labelled.

        Parameters
        ----------
        part : virtual neuron, counted from 0; -1 for the neuron itself
        """
        row = self.row_of(neuron, part)
        return "" if row is None else self.text_of(row)

    def row_of(self, neuron: int, part: int = -1) -> int | None:
        """The row of a unit, as of `text`; None where it was not labelled."""
        return self._rows.get((neuron, part))

    def text_of(self, row: int) -> str:
        """As `text`."""
        names = [self.names[concept] for concept in self.label[row].tolist() if concept >= 0]
        if self.verdict[row] == CHANCE or not names:
            return NO_LABEL
        return " + ".join(names) + ("" if self.verdict[row] == GIVEN else f" {NOT_JUDGED}")

    def quoted(self, neuron: int, part: int = -1) -> str:
        """As `text`, in quotation marks for a figure."""
        text = self.text(neuron, part)
        return f"“{text}”" if text else ""

    def of_neuron(self, neuron: int) -> dict[int, str]:
        """What a neuron and its virtual neurons are called, by virtual neuron; -1 for the neuron itself."""
        return {part: self.text_of(row) for (own, part), row in sorted(self._rows.items()) if own == neuron}

    def shown_for(self, neuron: int) -> dict[str, Any]:
        """What a figure of a neuron that shows labels is made from."""
        return {"labels": self.provenance.fingerprint, "names": list(self.of_neuron(neuron).values())}

    def without(self, neurons: np.ndarray) -> Labels:
        """Those of the other neurons only."""
        return self._some(np.flatnonzero(~np.isin(self.unit[:, 0], neurons)))

    def joined(self, other: Labels) -> Labels:
        """Both, where `other`'s neurons are none of these; ascending."""
        places = {name: place for place, name in enumerate(dict.fromkeys([*self.names, *other.names]))}
        mine, yours = (one._renamed(places) for one in (self, other))
        arrays: dict[str, Any] = {
            name: np.concatenate(_as_wide(getattr(mine, name), getattr(yours, name))) for name in BY_UNIT
        }
        whole = replace(other, **arrays, names=list(places))
        return whole._some(np.lexsort([whole.unit[:, 1], whole.unit[:, 0]]))

    def _some(self, rows: np.ndarray) -> Labels:
        arrays: dict[str, Any] = {name: getattr(self, name)[rows] for name in BY_UNIT}
        return replace(self, **arrays)

    def _renamed(self, places: Mapping[str, int]) -> Labels:
        to = np.array([*(places[name] for name in self.names), -1])
        return replace(self, concept=to[self.concept], label=to[self.label])


BY_UNIT = (
    "unit", "concept", "score", "present", "auprc", "chance", "pearson", "f1", "limit", "label", "verdict",
)  # fmt: skip


def _as_wide(*arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays with as many columns as the widest of them."""
    if arrays[0].ndim < 2:
        return list(arrays)
    most, empty = max(array.shape[1] for array in arrays), -1 if arrays[0].dtype.kind == "i" else np.nan
    return [np.pad(array, [(0, 0), (0, most - array.shape[1])], constant_values=empty) for array in arrays]


def read_labels(store: Store) -> dict[str, Labels]:
    """By layer; none where there is no file."""
    if not store.has(FILE):
        return {}
    with store.read(FILE) as file:
        return {
            layer: Labels(
                **{name: group[name][:] for name in BY_UNIT},
                names=read_texts(group["names"]),
                provenance=read_provenance(group),
            )
            for layer, group in file["layers"].items()
        }


def write_labels(store: Store, labels: Mapping[str, Labels]) -> None:
    with store.replace(FILE) as file:
        for layer, one in labels.items():
            group = file.create_group(f"layers/{layer}")
            for name in BY_UNIT:
                write_array(group, name, getattr(one, name))
            write_texts(group, "names", one.names)
            write_provenance(group, one.provenance)
        write_provenance(file, Provenance({}, {layer: one.provenance.fingerprint for layer, one in labels.items()}))
