"""What another stage has at hand of what collect would have to compute."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.directions import Directions

if TYPE_CHECKING:
    import torch

    from pure_cli.data.loader import Batch


@dataclass(frozen=True)
class GivenOutputs:
    """What modules give for images that need not pass the network again.

    Attributes
    ----------
    read : from data-set indices (B,) to what was kept of these images (B, …), on the CPU
    of_modules : from that, on any device, to the output of each module, its channels on axis 1
    content : (N,) uint32, what is in each image, by data-set index; as of `pure_cli.data.content`
    """

    read: Callable[[np.ndarray], torch.Tensor]
    of_modules: Callable[[torch.Tensor], Mapping[str, torch.Tensor]]
    content: np.ndarray

    def batches(self, index: np.ndarray, size: int, start: int) -> Generator[Batch, None, None]:
        """As `pure_cli.data.loader.batches`, with what was kept in place of the images."""
        from pure_cli.data.loader import Batch

        for begin in range(start * size, len(index), size):
            part = index[begin : begin + size]
            yield Batch(self.read(part), part, [], self.content[part])


@dataclass(frozen=True)
class Given:
    """What collect is given.

    Attributes
    ----------
    directions : by layer, in place of those of a file: one pass serves several sets
    outputs : in place of a pass over the images
    """

    directions: Mapping[str, Directions]
    outputs: GivenOutputs | None = None
