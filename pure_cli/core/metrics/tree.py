"""Splits against meanings that form a tree: two of three are close, so that two clusters are as right as three."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pure_cli.core.metrics.agreement import NO_CLASS, TIE, adjusted_rand, agreement

PERMUTATIONS = 50


@dataclass(frozen=True)
class TreeAgreement:
    """How well a split agrees with the cuts of a tree.

    Attributes
    ----------
    score : (best - chance) / (1 - chance), 0 by chance, 1 where the split is one of the cuts
    chance : mean of the best adjusted Rand index over the cuts, for the labels dealt at random; a little above 0, since
        the best of several is taken
    """

    score: float
    chance: float


def cuts(truth: np.ndarray, meanings: Sequence[int], branch: Sequence[int]) -> list[np.ndarray]:
    """The right answers: the branches, and the meanings themselves.

    Parameters
    ----------
    truth : (n,) int, the meaning of each reference
    meanings : of the unit
    branch : of each meaning; close meanings share one

    Returns
    -------
    list of (n,) int
        -1 where a reference shows none of the meanings.
    """
    branches, leaves = np.full(len(truth), NO_CLASS), np.full(len(truth), NO_CLASS)
    for place, (meaning, own) in enumerate(zip(meanings, branch, strict=True)):
        branches[truth == meaning], leaves[truth == meaning] = own, place
    return [branches, leaves]


def tree_agreement(labels: np.ndarray, right: Sequence[np.ndarray], seed: int) -> TreeAgreement:
    """The best adjusted Rand index over the cuts of a tree, adjusted for chance once more.

    Parameters
    ----------
    labels : (n,) int, the cluster of each reference
    right : of `cuts`
    seed : of the permutations

    Notes
    -----
    An index adjusted as Hubert and Arabie 1985 do, its expectation by permutation. Dendrogram purity (Heller and
    Ghahramani 2005) scores a tree that is found against flat classes; here the classes are the tree.
    """
    known = np.all([cut != NO_CLASS for cut in right], axis=0)
    if not known.any():
        return TreeAgreement(np.nan, np.nan)
    own = np.asarray(labels)[known]
    dealt = np.random.default_rng(seed).permuted(np.tile(own, (PERMUTATIONS, 1)), axis=1)
    every = np.concatenate([own[None], dealt])
    best = np.max([adjusted_rand(every, cut[known]) for cut in right], axis=0)
    chance = float(best[1:].mean())
    return TreeAgreement(float((best[0] - chance) / (1 - chance)) if chance < 1 else np.nan, chance)


def close_first(labels: np.ndarray, truth: np.ndarray, meanings: Sequence[int], branch: Sequence[int]) -> float:
    """Whether a split in two leaves the close meanings together rather than another pair: 1, 0, or its share of a draw.

    By chance it is a third.

    Parameters
    ----------
    labels : (n,) int, two clusters
    truth, meanings, branch : as of `cuts`, three meanings of which two share a branch
    """
    alone = [(np.arange(3) == one).astype(int) for one in range(3)]
    scores = np.array([agreement(labels, cuts(truth, meanings, pairing.tolist())[0]).ari for pairing in alone])
    odd = next(i for i, own in enumerate(branch) if list(branch).count(own) == 1)
    best = scores >= scores.max() - TIE
    return float(best[odd] / best.sum())
