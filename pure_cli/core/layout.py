"""Where the channels of an activation are, and which place of the image each position is.

Networks lay their activations out in several ways: maps with channels first (B, C, h, w) or last (B, h, w, C), tokens
(B, T, C), seldom (B, C, T), and vectors (B, C). Everything here works on activations whose channels are on axis 1;
`channels_second` makes them so, by their shape and the size of the images alone.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MOST_PREFIX = 8  # tokens before those of the image: for the class, for distillation, registers


def channel_axis(shape: tuple[int, ...], size: tuple[int, int]) -> int:
    """Which axis of an activation has the channels.

    Parameters
    ----------
    shape : without the batch: (C,), (T, C), (C, T), (C, h, w) or (h, w, C)
    size : (H, W) of the images, in pixels

    Returns
    -------
    int
        Index into `shape`. Of a map, the axis that leaves two with the proportions of the image, the first where both
        ends do; of tokens, the axis that is not as long as a grid over the image, the last where both or none are.
    """
    if len(shape) == 3:
        return 0 if _stretch(shape[1:], size) <= _stretch(shape[:2], size) else 2
    if len(shape) == 2:
        return 0 if grid_of(shape[1], size) and not grid_of(shape[0], size) else 1
    return 0


def channels_second(activation: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A view of an activation (B, …) with the channels on axis 1, for images of `size` (H, W); what is no activation
    (a number for each image, several tensors) is left as it is."""
    if not hasattr(activation, "movedim") or activation.ndim < 2:
        return activation
    return activation.movedim(1 + channel_axis(tuple(activation.shape[1:]), size), 1)


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


def grid_of(tokens: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """The grid of equal square patches whose tokens these may be, behind at most 8 others.

    Parameters
    ----------
    tokens : how many there are
    size : (H, W) of the images, in pixels

    Returns
    -------
    (h, w), the largest that leaves at most 8 tokens over, or None where there is none
    """
    height, width = size
    best: tuple[int, int] | None = None
    for side in range(1, min(height, width) + 1):
        h, w = height // side, width // side
        if 0 <= tokens - h * w <= MOST_PREFIX and height % side == width % side == 0:
            return h, w
        if best is None and h * w == tokens:
            best = h, w  # patches that leave a rest at the far edges
    return best


def as_map(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor | None:
    """What positions hold, laid out as the image is.

    Parameters
    ----------
    values : (m, …) with one axis or two for the positions
    size : (H, W) of the images

    Returns
    -------
    (m, h, w), without the tokens that stand for no place; None where the positions are no grid
    """
    if values.ndim == 3:
        return values
    grid = grid_of(values.shape[1], size) if values.ndim == 2 else None
    return None if grid is None else values[:, -grid[0] * grid[1] :].reshape(len(values), *grid)


def has_map(extent: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether positions (h, w) or (T,) are places of an image of `size` (H, W), as `as_map` lays them out."""
    return len(extent) == 2 or (len(extent) == 1 and grid_of(extent[0], size) is not None)


def _stretch(extent: tuple[int, ...], size: tuple[int, int]) -> float:
    """How far a map's proportions are from those of the image; 0 where they are the same."""
    return abs(log(extent[0] * size[1] / (extent[1] * size[0])))
