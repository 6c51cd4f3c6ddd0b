"""Which virtual neurons of a layer are near to which, and maps of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from pure_cli.config import fingerprint
from pure_cli.core.metrics.semantics import unit_vectors
from pure_cli.files import NO_ARCHIVE, keep_archive, read_archive
from pure_cli.settings.shared import VIRTUAL
from pure_cli.stages.atlas_content.inputs import LayerInputs
from pure_cli.stages.labelling.choosing import best
from pure_cli.stages.labelling.index import unit_index
from pure_cli.stages.runtime.images import DATA_CACHE
from pure_cli.waiting import waiting_for
from pure_cli.workspace import Store

NEAREST = 6  # of each virtual neuron
MAP_NEIGHBORS = 15  # in the graph of a map: of hundreds of points, more than in that of a neuron's references
BLOCK = 1024  # virtual neurons at a time
CIRCUITS = "circuits"
MAP_VERSION = 1  # of what is kept

Unit = tuple[int, int]  # neuron, and virtual neuron counted from 0


@dataclass(frozen=True, eq=False)
class Space:
    """Virtual neurons as vectors.

    Attributes
    ----------
    key : a short name
    title : what says how near they are
    unit : (U, 2) int64, neuron and virtual neuron counted from 0
    vector : (U, E) float32, of length one
    """

    key: str
    title: str
    unit: np.ndarray
    vector: np.ndarray

    def nearest(self, neurons: np.ndarray) -> dict[Unit, list[tuple[Unit, float]]]:
        """For each virtual neuron of some neurons, those of others that it is most similar to, with their cosines."""
        units = [(int(neuron), int(part)) for neuron, part in self.unit]
        wanted, found = np.flatnonzero(np.isin(self.unit[:, 0], neurons)), {}
        for start in range(0, len(wanted), BLOCK):
            own = wanted[start : start + BLOCK]
            similarity = self.vector[own] @ self.vector.T
            similarity[self.unit[own, :1] == self.unit[None, :, 0]] = -np.inf
            places, scores = best(similarity, NEAREST)
            for unit, others, cosines in zip(own.tolist(), places.tolist(), scores.tolist(), strict=True):
                near = zip(others, cosines, strict=True)
                found[units[unit]] = [(units[other], cosine) for other, cosine in near if np.isfinite(cosine)]
        return found

    def map(self, store: Store, seed: int) -> np.ndarray:
        """(U, 2) float64 in 0 … 1, by UMAP; kept, as it takes long."""
        from pure_cli.core.projection import project

        digest = sha256(np.ascontiguousarray(self.vector).tobytes()).hexdigest()
        file = store.root / DATA_CACHE / f"map-{fingerprint([MAP_VERSION, MAP_NEIGHBORS, seed, digest])[:16]}.npz"
        with suppress(*NO_ARCHIVE):
            return read_archive(file)["point"]
        waiting_for(f"laying out a map of {len(self.unit):,} virtual neurons")
        points = project(self.vector, seed, MAP_NEIGHBORS)
        low, high = points.min(axis=0), points.max(axis=0)
        points = (points - low) / np.where(high > low, high - low, 1)
        keep_archive(file, point=points)
        return points


def spaces(inputs: LayerInputs) -> Iterator[Space]:
    """By embeddings, where there are some, and by circuits."""
    clustering = inputs.clustering
    if inputs.embeddings is not None:
        kind = inputs.embeddings.features
        index = unit_index(inputs.sources, inputs.layer, inputs.embeddings, clustering, [VIRTUAL])
        known = np.isfinite(index.mean).all(axis=1)
        if known.any():
            yield Space(kind, f"images, by {kind}", index.unit[known], index.mean[known])
    vector = np.nan_to_num(unit_vectors(clustering.centroid)).astype(np.float32)
    if len(vector):
        unit = np.stack([clustering.virtual_neuron, clustering.cluster], axis=1)
        yield Space(CIRCUITS, f"circuits, by {clustering.provenance.settings['features']}", unit, vector)
