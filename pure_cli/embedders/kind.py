"""What a file of `pure_cli.embedders.kinds` declares. Light: names are understood without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import nn

    from pure_cli.embedders.spec import EmbedderSpec

LAYER, WEIGHTS, SIZE = "layer", "weights", "size"


class Network(NamedTuple):
    """An embedder, built.

    Attributes
    ----------
    model : in eval mode, on the CPU
    vectors : of the model and a batch (B, 3, H, W) to (B, E)
    transform : of a PIL image of any size to the input (3, H, W) float32; a small object that a worker process can be
        handed
    size : side of the input in pixels
    """

    model: nn.Module
    vectors: Callable[[nn.Module, torch.Tensor], torch.Tensor]
    transform: Callable[[Image.Image], torch.Tensor]
    size: int


class TextNetwork(NamedTuple):
    """The text tower of an embedder, built.

    Attributes
    ----------
    model : in eval mode, on the CPU
    vectors : of the model and tokens (B, L) to (B, E), of their own length, in the space of the image vectors
    tokenize : of texts and a number of tokens L to (B, L) int64; longer texts are cut
    context : tokens that the model takes, at most
    causal : what fills a row behind the end of its text may be left out
    scale : by which the network was trained to multiply cosines of images and texts before a softmax over texts
    """

    model: nn.Module
    vectors: Callable[[nn.Module, torch.Tensor], torch.Tensor]
    tokenize: Callable[[list[str], int], torch.Tensor]
    context: int
    causal: bool
    scale: float


def as_it_is(spec: EmbedderSpec) -> EmbedderSpec:
    return spec


@dataclass(frozen=True)
class EmbedderKind:
    """A kind of embedders: those whose names are that of its file, alone or with a colon and the name of a network.

    Attributes
    ----------
    load : from the embedder, and a size for networks that do not say theirs, to the network; raises PureError where a
        name is unknown or weights do not fit, PureFailure where weights cannot be downloaded
    forms : of its names, as an error lists them ("clip", "clip:ARCH/TAG")
    alone : the network that its name alone means, "" where there is but one; None where one has to be named
    named : networks can be named behind a colon
    takes : the options that mean something to it, of layer (then also behind a name, as ``timm:NAME:LAYER``), weights
        and size
    checked : the embedder as it is meant, or a PureError; nothing is built yet
    library : of `pure_cli.models`, where its networks are from one of another name
    no_judge : why its embeddings say nothing of a split, if they do not ("sees colour and no meaning")
    no_judges : the same of single networks, by name
    load_texts : the text tower of the same network, whose vectors can be compared with those of images; None where
        there is none
    """

    load: Callable[[EmbedderSpec, int], Network]
    forms: tuple[str, ...]
    alone: str | None = None
    named: bool = False
    takes: frozenset[str] = frozenset({WEIGHTS, SIZE})
    checked: Callable[[EmbedderSpec], EmbedderSpec] = as_it_is
    library: str = ""
    no_judge: str = ""
    no_judges: Mapping[str, str] = field(default_factory=dict)
    load_texts: Callable[[EmbedderSpec], TextNetwork] | None = None
