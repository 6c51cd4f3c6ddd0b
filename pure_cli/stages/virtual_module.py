"""Virtual neurons as parts of a network: what each of them adds on any image, and the network without some of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pure_cli.artifacts import Clustering, need_clusterings, need_layers
from pure_cli.core.assignment import Assigner
from pure_cli.core.circuits import Circuits, forward_to
from pure_cli.core.directions import AT, module_of
from pure_cli.core.editing import channels_scaled
from pure_cli.core.features import PURE, Kind
from pure_cli.core.forward import run
from pure_cli.core.hooks import hooked
from pure_cli.core.neurons import NO_PART, virtual_of
from pure_cli.core.prefix import begun_at
from pure_cli.core.rewiring import channel_shares, split_by_channels
from pure_cli.errors import PureError
from pure_cli.stages.inputs.choice import meant_features, named_neurons, there_are
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.relevances.image_features import ImageFeatures
from pure_cli.stages.runtime.images import first_image
from pure_cli.stages.runtime.network import Network, open_network
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from PIL import Image

SAME = 1e-4  # of activations that are computed twice


@dataclass
class CircuitReader:
    """Which virtual neurons the circuits of a layer's neurons belong to, on images that a network is given.

    Attributes
    ----------
    network : as it was loaded
    rule, features : by which circuits are computed, and what of them is compared
    relevances : of the references, at the lower layer that circuits are compared at, or the first there is
    """

    layer: str
    source: FeatureSource
    clustering: Clustering
    network: Network
    rule: str
    features: ImageFeatures
    relevances: FeatureSource
    _assigners: dict[int, Assigner | None] = field(default_factory=dict)

    @property
    def example(self) -> torch.Tensor:
        """(1, 3, H, W) uint8, the image by which the network was looked at."""
        assert self.network.first is not None, "the bound of the layer was looked for"
        return self.network.first[1]

    @classmethod
    def of(cls, sources: Sources, source: FeatureSource, clustering: Clustering, network: Network) -> CircuitReader:
        """By a clustering of features that any image has, on a network whose bounds are known."""
        layer, attributed = source.layer, sources.attributed[source.layer]
        features = ImageFeatures({source.features: source.lower_layers}, attributed.at_maximum)
        where = Kind(PURE, tuple(source.lower_layers)).where
        relevances = sources.features_of(layer, sources.named(layer, PURE + where))
        return cls(layer, source, clustering, network, attributed.rule, features, relevances)

    def assigner(self, neuron: int) -> Assigner | None:
        """Of a neuron; None where no reference has a virtual neuron.

        Raises
        ------
        PureError
            It was not clustered.
        """
        if neuron not in self._assigners:
            place = int(np.searchsorted(self.clustering.neuron, neuron))
            if place == len(self.clustering.neuron) or self.clustering.neuron[place] != neuron:
                raise PureError(
                    f"Neuron {neuron} of '{self.layer}' has no virtual neurons yet. "
                    f"Run `pure cluster --layer {self.layer} --neurons {neuron}` first."
                )
            self._assigners[neuron] = self.source.assigner(self.clustering, neuron)
        return self._assigners[neuron]

    def shares(self, images: torch.Tensor, neurons: Iterable[int]) -> dict[int, torch.Tensor]:
        """(B, V + 1) of each neuron: how much its circuits belong to its virtual neurons, and at last to none.

        Parameters
        ----------
        images : (B, 3, H, W) float, as the model takes them; their gradients end here
        """
        from pure_cli.models.rules import circuits_for, in_force

        wanted, module, found = list(neurons), module_of(self.layer), {}
        with torch.inference_mode(False), in_force(self.rule, self.network.model):
            circuits: Circuits = circuits_for(
                self.rule, self.network.model, images.detach().clone(), module, self.features.every_lower_layer,
                self.network.neurons(self.layer), self.network.bounds[module],
            )  # fmt: skip
            activations = self.features.activations(circuits)
            for neuron in wanted:
                which = torch.full((len(images),), neuron, device=images.device)
                relevances = self.features.relevances(circuits, which, last=neuron == wanted[-1])
                points = {**activations, **relevances}[self.source.features]
                fires = (circuits.firing[:, neuron] > 0).any(dim=-1).cpu().numpy()
                found[neuron] = torch.from_numpy(self._shares(neuron, points, fires)).to(images.device)
        return found

    def _shares(self, neuron: int, points: np.ndarray, fires: np.ndarray) -> np.ndarray:
        assigner = self.assigner(neuron)
        if assigner is None:
            return np.ones((len(points), 1))
        shares = assigner.shares(points)
        shares[~fires] = 0
        shares[~fires, -1] = 1
        return shares

    def circuits(self, neuron: int) -> tuple[str, np.ndarray]:
        """A lower layer, and (V, D) mean relevances of its channels on the references of each virtual neuron.

        Raises
        ------
        PureError
            The virtual neurons are by several lower layers, or no reference has one.
        """
        if len(self.source.lower_layers) > 1:
            raise PureError(
                f"The virtual neurons of '{self.layer}' are by several lower layers, and channels of one can be shared "
                "out. Choose others with `pure choose --features`."
            )
        relevances = self.relevances
        labels = self.clustering.label[np.searchsorted(self.clustering.neuron, neuron)]
        count = int(labels.max(initial=-1)) + 1
        if not count:
            raise PureError(f"No reference of neuron {neuron} of '{self.layer}' has a virtual neuron.")
        (rows,) = relevances.rows(np.array([neuron]))
        return relevances.lower_layers[0], np.stack([rows[labels == v].mean(axis=0) for v in range(count)])


def open_reader(store: Store, layer: str, device: str = "auto") -> CircuitReader:
    """What reads the circuits of a layer, by the virtual neurons that addresses mean.

    Raises
    ------
    PureError
        No virtual neurons, stale ones, or those of features that need crops.
    """
    sources, clusterings = Sources(store), need_clusterings(store)
    need_layers([layer], there_are(clusterings.values()), "cluster")
    source, clustering = meant_features(sources, layer, clusterings)
    network = open_network(sources.collected, device)
    network.bound_of(layer, first_image(sources.listing([layer]), network))
    return CircuitReader.of(sources, source, clustering, network)


class NeuronMaps(nn.Module):
    """From images to maps that add up to that of a neuron, one for each of its virtual neurons.

    Attributes
    ----------
    addresses : of the parts; the last is the rest
    at : the layer whose activations the module takes in place of images; "" for images
    """

    def __init__(self, reader: CircuitReader, neuron: int, rest: str, at: str, lower_layers: Sequence[str]):
        super().__init__()
        self.neuron, self.at, self._reader = neuron, at, reader
        assigner = reader.assigner(neuron)
        count = len(assigner.centroids) if assigner else 0
        self.addresses = [
            *(f"{reader.layer}/{neuron}.{i + 1}" for i in range(count)),
            f"{reader.layer}/{neuron} {rest}",
        ]
        if at:
            _require_leads_alone(reader, at, lower_layers)

    def inputs(self, *images: Image.Image) -> torch.Tensor:
        """Pictures as the module takes them, on its device: (B, 3, H, W) float, or what `at` gives for these."""
        network = self._reader.network
        pixels = [torch.from_numpy(network.preprocessing.geometry(image.convert("RGB"))) for image in images]
        found = network.inputs(torch.stack(pixels))
        return _output_of(network.model, found, self.at) if self.at else found

    @contextmanager
    def _images(self, given: torch.Tensor) -> Iterator[torch.Tensor]:
        """A context in which the network computes of what the module was given when it runs on the images yielded."""
        wanted = given if torch.is_grad_enabled() else given.detach()
        with torch.inference_mode(False), ExitStack() as stack:
            images = wanted.clone()
            if self.at:
                images = stack.enter_context(_begun_at(self._reader, self.at, images))
            yield images


class VirtualMaps(NeuronMaps):
    """From images to the activation maps of a neuron's virtual neurons, which add up to that of the neuron.

    An image's circuit says how much it belongs to each virtual neuron (`pure_cli.core.assignment.Assigner`); each has
    this share of the neuron's map, and the rest is what belongs to none of them. Gradients go through the map, and not
    through the shares.
    """

    def __init__(self, reader: CircuitReader, neuron: int, at: str = ""):
        super().__init__(reader, neuron, NO_PART, at, reader.features.every_lower_layer)

    def shares(self, given: torch.Tensor) -> torch.Tensor:
        """(B, V + 1) of images (B, 3, H, W) float, as the model takes them, or of what `at` gives for them."""
        with self._images(given.detach()) as images:
            return self._reader.shares(images, [self.neuron])[self.neuron]

    def activation(self, given: torch.Tensor) -> torch.Tensor:
        """(B, …) the map of the neuron itself."""
        network, layer = self._reader.network, self._reader.layer
        with self._images(given) as images:
            found, _ = forward_to(network.model, images, module_of(layer))
        read = network.neurons(layer).read(found)[:, self.neuron]
        return read if torch.is_grad_enabled() and given.requires_grad else read.detach()

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """(B, V + 1, H, W), or without H and W, or with one axis for both, as the layer has it."""
        whole, shares = self.activation(given)[:, None], self.shares(given)
        return whole * shares.to(whole.dtype).reshape(*shares.shape, *[1] * (whole.ndim - 2))


class RewiredMaps(NeuronMaps):
    """From images to parts of a neuron's map, by fixed shares of its incoming channels; see `split_by_channels`.

    Each lower channel belongs to virtual neurons by the positive relevances that it has in the means of their
    references. Gradients go through all parts.
    """

    def __init__(self, reader: CircuitReader, neuron: int, at: str = ""):
        lower_layer, circuits = reader.circuits(neuron)
        super().__init__(reader, neuron, "rest", at, [lower_layer])
        self.lower_layer = lower_layer
        self.register_buffer("channel_shares", torch.from_numpy(channel_shares(circuits)), persistent=False)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """(B, V + 1, H, W) as of `VirtualMaps`; parts can be negative."""
        network, layer = self._reader.network, self._reader.layer
        shares: torch.Tensor = self.channel_shares  # type: ignore[assignment]
        with self._images(given) as images:
            return split_by_channels(
                network.model, images, module_of(layer), self.lower_layer, self.neuron, shares, network.neurons(layer)
            )


def _output_of(model: nn.Module, images: torch.Tensor, name: str) -> torch.Tensor:
    """What a module or function gives for images, as it is."""
    found: list[torch.Tensor] = []
    with torch.no_grad(), hooked(model, {name: lambda output: found.append(output.clone())}):
        run(model, images)
    return found[0]


def _begun_at(reader: CircuitReader, at: str, given: torch.Tensor) -> AbstractContextManager[torch.Tensor]:
    height, width = reader.example.shape[-2:]
    return begun_at(reader.network.model, at, given, (height, width))


def _require_leads_alone(reader: CircuitReader, at: str, lower_layers: Sequence[str]) -> None:
    """Make sure that a layer's activations are all that a neuron, and the lower layers of its circuits, depend on.

    Raises
    ------
    PureError
        There is no such layer, or they depend on more.
    """
    from pure_cli.models.layers import check_layer, list_layers

    model, module, image = reader.network.model, module_of(reader.layer), reader.network.inputs(reader.example)
    check_layer(at, list_layers(model, image), model)
    expected, _ = forward_to(model, image, module, lower_layers)
    with _begun_at(reader, at, _output_of(model, image, at)) as unknown:
        end, lower = forward_to(model, unknown, module, lower_layers)
    without = [name for name, output in lower.items() if not output.isfinite().all()]
    if not torch.allclose(end, expected, rtol=SAME):
        without.append(reader.layer)
    if without:
        raise PureError(
            f"'{without[0]}' depends on more than what '{at}' gives: it comes before, or something goes around. "
            "Name a layer that all goes through, or leave it out and give images."
        )


class EditedNetwork(nn.Module):
    """The network of a workspace with some virtual neurons scaled: 0 silences one, 1 leaves it as it is."""

    def __init__(self, network: Network, readers: Mapping[str, CircuitReader], scales: Mapping[str, Any]):
        super().__init__()
        self.network, self._readers, self._scales = network, readers, scales
        self.model = network.model

    @property
    def layers(self) -> list[str]:
        """In which something is edited."""
        return list(self._scales)

    def forward(self, images: torch.Tensor) -> Any:
        """What the model gives for images (B, 3, H, W) float; to the bit, where nothing is edited."""
        if not self._scales:
            return self.model(images)
        factors = {}
        for layer, scales in self._scales.items():
            shares = self._readers[layer].shares(images, scales)
            factors[module_of(layer)] = {
                neuron: shares[neuron] @ torch.as_tensor(scale, dtype=torch.float64, device=images.device)
                for neuron, scale in scales.items()
            }
        with channels_scaled(self.model, images, factors):
            return run(self.model, images)


@contextmanager
def edited(
    store: Store, silence: Iterable[str] = (), scale: Mapping[str, float] | None = None, device: str = "auto"
) -> Iterator[EditedNetwork]:
    """A context with the network in which virtual neurons are silenced or scaled; see `EditedNetwork`.

    Parameters
    ----------
    silence : addresses of virtual neurons, or of whole neurons
    scale : address to factor

    Raises
    ------
    PureError
        There is no such virtual neuron, it is named twice, or it is a direction.
    """
    wanted = [*((address, 0.0) for address in silence), *(scale or {}).items()]
    readers, scales = dict[str, CircuitReader](), dict[str, dict[int, np.ndarray]]()
    network: Network | None = None
    seen: set[tuple[str, int, int]] = set()
    for text, factor in wanted:
        for layer, neuron, numbers in _meant(store, text):
            if layer not in readers:
                readers[layer] = open_reader(store, layer, device)
                network = network or readers[layer].network
                readers[layer].network = _one(network, readers[layer].network)
            assigner = readers[layer].assigner(neuron)
            count = len(assigner.centroids) if assigner else 0
            own = scales.setdefault(layer, {}).setdefault(neuron, np.ones(count + 1))
            parts = virtual_of(neuron, numbers, count, layer) + ([count] if not numbers else [])
            if any((layer, neuron, part) in seen for part in parts):
                raise PureError(f"{text} is edited twice. Name each virtual neuron once.")
            seen |= {(layer, neuron, part) for part in parts}
            own[parts] = factor
    network = network or open_network(Sources(store).collected, device)
    yield EditedNetwork(network, readers, scales)


def _one(first: Network, other: Network) -> Network:
    """The first network, which knows of the other's bounds."""
    first.bounds.update(other.bounds)
    return first


def _meant(store: Store, text: str) -> Iterator[tuple[str, int, frozenset[int]]]:
    """Layer, neuron and numbers of virtual neurons that addresses name."""
    collected = Sources(store).collected
    for layer, neuron, numbers in named_neurons(collected, text):
        if AT in layer or collected.layers[layer].directions:
            raise PureError(f"The neurons of '{layer}' are directions, which cannot be edited one by one.")
        yield layer, neuron, numbers
