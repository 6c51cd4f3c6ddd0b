"""Rows by neuron: the files ``embed.h5`` (embeddings) and ``crops.h5`` (what each neuron saw of each reference)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from pure_cli.workspace import Store, empty_rows, made_from, settings_of, stamp, write_array


@dataclass(frozen=True)
class NeuronRows:
    """What is there for one layer and kind, without the rows themselves.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    shape : of the row of one neuron, such as (n, E)
    """

    neuron: np.ndarray
    shape: tuple[int, ...]
    settings: dict[str, Any]
    made_from: dict[str, Any]
    fingerprint: str


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
                    settings_of(group),
                    made_from(group),
                    group.attrs["fingerprint"],
                )
    return found


def read_row(store: Store, file_name: str, layer: str, kind: str, array: str, row: int) -> np.ndarray:
    """The row of one neuron, by its place in the file."""
    with store.read(file_name) as file:
        return file[f"layers/{layer}/{kind}/{array}"][row]


@dataclass(frozen=True)
class NewRows:
    """Rows that were just computed.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    row : from the place of a neuron to its row
    shape, dtype : of the row of one neuron
    settings, made_from : what they depend on
    """

    neuron: np.ndarray
    row: Callable[[int], np.ndarray]
    shape: tuple[int, ...]
    dtype: str
    settings: dict[str, Any]
    made_from: dict[str, Any]


def add_rows(store: Store, file_name: str, layer: str, kind: str, array: str, new: NewRows, anew: bool = False) -> None:
    """Write a file again with `new` in it; rows that were made from the same things stay.

    Parameters
    ----------
    anew : leave out everything that the file held
    """
    with store.replace(file_name) as file, ExitStack() as stack:
        old: Any = None
        if store.has(file_name) and not anew:
            old_file = stack.enter_context(store.read(file_name))
            for name in old_file["layers"]:
                for other in old_file["layers"][name]:
                    if (name, other) != (layer, kind):
                        old_file.copy(f"layers/{name}/{other}", file.require_group(f"layers/{name}"))
            old = old_file.get(f"layers/{layer}/{kind}")
        group = file.create_group(f"layers/{layer}/{kind}")
        stamp(group, new.settings, new.made_from)
        if old is not None and old.attrs["fingerprint"] != group.attrs["fingerprint"]:
            old = None
        before = old["neuron"][:] if old is not None else np.empty(0, np.int64)
        neuron = np.union1d(before, new.neuron)
        write_array(group, "neuron", neuron)
        rows = empty_rows(group, array, (len(neuron), *new.shape), new.dtype)
        new_row = {int(c): place for place, c in enumerate(new.neuron)}
        old_row = {int(c): place for place, c in enumerate(before)}
        for place, c in enumerate(neuron.tolist()):
            rows[place] = new.row(new_row[c]) if c in new_row else old[array][old_row[c]]
        prints = {
            f"{name}/{other}": part.attrs["fingerprint"]
            for name, kinds in file["layers"].items()
            for other, part in kinds.items()
        }
        stamp(file, {}, prints)
