"""Layers that stand in where none is named, found from the structure of a network alone.

A network is a chain of parts: blocks, stages, convolutions. Its last part whose output still has positions is the
layer. The lower layer is what the stage before ends with, where a stage is a run of parts of one resolution; in a
network of a single resolution (vision transformers, mixers) it is the part before.
"""

from collections.abc import Iterator
from contextlib import suppress
from math import prod

import torch
from torch import nn

from pure_cli.core.circuits import forward_to
from pure_cli.core.layout import channels_first
from pure_cli.errors import PureError
from pure_cli.models.layers import Layer, NoGradient, check_leads_to

HALVED = 4  # positions that a stride of two leaves one of
ONE_PART = 0.9  # of the layers with weights: a child that holds more is not one part of the chain, but the chain


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
    parts = [part for part in chain(model, layers) if part.calls == 1]
    if len(parts) >= 2:
        *before, layer = parts
        stages = [part for part in before[1:] if _resolution(part) != _resolution(layer)]
        for lower in [*reversed(stages), *reversed(before)]:
            if mixes_channels(model, image, layer.name, lower.name):
                return layer.name, lower.name
    raise PureError(
        "This network has no stages that pure recognises. Name a layer with --layer, and one below it with "
        "--lower-layer; `pure collect --list-layers` shows them."
    )


def lower_layer_of(model: nn.Module, image: torch.Tensor, layer: str, layers: list[Layer]) -> list[str]:
    """A layer that leads to one and mixes channels on the way, the nearest of its kind.

    The parts beside it come first (``blocks.10`` for ``blocks.11``), then what has the same name in the block before
    (``blocks.10.mlp.act`` for ``blocks.11.mlp.act``), then the parts beside the block that it is in.

    Parameters as of `default_layers`; an empty list where there is none.
    """
    order = [other.name for other in layers]
    usable = {other.name for other in layers[: order.index(layer)] if other.calls == 1 and other.shape}
    with suppress(NoGradient):  # which matters when relevances are asked for
        for lower in dict.fromkeys(_nearest(layer, order)):
            if lower in usable and mixes_channels(model, image, layer, lower):
                return [lower]
    return []


def _nearest(layer: str, order: list[str]) -> Iterator[str]:
    """Names that may stand for the layer below one, the likeliest first."""
    parent, _, own = layer.rpartition(".")
    yield from reversed([name for name in order if name.rpartition(".")[0] == parent])
    inside = own
    while parent:
        above, _, part = parent.rpartition(".")
        beside = list(reversed([name for name in order if name.rpartition(".")[0] == above and name != parent]))
        yield from (f"{name}.{inside}" for name in beside)
        parent, inside = above, f"{part}.{inside}"
    parent = layer.rpartition(".")[0]
    while parent:
        above = parent.rpartition(".")[0]
        yield from reversed([name for name in order if name.rpartition(".")[0] == above and name != parent])
        parent = above


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
    several resolutions stands for its parts. Where some are blocks of several layers, single layers between these are
    left out.
    """
    by_name = {layer.name: layer for layer in layers}
    order = {name: i for i, name in enumerate(by_name)}
    weights = [name for name, module in model.named_modules() if name in by_name and _own_weights(module)]

    def held(name: str) -> list[str]:
        return [other for other in weights if other == name or other.startswith(f"{name}.")]

    parent = ""
    while True:
        children = [name for name in _children(model, parent, by_name) if len(by_name[name].shape or ()) > 1]
        parts = [part for name in children for part in _stages_within(model, name, by_name) if held(part)]
        parts = _before_pooling(sorted(parts, key=order.__getitem__), by_name)
        blocks = [name for name in parts if any(other != name for other in held(name))]
        total = sum(len(held(name)) for name in parts)
        largest = max(blocks, key=lambda name: len(held(name)), default="")
        if largest and len(held(largest)) > ONE_PART * total:
            parent = largest
            continue
        return [by_name[name] for name in (blocks if len(blocks) >= 2 else parts)]


def _stages_within(model: nn.Module, name: str, by_name: dict[str, Layer]) -> list[str]:
    """The parts of a sequence that runs through several resolutions; otherwise the part itself."""
    if not isinstance(model.get_submodule(name), nn.Sequential):
        return [name]
    own = [child for child in _children(model, name, by_name) if len(by_name[child].shape or ()) > 1]
    return own if len({_resolution(by_name[child]) for child in own}) > 1 else [name]


def _children(model: nn.Module, parent: str, by_name: dict[str, Layer]) -> Iterator[str]:
    """Names of the children that ran; of a list that is only gone through, its own."""
    module = model.get_submodule(parent) if parent else model
    for own, child in module.named_children():
        name = f"{parent}.{own}" if parent else own
        if name in by_name:
            yield name
        elif isinstance(child, nn.ModuleList | nn.ModuleDict | nn.Sequential):
            yield from _children(model, name, by_name)


def _own_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _resolution(layer: Layer) -> int:
    return prod(layer.extent)


def _before_pooling(parts: list[str], by_name: dict[str, Layer]) -> list[str]:
    """Those parts, in their order, that come before all positions are pooled into one.

    A stride halves small maps to a single position, too: on small images that is the last stage of many networks.
    """
    kept: list[str] = []
    for name in parts:
        before = _resolution(by_name[kept[-1]]) if kept else 1
        if _resolution(by_name[name]) > 1 or before <= HALVED:
            kept.append(name)
    return kept
