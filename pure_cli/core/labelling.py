"""How well concepts in words fit units: by the vectors of their references, or by images that excite them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pure_cli.core.metrics.semantics import unit_vectors

TOP_K, SCALE, PRIOR = 100, 10.0, 1.0  # images, temperature and weight of the prior in soft WPMI
FIRST, LAST, LEAST = 0.998, 0.97, 1e-7  # probability that an image counts, from the first on; least probability
BLOCK = 1 << 22  # numbers at a time


def similarities(means: np.ndarray, concepts: np.ndarray) -> np.ndarray:
    """Cosine of units' mean vectors with those of concepts.

    Parameters
    ----------
    means : (U, E) float
    concepts : (C, E) float

    Returns
    -------
    (U, C) float32, -1 to 1

    Notes
    -----
    Dreyer et al. 2025 (arXiv 2501.05398), where a concept's vector is that of its text in a template minus that of the
    template alone (`pure_cli.embedders.texts.concept_vectors`).
    """
    return (unit_vectors(means) @ unit_vectors(concepts).T).astype(np.float32)


def soft_wpmi(
    images: np.ndarray,
    concepts: np.ndarray,
    activations: np.ndarray,
    top_k: int = TOP_K,
    progress: Callable[[int], None] = lambda units: None,
) -> np.ndarray:
    """Soft weighted pointwise mutual information of units and concepts.

    Parameters
    ----------
    images : (P, E) float, vectors of length one
    concepts : (C, E) float, vectors of length one
    activations : (P, U) float, finite
    top_k : images of each unit that count, those that excite it most
    progress : called with the number of units that are done more

    Returns
    -------
    (U, C) float32, higher is better; only differences within a unit mean something

    Notes
    -----
    Oikarinen & Weng 2023 (CLIP-Dissect, arXiv 2204.10965), equation 6 and the settings of its code: log of the
    probability that all of a unit's images show the concept, each counting with a probability that falls from 0.998 to
    0.97 by rank, minus its mean over units. Of equal activations, those of earlier images count first.
    """
    top_k = min(top_k, len(images))
    top = np.argsort(-activations, axis=0, kind="stable")[:top_k].T  # (U, k)
    used, place = np.unique(top, return_inverse=True)
    probability = _softmax(SCALE * (images[used].astype(np.float32) @ concepts.T.astype(np.float32)))
    inclusion = (FIRST - (FIRST - LAST) * np.arange(top_k) / top_k).astype(np.float32)[:, None]
    found = np.empty((len(top), len(concepts)), np.float32)
    for unit, rows in enumerate(place.reshape(top.shape)):
        found[unit] = np.log(1 + inclusion * (probability[rows] - 1) + LEAST).sum(axis=0)
        progress(1)
    return found - PRIOR * _log_mean(found)


@dataclass(frozen=True)
class Presence:
    """How probable it is that images show concepts, among all concepts of a list: CLIP's zero-shot classifier.

    Attributes
    ----------
    images : (P, E) float32, vectors of length one
    concepts : (C, E) float32, vectors of length one
    scale : by which cosines are multiplied, of the network's training
    total : (P,) float64, logarithm of the sum over all concepts
    """

    images: np.ndarray
    concepts: np.ndarray
    scale: float
    total: np.ndarray

    @classmethod
    def among(cls, images: np.ndarray, concepts: np.ndarray, scale: float) -> Presence:
        images, concepts = images.astype(np.float32), concepts.astype(np.float32)
        total = np.empty(len(images))
        step = max(1, BLOCK // max(1, len(concepts)))
        for start in range(0, len(images), step):
            scaled = scale * (images[start : start + step] @ concepts.T)
            highest = scaled.max(axis=1)
            total[start : start + step] = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
        return cls(images, concepts, scale, total)

    def of(self, chosen: np.ndarray) -> np.ndarray:
        """(P, K) float64, 0 to 1, of some concepts (K,); over all concepts they sum to one."""
        return np.exp(self.scale * (self.images @ self.concepts[chosen].T) - self.total[:, None])


def _softmax(values: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _log_mean(values: np.ndarray) -> np.ndarray:
    """(C,) log of the mean over units of the exponentials of (U, C)."""
    highest = values.max(axis=0)
    return highest + np.log(np.exp(values - highest).mean(axis=0))
