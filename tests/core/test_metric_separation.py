"""Distances and separation against scipy, the yardstick, slow loops, and numbers worked out by hand."""

import sys
import warnings
from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from pure_cli.core.metrics.separation import pairwise_distances, separation

pytestmark = pytest.mark.filterwarnings("error")


def slow_separation(distances, labels):
    pairs = [(a, b) for a, b in combinations(range(len(labels)), 2) if labels[a] >= 0 and labels[b] >= 0]
    intra = [distances[a, b] for a, b in pairs if labels[a] == labels[b]]
    inter = [distances[a, b] for a, b in pairs if labels[a] != labels[b]]
    return np.mean(intra or inter), np.mean(inter or intra), np.mean(intra + inter)


@pytest.mark.parametrize("offset", [0, 1, 1e4])
@pytest.mark.parametrize(("n", "dimensions"), [(1, 3), (2, 1), (30, 1), (100, 512), (40, 0)])
def test_distances_equal_scipy(n, dimensions, offset):
    x = np.random.default_rng(n).normal(size=(n, dimensions)).astype(np.float32) + offset
    found = pairwise_distances(x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, squareform(pdist(x.astype(np.float64))), rtol=1e-9, atol=0)
    assert (found == found.T).all()
    assert (np.diag(found) == 0).all()


def test_distances_of_nearly_equal_points_keep_their_digits():
    generator = np.random.default_rng(0)
    far = generator.normal(size=(5, 64)) * 100
    x = np.concatenate([far, far + generator.normal(size=far.shape) * 1e-8, far])
    found = pairwise_distances(x)
    np.testing.assert_allclose(found, squareform(pdist(x)), rtol=1e-9, atol=0)
    assert (found[range(5), range(10, 15)] == 0).all()
    assert (found == found.T).all()


@pytest.mark.parametrize("row", [np.zeros(7), np.full(7, 0.1), np.arange(7) / 3, np.full(7, 1e8 / 3)])
def test_identical_rows_are_at_distance_exactly_zero(row):
    assert (pairwise_distances(np.tile(row, (9, 1))) == 0).all()


def test_distances_by_hand_and_of_nothing():
    assert pairwise_distances(np.array([[0, 0], [3, 4], [3, 0]])).tolist() == [[0, 5, 3], [5, 0, 4], [3, 4, 0]]
    assert pairwise_distances(np.empty((0, 4))).shape == (0, 0)


@pytest.mark.parametrize("seed", range(10))
def test_separation_equals_a_slow_loop(seed):
    generator = np.random.default_rng(seed)
    n = int(generator.integers(2, 40))
    distances = pairwise_distances(generator.normal(size=(n, 8)))
    labels = generator.integers(-1, 4, n)
    labels[:2] = 0
    found = separation(distances, labels)
    np.testing.assert_allclose(
        (found.intra, found.inter, found.overall), slow_separation(distances, labels), rtol=1e-12
    )


def test_separation_equals_the_yardstick(shared):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.path.insert(0, str(shared / "yardstick"))
        import reference
    generator = np.random.default_rng(3)
    distances = pairwise_distances(generator.normal(size=(100, 32)))
    for labels in (generator.integers(0, 3, 100), np.zeros(100, int), np.arange(100)):
        found = separation(distances, labels)
        assert (found.intra, found.inter) == pytest.approx(reference.separation(distances, labels), rel=1e-12)


def test_separation_by_hand():
    distances = pairwise_distances(np.array([[0.0], [1], [10], [12], [1000]]))
    found = separation(distances, np.array([1, 1, 0, 0, -1]))
    assert (found.intra, found.inter) == pytest.approx(((1 + 2) / 2, (10 + 12 + 9 + 11) / 4))
    assert found.overall == pytest.approx((1 + 2 + 10 + 12 + 9 + 11) / 6)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_where_one_kind_of_pair_is_missing_the_other_stands_in(labels):
    distances = pairwise_distances(np.array([[0.0], [1], [5]]))
    found = separation(distances, np.array(labels))
    assert found.intra == found.inter == found.overall == pytest.approx(10 / 3)


@pytest.mark.parametrize("labels", [[], [0], [-1], [-1, -1, -1], [-1, 2, -1]])
def test_fewer_than_two_references_have_no_separation(labels):
    found = separation(np.zeros((len(labels),) * 2), np.array(labels, np.int16))
    assert np.isnan([found.intra, found.inter, found.overall]).all()


def test_equal_embeddings_are_at_no_distance_however_they_are_split():
    found = separation(pairwise_distances(np.full((6, 3), 0.3)), np.array([0, 0, 0, 0, 1, 1]))
    assert (found.intra, found.inter, found.overall) == (0, 0, 0)
