"""What is arbitrary about a figure, drawn again: the seed of k-means, and which of the references are there."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pure_cli.core.clusters import LEFT_OUT, TOGETHER, labels_of, one_thread
from pure_cli.core.cores import cores
from pure_cli.core.kmeans import centred, inner_products
from pure_cli.core.metrics.statistics import paired_difference

TURNS = 5
KEPT = 0.8  # of the references, in each turn
WIDER = (KEPT / (1 - KEPT)) ** 0.5  # parts of them vary less than new ones would, by this (delete-d jackknife, Wu 1986)
LEAD = 2  # standard deviations
SAMPLES = 2000  # of the bootstrap


def kept_references(present: np.ndarray, seed: int, turn: int, neuron: int) -> np.ndarray:
    """The references of a neuron that a turn keeps, drawn without replacement.

    Parameters
    ----------
    present : (n,) bool, references that excite it
    seed, turn, neuron : say which are drawn

    Returns
    -------
    (n,) bool
    """
    there = np.flatnonzero(present)
    order = np.random.default_rng([seed, turn, neuron]).permutation(there)
    kept = np.zeros(len(present), bool)
    kept[order[: round(KEPT * len(there))]] = True
    return kept


def split_again(
    features: Sequence[np.ndarray], kept: Sequence[np.ndarray], ks: Sequence[int], seed: int
) -> dict[int, np.ndarray]:
    """Split the references that turns keep of some neurons, each turn with another seed of k-means.

    Parameters
    ----------
    features : (n, D) float, of each neuron
    kept : (TURNS, n) bool, of each neuron: as many in each turn
    ks : clusters wanted
    seed : turn t has the seed + 1 + t

    Returns
    -------
    dict by k of (TURNS, N, n) int16
        Not renumbered; -1 for what is left out.
    """
    references = kept[0].shape[1] if len(kept) else 0
    found = {k: np.full((TURNS, len(features), references), LEFT_OUT, np.int16) for k in ks}
    counts = np.array([int(own[0].sum()) for own in kept])
    alike = [np.flatnonzero(counts == count) for count in np.unique(counts[counts > 0])]
    chunks = [which[start : start + TOGETHER] for which in alike for start in range(0, len(which), TOGETHER)]
    seeds = seed + 1 + np.arange(TURNS)

    def split(which: np.ndarray) -> None:
        places = [(i, np.flatnonzero(turn)) for i in which.tolist() for turn in kept[i]]
        whole = {i: inner_products(features[i]) for i in which.tolist()}
        products = centred(np.stack([whole[i][np.ix_(own, own)] for i, own in places]))
        points = [features[i][own] for i, own in places]
        for k in ks:
            labels = labels_of(products, points, min(k, len(points[0])), np.tile(seeds, len(which)))
            for place, (i, own) in enumerate(places):
                found[k][place % TURNS, i, own] = labels[place]

    with ThreadPoolExecutor(max(1, min(cores(), len(chunks)))) as pool, one_thread():
        list(pool.map(split, chunks))
    return found


def noise_of(turns: np.ndarray, scale: float = WIDER) -> float:
    """What the mean over neurons moves by from turn to turn.

    Parameters
    ----------
    turns : (T, N) float, the value of each neuron in each turn; neurons without one in some turn are left out
    scale : of the standard deviation

    Returns
    -------
    float
        In the unit of the values, NaN without a value.
    """
    known = turns[:, np.isfinite(turns).all(axis=0)]
    return float(scale * known.mean(axis=1).std(ddof=1)) if known.size else np.nan


def is_ahead(a: np.ndarray, b: np.ndarray, noise: float, seed: int) -> bool:
    """Whether one is ahead of another on the same neurons by more than noise.

    Parameters
    ----------
    a, b : (N,) float, higher is better
    noise : of the mean of a - b; NaN for none
    seed : of the bootstrap

    Returns
    -------
    bool
        The mean difference is above 0 by more than its 95 % interval over neurons reaches, and `LEAD` times the noise,
        as the root of the sum of their squares.
    """
    found = paired_difference(a, b, seed, samples=SAMPLES)
    reach = np.hypot(found.mean - found.low, LEAD * (noise if np.isfinite(noise) else 0.0))
    return bool(found.mean > reach)
