"""How relevant the channels of layers are for the output of a network (relevance maximisation, RelMax)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from pure_cli.core.circuits import forward_through
from pure_cli.core.layout import channels_first

NORM_EPSILON = 1e-10  # added to the norm, as in zennit-crp


def output_relevance(
    model: nn.Module, images: torch.Tensor, layers: Sequence[str], targets: torch.Tensor | None, lrp: bool
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Activations of layers, and the relevance of each for one output of every image.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    images : (B, 3, H, W) float
    layers : names of modules or functions, each of which runs once
    targets : (B,) int64, whose output is explained; the highest of each image where it is None
    lrp : the gradients are relevances already, since a composite of LRP rules is registered with the model; otherwise
        they are multiplied with the activations

    Returns
    -------
    dict of layer to its activations and relevances, (B, C, …) both

    Raises
    ------
    ValueError
        The model gives no (B, K) outputs, or a layer does not lead to them.

    Notes
    -----
    Relevance begins as the target's output, as in zennit-crp's ``FeatureVisualization``.
    """
    outputs, found = forward_through(model, images, layers)
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or not outputs.requires_grad:
        raise ValueError("the model gives no outputs (B, K) that depend on the layers")
    targets = outputs.argmax(dim=1) if targets is None else targets
    # what one_hot gives, which would wait for the device to look at the targets
    start = torch.zeros_like(outputs).scatter_(1, targets[:, None], 1.0) * outputs.detach()
    gradients = torch.autograd.grad(outputs, [found[name] for name in layers], start, allow_unused=True)
    relevances = {}
    for name, gradient in zip(layers, gradients, strict=True):
        if gradient is None:
            raise ValueError(f"'{name}' does not lead to the model's outputs")
        activation = found[name].detach()
        relevances[name] = activation, gradient if lrp else gradient * activation
    return relevances


def relevance_score(
    activation: torch.Tensor, relevance: torch.Tensor, pool: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Score of every channel in every image by relevance, as a share of that of the layer's channels.

    Parameters
    ----------
    activation, relevance : (B, C, …)
    pool : of `references.spatial_score`

    Returns
    -------
    values : (B, C) float32; not above zero where the channel does not fire
    positions : (B, C) int64, where the relevance is highest
    means : (B, C) float32, over space

    Notes
    -----
    Equal to zennit-crp's ``Maximization("relevance", max_target=pool, abs_norm=True)``, but for channels that have
    relevance without firing (negative activations, in networks without ReLUs): they excite nothing.
    """
    from pure_cli.core.references import spatial_score

    values, positions, means = spatial_score(relevance, pool)
    values = values / (values.abs().sum(dim=1, keepdim=True) + NORM_EPSILON)
    fires = channels_first(activation).amax(dim=-1) > 0
    return torch.where(fires, values, values.clamp(max=0)), positions, means
