"""Circuits that are cut out: which lower channels make one up, and what their loss does to a neuron."""

from __future__ import annotations

import numpy as np


def circuit_channels(relevance: np.ndarray, share: float) -> np.ndarray:
    """The channels that carry a share of a circuit's positive relevance, the most relevant first.

    Parameters
    ----------
    relevance : (D,) of the lower channels
    share : between 0 and 1, of the sum of what is positive

    Returns
    -------
    (D,) bool
        As few as do it; none where nothing is positive.
    """
    order = np.argsort(-relevance, kind="stable")
    return _until(relevance, order, share)


def random_channels(relevance: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Channels with positive relevance, drawn at random until they carry the same share."""
    return _until(relevance, random.permutation(len(relevance)), share)


def _until(relevance: np.ndarray, order: np.ndarray, share: float) -> np.ndarray:
    chosen = np.zeros(len(relevance), bool)
    positive = order[relevance[order] > 0]
    if not len(positive):
        return chosen
    carried = np.cumsum(relevance[positive].astype(np.float64))
    chosen[positive[: int(np.searchsorted(carried, share * carried[-1] * (1 - 1e-9))) + 1]] = True
    return chosen


def drop(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How much of an activation is gone: 0 for nothing, 1 for all of it, negative where it rose; NaN where there was
    none."""
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    fired = before > 0
    return np.where(fired, 1 - np.divide(after, before, out=np.ones_like(before), where=fired), np.nan)


def weighted_drop(whole: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How much of a map's activation is gone, positions counting by how strongly they fire, as in relevances.

    Parameters
    ----------
    whole : (S,) activations of a neuron; what is negative is taken for 0
    after : (M, S) the same without something

    Returns
    -------
    (M,) float64
        Σ a (a − a′) / Σ a²: 0 for nothing, 1 for all of it, negative where it rose; NaN where the neuron does not fire.
    """
    before, after = np.asarray(whole, np.float64).clip(min=0), np.asarray(after, np.float64).clip(min=0)
    total = float((before**2).sum())
    if total <= 0:
        return np.full(len(after), np.nan)
    lost: np.ndarray = ((before - after) * before).sum(axis=-1) / total
    return lost
