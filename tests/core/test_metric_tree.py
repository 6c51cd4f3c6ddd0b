"""Splits against meanings that form a tree."""

import numpy as np
import pytest

from pure_cli.core.metrics.tree import close_first, cuts, tree_agreement

BRANCH = (0, 0, 1)
MEANINGS = (7, 2, 5)  # the first two are close
TRUTH = np.repeat(MEANINGS, 30)


@pytest.mark.parametrize("labels", [np.repeat([4, 4, 1], 30), np.repeat([2, 0, 1], 30)])
def test_both_cuts_of_a_tree_are_right(labels):
    assert tree_agreement(labels, cuts(TRUTH, MEANINGS, BRANCH), 0).score == pytest.approx(1)


def test_another_pair_together_is_worse_than_either_cut():
    wrong = np.repeat([0, 1, 1], 30)
    assert tree_agreement(wrong, cuts(TRUTH, MEANINGS, BRANCH), 0).score < 0.6


def test_labels_dealt_at_random_score_nothing():
    generator, right = np.random.default_rng(0), cuts(TRUTH, MEANINGS, BRANCH)
    found = [tree_agreement(generator.integers(0, 3, 90), right, seed) for seed in range(300)]
    assert abs(np.mean([one.score for one in found])) < 0.003
    assert np.mean([one.chance for one in found]) > 0.004  # the better of two is above 0 by luck


def test_what_shows_none_of_the_meanings_counts_for_nothing():
    truth, labels = np.append(TRUTH, [-1] * 40), np.append(np.repeat([2, 0, 1], 30), np.arange(40) % 3)
    assert tree_agreement(labels, cuts(truth, MEANINGS, BRANCH), 0).score == pytest.approx(1)
    assert np.isnan(tree_agreement(labels[90:], cuts(truth[90:], MEANINGS, BRANCH), 0).score)


@pytest.mark.parametrize(("labels", "expected"), [([0, 0, 1], 1), ([0, 1, 1], 0), ([0, 1, 0], 0)])
def test_close_meanings_are_together_or_another_pair_is(labels, expected):
    assert close_first(np.repeat(labels, 30), TRUTH, MEANINGS, BRANCH) == expected


def test_labels_dealt_at_random_leave_each_pair_together_alike():
    generator = np.random.default_rng(1)
    share = np.mean([close_first(generator.integers(0, 2, 90), TRUTH, MEANINGS, BRANCH) for _ in range(600)])
    assert share == pytest.approx(1 / 3, abs=0.06)
