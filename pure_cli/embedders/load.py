"""From an embedder's name to images in, vectors out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from pure_cli.embedders.images import Prepare
from pure_cli.embedders.networks import words_of_the_option
from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import PureError, first_line, unknown
from pure_cli.models.layers import check_layer, list_layers
from pure_cli.registry import EMBEDDERS


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
    model, vectors, transform, size = EMBEDDERS[spec.kind].load(spec, fallback_size)
    model = model.to(device)
    width = _try(spec, model, vectors, torch.zeros(1, 3, size, size, device=device))
    return Embedder(Prepare(transform), partial(vectors, model), device, size, width)


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
                with words_of_the_option():
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
