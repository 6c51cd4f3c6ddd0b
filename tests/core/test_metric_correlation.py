"""Correlation of distances against scipy on pairs gathered by a slow loop."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import pearsonr

from pure_cli.core.metrics.correlation import correlation

pytestmark = pytest.mark.filterwarnings("error")


def spaces(seed: int, neurons: int, n: int = 12):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(neurons, n, 5)).astype(np.float32)
    judge = np.concatenate([features[..., :2], generator.normal(size=(neurons, n, 4))], axis=2)
    return features, judge, generator.random((neurons, n)) < 0.8


def pooled(features, judge, present, first):
    x, y = [], []
    for f, j, there in zip(features, judge, present, strict=True):
        for a, b in combinations([i for i in range(min(first, len(f))) if there[i]], 2):
            distance = np.linalg.norm(f[a].astype(float) - f[b]), np.linalg.norm(j[a] - j[b])
            if min(distance) > 0:
                x.append(distance[0])
                y.append(distance[1])
    return x, y


def test_with_fewer_neurons_than_subsets_each_neuron_is_one():
    features, judge, present = spaces(0, 7)
    found = correlation(list(features), list(judge), list(present), seed=5, first=9)
    pairs = [pooled([f], [j], [p], 9) for f, j, p in zip(features, judge, present, strict=True)]
    expected = [pearsonr(*pair).statistic for pair in pairs]
    np.testing.assert_allclose(np.sort(found.values), np.sort(expected), rtol=1e-9)
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.error == pytest.approx(np.std(expected, ddof=1) / np.sqrt(7))
    assert found.pairs == sum(len(x) for x, _ in pairs)
    assert found.left_out == 0


def test_one_subset_pools_the_pairs_within_all_neurons():
    features, judge, present = spaces(1, 6)
    found = correlation(features, judge, present, seed=0, subsets=1)
    x, y = pooled(features, judge, present, 50)
    np.testing.assert_allclose(found.values, [pearsonr(x, y).statistic], rtol=1e-9)
    assert found.pairs == len(x)
    assert np.isnan(found.error)


def test_subsets_are_disjoint_equal_in_size_and_leave_the_rest_out():
    """Neuron c has c + 2 references: the number of pairs tells which neurons a subset holds."""
    generator = np.random.default_rng(2)
    features = [generator.normal(size=(c + 2, 3)) for c in range(11)]
    present = [np.ones(c + 2, bool) for c in range(11)]
    found = correlation(features, features, present, seed=4, subsets=3)
    order = np.random.default_rng(4).permutation(11)
    used = {int(c) for c in order[:9]}
    assert found.pairs == sum((c + 2) * (c + 1) // 2 for c in used)
    np.testing.assert_allclose(found.values, [1, 1, 1], rtol=1e-12)


def test_sixty_four_neurons_give_thirty_subsets_of_two_and_the_seed_decides_which():
    features, judge, _ = spaces(3, 64)
    present = np.ones((64, 12), bool)
    found, again, other = (correlation(features, judge, present, seed) for seed in (0, 0, 1))
    assert len(found.values) == 30
    assert found.pairs == 60 * 66
    assert (found.values == again.values).all()
    assert found.mean != other.mean


@pytest.mark.parametrize(
    ("points", "r"),
    [
        ([0, 10, 30], 1),  # distances 10, 30, 20
        ([0, 3, 1], -1),  # distances 3, 1, 2
        ([0, 2, -1], -1 / 2),  # distances 2, 1, 3: deviations 0, -1, 1 against -1, 1, 0
    ],
)
def test_correlation_by_hand(points, r):
    line = np.array([[0.0], [1], [3]])  # distances 1, 3, 2 of the pairs 01, 02, 12
    found = correlation([line], [np.array(points, float)[:, None]], [np.ones(3, bool)], seed=0)
    assert found.values == pytest.approx([r])


def test_pairs_at_distance_zero_in_either_space_are_left_out():
    features, judge, _ = spaces(4, 1, 8)
    features[0, 1] = features[0, 0]
    judge[0, 5] = judge[0, 2]
    found = correlation(features, judge, np.ones((1, 8), bool), seed=0)
    assert found.pairs == 28 - 2
    x, y = pooled(features, judge, np.ones((1, 8), bool), 50)
    assert found.values[0] == pytest.approx(pearsonr(x, y).statistic)


def test_subsets_without_a_correlation_are_counted_and_left_out():
    features, judge, _ = spaces(5, 4, 10)
    present = np.ones((4, 10), bool)
    judge[0] = 1.5  # all equal: no pair
    features[1] = 0
    features[1, :5] = np.eye(5) * 3  # five corners of a simplex: one distance, and
    present[1, 5:] = False
    present[2, 1:] = False  # a single reference
    found = correlation(features, judge, present, seed=0)
    assert found.left_out == 3
    assert found.pairs == 45
    assert found.values.shape == (1,)
    assert found.mean == found.values[0]


@pytest.mark.parametrize("neurons", [0, 3])
def test_nothing_to_correlate_is_not_a_number(neurons):
    features = np.ones((neurons, 5, 2))
    for present in (np.ones((neurons, 5), bool), np.zeros((neurons, 5), bool)):
        found = correlation(features, features, present, seed=0)
        assert np.isnan([found.mean, found.error]).all()
        assert (found.values.size, found.pairs, found.left_out) == (0, 0, neurons)


def test_different_numbers_of_neurons_are_refused():
    with pytest.raises(ValueError, match="got 2, 3 and 2"):
        correlation(np.zeros((2, 4, 1)), np.zeros((3, 4, 1)), np.zeros((2, 4), bool), seed=0)


def test_the_first_fifty_references_count_in_thirty_subsets_as_in_the_paper():
    features, judge, present = spaces(6, 61, 55)
    found = correlation(features, judge, present, seed=0)
    assert len(found.values) == 30
    order = np.random.default_rng(0).permutation(61)[:60].reshape(30, 2)
    expected = [pearsonr(*pooled(features[own], judge[own], present[own], 50)).statistic for own in order]
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)


def test_two_pairs_are_enough():
    """Of two neurons with two references each."""
    features, judge = np.array([[[0.0], [1]], [[0], [3]]]), np.array([[[0.0], [5]], [[0], [2]]])
    found = correlation(features, judge, np.ones((2, 2), bool), seed=0, subsets=1)
    assert (found.pairs, found.left_out) == (2, 0)
    assert found.mean == pytest.approx(-1)


def test_the_unit_of_the_spaces_does_not_matter():
    features, judge, present = spaces(7, 3)
    expected = correlation(features.astype(float), judge, present, seed=0).values
    for unit in (1e-12, 1e12):
        found = correlation(features.astype(float) * unit, judge / unit, present, seed=0)
        np.testing.assert_allclose(found.values, expected, rtol=1e-9)
