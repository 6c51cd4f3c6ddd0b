"""Rivals that know a layer by a dictionary of its activations: latents of an autoencoder, directions to centroids."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from pure_cli.core.autoencoder import Training, held_out
from pure_cli.core.components import CentroidSample
from pure_cli.stages.benchmarking.references import References
from pure_cli.stages.directions import USUAL, USUAL_LATENTS, latents_active

if TYPE_CHECKING:
    from torch import nn

POSITIONS = 16  # of each image, that centroids are found in
Reading = Callable[[np.ndarray], np.ndarray]  # from (P, C) activations to (P, M) of the dictionary's words
_FOUND: WeakKeyDictionary[nn.Module, dict[tuple[str, str, int], Reading]] = WeakKeyDictionary()


def by_latents(references: References) -> np.ndarray:
    """Clusters of the latents of a sparse autoencoder, the maximum of each over space."""
    return references.split(_pooled(references, _latents))


def by_centroids(references: References) -> np.ndarray:
    """Clusters of the coordinates along directions to the layer's centroids, the maximum of each over space."""
    return references.split(_pooled(references, _coordinates))


def _pooled(references: References, learn: Callable[[References], Reading]) -> np.ndarray:
    """(n, M) maxima over space; the dictionary is learned once for all units of a layer."""
    own = _FOUND.setdefault(references.model, {})
    key = learn.__name__, references.layer, references.seed
    if key not in own:
        own[key] = learn(references)
    shown = references.activations
    vectors = shown.reshape(*shown.shape[:2], -1).transpose(0, 2, 1)  # (n, S, C)
    found = own[key](vectors.reshape(-1, vectors.shape[2]))
    return found.reshape(len(vectors), -1, found.shape[1]).max(axis=1)


def _latents(references: References) -> Reading:
    """As `pure directions sae` trains them: the highest at each position, four a channel."""
    import torch

    channels = len(references.direction)
    latents = USUAL_LATENTS * channels
    active = latents_active(channels, latents)
    shown = list(references.activations_of_all())
    numbers = np.arange(sum(map(len, shown)))
    training = Training(channels, latents, active, "topk", held_out(numbers).tolist(), references.seed)
    for part, own in zip(shown, np.split(numbers, np.cumsum([len(part) for part in shown])[:-1]), strict=True):
        training.add(torch.from_numpy(part.reshape(*part.shape[:2], -1)), own)
    found = training.components(latents)

    def read(vectors: np.ndarray) -> np.ndarray:
        values = ((vectors - found.decoder_bias) @ found.encoder.T + found.encoder_bias).clip(min=0)
        lowest = np.partition(values, -active, axis=1)[:, -active, None]
        return np.where(values >= lowest, values, 0)

    return read


def _coordinates(references: References) -> Reading:
    """As `pure directions kmeans` finds them: as many as channels, 64 at most."""
    import torch

    sample, seen = CentroidSample(POSITIONS, references.seed), 0
    for part in references.activations_of_all():
        sample.add(torch.from_numpy(part.reshape(*part.shape[:2], -1)), np.arange(seen, seen + len(part)))
        seen += len(part)
    found = sample.components(min(USUAL, len(references.direction)))
    return lambda vectors: vectors @ found.weight.T + found.bias
