"""What sets virtual neurons apart from their siblings, and a fair choice among their references."""

import numpy as np


def differences(means: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """By how much each virtual neuron's mean differs from that of all references of its siblings.

    Parameters
    ----------
    means : (v, D) float, of each virtual neuron's references
    sizes : (v,) int, how many these are

    Returns
    -------
    (v, D) float64, in the unit of the means; zero where there are no siblings
    """
    means, sizes = np.asarray(means, np.float64), np.asarray(sizes, np.float64)
    others = sizes.sum() - sizes
    whole = sizes @ means
    rest = np.divide(whole - sizes[:, None] * means, others[:, None], out=means.copy(), where=others[:, None] > 0)
    return means - rest


def shares(difference: np.ndarray) -> np.ndarray:
    """The part (D,) in 0 … 1 of all that differs, in absolute value, that each channel carries; zero where nothing
    differs."""
    size = np.abs(difference)
    return size / size.sum() if size.any() else size


def mixed(labels: np.ndarray, count: int) -> np.ndarray:
    """Places of references that stand for all: of each virtual neuron as many as its share of them, one at least.

    Parameters
    ----------
    labels : (n,) int, the virtual neuron of each reference, the highest score first; -1 for none
    count : how many to choose

    Returns
    -------
    (m,) int64, ascending
        The first of each virtual neuron; the first of all where there is none. Seats are dealt by Sainte-Laguë.
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels[labels >= 0])]
    if not members:
        return np.arange(min(count, len(labels)))
    members = sorted(members, key=len, reverse=True)[:count]
    seats = [1] * len(members)
    while sum(seats) < min(count, sum(map(len, members))):
        claims = [
            len(own) / (2 * seat + 1) if seat < len(own) else 0.0 for own, seat in zip(members, seats, strict=True)
        ]
        seats[claims.index(max(claims))] += 1
    return np.sort(np.concatenate([own[:seat] for own, seat in zip(members, seats, strict=True)]))
