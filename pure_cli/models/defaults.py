"""Layers that stand in where none is named, found from the structure of a network alone.

A network is a chain of parts: blocks, stages, convolutions. Its last part whose output still has positions is the
layer. The lower layer is what the stage before ends with, where a stage is a run of parts of one resolution; in a
network of a single resolution (vision transformers, mixers) it is the part before.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import prod

import torch
from torch import nn

from pure_cli.core.circuits import forward_to
from pure_cli.core.hooks import FUNCTION
from pure_cli.core.layout import channels_first
from pure_cli.errors import PureError
from pure_cli.models.layers import Layer, NoGradient, check_leads_to, is_activation

MAP = 2  # axes of positions of a map
HALVED = 4  # positions that a stride of two leaves one of
ONE_PART = 0.9  # of the layers with weights: a child that holds more is not one part of the chain, but the chain
_LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
LED_TO = 16  # excited neurons of a layer that its hidden layer has to lead to, evenly spread
WHOLE = 0.5  # a child without positions that holds more is the network, and what it is in a wrapper


@dataclass(frozen=True)
class Part:
    """A module of a chain.

    Attributes
    ----------
    name : of the module
    layer : what it gives: the module's own output; of one that is never called, as where a network was traced, what
        the last call in it gives
    """

    name: str
    layer: Layer


def default_layers(model: nn.Module, image: torch.Tensor, layers: list[Layer]) -> tuple[str, str]:
    """The last part of a network with positions, and what the stage before it ends with.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    image : (1, 3, H, W) float
    layers : of the model, as `models.layers.list_layers` has them

    Raises
    ------
    PureError
        The network has no two such parts: the user has to name the layers.
    """
    network = _Network(model, layers)
    parts = [part for part in network.chain() if part.layer.calls == 1]
    if len(parts) >= 2:
        *before, last = parts
        stages = [part for part in before[1:] if network.resolution(part) != network.resolution(last)]
        for lower in [*reversed(stages), *reversed(before)]:
            if mixes_channels(model, image, last.layer.name, lower.layer.name):
                return last.layer.name, lower.layer.name
    raise PureError(
        "This network has no stages that pure recognises. Name a layer with --layer, and one below it with "
        "--lower-layer; `pure collect --list-layers` shows them."
    )


def lower_layer_of(model: nn.Module, image: torch.Tensor, layer: str, layers: list[Layer]) -> list[str]:
    """A layer that leads to one and mixes channels on the way, the nearest of its kind.

    The parts beside it come first (``blocks.10`` for ``blocks.11``), then what has the same name in the block before
    (``blocks.10.mlp.act`` for ``blocks.11.mlp.act``), then the parts beside the block that it is in. The first block of
    a stage is led to by the stage before. Nothing inside of a layer lies below it.

    Parameters as of `default_layers`; an empty list where there is none.
    """
    order = [other.name for other in layers]
    usable = {other.name for other in layers[: order.index(layer)] if other.calls == 1 and other.shape}
    with suppress(NoGradient):  # which matters when relevances are asked for
        for lower in dict.fromkeys(_nearest(model, layer, order)):
            inside = lower.startswith((f"{layer}.", f"{layer}{FUNCTION}"))
            if lower in usable and not inside and mixes_channels(model, image, layer, lower):
                return [lower]
    return []


def hidden_layer_of(model: nn.Module, image: torch.Tensor, layer: str, layers: list[Layer]) -> str:
    """The hidden layer of a layer's last block: what comes out of the last activation function inside of it that all of
    its neurons are made from.

    Parameters as of `default_layers`; of the image the shape alone counts, so that every data set has the same answer.
    "" where there is none, and where the layer has no map: for tokens it was not measured whether circuits through it
    are better ones.
    """
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).to(image)
    order = [other.name for other in layers]
    own = layers[order.index(layer)]
    if len(own.extent) != MAP:
        return ""
    for found in reversed(layers[: order.index(layer)]):
        inside = found.name.startswith((f"{layer}.", f"{layer}{FUNCTION}"))
        usable = found.calls == 1 and found.shape and len(found.extent) == MAP
        if inside and usable and is_activation(found) and prod(found.extent) >= prod(own.extent):
            with suppress(PureError):
                if mixes_channels(model, noise, layer, found.name) and _leads_to_all(model, noise, layer, found.name):
                    return found.name
    return ""


def _leads_to_all(model: nn.Module, image: torch.Tensor, layer: str, lower: str) -> bool:
    """Whether a lower layer leads to all neurons of a layer, and not to one branch of it."""
    output, tensors = forward_to(model, image, layer, [lower])
    maps = channels_first(output)[0].flatten(1)
    excited = (maps.detach().amax(dim=1) > 0).nonzero()[:, 0]  # behind a ReLU, the others have no gradient
    for place in torch.linspace(0, len(excited) - 1, min(LED_TO, len(excited))).long().tolist():
        (gradient,) = torch.autograd.grad(maps[excited[place]].sum(), tensors[lower], retain_graph=True)
        if not (gradient.abs() > 0).any():  # nor where it is no number
            return False
    return len(excited) > 0


def _nearest(model: nn.Module, layer: str, order: list[str]) -> Iterator[str]:
    """Names that may stand for the layer below one, the likeliest first."""
    modules = dict(model.named_modules())

    def parent_of(name: str) -> str:
        """The module whose code calls a module or a function; "" for the network itself."""
        module, colon, _ = name.partition(FUNCTION)
        own_code = colon and any(True for _ in modules[module].children())  # or one call of a shared module
        return module if own_code else module.rpartition(".")[0]

    parents = {name: parent_of(name) for name in order}

    def beside(name: str) -> list[str]:
        there = parent_of(name)
        return [other for other in reversed(order) if other != name and parents[other] == there]

    yield from beside(layer)
    parent = parent_of(layer)
    if layer in modules and _is_block(modules[layer]) and isinstance(modules[parent], _LISTS):
        stage = parent
        while stage:
            yield from beside(stage)
            stage = "" if stage in parents else parent_of(stage)  # of a list that is only gone through, its module
    while parent:
        inside = layer.removeprefix(parent)
        yield from (f"{other}{inside}" for other in beside(parent))
        parent = parent_of(parent)
    parent = parent_of(layer)
    while parent:
        yield from beside(parent)
        parent = parent_of(parent)


def mixes_channels(model: nn.Module, image: torch.Tensor, layer: str, lower: str) -> bool:
    """Whether a lower layer leads to a layer, and not channel by channel, as to a batch norm from its convolution."""
    try:
        check_leads_to(model, image, layer, [lower])
    except NoGradient:
        raise
    except PureError:
        return False
    output, tensors = forward_to(model, image, layer, [lower])
    strongest = output[:, channels_first(output.detach())[0].amax(dim=-1).argmax()]
    (gradient,) = torch.autograd.grad(strongest.sum(), tensors[lower])
    return int(channels_first(gradient)[0].abs().amax(dim=-1).count_nonzero()) != 1


def chain(model: nn.Module, layers: list[Layer]) -> list[Layer]:
    """The parts of a network that follow one another, in their order.

    They are the children of the model, or of that child of it that holds nearly all of the weights; a sequence with
    several resolutions stands for its parts, and so does the only sequence of blocks. Modules that give no single
    tensor, and networks in a wrapper, stand for their children. Where some are blocks of several layers, single layers
    between these are left out.
    """
    return [part.layer for part in _Network(model, layers).chain()]


class _Network:
    """The modules of a network that ran, with the layers that they hold."""

    def __init__(self, model: nn.Module, layers: list[Layer]):
        self._model, self._layers = model, layers
        self._by_name = {layer.name: layer for layer in layers}
        self._order = {name: i for i, name in enumerate(self._by_name)}
        self._weights = [
            name for name, module in model.named_modules() if name in self._by_name and _own_weights(module)
        ]

    def chain(self) -> list[Part]:
        """As of `chain`."""
        parent = ""
        while True:
            parts = [part for child in self._children(parent) for part in self._stages_within(child)]
            parts = _before_pooling(sorted((part for part in parts if self._held(part.name)), key=self._place))
            sequences = [(part, self._sequences(part.name)) for part in parts]
            found = [(part, own) for part, own in sequences if own]
            if len(found) == 1 and len(found[0][1]) == 1:
                return self._of_sequence(parts, *found[0])
            blocks = [part for part in parts if self._is_block(part.name)]
            total = sum(len(self._held(part.name)) for part in parts)
            largest = max(blocks, key=lambda part: len(self._held(part.name)), default=None)
            if largest and len(self._held(largest.name)) > ONE_PART * total:
                parent = largest.name
                continue
            return blocks if len(blocks) >= 2 else parts

    def resolution(self, part: Part) -> int:
        """Positions that a part works at; what comes behind its blocks, as where a stage ends with a stride, does not
        count."""
        sequences = self._sequences(part.name)
        own = self._children(sequences[0]) if len(sequences) == 1 else []
        return _resolution(own[-1].layer if own else part.layer)

    def _of_sequence(self, parts: list[Part], part: Part, sequences: list[str]) -> list[Part]:
        """The chain where one part has all the blocks: these, behind the parts before."""
        place = parts.index(part)
        own = _before_pooling([*parts[:place], *self._children(sequences[0])])
        later = [other for other in parts[place + 1 :] if self._is_block(other.name)]
        whole = [*own, *later]
        blocks = [other for other in whole if self._is_block(other.name)]
        return blocks if len(blocks) >= 2 else whole

    def _place(self, part: Part) -> int:
        return self._order[part.layer.name]

    def _held(self, name: str) -> list[str]:
        return [other for other in self._weights if other == name or other.startswith(f"{name}.")]

    def _is_block(self, name: str) -> bool:
        return any(other != name for other in self._held(name))

    def _stages_within(self, part: Part) -> list[Part]:
        """The parts of a sequence that runs through several resolutions; otherwise the part itself."""
        if not isinstance(self._model.get_submodule(part.name), nn.Sequential):
            return [part]
        own = self._children(part.name)
        return own if len({_resolution(child.layer) for child in own}) > 1 else [part]

    def _children(self, parent: str) -> list[Part]:
        """The children that give activations with positions; of those that give none, theirs."""
        found = []
        for own, child in self._model.get_submodule(parent).named_children():
            name = f"{parent}.{own}" if parent else own
            layer = self._by_name.get(name)
            traced = layer is None and type(child) is nn.Module
            gives = self._last_in(name) if traced else layer
            if gives and len(gives.shape or ()) > 1:
                found.append(Part(name, gives))
            elif not gives or len(self._held(name)) > WHOLE * len(self._held_by(parent)) or self._sequences(name):
                found += self._children(name)
        return found

    def _held_by(self, parent: str) -> list[str]:
        return self._held(parent) if parent else self._weights

    def _last_in(self, name: str) -> Layer | None:
        """What the last call in a module gives that was taken apart when its network was traced: the calls of
        functions are the network's own then."""
        inside = [i for i, layer in enumerate(self._layers) if layer.name.startswith(f"{name}.")]
        if not inside:
            return None
        stop = inside[-1] + 1
        while stop < len(self._layers) and self._layers[stop].name.startswith(FUNCTION):
            stop += 1
        usable = (layer for layer in reversed(self._layers[inside[0] : stop]) if layer.calls == 1 and layer.shape)
        return next(usable, None)

    def _sequences(self, name: str) -> list[str]:
        """Sequences of blocks of one kind in a module, or the module itself; not those within blocks."""
        module = self._model.get_submodule(name)
        if isinstance(module, _LISTS):
            blocks = [part for part in self._children(name) if self._held(part.name)]
            kinds = {type(self._model.get_submodule(part.name)) for part in blocks}
            alike = len(kinds) == 1 and all(self._is_block(part.name) for part in blocks)
            if alike and (len(blocks) > 1 or not self._sequences(blocks[0].name)):
                return [name] if not isinstance(module, nn.Sequential) or kinds != {nn.Sequential} else []
        return [found for own, _ in module.named_children() for found in self._sequences(f"{name}.{own}")]


def _is_block(module: nn.Module) -> bool:
    """Whether a module holds several layers with weights."""
    return sum(map(_own_weights, module.modules())) > 1


def _own_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _resolution(layer: Layer) -> int:
    """Positions; a class token beside those of the image makes no other resolution."""
    return layer.grid.rows * layer.grid.columns if layer.grid else prod(layer.extent)


def _before_pooling(parts: list[Part]) -> list[Part]:
    """Those parts, in their order, that come before all positions are pooled into one.

    A stride halves small maps to a single position, too: on small images that is the last stage of many networks.
    """
    kept: list[Part] = []
    for part in parts:
        before = _resolution(kept[-1].layer) if kept else 1
        if _resolution(part.layer) > 1 or before <= HALVED:
            kept.append(part)
    return kept
