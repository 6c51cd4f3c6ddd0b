"""Whether other references, or another seed, give the same virtual neurons."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from pure_cli.core.clusters import labels_of
from pure_cli.core.kmeans import centred, inner_products
from pure_cli.core.matching import one_to_one
from pure_cli.core.metrics.agreement import adjusted_rand, agreement, contingency

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


def bootstrap_agreements(points: np.ndarray, k: int, seed: int, samples: int = SAMPLES) -> np.ndarray:
    """Agreement of the virtual neurons of all references with those of each of some bootstrap samples.

    Parameters
    ----------
    points : (n, D) float, finite
    k : clusters wanted
    seed : of the samples, and of every k-means
    samples : at least 1

    Returns
    -------
    (samples,) float64
        Adjusted Rand index, -0.5 to 1. NaN for fewer than two references; 1 where all are equal and for k = 1, where
        there is nothing to disagree on.

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
        return np.full(samples, np.nan)
    products = inner_products(points)
    whole = labels_of(products[None], [points], min(k, n), np.array([seed]))[0]
    return adjusted_rand(_split_again(points, products, k, seed, samples), whole)


def bootstrap_stability(points: np.ndarray, k: int, seed: int, samples: int = SAMPLES) -> float:
    """The mean of `bootstrap_agreements`."""
    return float(bootstrap_agreements(points, k, seed, samples).mean())


def cluster_overlaps(points: np.ndarray, labels: np.ndarray, k: int, seed: int, samples: int = SAMPLES) -> np.ndarray:
    """How well each virtual neuron is found again in bootstrap samples of the references.

    Parameters
    ----------
    points : (n, D) float, finite
    labels : (n,) int in 0 … k - 1, the virtual neuron of each
    k : clusters wanted
    seed : of the samples, and of every k-means
    samples : at least 1

    Returns
    -------
    (k,) float64 in [0, 1]
        Mean over samples of the highest Jaccard index, references in both over references in either, with a cluster
        of the sample; NaN for a virtual neuron without references.

    Notes
    -----
    The clusterwise stability of Hennig 2007 (Computational Statistics and Data Analysis 52), with samples as of
    `bootstrap_stability`.
    """
    again = _split_again(points, inner_products(points), k, seed, samples)
    tables = contingency(again, labels).astype(np.float64)  # (samples, clusters, virtual neurons)
    either = tables.sum(axis=2, keepdims=True) + tables.sum(axis=1, keepdims=True) - tables
    best = (tables / np.maximum(either, 1)).max(axis=1).mean(axis=0)
    found = np.full(k, np.nan)
    found[np.unique(labels)] = best
    return found


def best_overlaps(images: Sequence[np.ndarray], others: np.ndarray) -> np.ndarray:
    """How well units are found again among others.

    Parameters
    ----------
    images : of each of U units, their references
    others : (V, n) int, references of the others; negative for none

    Returns
    -------
    (U,) float64 in [0, 1]
        Highest Jaccard index of a unit's references with those of one of the others; NaN for a unit without any.
    """
    sizes = (others >= 0).sum(axis=1)
    found = np.full(len(images), np.nan)
    for unit, own in enumerate(images):
        both = np.isin(others, own[own >= 0]).sum(axis=1)
        if len(own):
            found[unit] = (both / np.maximum(len(own) + sizes - both, 1)).max(initial=0)
    return found


def _split_again(points: np.ndarray, products: np.ndarray, k: int, seed: int, samples: int) -> np.ndarray:
    """(samples, n) int, the clusters of bootstrap samples that all references are nearest to."""
    n = len(points)
    k = min(k, n)
    generator = np.random.default_rng(seed)
    drawn = np.stack([generator.integers(0, n, n) for _ in range(samples)])
    labels = labels_of(
        centred(products[drawn[:, :, None], drawn[:, None]]), [points[own] for own in drawn], k, np.full(samples, seed)
    )
    weights = np.zeros((samples, k, n))  # of the points in the centroids of each sample
    np.add.at(weights, (np.arange(samples)[:, None], labels, drawn), 1)
    sizes = weights.sum(axis=-1, keepdims=True)
    weights /= np.maximum(sizes, 1)
    towards = weights @ products
    apart = np.einsum("...i,...i", weights, towards)[..., None] - 2 * towards
    nearest: np.ndarray = np.where(sizes > 0, apart, np.inf).argmin(axis=1)
    return nearest


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
    each = np.array(list(seeds))
    products = np.broadcast_to(inner_products(points), (len(each), len(points), len(points)))
    splits = labels_of(products, [points] * len(each), min(k, len(points)), each)
    pairs = list(combinations(splits, 2))
    ari = np.mean([agreement(one, other).ari for one, other in pairs])
    return SeedStability(float(ari), float(np.mean([_kept(one, other) for one, other in pairs])))


def _kept(one: np.ndarray, other: np.ndarray) -> float:
    table = contingency(one, other)
    return float(table[one_to_one(table)].sum() / len(one))
