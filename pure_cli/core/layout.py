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
    from torch import nn

MOST_STRETCH = 1.5  # of a map against its image: kernels without padding shorten its sides by unlike parts
SMALL = 4  # positions; shorter maps may have any proportions by rounding
MOST_PREFIX = 8  # tokens before those of the image: for the class, for distillation, registers


def channel_axis(shape: tuple[int, ...], size: tuple[int, int], otherwise: int = 0) -> int:
    """Which axis of an activation has the channels.

    Parameters
    ----------
    shape : without the batch: (C,), (T, C), (C, T), (C, h, w) or (h, w, C)
    size : (H, W) of the images, in pixels
    otherwise : the axis of a map of which shape and size do not tell

    Returns
    -------
    int
        Index into `shape`. Of a map, the axis that leaves two with the proportions of the image; of tokens, the axis
        that is not as long as a grid over the image, the last where both or none are.
    """
    if len(shape) == 3:
        first, last = _stretch(shape[1:], size), _stretch(shape[:2], size)
        return otherwise if first == last else 0 if first < last else 2
    if len(shape) == 2:
        return 0 if grid_of(shape[1], size) and not grid_of(shape[0], size) else 1
    return 0


def axis_of(activation: torch.Tensor, size: tuple[int, int], dense: bool = False) -> int:
    """As `channel_axis`, for an activation (B, …). Where its map is as long as it has channels, `dense` tells, which is
    `ends_dense`: such layers leave the channels side by side in memory, wherever the axis went then."""
    otherwise = 0
    if activation.ndim == 4 and dense:
        otherwise = min(range(3), key=lambda axis: activation.stride(axis + 1))
        otherwise = 0 if otherwise == 1 else otherwise
    return channel_axis(tuple(activation.shape[1:]), size, otherwise)


def channels_second(activation: torch.Tensor, size: tuple[int, int], dense: bool = False) -> torch.Tensor:
    """A view of an activation (B, …) with the channels on axis 1; what is no activation (a number for each image,
    several tensors) is left as it is.

    Parameters
    ----------
    activation : what a module or function gave
    size : (H, W) of the images
    dense : as of `axis_of`
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


def ends_dense(model: nn.Module, name: str) -> bool:
    """Whether the last layer with weights within a module, or before one without, works along the last axis.

    Parameters
    ----------
    name : of a module, or of a function as in `pure_cli.core.hooks`
    """
    from torch import nn

    module = name.partition(":")[0]
    last, seen = False, False
    for other, part in model.named_modules():
        within = other == module or other.startswith(f"{module}.") or not module
        if seen and not within:
            break
        seen = seen or within
        if type(part).__module__.startswith("torch.nn.") and any(True for _ in part.parameters(recurse=False)):
            last = isinstance(part, nn.Linear | nn.LayerNorm)
    return last


def is_map(extent: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether (h, w) can be a map of an image of `size` (H, W): about its proportions, unlike tokens by heads."""
    return _stretch(extent, size) <= log(MOST_STRETCH) or min(extent) < SMALL


def _stretch(extent: tuple[int, ...], size: tuple[int, int]) -> float:
    """How far a map's proportions are from those of the image; 0 where they are the same."""
    return abs(log(extent[0] * size[1] / (extent[1] * size[0])))
