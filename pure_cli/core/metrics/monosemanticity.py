"""Whether the images that excite a neuron are alike, the more they excite it the more they count."""

import numpy as np

from pure_cli.core.metrics.semantics import unit_vectors

BLOCK = 2048  # images at a time
LEAST = 1e-9  # weight of all pairs, in parts of the squared weight of all images, that rounding leaves intact


def monosemanticity(embeddings: np.ndarray, activations: np.ndarray) -> float:
    """MonoSemanticity score of one neuron; see `monosemanticity_of_all`.

    Parameters
    ----------
    embeddings : (n, E) float, finite
    activations : (n,) float, finite

    Returns
    -------
    float, -1 to 1
    """
    return float(monosemanticity_of_all(embeddings, np.asarray(activations)[:, None])[0])


def monosemanticity_of_all(embeddings: np.ndarray, activations: np.ndarray) -> np.ndarray:
    """MonoSemanticity score: mean cosine similarity of pairs of images, weighted by how both excite the neuron.

    Parameters
    ----------
    embeddings : (n, E) float, finite, of each image
    activations : (n, C) float, finite, of each neuron in each image

    Returns
    -------
    (C,) float64
        -1 to 1, higher is purer. Over pairs of different images, with the product of the two activations as weight,
        each neuron's scaled so that its lowest is 0 and its highest 1; where all are equal, all count 1. NaN where
        fewer than two images have weight, or where all but 1e-9 of it lies on one image.

    Notes
    -----
    Pach et al. 2025 (arXiv 2504.02821), divided by the sum of weights as in its current version and its code. The sum
    over pairs is the squared length of the weighted sum of unit vectors less each image with itself: time linear in
    the images, and memory of (C, E) and a block of images.
    """
    n, neurons = activations.shape
    if len(embeddings) != n:
        raise ValueError(f"expected embeddings and activations of the same images, got {len(embeddings)} and {n}")
    if n < 2:
        return np.full(neurons, np.nan)
    low, high = (np.asarray(bound, np.float64) for bound in (activations.min(axis=0), activations.max(axis=0)))
    total = np.zeros((neurons, embeddings.shape[1]))
    weight, squares, own = np.zeros((3, neurons))
    for start in range(0, n, BLOCK):
        block = slice(start, start + BLOCK)
        weights, units = _scaled(activations[block], low, high), unit_vectors(embeddings[block])
        total += weights.T @ units
        weight += weights.sum(axis=0)
        np.square(weights, out=weights)
        squares += weights.sum(axis=0)
        own += np.square(units).sum(axis=1) @ weights
    pairs = np.square(weight) - squares
    known = pairs > LEAST * np.square(weight)
    similarity = np.square(total).sum(axis=1) - own
    return np.where(known, np.clip(similarity / np.where(known, pairs, 1), -1, 1), np.nan)


def monosemanticity_of_parts(products: np.ndarray, activations: np.ndarray, members: np.ndarray) -> np.ndarray:
    """MonoSemanticity score of parts of one neuron's images; see `monosemanticity_of_all`.

    Parameters
    ----------
    products : (n, n) float64, cosine similarities of the images
    activations : (n,) float
    members : (P, n) bool, the images of each part

    Returns
    -------
    (P,) float64
        The same numbers as by the embeddings of each part, but for rounding.
    """
    values = np.where(members, activations, np.nan)
    some = members.any(axis=1)
    low, high = np.zeros((2, len(members), 1))
    low[some, 0], high[some, 0] = np.nanmin(values[some], axis=1), np.nanmax(values[some], axis=1)
    weights = np.where(high > low, (activations - low) / np.where(high > low, high - low, 1), 1.0) * members
    pairs = np.square(weights.sum(axis=1)) - np.square(weights).sum(axis=1)
    known = pairs > LEAST * np.square(weights.sum(axis=1))
    similarity = ((weights @ products) * weights).sum(axis=1) - np.square(weights) @ np.diag(products)
    return np.where(known, np.clip(similarity / np.where(known, pairs, 1), -1, 1), np.nan)


def _scaled(activations: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Activations (b, C) between 0 and 1; 1 for a neuron whose activations are all equal."""
    constant = high == low
    scaled = (activations - low) / np.where(constant, 1, high - low)
    scaled[:, constant] = 1
    return scaled
