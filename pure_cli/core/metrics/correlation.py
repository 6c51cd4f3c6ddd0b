"""Whether references that are near each other in one space are so in another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pure_cli.core.metrics.separation import pairwise_distances
from pure_cli.core.metrics.statistics import mean_and_error

SUBSETS, FIRST = 30, 50  # of neurons, and references of each; the paper's
CONSTANT = 1e-9  # spread, in parts of the distances themselves, below which only rounding is left of it


@dataclass(frozen=True)
class Correlation:
    """Pearson correlation of pairwise distances in two spaces.

    Attributes
    ----------
    mean : of `values`, -1 to 1; NaN where there is none
    error : standard deviation of `values` (n - 1 in the denominator) / √S; NaN where there are fewer than two
    values : (S,) float64, r of each subset of neurons that has one
    pairs : of references, in those subsets together
    left_out : subsets without an r, because they have fewer than two pairs or all at the same distance
    """

    mean: float
    error: float
    values: np.ndarray
    pairs: int
    left_out: int


def correlation(
    features: Sequence[np.ndarray] | np.ndarray,
    judge: Sequence[np.ndarray] | np.ndarray,
    present: Sequence[np.ndarray] | np.ndarray,
    seed: int,
    subsets: int = SUBSETS,
    first: int = FIRST,
) -> Correlation:
    """Correlate distances between the references of the same neuron, over disjoint subsets of the neurons.

    Parameters
    ----------
    features : N times (n, D) float, finite where present
    judge : N times (n, E) float, likewise
    present : N times (n,) bool, references to use; the others are left out
    seed : of the shuffle of the neurons
    subsets : wanted; N where there are fewer neurons. Each gets N // subsets, the last N % subsets are not used.
    first : references of each neuron to use

    Returns
    -------
    Correlation

    Notes
    -----
    Dreyer et al. 2024 (arXiv 2404.06453), section 4. Pairs at distance zero in either space are left out: the same
    image twice says nothing. The error divides by the root of the number of subsets that have an r, 30 as a rule.
    Memory: the pairs of one subset.
    """
    if not len(features) == len(judge) == len(present):
        raise ValueError(
            "expected features, judge and present of the same neurons, "
            f"got {len(features)}, {len(judge)} and {len(present)}"
        )
    turns = [np.asarray(own)[None] for own in present]
    (values,), (counts,) = correlations(features, judge, turns, seed, subsets, first)
    known = ~np.isnan(values)
    return Correlation(*mean_and_error(values), values[known], int(counts[known].sum()), int((~known).sum()))


def correlations(
    features: Sequence[np.ndarray] | np.ndarray,
    judge: Sequence[np.ndarray] | np.ndarray,
    present: Sequence[np.ndarray] | np.ndarray,
    seed: int,
    subsets: int = SUBSETS,
    first: int = FIRST,
) -> tuple[np.ndarray, np.ndarray]:
    """`correlation` for several choices of references at once, with the same subsets of neurons.

    Parameters
    ----------
    present : N times (T, n) bool, references to use: those of the first choice, and parts of them

    Returns
    -------
    values, pairs
        Each (T, S): r of each subset, NaN where it has none, and the pairs of references in it.
    """
    subsets = min(subsets, len(features))
    size = len(features) // subsets if subsets else 0
    order = np.random.default_rng(seed).permutation(len(features))[: subsets * size].reshape(subsets, size)
    choices = len(present[0]) if len(present) else 1
    values, pairs = np.full((choices, subsets), np.nan), np.zeros((choices, subsets), np.int64)
    for place, subset in enumerate(order.tolist()):
        pooled = [_distances(features[c][:first], judge[c][:first], present[c][:, :first]) for c in subset]
        for choice, parts in enumerate(zip(*pooled, strict=True)):
            x, y = np.concatenate(parts, axis=1)
            values[choice, place], pairs[choice, place] = pearson(x, y), len(x)
    return values, pairs


def _distances(features: np.ndarray, judge: np.ndarray, present: np.ndarray) -> list[np.ndarray]:
    """(2, pairs) float64 for each choice, the distances of one neuron's references in both spaces."""
    there = np.flatnonzero(present[0])
    one, other = np.triu_indices(len(there), 1)
    both = np.stack([pairwise_distances(space[there])[one, other] for space in (features, judge)])
    apart = (both > 0).all(axis=0)
    return [both[:, apart & own[there][one] & own[there][other]] for own in present]


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's r of two series (n,), −1 to 1; NaN where one is constant but for rounding, or there is one value."""
    if len(x) < 2:
        return np.nan
    spread = []
    for values in (x, y):
        centred = values - values.mean()
        length = np.linalg.norm(centred)
        if length <= CONSTANT * np.linalg.norm(values):
            return np.nan
        spread.append(centred / length)
    return float(np.clip(spread[0] @ spread[1], -1, 1))
