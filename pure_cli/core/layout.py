"""Where the channels of an activation are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def channels_first(activation: torch.Tensor) -> torch.Tensor:
    """An activation as (B, C, S): images, channels, positions in space.

    Parameters
    ----------
    activation : (B, C) vectors, (B, T, C) tokens or (B, C, ...) maps

    Returns
    -------
    (B, C, S) view or copy, S = 1 for vectors
    """
    if activation.ndim == 2:
        return activation.unsqueeze(-1)
    if activation.ndim == 3:
        return activation.transpose(1, 2)
    return activation.flatten(2)


def channel_count(shape: tuple[int, ...]) -> int:
    """Channels of an activation of `shape` (without the batch)."""
    return shape[-1] if len(shape) == 2 else shape[0]


def like_activation(values: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
    """The inverse of `channels_first`: (B, C, S) in the layout and shape of `activation`."""
    if activation.ndim == 3:
        return values.transpose(1, 2)
    return values.reshape(activation.shape)
