"""Relevances of a neuron where the activations come from elsewhere: checks whether features leak.

The backward pass begins as the image has it, with the neuron's own activation, and then runs through activations that
know nothing of the image. What is left of the meanings was carried by the beginning, and not by a circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from pure_cli.core.circuits import forward_to
from pure_cli.core.directions import Channels
from pure_cli.core.layout import channels_first


def constant(activation: torch.Tensor) -> torch.Tensor:
    """The mean over images in place of each."""
    return activation.mean(dim=0, keepdim=True).expand_as(activation).contiguous()


def shuffled(order: np.ndarray) -> Callable[[torch.Tensor], torch.Tensor]:
    """The activations of other images, in this order."""
    return lambda activation: activation[torch.as_tensor(order, device=activation.device)]


def gradient_alone(
    model: nn.Module, images: torch.Tensor, layer: str, lower_layers: Sequence[str], neurons: Channels, which: int
) -> dict[str, torch.Tensor]:
    """Relevances of one neuron with each image's own backward pass, times the mean activation of all images.

    What is left of the meanings is which ReLUs above the lower layer let through. Parameters and result as of
    `replayed`.
    """
    output, parts = forward_to(model, images, layer, lower_layers)
    start = _start(output.detach(), neurons, which)
    gradients = torch.autograd.grad(output, [parts[name] for name in lower_layers], start)
    found = {}
    for lower, gradient in zip(lower_layers, gradients, strict=True):
        mean = channels_first(parts[lower].detach()).mean(dim=0, keepdim=True)
        found[lower] = (channels_first(gradient) * mean).float().sum(dim=-1)
    return found


def replayed(
    model: nn.Module,
    images: torch.Tensor,
    layer: str,
    lower_layers: Sequence[str],
    neurons: Channels,
    which: int,
    change: Callable[[torch.Tensor], torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Relevances of one neuron with changed activations of the lower layers, each of them alone.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    images : (B, 3, H, W) float
    layer, neurons, which : the layer, what its neurons are, and one of them
    change : from the activations (B, …) of a lower layer to those of which the layer is computed

    Returns
    -------
    dict of lower layer to (B, D) float32, gradient × activation summed over space
    """
    output, _ = forward_to(model, images, layer)
    start = _start(output, neurons, which)
    found = {}
    for lower in lower_layers:
        changed, parts = forward_to(model, images, layer, [lower], change)
        (gradient,) = torch.autograd.grad(changed, parts[lower], start)
        found[lower] = (channels_first(gradient) * channels_first(parts[lower].detach())).float().sum(dim=-1)
    return found


def _start(output: torch.Tensor, neurons: Channels, which: int) -> torch.Tensor:
    """Where the backward pass of one neuron begins, for all images."""
    fired = channels_first(neurons.read(output))[:, which].clamp(min=0)
    return neurons.start(output, torch.full((len(output),), which, device=output.device), fired)
