"""To which virtual neuron of a neuron an image belongs, by its circuit; or to none of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NONE = -1  # in place of a virtual neuron
HELD_OUT = 0.05  # share of references, held out, that counts as none of the virtual neurons
FOLDS = 5
LEAST = 1e-12  # of a variance
ROUNDING = 1e-6  # of the squared length of a centroid: circuits as near to it are the same


@dataclass(frozen=True)
class Assigner:
    """How the circuits of images go to the virtual neurons of one neuron.

    A circuit belongs to each virtual neuron by the share that a mixture of Gaussians gives it: their means are the
    centroids, all as frequent, and their variance is that of the references around their centroids along the
    directions that tell centroids apart (the others say nothing on which of them it is). It belongs to none where it is
    farther from the nearest centroid than all but a share `HELD_OUT` of the references are from centroids that were
    computed without them.

    Where clusters overlap, k-means cuts them along the middle: the variance is too small then, and shares are more
    certain than they should be.

    Attributes
    ----------
    centroids : (V, D) float64
    variance : of the references around their centroids, along one direction; the temperature is twice that
    limit : squared distance from the nearest centroid, beyond which a circuit belongs to none
    """

    centroids: np.ndarray
    variance: float
    limit: float

    @classmethod
    def of(cls, points: np.ndarray, labels: np.ndarray) -> Assigner:
        """From the references.

        Parameters
        ----------
        points : (n, D) features of the references of the neuron
        labels : (n,) their virtual neurons, counted from 0; negative ones are left out

        Raises
        ------
        ValueError
            No reference has a virtual neuron.
        """
        points, labels = points[labels >= 0].astype(np.float64), labels[labels >= 0]
        if not len(labels):
            raise ValueError("no references")
        centroids = _centroids(points, labels, int(labels.max()) + 1)
        rounding = ROUNDING * float((centroids**2).sum(axis=1).max())
        limit = max(_limit(points, labels, len(centroids)), rounding)
        return cls(centroids, _variance(points, labels, centroids), limit)

    def distances(self, points: np.ndarray) -> np.ndarray:
        """(m, V) squared distances of circuits (m, D) from the centroids."""
        return _distances(points.astype(np.float64), self.centroids)

    def shares(self, points: np.ndarray) -> np.ndarray:
        """(m, V + 1) float64: how much circuits (m, D) belong to each virtual neuron, and at last to none of them.

        Each row sums to 1. A circuit without relevance belongs to none.
        """
        distances = self.distances(points)
        log = -distances / (2 * self.variance)
        log -= log.max(axis=1, keepdims=True)
        shares = np.exp(log) / np.exp(log).sum(axis=1, keepdims=True)
        none = self.unlike_all(points)
        return np.column_stack([np.where(none[:, None], 0.0, shares), none.astype(np.float64)])

    def unlike_all(self, points: np.ndarray) -> np.ndarray:
        """(m,) bool: the circuits that belong to none of the virtual neurons."""
        return (self.distances(points).min(axis=1) > self.limit) | ~points.any(axis=1)

    def hard(self, points: np.ndarray) -> np.ndarray:
        """(m,) int64: the nearest virtual neuron, or `NONE`."""
        return np.where(self.unlike_all(points), NONE, self.distances(points).argmin(axis=1))


def _centroids(points: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """(V, D) means; NaN for a virtual neuron without a point."""
    sums = np.zeros((count, points.shape[1]))
    np.add.at(sums, labels, points)
    sizes = np.bincount(labels, minlength=count)[:, None]
    return np.divide(sums, sizes, out=np.full_like(sums, np.nan), where=sizes > 0)


def _distances(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return np.stack([((points - centroid) ** 2).sum(axis=1) for centroid in centroids], axis=1)


def _variance(points: np.ndarray, labels: np.ndarray, centroids: np.ndarray) -> float:
    """Of points around their centroids, in the mean over the directions in which centroids lie apart."""
    if len(centroids) < 2:
        return 1.0  # there is nothing to tell apart
    _, sizes, directions = np.linalg.svd(centroids - centroids.mean(axis=0), full_matrices=False)
    apart = directions[sizes > sizes[0] * 1e-9]
    if not len(apart):
        return LEAST
    around = (points - centroids[labels]) @ apart.T
    freedom = max(len(points) - len(centroids), 1)
    return max(float((around**2).sum() / (freedom * len(apart))), float(sizes[0] ** 2) * LEAST, LEAST)


def _limit(points: np.ndarray, labels: np.ndarray, count: int) -> float:
    """The distance that all but a share `HELD_OUT` of the points keep to centroids computed without them."""
    fold = np.empty(len(points), np.int64)
    for virtual in range(count):
        own = np.flatnonzero(labels == virtual)
        fold[own] = np.arange(len(own)) % FOLDS
    held = np.zeros(len(points))
    for part in range(FOLDS):
        out = fold == part
        if not out.any():
            continue
        if out.all():  # of single points: nothing can be held out
            return float("inf")
        centroids = _centroids(points[~out], labels[~out], count)
        held[out] = np.nanmin(_distances(points[out], centroids), axis=1)
    return float(np.quantile(held, 1 - HELD_OUT, method="higher"))
