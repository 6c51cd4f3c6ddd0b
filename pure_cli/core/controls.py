"""Networks that learned nothing, to hold results against."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


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


def fit_norms(model: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Take the running statistics of batch norms anew: those of other weights do not fit.

    Parameters
    ----------
    model : changed in place, in eval mode
    batches : of inputs; none is asked for where there are no such norms

    Returns
    -------
    int
        How many norms there are.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return len(norms)


def initialise_again(model: nn.Module, seed: int) -> list[str]:
    """Let every module that can draw its weights anew, as when it was made.

    Parameters
    ----------
    model : changed in place
    seed : of the weights

    Returns
    -------
    list of str
        Names of the parameters that no module draws, which stay as they are.
    """
    drawn: set[int] = set()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                drawn |= {id(own) for own in module.parameters(recurse=False)}
    return [name for name, own in model.named_parameters() if id(own) not in drawn]
