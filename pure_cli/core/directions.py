"""What a neuron is: a channel of a layer, or a direction over its channels.

Both read their activations off the layer's output, and say with which gradient a backward pass begins. A direction with
a single one is that channel, in every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.bands import without_band
from pure_cli.core.layout import channels_first, like_activation

if TYPE_CHECKING:
    import torch

NEARLY_ZERO = 1e-9  # of a direction's activation, where it divides


class Channels:
    """Neurons that are the channels of the layer."""

    def read(self, activation: torch.Tensor) -> torch.Tensor:
        """Activations of all neurons, in the layout of the layer's `activation`."""
        return activation

    def start(
        self, activation: torch.Tensor, which: torch.Tensor, relevance: torch.Tensor, lrp: bool = False
    ) -> torch.Tensor:
        """Where a backward pass begins: one neuron for each of the first m images.

        Parameters
        ----------
        activation : of the layer, B images
        which : (m,) int64, the neuron for each image, m <= B
        relevance : (m, S) of that neuron, by position
        lrp : the backward pass hands on relevance, and not gradients

        Returns
        -------
        tensor of the shape of `activation`
        """
        import torch

        start = torch.zeros_like(activation)  # in the same layout in memory
        rows = torch.arange(len(which), device=activation.device)
        start[rows, which] = relevance.reshape(len(which), *activation.shape[2:]).to(start.dtype)
        return start


CHANNELS = Channels()
AT = "@"  # in the name of a layer of directions: NAME@MODULE


def module_of(layer: str) -> str:
    """The module that a layer's neurons are read from: the layer itself, or what its directions or its band lie in."""
    return without_band(layer).rpartition(AT)[2]


@dataclass(frozen=True)
class Directions(Channels):
    """Neurons that are directions over the channels of the layer.

    Parameters
    ----------
    weight : (M, C) float32
    bias : (M,) float32, added at every position; zeros where there is none
    relu : negative activations count as zero
    names : M texts, or none at all
    """

    weight: np.ndarray
    bias: np.ndarray
    relu: bool = False
    names: Sequence[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.weight)

    def read(self, activation: torch.Tensor) -> torch.Tensor:
        import torch

        flat = channels_first(activation)
        values = torch.einsum("mc,bcs->bms", self._on(self.weight, flat), flat)
        values = values + self._on(self.bias, flat)[:, None]
        values = values.clamp(min=0) if self.relu else values
        return like_activation(values, activation)

    def start(
        self, activation: torch.Tensor, which: torch.Tensor, relevance: torch.Tensor, lrp: bool = False
    ) -> torch.Tensor:
        """As of channels. Gradients are those of the direction; relevance is shared out among the channels by what each
        adds to the activation (LRP's epsilon rule; the bias keeps its part)."""
        import torch

        flat = channels_first(activation)
        m = len(which)
        weight = self._on(self.weight, flat)[which][:, :, None]
        values = relevance.to(flat.dtype)[:, None, :]
        if lrp:
            terms = weight * flat[:m]
            total = terms.sum(dim=1, keepdim=True) + self._on(self.bias, flat)[which][:, None, None]
            near = total.abs() < NEARLY_ZERO
            share = terms / torch.where(near, torch.ones_like(total), total)
            own = torch.where(near, torch.zeros_like(share), share) * values
        else:
            own = weight * values
        start = torch.zeros_like(flat)
        start[:m] = own
        return like_activation(start, activation)

    @staticmethod
    def _on(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.as_tensor(values, device=like.device, dtype=like.dtype)
