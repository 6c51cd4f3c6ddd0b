"""What stands out among the members of a group."""

import numpy as np
import pytest

from pure_cli.core.outliers import far_from_mean, of_another_class


def test_a_point_beyond_the_outer_fence_and_no_other():
    points = np.array([[-1.0], [-2], [-3], [-4], [1], [2], [3], [4], [40]])
    mean = 40 / 9
    distance = np.abs(points[:, 0] - mean)
    low, middle, high = np.quantile(distance, [0.25, 0.5, 0.75])
    assert distance[8] > high + 3 * (high - low) > distance[:8].max()
    found = far_from_mean(points)
    assert np.isnan(found[:8]).all() and found[8] == pytest.approx(distance[8] / middle)


def test_clouds_have_few_and_copies_of_one_point_none():
    cloud = np.random.default_rng(0).normal(size=(200, 20))
    assert np.isnan(far_from_mean(cloud)).all()
    same = np.tile(np.float32([0.1, 0.7, 1e-3]), (20, 1))
    same[3] += 1e-8
    assert np.isnan(far_from_mean(same)).all()
    same[3] += 1
    assert far_from_mean(same)[3] > 1 and np.isnan(np.delete(far_from_mean(same), 3)).all()


def test_few_members_tell_nothing():
    assert np.isnan(far_from_mean(np.array([[0.0]] * 6 + [[100.0]]))).all()
    assert far_from_mean(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize(
    ("classes", "other", "common"),
    [
        ([2] * 9 + [1], [False] * 9 + [True], 2),
        ([2] * 8 + [1, 1], [False] * 10, 2),  # not nearly all
        ([2] * 9 + [-1], [False] * 10, 2),  # nobody knows of what class it is
        ([-1, -1], [False, False], -1),
    ],
)
def test_members_of_another_class_than_nearly_all(classes, other, common):
    found = of_another_class(np.array(classes))
    assert found[0].tolist() == other and found[1] == common
