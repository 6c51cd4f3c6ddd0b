"""Other seeds and other references, against plain loops with scikit-learn."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from pure_cli.core.metrics.statistics import paired_difference
from pure_cli.core.reseeds import KEPT, LEAD, SAMPLES, TURNS, is_ahead, kept_references, noise_of, split_again

SEED = 3


def cloud(seed: int, n: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4))


def turns_of(present: np.ndarray, neuron: int) -> np.ndarray:
    return np.stack([kept_references(present, SEED, turn, neuron) for turn in range(TURNS)])


def test_a_turn_keeps_four_fifths_of_what_excites_and_another_turn_others():
    present = np.arange(50) < 40
    kept = turns_of(present, 7)
    assert (kept.sum(axis=1) == round(KEPT * 40)).all() and not kept[:, 40:].any()
    assert len({tuple(turn) for turn in kept}) == TURNS
    np.testing.assert_array_equal(kept, turns_of(present, 7))


@pytest.mark.parametrize("k", [2, 3])
def test_noise_is_what_a_plain_loop_over_seeds_gives(k):
    neurons = [cloud(i, 40 if i < 4 else 30) for i in range(6)]
    present = [np.arange(len(points)) % 7 > 0 for points in neurons]
    classes = [np.random.default_rng(i).integers(0, 3, len(points)) for i, points in enumerate(neurons)]
    means = []
    for turn in range(TURNS):
        values = []
        for i, points in enumerate(neurons):
            kept = kept_references(present[i], SEED, turn, i)
            found = KMeans(k, n_init=10, random_state=SEED + 1 + turn).fit(points[kept]).labels_
            values.append(adjusted_rand_score(classes[i][kept], found))
        means.append(np.mean(values))
    expected = np.std(means, ddof=1) * np.sqrt(KEPT / (1 - KEPT))

    longest = [np.pad(points, ((0, 40 - len(points)), (0, 0))) for points in neurons]
    kept = [turns_of(np.pad(mask, (0, 40 - len(mask))), i) for i, mask in enumerate(present)]
    for i, mask in enumerate(present):  # the draws are of the references that excite, wherever the array ends
        np.testing.assert_array_equal(kept[i][:, : len(mask)], turns_of(mask, i))
    labels = split_again(longest, kept, [k], SEED)[k]
    assert ((labels >= 0) == np.stack(kept, axis=1)).all()
    turns = np.array(
        [
            [
                adjusted_rand_score(classes[i][: len(own)][own >= 0], own[own >= 0])
                for i, own in enumerate(turn[i][: len(classes[i])] for i in range(6))
            ]
            for turn in labels
        ]
    )
    assert noise_of(turns) == pytest.approx(expected, rel=1e-9) and expected > 0


def test_noise_leaves_out_neurons_without_a_value_in_some_turn():
    turns = np.array([[1.0, 5.0], [2.0, np.nan], [3.0, 6.0]])
    assert noise_of(turns, 1) == pytest.approx(1)
    assert np.isnan(noise_of(np.full((3, 2), np.nan)))


@pytest.mark.parametrize(("lead", "noise", "ahead"), [(1, 0, True), (1, 0.3, True), (1, 0.6, False), (0.1, 0, False)])
def test_ahead_by_more_than_interval_and_noise_together(lead, noise, ahead):
    b = np.random.default_rng(0).normal(size=60)
    a = b + lead + np.random.default_rng(1).normal(size=60)
    assert is_ahead(a, b, noise, 0) == ahead
    found = paired_difference(a, b, 0, samples=SAMPLES)
    assert ahead == (found.mean > np.hypot(found.mean - found.low, LEAD * noise))
    assert not is_ahead(b, a, noise, 0)


def test_nothing_is_ahead_of_itself_nor_with_two_neurons():
    values = np.array([0.1, 0.5, 0.9])
    assert not is_ahead(values, values, np.nan, 0)
    assert not is_ahead(values[:2] + 1, values[:2], np.nan, 0)
