"""Virtual neurons: the file ``cluster.h5``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pure_cli.workspace import Store, made_from, settings_of, stamp, write_array


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
    """

    neuron: np.ndarray
    label: np.ndarray
    virtual_neuron: np.ndarray
    cluster: np.ndarray
    size: np.ndarray
    centroid: np.ndarray
    silhouette: np.ndarray
    distance: np.ndarray
    settings: dict[str, Any]
    made_from: dict[str, Any]
    fingerprint: str = ""

    def without(self, neurons: np.ndarray) -> Clustering:
        """The clustering of the other neurons only."""
        kept, virtual = ~np.isin(self.neuron, neurons), ~np.isin(self.virtual_neuron, neurons)
        return replace(
            self,
            neuron=self.neuron[kept],
            label=self.label[kept],
            silhouette=self.silhouette[kept],
            distance=self.distance[kept],
            virtual_neuron=self.virtual_neuron[virtual],
            cluster=self.cluster[virtual],
            size=self.size[virtual],
            centroid=self.centroid[virtual],
        )

    def joined(self, other: Clustering) -> Clustering:
        """Both, where `other`'s neurons are none of these; ascending."""
        neuron = np.concatenate([self.neuron, other.neuron])
        virtual = np.concatenate([self.virtual_neuron, other.virtual_neuron])
        order, virtual_order = np.argsort(neuron), np.argsort(virtual, kind="stable")

        def both(name: str, by: np.ndarray) -> np.ndarray:
            return np.concatenate([getattr(self, name), getattr(other, name)])[by]

        return Clustering(
            neuron[order],
            both("label", order),
            virtual[virtual_order],
            both("cluster", virtual_order),
            both("size", virtual_order),
            both("centroid", virtual_order),
            both("silhouette", order),
            both("distance", order),
            other.settings,
            other.made_from,
        )


CLUSTERING_ARRAYS = {
    "neuron": "neuron",
    "label": "label",
    "silhouette": "silhouette",
    "distance": "distance",
    "virtual/neuron": "virtual_neuron",
    "virtual/cluster": "cluster",
    "virtual/size": "size",
    "virtual/centroid": "centroid",
}


def clustering_path(layer: str, features: str, k: int) -> str:
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
                    arrays = {attribute: group[path][:] for path, attribute in CLUSTERING_ARRAYS.items()}
                    found[f"layers/{layer}/{features}/{name}"] = Clustering(
                        **arrays,
                        settings=settings_of(group),
                        made_from=made_from(group),
                        fingerprint=group.attrs["fingerprint"],
                    )
    return found


def write_clusterings(store: Store, clusterings: Mapping[str, Clustering]) -> None:
    with store.replace("cluster") as file:
        prints = {}
        for path, clustering in clusterings.items():
            group = file.create_group(path)
            for name, attribute in CLUSTERING_ARRAYS.items():
                write_array(group, name, getattr(clustering, attribute))
            prints[path] = stamp(group, clustering.settings, clustering.made_from)
        stamp(file, {}, prints)
