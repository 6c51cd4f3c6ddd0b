"""Agreement with classes against scikit-learn, counting, and numbers worked out by hand."""

import warnings
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from pure_cli.core.metrics.agreement import agreement, chance, contingency

pytestmark = pytest.mark.filterwarnings("error")


def values(found):
    return found.purity, found.nmi, found.ari


def slow_purity(labels, classes):
    parts = [[c for other, c in zip(labels, classes, strict=True) if other == v] for v in set(labels)]
    return sum(Counter(part).most_common(1)[0][1] for part in parts) / len(labels)


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_scikit_learn_and_counting(seed):
    generator = np.random.default_rng(seed)
    labels, classes = generator.integers(0, 4, 60), generator.integers(0, 6, 60) * 7
    if seed % 2:
        classes = np.where(generator.random(60) < 0.7, labels, classes)
    expected = (
        slow_purity(labels.tolist(), classes.tolist()),
        normalized_mutual_info_score(classes, labels),
        adjusted_rand_score(classes, labels),
    )
    assert values(agreement(labels, classes)) == pytest.approx(expected, abs=1e-12)


def test_purity_by_hand():
    assert agreement(np.array([0, 0, 0, 1, 1]), np.array([5, 5, 6, 6, 7])).purity == 3 / 5


def test_the_same_grouping_under_other_names_scores_one():
    assert values(agreement(np.array([0, 1, 1, 2]), np.array([9, 4, 4, 0]))) == pytest.approx((1, 1, 1))


def test_references_without_class_or_virtual_neuron_are_left_out():
    labels, classes = np.array([0, 0, 1, 1, -1, 0, 2]), np.array([3, 3, 3, 4, 4, -1, -1])
    assert agreement(labels, classes) == agreement(labels[:4], classes[:4])
    assert chance(labels, classes, 0) == chance(labels[:4], classes[:4], 0)


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([0], [3], (1, 1, 1)),
        ([0, 0, 0], [2, 2, 2], (1, 1, 1)),
        ([0, 0, 0, 0], [1, 1, 2, 3], (0.5, 0, 0)),
        ([0, 0, 1, 2], [5, 5, 5, 5], (1, 0, 0)),
        ([0, 1, 2], [0, 1, 2], (1, 1, 1)),
    ],
)
def test_degenerate_groupings_score_as_in_scikit_learn(labels, classes, expected):
    assert values(agreement(np.array(labels), np.array(classes))) == pytest.approx(expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn minds more classes than half the samples
        theirs = normalized_mutual_info_score(classes, labels), adjusted_rand_score(classes, labels)
    assert expected[1:] == pytest.approx(theirs)


@pytest.mark.parametrize("labels", [[], [-1, -1, -1]])
def test_without_references_nothing_is_known(labels):
    labels, classes = np.array(labels, np.int16), np.arange(len(labels))
    assert np.isnan(values(agreement(labels, classes))).all()
    mean, p = chance(labels, classes, 0)
    assert np.isnan([values(mean), values(p)]).all()


def test_contingency_of_many_labellings_is_that_of_each():
    generator = np.random.default_rng(0)
    classes = generator.choice([2, 5, 9], 30)
    labels = np.stack([generator.permutation(np.arange(30) % 4) for _ in range(5)])
    tables = contingency(labels, classes)
    assert tables.shape == (5, 4, 3)
    for row, table in zip(labels, tables, strict=True):
        assert (table == contingency_matrix(row, classes)).all()
        assert (table == contingency(row, classes)).all()


def test_chance_equals_scoring_each_permutation():
    generator = np.random.default_rng(1)
    classes = generator.integers(0, 3, 25)
    labels = np.where(generator.random(25) < 0.4, classes, generator.integers(0, 2, 25))
    mean, p = chance(labels, classes, seed=3, permutations=50)
    shuffled = np.random.default_rng(3).permuted(np.tile(labels, (50, 1)), axis=1)
    scores = np.array([values(agreement(row, classes)) for row in shuffled])
    own = np.array(values(agreement(labels, classes)))
    assert values(mean) == pytest.approx(scores.mean(axis=0))
    assert values(p) == pytest.approx((1 + (scores >= own - 1e-12).sum(axis=0)) / 51)


def test_chance_approaches_the_mean_over_all_permutations():
    labels, classes = [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]
    every = np.mean([values(agreement(np.array(row), np.array(classes))) for row in set(permutations(labels))], axis=0)
    mean, _ = chance(np.array(labels), np.array(classes), seed=0, permutations=5000)
    assert values(mean) == pytest.approx(every, abs=0.02)
    assert every[2] == pytest.approx(0)


def test_labels_that_follow_the_classes_are_beyond_chance_and_one_cluster_never_is():
    classes = np.arange(60) % 3
    _, p = chance(classes, classes, seed=0)
    assert values(p) == pytest.approx((1 / 201,) * 3)
    mean, p = chance(np.zeros(60, int), classes, seed=0)
    assert values(mean) == pytest.approx((1 / 3, 0, 0))
    assert values(p) == (1, 1, 1)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="permutation"):
        chance(np.zeros(3, int), np.zeros(3, int), 0, 0)
    with pytest.raises(ValueError, match="a label and a class of each"):
        agreement(np.zeros(3, int), np.zeros(4, int))


def test_many_labellings_at_once_are_refused():
    with pytest.raises(ValueError, match="a label and a class of each"):
        agreement(np.zeros((2, 3), int), np.zeros((2, 3), int))
