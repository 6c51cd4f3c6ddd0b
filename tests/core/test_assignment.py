"""Circuits go to the virtual neurons that they belong to, with shares that are right, or to none."""

import numpy as np
import pytest

from pure_cli.core.assignment import HELD_OUT, NONE, Assigner


def clouds(random, count, apart, dimensions=20, virtual=2):
    """Points of Gaussians of variance 1 whose means lie `apart` from each other, and which they are of."""
    means = np.eye(virtual, dimensions) * apart / np.sqrt(2)
    labels = np.arange(count) % virtual
    return random.normal(means[labels]), labels, means


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_shares_are_what_the_densities_give(random):
    points, labels, means = clouds(random, 20000, 2.5)
    assigner = Assigner.of(points, labels)
    assert assigner.variance == pytest.approx(1, rel=0.05)
    new, _, _ = clouds(random, 500, 2.5)
    density = np.exp(-((new[:, None] - means[None]) ** 2).sum(axis=-1) / 2)
    expected = density / density.sum(axis=1, keepdims=True)
    found, known = assigner.shares(new), assigner.hard(new) != NONE
    np.testing.assert_allclose(found[known, :2], expected[known], atol=0.08)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("virtual", [1, 2, 4])
def test_so_many_of_the_same_kind_belong_to_none_as_were_held_out(random, virtual):
    points, labels, _ = clouds(random, 2000, 6, virtual=virtual)
    assigner = Assigner.of(points, labels)
    new, of, _ = clouds(random, 4000, 6, virtual=virtual)
    hard = assigner.hard(new)
    assert (hard == NONE).mean() == pytest.approx(HELD_OUT, abs=0.015)
    assert (hard == of)[hard != NONE].mean() > 0.99
    shares = assigner.shares(new)
    np.testing.assert_array_equal(shares[:, -1] == 1, hard == NONE)


def test_what_is_unlike_all_belongs_to_none(random):
    points, labels, _ = clouds(random, 100, 6)
    assigner = Assigner.of(points, labels)
    far = np.zeros((1, 20))
    far[0, 10] = 30
    assert assigner.hard(far).tolist() == [NONE]
    assert assigner.shares(far).tolist() == [[0, 0, 1]]
    assert assigner.hard(np.zeros((1, 20))).tolist() == [NONE], "no relevance at all"


def test_disjoint_circuits_are_told_apart_without_doubt():
    points = np.repeat(np.array([[1.0, 0, 0], [0, 0, 1]]), 10, axis=0)
    assigner = Assigner.of(points, np.repeat([0, 1], 10))
    np.testing.assert_array_equal(assigner.shares(points), np.repeat([[1, 0, 0], [0, 1, 0]], 10, axis=0))
    assert assigner.hard(np.array([[0.5, 0, 0.5]])).tolist() == [NONE]


def test_references_without_a_virtual_neuron_are_left_out_and_one_point_is_enough():
    points = np.array([[1.0, 0], [9, 9], [0, 1]])
    assigner = Assigner.of(points, np.array([0, -1, 1]))
    np.testing.assert_array_equal(assigner.centroids, [[1, 0], [0, 1]])
    assert assigner.hard(points[[0, 2]]).tolist() == [0, 1]
    with pytest.raises(ValueError, match="no references"):
        Assigner.of(points, np.full(3, -1))
