"""What k-means and the map get instead of the features themselves: properties that hold for any features."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.distance import cdist, pdist
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from pure_cli.core import clusters
from pure_cli.core.clusters import split_all, virtual_neurons
from pure_cli.core.features import TRANSFORMS, transformed
from pure_cli.core.kmeans import inner_products, squared_distances
from pure_cli.core.projection import project

NUMBERS = st.floats(-100, 100, width=32).map(lambda value: 0.0 if abs(value) < 1e-3 else value)
SCALES = st.integers(-12, 12).map(lambda power: 2.0**power)  # exact in floating point


def matrices(least=1, most=12, dimensions=5):
    """(n, D) float32 with zeros, equal rows and constant columns among them."""
    shapes = st.tuples(st.integers(least, most), st.integers(1, dimensions))
    plain = shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=NUMBERS))
    repeated = plain.flatmap(
        lambda rows: st.lists(st.integers(0, len(rows) - 1), min_size=len(rows), max_size=len(rows)).map(
            lambda order: rows[order]
        )
    )
    return plain | repeated


def relevances(points):
    """(n, D) with an L1 norm of 1 or 0, and these norms, as attribute keeps them."""
    norm = np.abs(points).sum(axis=1, dtype=np.float64) + 1e-10
    return (points / norm[:, None]).astype(np.float32), norm


def reduced(points):
    return squared_distances(inner_products(points))


def exact(points):
    return cdist(points.astype(np.float64), points.astype(np.float64), "sqeuclidean")


# --- relevances to features


@given(matrices())
def test_features_of_each_kind_are_those_of_a_plain_loop(points):
    relevance, norm = relevances(points)
    for transform in TRANSFORMS:
        found = transformed(relevance, norm, transform)
        assert found.dtype == np.float32
        for row, own, length in zip(found, relevance.astype(np.float64), norm, strict=True):
            roots = np.array([np.copysign(abs(value) ** 0.5, value) for value in own])
            size = sum(value * value for value in roots) ** 0.5
            expected = {"l1": own, "none": own * length, "sqrt-l2": roots / size if size else roots}[transform]
            np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


@given(matrices(), st.randoms(use_true_random=False))
def test_features_of_a_reference_do_not_depend_on_the_others(points, random):
    relevance, norm = relevances(points)
    order = list(range(len(points)))
    random.shuffle(order)
    for transform in TRANSFORMS:
        whole = transformed(relevance, norm, transform)
        np.testing.assert_array_equal(transformed(relevance[order], norm[order], transform), whole[order])
        np.testing.assert_array_equal(transformed(relevance[:1], norm[:1], transform), whole[:1])


@given(matrices(), SCALES)
def test_how_strong_a_neuron_fires_matters_to_unscaled_features_alone(points, scale):
    relevance, norm = relevances(points)
    for transform in ("l1", "sqrt-l2"):
        np.testing.assert_array_equal(
            transformed(relevance, norm * scale, transform), transformed(relevance, norm, transform)
        )
    np.testing.assert_array_equal(
        transformed(relevance, norm * scale, "none"), transformed(relevance, norm, "none") * np.float32(scale)
    )


@given(matrices())
def test_hellinger_distance_is_that_of_the_shares(points):
    relevance, norm = relevances(np.abs(points))
    found = exact(transformed(relevance, norm, "sqrt-l2"))
    shares = relevance.astype(np.float64)
    present = shares.sum(axis=1) > 0
    both = np.sqrt(shares[present]) @ np.sqrt(shares[present]).T  # Bhattacharyya's coefficient
    np.testing.assert_allclose(found[np.ix_(present, present)], np.maximum(2 - 2 * both, 0), atol=1e-5)


# --- features to distances


@given(matrices())
@example(np.zeros((1, 3), np.float32))
@example(np.full((4, 2), 0.1, np.float32))
@example(np.array([[0, 0], [0, 0], [3, 4]], np.float32))
def test_distances_from_inner_products_are_the_exact_ones(points):
    found, expected = reduced(points), exact(points)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11 * expected.max())
    np.testing.assert_array_equal(found, found.T)
    assert (found >= 0).all() and not np.diagonal(found).any()
    assert not found[exact(points) == 0].any()  # equal rows, to the last bit


@given(matrices(), st.randoms(use_true_random=False))
def test_rows_in_another_order_have_the_distances_in_that_order(points, random):
    order = list(range(len(points)))
    random.shuffle(order)
    np.testing.assert_allclose(
        reduced(points[order]), reduced(points)[np.ix_(order, order)], rtol=1e-9, atol=1e-11 * exact(points).max()
    )


@given(matrices(), st.floats(-50, 50))
def test_a_constant_feature_and_a_shift_change_no_distance(points, value):
    expected = exact(points)
    wider = np.concatenate([points.astype(np.float64), np.full((len(points), 1), value)], axis=1)
    np.testing.assert_allclose(reduced(wider), expected, rtol=1e-9, atol=1e-11 * (1 + expected.max()))
    moved = points.astype(np.float64) + value
    np.testing.assert_allclose(reduced(moved), expected, rtol=1e-8, atol=1e-10 * (1 + expected.max()))


@given(matrices(), SCALES)
def test_scaled_features_have_scaled_distances_to_the_bit(points, scale):
    np.testing.assert_array_equal(reduced(points * np.float32(scale)), reduced(points) * scale**2)


@given(st.lists(matrices(least=4, most=4, dimensions=3), min_size=1, max_size=4))
def test_many_sets_at_once_are_each_alone(sets):
    products = np.stack([inner_products(points) for points in sets])
    for together, points in zip(squared_distances(products), sets, strict=True):
        np.testing.assert_array_equal(together, reduced(points))


# --- distances to clusters


@given(matrices(least=2), st.integers(2, 4), st.integers(0, 2**31 - 1))
def test_clusters_are_as_good_as_those_of_scikit_learn(points, k, seed):
    """Labels may differ where several splits are equally good, and then only there."""
    k = min(k, len(points), len(np.unique(points, axis=0)))
    assume(k > 1)
    found = virtual_neurons(points, np.ones(len(points), bool), k, seed)
    theirs = KMeans(k, n_init=10, random_state=seed).fit(points).labels_

    def squares(labels):
        own = [points[labels == label].astype(np.float64) for label in np.unique(labels)]
        return sum(((part - part.mean(axis=0)) ** 2).sum() for part in own)

    if adjusted_rand_score(theirs, found.labels) < 1:
        assert squares(found.labels) == pytest.approx(squares(theirs), rel=1e-4, abs=1e-4 * exact(points).max())


@given(matrices(least=1), st.integers(1, 5), st.integers(0, 100))
def test_clusters_are_whole_and_counted(points, k, seed):
    found = virtual_neurons(points, np.ones(len(points), bool), k, seed)
    different = len(np.unique(points + 0.0, axis=0))
    assert 1 <= len(found.sizes) <= min(k, different)
    assert found.sizes.tolist() == sorted(np.bincount(found.labels), reverse=True)
    for rows in exact(points) == 0:  # equal references are never parted
        assert len(set(found.labels[rows])) == 1
    for label, centroid in enumerate(found.centroids):
        np.testing.assert_allclose(centroid, points[found.labels == label].mean(axis=0), rtol=1e-5, atol=1e-5)
    assert np.isnan(found.distance) == (len(found.sizes) < 2)
    if len(found.sizes) > 1:
        assert found.distance == pytest.approx(pdist(found.centroids.astype(np.float64)).mean(), rel=1e-5, abs=1e-5)


@settings(max_examples=50)
@given(st.randoms(use_true_random=False), SCALES, st.integers(2, 3))
def test_clear_clusters_do_not_depend_on_order_unit_or_place(random, scale, k):
    generator = np.random.default_rng(random.randrange(1000))
    points = (np.eye(k, 6)[np.arange(12) % k] * 20 + generator.normal(size=(12, 6))).astype(np.float32)
    order = list(range(12))
    random.shuffle(order)
    whole = np.ones(12, bool)
    first = virtual_neurons(points, whole, k, 0).labels
    assert adjusted_rand_score(first, np.arange(12) % k) == 1
    for other in (points[order] * np.float32(scale), points[order] + np.float32(7)):
        assert adjusted_rand_score(virtual_neurons(other, whole, k, 0).labels, first[order]) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused_and_those_left_out_do_not_matter(bad):
    points = np.random.default_rng(0).normal(size=(10, 3))
    points[4, 1] = bad
    with pytest.raises(ValueError, match="features must be finite"):
        virtual_neurons(points, np.ones(10, bool), 2, 0)
    present = np.arange(10) != 4
    found = virtual_neurons(points, present, 2, 0)
    alone = virtual_neurons(points[present], np.ones(9, bool), 2, 0)
    assert found.labels[4] == -1
    np.testing.assert_array_equal(found.labels[present], alone.labels)


@pytest.mark.parametrize("together", [1, 3, 64])
@pytest.mark.parametrize("threads", [1, 4])
def test_the_same_clusters_however_neurons_are_dealt_to_threads(monkeypatch, together, threads):
    generator = np.random.default_rng(0)
    points = [generator.normal(size=(30, 5)).astype(np.float32) for _ in range(20)]
    present = [np.arange(30) < count for count in generator.choice([0, 1, 2, 17, 30], 20)]
    expected = [[virtual_neurons(own, mask, k, 3) for k in (2, 4)] for own, mask in zip(points, present, strict=True)]
    monkeypatch.setattr(clusters, "TOGETHER", together)
    monkeypatch.setattr(clusters, "cores", lambda: threads)
    for alone, found in zip(expected, split_all(points, present, [2, 4], 3), strict=True):
        for one, other in zip(alone, found, strict=True):
            for field in ("labels", "sizes", "centroids", "silhouette", "distance"):
                np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


# --- features to the map, where they are too few for UMAP


@given(matrices(most=7))
def test_few_points_lie_on_their_principal_axes(points):
    assume(len(np.unique(points + 0.0, axis=0)) == len(points) > 1)
    found = project(points, seed=0)
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    axes = min(2, *points.shape)
    length = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(found[:, :axes], axis=0), length[:axes], rtol=1e-6, atol=1e-6)
    assert (pdist(found) <= pdist(centred) * (1 + 1e-9) + 1e-6).all()  # a projection brings nothing farther apart
    if len(length) < 3 or length[1] - length[2] > 1e-3 * length[0]:  # the plane is the only one
        theirs = PCA(axes).fit_transform(points.astype(np.float64))
        np.testing.assert_allclose(pdist(found), pdist(theirs), rtol=1e-5, atol=1e-5)


@given(matrices(most=7), SCALES)
def test_a_map_of_few_points_has_the_unit_of_the_features(points, scale):
    assume(np.abs(points).max() > 1 and len(np.unique(points + 0.0, axis=0)) > 1)
    np.testing.assert_allclose(
        project(points * np.float32(scale), 0), project(points, 0) * scale, rtol=1e-6, atol=1e-4 * scale
    )


@given(matrices(most=7))
def test_in_a_map_of_few_points_none_hides_another(points):
    found = project(points, seed=0)
    assert found.shape == (len(points), 2) and np.isfinite(found).all()
    if len(np.unique(points + 0.0, axis=0)) == 1:
        assert len(np.unique(found, axis=0)) == len(points)
    np.testing.assert_array_equal(found, project(points, seed=1))
