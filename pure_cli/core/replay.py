"""Relevances of a neuron where the activations come from elsewhere: checks whether features leak.

The backward pass begins as the image has it, with the neuron's own activation, and then runs through activations that
know nothing of the image. What is left of the meanings was carried by the beginning, and not by a circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from pure_cli.core.circuits import Firing, forward_to
from pure_cli.core.directions import Channels
from pure_cli.core.layout import channels_first
from pure_cli.core.saturation import Bound


def constant(activation: torch.Tensor) -> torch.Tensor:
    """The mean over images in place of each."""
    return activation.mean(dim=0, keepdim=True).expand_as(activation).contiguous()


def shuffled(order: np.ndarray) -> Callable[[torch.Tensor], torch.Tensor]:
    """The activations of other images, in this order."""
    return lambda activation: activation[torch.as_tensor(order, device=activation.device)]


def gradient_alone(
    model: nn.Module,
    images: torch.Tensor,
    layer: str,
    lower_layers: Sequence[str],
    neurons: Channels,
    which: int,
    bound: Bound | None = None,
) -> dict[str, torch.Tensor]:
    """Relevances of one neuron with each image's own backward pass, times the mean activation of all images.

    What is left of the meanings is which ReLUs above the lower layer let through. Parameters and result as of
    `replayed`.
    """
    end, parts = forward_to(model, images, layer, lower_layers, bound=bound)
    start = _start(end.detach(), neurons, which, bound)
    gradients = torch.autograd.grad(_begin(end, bound), [parts[name] for name in lower_layers], start)
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
    bound: Bound | None = None,
) -> dict[str, torch.Tensor]:
    """Relevances of one neuron with changed activations of the lower layers, each of them alone.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    images : (B, 3, H, W) float
    layer, neurons, which : the layer, what its neurons are, and one of them
    change : from the activations (B, …) of a lower layer to those of which the layer is computed
    bound : a nonlinearity that the layer ends with

    Returns
    -------
    dict of lower layer to (B, D) float32, gradient × activation summed over space
    """
    end, _ = forward_to(model, images, layer, bound=bound)
    start = _start(end, neurons, which, bound)
    found = {}
    for lower in lower_layers:
        changed, parts = forward_to(model, images, layer, [lower], change, bound)
        (gradient,) = torch.autograd.grad(_begin(changed, bound), parts[lower], start)
        found[lower] = (channels_first(gradient) * channels_first(parts[lower].detach())).float().sum(dim=-1)
    return found


def _begin(end: torch.Tensor, bound: Bound | None) -> torch.Tensor:
    """Where the graph of the backward pass begins: without the bound."""
    return bound.lifted(end) if bound else end


def _start(end: torch.Tensor, neurons: Channels, which: int, bound: Bound | None) -> torch.Tensor:
    """Where the backward pass of one neuron begins, for all images."""
    seen = Firing.of(end, neurons, bound)
    fired = channels_first(seen.firing)[:, which].clamp(min=0)
    return neurons.start(seen.activation, torch.full((len(end),), which, device=end.device), fired)
