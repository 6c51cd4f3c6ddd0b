"""Virtual neurons: the file ``cluster.h5``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pure_cli.errors import PureError
from pure_cli.provenance import Provenance
from pure_cli.settings.shared import AUTO
from pure_cli.workspace import Store, read_provenance, write_array, write_provenance


@dataclass(frozen=True)
class Clustering:
    """Virtual neurons of one layer for one kind of features and one k.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    label : (N, n) int16, -1 where the reference belongs to none
    virtual_neuron, cluster, size : (V,) int64, a row for each virtual neuron
    centroid : (V, D) float32
    silhouette, distance : (N,) float32, NaN where there are not two virtual neurons
    k : (N,) int64, where k was chosen for each neuron; empty else
    polysemanticity, p : (N,) float32, of `pure_cli.core.meanings`, where k was chosen; empty else
    """

    neuron: np.ndarray
    label: np.ndarray
    virtual_neuron: np.ndarray
    cluster: np.ndarray
    size: np.ndarray
    centroid: np.ndarray
    silhouette: np.ndarray
    distance: np.ndarray
    provenance: Provenance
    k: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    polysemanticity: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    p: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    @property
    def chosen(self) -> bool:
        """k was chosen for each neuron."""
        return self.provenance.settings["k"] == AUTO

    def counts(self, neurons: np.ndarray) -> np.ndarray:
        """(m,) int64, virtual neurons that neurons (m,) have, which were clustered."""
        labels = self.label[np.searchsorted(self.neuron, neurons)]
        return labels.max(axis=1, initial=-1).astype(np.int64) + 1

    def without(self, neurons: np.ndarray) -> Clustering:
        """The clustering of the other neurons only."""
        kept, virtual = ~np.isin(self.neuron, neurons), ~np.isin(self.virtual_neuron, neurons)
        arrays: dict[str, Any] = {name: getattr(self, name)[kept] for name in self._by_neuron}
        return replace(self, **arrays, **{name: getattr(self, name)[virtual] for name in BY_VIRTUAL_NEURON})

    def joined(self, other: Clustering) -> Clustering:
        """Both, where `other`'s neurons are none of these; ascending."""

        def both(name: str) -> np.ndarray:
            return np.concatenate([getattr(self, name), getattr(other, name)])

        order, virtual = np.argsort(both("neuron")), np.argsort(both("virtual_neuron"), kind="stable")
        arrays: dict[str, Any] = {name: both(name)[order] for name in self._by_neuron}
        arrays |= {name: both(name)[virtual] for name in BY_VIRTUAL_NEURON}
        return replace(other, **arrays)

    @property
    def _by_neuron(self) -> tuple[str, ...]:
        return (*BY_NEURON, *CHOSEN) if self.chosen else BY_NEURON


BY_NEURON = ("neuron", "label", "silhouette", "distance")
CHOSEN = ("k", "polysemanticity", "p")
BY_VIRTUAL_NEURON = ("virtual_neuron", "cluster", "size", "centroid")
PATHS = {"virtual_neuron": "virtual/neuron", **{name: f"virtual/{name}" for name in BY_VIRTUAL_NEURON[1:]}}


def clustering_path(layer: str, features: str, k: int | str) -> str:
    return f"layers/{layer}/{features}/k{k}"


def read_clusterings(store: Store) -> dict[str, Clustering]:
    """All clusterings by their path in the file; none where there is no file."""
    found: dict[str, Clustering] = {}
    if not store.has("cluster"):
        return found
    with store.read("cluster") as file:
        for layer, kinds in file["layers"].items():
            for features, ks in kinds.items():
                for name, group in ks.items():
                    names = [*BY_NEURON, *BY_VIRTUAL_NEURON, *(name for name in CHOSEN if name in group)]
                    arrays = {one: group[PATHS.get(one, one)][:] for one in names}
                    found[f"layers/{layer}/{features}/{name}"] = Clustering(**arrays, provenance=read_provenance(group))
    return found


def need_clusterings(store: Store) -> dict[str, Clustering]:
    """As `read_clusterings`.

    Raises
    ------
    PureError
        There is none.
    """
    found = read_clusterings(store)
    if not found:
        raise PureError(f"The workspace {store.root} has no virtual neurons. Run `pure cluster` first.")
    return found


def write_clusterings(store: Store, clusterings: Mapping[str, Clustering]) -> None:
    with store.replace("cluster") as file:
        for path, clustering in clusterings.items():
            group = file.create_group(path)
            for name in (*BY_NEURON, *BY_VIRTUAL_NEURON, *(CHOSEN if clustering.chosen else ())):
                write_array(group, PATHS.get(name, name), getattr(clustering, name))
            write_provenance(group, clustering.provenance)
        prints = {path: clustering.provenance.fingerprint for path, clustering in clusterings.items()}
        write_provenance(file, Provenance({}, prints))
