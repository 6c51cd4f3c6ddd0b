"""Stability of virtual neurons against scikit-learn's pieces put together slowly."""

from itertools import combinations, permutations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from pure_cli.core.clusters import virtual_neurons
from pure_cli.core.kmeans import centred, inner_products
from pure_cli.core.metrics.stability import best_overlaps, bootstrap_stability, cluster_overlaps, seed_stability

pytestmark = pytest.mark.filterwarnings("error")


def cloud(seed: int, n: int = 40, apart: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, 6)) + apart * (np.arange(n) % 2)[:, None]


def split(points, k, seed):
    return virtual_neurons(points, np.ones(len(points), bool), k, seed).labels


@pytest.mark.parametrize("k", [2, 3])
def test_bootstrap_equals_k_means_on_each_sample(k):
    points = cloud(0, apart=1)
    whole = KMeans(k, n_init=10, random_state=7).fit(points).labels_
    generator = np.random.default_rng(7)
    expected = []
    for _ in range(6):
        sample = points[generator.integers(0, 40, 40)]
        expected.append(adjusted_rand_score(whole, KMeans(k, n_init=10, random_state=7).fit(sample).predict(points)))
    assert bootstrap_stability(points, k, seed=7, samples=6) == pytest.approx(np.mean(expected))
    assert np.mean(expected) < 1


def test_clear_clusters_are_stable_and_a_cloud_is_not():
    seeds = range(3)
    clear, vague = cloud(1, apart=30), cloud(1)
    assert bootstrap_stability(clear, 2, 0) == 1
    assert seed_stability(clear, 2, seeds) == (1, 1)
    assert bootstrap_stability(vague, 4, 0) < 0.8


def test_seeds_equal_the_best_match_over_all_renamings():
    points, seeds = cloud(2, 60), [0, 1, 2, 3]
    splits = [split(points, 5, seed) for seed in seeds]
    ari = [adjusted_rand_score(a, b) for a, b in combinations(splits, 2)]
    kept = [
        max(np.mean(np.array(names)[a] == b) for names in permutations(range(5))) for a, b in combinations(splits, 2)
    ]
    found = seed_stability(points, 5, seeds)
    assert found.ari == pytest.approx(np.mean(ari))
    assert found.kept == pytest.approx(np.mean(kept))
    assert found.kept < 1


@pytest.mark.parametrize("points", [np.full((6, 3), 0.1), cloud(3, 6)])
def test_one_virtual_neuron_is_stable(points):
    k = 2 if (points == points[0]).all() else 1
    assert bootstrap_stability(points, k, 0, 3) == 1
    assert seed_stability(points, k, [0, 1]) == (1, 1)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_references_have_no_stability(n):
    assert np.isnan(bootstrap_stability(np.ones((n, 3)), 2, 0))
    assert np.isnan(seed_stability(np.ones((n, 3)), 2, [0, 1])).all()


def test_more_clusters_than_references_is_defined():
    assert -0.5 <= bootstrap_stability(cloud(4, 3), 5, 0) <= 1
    assert seed_stability(cloud(4, 3), 5, [0, 1]) == (1, 1)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="two seeds, got 1"):
        seed_stability(cloud(0), 2, [0])
    with pytest.raises(ValueError, match="one sample, got 0"):
        bootstrap_stability(cloud(0), 2, 0, 0)


def test_inner_products_of_samples_are_about_the_mean_of_each():
    points = cloud(5, 20, apart=3) + 7
    drawn = np.random.default_rng(0).integers(0, 20, (4, 20))
    found = centred(inner_products(points)[drawn[:, :, None], drawn[:, None]])
    np.testing.assert_allclose(found, [inner_products(points[own]) for own in drawn], atol=1e-10)


def test_references_go_to_the_nearest_that_was_drawn_where_each_is_a_cluster():
    """Samples have fewer different references than there are clusters; the empty ones draw none."""
    points = np.array([[0.0], [1], [10], [100]])
    generator, expected = np.random.default_rng(3), []
    for _ in range(8):
        drawn = np.unique(generator.integers(0, 4, 4))
        nearest = [min(drawn, key=lambda other: abs(points[other, 0] - point)) for point in points[:, 0]]
        expected.append(adjusted_rand_score(range(4), nearest))
    assert bootstrap_stability(points, 4, 3, samples=8) == pytest.approx(np.mean(expected))


def test_one_sample_and_two_references_are_enough():
    assert bootstrap_stability(cloud(1, apart=30), 2, 0, samples=1) == 1
    assert seed_stability(cloud(6, 2), 2, [0, 1]) == (1, 1)


def test_overlap_of_clusters_is_that_of_a_plain_loop_over_bootstrap_samples():
    generator = np.random.default_rng(3)
    points = np.concatenate([generator.normal(size=(14, 4)), generator.normal(0.9, 1, size=(6, 4))])
    labels = KMeans(2, n_init=10, random_state=0).fit_predict(points)
    draws, jaccard = np.random.default_rng(0), np.zeros((20, 2))
    for sample in range(20):
        chosen = draws.integers(0, 20, 20)
        again = KMeans(2, n_init=10, random_state=0).fit(points[chosen]).predict(points)
        for own in (0, 1):
            both = [((labels == own) & (again == c)).sum() / ((labels == own) | (again == c)).sum() for c in (0, 1)]
            jaccard[sample, own] = max(both)
    found = cluster_overlaps(points, labels, 2, 0)
    np.testing.assert_allclose(found, jaccard.mean(axis=0), atol=1e-12)
    assert 0.3 < found.min() < found.max() < 1
    assert np.isnan(cluster_overlaps(points, np.zeros(20, int), 2, 0)[1])


def test_overlap_with_other_units_is_the_best_jaccard_index():
    others = np.array([[1, 2, 3, 4], [3, 4, 5, -1]])
    found = best_overlaps([np.array([3, 4]), np.array([1, 2, 3, 4]), np.array([9]), np.array([], int)], others)
    np.testing.assert_allclose(found, [2 / 3, 1, 0, np.nan])
