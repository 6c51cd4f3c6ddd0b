"""Relevances of a neuron where the activations come from elsewhere: checks whether features leak.

The backward pass begins as the image has it, with the neuron's own activation, and then runs through activations that
know nothing of the image. What is left of the meanings was carried by the beginning, and not by a circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from pure_cli.core.circuits import Firing, forward_to
from pure_cli.core.directions import Channels
from pure_cli.core.hooks import Hook, hooked
from pure_cli.core.layout import channels_first
from pure_cli.core.saturation import Bound
from pure_cli.core.stem import Stem
from pure_cli.core.structure import learn


def constant(activation: torch.Tensor) -> torch.Tensor:
    """(B, C, …), the mean over images and places in place of each: one number for each channel."""
    return mean_map(_mean_of_places(activation))


def mean_map(activation: torch.Tensor) -> torch.Tensor:
    """(B, C, …), the mean over images in place of each, at each place its own."""
    return activation.mean(dim=0, keepdim=True).expand_as(activation).contiguous()


def shuffled(order: np.ndarray) -> Callable[[torch.Tensor], torch.Tensor]:
    """The activations of other images, in this order."""
    return lambda activation: activation[torch.as_tensor(order, device=activation.device)]


class Replay:
    """One neuron on some images, and its relevances where the activations of lower layers come from elsewhere.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    images : (B, 3, H, W) float
    layer, neurons, which : the layer, what its neurons are, and one of them
    lower_layers : whose activations are changed, each of them alone
    bound : a nonlinearity that the layer ends with
    stems : of lower layers, what comes before them, which is then not computed anew for each change

    Attributes
    ----------
    gradient_alone : lower layer to (B, D) float32, relevances with each image's own backward pass, times the mean
        activation of all images: what is left of the meanings is which ReLUs above the lower layer let through
    """

    def __init__(
        self,
        model: nn.Module,
        images: torch.Tensor,
        layer: str,
        lower_layers: Sequence[str],
        neurons: Channels,
        which: int,
        bound: Bound | None = None,
        stems: Mapping[str, Stem] | None = None,
    ):
        self._model, self._images, self._layer, self._bound = model, images, layer, bound
        self._lower, self._stems, self._before = lower_layers, stems or {}, dict[str, torch.Tensor]()
        learn(model, images)  # which takes a pass of its own
        hooks: dict[str, Hook] = {}
        for stem in self._stems.values():
            hooks |= stem.hooks(self._before)
        with hooked(model, hooks):
            end, parts = forward_to(model, images, layer, lower_layers, bound=bound)
        seen = Firing.of(end, neurons, bound)
        fired = channels_first(seen.firing)[:, which].clamp(min=0)
        self._start = neurons.start(seen.activation, torch.full((len(end),), which, device=end.device), fired)
        gradients = torch.autograd.grad(self._begin(end), [parts[name] for name in lower_layers], self._start)
        self.gradient_alone = {}
        for lower, gradient in zip(lower_layers, gradients, strict=True):
            mean = channels_first(parts[lower].detach()).mean(dim=0, keepdim=True)
            self.gradient_alone[lower] = (channels_first(gradient) * mean).float().sum(dim=-1)

    def relevance(
        self, change: Callable[[torch.Tensor], torch.Tensor], everywhere: bool = False
    ) -> dict[str, torch.Tensor]:
        """Relevances with changed activations of the lower layers.

        Parameters
        ----------
        change : from the activations (B, C, …) of a lower layer to those of which the layer is computed
        everywhere : begin with the same at each place, the mean over them: the beginning does not tell where the neuron
            fires, only which channels do it

        Returns
        -------
        dict of lower layer to (B, D) float32, gradient × activation summed over space
        """
        found = {}
        start = _mean_of_places(self._start) if everywhere else self._start
        for lower in self._lower:
            changed, part = self._changed(lower, change)
            (gradient,) = torch.autograd.grad(self._begin(changed), part, start)
            found[lower] = (channels_first(gradient) * channels_first(part.detach())).float().sum(dim=-1)
        return found

    def _changed(self, lower: str, change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The layer of a changed lower layer, and that; without computing anew what comes before, where that goes."""
        if lower not in self._stems:
            return self._forward(self._images, lower, change)
        stem = self._stems[lower]
        with stem.given(self._model, stem.rows(self._before)) as unknown:
            return self._forward(unknown, lower, change)

    def _forward(
        self, images: torch.Tensor, lower: str, change: Callable[[torch.Tensor], torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end, parts = forward_to(self._model, images, self._layer, [lower], change, self._bound)
        return end, parts[lower]

    def _begin(self, end: torch.Tensor) -> torch.Tensor:
        """Where the graph of the backward pass begins: without the bound."""
        return self._bound.lifted(end) if self._bound else end


def _mean_of_places(activation: torch.Tensor) -> torch.Tensor:
    """(B, C, …), at each place the mean over all of them."""
    return (
        channels_first(activation)
        .mean(dim=-1)
        .reshape(*activation.shape[:2], *[1] * (activation.ndim - 2))
        .expand_as(activation)
    )
