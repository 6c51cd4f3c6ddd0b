"""From an embedder's name to images in, vectors out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import nn

from pure_cli.core.circuits import activations
from pure_cli.core.layout import channels_first, channels_second
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.embedders.images import Prepare, Squashed, Torchvision
from pure_cli.embedders.spec import CLIP_KINDS, PIXELS_SIZE, EmbedderSpec
from pure_cli.errors import PureError, first_line, unknown
from pure_cli.models.layers import check_layer, list_layers
from pure_cli.models.load import load_model, own_preprocessing


@dataclass(frozen=True)
class Embedder:
    """Images in, vectors out.

    Attributes
    ----------
    preprocess : of an image (h, w, 3) uint8, of any size from 1×1 on, to the input (3, H, W) float32; a small object
        that a worker process can be handed
    vectors : of a batch on `device`, (B, 3, H, W), to (B, E)
    device : where it computes
    size : side of its input in pixels
    width : E, the length of an embedding
    """

    preprocess: Callable[[np.ndarray], torch.Tensor]
    vectors: Callable[[torch.Tensor], torch.Tensor]
    device: torch.device
    size: int
    width: int

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Embeddings.

        Parameters
        ----------
        batch : (B, 3, H, W) float32, of `preprocess`, on any device

        Returns
        -------
        (B, E) float32, on `device`, without a graph
        """
        with torch.no_grad():
            return self.vectors(batch.to(self.device)).float()


def load_embedder(spec: EmbedderSpec, device: torch.device, fallback_size: int) -> Embedder:
    """Build an embedder with its weights and try it on one image.

    Parameters
    ----------
    spec : from `parse_embedder`
    device : where it computes
    fallback_size : side of the input, in pixels, of a network that does not say (one from a file): that of the images
        that the main model sees

    Raises
    ------
    PureError
        Unknown name or layer, weights that do not fit, a size that the network does not take.
    PureFailure
        Weights would have to be downloaded and cannot be.
    """
    if spec.kind == "pixels":
        return Embedder(Prepare(Squashed(PIXELS_SIZE)), pixels, device, PIXELS_SIZE, 3 * PIXELS_SIZE**2)
    if spec.kind in CLIP_KINDS:
        from pure_cli.embedders import openclip

        model, transform, size = openclip.load_clip(spec)
        tokens = spec.kind == "clip"
        model = openclip.token_tower(model, spec) if tokens else model
        vectors = openclip.mean_token if tokens else openclip.image_vectors
    elif spec.kind == "dinov2":
        from pure_cli.embedders import timm_networks

        model, transform, size = timm_networks.load_dinov2(spec)
        vectors = timm_networks.mean_feature
    else:
        model, transform, size = _network(spec, fallback_size)
        vectors = partial(pooled, layer=spec.layer)
    model = model.to(device)
    width = _try(spec, model, vectors, torch.zeros(1, 3, size, size, device=device))
    return Embedder(Prepare(transform), partial(vectors, model), device, size, width)


def pixels(images: torch.Tensor) -> torch.Tensor:
    """The colours of a small image as they are: red, green and blue planes one after the other.

    Needs no network and no download, and is no independent judge: it sees colour and layout, and no meaning.

    Parameters
    ----------
    images : (B, 3, 16, 16) float in 0..1

    Returns
    -------
    (B, 768) float
    """
    return images.flatten(1)


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


def _network(spec: EmbedderSpec, fallback_size: int) -> tuple[nn.Module, Callable[..., torch.Tensor], int]:
    """A network of timm, torchvision or a file, its transform and the side of its input."""
    if spec.kind == "timm":
        from pure_cli.embedders import timm_networks

        return timm_networks.load_timm(spec)
    with _words_of_the_option():
        own = own_preprocessing(spec.model)
        model = load_model(spec.model, spec.weights)
    wanted = _at_size(own, spec.size, fallback_size)
    assert wanted.crop_size is not None
    return model, Torchvision(wanted), wanted.crop_size


def _at_size(own: Preprocessing, size: int | None, fallback_size: int) -> Preprocessing:
    """A network's own preprocessing for images of another size; where it has none, its short side becomes the crop."""
    if own.resize is None or own.crop_size is None:
        side = size or fallback_size
        return replace(own, resize=side, crop_size=side)
    if size is None:
        return own
    return replace(own, resize=round(own.resize * size / own.crop_size), crop_size=size)


def _try(spec: EmbedderSpec, model: nn.Module, vectors: Callable[..., torch.Tensor], image: torch.Tensor) -> int:
    """The length of an embedding.

    Raises
    ------
    PureError
        The layer is not there or unfit, or the network fails on an image.
    """
    if spec.layer is not None and spec.layer not in dict(model.named_modules()):
        raise unknown(f"layer of {spec}", spec.layer, [name for name, _ in model.named_modules() if name])
    try:
        with torch.no_grad():
            if spec.layer is not None:
                with _words_of_the_option():
                    check_layer(spec.layer, list_layers(model, image))
            return vectors(model, image).shape[-1]
    except PureError:
        raise
    except Exception as error:
        side = image.shape[-1]
        raise PureError(
            f"The embedder {spec} fails on an image of {side}×{side} pixels "
            f"({type(error).__name__}: {first_line(error)}). Choose another size with --embedder-size."
        ) from error


@contextmanager
def _words_of_the_option() -> Iterator[None]:
    """Errors about a model name the options of the embedder instead."""
    options = {"--weights": "--embedder-weights", "--resize and --crop-size": "--embedder-size"}
    try:
        yield
    except PureError as error:
        text = str(error)
        for old, new in options.items():
            text = text.replace(old, new)
        raise type(error)(text) from error.__cause__


def _described(output: object) -> str:
    return f"of shape {tuple(output.shape)}" if isinstance(output, torch.Tensor) else type(output).__name__
