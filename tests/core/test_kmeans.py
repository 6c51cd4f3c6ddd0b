"""k-means from inner products, against scikit-learn start by start."""

import numpy as np
import pytest
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import adjusted_rand_score

from pure_cli.core import kmeans
from pure_cli.core.kmeans import STARTS, inner_products, k_means, squared_distances


def sets(count, n=24, dimensions=6, seed=0):
    return [np.random.default_rng([seed, i]).normal(size=(n, dimensions)) for i in range(count)]


def split(points, k, seeds):
    products = np.stack([inner_products(own) for own in points])
    return k_means(products, points[0].shape[1], k, np.array(seeds))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_labels_are_those_of_scikit_learn_with_a_seed_for_each_set(k):
    """Of few points and many clusters they are not: two candidates near each other alone are equally good starts."""
    points, seeds = sets(40, n=60), list(range(40))
    found = split(points, k, seeds)
    assert found.sure.sum() >= 30  # clusters that run empty are left to scikit-learn
    for own, seed, labels, sure in zip(points, seeds, *found, strict=True):
        if sure:
            theirs = KMeans(k, n_init=STARTS, random_state=seed).fit(own).labels_
            assert adjusted_rand_score(labels, theirs) == 1


@pytest.mark.parametrize("k", [2, 4])
def test_starts_are_those_of_scikit_learn(k):
    (points,) = sets(1, n=60)
    (chosen,), enough = kmeans._starts(squared_distances(inner_products(points)[None]), k, np.array([5]))
    state = np.random.RandomState(5)
    for own in chosen:  # all from one sequence of random numbers
        _, theirs = kmeans_plusplus(points, k, random_state=state)
        assert own.tolist() == theirs.tolist()
    assert enough.all()


def test_sets_do_not_depend_on_each_other_nor_on_how_many_fit_in_at_a_time(monkeypatch):
    points, seeds = sets(9), [3, 1, 4, 1, 5, 9, 2, 6, 5]
    together = split(points, 3, seeds)
    monkeypatch.setattr(kmeans, "ELEMENTS", 1)
    for found in (split(points, 3, seeds), *[split(points[:i], 3, seeds[:i]) for i in (1, 4)]):
        np.testing.assert_array_equal(found.labels, together.labels[: len(found.labels)])
        np.testing.assert_array_equal(found.sure, together.sure[: len(found.sure)])


def test_the_best_of_the_starts_is_kept():
    """Four far corners and k = 4: a start that has two centres in one corner stays there."""
    generator = np.random.default_rng(0)
    corners = np.array([[0, 0], [0, 9], [9, 0], [9, 9.0]])
    points = [corners[np.arange(40) % 4] + generator.normal(size=(40, 2)) for _ in range(20)]
    found = split(points, 4, range(20))
    for labels in found.labels[found.sure]:
        assert adjusted_rand_score(labels, np.arange(40) % 4) == 1


def test_steps_stop_at_the_tolerance_of_scikit_learn(monkeypatch):
    """With a wide tolerance most starts stop before they are at rest, and at the same labels as scikit-learn's."""
    monkeypatch.setattr(kmeans, "TOLERANCE", 0.3)
    points = sets(30, n=60, dimensions=3, seed=1)
    found = split(points, 4, range(30))
    early = 0
    for own, seed, labels in zip(points, range(30), found.labels, strict=True):
        theirs = KMeans(4, n_init=STARTS, random_state=seed, tol=0.3).fit(own)
        assert adjusted_rand_score(labels, theirs.labels_) == 1
        at_rest = KMeans(4, n_init=STARTS, random_state=seed).fit(own)
        early += adjusted_rand_score(theirs.labels_, at_rest.labels_) < 1
    assert early > 5


def test_sets_that_find_no_rest_in_time_are_not_sure(monkeypatch):
    monkeypatch.setattr(kmeans, "STEPS", 1)
    assert not split(sets(5), 3, range(5)).sure.any()


def test_coinciding_points_are_not_sure():
    points = np.repeat(np.eye(2), 6, axis=0)
    assert split([points], 2, [0]).sure.all()
    assert not split([points], 3, [0]).sure.any()
    mixed = split([points, *sets(1, n=12, dimensions=2)], 3, [0, 0])
    assert mixed.sure.tolist() == [False, True]


def test_points_that_differ_by_rounding_are_one():
    points = np.array([[1.0, 1, 1], [1 + 1e-9, 1, 1], [5, 2, 0], [7, 1, 3]])
    found = squared_distances(inner_products(points))
    assert found[0, 1] == found[1, 0] == 0
    assert (found[2:, :2] > 1).all() and found[2, 3] == pytest.approx(4 + 1 + 9)
    apart = squared_distances(inner_products(points * [[1], [1 + 1e-4], [1], [1]]))
    assert apart[0, 1] == pytest.approx(3e-8, rel=1e-2)


@pytest.mark.parametrize("unit", [1e-9, 1e6])
def test_the_unit_of_the_features_does_not_matter(unit):
    points = sets(10)
    found, expected = split([own * unit for own in points], 3, range(10)), split(points, 3, range(10))
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.sure, expected.sure)
