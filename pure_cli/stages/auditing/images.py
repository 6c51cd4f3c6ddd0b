"""Images in memory, with their classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.data.listing import Listing
from pure_cli.data.long_lists import values_at
from pure_cli.stages.references.dataset_pass import damage_notes
from pure_cli.stages.runtime.network import Network

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Images:
    """Some images.

    Attributes
    ----------
    index, label : (P,) int64, in the data, and of their classes
    pixels : (P, 3, H, W) uint8
    """

    index: np.ndarray
    label: np.ndarray
    pixels: torch.Tensor

    def __len__(self) -> int:
        return len(self.index)

    def only(self, which: slice) -> Images:
        """Some of them."""
        return Images(self.index[which], self.label[which], self.pixels[which])


def load(network: Network, listing: Listing, index: np.ndarray, size: int, workers: int, notes: list[str]) -> Images:
    """Images by their indices in the data, without those that cannot be read.

    Parameters
    ----------
    size : images to a batch of the loader
    notes : gets a sentence on those that cannot be read
    """
    import torch

    from pure_cli.data.loader import batches

    parts, damaged = [], []
    for batch in batches(listing, index, network.preprocessing, size, workers):
        damaged += [(one.index, one.path, one.reason) for one in batch.damaged]
        if len(batch.index):
            parts.append((batch.index, batch.images))
    notes += damage_notes(damaged)
    if not parts:
        none = np.zeros(0, np.int64)
        return Images(none, none, torch.zeros(0, 3, 0, 0, dtype=torch.uint8))
    found = np.concatenate([part for part, _ in parts])
    return Images(found, np.asarray(values_at(listing.labels, found)), torch.cat([pixels for _, pixels in parts]))
