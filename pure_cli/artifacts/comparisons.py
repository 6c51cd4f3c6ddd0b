"""How alike the units of two workspaces are: the file ``compare.h5``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import h5py
import numpy as np

from pure_cli.core.matching import Matches
from pure_cli.provenance import Provenance
from pure_cli.workspace import Store, read_provenance, read_texts, write_array, write_provenance, write_texts

FILE = "compare"


@dataclass(frozen=True, eq=False)
class Block:
    """Units of one kind in A, among those of one kind in B.

    Attributes
    ----------
    places_a, places_b : of these among all units
    shuffled_a, shuffled_b : (S, N) and (S, M) float32, the highest similarity of each in shuffles of B's images
    classes_a, classes_b : the same, in shuffles within classes; of no rows where images have no labels
    pair_a, pair_b : (P,) int64, places in this block of the units that are paired one to one
    paired : (T,) float32, their mean similarity in shuffles
    """

    places_a: np.ndarray
    places_b: np.ndarray
    shuffled_a: np.ndarray
    shuffled_b: np.ndarray
    classes_a: np.ndarray
    classes_b: np.ndarray
    pair_a: np.ndarray
    pair_b: np.ndarray
    paired: np.ndarray


@dataclass(frozen=True, eq=False)
class Apart:
    """How clearly the virtual neurons of neurons match different neurons of the other side.

    Attributes
    ----------
    neuron : (N,) int64, those with several virtual neurons
    contrast : (N,) float64, of `pure_cli.core.matching.contrasts`
    dealt : (S, N) float64, the same where what belongs to virtual neurons is dealt out among them at random
    """

    neuron: np.ndarray
    contrast: np.ndarray
    dealt: np.ndarray


@dataclass(frozen=True, eq=False)
class Similarities:
    """By one measure.

    Attributes
    ----------
    by : as of ``--by``
    way : what it is in full
    unit_a, unit_b : (N, 2) and (M, 2) int64, neuron and virtual neuron, counted from 0; -1 for the neuron itself
    matrix : (N, M) float32
    blocks : by kinds in A and in B, "neurons" or "virtual"
    apart : of A and of B; None where that has no virtual neurons, or the other no neurons
    """

    by: str
    way: str
    unit_a: np.ndarray
    unit_b: np.ndarray
    matrix: np.ndarray
    blocks: dict[tuple[str, str], Block]
    apart: tuple[Apart | None, Apart | None]

    def part(self, kinds: tuple[str, str]) -> np.ndarray:
        """(N, M) similarities of a block."""
        block = self.blocks[kinds]
        return self.matrix[np.ix_(block.places_a, block.places_b)]

    def matches(self, kinds: tuple[str, str], side: int, within_classes: bool = False) -> Matches:
        """Of a block, the matches of A (0) in B, or of B (1) in A; kinds always those in A and B."""
        block, part = self.blocks[kinds], self.part(kinds)
        shuffled = (block.shuffled_a, block.shuffled_b)[side]
        if within_classes:
            shuffled = (block.classes_a, block.classes_b)[side]
        return Matches.of(part if side == 0 else part.T, shuffled)

    @cached_property
    def has_classes(self) -> bool:
        """Chance within classes is known."""
        return all(len(block.classes_a) for block in self.blocks.values())


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two layers, by one measure or several.

    Attributes
    ----------
    about : "A" and "B", each with "workspace", "model", "layer", and how many neurons have no references; "notes"
    """

    similarities: dict[str, Similarities]
    about: dict[str, Any]
    provenance: Provenance


def block_order(kinds: tuple[str, str]) -> tuple[bool, tuple[str, str]]:
    """Like with like first, and neurons first."""
    return kinds[0] != kinds[1], kinds


def read_comparisons(store: Store) -> dict[str, Provenance]:
    """What the comparisons that are there depend on, by key; none where there is no file."""
    if not store.has(FILE):
        return {}
    with store.read(FILE) as file:
        return {key: read_provenance(group) for key, group in file["comparisons"].items()}


def read_comparison(store: Store, key: str) -> Comparison:
    with store.read(FILE) as file:
        group = file["comparisons"][key]
        found = [_read(own) for own in group["by"].values()]
        about = json.loads(read_texts(group["about"])[0])
        return Comparison({one.by: one for one in _in_order(found, about["by"])}, about, read_provenance(group))


def write_comparison(store: Store, key: str, new: Comparison, anew: bool = False) -> None:
    """Write the file again with one comparison in it; the others stay.

    Parameters
    ----------
    anew : where the file cannot be read, do without what it held
    """

    def write(file: h5py.File, old: h5py.File | None) -> None:
        others = [] if old is None else [name for name in old["comparisons"] if name != key]
        for name in others:
            old.copy(f"comparisons/{name}", file.require_group("comparisons"))  # type: ignore[union-attr]
        group = file.create_group(f"comparisons/{key}")
        for by, own in new.similarities.items():
            _write(group.create_group(f"by/{by}"), own)
        write_texts(group, "about", [json.dumps({**new.about, "by": list(new.similarities)})])
        write_provenance(group, new.provenance)
        prints = {name: one.attrs["fingerprint"] for name, one in file["comparisons"].items()}
        write_provenance(file, Provenance({}, prints))

    store.rewrite(FILE, write, anew)


def _in_order(found: list[Similarities], names: list[str]) -> list[Similarities]:
    return sorted(found, key=lambda one: names.index(one.by))


def _write(group: h5py.Group, own: Similarities) -> None:
    write_texts(group, "way", [own.way])
    for name in ("unit_a", "unit_b", "matrix"):
        write_array(group, name, getattr(own, name))
    for (of, among), block in own.blocks.items():
        for name in Block.__dataclass_fields__:
            write_array(group, f"blocks/{of}/{among}/{name}", getattr(block, name))
    for side, apart in zip("ab", own.apart, strict=True):
        for name in Apart.__dataclass_fields__ if apart else ():
            write_array(group, f"apart/{side}/{name}", getattr(apart, name))


def _read(group: h5py.Group) -> Similarities:
    def whole(kind: Any, place: h5py.Group) -> Any:
        return kind(**{name: place[name][:] for name in kind.__dataclass_fields__})

    blocks = {(of, among): whole(Block, block) for of, rest in group["blocks"].items() for among, block in rest.items()}
    apart: Mapping[str, Any] = group.get("apart", {})
    a, b = (whole(Apart, apart[side]) if side in apart else None for side in "ab")
    arrays = {name: group[name][:] for name in ("unit_a", "unit_b", "matrix")}
    by = group.name.rpartition("/")[2]
    ordered = {kinds: blocks[kinds] for kinds in sorted(blocks, key=block_order)}
    return Similarities(by=by, way=read_texts(group["way"])[0], **arrays, blocks=ordered, apart=(a, b))
