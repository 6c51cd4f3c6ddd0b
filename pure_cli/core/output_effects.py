"""What single neurons do to the outputs of a network: by silencing them, and to first order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pure_cli.core.circuits import forward_through
from pure_cli.core.editing import channels_scaled
from pure_cli.core.forward import run, with_graph
from pure_cli.core.layout import channels_first


def output_effects(
    model: nn.Module, images: torch.Tensor, layer: str, neuron: int
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """What a neuron adds to every output on each image.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    images : (B, 3, H, W) float
    layer, neuron : a module or function, and a channel of its output

    Returns
    -------
    effect : (B, K) float32, the outputs less those without the neuron (zero at all positions)
    relevance : (B, K) float32, the neuron's gradient × activation for each output, summed over space
    None where the model gives no outputs (B, K)

    Notes
    -----
    The derivative of all outputs by the neuron's scale takes two backward passes, whatever K is: the first is linear in
    what it begins with, and the second differentiates it by that.
    """
    one = torch.ones(len(images), device=images.device)
    with torch.no_grad(), channels_scaled(model, images, {layer: {neuron: torch.zeros_like(one)}}):
        without = run(model, images)
    if not isinstance(without, torch.Tensor) or without.ndim != 2:
        return None
    scale = one.requires_grad_()
    with channels_scaled(model, images, {layer: {neuron: scale}}), sdpa_kernel(SDPBackend.MATH):
        outputs = with_graph(model, images)
    if not outputs.requires_grad:
        return torch.zeros_like(without).float(), torch.zeros_like(without).float()
    begin = torch.zeros_like(outputs, requires_grad=True)
    with torch.enable_grad():
        (first,) = torch.autograd.grad(outputs, scale, begin, create_graph=True)
        (relevance,) = torch.autograd.grad(first.sum(), begin)
    return (outputs.detach() - without).float(), relevance.float()


def relevances_for_class(
    model: nn.Module, images: torch.Tensor, layers: Sequence[str], target: torch.Tensor
) -> dict[str, torch.Tensor] | None:
    """What all channels of some layers add to one output, to first order, in one backward pass.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    images : (B, 3, H, W) float
    layers : modules or functions
    target : (B,) int64, the output of each image

    Returns
    -------
    dict of layer to (B, C) float32, gradient × activation of the output less the mean of all outputs, summed over space
    None where the model gives no outputs (B, K)
    """
    outputs, found = forward_through(model, images, layers)
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
        return None
    ahead = outputs.gather(1, target[:, None]).sum() - outputs.mean(dim=1).sum()
    gradients: Sequence[torch.Tensor | None] = [None] * len(layers)
    if ahead.requires_grad:
        gradients = torch.autograd.grad(ahead, [found[layer] for layer in layers], allow_unused=True)
    relevance = {}
    for layer, gradient in zip(layers, gradients, strict=True):
        values = channels_first(found[layer].detach())
        used = torch.zeros_like(values) if gradient is None else channels_first(gradient)
        relevance[layer] = (used * values).sum(dim=-1).float()
    return relevance
