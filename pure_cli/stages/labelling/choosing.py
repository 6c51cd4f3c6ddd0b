"""Which concepts fit units best, by embeddings of their references or by images that excite them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pure_cli.core.labelling import similarities, soft_wpmi
from pure_cli.core.metrics.detection import correlations
from pure_cli.core.references import NO_IMAGE
from pure_cli.stages.inputs.features import FeatureSource
from pure_cli.stages.inputs.units import Units
from pure_cli.stages.labelling.images import Seen

BLOCK = 512  # units, or concepts, at a time


def mean_embeddings(units: Units, source: FeatureSource, without: np.ndarray | None = None) -> np.ndarray:
    """(U, E) float32, of the references of each unit; NaN where there is none.

    Parameters
    ----------
    source : of the embeddings
    without : data-set indices of images that are left out
    """
    neurons = np.intersect1d(units.neuron, source.neuron)
    found: np.ndarray | None = None
    for neuron, rows in zip(neurons.tolist(), source.rows(neurons), strict=True):
        place = int(np.searchsorted(units.neuron, neuron))
        there = units.image[place] != NO_IMAGE
        if without is not None:
            there &= ~np.isin(units.image[place], without)
        if found is None:
            found = np.full((len(units), rows.shape[1]), np.nan, np.float32)
        for unit in np.flatnonzero(units.row == place).tolist():
            part = int(units.part[unit])
            own = there & (units.label[place] == part) if part >= 0 else there
            if own.any():
                found[unit] = rows[: len(own)][own].mean(axis=0)
    assert found is not None, "units have embeddings"
    return found


def best_by_wpmi(seen: Seen, concepts: np.ndarray, top: int, done: Callable[[int], None]) -> tuple[np.ndarray, ...]:
    """The concepts of each unit (U, T) and their scores, by soft WPMI on the half of the images that does not judge."""
    chosen = ~seen.judges
    score = soft_wpmi(seen.vector[chosen], concepts, seen.activation[chosen], progress=done)
    return best(score, top)


def best_by_similarity(means: np.ndarray, concepts: np.ndarray, top: int) -> tuple[np.ndarray, ...]:
    """The concepts of each unit (U, T) and their cosines with its mean embedding; -1 and NaN where it has none."""
    parts = []
    for start in range(0, len(means), BLOCK):
        own = means[start : start + BLOCK]
        place, score = best(similarities(np.nan_to_num(own), concepts), top)
        lost = ~np.isfinite(own).all(axis=1)
        place[lost], score[lost] = -1, np.nan
        parts.append((place, score))
    place, score = (np.concatenate(one) for one in zip(*parts, strict=True))
    return place, score


def best(score: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """(U, T) places of the highest of scores (U, C), the highest first, and these; of equal ones the first comes
    first."""
    top = min(top, score.shape[1])
    place = np.argsort(-score, axis=1, kind="stable")[:, :top]
    return place, np.take_along_axis(score, place, axis=1)


def best_by_correlation(
    activation: np.ndarray, present: Callable[[np.ndarray], np.ndarray], count: int, top: int
) -> np.ndarray:
    """(U, T) the concepts whose presence goes most with activation.

    Parameters
    ----------
    activation : (P, U) float
    present : of concepts (K,) to (P, K)
    count : concepts
    """
    parts = [np.nan_to_num(correlations(activation, present(chosen)), nan=-1) for chosen in _blocks(count)]
    place, _ = best(np.concatenate(parts, axis=1), top)
    return place


def _blocks(count: int) -> Iterator[np.ndarray]:
    for start in range(0, count, BLOCK):
        yield np.arange(start, min(start + BLOCK, count))
