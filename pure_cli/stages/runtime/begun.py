"""Passes of the network that begin at a place, from what an earlier pass kept of each image."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.stages.runtime.network import Network

if TYPE_CHECKING:
    import torch

    from pure_cli.core.stem import Stem
    from pure_cli.data.loader import Batch


@dataclass(frozen=True)
class Begun:
    """What was kept of images, and the network that it is of.

    Attributes
    ----------
    network : made ready, as fast as it gets
    stem : what is kept
    read : from numbers of images (B,) to (B, W) float32, on the CPU
    """

    network: Network
    stem: Stem
    read: Callable[[np.ndarray], torch.Tensor]

    def numbered(self, index: np.ndarray) -> Begun:
        """The same for images with other numbers: number i is image ``index[i]`` here."""
        return replace(self, read=lambda numbers: self.read(index[numbers]))

    def ready(self, network: Network) -> Network:
        """A network as it was loaded, as fast as it gets: that of the pass, with what the other knows of its layers."""
        own = self.network
        return replace(network, model=own.model, precision=own.precision, layout=own.layout)

    def batches(self, index: np.ndarray, size: int, start: int) -> Generator[Batch, None, None]:
        """As `pure_cli.data.loader.batches`, with what was kept in place of the images."""
        from pure_cli.data.loader import Batch

        for begin in range(start * size, len(index), size):
            part = index[begin : begin + size]
            yield Batch(self.read(part), part, [], np.zeros(0, np.uint32))


@contextmanager
def inputs_of(network: Network, loaded: torch.Tensor, begun: Begun | None) -> Iterator[torch.Tensor]:
    """A context in which a network runs on images: yields (B, 3, H, W) to run it on.

    Parameters
    ----------
    loaded : images (B, 3, H, W) uint8; what was kept of them, where passes are `begun`
    """
    if begun is None:
        yield network.inputs(loaded)
        return
    with begun.stem.given(network.model, loaded.to(network.device)) as unknown:
        yield unknown
