"""How clear, distinct and pure concepts are: the scores of semanticlens."""

import numpy as np

from pure_cli.core.clusters import labels_of
from pure_cli.core.kmeans import inner_products

BLOCK = 1024  # concepts compared with all others at a time


def unit_vectors(x: np.ndarray) -> np.ndarray:
    """Rows at length 1; a zero row stays zero, and so has the cosine similarity 0 with everything.

    Parameters
    ----------
    x : (n, E) float, finite

    Returns
    -------
    (n, E) float64
    """
    x = np.asarray(x, np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1)


def clarity(embeddings: np.ndarray) -> float:
    """How alike the references of one neuron are.

    Parameters
    ----------
    embeddings : (n, E) float, finite

    Returns
    -------
    float
        Mean cosine similarity over pairs of different references, -1 / (n - 1) to 1, higher is clearer. NaN for fewer
        than two references.

    Notes
    -----
    Dreyer et al. 2025 (arXiv 2501.05398). In closed form: the squared length of the sum of unit vectors is the sum
    over all pairs, each with itself included.
    """
    n = len(embeddings)
    if n < 2:
        return np.nan
    units = unit_vectors(embeddings)
    pairs = np.square(units.sum(axis=0)).sum() - np.square(units).sum()
    return float(np.clip(pairs / (n * (n - 1)), -1 / (n - 1), 1))


def clarity_of_parts(products: np.ndarray, members: np.ndarray) -> np.ndarray:
    """`clarity` of parts of one neuron's references.

    Parameters
    ----------
    products : (n, n) float64, cosine similarities of the references
    members : (P, n) bool, the references of each part

    Returns
    -------
    (P,) float64
    """
    weights, count = members.astype(np.float64), members.sum(axis=1)
    pairs = ((weights @ products) * weights).sum(axis=1) - weights @ np.diag(products)
    return np.where(count > 1, pairs / np.where(count > 1, count * (count - 1), 1), np.nan)


def redundancy(concepts: np.ndarray) -> np.ndarray:
    """How alike each neuron is to the neuron most like it.

    Parameters
    ----------
    concepts : (N, E) float, the mean embedding of each neuron's references; a row that is not finite is left out

    Returns
    -------
    (N,) float64
        Highest cosine similarity with another neuron, -1 to 1, lower is more distinct; NaN for a neuron that is left
        out, and where there is no other. The score of a layer is the mean.

    Notes
    -----
    Dreyer et al. 2025 (arXiv 2501.05398).
    """
    concepts = np.asarray(concepts)
    found = np.full(len(concepts), np.nan)
    there = np.flatnonzero(np.isfinite(concepts).all(axis=1))
    if len(there) < 2:
        return found
    units = unit_vectors(concepts[there])
    for start in range(0, len(there), BLOCK):
        similarity = units[start : start + BLOCK] @ units.T
        own = np.arange(len(similarity))
        similarity[own, start + own] = -np.inf
        found[there[start : start + BLOCK]] = similarity.max(axis=1)
    return np.clip(found, -1, 1)


def polysemanticity(embeddings: np.ndarray, seed: int) -> float:
    """How far apart the two meanings are that the references of one neuron can be split into.

    Parameters
    ----------
    embeddings : (n, E) float, finite
    seed : of k-means

    Returns
    -------
    float
        1 - cosine similarity of the centres of two k-means clusters, 0 to 2, lower is purer. NaN for fewer than two
        references; 0 where all are equal, as the two centres are.

    Notes
    -----
    Dreyer et al. 2025 (arXiv 2501.05398): 1 - clarity of the centres. A cluster of a single reference counts like any
    other here; semanticlens replaces it.
    """
    n = len(embeddings)
    if n < 2:
        return np.nan
    labels = labels_of(inner_products(embeddings)[None], [embeddings], 2, np.array([seed]))[0]
    if not labels.any():
        return 0.0
    centres = np.stack([embeddings[labels == v].mean(axis=0, dtype=np.float64) for v in range(2)])
    return 1 - clarity(centres)
