"""What is left of a neuron's activation where channels of lower layers have their means over references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.artifacts import CollectedLayer, Explained
from pure_cli.core.directions import module_of
from pure_cli.core.metrics.causal import drop
from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import Listing
from pure_cli.stages.circuit_graph.flow import References
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import images_at_once, read_images
from pure_cli.stages.runtime.network import Network

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Firing

MOST = 256  # references of the layer that the means are over, spread over all of them
DRAWS = 8  # of channels at random


@dataclass
class Ablation:
    """The network as it is, in which channels can be replaced.

    Attributes
    ----------
    source : references of the neurons of the layer
    """

    network: Network
    listing: Listing
    layer: str
    lower_layers: Sequence[str]
    source: CollectedLayer
    batch_size: int | None
    notes: list[str]

    @cached_property
    def means(self) -> dict[str, torch.Tensor]:
        """By lower layer, (D,) over space and references.

        Evaluation (`Surgery`) has them over all references from ``attribute.h5``, which keeps them for the lower layers
        that relevances were computed at. A graph goes through layers that no file knows, and so takes a pass of its
        own, over `MOST` images: on a ResNet-20, means differ by 5 % of the spread over images from those over all.
        """
        import torch

        from pure_cli.core.circuits import activations
        from pure_cli.core.layout import channels_first

        index = np.unique(self.source.top.image)
        index = index[index != NO_IMAGE]
        index = index[np.arange(min(MOST, len(index))) * len(index) // min(MOST, len(index))]
        parts: list[dict[str, torch.Tensor]] = []

        def read(_: str, output: torch.Tensor) -> torch.Tensor:
            return channels_first(output).float().mean(dim=-1)

        size, adaptive_batches = self._at_once, AdaptiveBatches(self.notes)
        for start in range(0, len(index), size):
            images = read_images(self.network, self.listing, index[start : start + size])

            def compute(begin: int, end: int, images: torch.Tensor = images) -> None:
                inputs = self.network.inputs(images[begin:end])
                parts.append(activations(self.network.model, inputs, list(self.lower_layers), read))

            adaptive_batches.each(len(images), compute)
        return {name: torch.cat([part[name] for part in parts]).mean(dim=0) for name in self.lower_layers}

    def explained(self, references: References, nodes: dict[str, np.ndarray], seed: int) -> Explained:
        """What the nodes of a graph leave of the activation, and as many channels at random.

        Parameters
        ----------
        nodes : channels by lower layer
        """
        random = np.random.default_rng([seed, references.neuron])
        whole = self.scores(references, None)
        widths = {name: len(self.means[name]) for name in self.lower_layers}

        def left(kept: dict[str, np.ndarray]) -> float:
            masks = {name: np.isin(np.arange(width), kept[name]) for name, width in widths.items()}
            return float(1 - np.nanmean(drop(whole, self.scores(references, masks))))

        drawn = [
            left({name: random.permutation(width)[: len(nodes[name])] for name, width in widths.items()})
            for _ in range(DRAWS)
        ]
        return Explained(left(nodes), float(np.mean(drawn)), left(dict.fromkeys(widths, np.zeros(0, np.int64))))

    def scores(self, references: References, kept: dict[str, np.ndarray] | None) -> np.ndarray:
        """(n,) activations of the neuron, with nothing but some channels (D,) bool of each lower layer as they are."""
        parts: list[np.ndarray] = []

        def compute(begin: int, end: int) -> None:
            inputs = self.network.inputs(references.images[begin:end])
            parts.append(self._scores(references.neuron, inputs, kept))

        AdaptiveBatches(self.notes).each_of(len(references), self._at_once, compute)
        return np.concatenate(parts)

    def _scores(self, neuron: int, inputs: torch.Tensor, kept: dict[str, np.ndarray] | None) -> np.ndarray:
        import torch

        from pure_cli.core.editing import firing_without

        module, neurons = module_of(self.layer), self.network.neurons(self.layer)
        gone = {name: torch.from_numpy(~own).to(inputs.device).expand(len(inputs), -1)
                for name, own in (kept or {}).items()}  # fmt: skip

        def read(firing: Firing) -> torch.Tensor:
            return firing.scores()[0][:, neuron]

        found = firing_without(
            self.network.model, inputs, module, read, gone, self.means, neurons, self.network.bounds[module]
        )
        scores: np.ndarray = found.clamp(min=0).cpu().numpy()
        return scores

    @cached_property
    def _at_once(self) -> int:
        return images_at_once(self.listing, self.network, self.batch_size)
