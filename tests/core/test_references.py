"""Scores of neurons over space, against plain loops, and what is told of their best images."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pure_cli.core.references import NO_POSITION, TopImages, scrambled, spatial_score


def by_hash(index):
    """SplitMix64's finaliser, with Python's integers."""
    mixed = (index + 0x9E3779B97F4A7C15) % 2**64
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
    return mixed ^ (mixed >> 31)


def test_references_that_share_their_score_are_counted_where_they_excite():
    scores = np.array([[6, 6, 6, 5], [4, 3, 2, 1], [0, 0, 0, 0], [7, 6, 6, 5]], np.float32)
    images = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3], [3, 1, 2, 0]])
    top = TopImages(scores, images, np.zeros((4, 4), np.int32), np.zeros((4, 4), np.float32))
    assert top.tied().tolist() == [3, 0, 0, 2]
    assert top.tied(above=6).tolist() == [0, 0, 0, 0]
    assert top.tied(above=-np.inf).tolist() == [3, 0, 4, 2]
    assert top.tied(twins=np.array([[1, 2]])).tolist()[1:] == [0, 0, 0]  # these two are one picture
    assert top.tied(twins=np.array([[1, 2], [0, 1]])).tolist() == [0, 0, 0, 0]
    assert TopImages.empty(1, 3).tied(-np.inf).tolist() == [0]


def test_a_hash_of_numbers_is_one_to_one():
    index = np.arange(10_000)
    assert scrambled(index).tolist() == [by_hash(i) for i in range(10_000)]
    assert len(set(scrambled(index).tolist())) == 10_000


def by_loop(activation):
    """Maximum over space and its first place, one number after the other; channels where each layout has them."""
    array = activation.numpy()
    if array.ndim == 2:
        array = array[:, :, None]
    array = array.reshape(*array.shape[:2], -1)
    values, positions = np.empty(array.shape[:2], np.float32), np.empty(array.shape[:2], np.int64)
    for b in range(array.shape[0]):
        for c in range(array.shape[1]):
            best = 0
            for place, value in enumerate(array[b, c]):
                if value > array[b, c, best]:
                    best = place
            values[b, c], positions[b, c] = array[b, c, best], best
    return values, positions


@given(st.integers(0, 2**32 - 1), st.sampled_from([(3, 5), (2, 7, 4), (3, 2, 1), (2, 4, 3, 5), (1, 3, 7, 7)]))
def test_spatial_score_is_the_first_of_the_highest_in_every_layout(seed, shape):
    generator = torch.Generator().manual_seed(seed)
    activation = torch.randint(-2, 3, shape, generator=generator).float()  # few values: ties everywhere
    values, positions, means = spatial_score(activation)
    expected_values, expected_positions = by_loop(activation)
    assert values.dtype == torch.float32
    np.testing.assert_array_equal(values.numpy(), expected_values)
    np.testing.assert_allclose(means.numpy(), activation.reshape(*shape[:2], -1).numpy().mean(axis=-1), atol=1e-6)
    if len(shape) == 2:
        assert (positions == NO_POSITION).all()
    else:
        np.testing.assert_array_equal(positions.numpy(), expected_positions)


@pytest.mark.parametrize("size", [(2, 3), (7, 7), (14, 14), (28, 28)])
def test_first_position_also_on_strided_memory(size):
    """Vectorised kernels treat layouts differently; a tie must not be broken by one."""
    activation = torch.zeros(4, 5, *size)
    activation[:, :, 1, 1] = activation[:, :, 0, 2] = 1.0
    for version in (
        activation,
        activation.to(memory_format=torch.channels_last),
        activation.double(),
        activation[:, 1:],
    ):
        assert (spatial_score(version)[1] == 2).all()
    tokens = torch.zeros(4, 5, 50)
    tokens[:, :, 30] = tokens[:, :, 7] = 1.0
    for version in (tokens, tokens.transpose(1, 2).contiguous().transpose(1, 2)):
        assert (spatial_score(version)[1] == 7).all()


def test_signs_are_kept_and_not_a_number_stays():
    activation = torch.tensor([[[[-3.0, -1.0]], [[float("nan"), 1.0]]]])
    values, *_ = spatial_score(activation)
    assert values[0, 0] == -1.0
    assert torch.isnan(values[0, 1])


def test_scores_pooled_over_space_and_where_they_are_highest():
    maps = torch.tensor([[[[1.0, 4], [4, -3]], [[-2, -1], [-5, -4]]]])  # (B, C, H, W)
    for pool, expected in (("max", [4, -1]), ("mean", [1.5, -3]), ("sum", [6, -12])):
        values, positions, means = spatial_score(maps, pool)
        assert means.tolist() == [[1.5, -3]]
        assert values.tolist() == [expected] and values.dtype == torch.float32
        assert positions.tolist() == [[1, 1]]
        half, *_ = spatial_score(maps.half(), pool)
        assert half.tolist() == [expected] and half.dtype == torch.float32
    values, positions, _ = spatial_score(torch.tensor([[1.0, -2]]), "sum")
    assert (values.tolist(), positions.tolist()) == ([[1, -2]], [[NO_POSITION] * 2])


def test_places_without_an_image_are_as_the_files_have_them():
    empty = TopImages.empty(2, 3)
    assert (empty.image == -1).all() and (empty.position == -1).all() and (empty.value == -np.inf).all()
