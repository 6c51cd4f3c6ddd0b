"""Integrated gradients of a neuron along the line from nothing to the activation of a lower layer."""

import numpy as np
import torch
from torch import nn

from pure_cli.core.circuits import Circuits
from pure_cli.core.layout import channels_first
from pure_cli.errors import PureError

STEPS = 32  # points of Gauss and Legendre between zero and the activation, one forward and backward pass each


class IntegratedCircuits(Circuits):
    """Circuits whose relevances are integrated gradients.

    Notes
    -----
    Sundararajan, Taly and Yan 2017 (arXiv 1703.01365). The baseline is zero at the lower layer. The function that is
    integrated is ``f(h) = Σ_p w_p a_p(h)``, with the neuron's activation at each position, as it is, for its weight:
    ``w_p = max(a_p, 0)``. So relevances add up to ``f(h) - f(0)``, but for the error of the sum over `STEPS` points.
    Each lower layer has a line of its own. Every call runs the network `STEPS` times for each.
    """

    def summed(
        self, which: torch.Tensor, last: bool = False, positions: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        m = len(which)
        fired = self.firing[torch.arange(m, device=which.device), which].clamp(min=0)
        if positions is not None:
            fired = fired * nn.functional.one_hot(positions.clamp(min=0), fired.shape[1])
        activation = self.activation[:m]
        start = self.neurons.start(activation, which, fired)
        return {name: self._integrated(name, start) for name in self.lower_layers}

    def arriving(
        self, which: torch.Tensor, last: bool = False, positions: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """There is nothing that a layer hands on: each has a line of its own from nothing to its activation."""
        raise PureError(
            "Integrated gradients do not say what flows from one lower layer to the next. "
            "Run `pure attribute` and `pure cluster` by another --rule."
        )

    def _integrated(self, name: str, start: torch.Tensor) -> torch.Tensor:
        """Relevance (m, D) float32 of the channels of one lower layer."""
        whole = self._lower[name].detach()[: len(start)]
        total = torch.zeros_like(whole)
        for share, weight in points(STEPS):

            def part(output: torch.Tensor, share: float = share) -> torch.Tensor:
                return output * share

            end, lower = self._run(self.images[: len(start)], [name], part)
            (gradient,) = torch.autograd.grad(self._begin(end), lower[name], start)
            total += weight * gradient
        return channels_first(total.float() * whole.float()).sum(dim=-1)


def points(steps: int) -> list[tuple[float, float]]:
    """Where to look between 0 and 1, and the weight of each: exact for polynomials of degree 2 × steps - 1."""
    at, weight = np.polynomial.legendre.leggauss(steps)
    return [(float(x), float(w)) for x, w in zip((at + 1) / 2, weight / 2, strict=True)]
