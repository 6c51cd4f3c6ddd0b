"""A network in which some channels of a layer count more or less, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from pure_cli.core.circuits import Firing, activations
from pure_cli.core.directions import CHANNELS, Channels
from pure_cli.core.hooks import Hook, hooked
from pure_cli.core.layout import axis_of
from pure_cli.core.saturation import Bound
from pure_cli.core.structure import ends_dense, learn

Factors = Mapping[int, torch.Tensor]
"""Channel to what it is multiplied with, (B,) for the images of a batch."""


@contextmanager
def channels_scaled(model: nn.Module, images: torch.Tensor, factors: Mapping[str, Factors]) -> Iterator[None]:
    """A context in which the network computes with other channels for these images.

    Parameters
    ----------
    model : in eval mode
    images : (B, 3, H, W) float
    factors : by layer
    """
    learn(model, images)
    size = (images.shape[-2], images.shape[-1])
    with hooked(model, {layer: _scale(model, layer, size, own) for layer, own in factors.items()}):
        yield


def _scale(model: nn.Module, layer: str, size: tuple[int, int], factors: Factors) -> Hook:
    def hook(output: torch.Tensor) -> torch.Tensor:
        axis = 1 + axis_of(output, size, ends_dense(model, layer))
        changed = output.movedim(axis, 1)
        scale = torch.ones(changed.shape[:2], dtype=changed.dtype, device=changed.device)
        for channel, factor in factors.items():
            scale[:, channel] = factor.to(scale)
        return (changed * scale.reshape(*scale.shape, *[1] * (changed.ndim - 2))).movedim(1, axis)

    return hook


@contextmanager
def channels_replaced(
    model: nn.Module, images: torch.Tensor, which: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]
) -> Iterator[None]:
    """A context in which some channels of layers have other values.

    Parameters
    ----------
    model, images : as of `channels_scaled`
    which : by layer, (B, D) bool, the channels of each image
    values : by layer, (D,) what they are at all positions, or (B, D, …) their maps
    """
    learn(model, images)
    size = (images.shape[-2], images.shape[-1])
    with hooked(model, {layer: _replace(model, layer, size, own, values[layer]) for layer, own in which.items()}):
        yield


def firing_without(
    model: nn.Module,
    images: torch.Tensor,
    layer: str,
    read: Callable[[Firing], torch.Tensor],
    which: Mapping[str, torch.Tensor],
    values: Mapping[str, torch.Tensor],
    neurons: Channels = CHANNELS,
    bound: Bound | None = None,
) -> torch.Tensor:
    """What is read of how a layer's neurons fire where channels of lower layers are replaced.

    Parameters
    ----------
    model, images, which, values : as of `channels_replaced`; nothing is, where `which` is empty
    layer, neurons, bound : the module, what its neurons are, and a nonlinearity that it ends with
    read : (B, …)

    Returns
    -------
    (B, …) float32
    """

    def seen(_: str, end: torch.Tensor) -> torch.Tensor:
        return read(Firing.of(end, neurons, bound)).float().clone()

    with torch.no_grad(), channels_replaced(model, images, which, values):
        found = activations(model, images, [layer], seen, {layer: bound} if bound else None)
    output: torch.Tensor = found[layer]
    return output


def _replace(model: nn.Module, layer: str, size: tuple[int, int], which: torch.Tensor, values: torch.Tensor) -> Hook:
    def hook(output: torch.Tensor) -> torch.Tensor:
        axis = 1 + axis_of(output, size, ends_dense(model, layer))
        before = output.movedim(axis, 1)
        flat = [1] * (before.ndim - 2)
        instead = values.to(before)
        instead = instead.reshape(1, -1, *flat) if values.ndim == 1 else instead
        return torch.where(which.reshape(*which.shape, *flat), instead, before).movedim(1, axis)

    return hook
