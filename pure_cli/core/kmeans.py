"""k-means of many small sets of points at once, as scikit-learn does it, from their inner products alone.

Distances among n points, and from them to means of them, follow from the n × n inner products: they are computed once,
whatever the number of dimensions, and serve every k, every start and every seed. All sets and all starts then take
their steps together.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

STARTS = 10  # the best of which is kept
STEPS = 300  # at most
TOLERANCE = 1e-4  # of the shift of the centroids, in parts of the variance
SAME = 1e-13  # squared distance, in parts of the mean one, below which two points are one
EQUAL = 1e-12  # difference of two inertias, in parts of the variance, that is rounding: the earlier start is taken
REPACK = 0.7  # of the starts still going, below which the others are put aside
ELEMENTS = 320_000  # numbers in an array at a time: what fits into the cache of a core


def inner_products(points: np.ndarray) -> np.ndarray:
    """Inner products of points about their mean.

    Parameters
    ----------
    points : (n, D) float, finite

    Returns
    -------
    (n, n) float64, symmetric
    """
    centred = np.asarray(points, np.float64)
    centred = centred - centred.mean(axis=0)
    return centred @ centred.T


def centred(products: np.ndarray) -> np.ndarray:
    """Inner products (..., n, n) about the mean of the points, from those about another point."""
    rows = products.mean(axis=-1, keepdims=True)
    return products - rows - rows.swapaxes(-1, -2) + rows.mean(axis=-2, keepdims=True)


def squared_distances(products: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance between any two points.

    Parameters
    ----------
    products : (..., n, n), of `inner_products`

    Returns
    -------
    (..., n, n) float64, at least 0; exactly 0 on the diagonal and where two points differ by rounding only
    """
    norms = np.diagonal(products, axis1=-2, axis2=-1)
    found = norms[..., :, None] + norms[..., None, :] - 2 * products
    n = products.shape[-1]
    mean = 2 * norms.mean(axis=-1)[..., None, None]  # over all pairs, since the points lie about their mean
    found[found <= SAME * mean] = 0
    found[..., np.arange(n), np.arange(n)] = 0
    return found


class Split(NamedTuple):
    """The best of the starts for each of N sets of n points.

    Attributes
    ----------
    labels : (N, n) int16, 0 to k - 1
    sure : (N,) bool; False where a cluster ran empty, points coincide or no rest was found, so that scikit-learn's own
        steps are needed
    """

    labels: np.ndarray
    sure: np.ndarray


