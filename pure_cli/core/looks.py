"""What pixels alone tell of an image: its mean colour and the strength of its edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def looks(images: torch.Tensor) -> np.ndarray:
    """Mean colour and edge energy.

    Parameters
    ----------
    images : (B, 3, H, W) uint8

    Returns
    -------
    (B, 4) float64
        Means of red, green, blue, 0 to 255; mean absolute difference of grey between neighbours, right and below.
    """
    values = images.double()
    grey = values.mean(dim=1)
    steps = [grey.diff(dim=axis).abs().flatten(1) for axis in (1, 2)]
    edges = sum(step.sum(dim=1) for step in steps) / max(1, sum(step.shape[1] for step in steps))
    return np.column_stack([values.mean(dim=(2, 3)).numpy(), np.asarray(edges)])


def standardised(values: np.ndarray) -> np.ndarray:
    """(N, D) float with mean 0 and variance 1 in each column, 0 where it is constant."""
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)


def class_distances(vectors: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How far the means of classes are apart.

    Parameters
    ----------
    vectors : (N, D) float
    labels : (N,) int
    classes : (K,) int, each of which has a vector

    Returns
    -------
    (K, K) float64
        Euclidean, in parts of the root mean variance within classes.
    """
    means = np.stack([vectors[labels == one].mean(axis=0) for one in classes]).astype(np.float64)
    within = np.mean([vectors[labels == one].var(axis=0).sum() for one in classes])
    return np.asarray(np.linalg.norm(means[:, None] - means[None], axis=2) / np.sqrt(within or 1.0))


def parts_of_classes(vectors: np.ndarray, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Each class cut into parts by k-means.

    Parameters
    ----------
    vectors : (N, D) float
    labels : (N,) int, -1 where unknown
    count : parts of each class

    Returns
    -------
    (N,) int
        class × `count` + part; -1 where the class is unknown, or has fewer images than parts.
    """
    from sklearn.cluster import KMeans

    found = np.full(len(labels), -1, np.int64)
    for one in np.unique(labels[labels >= 0]).tolist():
        rows = np.flatnonzero(labels == one)
        if len(rows) >= count:
            fit = KMeans(n_clusters=count, n_init=10, random_state=seed).fit(vectors[rows])
            found[rows] = one * count + fit.labels_
    return found
