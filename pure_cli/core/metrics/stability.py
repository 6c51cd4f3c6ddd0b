"""Whether other references, or another seed, give the same virtual neurons."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from pure_cli.core.clusters import labels_of
from pure_cli.core.kmeans import centred, inner_products
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
    products, k = inner_products(points), min(k, n)
    whole = labels_of(products[None], [points], k, np.array([seed]))[0]
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
    nearest = np.where(sizes > 0, apart, np.inf).argmin(axis=1)
    return adjusted_rand(nearest, whole)


def bootstrap_stability(points: np.ndarray, k: int, seed: int, samples: int = SAMPLES) -> float:
    """The mean of `bootstrap_agreements`."""
    return float(bootstrap_agreements(points, k, seed, samples).mean())


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
    from scipy.optimize import linear_sum_assignment  # takes a quarter of a second to import

    table = contingency(one, other)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(one))
