"""Rows by neuron: the files ``embed.h5`` (embeddings) and ``crops.h5`` (what each neuron saw of each reference)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
class NeuronRows:
    """What is there for one layer and kind, without the rows themselves.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    shape : of the row of one neuron, such as (n, E)
    recipe : where things are that it takes to compute more of them; no part of the fingerprint
    """

    neuron: np.ndarray
    shape: tuple[int, ...]
    provenance: Provenance
    recipe: dict[str, Any]


def read_rows_index(store: Store, file_name: str, array: str) -> dict[tuple[str, str], NeuronRows]:
    """What a file holds, by (layer, kind); nothing where there is no file.

    Parameters
    ----------
    file_name : "embed" or "crops"
    array : name of the data set with the rows
    """
    found: dict[tuple[str, str], NeuronRows] = {}
    if not store.has(file_name):
        return found
    with store.read(file_name) as file:
        for layer, kinds in file["layers"].items():
            for kind, group in kinds.items():
                found[layer, kind] = NeuronRows(
                    group["neuron"][:],
                    tuple(group[array].shape[1:]),
                    read_provenance(group),
                    json.loads(read_texts(group["recipe"])[0]),
                )
    return found


def read_rows(
    store: Store, file_name: str, layer: str, kind: str, array: str, places: np.ndarray
) -> Iterator[np.ndarray]:
    """The rows of some neurons, by their places in the file, one after the other."""
    with store.read(file_name) as file:
        rows = file[f"layers/{layer}/{kind}/{array}"]
        for place in places.tolist():
            yield rows[place]


@dataclass(frozen=True)
class NewRows:
    """Rows that were just computed.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    row : from the place of a neuron to its row
    shape, dtype : of the row of one neuron
    recipe : as of `NeuronRows`
    """

    neuron: np.ndarray
    row: Callable[[int], np.ndarray]
    shape: tuple[int, ...]
    dtype: str
    provenance: Provenance
    recipe: dict[str, Any] = field(default_factory=dict)


def add_rows(store: Store, file_name: str, layer: str, kind: str, array: str, new: NewRows, anew: bool = False) -> None:
    """Write a file again with `new` in it; other rows that were made from the same things stay.

    Parameters
    ----------
    anew : where the file cannot be read, do without what it held
    """

    def write(file: h5py.File, old: h5py.File | None) -> None:
        if old is not None:
            for name in old["layers"]:
                for other in old["layers"][name]:
                    if (name, other) != (layer, kind):
                        old.copy(f"layers/{name}/{other}", file.require_group(f"layers/{name}"))
        group = file.create_group(f"layers/{layer}/{kind}")
        write_provenance(group, new.provenance)
        write_texts(group, "recipe", [json.dumps(new.recipe)])
        _fill(group, old.get(group.name) if old is not None else None, new, array)
        prints = {
            f"{name}/{other}": part.attrs["fingerprint"]
            for name, kinds in file["layers"].items()
            for other, part in kinds.items()
        }
        write_provenance(file, Provenance({}, prints))

    store.rewrite(file_name, write, anew)


def _fill(group: h5py.Group, old: h5py.Group | None, new: NewRows, array: str) -> None:
    if old is not None and old.attrs["fingerprint"] != group.attrs["fingerprint"]:
        old = None
    before = old["neuron"][:] if old is not None else np.empty(0, np.int64)
    neuron = np.union1d(before, new.neuron)
    write_array(group, "neuron", neuron)
    rows = empty_rows(group, array, (len(neuron), *new.shape), new.dtype)
    new_row = {int(c): place for place, c in enumerate(new.neuron)}
    old_row = {int(c): place for place, c in enumerate(before)}
    for place, c in enumerate(neuron.tolist()):
        rows[place] = new.row(new_row[c]) if c in new_row else old[array][old_row[c]]  # type: ignore[index]
