"""A neuron's map split by what comes in: each lower channel's contribution goes to virtual neurons by fixed shares."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pure_cli.core.circuits import forward_to
from pure_cli.core.directions import CHANNELS, Channels


def channel_shares(circuits: np.ndarray) -> np.ndarray:
    """How much of each lower channel belongs to each virtual neuron.

    Parameters
    ----------
    circuits : (V, D) mean relevances

    Returns
    -------
    (V, D) float64
        Its part of the positive relevances of a channel; all as much where there is none. Columns sum to 1.
    """
    positive = np.asarray(circuits, np.float64).clip(min=0)
    total = positive.sum(axis=0)
    return np.where(total > 0, positive / np.where(total > 0, total, 1), 1 / len(positive))


def split_by_channels(
    model: nn.Module,
    images: torch.Tensor,
    layer: str,
    lower: str,
    neuron: int,
    shares: torch.Tensor,
    neurons: Channels = CHANNELS,
) -> torch.Tensor:
    """Maps of the virtual neurons of one neuron, by what each lower channel contributes at each position.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    images : (B, 3, H, W) float; where they, or the lower layer, require a gradient, the maps have a graph
    layer, neuron, neurons : the layer, one of its neurons, and what these are
    lower : the lower layer
    shares : (V, D) of its channels

    Returns
    -------
    (B, V + 1, …)
        The last is the rest: biases, what goes around the lower layer, and what is bent. The parts sum to the map of
        the neuron; they can be negative.

    Notes
    -----
    Where the neuron is linear in the lower layer, part v is what the neuron would be with its incoming weights times
    the shares of v, as in the rewired channels of Hesse et al. 2025 (arXiv 2504.12939). Elsewhere the network is taken
    as linear around each image: part v is the derivative of the map along the lower activations times these shares.
    """
    with sdpa_kernel(SDPBackend.MATH):
        end, parts = forward_to(model, images, layer, [lower])
    graph = not parts[lower].is_leaf  # it goes on to what the caller gave
    with torch.enable_grad():
        whole = neurons.read(end)[:, neuron]
        begin = torch.zeros_like(whole, requires_grad=True)
        (gradient,) = torch.autograd.grad(whole, parts[lower], begin, create_graph=True)
        activation = parts[lower] if graph else parts[lower].detach()
        found = []
        for share in shares.to(activation):
            along = activation * share.reshape(1, -1, *[1] * (activation.ndim - 2))
            (part,) = torch.autograd.grad(
                gradient, begin, along, retain_graph=True, create_graph=graph, allow_unused=True
            )
            found.append(torch.zeros_like(whole) if part is None else part)
        known = torch.stack(found, dim=1)
        maps = torch.cat([known, (whole - known.sum(dim=1))[:, None]], dim=1)
    return maps if graph else maps.detach()
