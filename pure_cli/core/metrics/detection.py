"""How well the activation of a unit tells images that have a concept from those that do not.

Presence of a concept is 0 or 1, or a probability; then every sum is what is to be expected of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """Images by the activation of a unit, highest first; equal activations are taken together.

    Attributes
    ----------
    order : (P,) int64
    ends : (E,) int64, places in `order` behind which the activation changes, the last place included
    """

    order: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, activation: np.ndarray) -> Ranking:
        """Of activations (P,), finite."""
        order = np.argsort(-activation, kind="stable")
        ranked = activation[order]
        return cls(order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)))


def average_precision(ranking: Ranking, presence: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Area under the precision-recall curve (AUPRC) of each concept, by steps.

    Parameters
    ----------
    presence : (P, ...) float, 0 to 1
    weight : of the images, of a shape that goes with `presence`; each counts once where nothing is said

    Returns
    -------
    (...) float64
        0 to 1, higher is better; by chance the mean presence. NaN where a concept is in no image.

    Notes
    -----
    The sum over thresholds of the precision times the growth of the recall, as scikit-learn's
    ``average_precision_score``; a probability counts as that much of an image with the concept, and the rest of one
    without.
    """
    here = presence[ranking.order].astype(np.float64)
    if weight is None:
        seen = np.arange(1, len(here) + 1, dtype=np.float64).reshape(-1, *[1] * (here.ndim - 1))[ranking.ends]
    else:
        ranked = weight[ranking.order]
        here, seen = here * ranked, np.cumsum(ranked, axis=0)[ranking.ends]
    found = np.cumsum(here, axis=0)[ranking.ends]
    grown = np.diff(found, axis=0, prepend=0)
    total = found[-1]
    area = (grown * found / np.maximum(seen, np.finfo(np.float64).tiny)).sum(axis=0)
    return np.where(total > 0, area / np.where(total > 0, total, 1), np.nan)


def skill(ranking: Ranking, presence: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """`average_precision` above chance, as a part of what there is above it: 0 by chance, 1 at best.

    So concepts in many images and in few can be compared: of two concepts together, more is found by chance.
    """
    images = np.ones(len(presence)) if weight is None else weight
    images = images.reshape(len(images), *images.shape[1:], *[1] * (presence.ndim - images.ndim))
    chance = (presence * images).sum(axis=0) / images.sum(axis=0)
    room = 1 - chance
    return np.where(room > 0, (average_precision(ranking, presence, weight) - chance) / np.where(room > 0, room, 1), 0)


def by_chance(ranking: Ranking, presence: np.ndarray, shuffles: int, seed: int) -> np.ndarray:
    """(S,) float64, `average_precision` of a presence (P,) that is shuffled among the images."""
    random = np.random.default_rng(seed)
    shuffled = np.stack([random.permutation(presence) for _ in range(shuffles)], axis=1)
    return average_precision(ranking, shuffled)


def best_threshold(activation: np.ndarray, presence: np.ndarray) -> np.ndarray:
    """(C,) float64, the activations from which on an image is best said to have each concept, by F1.

    Parameters
    ----------
    activation : (P,) float
    presence : (P, C) float, 0 to 1
    """
    ranking = Ranking.of(activation)
    found = np.cumsum(presence[ranking.order], axis=0, dtype=np.float64)[ranking.ends]
    score = 2 * found / (ranking.ends[:, None] + 1 + found[-1])
    return activation[ranking.order][ranking.ends][score.argmax(axis=0)].astype(np.float64)


def f1(activation: np.ndarray, presence: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """(C,) float64, 0 to 1: harmonic mean of precision and recall, where images from a threshold on are said to have a
    concept.

    Parameters
    ----------
    activation : (P,) float
    presence : (P, C) float, 0 to 1
    threshold : (C,) float, best of other images than these (`best_threshold`)

    Returns
    -------
    NaN where a concept is in no image.
    """
    said = activation[:, None] >= threshold
    total = presence.sum(axis=0, dtype=np.float64)
    found = 2 * (said * presence).sum(axis=0, dtype=np.float64) / np.maximum(said.sum(axis=0) + total, 1e-300)
    return np.where(total > 0, found, np.nan)


def correlations(activation: np.ndarray, presence: np.ndarray) -> np.ndarray:
    """(U, C) float64, Pearson's r of activations (P, U) and presences (P, C); NaN where one of them is constant."""
    a = activation.astype(np.float64) - activation.mean(axis=0, dtype=np.float64)
    b = presence.astype(np.float64) - presence.mean(axis=0, dtype=np.float64)
    length = np.sqrt(np.outer(np.square(a).sum(axis=0), np.square(b).sum(axis=0)))
    return np.where(length > 0, a.T @ b / np.where(length > 0, length, 1), np.nan)


def union(presence: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Presence of one concept or another, which are taken for independent given the image."""
    return 1 - (1 - presence) * (1 - other)


def gain(
    activation: np.ndarray, before: np.ndarray, after: np.ndarray, resamples: int, seed: int
) -> tuple[float, float]:
    """How much more `skill` an activation has for one presence (P,) than for another, and its standard error over
    bootstrap samples of the images."""
    ranking = Ranking.of(activation)
    both = np.stack([before, after], axis=1)
    was, now = skill(ranking, both)
    count = len(activation)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples).T  # (P, R)
    old, new = (skill(ranking, np.repeat(one[:, None], resamples, axis=1), drawn) for one in both.T)
    return float(now - was), float(np.nanstd(new - old, ddof=1))
