"""What sets virtual neurons apart, and which references stand for all."""

import numpy as np
import pytest

from pure_cli.core.contrast import differences, mixed, shares


def test_a_difference_is_the_mean_less_that_of_all_references_of_the_siblings():
    points, labels = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 5 % 3
    means = np.array([points[labels == label].mean(axis=0) for label in range(3)])
    found = differences(means, np.bincount(labels))
    for label in range(3):
        for channel in range(4):
            own = [float(p[channel]) for p, q in zip(points, labels, strict=True) if q == label]
            rest = [float(p[channel]) for p, q in zip(points, labels, strict=True) if q != label]
            assert found[label, channel] == pytest.approx(sum(own) / len(own) - sum(rest) / len(rest))
    assert not differences(means[:1], np.array([10])).any()
    np.testing.assert_allclose(shares(np.array([1.0, -3.0])), [0.25, 0.75])
    assert shares(np.zeros(2)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("labels", "count", "expected"),
    [
        ([0] * 9 + [1], 4, [0, 1, 2, 9]),  # one at least
        ([0, 0, 0, 0, 1, 1, 1, 1], 4, [0, 1, 4, 5]),
        ([1, 0, 0, -1, 0, 0, 0, 1], 4, [0, 1, 2, 4]),  # 5 and 2: three of the one, one of the other
        ([0, 1, 2, 3, 0], 2, [0, 1]),
        ([0, 1], 8, [0, 1]),
        ([-1, -1, -1], 2, [0, 1]),
        ([], 2, []),
    ],
)
def test_references_that_stand_for_all_are_of_each_virtual_neuron_by_its_share(labels, count, expected):
    assert mixed(np.array(labels, int), count).tolist() == expected
