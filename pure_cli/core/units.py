"""Units whose meanings are known: directions over the channels of a layer that were made to have them.

A *learned union* fires for images of some classes: the weights of a logistic probe for "one of them". A *merged unit*
is the ReLU of the sum of two channels before their own ReLU, a *sum* that of two channels after it, each scaled by how
far the channel goes; what it fires for is known from which of the two is larger. A *correlated* unit is the sum of two
probes, the second of which is turned towards the first until their scores correlate as much as is wanted.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pure_cli.core.clusters import one_thread
from pure_cli.core.cores import cores
from pure_cli.core.directions import Directions

STEPS = 1000  # of the probe's solver, at most
OWNED = 0.4  # of the references, in parts of an even share, that each meaning has at least: 20 % for two meanings


def learned_unions(features: np.ndarray, labels: np.ndarray, unions: Sequence[tuple[int, ...]]) -> Directions:
    """A logistic probe for each union of classes.

    Parameters
    ----------
    features : (N, C) float, mean activations of the layer over space
    labels : (N,) int, the class of each image
    unions : classes of each

    Returns
    -------
    Directions
        With the probes' biases, in the unit of the activations; named by the classes.

    Notes
    -----
    Scikit-learn's ``LogisticRegression`` with C = 1, on features divided by one number, their root mean variance, so
    that the penalty does not depend on their unit. A probe may stop before it has converged: what its references show
    says what it means.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    scale = float(np.sqrt(features.var(axis=0).mean())) or 1.0
    scaled = features / scale

    def fit(union: tuple[int, ...]) -> tuple[np.ndarray, float]:
        probe = LogisticRegression(max_iter=STEPS).fit(scaled, np.isin(labels, union))
        return probe.coef_[0] / scale, float(probe.intercept_[0])

    with ThreadPoolExecutor(cores()) as pool, one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a probe that stops early is a direction as good as any
        found = list(pool.map(fit, unions))
    weight, bias = (np.array(part, np.float32) for part in zip(*found, strict=True))
    return Directions(weight, bias)


def pairs_of_channels(pairs: Sequence[tuple[int, ...]], reach: np.ndarray, relu: bool) -> Directions:
    """Sums of two channels.

    Parameters
    ----------
    pairs : of channels
    reach : (C,) float above 0, how far each channel goes; it is divided by it
    relu : of the directions
    """
    weight = np.zeros((len(pairs), len(reach)), np.float32)
    for row, pair in enumerate(pairs):
        weight[row, list(pair)] = 1 / reach[list(pair)]
    return Directions(weight, np.zeros(len(pairs), np.float32), relu)


def correlated_with(
    features: np.ndarray, probes: Directions, pairs: Sequence[tuple[int, ...]], correlation: float, n: int
) -> tuple[Directions, Directions, Directions]:
    """Sums of two concepts whose scores correlate: the first probe of a pair, and the second turned towards it.

    Parameters
    ----------
    features : (N, C) float, mean activations of the layer over space
    probes : for single concepts
    pairs : rows of `probes`
    correlation : Pearson's, of the two concepts' scores over the N images, 0 to below 1
    n : of the highest scores, by whose mean each concept is divided

    Returns
    -------
    sums, first, second : Directions
        One for each pair; the sums are those of the other two.

    Notes
    -----
    Chanin et al. 2026 (SynthSAEBench, arXiv 2602.14687) correlate whether features fire, by a Gaussian copula; here the
    images are given, and it is the directions that make two scores correlate.
    """
    scores = features @ probes.weight.T + probes.bias
    centre, spread = scores.mean(axis=0), scores.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    standard, weight, bias = (
        (scores - centre) / spread,
        probes.weight / spread[:, None],
        (probes.bias - centre) / spread,
    )
    first, second = (np.array([pair[i] for pair in pairs]) for i in range(2))
    own = (standard[:, first] * standard[:, second]).mean(axis=0)  # the correlation that they have
    rest = np.sqrt(np.maximum(1 - own**2, np.finfo(np.float32).eps))
    to_second = np.sqrt(1 - correlation**2) / rest
    to_first = correlation - to_second * own
    concepts = []
    for by_first, by_second in ((np.ones(len(pairs)), np.zeros(len(pairs))), (to_first, to_second)):
        values = by_first * standard[:, first] + by_second * standard[:, second]
        reach = np.sort(values, axis=0)[-n:].mean(axis=0)
        by_first, by_second = by_first / reach, by_second / reach
        directions = by_first[:, None] * weight[first] + by_second[:, None] * weight[second]
        offset = by_first * bias[first] + by_second * bias[second]
        concepts.append(Directions(directions.astype(np.float32), offset.astype(np.float32)))
    both = Directions(*(sum(getattr(one, part) for one in concepts) for part in ("weight", "bias")))
    return both, concepts[0], concepts[1]


def stacked(sets: Sequence[Directions]) -> Directions:
    """Several sets of directions as one; the ReLU is that of all of them."""
    weight, bias = (np.concatenate(parts) for parts in zip(*((one.weight, one.bias) for one in sets), strict=True))
    return Directions(weight, bias, sets[0].relu)


def has_its_meanings(truth: np.ndarray, parts: Sequence[int]) -> bool:
    """Whether every meaning of a unit has its share of the references.

    Parameters
    ----------
    truth : (n,) int, the meaning of each reference
    parts : the meanings
    """
    if len(parts) == 1:
        return bool((truth == parts[0]).mean() >= 1 - OWNED / 4)
    return all((truth == part).mean() >= OWNED / len(parts) for part in parts)


def main_channels(weight: np.ndarray) -> np.ndarray:
    """The fewest channels that hold half of a direction's absolute weight; of a pair both.

    Parameters
    ----------
    weight : (C,) float
    """
    size = np.abs(weight)
    if (size > 0).sum() <= 2:
        return np.flatnonzero(size)
    order = np.argsort(-size, kind="stable")
    return np.sort(order[: int(np.searchsorted(np.cumsum(size[order]), size.sum() / 2)) + 1])
