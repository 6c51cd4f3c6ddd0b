"""Means, errors and paired differences against scipy."""

import numpy as np
import pytest
from scipy import stats

from pure_cli.core.metrics import statistics
from pure_cli.core.metrics.statistics import (
    area_under_curve,
    clearly_positive,
    mean_and_error,
    paired_difference,
    shared_area,
    shared_mean,
)

pytestmark = pytest.mark.filterwarnings("error")


def test_mean_and_error_equal_scipy_without_what_is_not_a_number():
    values = np.random.default_rng(0).normal(size=40).astype(np.float32)
    values[[3, 17]] = np.nan
    known = values[~np.isnan(values)].astype(np.float64)
    assert mean_and_error(values) == pytest.approx((known.mean(), stats.sem(known)))
    assert mean_and_error(np.array([1, 2, 3])) == pytest.approx((2, 1 / np.sqrt(3)))


def test_mean_and_error_of_few_values():
    assert np.isnan(mean_and_error(np.empty(0))).all()
    assert np.isnan(mean_and_error(np.full(3, np.nan))).all()
    mean, error = mean_and_error(np.array([np.nan, 4]))
    assert mean == 4
    assert np.isnan(error)
    assert mean_and_error(np.full(5, 0.5)) == (0.5, 0)


@pytest.mark.parametrize("n", [12, 300])
def test_interval_is_near_that_of_scipy_and_of_the_normal_distribution(n):
    generator = np.random.default_rng(n)
    b = generator.normal(size=n)
    a = b + generator.normal(0.3, 1, n)
    found = paired_difference(a, b, seed=0)
    theirs = stats.bootstrap((a - b,), np.mean, method="percentile", random_state=1, n_resamples=10_000)
    error = stats.sem(a - b)
    assert found.mean == pytest.approx((a - b).mean())
    low, high = theirs.confidence_interval
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06 * error + 1e-12)
    if n > 100:
        assert (found.low, found.high) == pytest.approx(
            ((a - b).mean() - 1.96 * error, (a - b).mean() + 1.96 * error), abs=0.15 * error
        )
    assert found.p == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert found.n == n
    assert found.wins == np.mean(a > b)
    narrow = paired_difference(a, b, seed=0, level=0.5)
    assert found.low < narrow.low < narrow.high < found.high


def test_same_seed_same_interval_in_blocks_or_not(monkeypatch):
    a, b = np.random.default_rng(1).normal(size=(2, 30))
    found = paired_difference(a, b, seed=3)
    assert found == paired_difference(a, b, seed=3)
    assert found.low != paired_difference(a, b, seed=4).low
    monkeypatch.setattr(statistics, "BLOCK", 1000)
    assert found == paired_difference(a, b, seed=3)


def test_wilcoxon_by_hand():
    """All three differences positive: of the eight signs, all plus and all minus are as extreme."""
    found = paired_difference(np.array([2.0, 4, 7]), np.array([1.0, 2, 3]), seed=0)
    assert found.p == pytest.approx(2 / 8)
    assert found.wins == 1
    assert 1 <= found.low <= found.high <= 4


def test_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        a = generator.normal(0.5, 1, 50)
        found = paired_difference(a, np.zeros(50), trial, level=0.9, samples=400)
        covered += found.low <= 0.5 <= found.high
    assert 165 <= covered <= 195


def test_neurons_without_a_value_are_left_out_and_draws_count_for_neither():
    a, b = np.array([1.0, np.nan, 2, 5, 5]), np.array([0.0, 1, np.nan, 5, 7])
    found = paired_difference(a, b, seed=0)
    assert (found.n, found.wins) == (3, 1 / 3)
    assert found.mean == pytest.approx(-1 / 3)
    assert found.p == 1


def test_equal_methods_and_too_few_neurons():
    same = paired_difference(np.arange(5.0), np.arange(5.0), seed=0)
    assert (same.mean, same.low, same.high, same.wins, same.p) == (0, 0, 0, 0, 1)
    one = paired_difference(np.array([3.0]), np.array([1.0]), seed=0)
    assert (one.mean, one.wins, one.n) == (2, 1, 1)
    assert np.isnan(one.p)
    assert np.isnan([one.low, one.high]).all()
    none = paired_difference(np.array([np.nan]), np.array([1.0]), seed=0)
    assert none.n == 0
    assert np.isnan([none.mean, none.low, none.high, none.wins, none.p]).all()


