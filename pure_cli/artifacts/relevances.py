"""Relevances: the file ``attribute.h5``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from pure_cli.provenance import Provenance
from pure_cli.workspace import (
    Store,
    empty_rows,
    read_provenance,
    read_texts,
    write_array,
    write_provenance,
    write_texts,
)


@dataclass(frozen=True)
class AttributedLayer:
    """What ``attribute.h5`` holds for one layer, without the large arrays.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    image : (N, n) int64
    lower_layers : in the order in which they were asked for; the first is what ``pure`` features mean
    done : lower layer to (N,) bool, whether the neuron's relevances are there
    activation_image : (U,) int64, ascending
    """

    neuron: np.ndarray
    image: np.ndarray
    lower_layers: list[str]
    done: dict[str, np.ndarray]
    activation_image: np.ndarray
    provenance: Provenance

    @property
    def rule(self) -> str:
        """Of the relevances."""
        return str(self.provenance.settings["rule"])

    @property
    def at_maximum(self) -> bool:
        """The relevances are those of the neuron's activation at its maximum alone."""
        return bool(self.provenance.settings.get("position") == "max")

    def missing(self, lower: str, neurons: np.ndarray) -> np.ndarray:
        """Those of `neurons` whose relevances at `lower` are not there."""
        there = self.neuron[self.done[lower]] if lower in self.done else np.empty(0, np.int64)
        return np.setdiff1d(neurons, there)


def read_attributed(store: Store) -> dict[str, AttributedLayer]:
    with store.read("attribute") as file:
        return {name: _attributed(group) for name, group in file["layers"].items()}


def _attributed(group: h5py.Group) -> AttributedLayer:
    lower = read_texts(group["lower_layers"])
    return AttributedLayer(
        group["neuron"][:],
        group["image"][:],
        lower,
        {name: group["done"][name][:] for name in lower},
        group["activations/image"][:],
        read_provenance(group),
    )


def read_relevances(store: Store, layer: str, lower: str, places: np.ndarray) -> Iterator[np.ndarray]:
    """Relevances (n, D) float32 of some neurons, by their places in the file, one after the other."""
    with store.read("attribute") as file:
        rows = file[f"layers/{layer}/relevance/{lower}"]
        for place in places.tolist():
            yield rows[place].astype(np.float32, copy=False)


def lower_width(store: Store, layer: str, lower: str) -> int:
    """Channels of a lower layer."""
    with store.read("attribute") as file:
        return int(file[f"layers/{layer}/relevance/{lower}"].shape[-1])


def read_norms(store: Store, layer: str, lower: str, places: np.ndarray) -> np.ndarray:
    """(N, n) L1 norms that the relevances of some neurons were divided by, by their places in the file."""
    with store.read("attribute") as file:
        return file[f"layers/{layer}/norm/{lower}"][:][places]


def read_activations(store: Store, layer: str, kind: str) -> np.ndarray:
    """Activations (U, C) for each distinct image: "max" or "mean" over space of the layer, positive ones alone, or
    "lower/NAME", the mean over space of a lower layer."""
    with store.read("attribute") as file:
        return file[f"layers/{layer}/activations/{kind}"][:]


@dataclass(frozen=True)
class NewRelevances:
    """Relevances that were just computed, to be added to ``attribute.h5``.

    Attributes
    ----------
    layer : name
    neuron : (N,) int64, ascending
    relevance : lower layer to a function from the row of a neuron to its (n, D) float32
    norm : lower layer to a function from the row of a neuron to the (n,) L1 norms that they were divided by
    widths : lower layer to D
    activation_image : (U,) int64 images, whose activations take the place of those in the file
    activation : "max" and "mean" to (U, C) float32
    lower_mean : lower layer to (U, D) float32, its mean activation
    dtype : of the relevances in the file, "float32" or "float16"
    """

    layer: str
    neuron: np.ndarray
    relevance: Mapping[str, Callable[[int], np.ndarray]]
    norm: Mapping[str, Callable[[int], np.ndarray]]
    widths: Mapping[str, int]
    activation_image: np.ndarray
    activation: Mapping[str, np.ndarray]
    lower_mean: Mapping[str, np.ndarray]
    dtype: str = "float32"


