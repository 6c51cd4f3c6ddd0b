"""Images of the whole data set, not only references: how neurons fire on them, and what the judge sees in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.directions import module_of
from pure_cli.core.features import Kind
from pure_cli.data.listing import Listing
from pure_cli.data.loader import Batch, batches
from pure_cli.errors import PureError
from pure_cli.stages.attribute import GRADIENT_X_INPUT
from pure_cli.stages.embeddings.judges import open_judge
from pure_cli.stages.relevances.image_features import ImageFeatures
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once
from pure_cli.stages.runtime.network import Network, open_network, workers_of
from pure_cli.stages.runtime.soundness import require_sound

if TYPE_CHECKING:
    import torch

    from pure_cli.embedders.load import Embedder
    from pure_cli.stages.evaluation.study import Study


@dataclass(frozen=True)
class Sample:
    """A sample of the data set.

    Attributes
    ----------
    image : (S,) int64
    activation : (S, N) float32, the score of each of the study's neurons
    embedding : (S, E) float32, of whole images
    virtual : (features, k) to (S, N) int16, the virtual neuron of each neuron whose centroid is nearest to the image
    """

    image: np.ndarray
    activation: np.ndarray
    embedding: np.ndarray
    virtual: dict[tuple[str, int], np.ndarray]

    @classmethod
    def joined(cls, parts: Sequence[Sample]) -> Sample:
        """One of the images of several."""
        return cls(
            np.concatenate([part.image for part in parts]),
            np.concatenate([part.activation for part in parts]),
            np.concatenate([part.embedding for part in parts]),
            {key: np.concatenate([part.virtual[key] for part in parts]) for key in parts[0].virtual},
        )


def take_sample(study: Study, count: int) -> Sample:
    """Run `count` images, spread evenly over the data set, through the network and the judge.

    Raises
    ------
    PureError
        The relevances were made by an LRP rule.
    """
    listing, how = study.sources.listing([study.layer]), study.how
    chosen = _spread_evenly(study, listing, count)
    sampler = _open_sampler(study, listing)
    batch_size = images_at_once(listing, sampler.network, how.batch_size)
    adaptive_batches, parts = AdaptiveBatches(study.notes), list[Sample]()

    def compute(begin: int, end: int, batch: Batch) -> None:
        parts.append(sampler.sample(batch.index[begin:end], batch.images[begin:end]))

    done = 0
    for batch in batches(listing, chosen, sampler.network.preprocessing, batch_size, workers_of(how)):
        adaptive_batches.each(len(batch.index), partial(compute, batch=batch))
        done += len(batch.index)
        study.progress(done, len(chosen))
    return Sample.joined(parts)


def _spread_evenly(study: Study, listing: Listing, count: int) -> np.ndarray:
    """Data-set indices of so many images that can be read, or of all."""
    usable = study.readable(listing)
    count = min(count, len(usable))
    return usable[np.arange(count) * len(usable) // count]


def _open_sampler(study: Study, listing: Listing) -> _Sampler:
    """The network and the judge, once it is clear that both can see more images.

    Raises
    ------
    PureError
        The relevances were made by an LRP rule, or the judge is not what it was.
    """
    network = open_network(study.sources.collected, study.how.device)
    network.bound_of(study.layer, first_image(listing, network))
    judge = open_judge(study.sources, study.layer, study.judge, network)
    kinds = [kind for kind in study.features if not Kind.of(kind).is_embedding]
    lower_layers = {kind: study.source(kind).lower_layers for kind in kinds}
    attributed = study.sources.attributed[study.layer]
    features = ImageFeatures(lower_layers, attributed.at_maximum)
    if features.by_relevance and attributed.rule != GRADIENT_X_INPUT:
        raise PureError(f"--sample needs relevances by {GRADIENT_X_INPUT}. Leave it out, or attribute by that rule.")
    study.notes.extend(require_sound(network, listing, [study.layer, *features.every_lower_layer]))
    return _Sampler(study, network, judge, features)


@dataclass(frozen=True)
class _Sampler:
    """What looks at images of the data set: the network, and the judge.

    Attributes
    ----------
    features : of kinds that any image has: those that need no crop
    """

    study: Study
    network: Network
    judge: Embedder
    features: ImageFeatures

    def sample(self, index: np.ndarray, images: torch.Tensor) -> Sample:
        """A sample of images (B, 3, H, W) uint8 of these data-set indices."""
        import torch

        from pure_cli.core.circuits import Circuits

        study, module = self.study, module_of(self.study.layer)
        pixels = images.permute(0, 2, 3, 1).numpy()
        embedded = self.judge.embed(torch.stack([self.judge.preprocess(image) for image in pixels])).cpu().numpy()
        network, inputs = self.network, self.network.inputs(images)
        neurons, bound = network.neurons(study.layer), network.bounds[module]
        lower_layers = self.features.every_lower_layer
        circuits = Circuits(network.model, inputs, module, lower_layers, neurons=neurons, bound=bound)
        fired = circuits.scores().cpu().numpy()[:, study.neurons]
        activations = self.features.activations(circuits)
        shape, kinds = (len(index), len(study.neurons)), self.features.lower_layers
        nearest = {(name, k): np.zeros(shape, np.int16) for name in kinds for k in study.ks}
        for i, neuron in enumerate(study.neurons.tolist()):
            which = torch.full((len(index),), neuron, device=network.device)
            last = i == len(study.neurons) - 1
            features = {**activations, **self.features.relevances(circuits, which, last)}
            for name, k in nearest:
                nearest[name, k][:, i] = _nearest(study, name, k, neuron, features[name])
        return Sample(index, fired, embedded, nearest)


def _nearest(study: Study, features: str, k: int, neuron: int, points: np.ndarray) -> np.ndarray:
    """(b,) the virtual neuron of a neuron whose centroid is nearest to each of the points (b, D)."""
    clustering = study.clustering(features, k)
    own = clustering.centroid[clustering.virtual_neuron == neuron]
    if not len(own):
        return np.zeros(len(points), np.int16)
    return ((points[:, None] - own[None]) ** 2).sum(axis=-1).argmin(axis=1).astype(np.int16)
