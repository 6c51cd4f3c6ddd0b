"""Members of a group that lie far from the others, or are of another class."""

from __future__ import annotations

import numpy as np

FENCE = 3.0  # interquartile ranges beyond the third quartile: "far out" (Tukey 1977, Exploratory Data Analysis)
FEWEST = 8  # members whose quartiles say something
ROUNDING = 1e-6  # of the length of the mean: points as near to each other are the same
NEARLY_ALL = 0.9  # of the members, of one class


def far_from_mean(points: np.ndarray) -> np.ndarray:
    """How many times as far as the median member some members are from the mean.

    Parameters
    ----------
    points : (n, D)

    Returns
    -------
    (n,) float64
        Distance from the mean over the median distance, for members beyond the outer fence of all distances; NaN for
        the others, and for all where there are fewer than `FEWEST`.
    """
    found = np.full(len(points), np.nan)
    if len(points) < FEWEST:
        return found
    points = points.astype(np.float64)
    mean = points.mean(axis=0)
    distance = np.linalg.norm(points - mean, axis=1)
    low, middle, high = np.quantile(distance, [0.25, 0.5, 0.75])
    far = (distance > high + FENCE * (high - low)) & (distance > ROUNDING * np.linalg.norm(mean))
    found[far] = distance[far] / middle if middle > 0 else np.inf
    return found


def of_another_class(classes: np.ndarray) -> tuple[np.ndarray, int]:
    """Members that are of another class than nearly all are.

    Parameters
    ----------
    classes : (n,) int64, -1 where unknown

    Returns
    -------
    other : (n,) bool, none where no class has `NEARLY_ALL` of the members
    common : the class that most are of; -1 where no class is known
    """
    known = classes[classes >= 0]
    if not len(known):
        return np.zeros(len(classes), bool), -1
    common = int(np.bincount(known).argmax())
    nearly_all = (classes == common).mean() >= NEARLY_ALL
    return (classes >= 0) & (classes != common) & nearly_all, common
