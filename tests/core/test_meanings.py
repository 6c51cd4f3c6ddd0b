"""How many meanings: Gaussian circuits with a known number of clusters, overlap and noise."""

import math

import numpy as np
import pytest
from sklearn.cluster import KMeans

from pure_cli.core.meanings import RULES, _by_bic, _by_gap, meanings


def circuits(count, apart, seed, n=100, dimensions=40, spread=1.0):
    """References of a neuron with so many meanings: clouds with a covariance as of circuits, some directions long."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(count, dimensions))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    scales = spread * np.exp(-np.arange(dimensions) / 8)
    return centres[np.arange(n) % count] + generator.normal(size=(n, dimensions)) * scales


def judged(points, rules=("gap",), seed=0, nulls=25):
    whole = [np.ones(len(one), bool) for one in points]
    return list(meanings(points, whole, seed, nulls, rules))


def test_one_cloud_is_hardly_ever_split():
    found = judged([circuits(1, 0, seed, n=60) for seed in range(60)], nulls=20)
    assert np.mean([one.k["gap"] > 1 for one in found]) <= 0.05
    assert np.mean([one.p <= 0.05 for one in found]) <= 0.12  # 5 %, and chance
    assert max(one.polysemanticity for one in found) < 0.1


@pytest.mark.parametrize("count", [2, 3, 4])
def test_clear_clusters_are_counted(count):
    found = judged([circuits(count, 6, seed) for seed in range(12)])
    assert np.mean([one.k["gap"] == count for one in found]) >= 0.9
    assert all(one.p <= 0.05 and one.polysemanticity > 0.15 for one in found)


def test_more_overlap_is_less_polysemantic():
    clouds = [[circuits(2, apart, seed, n=50) for seed in range(8)] for apart in (0.0, 2.0, 4.0, 8.0)]
    scores = [np.mean([one.polysemanticity for one in judged(own, nulls=20)]) for own in clouds]
    assert scores == sorted(scores)
    assert 0 <= scores[0] < 0.1 and 0.4 < scores[-1] <= 1


def test_a_long_cloud_is_no_two_meanings_although_its_silhouette_is_high():
    clouds = [np.random.default_rng(seed).normal(size=(100, 20)) * ([10.0] + [0.5] * 19) for seed in range(20)]
    found = judged(clouds, nulls=20)
    assert np.median([one.silhouette[0] for one in found]) > 0.5
    assert np.mean([one.k["gap"] > 1 for one in found]) <= 0.1
    assert np.mean([one.polysemanticity for one in found]) < 0.06


def test_a_few_odd_images_are_no_meaning():
    odd = circuits(1, 0, 0)
    odd[:2] += 30
    (found,) = judged([odd])
    assert found.silhouette[0] > 0.7 and found.polysemanticity < 0.15


def test_every_rule_finds_clear_clusters_and_none_where_there_are_none():
    clear, none = judged([circuits(3, 12, 0), circuits(1, 0, 1)], RULES)
    assert {rule: clear.k[rule] for rule in RULES} == dict.fromkeys(RULES, 3)
    assert {rule: none.k[rule] for rule in RULES} == dict.fromkeys(RULES, 1)


def test_what_cannot_be_judged_has_one_meaning():
    points = [np.zeros((20, 3)), np.ones((20, 3)), np.random.default_rng(0).normal(size=(5, 3)), np.zeros((0, 3))]
    for one in judged(points):
        assert (one.k["gap"], one.polysemanticity, one.p) == (1, 0, 1)


def test_a_neuron_is_judged_alike_whatever_others_there_are():
    points = [circuits(2, 4, seed) for seed in range(4)]
    whole = [np.ones(100, bool)] * 4
    together = list(meanings(points, whole, 0, 20, ["gap"]))
    (alone,) = meanings(points[2:3], whole[:1], 0, 20, ["gap"])
    assert (alone.polysemanticity, alone.p, alone.k) == (together[2].polysemanticity, together[2].p, together[2].k)


def test_references_that_do_not_excite_are_left_out():
    points = circuits(2, 6, 0)
    present = np.ones(120, bool)
    present[100:] = False
    (padded,) = meanings([np.concatenate([points, np.zeros((20, 40))])], [present], 0, 20, ["gap"])
    (plain,) = meanings([points], [np.ones(100, bool)], 0, 20, ["gap"])
    assert padded.polysemanticity == plain.polysemanticity


def test_the_gap_statistic_is_that_of_a_plain_loop():
    """Tibshirani et al. 2001, with scikit-learn's k-means, on the clouds that the code draws."""
    from sklearn.cluster import KMeans

    from pure_cli.core.kmeans import inner_products
    from pure_cli.core.meanings import _by_gap, _clouds, _within

    points = circuits(2, 4, 3, n=40)
    clouds = _clouds(inner_products(points), 5, np.random.default_rng(0))
    expected = np.zeros((5, 6))
    for column, cloud in enumerate([points, *clouds]):
        expected[0, column] = ((cloud - cloud.mean(axis=0)) ** 2).sum()
        for k in range(2, 6):
            expected[k - 1, column] = KMeans(k, n_init=10, random_state=0).fit(cloud).inertia_
    labels = KMeans(2, n_init=10, random_state=0).fit_predict(points)
    np.testing.assert_allclose(_within(inner_products(points)[None], labels[None]), expected[1, :1])
    logs = np.log(expected)
    gap, error = logs[:, 1:].mean(axis=1) - logs[:, 0], logs[:, 1:].std(axis=1) * np.sqrt(1 + 1 / 5)
    first = next((k for k in range(4) if gap[k] >= gap[k + 1] - error[k + 1]), 4) + 1
    assert _by_gap(expected) == first
    own = np.cov(points.T)
    drawn = np.mean([np.trace(np.cov(cloud.T)) for cloud in clouds])
    assert drawn == pytest.approx(np.trace(own), rel=0.3)


