"""How far apart references lie, within virtual neurons and across them."""

from dataclasses import dataclass

import numpy as np

from pure_cli.core.clusters import LEFT_OUT
from pure_cli.core.kmeans import inner_products

# Squared distance, in parts of the two squared norms, below which the matrix product has lost too many digits:
# above it, the relative error of a distance is about 1e-11.
CLOSE = 1e-4


@dataclass(frozen=True)
class Separation:
    """Mean distances between the references of one neuron, in the unit of the distances.

    Attributes
    ----------
    intra : of pairs of different references in the same virtual neuron
    inter : of pairs in different virtual neurons
    overall : of all pairs, what a random split gives
    """

    intra: float
    inter: float
    overall: float


def pairwise_distances(x: np.ndarray) -> np.ndarray:
    """Euclidean distance between any two rows.

    Parameters
    ----------
    x : (n, E) float, finite

    Returns
    -------
    (n, n) float64, at least 0, in the unit of `x`
        Symmetric, with a zero diagonal; exactly 0 for identical rows.

    Notes
    -----
    |a - b|² = |a|² + |b|² - 2ab, by one matrix product of the rows about their mean. That cancels where two rows are
    nearly equal, so those pairs are subtracted one from the other instead.
    """
    x = np.asarray(x, np.float64)
    if not len(x):
        return np.zeros((0, 0))
    product = inner_products(x)
    norms = np.diag(product)
    norms = norms[:, None] + norms
    squares = np.maximum(norms - 2 * product, 0)
    close = np.triu(squares <= CLOSE * norms, 1)
    distances = np.sqrt(squares)
    for i in np.flatnonzero(close.any(axis=1)):
        near = np.flatnonzero(close[i])
        distances[i, near] = distances[near, i] = np.linalg.norm(x[near] - x[i], axis=1)
    np.fill_diagonal(distances, 0)
    return distances


def separation(distances: np.ndarray, labels: np.ndarray) -> Separation:
    """Mean distance within and across the virtual neurons of one neuron's references.

    Parameters
    ----------
    distances : (n, n) float, symmetric, zero diagonal
    labels : (n,) int, a virtual neuron for each reference; -1 leaves the reference out

    Returns
    -------
    Separation
        Where `intra` or `inter` has no pair (all references alone, or all in one), the other stands in. All NaN where
        fewer than two references are left.

    Notes
    -----
    Dreyer et al. 2024 (arXiv 2404.06453), section 4.
    """
    return Separation(*(float(values[0]) for values in separations(distances, labels[None])))


def separations(distances: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for many splits of one neuron's references.

    Parameters
    ----------
    distances : (n, n) float
    labels : (K, n) int

    Returns
    -------
    intra, inter, overall
        Each (K,) float64.
    """
    labels = np.asarray(labels)
    kept = labels != LEFT_OUT
    members = (labels[:, None] == np.arange(int(labels.max(initial=0)) + 1)[:, None]).astype(np.float64)  # (K, v, n)
    sizes, counts = members.sum(axis=-1), kept.sum(axis=-1)
    within = ((members @ distances) * members).sum(axis=(1, 2)) / 2
    whole = ((kept @ distances) * kept).sum(axis=-1) / 2
    pairs_within, pairs = (sizes * (sizes - 1)).sum(axis=-1) / 2, counts * (counts - 1) / 2
    intra, inter = _mean(within, pairs_within), _mean(whole - within, pairs - pairs_within)
    stand_in = np.where(np.isnan(intra), inter, intra)
    return stand_in, np.where(np.isnan(inter), intra, inter), _mean(whole, pairs)


def _mean(total: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.where(pairs > 0, total / np.where(pairs > 0, pairs, 1), np.nan)
