"""The network with channels of lower layers cut out, and what its neurons do then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.artifacts import AttributedLayer, read_activations
from pure_cli.core.directions import module_of
from pure_cli.core.features import PURE, Kind
from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import Listing
from pure_cli.settings.evaluate import MEAN, ZERO, EvaluateSettings
from pure_cli.stages.evaluation.study import Study
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.begun import Begun, inputs_of
from pure_cli.stages.runtime.images import first_image, images_at_once, read_images
from pure_cli.stages.runtime.network import Network, open_network, workers_of
from pure_cli.stages.runtime.soundness import require_sound

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Firing

KEPT = 1000  # decoded images in memory
MANY = 64  # images that are worth processes of their own
IN_WORDS = {
    "mean": "get their mean over references",
    "zero": "are set to zero",
    "resampled": "get the maps that they have for another reference, drawn at random",
}


@dataclass
class Surgery:
    """A network in which channels of lower layers can be cut out, image by image.

    Attributes
    ----------
    network : as fast as it gets
    plain : as it was loaded, for rules of LRP
    source : by which relevances circuits are told, and so at which lower layers they are cut
    how : networks are run, and channels cut out
    notes : gets what the user should know
    begun : what was kept of the images below the lower layers, where passes of `network` begin there
    """

    sources: Sources
    layer: str
    network: Network
    plain: Network
    listing: Listing
    source: FeatureSource
    how: EvaluateSettings
    seed: int
    notes: list[str] = field(default_factory=list)
    begun: Begun | None = None
    _memory: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def lower_layers(self) -> list[str]:
        return self.source.lower_layers

    @property
    def attributed(self) -> AttributedLayer:
        """How the relevances were computed."""
        return self.sources.attributed[self.layer]

    def how_in_words(self) -> str:
        """What becomes of channels that are cut out."""
        return IN_WORDS[self.how.ablation]

    def references(self, neuron: int) -> np.ndarray:
        """(n,) data-set indices of the references of a neuron, `NO_IMAGE` where there is none."""
        found: np.ndarray = self.sources.collected.layers[self.layer].top.image[neuron]
        return found

    @cached_property
    def _means(self) -> Mapping[str, torch.Tensor]:
        """By lower layer, (D,) over all references; graphs have their own, see `circuit_graph.ablation.Ablation`."""
        import torch

        found = {}
        for lower in self.lower_layers:
            values = read_activations(self.sources.store, self.layer, f"lower/{lower}")
            found[lower] = torch.from_numpy(values.mean(axis=0)).to(self.network.device)
        return found

    @cached_property
    def widths(self) -> list[int]:
        """Channels of each lower layer."""
        return [len(self._means[lower]) for lower in self.lower_layers]

    @cached_property
    def _others(self) -> np.ndarray:
        """The references of all neurons, each once."""
        every = np.unique(self.sources.collected.layers[self.layer].top.image)
        return every[every != NO_IMAGE]

    def read(
        self, image: Sequence[int], what: Callable[[Firing], torch.Tensor], masks: np.ndarray | None = None
    ) -> np.ndarray:
        """What the layer's neurons do on some images.

        Parameters
        ----------
        image : M data-set indices
        what : reads (B, …) of how the neurons fire
        masks : (M, D) bool, the channels of the lower layers, joined, that are cut out

        Returns
        -------
        (M, …) float32
        """
        import torch

        size, parts = images_at_once(self.listing, self.network, self.how.batch_size), list[np.ndarray]()

        def compute(begin: int, end: int) -> None:
            own = image[begin:end]
            cut = None if masks is None else torch.from_numpy(masks[begin:end])
            loaded = self.images(own) if self.begun is None else self.begun.read(np.array(own, np.int64))
            with inputs_of(self.network, loaded, self.begun) as inputs:
                parts.append(self._read(own, inputs, what, cut))

        AdaptiveBatches(self.notes).each_of(len(image), size, compute)
        return np.concatenate(parts)

    def _read(
        self,
        image: Sequence[int],
        inputs: torch.Tensor,
        what: Callable[[Firing], torch.Tensor],
        masks: torch.Tensor | None,
    ) -> np.ndarray:
        import torch

        from pure_cli.core.editing import firing_without

        which: Mapping[str, torch.Tensor] = {}
        instead: Mapping[str, torch.Tensor] = {}
        if masks is not None:
            parts = torch.split(masks.to(inputs.device), self.widths, dim=1)
            which, instead = dict(zip(self.lower_layers, parts, strict=True)), self._instead(image)
        module, neurons = module_of(self.layer), self.network.neurons(self.layer)
        found = firing_without(
            self.network.model, inputs, module, what, which, instead, neurons, self.network.bounds[module]
        )
        values: np.ndarray = found.cpu().numpy()
        return values

    def _instead(self, image: Sequence[int]) -> Mapping[str, torch.Tensor]:
        """What channels are when they are cut out: (D,) by lower layer, or (B, D, …) of other images."""
        import torch

        from pure_cli.core.circuits import activations

        if self.how.ablation == MEAN:
            return self._means
        if self.how.ablation == ZERO:
            return {lower: torch.zeros_like(mean) for lower, mean in self._means.items()}
        each, place = np.unique(image, return_inverse=True)
        donors = self.network.inputs(self.images([self._donor(int(one)) for one in each]))
        return {
            lower: maps[torch.from_numpy(place).to(maps.device)]
            for lower, maps in activations(self.network.model, donors, self.lower_layers).items()
        }

    def _donor(self, image: int) -> int:
        """Another image, the same each time."""
        others = self._others[self._others != image]
        if not len(others):
            return image
        return int(np.random.default_rng([self.seed, image]).choice(others))

    def images(self, index: Sequence[int]) -> torch.Tensor:
        """(M, 3, H, W) uint8; each is decoded once for all that is done to a neuron."""
        import torch

        missing = [i for i in dict.fromkeys(index) if i not in self._memory]
        if missing:
            if len(self._memory) > KEPT:
                self._memory.clear()
                missing = list(dict.fromkeys(index))
            workers = workers_of(self.how) if len(missing) > MANY else 0
            found = read_images(self.network, self.listing, np.array(missing), workers)
            self._memory.update(zip(missing, found, strict=True))
        return torch.stack([self._memory[i] for i in index])


def open_surgery(study: Study) -> Surgery:
    """On the network of a study, by relevances at the lower layers of the first of its features that have some."""
    first = next((name for name in study.features if Kind.of(name).transform), PURE)
    kind = f"{PURE}{Kind.of(first).where}"
    network = open_network(study.sources.collected, study.how.device)
    listing = study.sources.listing([study.layer])
    return surgery_on(network, study.sources, listing, study.source(kind), study.how, study.seed, study.notes)


def surgery_on(
    network: Network,
    sources: Sources,
    listing: Listing,
    source: FeatureSource,
    how: EvaluateSettings,
    seed: int,
    notes: list[str],
    begun: Begun | None = None,
) -> Surgery:
    """On a network as it was loaded, at the lower layers of relevances; parameters as of `Surgery`."""
    layer, example = source.layer, first_image(listing, network)
    network.bound_of(layer, example)
    notes.extend(require_sound(network, listing, [layer, *source.lower_layers]))
    if begun is None:
        fast = network.ready(example, [module_of(layer), *source.lower_layers])
    else:
        fast = begun.ready(network)
    return Surgery(sources, layer, fast, network, listing, source, how, seed, notes, begun)
