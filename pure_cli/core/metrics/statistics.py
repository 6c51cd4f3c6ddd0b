"""Numbers about many neurons: a mean with its error, and the difference of two methods."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST_VALUES = 3  # values that an interval is made from: of one, every sample of the bootstrap is the same
BLOCK = 1_000_000  # numbers drawn at a time
CLEAR = 2  # standard errors


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


def clearly_positive(mean: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Which means are above zero by more than `CLEAR` standard errors; where the error is NaN, those above zero.

    Parameters
    ----------
    mean, error : (N,)

    Returns
    -------
    (N,) bool
    """
    return np.asarray(mean > CLEAR * np.nan_to_num(error))


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
        With fewer than `FEWEST_VALUES` neurons the interval is NaN, with none everything but `n`. Draws are left out of
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
    if n >= FEWEST_VALUES:
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


def shared_mean(
    values: np.ndarray, parts: Sequence[tuple[int, ...]], seed: int, level: float = 0.95, samples: int = 2000
) -> Estimate:
    """A mean over things made of parts, with an interval that knows that things share parts.

    Parameters
    ----------
    values : (N,) float; NaN is left out
    parts : N tuples, such as the classes of a union; two things with a part in common are no two observations
    seed : of the bootstrap
    level : of confidence, between 0 and 1
    samples : of the bootstrap

    Returns
    -------
    Estimate
        All NaN without a value, the interval with a single part or fewer than `FEWEST_VALUES` values.

    Notes
    -----
    Percentile interval of the pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1): parts are drawn with
    replacement, and a thing counts as often as all of its parts were drawn. It is rather too wide than too narrow.
    """
    values = np.asarray(values, np.float64)
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return Estimate(np.nan, np.nan, np.nan, 0)
    values, own = values[known], [parts[i] for i in known.tolist()]
    mean = float(values.mean())
    weights = _drawn(own, seed, samples) if len(values) >= FEWEST_VALUES else None
    if weights is None:
        return Estimate(mean, np.nan, np.nan, len(values))
    totals = weights.sum(axis=1)
    means = (weights @ values)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(mean, float(low), float(high), len(values))


def _drawn(parts: Sequence[tuple[int, ...]], seed: int, samples: int) -> np.ndarray | None:
    """(samples, N) how often each thing counts; None where there are not two parts."""
    every = sorted({part for own in parts for part in own})
    if len(every) < 2:
        return None
    place = {part: i for i, part in enumerate(every)}
    drawn = np.random.default_rng(seed).multinomial(len(every), np.full(len(every), 1 / len(every)), samples)
    return np.stack([drawn[:, [place[part] for part in own]].prod(axis=1) for own in parts], axis=1)


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


def shared_area(
    scores: Sequence[np.ndarray],
    positive: np.ndarray,
    parts: Sequence[tuple[int, ...]],
    seed: int,
    level: float = 0.95,
    samples: int = 1000,
) -> list[Estimate]:
    """Areas under the curve of several scores, and how far each is ahead of the first, on the same samples.

    Parameters
    ----------
    scores : N finite values each
    positive : (N,) bool, as of `area_under_curve`
    parts, seed, level, samples : as of `shared_mean`

    Returns
    -------
    list of two for each score
        The area, and its difference from the first score's; the intervals are NaN with fewer than `FEWEST_VALUES`
        positives or negatives.
    """
    few = min(positive.sum(), (~positive).sum()) < FEWEST_VALUES
    weights = _drawn(parts, seed, samples)
    assert weights is not None, "there are positives and negatives"
    areas = np.array([_areas(score, positive, weights.astype(np.float64)) for score in scores])
    found = []
    for score, area in zip(scores, areas, strict=True):
        whole = area_under_curve(score, positive)
        for mean, values in ((whole, area), (whole - area_under_curve(scores[0], positive), area - areas[0])):
            low, high = (np.nan, np.nan) if few else np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
            found.append(Estimate(mean, float(low), float(high), len(positive)))
    return found


def _areas(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(samples,) float, `area_under_curve` where each thing counts as often as (samples, N) float weights say."""
    one, other = score[positive][:, None], score[~positive]
    ahead = (one > other) + (one == other) / 2
    ones, zeros = weights[:, positive], weights[:, ~positive]
    pairs = ones.sum(axis=1) * zeros.sum(axis=1)
    won = (ones @ ahead * zeros).sum(axis=1)
    return np.where(pairs > 0, won / np.maximum(pairs, 1), np.nan)
