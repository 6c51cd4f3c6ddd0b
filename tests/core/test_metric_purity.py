"""Purity and entropy of units, against numbers by hand and plain loops."""

import numpy as np

from pure_cli.core.metrics.purity import by_chance, entropies, purities

CLASSES = np.array([[0, 0, 1, 1], [2, 2, 2, -1], [0, 1, 2, 3], [-1, -1, -1, -1]])


def test_purity_and_entropy_by_hand():
    np.testing.assert_allclose(purities(CLASSES), [1 / 2, 1, 1 / 4, np.nan])
    np.testing.assert_allclose(entropies(CLASSES), [1, 0, 2, np.nan])


def test_chance_is_that_of_labels_dealt_anew_to_units_of_the_same_sizes():
    classes = np.where(np.arange(60)[None] < np.array([60, 6, 6])[:, None], [[0] * 30 + [1] * 30], -1)
    g = np.random.default_rng(0)
    drawn = [g.permutation(classes[classes >= 0]) for _ in range(400)]
    expected = np.mean([[np.bincount(part).max() / len(part) for part in np.split(one, [60, 66])] for one in drawn], 0)
    found = by_chance(classes, 400, 1)
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert found[1] > found[0]  # fewer images are purer by chance
