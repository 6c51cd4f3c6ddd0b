"""k-means of many small sets of points at once, as scikit-learn does it, from their inner products alone.

Distances among n points, and from them to means of them, follow from the n × n inner products: they are computed once,
whatever the number of dimensions, and serve every k, every start and every seed. All sets and all starts then take
their steps together.
"""

from dataclasses import dataclass

import numpy as np

STARTS = 10  # the best of which is kept
STEPS = 300  # at most
TOLERANCE = 1e-4  # of the shift of the centroids, in parts of the variance
SAME = 1e-13  # squared distance, in parts of the mean one, below which two points are one
ELEMENTS = 40_000  # numbers in an array at a time: what fits into the cache of a core


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


@dataclass(frozen=True)
class Split:
    """The best of the starts for each of N sets of n points.

    Attributes
    ----------
    labels : (N, n) int64, 0 to k - 1
    weights : (N, k, n) float64; a centroid is the sum of the points about their mean with these weights
    sure : (N,) bool; False where a cluster ran empty or points coincide, so that scikit-learn's own steps are needed
    """

    labels: np.ndarray
    weights: np.ndarray
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
    return Split(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "weights", "sure")))


def _k_means(products: np.ndarray, dimensions: int, k: int, seeds: np.ndarray) -> Split:
    """All starts of all sets step together; sets whose starts are at rest are put aside.

    Arrays are (sets, starts, clusters, points): `weights` of the centroids, and `towards`, their inner products with
    the points.
    """
    sets, n = products.shape[:2]
    first, sure = _starts(squared_distances(products), k, seeds)
    norms = np.diagonal(products, axis1=1, axis2=2)
    tolerance = TOLERANCE * norms.sum(axis=1) / n / dimensions
    labels, weights = np.zeros((sets, n), np.int64), np.zeros((sets, k, n))

    here = np.flatnonzero(sure)  # the sets that are still at it
    own = np.full((len(here), STARTS, n), -1, np.int16)
    centroids = _Centroids.on_points(products[here], first[here])
    going = np.ones((len(here), STARTS), bool)
    for _ in range(STEPS):
        new = np.where(going[..., None], centroids.nearest(), own)
        members = new[:, :, None] == np.arange(k, dtype=np.int16)[:, None]
        sizes = members.sum(axis=-1)
        empty = ((sizes == 0).any(axis=-1) & going).any(axis=1)
        sure[here[empty]] = False
        moved = _Centroids.at(products[here], members / np.maximum(sizes, 1)[..., None])
        settled = (new == own).all(axis=2)
        near = ~settled & going & (moved.shift(centroids) <= tolerance[here, None])
        centroids, own = moved.where(going, centroids), new
        if near.any():  # within the tolerance: the labels that fit the centroids
            own = np.where(near[..., None], centroids.nearest(), own)
        going &= ~settled & ~near
        resting = empty | ~going.any(axis=1)
        if resting.any():
            best = centroids.inertia(own)[resting].argmin(axis=1)
            rows = np.flatnonzero(resting)
            labels[here[rows]], weights[here[rows]] = own[rows, best], centroids.weights[rows, best]
            if resting.all():
                break
            here, own, going, centroids = here[~resting], own[~resting], going[~resting], centroids.of(~resting)
    return Split(labels, weights, sure)


@dataclass(frozen=True)
class _Centroids:
    """Centroids as weighted sums of points.

    Attributes
    ----------
    weights : (N, STARTS, k, n)
    towards : (N, STARTS, k, n) inner products with the points
    lengths : (N, STARTS, k) squared
    """

    weights: np.ndarray
    towards: np.ndarray
    lengths: np.ndarray

    @classmethod
    def at(cls, products: np.ndarray, weights: np.ndarray) -> "_Centroids":
        sets, starts, k, n = weights.shape
        towards = (weights.reshape(sets, starts * k, n) @ products).reshape(weights.shape)
        return cls(weights, towards, np.einsum("...i,...i", weights, towards))

    @classmethod
    def on_points(cls, products: np.ndarray, points: np.ndarray) -> "_Centroids":
        """Each at one of the points, (N, STARTS, k)."""
        rows = np.arange(len(products))[:, None, None]
        weights = (points[..., None] == np.arange(products.shape[-1])).astype(float)
        return cls(weights, products[rows, points], products[rows, points, points])

    def nearest(self) -> np.ndarray:
        """(N, STARTS, n) the nearest centroid of each point; of equally near ones the first."""
        apart = self.lengths[..., None] - 2 * self.towards
        found, least = np.zeros(apart[:, :, 0].shape, np.int16), apart[:, :, 0]
        for j in range(1, apart.shape[2]):
            np.copyto(found, j, where=apart[:, :, j] < least)
            least = np.minimum(least, apart[:, :, j])
        return found

    def shift(self, before: "_Centroids") -> np.ndarray:
        """(N, STARTS) the sum of the squared distances that the centroids moved."""
        across = np.einsum("...i,...i", self.weights, before.towards)
        return (self.lengths + before.lengths - 2 * across).sum(axis=-1)

    def inertia(self, labels: np.ndarray) -> np.ndarray:
        """(N, STARTS) the sum of squared distances of the points to their centroids, less that to their mean."""
        apart = self.lengths[..., None] - 2 * self.towards
        return np.take_along_axis(apart, labels[:, :, None], axis=2)[:, :, 0].sum(axis=-1)

    def where(self, going: np.ndarray, before: "_Centroids") -> "_Centroids":
        """These where `going` (N, STARTS), those of before elsewhere."""
        if going.all():
            return self
        wide = going[..., None, None]
        return _Centroids(
            np.where(wide, self.weights, before.weights),
            np.where(wide, self.towards, before.towards),
            np.where(wide[..., 0], self.lengths, before.lengths),
        )

    def of(self, sets: np.ndarray) -> "_Centroids":
        return _Centroids(self.weights[sets], self.towards[sets], self.lengths[sets])


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


def _draw(seed: int, k: int, trials: int) -> np.ndarray:
    """The random numbers of all starts, in the order in which scikit-learn draws them."""
    return np.random.RandomState(seed).random_sample((STARTS, 1 + (k - 1) * trials))
