"""The n images that excite each neuron most, gathered batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.layout import channels_first

if TYPE_CHECKING:
    import torch

NO_IMAGE = -1
NO_POSITION = -1


def spatial_score(activation: torch.Tensor, pool: str = "max") -> tuple[torch.Tensor, torch.Tensor]:
    """Score of every neuron in every image: its activation pooled over space, and where it is highest.

    Parameters
    ----------
    activation : (B, C), (B, C, T) or (B, C, H, W), signed
    pool : "max", "mean" or "sum"

    Returns
    -------
    values : (B, C) float32
    positions : (B, C) int64, flat index over space of the first maximum; -1 where the layer has no space
    """
    flat = channels_first(activation)
    values, positions = flat.max(dim=-1)
    if pool != "max":
        values = flat.float().mean(dim=-1) if pool == "mean" else flat.float().sum(dim=-1)
    if activation.ndim == 2:
        positions = positions.fill_(NO_POSITION)
    return values.float(), positions


@dataclass
class TopImages:
    """The best images of every neuron so far. Merging is associative, and its result is the same in any order.

    Attributes
    ----------
    value : (C, n) float32, highest first, -inf where there is no image
    image : (C, n) int64, data-set index, -1 where there is none; of equal scores the lower index comes first
    position : (C, n) int32, flat index of the maximum over space, -1 where there is none
    """

    value: np.ndarray
    image: np.ndarray
    position: np.ndarray

    @classmethod
    def empty(cls, channels: int, n: int) -> TopImages:
        return cls(
            np.full((channels, n), -np.inf, np.float32),
            np.full((channels, n), NO_IMAGE, np.int64),
            np.full((channels, n), NO_POSITION, np.int32),
        )

    def add(self, values: np.ndarray, positions: np.ndarray, images: np.ndarray) -> None:
        """Let a batch of images compete.

        Parameters
        ----------
        values : (B, C) float32 scores; NaN never wins a place
        positions : (B, C) int
        images : (B,) int64 data-set indices, none of them added before
        """
        scores = np.where(np.isnan(values), -np.inf, values).T.astype(np.float32)
        # only the neurons for which some image reaches the last place so far need sorting
        hopeful = np.flatnonzero((scores >= self.value[:, -1:]).any(axis=1) & (scores > -np.inf).any(axis=1))
        if hopeful.size:
            self._compete(
                hopeful,
                scores[hopeful],
                np.broadcast_to(images, (len(hopeful), len(images))),
                positions.T[hopeful],
            )

    def merge(self, other: TopImages) -> None:
        """Let the images of another shard of the data compete.

        Parameters
        ----------
        other : of the same shape, no image of it added here before
        """
        if other.value.shape != self.value.shape:
            raise ValueError(f"the best of {other.value.shape} cannot be merged into the best of {self.value.shape}")
        self._compete(np.arange(len(self.value)), other.value, other.image, other.position)

    def _compete(self, channels: np.ndarray, value: np.ndarray, image: np.ndarray, position: np.ndarray) -> None:
        n = self.value.shape[1]
        value = np.concatenate([self.value[channels], value], axis=1)
        image = np.concatenate([self.image[channels], image], axis=1)
        position = np.concatenate([self.position[channels], position], axis=1)
        image = np.where(value == -np.inf, NO_IMAGE, image)
        position = np.where(value == -np.inf, NO_POSITION, position)
        order = np.lexsort((image, -value), axis=1)[:, :n]
        self.value[channels] = np.take_along_axis(value, order, axis=1)
        self.image[channels] = np.take_along_axis(image, order, axis=1)
        self.position[channels] = np.take_along_axis(position, order, axis=1)