def add_relevances(
    store: Store,
    new: NewRelevances,
    references: np.ndarray,
    provenance: Provenance,
    anew: bool = False,
) -> None:
    """Write ``attribute.h5`` again with `new` in it; what else is there for the same settings and inputs stays.

    Parameters
    ----------
    references : (C, n) int64, the reference images of all neurons of the layer
    anew : where the file cannot be read, do without what it held
    """

    def write(file: h5py.File, old_file: h5py.File | None) -> None:
        old_layers: Any = old_file["layers"] if old_file is not None else {}
        for name in old_layers:
            if name != new.layer:
                old_layers.copy(name, file.require_group("layers"))
        group = file.create_group(f"layers/{new.layer}")
        write_provenance(group, provenance)
        old = old_layers.get(new.layer)
        if old is not None and old.attrs["fingerprint"] != group.attrs["fingerprint"]:
            old = None
        _fill(group, old, new, references)
        prints = {name: layer.attrs["fingerprint"] for name, layer in file["layers"].items()}
        write_provenance(file, Provenance(provenance.settings, prints))

    store.rewrite("attribute", write, anew)


def _fill(group: h5py.Group, old: h5py.Group | None, new: NewRelevances, references: np.ndarray) -> None:
    before = _attributed(old) if old is not None else None
    neuron = np.union1d(before.neuron, new.neuron) if before else new.neuron
    write_array(group, "neuron", neuron)
    write_array(group, "image", references[neuron])
    lower_layers = [*(before.lower_layers if before else []), *new.relevance]
    lower_layers = list(dict.fromkeys(lower_layers))
    write_texts(group, "lower_layers", lower_layers)
    for lower in lower_layers:
        old_row = dict(zip(before.neuron.tolist(), range(len(before.neuron)), strict=True)) if before else {}
        old_done = before.done.get(lower) if before else None
        new_row = {int(c): row for row, c in enumerate(new.neuron)} if lower in new.relevance else {}
        width = new.widths[lower] if lower in new.widths else old["relevance"][lower].shape[-1]  # type: ignore[index]
        rows = empty_rows(group, f"relevance/{lower}", (len(neuron), references.shape[1], width), new.dtype)
        norms = np.full((len(neuron), references.shape[1]), np.nan, np.float32)
        done = np.zeros(len(neuron), bool)
        for i, c in enumerate(neuron.tolist()):
            if c in new_row:
                rows[i], norms[i] = new.relevance[lower](new_row[c]), new.norm[lower](new_row[c])
                done[i] = True
            elif old_done is not None and c in old_row and old_done[old_row[c]]:
                place = old_row[c]
                rows[i], norms[i] = old["relevance"][lower][place], old["norm"][lower][place]  # type: ignore[index]
                done[i] = True
            else:
                rows[i] = np.nan
        write_array(group, f"norm/{lower}", norms)
        write_array(group, f"done/{lower}", done)
    _fill_activations(group, old, new, before.activation_image if before else np.empty(0, np.int64), lower_layers)


def _fill_activations(
    group: h5py.Group, old: h5py.Group | None, new: NewRelevances, before: np.ndarray, lower_layers: list[str]
) -> None:
    """Activations of every distinct image; NaN at a lower layer where its relevances were not asked for."""
    image = np.union1d(before, new.activation_image)
    write_array(group, "activations/image", image)
    old_place, new_place = np.searchsorted(image, before), np.searchsorted(image, new.activation_image)

    def put(path: str, fresh: np.ndarray | None) -> None:
        there = old[path][:] if old is not None and path in old else None
        known = [values for values in (there, fresh) if values is not None]
        whole = np.full((len(image), known[0].shape[1]), np.nan, np.float32)
        if there is not None:
            whole[old_place] = there
        if fresh is not None:
            whole[new_place] = fresh
        write_array(group, path, whole)

    for kind, values in new.activation.items():
        put(f"activations/{kind}", values)
    for lower in lower_layers:
        put(f"activations/lower/{lower}", new.lower_mean.get(lower))
