"""Virtual neurons: the clusters of one neuron's references, and how clearly they are apart."""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from pure_cli.core.cores import cores
from pure_cli.core.kmeans import STARTS, inner_products, k_means, squared_distances

LEFT_OUT = -1
TOGETHER = 64  # neurons whose points are split at a time by a thread
CLEAR, WEAK = 0.5, 0.25  # silhouettes of a reasonable split, and of any structure at all; Kaufman and Rousseeuw 1990


@dataclass(frozen=True)
class VirtualNeurons:
    """The clusters of one neuron's references.

    Attributes
    ----------
    labels : (n,) int16, the virtual neuron of each reference, by size, largest first; -1 where it belongs to none
    sizes : (v,) int64
    centroids : (v, D) float32, means of the features of each virtual neuron
    silhouette : mean silhouette of the references, -1 to 1, higher is clearer; NaN where there are not two clusters
    distance : mean Euclidean distance between the centroids, in the unit of the features; NaN likewise
    """

    labels: np.ndarray
    sizes: np.ndarray
    centroids: np.ndarray
    silhouette: float
    distance: float


def virtual_neurons(features: np.ndarray, present: np.ndarray, k: int, seed: int) -> VirtualNeurons:
    """Split the references of one neuron by k-means; `split_all` for many neurons."""
    return split_all([features], [present], [k], seed)[0][0]


def split_all(
    features: Sequence[np.ndarray], present: Sequence[np.ndarray], ks: Sequence[int], seed: int
) -> list[list[VirtualNeurons]]:
    """Split the references of some neurons by k-means, for several k.

    Parameters
    ----------
    features : (n, D) float, of each neuron
    present : (n,) bool, of each neuron: references that excite it; the others are left out
    ks : clusters wanted; fewer come out where there are fewer references, or fewer different ones
    seed : of the starts

    Returns
    -------
    list by neuron of lists by k
        With the labels of scikit-learn's ``KMeans(n_clusters=k, n_init=10, random_state=seed)`` on the references
        present, renumbered; see `pure_cli.core.kmeans`.
    """
    points = [values[mask] for values, mask in zip(features, present, strict=True)]
    if not all(np.isfinite(values).all() for values in points):
        raise ValueError("features must be finite")
    counts = np.array([len(values) for values in points])
    alike = [np.flatnonzero(counts == n) for n in np.unique(counts)]
    chunks = [which[start : start + TOGETHER] for which in alike for start in range(0, len(which), TOGETHER)]
    found: dict[int, list[VirtualNeurons]] = {}

    def split(which: np.ndarray) -> None:
        found.update(
            zip(which.tolist(), _split([points[i] for i in which], [present[i] for i in which], ks, seed), strict=True)
        )

    with ThreadPoolExecutor(max(1, min(cores(), len(chunks)))) as pool, one_thread():
        list(pool.map(split, chunks))
    return [found[i] for i in range(len(points))]


def _split(
    points: Sequence[np.ndarray], present: Sequence[np.ndarray], ks: Sequence[int], seed: int
) -> Iterator[list[VirtualNeurons]]:
    """Neurons that have equally many references."""
    n = len(points[0])
    exact = [values.astype(np.float64) for values in points]
    products = np.stack([inner_products(values) for values in exact]) if n else np.empty((len(points), 0, 0))
    distances = np.sqrt(squared_distances(products)) if n else products
    seeds = np.full(len(points), seed)
    labels = [labels_of(products, points, min(k, n), seeds) for k in ks]
    for i, mask in enumerate(present):
        own = [renumbered(of_k[i]) for of_k in labels]
        sizes = [np.bincount(one) for one in own]
        members = np.concatenate([one == np.arange(len(size))[:, None] for one, size in zip(own, sizes, strict=True)])
        means = members @ exact[i] / np.concatenate(sizes)[:, None]
        parts = np.split(means, np.cumsum([len(size) for size in sizes])[:-1])
        yield [
            VirtualNeurons(
                _spread(one, mask), size, part.astype(np.float32), silhouette(distances[i], one), _apart(part)
            )
            for one, size, part in zip(own, sizes, parts, strict=True)
        ]


def labels_of(products: np.ndarray, points: Sequence[np.ndarray], k: int, seeds: np.ndarray) -> np.ndarray:
    """Clusters of equally many points of each of some neurons.

    Parameters
    ----------
    products : (N, n, n), of `inner_products`
    points : N times (n, D)
    k : 0 to n
    seeds : (N,) int

    Returns
    -------
    (N, n) int, not renumbered
    """
    if k < 2:
        return np.zeros(products.shape[:2], np.int64)
    split = k_means(products, points[0].shape[1], k, seeds)
    for i in np.flatnonzero(~split.sure).tolist():
        split.labels[i] = _by_scikit_learn(points[i], k, int(seeds[i]))
    return split.labels


def _spread(labels: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Labels of the references that are present, as labels of all."""
    spread = np.full(len(present), LEFT_OUT, np.int16)
    spread[present] = labels
    return spread


def renumbered(labels: np.ndarray) -> np.ndarray:
    """Labels by size, largest cluster first; of equal sizes the one whose first member comes first.

    Parameters
    ----------
    labels : (n,) int

    Returns
    -------
    (n,) int16, 0 to the number of clusters - 1
    """
    names, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(names), np.int16)
    rank[np.lexsort((first, -sizes))] = np.arange(len(names))
    return rank[inverse]


def _by_scikit_learn(points: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Labels where points coincide or a cluster runs empty on the way."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # fewer distinct points than clusters: fewer clusters, which is right
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = KMeans(n_clusters=k, n_init=STARTS, random_state=seed).fit(points)
    return fit.labels_


def silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette of points in clusters.

    Parameters
    ----------
    distances : (n, n) float, symmetric, zero diagonal
    labels : (n,) int, 0 to the number of clusters - 1, each with a point at least

    Returns
    -------
    float
        -1 to 1; NaN where there are not two clusters, or only clusters of one point.

    Notes
    -----
    Rousseeuw 1987: (b - a) / max(a, b) with the mean distances a to the other points of the own cluster and b to those
    of the nearest other one; 0 for a point that is alone. Equal to scikit-learn's ``silhouette_score``.
    """
    n, sizes = len(labels), np.bincount(labels)
    if not 2 <= len(sizes) < n:
        return float("nan")
    sums = distances @ (labels[:, None] == np.arange(len(sizes)))
    rows = np.arange(n)
    alone = sizes[labels] == 1
    own = sums[rows, labels] / np.where(alone, 1, sizes[labels] - 1)
    others = sums / sizes
    others[rows, labels] = np.inf
    nearest = others.min(axis=1)
    largest = np.maximum(own, nearest)
    score = np.where(alone | (largest == 0), 0, (nearest - own) / np.where(largest == 0, 1, largest))
    return float(score.mean())


def _apart(centroids: np.ndarray) -> float:
    if len(centroids) < 2:
        return float("nan")
    first, second = np.triu_indices(len(centroids), 1)
    return float(np.linalg.norm(centroids[first] - centroids[second], axis=1).mean())


def one_thread() -> threadpool_limits:
    """Context in which BLAS and OpenMP use one thread: many small fits run faster so."""
    return threadpool_limits(1)