def k_means(products: np.ndarray, dimensions: int, k: int, seeds: np.ndarray) -> Split:
    """Split sets of equally many points.

    Parameters
    ----------
    products : (N, n, n) float64, of `inner_products`
    dimensions : of the points; scikit-learn's tolerance is in parts of the variance of one
    k : clusters, 2 to n
    seeds : (N,) int, of the starts of each set

    Returns
    -------
    Split
        Labels as of scikit-learn's ``KMeans(n_clusters=k, n_init=10, random_state=seed)``, which draws the same
        numbers and stops by the same rule (Lloyd's steps from k-means++ starts); in exact arithmetic they are equal,
        and in float64 as here they differ where a choice hangs on the rounding of its float32.
    """
    sets, n = products.shape[:2]
    block = max(1, ELEMENTS // (STARTS * n * max(k, _trials(k))))
    parts = [
        _k_means(products[start : start + block], dimensions, k, seeds[start : start + block])
        for start in range(0, sets, block)
    ]
    return Split(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _k_means(products: np.ndarray, dimensions: int, k: int, seeds: np.ndarray) -> Split:
    """All starts of all sets step together; those at rest are put aside."""
    sets, n = products.shape[:2]
    first, sure = _starts(squared_distances(products), k, seeds)
    tolerance = TOLERANCE * np.trace(products, axis1=1, axis2=2) / n / dimensions
    labels, inertia = np.zeros((sets, STARTS, n), np.int16), np.full((sets, STARTS), np.inf)

    here = np.flatnonzero(sure)  # the sets that are still at it, and which of their starts
    which = np.tile(np.arange(STARTS), (len(here), 1))
    going = np.ones(which.shape, bool)
    own = np.full((*which.shape, n), -1, np.int16)
    centroids = _Centroids.on_points(products[here], first[here])
    for _ in range(STEPS):
        if not len(here):
            break
        new = centroids.nearest()
        members = new[:, :, None] == np.arange(k, dtype=np.int16)[:, None]
        sizes = members.sum(axis=-1)
        empty = ((sizes == 0).any(axis=-1) & going).any(axis=1)
        moved = _Centroids.from_weights(products[here], members / np.maximum(sizes, 1)[..., None])
        settled = (new == own).all(axis=2)
        near = ~settled & (moved.shift(centroids) <= tolerance[here, None])
        if near.any():  # within the tolerance: the labels that fit the centroids
            new = np.where(near[..., None], moved.nearest(), new)
        done = np.nonzero(going & (settled | near))
        place = here[done[0]], which[done]
        labels[place], inertia[place] = new[done], moved.select(done).inertia(new[done])
        sure[here[empty]] = False
        going &= ~settled & ~near & ~empty[:, None]
        centroids, own = moved, new
        most = int(going.sum(axis=1).max(initial=0))
        if most <= REPACK * which.shape[1] or not going.any(axis=1).all():
            rows, kept = _still_going(going, most)
            here, which, going, own, centroids = here[rows], which[kept], going[kept], own[kept], centroids.select(kept)
    sure[here] = False  # those that find no rest
    best = _first_of_the_best(inertia, products)
    return Split(labels[np.arange(sets), best], sure)


def _still_going(going: np.ndarray, most: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The sets that are still at it, and the places of `most` starts of each, those that are going first."""
    rows = np.flatnonzero(going.any(axis=1))
    return rows, (rows[:, None], np.argsort(~going[rows], axis=1, kind="stable")[:, :most])


def _first_of_the_best(inertia: np.ndarray, products: np.ndarray) -> np.ndarray:
    """(N,) the start of each set with the least inertia (N, STARTS); of those that differ by rounding, the first."""
    rounding = EQUAL * np.trace(products, axis1=1, axis2=2)[:, None]
    return (inertia <= inertia.min(axis=1, keepdims=True) + rounding).argmax(axis=1)


@dataclass(frozen=True)
class _Centroids:
    """Centroids as weighted sums of points: for N sets, S starts of each, and k clusters.

    Attributes
    ----------
    weights : (N, S, k, n)
    towards : (N, S, k, n) inner products with the points
    lengths : (N, S, k) squared
    """

    weights: np.ndarray
    towards: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_weights(cls, products: np.ndarray, weights: np.ndarray) -> "_Centroids":
        sets, starts, k, n = weights.shape
        towards = (weights.reshape(sets, starts * k, n) @ products).reshape(weights.shape)
        return cls(weights, towards, np.einsum("...i,...i", weights, towards))

    @classmethod
    def on_points(cls, products: np.ndarray, points: np.ndarray) -> "_Centroids":
        """Each at one of the points, (N, S, k)."""
        rows = np.arange(len(products))[:, None, None]
        weights = (points[..., None] == np.arange(products.shape[-1])).astype(float)
        return cls(weights, products[rows, points], products[rows, points, points])

    def nearest(self) -> np.ndarray:
        """(N, S, n) the nearest centroid of each point; of equally near ones the first."""
        found = np.zeros(self.towards[..., 0, :].shape, np.int16)
        least = self.lengths[..., 0, None] - 2 * self.towards[..., 0, :]
        for j in range(1, self.towards.shape[-2]):
            apart = self.lengths[..., j, None] - 2 * self.towards[..., j, :]
            np.copyto(found, j, where=apart < least)
            np.minimum(least, apart, out=least)
        return found

    def shift(self, before: "_Centroids") -> np.ndarray:
        """(N, S) the sum of the squared distances that the centroids moved."""
        across = np.einsum("...i,...i", self.weights, before.towards)
        return (self.lengths + before.lengths - 2 * across).sum(axis=-1)

    def inertia(self, labels: np.ndarray) -> np.ndarray:
        """The sum of squared distances of the points to their centroids, less that to their mean."""
        apart = self.lengths[..., None] - 2 * self.towards
        return np.take_along_axis(apart, labels[..., None, :].astype(np.int64), axis=-2)[..., 0, :].sum(axis=-1)

    def select(self, starts: Any) -> "_Centroids":
        """Those of some starts, by sets and places."""
        return _Centroids(self.weights[starts], self.towards[starts], self.lengths[starts])


def _trials(k: int) -> int:
    """Candidates of k-means++ for each centroid."""
    return 2 + int(np.log(k))


def _starts(distances: np.ndarray, k: int, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k-means++: (N, STARTS, k) points to start from, and (N,) whether there are enough different ones."""
    sets, n = distances.shape[:2]
    trials = _trials(k)
    drawn = {int(seed): _draw(int(seed), k, trials) for seed in np.unique(seeds)}
    numbers = np.stack([drawn[int(seed)] for seed in seeds])  # (N, STARTS, 1 + (k - 1) * trials)
    uniform = np.full(n, 1 / n).cumsum()
    chosen = np.empty((sets, STARTS, k), np.int64)
    chosen[..., 0] = (uniform / uniform[-1]).searchsorted(numbers[..., 0], side="right")
    rows, starts = np.arange(sets)[:, None], np.arange(STARTS)[None]
    closest = distances[rows, chosen[..., 0]]  # (N, STARTS, n)
    enough = np.ones(sets, bool)
    for c in range(1, k):
        total = closest.sum(axis=-1)
        enough &= (total > 0).all(axis=1)
        values = numbers[..., 1 + (c - 1) * trials : 1 + c * trials] * total[..., None]
        sums = closest.cumsum(axis=-1)
        candidates = np.stack([(sums < values[..., t, None]).sum(axis=-1) for t in range(trials)], axis=-1)
        candidates = candidates.clip(max=n - 1)  # (N, STARTS, trials)
        reach = np.minimum(closest[:, :, None], distances[rows[..., None], candidates])
        best = reach.sum(axis=-1).argmin(axis=-1)
        chosen[..., c] = candidates[rows, starts, best]
        closest = reach[rows, starts, best]
    return chosen, enough


@lru_cache(maxsize=256)  # seeding a generator takes longer than the numbers
def _draw(seed: int, k: int, trials: int) -> np.ndarray:
    """The random numbers of all starts, in the order in which scikit-learn draws them."""
    return np.random.RandomState(seed).random_sample((STARTS, 1 + (k - 1) * trials))
