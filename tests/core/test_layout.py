import pytest
import torch

from pure_cli.core.circuits import activation_maps
from pure_cli.core.layout import (
    Patches,
    as_map,
    axis_of,
    channel_axis,
    channels_first,
    channels_second,
    grid_of,
    is_map,
    like_activation,
    told_by_shape,
)

SQUARE = (224, 224)


@pytest.mark.parametrize(
    ("shape", "size", "axis"),
    [
        ((64,), SQUARE, 0),
        ((64, 7, 7), SQUARE, 0),
        ((7, 7, 64), SQUARE, 2),
        ((7, 7, 7), SQUARE, 0),  # no telling: the usual
        ((16, 7, 5), (224, 160), 0),
        ((7, 5, 16), (224, 160), 2),
        ((384, 35, 35), (299, 299), 0),
        ((197, 768), SQUARE, 1),
        ((196, 196), SQUARE, 1),
        ((512, 196), SQUARE, 0),  # token mixing of MLP-Mixer
        ((1024, 197), SQUARE, 1),  # both are a grid: tokens before channels
        ((31, 29), SQUARE, 1),  # neither is
        ((1, 1, 5), (32, 32), 2),
    ],
)
def test_channels_are_found_by_shape(shape, size, axis):
    assert channel_axis(shape, size) == axis
    activation = torch.randn(3, *shape)
    moved = channels_second(activation, size)
    assert moved.shape[:2] == (3, shape[axis])
    flat = channels_first(moved)
    for channel in range(min(shape[axis], 4)):
        own = (
            activation.select(axis + 1, channel).flatten(1) if len(shape) > 1 else activation[:, channel : channel + 1]
        )
        torch.testing.assert_close(flat[:, channel], own)
    torch.testing.assert_close(like_activation(flat, moved), moved)


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (196, SQUARE, (14, 14, 0)),
        (197, SQUARE, (14, 14, 1)),
        (198, SQUARE, (14, 14, 2)),  # DeiT's two
        (50, SQUARE, (7, 7, 1)),
        (1370, (518, 518), (37, 37, 1)),
        (1374, (518, 518), (37, 37, 5)),  # DINOv2 with registers
        (141, (224, 160), (14, 10, 1)),
        (9, (32, 32), (2, 2, 5)),  # four registers and a class; a third of 32 pixels is no patch
        (768, SQUARE, None),
        (103, SQUARE, None),
        (100, SQUARE, (10, 10, 0)),  # patches of 22 pixels, and a rest
    ],
)
def test_tokens_are_laid_out_as_patches(tokens, size, grid):
    assert grid_of(tokens, size) == grid


def test_a_token_lies_where_its_patch_does():
    values = torch.zeros(1, 5)  # a class token, then two by two
    values[0, 3] = 1
    assert as_map(values, Patches(2, 2, 1))[0].tolist() == [[0, 0], [1, 0]]
    assert as_map(values, Patches(2, 2))[0].tolist() == [[0, 0], [0, 1]]  # one more behind them
    tokens = values[:, None].expand(1, 3, 5)  # (B, C, T)
    enlarged = activation_maps(tokens, torch.tensor([2]), (32, 32), Patches(2, 2, 1))
    assert enlarged.shape == (1, 32, 32)
    row, column = divmod(int(enlarged[0].argmax()), 32)
    assert row >= 16 > column


def test_what_is_no_map_is_said():
    assert as_map(torch.zeros(1, 103), None) is None
    with pytest.raises(ValueError, match="no map"):
        activation_maps(torch.zeros(1, 2, 103), torch.tensor([0]), SQUARE)
    with pytest.raises(ValueError, match="no map"):
        activation_maps(torch.zeros(1, 2), torch.tensor([0]), SQUARE)


def test_what_is_known_of_a_layer_counts_more_than_its_shape():
    maps, tokens = torch.randn(2, 8, 8, 8), torch.randn(2, 300, 256)
    assert [axis_of(maps, (32, 32), dense) for dense in (None, False, True)] == [0, 0, 2]
    assert [axis_of(tokens, (64, 64), dense) for dense in (None, False, True)] == [0, 0, 1]
    assert channels_second(tokens, (64, 64), True).shape == (2, 256, 300)


@pytest.mark.parametrize(
    ("shape", "told"),
    [((64,), True), ((64, 7, 7), True), ((7, 7, 64), True), ((7, 7, 7), False), ((197, 768), False)],
)
def test_a_shape_that_can_be_read_in_two_ways_tells_nothing(shape, told):
    assert told_by_shape(shape, SQUARE) is told


def test_tokens_by_heads_are_no_map():
    assert not is_map((37, 64), SQUARE)
    assert not is_map((197, 64), SQUARE)
    for extent in ((7, 7), (7, 5), (35, 33), (3, 1), (14, 10)):
        assert is_map(extent, SQUARE)
    assert is_map((14, 7), (224, 112))
    assert is_map((3, 9), SQUARE) and not is_map((4, 9), SQUARE)  # only the smallest may have any proportions


def test_what_is_no_activation_is_left_as_it_is():
    numbers, several = torch.ones(3), (torch.ones(2, 2), torch.ones(2, 2))
    assert channels_second(numbers, SQUARE) is numbers
    assert channels_second(several, SQUARE) is several
