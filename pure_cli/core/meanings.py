"""How many meanings a neuron has: k chosen against a null of one cluster, with one as an answer.

The null is one Gaussian cloud with the covariance of the neuron's own features (as in SigClust, Liu et al. 2008): long
and narrow clouds, which k-means cuts in two with a high silhouette, are no evidence of two meanings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from pure_cli.core.clusters import labels_of, one_thread, silhouette
from pure_cli.core.cores import cores
from pure_cli.core.kmeans import inner_products, squared_distances

KS = (2, 3, 4, 5)
SMALLEST = 0.05  # of the references that a cluster has at least, where polysemanticity looks at it
ALPHA = 0.05  # of the test against one cluster
FEWEST = 8  # references below which nothing can be said
HALVES = 10  # times that the references are halved for the prediction strength
STRENGTH = 0.8  # from which a split predicts; Tibshirani and Walther 2005
COMPONENTS = 10  # of the features that the mixture looks at
RULES = ("gap", "silhouette", "prediction-strength", "bic")


@dataclass(frozen=True)
class Meanings:
    """What the references of one neuron say about the number of its meanings.

    Attributes
    ----------
    k : by rule, the number of clusters; 1 where one cloud explains them, and for all rules where `p` > 0.05
    polysemanticity : 0 to 1: by how much the clearest split is clearer than splits of one cloud of the same shape are,
        in parts of what there is to a perfect one: max over k of (s - s₀) / (1 - s₀), with the mean silhouettes s of
        the neuron and s₀ of the null; 0 where it is not clearer. A split with a cluster of fewer than 5 % of the
        references counts as no split (s = 0): a few odd images are no meaning
    p : of the null hypothesis of one cluster, by the same statistic, 1 / (nulls + 1) to 1
    silhouette : (K,) for each k of `KS`, NaN where there are too few references
    """

    k: dict[str, int]
    polysemanticity: float
    p: float
    silhouette: np.ndarray


def meanings(
    features: Sequence[np.ndarray],
    present: Sequence[np.ndarray],
    seed: int,
    nulls: int,
    rules: Sequence[str],
) -> Iterator[Meanings]:
    """The number of meanings of some neurons.

    Parameters
    ----------
    features : (n, D) float, finite, of each neuron
    present : (n,) bool, of each neuron: references that excite it; the others are left out
    seed : of every random choice
    nulls : clouds drawn for each neuron, at least 1
    rules : by which k is chosen, of `RULES`

    Returns
    -------
    iterator over neurons

    Notes
    -----
    ``gap``: the smallest k whose gap statistic is within one standard error of the next one's (Tibshirani et al. 2001),
    with the null above. ``silhouette``: the k of the largest mean silhouette. ``prediction-strength``: the largest k
    with a prediction strength of 0.8 (Tibshirani and Walther 2005). ``bic``: the smallest Bayesian information
    criterion of spherical mixtures on the ten largest principal components (as in X-means, Pelleg and Moore 2000).
    """
    if nulls < 1:
        raise ValueError(f"expected at least one null, got {nulls}")
    if unknown := set(rules).difference(RULES):
        raise ValueError(f"unknown rules {unknown}")
    points = [np.asarray(values[mask], np.float64) for values, mask in zip(features, present, strict=True)]

    def judge(place: int) -> Meanings:
        own = points[place]
        generator = np.random.default_rng([seed, crc32(own.astype(np.float32).tobytes())])  # whatever else there is
        return _judge(own, generator, seed, nulls, rules)

    with ThreadPoolExecutor(max(1, min(cores(), len(points)))) as pool, one_thread():
        yield from pool.map(judge, range(len(points)))


def _judge(points: np.ndarray, generator: np.random.Generator, seed: int, nulls: int, rules: Sequence[str]) -> Meanings:
    n = len(points)
    products = inner_products(points) if n else np.zeros((0, 0))
    if n < FEWEST or not np.trace(products) > 0:
        return Meanings(dict.fromkeys(rules, 1), 0.0, 1.0, np.full(len(KS), np.nan))
    clouds = _clouds(products, nulls, generator)
    every = np.concatenate([products[None], np.stack([inner_products(cloud) for cloud in clouds])])
    ks = [k for k in KS if k < n]
    labels = [labels_of(every, [points, *clouds], k, np.full(len(every), seed)) for k in ks]
    distances = np.sqrt(squared_distances(every))
    scores = np.array([[silhouette(d, _dense(one)) for d, one in zip(distances, of_k, strict=True)] for of_k in labels])
    scores = np.nan_to_num(scores, nan=0.0)  # (K, 1 + nulls); fewer clusters than asked for: points coincide
    own = np.full(len(KS), np.nan)
    own[: len(ks)] = scores[:, 0]
    scores[:, 0] = np.where(_smallest(labels, ks) >= SMALLEST * n, scores[:, 0], 0.0)
    expected = scores[:, 1:].mean(axis=1, keepdims=True)
    excess = ((scores - expected) / (1 - expected)).max(axis=0)
    p = float((1 + (excess[1:] >= excess[0]).sum()) / (1 + nulls))
    within = np.stack([np.trace(every, axis1=1, axis2=2), *(_within(every, of_k) for of_k in labels)])
    found = {}
    for rule in rules:
        if p > ALPHA:
            found[rule] = 1
        elif rule == "gap":
            found[rule] = _by_gap(within)
        elif rule == "silhouette":
            found[rule] = ks[int(scores[:, 0].argmax())]
        elif rule == "prediction-strength":
            found[rule] = _by_strength(products, points, ks, generator, seed)
        else:
            found[rule] = _by_bic(products, ks, seed)
    return Meanings(found, float(np.clip(excess[0], 0, 1)), p, own)


def _smallest(labels: Sequence[np.ndarray], ks: Sequence[int]) -> np.ndarray:
    """(K,) members of the smallest cluster of each split of the neuron, the first set."""
    return np.array([np.bincount(of_k[0], minlength=k).min() for of_k, k in zip(labels, ks, strict=True)])


def _clouds(products: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Gaussian clouds (count, n, r) with the covariance of points, whose inner products about their mean are given."""
    n = len(products)
    spread = np.sqrt(np.linalg.eigvalsh(products)[::-1][: n - 1].clip(min=0) / (n - 1))
    spread = spread[spread > 0]
    return generator.normal(size=(count, n, len(spread))) * spread


