"""What pixels tell of images, and groups of images by vectors."""

import numpy as np
import pytest
import torch

from pure_cli.core.looks import class_distances, looks, parts_of_classes, standardised


def test_looks_are_mean_colours_and_steps_between_neighbours():
    images = torch.randint(0, 256, (3, 3, 5, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for image, found in zip(images.numpy().astype(float), looks(images), strict=True):
        grey, steps = image.mean(axis=0), []
        for y in range(5):
            for x in range(4):
                steps += [abs(grey[y, x] - grey[y + 1, x])] if y < 4 else []
                steps += [abs(grey[y, x] - grey[y, x + 1])] if x < 3 else []
        np.testing.assert_allclose(found, [*image.mean(axis=(1, 2)), np.mean(steps)])


def test_an_image_of_one_pixel_has_no_edges():
    np.testing.assert_array_equal(looks(torch.full((1, 3, 1, 1), 9, dtype=torch.uint8)), [[9, 9, 9, 0]])


def test_constant_columns_stay_zero():
    found = standardised(np.array([[1.0, 3.0], [3.0, 3.0]]))
    np.testing.assert_array_equal(found, [[-1, 0], [1, 0]])


def test_classes_are_apart_in_parts_of_their_own_spread():
    vectors = np.array([[0.0], [2.0], [10.0], [12.0], [4.0], [6.0]])
    labels = np.array([3, 3, 5, 5, 9, 9])
    np.testing.assert_allclose(class_distances(vectors, labels, np.array([3, 5, 9])),
                               [[0, 10, 4], [10, 0, 6], [4, 6, 0]])  # fmt: skip


def test_parts_lie_within_their_class_and_follow_the_vectors():
    generator = np.random.default_rng(0)
    part, labels = np.arange(120) % 3, np.repeat([0, 4, -1], 40)
    vectors = np.eye(3)[part] * 9 + generator.normal(size=(120, 3)) * 0.1
    found = parts_of_classes(vectors, labels, 3, 0)
    assert (found[80:] == -1).all()
    for one in (0, 4):
        own = labels == one
        assert set(found[own].tolist()) == {one * 3, one * 3 + 1, one * 3 + 2}
        assert len(set(zip(part[own].tolist(), found[own].tolist(), strict=True))) == 3


@pytest.mark.parametrize("few", [1, 2])
def test_classes_with_fewer_images_than_parts_have_none(few):
    assert (parts_of_classes(np.zeros((few, 2)), np.zeros(few, int), 3, 0) == -1).all()
