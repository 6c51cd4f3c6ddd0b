"""Networks that learned nothing, to hold results against."""

from __future__ import annotations

import torch
from torch import nn


def shuffle_weights(model: nn.Module, seed: int) -> None:
    """Deal the weights of each layer out anew among its places; biases and norms stay.

    Parameters
    ----------
    model : changed in place: its parameters with two axes or more have the values that they had, in another order
    seed : of the order
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                weight.copy_(weight.flatten()[order].reshape(weight.shape))
