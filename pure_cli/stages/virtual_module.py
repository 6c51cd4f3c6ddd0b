"""Virtual neurons as parts of a network: what each of them adds on any image, and the network without some of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pure_cli.core.circuits import forward_to
from pure_cli.core.directions import AT, module_of
from pure_cli.core.editing import channels_scaled
from pure_cli.core.forward import run
from pure_cli.core.hooks import hooked
from pure_cli.core.neurons import NO_PART, virtual_of
from pure_cli.core.prefix import begun_at
from pure_cli.core.rewiring import channel_shares, split_by_channels
from pure_cli.errors import PureError
from pure_cli.stages.assignment.reader import CircuitReader, open_reader
from pure_cli.stages.inputs.choice import named_neurons
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.runtime.network import Network, open_network
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from PIL import Image

SAME = 1e-4  # of activations that are computed twice


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
            self._like = _require_leads_alone(reader, at, lower_layers)

    def inputs(self, *images: Image.Image) -> torch.Tensor:
        """Pictures as the module takes them, on its device: (B, 3, H, W) float, or what `at` gives for these."""
        network = self._reader.network
        for image in images:
            if not hasattr(image, "convert"):
                raise PureError(
                    f"Give pictures as PIL has them, as in inputs(Image.open(path)), and not {type(image).__name__}."
                )
        pixels = [torch.from_numpy(network.preprocessing.geometry(image.convert("RGB"))) for image in images]
        found = network.inputs(torch.stack(pixels))
        return _output_of(network.model, found, self.at) if self.at else found

    def _require_shape(self, given: Any) -> None:
        expected = self._like if self.at else (3, None, None)
        shape = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
        if not isinstance(given, torch.Tensor) or given.ndim != 1 + len(expected) or given.shape[1] != expected[0]:
            what = f"what '{self.at}' gives, ({', '.join(['B', *map(str, expected)])})" if self.at else "(B, 3, H, W)"
            raise PureError(
                f"The module takes {what}, and not {shape}. `module.inputs(image, …)` makes it of pictures."
            )

    @contextmanager
    def _images(self, given: torch.Tensor) -> Iterator[torch.Tensor]:
        """A context in which the network computes of what the module was given when it runs on the images yielded."""
        self._require_shape(given)
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


def _require_leads_alone(reader: CircuitReader, at: str, lower_layers: Sequence[str]) -> tuple[int, ...]:
    """Make sure that a layer's activations are all that a neuron, and the lower layers of its circuits, depend on.

    Returns
    -------
    tuple of int
        The shape of what it gives for an image.

    Raises
    ------
    PureError
        There is no such layer, or they depend on more.
    """
    from pure_cli.models.layers import check_layer, list_layers

    model, module, image = reader.network.model, module_of(reader.layer), reader.network.inputs(reader.example)
    check_layer(at, list_layers(model, image), model)
    if at == module:
        raise PureError(
            f"'{at}' is the layer of the neuron itself. Name one below it, or leave it out and give images."
        )
    expected, _ = forward_to(model, image, module, lower_layers)
    given = _output_of(model, image, at)
    with _begun_at(reader, at, given) as unknown:
        end, lower = forward_to(model, unknown, module, lower_layers)
    without = [name for name, output in lower.items() if not output.isfinite().all()]
    if not torch.allclose(end, expected, rtol=SAME):
        without.append(reader.layer)
    if without:
        raise PureError(
            f"'{without[0]}' depends on more than what '{at}' gives: it comes before, or something goes around. "
            "Name a layer that all goes through, or leave it out and give images."
        )
    return tuple(given.shape[1:])


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

    @property
    def clusterings(self) -> list[tuple[str, int | str]]:
        """Features and k by which these have virtual neurons, of each layer."""
        own = [self._readers[layer].clustering.provenance.settings for layer in self._scales]
        return [(one["features"], one["k"]) for one in own]

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
            return self.model(images.clone())


@contextmanager
def edited(
    store: Store, silence: Iterable[str] = (), scale: Mapping[str, float] | None = None, device: str = "auto"
) -> Iterator[EditedNetwork]:
    """A context with the network in which virtual neurons are silenced or scaled; see `EditedNetwork`.

    Parameters
    ----------
    silence : addresses of virtual neurons, of what belongs to none of them (``201.none``), or of whole neurons
    scale : address to factor

    Raises
    ------
    PureError
        There is no such virtual neuron, it is named twice, it is a direction, or a factor is no number.
    """
    wanted = [(str(address), 0.0) for address in silence]
    wanted += [(str(address), _factor(address, factor)) for address, factor in (scale or {}).items()]
    readers, scales = dict[str, CircuitReader](), dict[str, dict[int, np.ndarray]]()
    network: Network | None = None
    seen: set[tuple[str, int, int]] = set()
    for text, factor in wanted:
        for layer, neuron, numbers, rest in _meant(store, text):
            if layer not in readers:
                readers[layer] = open_reader(store, layer, device)
                network = network or readers[layer].network
                readers[layer].network = _one(network, readers[layer].network)
            assigner = readers[layer].assigner(neuron)
            count = len(assigner.centroids) if assigner else 0
            own = scales.setdefault(layer, {}).setdefault(neuron, np.ones(count + 1))
            parts = [count] if rest else virtual_of(neuron, numbers, count, layer) + ([] if numbers else [count])
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


def _factor(address: object, factor: object) -> float:
    try:
        found = float(factor)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise PureError(f"The factor of {address} has to be a number, and is {factor!r}.")
    return found


def _meant(store: Store, text: str) -> Iterator[tuple[str, int, frozenset[int], bool]]:
    """Layer, neuron and numbers of virtual neurons that addresses name, and whether it is what belongs to none."""
    collected = Sources(store).collected
    for part in text.split(","):
        whole = part.strip().removesuffix(f".{NO_PART}")
        for layer, neuron, numbers in named_neurons(collected, whole):
            if AT in layer or collected.layers[layer].directions:
                raise PureError(f"The neurons of '{layer}' are directions, which cannot be edited one by one.")
            rest = whole != part.strip()
            if rest and numbers:
                raise PureError(f"'{part}' is no address: write {neuron}.{NO_PART} for what belongs to none.")
            yield layer, neuron, numbers, rest
