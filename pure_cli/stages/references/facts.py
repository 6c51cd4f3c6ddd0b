"""What is known of a pass when it is done, beside what it found: what a machine without the network needs to write
references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pure_cli.artifacts import Seen
from pure_cli.core.references import TopImages


@dataclass(frozen=True)
class Found:
    """What a pass found, in one piece or in parts.

    Attributes
    ----------
    tops : layer to its best images, and to a sample of them where there are to be bands
    damaged : (index, path, reason) of images that could not be read
    broken : (b,) int64, data-set indices of images that gave activations that are not finite numbers, ascending
    seen : gives what all images were, in parts of one size
    """

    tops: dict[str, TopImages]
    damaged: list[tuple[int, str, str]]
    broken: np.ndarray
    seen: Callable[[], Iterator[Seen]]


@dataclass(frozen=True)
class LayerFacts:
    """What the network says of a layer whose references are found.

    Attributes
    ----------
    lower_layers, shape, hidden, of_preset, fires_above : as of `pure_cli.artifacts.CollectedLayer`
    settings : what its references depend on beside those of all layers
    """

    lower_layers: list[str]
    shape: tuple[int, ...]
    hidden: str
    of_preset: bool
    fires_above: float
    settings: dict[str, Any]


@dataclass(frozen=True)
class PassFacts:
    """What the network says of a pass.

    Attributes
    ----------
    origin : of the network, JSON-like, with the layer that stands in when none is named
    layers : by name
    device : the kind of device
    notes : sentences on layers and network
    where_broken : a sentence on the first image with numbers that are not finite; "" where there is none
    """

    origin: dict[str, Any]
    layers: dict[str, LayerFacts]
    device: str
    notes: list[str]
    where_broken: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> PassFacts:
        """The inverse of `as_json`."""
        layers = {name: LayerFacts(**{**own, "shape": tuple(own["shape"])}) for name, own in content["layers"].items()}
        return cls(**{**content, "layers": layers})
