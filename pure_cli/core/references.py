"""The n images that excite each neuron most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.layout import channels_first

if TYPE_CHECKING:
    import torch

NO_IMAGE = -1
NO_POSITION = -1


def spatial_score(activation: torch.Tensor, pool: str = "max") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Score of every neuron in every image: its activation pooled over space, and where it is highest.

    Parameters
    ----------
    activation : (B, C), (B, C, T) or (B, C, H, W), signed
    pool : "max", "mean" or "sum"

    Returns
    -------
    values : (B, C) float32
    positions : (B, C) int64, flat index over space of the first maximum; -1 where the layer has no space
    means : (B, C) float32, over space: of images with equal values, the one with the higher mean comes first
    """
    flat = channels_first(activation)
    values, positions = flat.max(dim=-1)
    means = flat.mean(dim=-1, dtype=_precise(flat)).float()  # the same however the memory is laid out
    if pool != "max":
        values = flat.float().mean(dim=-1) if pool == "mean" else flat.float().sum(dim=-1)
    if activation.ndim == 2:
        positions = positions.fill_(NO_POSITION)
    return values.float(), positions, means


def _precise(values: torch.Tensor) -> torch.dtype:
    """The most precise kind of number that the device of `values` adds up in."""
    import torch

    return torch.float32 if values.device.type == "mps" else torch.float64


def scrambled(index: np.ndarray) -> np.ndarray:
    """A hash of data-set indices, as uint64: an order that has nothing to do with that of the listing.

    Parameters
    ----------
    index : int64 of any shape, not negative

    Returns
    -------
    uint64 of the same shape, different for different indices

    Notes
    -----
    The finaliser of SplitMix64 (Steele, Lea and Flood 2014), which is a bijection.
    """
    mixed = index.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@dataclass
class TopImages:
    """The best images of every neuron.

    Attributes
    ----------
    value : (C, n) float32, highest first, -inf where there is no image
    image : (C, n) int64, data-set index, -1 where there is none; of equal scores the higher mean over space comes
        first, then the lower `scrambled` index
    position : (C, n) int32, flat index of the maximum over space, -1 where there is none
    mean : (C, n) float32, mean over space, 0 where there is no image; NaN where a file does not say it
    """

    value: np.ndarray
    image: np.ndarray
    position: np.ndarray
    mean: np.ndarray

    @classmethod
    def empty(cls, channels: int, n: int) -> TopImages:
        return cls(
            np.full((channels, n), -np.inf, np.float32),
            np.full((channels, n), NO_IMAGE, np.int64),
            np.full((channels, n), NO_POSITION, np.int32),
            np.zeros((channels, n), np.float32),
        )

    def tied(self, above: float = 0.0, twins: np.ndarray | None = None) -> np.ndarray:
        """How many references of each neuron share their score with another: their order says nothing.

        Parameters
        ----------
        above : only scores above it count, those of images that excite the neuron
        twins : (T, 2) data-set indices of images that are one picture, whose scores are equal by right

        Returns
        -------
        (C,) int64
        """
        counts = (self.image != NO_IMAGE) & (self.value > above)
        picture = self.image
        if twins is not None and len(twins):
            picture = picture.copy()
            for first, again in sorted(twins.tolist(), reverse=True):  # the last first, so that chains end at one
                picture[picture == again] = first
        same = (self.value[:, 1:] == self.value[:, :-1]) & counts[:, 1:] & counts[:, :-1]
        same &= picture[:, 1:] != picture[:, :-1]
        shared = np.zeros(self.value.shape, bool)
        shared[:, 1:] |= same
        shared[:, :-1] |= same
        return shared.sum(axis=1)
