"""Images of the whole data set, not only references: how neurons fire on them, and what the judge sees in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.config import ACTIVATION_FEATURES
from pure_cli.data.loader import batches, default_workers
from pure_cli.errors import PureFailure
from pure_cli.stages.common import open_network

if TYPE_CHECKING:
    from pure_cli.stages.evaluation.study import Study


@dataclass(frozen=True)
class Sample:
    """A sample of the data set.

    Attributes
    ----------
    image : (S,) int64
    activation : (S, N) float32, the score of each of the study's neurons
    embedding : (S, E) float32, of whole images
    features : kind to (S, C) activations of the layer, or to (S, N, D) relevances
    """

    image: np.ndarray
    activation: np.ndarray
    embedding: np.ndarray
    features: dict[str, np.ndarray]

    def nearest(self, features: str, i: int, centroids: np.ndarray) -> np.ndarray:
        """(S,) the centroid (V, D) that is nearest to each image, for the i-th neuron."""
        points = self.features[features]
        points = points if points.ndim == 2 else points[:, i]
        return ((points[:, None] - centroids[None]) ** 2).sum(axis=-1).argmin(axis=1)


def take_sample(study: Study, count: int) -> Sample:
    """Run `count` images, spread evenly over the data set, through the network and the judge.

    Relevances are computed for the pairs of image and neuron in which the neuron fires, and zero in the others.
    """
    import torch

    from pure_cli.core.circuits import Circuits
    from pure_cli.core.layout import channels_first
    from pure_cli.core.references import spatial_maximum
    from pure_cli.stages.embed import open_judge

    collected = study.sources.collected
    listing = study.sources.listing([study.layer])
    chosen = listing.index[np.arange(min(count, len(listing))) * len(listing) // min(count, len(listing))]
    damaged = {index for index, _, _ in collected.damaged}
    chosen = np.array([index for index in chosen.tolist() if index not in damaged], dtype=np.int64)
    network = open_network(collected.origin, study.device)
    judge = open_judge(study.sources, study.layer, study.judge, network)
    lower = {kind: study.source(kind).lower_layer for kind in study.features if kind.partition("@")[0] == "pure"}
    lrp = any(study.source(kind).attributed.settings["rule"] != "gradient-x-input" for kind in lower)  # type: ignore[union-attr]
    if lrp:
        raise PureFailure("--sample needs relevances by gradient-x-input. Leave it out, or attribute with that rule.")
    lower_layers = list(dict.fromkeys(lower.values()))
    activation, embedding = [], []
    features: dict[str, list[np.ndarray]] = {kind: [] for kind in [*lower, *ACTIVATION_FEATURES]}
    done = 0
    for batch in batches(listing, chosen, network.preprocessing, 32, default_workers()):
        pixels = batch.images.permute(0, 2, 3, 1).numpy()
        embedding.append(judge.embed(torch.stack([judge.preprocess(image) for image in pixels])).cpu().numpy())
        circuits = Circuits(network.model, network.inputs(batch.images), study.layer, lower_layers or [study.layer])
        scores = spatial_maximum(circuits.activation)[0][:, torch.from_numpy(study.neurons)].cpu().numpy()
        activation.append(scores)
        firing = channels_first(circuits.activation).clamp(min=0)
        features["activation-max"].append(firing.amax(dim=-1).cpu().numpy())
        features["activation-mean"].append(firing.mean(dim=-1).cpu().numpy())
        relevance: dict[str, list[np.ndarray]] = {name: [] for name in lower_layers}
        for neuron in study.neurons.tolist() if lower_layers else ():
            found = circuits.relevance(torch.full((len(batch.index),), neuron, device=network.device))
            for name in lower_layers:
                relevance[name].append(found[name].cpu().numpy())
        for kind, name in lower.items():
            features[kind].append(np.stack(relevance[name], axis=1))
        done += len(batch.index)
        study.progress(done, len(chosen))
    return Sample(
        chosen,
        np.concatenate(activation),
        np.concatenate(embedding),
        {kind: np.concatenate(parts) for kind, parts in features.items() if parts},
    )
