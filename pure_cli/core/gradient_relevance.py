"""Relevance as input × gradient, for rules that change gradients: the start is relevance, as in LRP."""

import torch

from pure_cli.core.circuits import Circuits, Heatmaps


class GradientCircuits(Circuits):
    """Circuits whose relevance starts as the activation itself.

    Gradient × input starts with the activation as the gradient, and so with its square as relevance; LRP starts with
    the activation as relevance, and so with one as the gradient where the neuron fires.
    """

    def _start(self, which: torch.Tensor, fired: torch.Tensor) -> torch.Tensor:
        return as_gradient(self.neurons.start(self.activation, which, fired, lrp=True), self._output.detach())

    def _begin(self, end: torch.Tensor) -> torch.Tensor:
        return end  # relevance goes through a nonlinearity as it is


class GradientHeatmaps(Heatmaps):
    """Heatmaps whose relevance is pixel × gradient."""

    def _start(self, which: torch.Tensor, fired: torch.Tensor) -> torch.Tensor:
        return as_gradient(super()._start(which, fired), self._output.detach())

    def _relevance(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * self._pixels.detach()


def as_gradient(relevance: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
    """The gradient that, multiplied with the activation, is the relevance; zero where the activation is."""
    silent = activation == 0
    return torch.where(silent, torch.zeros_like(relevance), relevance / torch.where(silent, 1, activation))
