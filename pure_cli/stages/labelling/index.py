"""The mean embedding of every unit of a layer, kept so that a search is one matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli.artifacts import Clustering
from pure_cli.config import fingerprint
from pure_cli.core.metrics.semantics import unit_vectors
from pure_cli.files import NO_ARCHIVE, keep_archive, read_archive
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.inputs.units import units_of
from pure_cli.stages.labelling.choosing import mean_embeddings
from pure_cli.stages.runtime.images import DATA_CACHE
from pure_cli.workspace import Store

VERSION = 1  # of what is kept
BLOCK = 4096  # units at a time


@dataclass(frozen=True, eq=False)
class UnitIndex:
    """Units and their mean embeddings.

    Attributes
    ----------
    unit : (U, 2) int64, neuron and virtual neuron, counted from 0; -1 for the neuron itself
    mean : (U, E) float32, of length one
    name : of the file that keeps it, by all that it depends on
    """

    unit: np.ndarray
    mean: np.ndarray
    name: str = ""

    def best(self, vectors: np.ndarray) -> np.ndarray:
        """(Q,) float32, the highest score of any unit with each of vectors (E, Q), of length one."""
        blocks = range(0, len(self.mean), BLOCK)
        return np.max([(self.mean[start : start + BLOCK] @ vectors).max(axis=0) for start in blocks], axis=0)

    def scores(self, vector: np.ndarray) -> np.ndarray:
        """(U,) float32, cosine of each unit with a vector (E,), or (U, Q) with vectors (E, Q), of length one."""
        return self.mean @ vector.astype(np.float32)


@lru_cache(maxsize=4)  # layers; who searches searches again
def _read(file: Path, changed: int) -> UnitIndex:
    return UnitIndex(**read_archive(file), name=file.name)


def unit_index(
    sources: Sources, layer: str, embeddings: FeatureSource, clustering: Clustering | None, kinds: list[str]
) -> UnitIndex:
    """Of all units of a layer that have references and embeddings; read where it was kept, and up to date."""
    made: list[Any] = [VERSION, layer, kinds, embeddings.made_from]
    made += [clustering.provenance.fingerprint if clustering else ""]
    file = sources.store.root / DATA_CACHE / f"units-{fingerprint([layer, kinds])[:8]}-{fingerprint(made)[:16]}.npz"
    with suppress(*NO_ARCHIVE):
        return _read(file, file.stat().st_mtime_ns)
    units = units_of(sources.collected.layers[layer], clustering, embeddings.neuron, kinds)
    mean = unit_vectors(mean_embeddings(units, embeddings)).astype(np.float32)
    for old in file.parent.glob(f"{file.name[:15]}*.npz"):
        with suppress(OSError):
            old.unlink()
    found = UnitIndex(units.identity, mean, file.name)
    keep_archive(file, unit=found.unit, mean=found.mean)
    return found


def best_of_words(store: Store, indices: Sequence[UnitIndex], words: np.ndarray) -> np.ndarray:
    """(W,) float32, the highest score that any unit of some layers has with each of words (E, W); kept.

    What a search is held against: the most similar of many units is similar to any text.
    """
    key = fingerprint([VERSION, [one.name for one in indices], sha256(words.tobytes()).hexdigest()])
    file = store.root / DATA_CACHE / f"words-{key[:16]}.npz"
    with suppress(*NO_ARCHIVE):
        return read_archive(file)["best"]
    found = np.max([one.best(words) for one in indices], axis=0)
    keep_archive(file, best=found)
    return found
