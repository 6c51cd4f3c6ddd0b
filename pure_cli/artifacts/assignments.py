"""Shares of virtual neurons in images of any data set: the file ``assign.h5``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pure_cli.artifacts.clusterings import Clustering
from pure_cli.provenance import Provenance
from pure_cli.workspace import Store, read_provenance, read_texts, write_array, write_provenance, write_texts

FILE = "assign"


@dataclass(frozen=True)
class Assignment:
    """Images of a data set and the virtual neurons of a layer.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    edge : (N, Q + 1) float32, the scores between which the quantiles of the images lie on which a neuron fires
    count : (N, Q) int64, images in each
    mass : (N, Q) float64, their scores added up
    image : (N, m) int64, those whose circuits were computed, the highest score first, as indices of the data set; -1
        where there are fewer
    score : (N, m) float32
    quantile : (N, m) int16, the lowest is 0
    share : (N, m, V + 1) float32, of each virtual neuron, and at last of none of them; zeros beyond those of a neuron
    hard : (N, m) int16, the nearest virtual neuron, -1 for none of them
    limit, variance : (N,) float64, of `pure_cli.core.assignment.Assigner`
    path : of the images, by index
    label : of the images, by index; -1 where there is none
    """

    neuron: np.ndarray
    edge: np.ndarray
    count: np.ndarray
    mass: np.ndarray
    image: np.ndarray
    score: np.ndarray
    quantile: np.ndarray
    share: np.ndarray
    hard: np.ndarray
    limit: np.ndarray
    variance: np.ndarray
    path: dict[int, str]
    label: dict[int, int]
    label_names: list[str]
    provenance: Provenance

    def clustering_path(self, clusterings: Mapping[str, Clustering]) -> str | None:
        """Of the virtual neurons, among the clusterings that are there; None where they changed or are gone."""
        made = self.provenance.made_from["cluster"]
        return next((path for path, one in clusterings.items() if one.provenance.fingerprint == made), None)

    def without(self, neurons: np.ndarray) -> Assignment:
        """That of the other neurons only."""
        kept = ~np.isin(self.neuron, neurons)
        arrays: dict[str, Any] = {name: getattr(self, name)[kept] for name in BY_NEURON}
        return replace(self, **arrays)

    def joined(self, other: Assignment) -> Assignment:
        """Both, where `other`'s neurons are none of these; ascending."""
        order = np.argsort(np.concatenate([self.neuron, other.neuron]))
        arrays: dict[str, Any] = {
            name: np.concatenate(_alike(getattr(self, name), getattr(other, name)))[order] for name in BY_NEURON
        }
        return replace(other, **arrays, path=self.path | other.path, label=self.label | other.label)


BY_NEURON = (
    "neuron", "edge", "count", "mass", "image", "score", "quantile", "share", "hard", "limit", "variance",
)  # fmt: skip


def _alike(*arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays that are as wide as the widest of them; -1 stands for no image, 0 for no share."""
    shape = np.max([array.shape[1:] for array in arrays], axis=0) if arrays[0].ndim > 1 else ()
    found = []
    for array in arrays:
        wide = [(0, 0), *((0, int(most) - there) for most, there in zip(shape, array.shape[1:], strict=True))]
        if array.ndim == 3 and wide[2][1]:  # none of them stays the last
            array = np.insert(array, [array.shape[2] - 1] * wide[2][1], 0, axis=2)
            wide[2] = (0, 0)
        empty = -1 if array.dtype.kind == "i" else 0
        found.append(np.pad(array, wide, constant_values=empty))
    return found


def read_assignments(store: Store) -> dict[str, Assignment]:
    """By layer; none where there is no file."""
    if not store.has(FILE):
        return {}
    found = {}
    with store.read(FILE) as file:
        for layer, group in file["layers"].items():
            images = group["images"]
            index = images["index"][:].tolist()
            found[layer] = Assignment(
                **{name: group[name][:] for name in BY_NEURON},
                path=dict(zip(index, read_texts(images["path"]), strict=True)),
                label=dict(zip(index, images["label"][:].tolist(), strict=True)),
                label_names=read_texts(group["label_names"]),
                provenance=read_provenance(group),
            )
    return found


def write_assignments(store: Store, assignments: Mapping[str, Assignment]) -> None:
    with store.replace(FILE) as file:
        for layer, one in assignments.items():
            group = file.create_group(f"layers/{layer}")
            for name in BY_NEURON:
                write_array(group, name, getattr(one, name))
            used = sorted(set(one.image[one.image >= 0].tolist()))
            write_array(group, "images/index", np.array(used, np.int64))
            write_array(group, "images/label", np.array([one.label[index] for index in used], np.int64))
            write_texts(group, "images/path", [one.path[index] for index in used])
            write_texts(group, "label_names", one.label_names)
            write_provenance(group, one.provenance)
        prints = {layer: one.provenance.fingerprint for layer, one in assignments.items()}
        write_provenance(file, Provenance({}, prints))
