"""Numbers about many neurons: a mean with its error, and the difference of two methods."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 1_000_000  # numbers drawn at a time


@dataclass(frozen=True)
class PairedDifference:
    """How far a method is ahead of another on the same neurons.

    Attributes
    ----------
    mean : of a - b over neurons, in the unit of the values
    low, high : bounds of the confidence interval of the mean
    wins : share of neurons where a > b, 0 to 1; a draw counts for neither
    n : neurons where both have a value
    p : of the two-sided Wilcoxon signed-rank test, 0 to 1
    """

    mean: float
    low: float
    high: float
    wins: float
    n: int
    p: float


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of the mean.

    Parameters
    ----------
    values : float of any shape; NaN is left out

    Returns
    -------
    mean, error
        In the unit of the values; error = standard deviation (n - 1 in the denominator) / √n. Without a value both
        are NaN, with a single one the error is.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if not values.size:
        return np.nan, np.nan
    error = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan
    return float(values.mean()), float(error)


def paired_difference(
    a: np.ndarray, b: np.ndarray, seed: int, level: float = 0.95, samples: int = 10_000
) -> PairedDifference:
    """Compare two methods neuron by neuron.

    Parameters
    ----------
    a, b : (N,) float, a value of each neuron; neurons where either is NaN are left out
    seed : of the bootstrap
    level : of confidence, between 0 and 1
    samples : of the bootstrap

    Returns
    -------
    PairedDifference
        With fewer than two neurons the interval and `p` are NaN, with none everything but `n`. Draws are left out of
        the test; `p` is 1 where there are only draws.

    Notes
    -----
    Percentile interval of the bootstrap over neurons (Efron 1979). It is about these neurons: it says nothing of other
    networks or seeds.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected a value of each neuron from both methods, got shapes {a.shape} and {b.shape}")
    difference = a - b
    difference = difference[~np.isnan(difference)]
    n = len(difference)
    if not n:
        return PairedDifference(np.nan, np.nan, np.nan, np.nan, 0, np.nan)
    low, high = np.nan, np.nan
    if n > 1:
        low, high = np.quantile(_bootstrap_means(difference, seed, samples), [(1 - level) / 2, (1 + level) / 2])
    wins = float((difference > 0).mean())
    return PairedDifference(float(difference.mean()), float(low), float(high), wins, n, _wilcoxon(difference))


def _bootstrap_means(values: np.ndarray, seed: int, samples: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    step = max(1, BLOCK // len(values))
    for start in range(0, samples, step):
        block = means[start : start + step]
        block[:] = values[generator.integers(0, len(values), (len(block), len(values)))].mean(axis=1)
    return means


def _wilcoxon(difference: np.ndarray) -> float:
    from scipy.stats import wilcoxon  # takes half a second to import

    if difference.size < 2:
        return np.nan
    difference = difference[difference != 0]
    return float(wilcoxon(difference).pvalue) if difference.size else 1.0


@dataclass(frozen=True)
class Estimate:
    """A mean over things, some of which belong together.

    Attributes
    ----------
    mean : in the unit of the values
    low, high : bounds of the confidence interval of the mean
    n : values
    """

    mean: float
    low: float
    high: float
    n: int


def grouped_mean(
    values: np.ndarray, groups: np.ndarray, seed: int, level: float = 0.95, samples: int = 2000
) -> Estimate:
    """A mean with an interval that takes what belongs together as one thing.

    Parameters
    ----------
    values : (N,) float; NaN is left out
    groups : (N,) of any values: the same for what belongs together, as units of the same classes on two halves
    seed : of the bootstrap
    level : of confidence, between 0 and 1
    samples : of the bootstrap

    Returns
    -------
    Estimate
        All NaN without a value, the interval with a single group.

    Notes
    -----
    Percentile interval of the bootstrap over groups (Davison and Hinkley 1997, section 3.8).
    """
    known = ~np.isnan(values)
    values, groups = np.asarray(values, np.float64)[known], np.asarray(groups)[known]
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, 0)
    _, group = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(group, values), np.bincount(group)
    if len(sums) < 2:
        return Estimate(float(values.mean()), np.nan, np.nan, len(values))
    drawn = np.random.default_rng(seed).integers(0, len(sums), (samples, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """Share of the pairs of a positive and a negative in which the positive scores higher; ties count half.

    Parameters
    ----------
    score : (N,) float
    positive : (N,) bool

    Returns
    -------
    float
        0 to 1, the area under the receiver operating characteristic; NaN without positives or without negatives.
    """
    from scipy.stats import rankdata

    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return float("nan")
    return float((rankdata(score)[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def grouped_area(
    scores: Sequence[np.ndarray],
    positive: np.ndarray,
    groups: np.ndarray,
    seed: int,
    level: float = 0.95,
    samples: int = 1000,
) -> list[Estimate]:
    """Areas under the curve of several scores, and how far each is ahead of the first, on the same samples.

    Parameters
    ----------
    scores : N values each
    positive, groups : (N,), as of `area_under_curve` and `grouped_mean`
    seed, level, samples : of the bootstrap over groups

    Returns
    -------
    list of two for each score
        The area, and its difference from the first score's.
    """
    _, group = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(group == one) for one in range(group.max() + 1)]
    generator = np.random.default_rng(seed)
    drawn = [
        np.concatenate([members[i] for i in generator.integers(0, len(members), len(members))]) for _ in range(samples)
    ]
    areas = np.array([[area_under_curve(score[rows], positive[rows]) for rows in drawn] for score in scores])
    found = []
    for score, area in zip(scores, areas, strict=True):
        whole = area_under_curve(score, positive)
        for mean, values in ((whole, area), (whole - area_under_curve(scores[0], positive), area - areas[0])):
            low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
            found.append(Estimate(mean, float(low), float(high), len(positive)))
    return found
