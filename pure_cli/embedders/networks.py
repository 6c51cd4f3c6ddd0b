"""Networks as embedders: what one of their layers gives, pooled over space."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from pure_cli.core.circuits import activations
from pure_cli.core.layout import channels_first, channels_second
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.embedders.images import Torchvision
from pure_cli.embedders.kind import Network
from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import PureError
from pure_cli.models.load import load_model, own_preprocessing


def load_network(spec: EmbedderSpec, fallback_size: int) -> Network:
    """A network of torchvision or of a file, pooled at its layer."""
    with words_of_the_option():
        own = own_preprocessing(spec.model)
        model = load_model(spec.model, spec.weights)
    wanted = _at_size(own, spec.size, fallback_size)
    assert wanted.crop_size is not None
    return Network(model, partial(pooled, layer=spec.layer), Torchvision(wanted), wanted.crop_size)


def pooled(model: nn.Module, images: torch.Tensor, layer: str | None) -> torch.Tensor:
    """Mean over space (or tokens) of a layer, or of the network's own output.

    Parameters
    ----------
    images : (B, 3, H, W) float
    layer : name of a module; None for the output

    Returns
    -------
    (B, C) float
    """
    size = (images.shape[-2], images.shape[-1])
    output = model(images) if layer is None else activations(model, images, [layer])[layer]
    if not isinstance(output, torch.Tensor) or output.ndim < 2:
        raise PureError(
            f"The output of {type(model).__name__} is {_described(output)}, and vectors, tokens or maps are needed. "
            "Choose one of its layers with --embedder-layer."
        )
    return channels_first(channels_second(output, size) if layer is None else output).mean(dim=-1)


@contextmanager
def words_of_the_option() -> Iterator[None]:
    """Errors about a model name the options of the embedder instead."""
    options = {"--weights": "--embedder-weights", "--resize and --crop-size": "--embedder-size"}
    try:
        yield
    except PureError as error:
        text = str(error)
        for old, new in options.items():
            text = text.replace(old, new)
        raise type(error)(text) from error.__cause__


def _at_size(own: Preprocessing, size: int | None, fallback_size: int) -> Preprocessing:
    """A network's own preprocessing for images of another size; where it has none, its short side becomes the crop."""
    if not isinstance(own.resize, int) or own.crop_size is None:
        side = size or fallback_size
        return replace(own, resize=side, crop_size=side)
    if size is None:
        return own
    return replace(own, resize=round(own.resize * size / own.crop_size), crop_size=size)


def _described(output: object) -> str:
    return f"of shape {tuple(output.shape)}" if isinstance(output, torch.Tensor) else type(output).__name__
