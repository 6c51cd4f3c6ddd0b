"""Virtual neurons against scikit-learn, and against numbers worked out by hand."""

import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from pure_cli.core.clusters import renumbered, silhouette, virtual_neurons

ALL = np.ones(60, bool)


def blobs(seed: int, n: int = 60, d: int = 40) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(n, d)) + generator.integers(0, 3, n)[:, None]).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("k", [2, 3, 5])
def test_labels_equal_scikit_learn(seed, k):
    features = blobs(seed)
    theirs = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(features).labels_
    ours = virtual_neurons(features, ALL, k, seed)
    assert adjusted_rand_score(theirs, ours.labels) == 1
    assert ours.sizes.tolist() == sorted(np.bincount(theirs), reverse=True)
    assert ours.silhouette == pytest.approx(silhouette_score(features, theirs), abs=1e-6)
    for v, size in enumerate(ours.sizes):
        members = features[ours.labels == v]
        assert len(members) == size
        np.testing.assert_allclose(ours.centroids[v], members.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_distance_is_the_mean_over_pairs_of_centroids():
    features = np.array([[0, 0], [0, 0], [3, 4], [3, 4], [3, 4], [0, 8]], np.float32)
    found = virtual_neurons(features, np.ones(6, bool), 3, 0)
    assert found.labels.tolist() == [1, 1, 0, 0, 0, 2]
    assert found.distance == pytest.approx((5 + 5 + 8) / 3)


def test_renumbered_by_size_then_by_first_member():
    assert renumbered(np.array([7, 2, 2, 9, 9, 9])).tolist() == [2, 1, 1, 0, 0, 0]
    assert renumbered(np.array([5, 1, 5, 1])).tolist() == [0, 1, 0, 1]


def test_references_that_do_not_excite_the_neuron_belong_to_none():
    features = blobs(1)
    present = np.arange(60) < 25
    found = virtual_neurons(features, present, 2, 0)
    assert (found.labels[25:] == -1).all()
    assert found.sizes.sum() == 25
    alone = virtual_neurons(features[:25], np.ones(25, bool), 2, 0)
    assert (alone.labels == found.labels[:25]).all()


def test_a_neuron_that_never_fires_has_no_virtual_neuron():
    found = virtual_neurons(blobs(0), np.zeros(60, bool), 2, 0)
    assert (found.labels == -1).all()
    assert found.sizes.size == 0
    assert found.centroids.shape == (0, 40)
    assert np.isnan(found.silhouette)


@pytest.mark.parametrize(
    ("features", "k", "sizes"),
    [
        (np.zeros((5, 3)), 2, [5]),
        (np.ones((1, 3)), 2, [1]),
        (np.eye(3), 5, [1, 1, 1]),
        (np.eye(4), 1, [4]),
    ],
)
def test_degenerate_features_give_fewer_clusters_and_no_warning(features, k, sizes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = virtual_neurons(features.astype(np.float32), np.ones(len(features), bool), k, 0)
    assert found.sizes.tolist() == sizes
    assert found.labels.max() == len(sizes) - 1


def test_fewer_different_references_than_clusters_are_each_a_cluster():
    found = virtual_neurons(np.repeat(np.eye(3), 2, axis=0), np.ones(6, bool), 5, 0)
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.silhouette == 1


def test_silhouette_where_it_is_not_plain():
    def mean(points, labels):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return silhouette(np.abs(np.subtract.outer(points, points)).astype(float), np.array(labels))

    assert np.isnan(mean([1, 2, 3], [0, 1, 2]))  # only single ones
    assert np.isnan(mean([1, 2, 3], [0, 0, 0]))
    assert mean([4, 4, 4, 4], [0, 0, 1, 1]) == 0  # all in one place
    assert mean([0, 2, 9], [0, 0, 1]) == pytest.approx(((9 - 2) / 9 + (7 - 2) / 7 + 0) / 3)
