"""Virtual neurons: the clusters of one neuron's references, and how clearly they are apart."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

STARTS = 10  # of k-means, the best of which is kept
LEFT_OUT = -1


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
    """Split the references of one neuron by k-means.

    Parameters
    ----------
    features : (n, D) float
    present : (n,) bool, references that excite the neuron; the others are left out
    k : clusters wanted; fewer come out where there are fewer references, or fewer different ones
    seed : of the starts

    Returns
    -------
    VirtualNeurons, with the labels of scikit-learn's ``KMeans(n_clusters=k, n_init=10, random_state=seed)`` on the
    references present, renumbered
    """
    labels = np.full(len(features), LEFT_OUT, np.int16)
    points = features[present]
    if not len(points):
        return VirtualNeurons(
            labels, np.empty(0, np.int64), np.empty((0, features.shape[1]), np.float32), np.nan, np.nan
        )
    if not np.isfinite(points).all():
        raise ValueError("features must be finite")
    found = _k_means(points, min(k, len(points)), seed)
    found = renumbered(found)
    labels[present] = found
    sizes = np.bincount(found)
    centroids = np.stack([points[found == v].mean(axis=0, dtype=np.float64) for v in range(len(sizes))])
    return VirtualNeurons(labels, sizes, centroids.astype(np.float32), _silhouette(points, found), _apart(centroids))


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


def _k_means(points: np.ndarray, k: int, seed: int) -> np.ndarray:
    if k == 1:
        return np.zeros(len(points), np.int64)
    with warnings.catch_warnings():  # fewer distinct points than clusters: fewer clusters, which is right
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(n_clusters=k, n_init=STARTS, random_state=seed).fit(points).labels_


def _silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    if not 2 <= len(np.unique(labels)) < len(points):
        return float("nan")
    return float(silhouette_score(points, labels))


def _apart(centroids: np.ndarray) -> float:
    if len(centroids) < 2:
        return float("nan")
    first, second = np.triu_indices(len(centroids), 1)
    return float(np.linalg.norm(centroids[first] - centroids[second], axis=1).mean())


def one_thread() -> threadpool_limits:
    """Context in which BLAS and OpenMP use one thread: many small fits run faster so."""
    return threadpool_limits(1)