def test_wrong_settings_are_told():
    points, whole = [circuits(1, 0, 0)], [np.ones(100, bool)]
    with pytest.raises(ValueError, match="at least one null, got 0"):
        list(meanings(points, whole, 0, 0, ["gap"]))
    with pytest.raises(ValueError, match=r"unknown rules \{'elbow'\}"):
        list(meanings(points, whole, 0, 5, ["gap", "elbow"]))


def test_strength_of_a_split_written_out():
    """Tibshirani and Walther 2005, with scikit-learn: pairs of a test cluster that the training centroids keep."""
    from sklearn.cluster import KMeans

    from pure_cli.core.kmeans import inner_products
    from pure_cli.core.meanings import _strength

    found = []
    for seed in range(12):
        points = circuits(3, 1.5, seed, n=60)
        order = np.random.default_rng(seed).permutation(60)
        train, test = order[:30], order[30:]
        model = KMeans(3, n_init=10, random_state=0).fit(points[train])
        theirs, predicted = KMeans(3, n_init=10, random_state=0).fit_predict(points[test]), model.predict(points[test])
        each = []
        for cluster in range(3):
            own = np.flatnonzero(theirs == cluster)
            pairs = [predicted[i] == predicted[j] for i in own for j in own if i != j]
            each.append(np.mean(pairs) if pairs else 0.0)
        found.append(_strength(inner_products(points), train, test, model.labels_, theirs, 3))
        assert found[-1] == pytest.approx(min(each))
    assert len(set(found)) > 5


def test_a_split_into_single_references_has_no_strength():
    from pure_cli.core.kmeans import inner_products
    from pure_cli.core.meanings import _strength

    points = np.array([[0.0], [0.1], [0.2], [9], [0], [0.1], [0.2], [9]])
    clusters = np.array([0, 0, 0, 1])
    assert _strength(inner_products(points), np.arange(4), np.arange(4, 8), clusters, clusters, 2) == 0


def test_many_clusters_of_few_references_are_not_halved():
    """Of eight references the halves have four each, too few for four or five clusters."""
    points = np.repeat(np.eye(2, 4) * 50, 4, axis=0) + np.random.default_rng(0).normal(size=(8, 4))
    (found,) = judged([points], ("prediction-strength",))
    assert found.k["prediction-strength"] in (1, 2)


def test_the_gap_rule_is_tibshiranis_with_few_null_sets_too():
    generator = np.random.default_rng(0)
    for _ in range(300):
        within = np.exp(generator.normal(size=(5, 3)) / 4)  # k = 1 … 5; the neuron and two null sets
        gap, error = [], []
        for row in np.log(within):
            null = row[1:]
            gap.append(null.mean() - row[0])
            error.append(math.sqrt(((null - null.mean()) ** 2).mean()) * math.sqrt(1 + 1 / len(null)))
        k = next((k for k in range(1, 5) if gap[k - 1] >= gap[k] - error[k]), 5)
        assert _by_gap(within) == k


def test_bic_is_that_of_gaussians_of_one_variance_written_out():
    generator = np.random.default_rng(1)
    chosen = []
    for trial in range(40):
        count, d, gap = int(generator.integers(1, 4)), int(generator.integers(1, 5)), generator.uniform(1, 5)
        middle = generator.normal(size=(count, d)) * gap
        points = np.concatenate([generator.normal(size=(8, d)) + m for m in middle])
        points -= points.mean(axis=0)
        bic = []
        for k in (1, 2, 3, 4):
            labels = KMeans(k, n_init=20, random_state=0).fit(points).labels_
            n, sizes = len(points), np.bincount(labels)
            squares = sum(((points[labels == c] - points[labels == c].mean(axis=0)) ** 2).sum() for c in range(k))
            variance = squares / (d * (n - k))
            likelihood = sum(size * math.log(size / n) for size in sizes)
            likelihood += -n * d / 2 * math.log(2 * math.pi * variance) - d * (n - k) / 2
            bic.append(k * (d + 1) * math.log(n) - 2 * likelihood)
        ours = _by_bic(points @ points.T, [2, 3, 4], 0)
        assert ours == np.argmin(bic) + 1 or bic[ours - 1] - min(bic) < 0.5, trial  # another local optimum of k-means
        chosen.append(ours)
    assert set(chosen) >= {1, 2, 3}
