"""Features of any images, beyond the references: those that need no crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.features import Kind, joined, transformed

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Circuits


@dataclass(frozen=True)
class ImageFeatures:
    """Kinds of features, of images that a network sees.

    Attributes
    ----------
    lower_layers : of each kind by its name
    at_maximum : relevance is that of the neuron's activation at its maximum alone
    """

    lower_layers: Mapping[str, Sequence[str]]
    at_maximum: bool = False

    @property
    def by_relevance(self) -> list[str]:
        return [name for name in self.lower_layers if Kind.of(name).transform]

    @property
    def every_lower_layer(self) -> list[str]:
        return list(dict.fromkeys(name for names in self.lower_layers.values() for name in names))

    def activations(self, circuits: Circuits) -> dict[str, np.ndarray]:
        """Features (B, D) by activations, which are the same for all neurons; none where no kind is."""
        from pure_cli.core.layout import channels_first

        wanted = [name for name in self.lower_layers if name not in self.by_relevance]
        if not wanted:
            return {}
        firing = channels_first(circuits.activation).float().clamp(min=0)
        means = {name: values.cpu().numpy() for name, values in circuits.lower_mean().items()}
        found = {
            "activation-max": firing.amax(dim=-1).cpu().numpy(),
            "activation-mean": firing.mean(dim=-1).cpu().numpy(),
            **{
                name: joined([means[lower] for lower in self.lower_layers[name]])
                for name in wanted
                if self.lower_layers[name]
            },
        }
        return {name: found[name] for name in wanted}

    def relevances(self, circuits: Circuits, which: torch.Tensor, last: bool) -> dict[str, np.ndarray]:
        """Features (m, D) by relevance, for one neuron of each of the first m images; none where no kind is.

        Parameters
        ----------
        which : (m,) int64, the neurons
        last : no other neurons follow
        """

        from pure_cli.core.circuits import normalised_arrays

        if not self.by_relevance:
            return {}
        where = None
        if self.at_maximum:
            where = circuits.maxima(which)
        summed = circuits.summed(which, last=last, positions=where)
        parts = {name: normalised_arrays(values) for name, values in summed.items()}
        return {
            name: joined([transformed(*parts[lower], Kind.of(name).transform) for lower in self.lower_layers[name]])
            for name in self.by_relevance
        }
