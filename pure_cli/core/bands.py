"""Bands of a neuron's activation, and the images in them, cut from a sample of all images that excite the neuron."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pure_cli.core.references import NO_IMAGE, TopImages, scrambled

BAND = "#"  # in the name of a layer's references in a band: LAYER#LOW-HIGH
LEAST_SAMPLE, MOST_SAMPLE = 2_000, 20_000  # images of a neuron from which bands are cut
SPARE = 2  # times as many images as the references of the narrowest band need


@dataclass(frozen=True)
class Band:
    """Images between two percentiles of a neuron's activation, over the images that excite it."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"

    def of(self, layer: str) -> str:
        """The name of its references in a layer."""
        return f"{layer}{BAND}{self}"


@dataclass(frozen=True)
class Edges:
    """Where a band lies in each neuron's activation.

    Attributes
    ----------
    value : (C, 2) float32, the scores of the images just inside its lower and its upper edge; NaN where none is there
    sampled : (C,) int64, the images that it was cut from: all that excite the neuron where they are fewer than `sample`
    sample : images of a neuron at most
    """

    value: np.ndarray
    sampled: np.ndarray
    sample: int


def without_band(layer: str) -> str:
    """The layer whose band this is; the layer itself where it is none."""
    return layer.partition(BAND)[0]


def without_bands(layers: Iterable[str]) -> list[str]:
    """The layers that are no bands."""
    return [name for name in layers if BAND not in name]


def bands(edges: Sequence[float]) -> list[Band]:
    """The bands between percentiles, which ascend, the lowest first."""
    return [Band(low, high) for low, high in pairwise(edges)]


def sample_size(n: int, edges: Sequence[float]) -> int:
    """How many images of a neuron are kept, so that the narrowest band has n references wherever that is feasible."""
    narrowest = min(band.high - band.low for band in bands(edges))
    return int(np.clip(np.ceil(SPARE * n * 100 / narrowest), LEAST_SAMPLE, MOST_SAMPLE))


def sample_hash(index: np.ndarray, seed: int) -> np.ndarray:
    """An order of images that has nothing to do with what is in them: those with the highest numbers make the sample.

    Parameters
    ----------
    index : int64 of any shape, data-set indices

    Returns
    -------
    int64 of the same shape, different for different indices; the same for all neurons, so that their
    samples have images in common
    """
    mixed = scrambled(scrambled(index) ^ scrambled(np.array([seed], np.int64)))
    return (mixed ^ np.uint64(1 << 63)).view(np.int64)


def cut(sample: TopImages, band: Band, n: int) -> tuple[TopImages, Edges]:
    """The references in a band: n of the sample's images there, those with the highest `sample_hash`.

    Parameters
    ----------
    sample : (C, m), in the order of their hashes
    n : references of a neuron

    Returns
    -------
    references : (C, n), the highest score first, as those that excite a neuron most
    edges

    Notes
    -----
    A percentile is that of the sample. Where the sample has s of more images, what the p-th percentile cuts off is
    p % of all of them up to a standard error of ``sqrt(p (100 - p) / s)`` percent points: 1.1 at most for s = 2,000.
    """
    channels, m = sample.image.shape
    found = TopImages.empty(channels, n)
    value, sampled = np.full((channels, 2), np.nan, np.float32), (sample.image != NO_IMAGE).sum(axis=1)
    hashed = scrambled(sample.image.clip(min=0))
    for neuron, count in enumerate(sampled.tolist()):
        order = np.lexsort((hashed[neuron, :count], -sample.mean[neuron, :count], -sample.value[neuron, :count]))
        members = order[_above(band.high, count) : _above(band.low, count)]
        if not len(members):
            continue
        value[neuron] = sample.value[neuron, members[[-1, 0]]]
        chosen = members[np.isin(members, np.sort(members)[:n])]
        for name in ("value", "image", "position", "mean"):
            getattr(found, name)[neuron, : len(chosen)] = getattr(sample, name)[neuron, chosen]
    return found, Edges(value, sampled.astype(np.int64), m)


def _above(percentile: float, count: int) -> int:
    """How many of some images lie above a percentile."""
    return count - round(percentile / 100 * count)
