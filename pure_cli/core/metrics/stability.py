"""Whether other references, or another seed, give the same virtual neurons."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from pure_cli.core.clusters import VirtualNeurons, virtual_neurons
from pure_cli.core.metrics.agreement import agreement, contingency

SAMPLES = 20  # of the bootstrap


class SeedStability(NamedTuple):
    """How alike the clusterings of different seeds are, means over pairs of seeds.

    Attributes
    ----------
    ari : adjusted Rand index, -0.5 to 1
    kept : share of references that keep their virtual neuron under the best match of the two, above 0 to 1
    """

    ari: float
    kept: float


def bootstrap_stability(points: np.ndarray, k: int, seed: int, samples: int = SAMPLES) -> float:
    """Agreement of the virtual neurons of all references with those of bootstrap samples.

    Parameters
    ----------
    points : (n, D) float, finite
    k : clusters wanted
    seed : of the samples, and of every k-means
    samples : at least 1

    Returns
    -------
    float
        Mean adjusted Rand index, -0.5 to 1. NaN for fewer than two references; 1 where all are equal and for k = 1,
        where there is nothing to disagree on.

    Notes
    -----
    n references are drawn with replacement and split by k-means; all references, drawn or not, then go to the nearest
    of its centroids, and that is compared with the split of all. Hennig 2007 (Computational Statistics and Data
    Analysis 52), with the adjusted Rand index in place of Jaccard's.
    """
    if samples < 1:
        raise ValueError(f"expected at least one sample, got {samples}")
    n = len(points)
    if n < 2:
        return np.nan
    whole = _split(points, k, seed).labels
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(samples):
        centroids = _split(points[generator.integers(0, n, n)], k, seed).centroids
        found.append(agreement(whole, cdist(points, centroids).argmin(axis=1)).ari)
    return float(np.mean(found))


def seed_stability(points: np.ndarray, k: int, seeds: Sequence[int]) -> SeedStability:
    """Agreement of the virtual neurons that different seeds of k-means give.

    Parameters
    ----------
    points : (n, D) float, finite
    k : clusters wanted
    seeds : of k-means, at least two

    Returns
    -------
    SeedStability
        Both NaN for fewer than two references; both 1 where all are equal and for k = 1.

    Notes
    -----
    Virtual neurons of two seeds are matched one to one so that the most references agree (Hungarian method, Kuhn
    1955).
    """
    if len(seeds) < 2:
        raise ValueError(f"expected at least two seeds, got {len(seeds)}")
    if len(points) < 2:
        return SeedStability(np.nan, np.nan)
    splits = [_split(points, k, seed).labels for seed in seeds]
    pairs = list(combinations(splits, 2))
    ari = np.mean([agreement(one, other).ari for one, other in pairs])
    return SeedStability(float(ari), float(np.mean([_kept(one, other) for one, other in pairs])))


def _split(points: np.ndarray, k: int, seed: int) -> VirtualNeurons:
    return virtual_neurons(points, np.ones(len(points), bool), k, seed)


def _kept(one: np.ndarray, other: np.ndarray) -> float:
    table = contingency(one, other)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(one))
