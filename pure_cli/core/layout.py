"""Where the channels of an activation are, and which place of the image each position is.

Networks lay their activations out in several ways: maps with channels first (B, C, h, w) or last (B, h, w, C), tokens
(B, T, C), seldom (B, C, T), and vectors (B, C). Everything here works on activations whose channels are on axis 1;
`channels_second` makes them so: by what the user said, by what the layers do (`pure_cli.core.structure`), and where
both are silent by their shape and the size of the images.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

MOST_STRETCH = 1.5  # of a map against its image: kernels without padding shorten its sides by unlike parts
SMALL = 4  # positions; shorter maps may have any proportions by rounding
MOST_PREFIX = 8  # tokens before those of the image: for the class, for distillation, registers


class Patches(NamedTuple):
    """Tokens that are the cells of a map, row by row, with `first` others in front."""

    rows: int
    columns: int
    first: int = 0


def channel_axis(shape: tuple[int, ...], size: tuple[int, int]) -> int:
    """Which axis of an activation has the channels, by its shape: the last resort.

    Parameters
    ----------
    shape : without the batch: (C,), (T, C), (C, T), (C, h, w) or (h, w, C)
    size : (H, W) of the images, in pixels

    Returns
    -------
    int
        Index into `shape`. Of a map, the axis that leaves two with the proportions of the image, the first where both
        do; of tokens, the axis that is not as long as a grid over the image, the last where both or none are.
    """
    if len(shape) == 3:
        first, last = _stretch(shape[1:], size), _stretch(shape[:2], size)
        return 0 if first <= last else 2
    if len(shape) == 2:
        return 0 if grid_of(shape[1], size) and not grid_of(shape[0], size) else 1
    return 0


def told_by_shape(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether `channel_axis` has but one answer: for vectors, and maps that have the image's proportions in one way.

    How many tokens there are tells nothing: any number may be that of channels.
    """
    if len(shape) == 3:
        return _stretch(shape[1:], size) != _stretch(shape[:2], size)
    return len(shape) != 2


def axis_of(activation: torch.Tensor, size: tuple[int, int], dense: bool | None = None) -> int:
    """As `channel_axis`, for an activation (B, …) of a layer of which it may be known where its channels are.

    Parameters
    ----------
    dense : as of `ends_dense`
    """
    if dense is None:
        return channel_axis(tuple(activation.shape[1:]), size)
    return activation.ndim - 2 if dense else 0


def channels_second(activation: torch.Tensor, size: tuple[int, int], dense: bool | None = None) -> torch.Tensor:
    """A view of an activation (B, …) with the channels on axis 1; what is no activation (a number for each image,
    several tensors) is left as it is.

    Parameters
    ----------
    activation : what a module or function gave
    size : (H, W) of the images
    dense : as of `ends_dense`
    """
    if not hasattr(activation, "movedim") or activation.ndim < 2:
        return activation
    return activation.movedim(1 + axis_of(activation, size, dense), 1)


def channels_first(activation: torch.Tensor) -> torch.Tensor:
    """An activation as (B, C, S): images, channels, positions in space.

    Parameters
    ----------
    activation : (B, C) vectors or (B, C, …), from `channels_second`

    Returns
    -------
    (B, C, S) view or copy, S = 1 for vectors
    """
    return activation.unsqueeze(-1) if activation.ndim == 2 else activation.flatten(2)


def like_activation(values: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
    """The inverse of `channels_first`: (B, C, S) in the shape of `activation`."""
    return values.reshape(len(values), values.shape[1], *activation.shape[2:])


def grid_of(tokens: int, size: tuple[int, int]) -> Patches | None:
    """The grid of equal square patches whose tokens these may be, behind at most 8 others.

    Parameters
    ----------
    tokens : how many there are
    size : (H, W) of the images, in pixels

    Returns
    -------
    The largest that leaves at most 8 tokens over, or None where there is none
    """
    height, width = size
    best: Patches | None = None
    for side in range(1, min(height, width) + 1):
        h, w = height // side, width // side
        if 0 <= tokens - h * w <= MOST_PREFIX and height % side == width % side == 0:
            return Patches(h, w, tokens - h * w)
        if best is None and h * w == tokens:
            best = Patches(h, w)  # patches that leave a rest at the far edges
    return best


def as_map(values: torch.Tensor, grid: Patches | None) -> torch.Tensor | None:
    """What positions hold, laid out as the image is.

    Parameters
    ----------
    values : (m, …) with one axis or two for the positions
    grid : where tokens lie on the image

    Returns
    -------
    (m, h, w), without the tokens that stand for no place; None where the positions are no grid
    """
    if values.ndim == 3:
        return values
    if values.ndim != 2 or grid is None:
        return None
    return values[:, grid.first :][:, : grid.rows * grid.columns].reshape(len(values), grid.rows, grid.columns)


def is_map(extent: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether (h, w) can be a map of an image of `size` (H, W): about its proportions, unlike tokens by heads."""
    return _stretch(extent, size) <= log(MOST_STRETCH) or min(extent) < SMALL


def _stretch(extent: tuple[int, ...], size: tuple[int, int]) -> float:
    """How far a map's proportions are from those of the image; 0 where they are the same."""
    return abs(log(extent[0] * size[1] / (extent[1] * size[0])))