def test_values_of_different_neurons_are_refused():
    with pytest.raises(ValueError, match="expected a value of each neuron"):
        paired_difference(np.zeros(3), np.zeros(4), 0)


def test_a_shared_mean_treats_what_shares_parts_as_one():
    values = np.array([0.0, 0.0, 1.0, 1.0, np.nan])
    alone = shared_mean(values, [(i,) for i in range(5)], 0)
    together = shared_mean(values, [(0,), (0,), (1,), (1,), (2,)], 0)
    assert alone.mean == together.mean == 0.5 and alone.n == together.n == 4
    assert (together.low, together.high) == (0.0, 1.0)  # two parts: any sample may be one of them twice
    assert together.high - together.low >= alone.high - alone.low
    single = shared_mean(np.array([1.0, 2.0]), [(3,), (3,)], 0)
    assert single.mean == 1.5 and np.isnan(single.low)
    assert np.isnan(shared_mean(np.array([np.nan]), [(0,)], 0).mean)


@pytest.mark.parametrize(("count", "shown"), [(1, False), (2, False), (3, True)])
def test_an_interval_is_made_from_three_units_or_more(count, shown):
    values, parts = np.arange(count) / 3, [(2 * i, 2 * i + 1) for i in range(count)]
    found = shared_mean(values, parts, 0)
    assert found.mean == pytest.approx(values.mean()) and found.n == count
    assert np.isfinite([found.low, found.high]).tolist() == [shown, shown]
    score, positive = np.arange(2.0 * count), np.arange(2 * count) < count
    area, ahead = shared_area([score], positive, [(i,) for i in range(2 * count)], 0)
    assert (area.mean, ahead.mean) == (0, 0) and np.isfinite([area.low, ahead.high]).tolist() == [shown, shown]


def test_the_interval_of_a_shared_mean_covers_the_truth_where_pairs_share_classes():
    from itertools import combinations

    generator, pairs, covered = np.random.default_rng(0), list(combinations(range(10), 2)), 0
    for seed in range(200):
        classes = generator.normal(size=10)
        values = np.array([classes[a] + classes[b] for a, b in pairs]) + 0.1 * generator.normal(size=45)
        found = shared_mean(values, pairs, seed, samples=300)
        covered += found.low <= 0 <= found.high
    assert covered / 200 >= 0.85  # 95 % but for ten classes; as if pairs were independent it is half of the time


def test_areas_are_scikit_learns():
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    positive = generator.random(60) < 0.4
    score = np.round(generator.normal(size=60) + positive, 1)  # with ties
    assert area_under_curve(score, positive) == pytest.approx(roc_auc_score(positive, score))
    assert np.isnan(area_under_curve(score, np.zeros(60, bool)))
    other = generator.normal(size=60)
    first, nothing, second, ahead = shared_area(
        [other, score], positive, [(i // 2,) for i in range(60)], 0, samples=200
    )
    assert (nothing.mean, nothing.low, nothing.high) == (0, 0, 0)
    assert ahead.mean == pytest.approx(second.mean - first.mean)
    assert ahead.low < ahead.mean < ahead.high and second.low < second.mean < second.high <= 1


def test_intervals_are_those_of_a_loop_over_samples():
    """Each thing as often as all of its parts were drawn."""
    generator = np.random.default_rng(3)
    values, score, positive = generator.normal(size=8), generator.normal(size=8), np.arange(8) % 2 == 0
    parts = [(i % 5, (i + 1 + i // 5) % 5) for i in range(8)]
    means, areas = [], []
    for drawn in np.random.default_rng(7).multinomial(5, np.full(5, 1 / 5), 300):
        own = [i for i, (a, b) in enumerate(parts) for _ in range(drawn[a] * drawn[b])]
        means += [values[own].mean()] if own else []
        both = positive[own].any() and not positive[own].all()
        areas += [area_under_curve(score[own], positive[own])] if both else []
    found = shared_mean(values, parts, 7, level=0.8, samples=300)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.1, 0.9])))
    assert len(means) < 300  # some samples hold nothing
    area, _ = shared_area([score], positive, parts, 7, level=0.8, samples=300)
    assert (area.low, area.high) == pytest.approx(tuple(np.quantile(areas, [0.1, 0.9])))


def test_means_are_clearly_positive_beyond_two_errors():
    found = clearly_positive(np.array([1.0, 1, 0.1, 0, -1]), np.array([0.4, 0.6, np.nan, np.nan, 0.1]))
    assert found.tolist() == [True, False, True, False, False]
