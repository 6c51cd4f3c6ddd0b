"""How well a unit's activation tells which images have a concept, against scikit-learn and plain loops."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import average_precision_score, f1_score

from pure_cli.core.metrics import detection
from pure_cli.core.metrics.detection import Ranking


@pytest.fixture
def drawn():
    random = np.random.default_rng(4)
    activation = random.integers(0, 30, 200).astype(np.float32)  # many are equal
    truth = (random.random((200, 3)) < [0.1, 0.5, 0.02]) | (activation[:, None] > 25)
    return activation, truth.astype(np.float64)


def test_average_precision_is_that_of_scikit_learn_with_equal_activations(drawn):
    activation, truth = drawn
    found = detection.average_precision(Ranking.of(activation), truth)
    np.testing.assert_allclose(found, [average_precision_score(own, activation) for own in truth.T], rtol=1e-12)


def test_average_precision_of_a_probability_is_that_of_an_image_with_and_one_without():
    random = np.random.default_rng(0)
    activation, presence = random.integers(0, 9, 50).astype(float), random.random(50)
    expected = average_precision_score(
        np.repeat([1, 0], 50), np.tile(activation, 2), sample_weight=np.concatenate([presence, 1 - presence])
    )
    assert detection.average_precision(Ranking.of(activation), presence) == pytest.approx(expected, rel=1e-12)


def test_average_precision_with_weights_is_that_of_images_that_come_again(drawn):
    activation, truth = drawn
    times = np.random.default_rng(1).integers(0, 4, len(activation))
    again = np.repeat(np.arange(len(activation)), times)
    expected = average_precision_score(truth[again, 0], activation[again])
    found = detection.average_precision(Ranking.of(activation), truth[:, 0], times)
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_concept_in_no_image_has_no_average_precision_and_no_f1():
    activation, none = np.arange(5.0), np.zeros((5, 1))
    assert np.isnan(detection.average_precision(Ranking.of(activation), none)).all()
    assert np.isnan(detection.f1(activation, none, np.array([1.0]))).all()


def test_chance_is_about_the_mean_presence():
    random = np.random.default_rng(2)
    activation, presence = random.random(4000), (random.random(4000) < 0.2).astype(float)
    found = detection.by_chance(Ranking.of(activation), presence, 50, seed=0)
    assert found.shape == (50,) and abs(found.mean() - presence.mean()) < 0.01


def test_threshold_and_f1_are_the_best_of_a_loop(drawn):
    activation, truth = drawn
    scores = {t: f1_score(truth[:, 1], activation >= t) for t in np.unique(activation)}
    (threshold,) = detection.best_threshold(activation, truth[:, 1:2])
    assert scores[threshold] == max(scores.values())
    (found,) = detection.f1(activation, truth[:, 1:2], np.array([threshold]))
    assert found == pytest.approx(scores[threshold], rel=1e-12)


def test_correlation_is_pearsons_and_nan_for_a_constant(drawn):
    activation, truth = drawn
    truth = np.column_stack([truth, np.ones(len(truth))])
    both = np.column_stack([activation, -activation, np.zeros(len(truth))])
    found = detection.correlations(both, truth)
    np.testing.assert_allclose(found[0, :3], [pearsonr(activation, own)[0] for own in truth.T[:3]], rtol=1e-6)
    np.testing.assert_allclose(found[1, :3], -found[0, :3])
    assert np.isnan(found[:, 3]).all() and np.isnan(found[2]).all()


def test_presence_of_either_of_two():
    np.testing.assert_allclose(detection.union(np.array([0, 1, 0.5, 0]), np.array([0, 0.3, 0.5, 1])), [0, 1, 0.75, 1])


def test_skill_is_nothing_by_chance_however_many_images_have_the_concept():
    random = np.random.default_rng(6)
    activation, presence = random.random(20_000), random.random((20_000, 3)) < [0.1, 0.5, 0.9]
    assert np.abs(detection.skill(Ranking.of(activation), presence.astype(float))).max() < 0.05
    both = np.stack([activation, activation > 0.7], axis=1)[:, 1:].astype(float)
    assert detection.skill(Ranking.of(activation), both) == pytest.approx(1)
    times = random.integers(0, 3, len(activation))
    again = np.repeat(np.arange(len(activation)), times)
    expected = detection.skill(Ranking.of(activation[again]), presence[again, 0].astype(float))
    assert detection.skill(Ranking.of(activation), presence[:, 0].astype(float), times) == pytest.approx(expected)


def test_gain_is_clear_for_a_missing_half_and_none_for_noise():
    random = np.random.default_rng(3)
    first, second, other = (random.random((3, 2000)) < 0.1).astype(float)
    activation = detection.union(first, second) + 0.1 * random.random(2000)
    more, error = detection.gain(activation, first, detection.union(first, second), 50, seed=0)
    assert more > 10 * error > 0
    less, error = detection.gain(activation, first, detection.union(first, other), 50, seed=0)
    assert less < 2 * error


FREQUENCY = 0.1


@pytest.mark.parametrize(
    ("labels", "precision", "r", "score"),
    [("all", 1, 1, 1), ("half", 0.5, 0.688, 2 / 3), ("twice", 0.5 + 0.5 * 2 * FREQUENCY, 0.667, 2 / 3)],
)
def test_missing_and_extra_labels_cost_what_theory_says(labels, precision, r, score):
    """The checks of arXiv 2506.05774, which plain AUC and recall fail: a unit that is its concept, half of whose labels
    are missing, or that has as many again at random."""
    random, count = np.random.default_rng(5), 200_000
    unit = (random.random(count) < FREQUENCY).astype(float)
    extra = random.random(count) < FREQUENCY / (1 - FREQUENCY)
    said = {"all": unit, "half": unit * (random.random(count) < 0.5), "twice": np.maximum(unit, extra)}[labels]
    assert detection.average_precision(Ranking.of(unit), said) == pytest.approx(precision, abs=0.01)
    assert detection.correlations(unit[:, None], said[:, None])[0, 0] == pytest.approx(r, abs=0.01)
    assert detection.f1(unit, said[:, None], np.array([0.5]))[0] == pytest.approx(score, abs=0.01)
