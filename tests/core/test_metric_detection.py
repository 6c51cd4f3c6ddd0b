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
    found = detection.correlation(activation, truth)
    np.testing.assert_allclose(found[:3], [pearsonr(activation, own)[0] for own in truth.T[:3]], rtol=1e-6)
    assert np.isnan(found[3])


def test_presence_of_either_of_two():
    np.testing.assert_allclose(detection.union(np.array([0, 1, 0.5, 0]), np.array([0, 0.3, 0.5, 1])), [0, 1, 0.75, 1])


def test_gain_is_clear_for_a_missing_half_and_none_for_noise():
    random = np.random.default_rng(3)
    first, second, other = (random.random((3, 2000)) < 0.1).astype(float)
    activation = detection.union(first, second) + 0.1 * random.random(2000)
    more, error = detection.gain(activation, first, detection.union(first, second), 50, seed=0)
    assert more > 10 * error > 0
    less, error = detection.gain(activation, first, detection.union(first, other), 50, seed=0)
    assert less < 2 * error


@pytest.mark.parametrize(("share", "better"), [(1.0, True), (0.3, False), (3.0, False)])
def test_a_label_for_less_or_more_than_the_concept_scores_lower(share, better):
    """The checks for missing and extra labels that plain AUC and recall fail (arXiv 2506.05774)."""
    random = np.random.default_rng(5)
    concept = random.random(5000) < 0.1
    activation = concept + 0.2 * random.random(5000)
    said = concept & (random.random(5000) < share) if share < 1 else concept | (random.random(5000) < 0.1 * (share - 1))
    ranking = Ranking.of(activation)
    whole, found = detection.average_precision(ranking, np.stack([concept, said], axis=1).astype(float))
    assert (found == whole) if better else (found < whole - 0.2)
