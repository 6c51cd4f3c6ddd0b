"""The map of the references: UMAP where it can be had, something to look at where it cannot."""

import warnings

import numpy as np
import pytest

from pure_cli.core.projection import project


def two_clusters(n=60, dimensions=12):
    features = np.random.default_rng(0).normal(size=(n, dimensions)).astype(np.float32)
    features[: n // 2] += 6
    return features


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def test_it_is_umap_with_the_papers_settings():
    from umap import UMAP

    features = two_clusters()
    found = project(features, seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = UMAP(n_neighbors=6, min_dist=0.3, random_state=3).fit_transform(features)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_same_seed_same_map_and_the_clusters_come_apart():
    features = two_clusters()
    points = project(features, seed=0)
    np.testing.assert_array_equal(points, project(features, seed=0))
    assert not np.array_equal(points, project(features, seed=1))
    apart = distances(points)
    assert apart[:30, 30:].min() > np.median(apart[:30, :30])


def random(n, dimensions=8, scale=1.0):
    return np.random.default_rng(n).normal(size=(n, dimensions)) * scale


ODD = {
    **{f"{n} points": random(n) for n in range(1, 11)},
    "one dimension": random(20, 1),
    "no dimension": np.zeros((5, 0)),
    "two values": np.repeat(random(2), 25, axis=0),
    "three values of four": np.repeat(random(3), 4, axis=0),
    "two values of five points": random(2)[[0, 0, 0, 1, 1]],
    "pairs": np.repeat(random(50), 2, axis=0),
    "equally far from each other": np.eye(60),
    "some equal, far from the others": np.concatenate([random(60) + 9, np.zeros((12, 8))]),
    "mostly constant": np.concatenate([np.ones((30, 8)), random(1)]),
    "tiny": random(20, scale=1e-30),
    "huge": random(20, scale=1e30),
    "beyond all": random(20, scale=1e307),
    "not finite": np.where(random(20) > 1, np.nan, np.where(random(20) < -1, np.inf, 0.0)),
    "half": random(20).astype(np.float16),
    "integers": (random(20) * 10).astype(np.int64),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_features_give_finite_distinct_points_in_silence(name, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = project(ODD[name], seed=0)
    assert points.shape == (len(ODD[name]), 2)
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == len(points)
    np.testing.assert_array_equal(points, project(ODD[name], seed=0))
    assert capfd.readouterr() == ("", "")


def test_no_points_give_an_empty_map():
    assert project(np.zeros((0, 4)), seed=0).shape == (0, 2)


@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 3])
def test_equal_points_are_spread_evenly_over_a_disc(value):
    points = project(np.full((40, 5), value), seed=0)
    assert np.linalg.norm(points, axis=1).max() <= 1 + 1e-9
    apart = distances(points)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 1 / np.sqrt(40) * 0.8


def test_few_points_keep_their_distances_when_they_lie_in_a_plane():
    plane = random(6, 2)
    lifted = plane @ np.linalg.qr(random(9, 9))[0][:2]
    np.testing.assert_allclose(distances(project(lifted, seed=0)), distances(plane), atol=1e-9)


def test_failure_inside_umap_falls_back_to_the_principal_axes(monkeypatch):
    import umap

    def broken(self, features):
        raise TypeError("k >= N")

    monkeypatch.setattr(umap.UMAP, "fit_transform", broken)
    plane = random(12, 2)
    np.testing.assert_allclose(distances(project(plane, seed=0)), distances(plane), atol=1e-9)


def test_scipy_is_left_as_it_was(monkeypatch):
    import umap
    from scipy.sparse import linalg

    before = linalg.eigsh
    project(two_clusters(20), seed=0)
    assert linalg.eigsh is before

    def broken(self, features):
        raise ValueError

    monkeypatch.setattr(umap.UMAP, "fit_transform", broken)
    project(two_clusters(20), seed=0)
    assert linalg.eigsh is before


def test_a_disk_that_takes_no_compiled_code_makes_no_difference(monkeypatch):
    import umap

    expected, fit, failures = project(two_clusters(20), seed=0), umap.UMAP.fit_transform, [OSError(28, "full")] * 3

    def failing(self, features):
        if failures:
            raise failures.pop()
        return fit(self, features)

    monkeypatch.setattr(umap.UMAP, "fit_transform", failing)
    np.testing.assert_array_equal(project(two_clusters(20), seed=0), expected)
    assert not failures


def test_the_next_process_finds_what_was_slow_to_compile():
    from umap import umap_, utils

    project(two_clusters(20), seed=0)
    for function in (utils.fast_knn_indices, umap_.smooth_knn_dist, umap_.compute_membership_strengths):
        stats = function.stats
        assert stats.cache_path and (stats.cache_hits or stats.cache_misses)