def _dense(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1]


def _within(products: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) sums of squared distances from the centroids, of N sets of points with labels (N, n)."""
    member = (labels[:, :, None] == np.arange(labels.max() + 1)).astype(np.float64)
    sizes = member.sum(axis=1)
    means = np.einsum("bik,bij,bjk->bk", member, products, member, optimize=True) / np.maximum(sizes, 1)
    return np.trace(products, axis1=1, axis2=2) - means.sum(axis=1)


def _by_gap(within: np.ndarray) -> int:
    """From sums of squares (1 + K, 1 + nulls) for k = 1, 2, …, of the neuron first."""
    logs = np.log(np.maximum(within, np.finfo(float).tiny))
    gap = logs[:, 1:].mean(axis=1) - logs[:, 0]
    error = logs[:, 1:].std(axis=1) * math.sqrt(1 + 1 / (logs.shape[1] - 1))
    good = np.flatnonzero(gap[:-1] >= gap[1:] - error[1:])
    return int(good[0]) + 1 if len(good) else len(gap)


def _by_strength(
    products: np.ndarray, points: np.ndarray, ks: Sequence[int], generator: np.random.Generator, seed: int
) -> int:
    n, strength = len(points), np.zeros(len(ks))
    orders = [generator.permutation(n) for _ in range(HALVES)]
    halves = [[order[: n // 2] for order in orders], [order[n // 2 :] for order in orders]]
    sets = [[points[own] for own in half] for half in halves]
    within = [np.stack([inner_products(own) for own in half]) for half in sets]
    seeds = np.full(HALVES, seed)
    for place, k in enumerate(ks):
        if k >= n // 2:
            continue
        one, other = (labels_of(own, half, k, seeds) for own, half in zip(within, sets, strict=True))
        for first, second, mine, theirs in zip(*halves, one, other, strict=True):
            strength[place] += _strength(products, first, second, mine, theirs, k)
            strength[place] += _strength(products, second, first, theirs, mine, k)
    strong = np.flatnonzero(strength / (2 * HALVES) >= STRENGTH)
    return ks[int(strong[-1])] if len(strong) else 1


def _strength(
    products: np.ndarray, train: np.ndarray, test: np.ndarray, mine: np.ndarray, theirs: np.ndarray, k: int
) -> float:
    """How well the centroids of one half keep together what the clusters of the other half hold together.

    Parameters
    ----------
    train, test : places of the points of both halves
    mine, theirs : their clusters
    """
    member = (mine[:, None] == np.arange(k)) / np.maximum(np.bincount(mine, minlength=k), 1)
    towards = products[np.ix_(test, train)] @ member
    lengths = np.einsum("ik,ij,jk->k", member, products[np.ix_(train, train)], member)
    predicted = (lengths - 2 * towards).argmin(axis=1)
    worst = 1.0
    for cluster in range(k):
        own = predicted[theirs == cluster]
        if len(own) < 2:
            return 0.0
        pairs = len(own) * (len(own) - 1)
        worst = min(worst, ((own[:, None] == own).sum() - len(own)) / pairs)
    return worst


def _by_bic(products: np.ndarray, ks: Sequence[int], seed: int) -> int:
    values, vectors = np.linalg.eigh(products)
    largest = values[::-1][:COMPONENTS].clip(min=0)
    points = vectors[:, ::-1][:, :COMPONENTS] * np.sqrt(largest)
    points = points[:, largest > largest[0] * len(products) * np.finfo(float).eps]  # the others are rounding alone
    n, d = points.shape
    own = inner_products(points)[None]
    within = [np.trace(own[0])] + [float(_within(own, labels_of(own, [points], k, np.array([seed])))[0]) for k in ks]
    sizes = [np.array([n])] + [np.bincount(labels_of(own, [points], k, np.array([seed]))[0]) for k in ks]
    score = []
    for k, (squares, size) in enumerate(zip(within, sizes, strict=True), 1):
        variance = max(squares / (max(n - k, 1) * d), np.finfo(float).tiny)
        likelihood = float((size * np.log(np.maximum(size, 1) / n)).sum()) - n * d / 2 * math.log(
            2 * math.pi * variance
        )
        score.append(k * (d + 1) * math.log(n) - 2 * (likelihood - (n - k) * d / 2))
    return int(np.argmin(score)) + 1
