"""Images of the whole data set, not only references: how neurons fire on them, and what the judge sees in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.directions import module_of
from pure_cli.core.features import Kind, joined, transformed
from pure_cli.data.loader import batches
from pure_cli.errors import PureError
from pure_cli.stages.attribute import GRADIENT_X_INPUT
from pure_cli.stages.embeddings.judges import open_judge
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once
from pure_cli.stages.runtime.network import open_network, workers_of
from pure_cli.stages.runtime.soundness import require_sound

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
    virtual : (features, k) to (S, N) int16, the virtual neuron of each neuron whose centroid is nearest to the image
    """

    image: np.ndarray
    activation: np.ndarray
    embedding: np.ndarray
    virtual: dict[tuple[str, int], np.ndarray]


def take_sample(study: Study, count: int) -> Sample:
    """Run `count` images, spread evenly over the data set, through the network and the judge.

    Raises
    ------
    PureError
        The relevances were made by an LRP rule.
    """
    import torch

    from pure_cli.core.circuits import Circuits, normalised_arrays
    from pure_cli.core.layout import channels_first

    collected = study.sources.collected
    listing = study.sources.listing([study.layer])
    damaged = {index for index, _, _ in collected.damaged}
    usable = np.setdiff1d(listing.index, list(damaged))
    chosen = usable[np.arange(min(count, len(usable))) * len(usable) // min(count, len(usable))]
    network = open_network(collected, study.how.device, study.how.deterministic)
    network.bound_of(study.layer, first_image(listing, network))
    judge = open_judge(study.sources, study.layer, study.judge, network)
    kinds = {kind: Kind.of(kind) for kind in study.features if not Kind.of(kind).is_embedding}
    lower = {kind: study.source(kind).lower_layers for kind in kinds}
    lower_layers = list(dict.fromkeys(name for names in lower.values() for name in names))
    settings = study.sources.attributed[study.layer].provenance.settings
    attributed = any(kind.transform for kind in kinds.values())
    if attributed and settings["rule"] != GRADIENT_X_INPUT:
        raise PureError(f"--sample needs relevances by {GRADIENT_X_INPUT}. Leave it out, or attribute by that rule.")
    study.notes.extend(require_sound(network, listing, [study.layer, *lower_layers]))
    activation, embedding = [], []
    virtual: dict[tuple[str, int], list[np.ndarray]] = {(kind, k): [] for kind in kinds for k in study.ks}
    batch_size, portions = images_at_once(listing, network, study.how.batch_size), AdaptiveBatches(study.notes)

    def compute(begin: int, end: int, images: torch.Tensor) -> None:
        images = images[begin:end]
        pixels = images.permute(0, 2, 3, 1).numpy()
        embedded = judge.embed(torch.stack([judge.preprocess(image) for image in pixels])).cpu().numpy()
        inputs, neurons = network.inputs(images), network.neurons(study.layer)
        module = module_of(study.layer)
        circuits = Circuits(network.model, inputs, module, lower_layers, neurons=neurons, bound=network.bounds[module])
        fired = circuits.scores().cpu().numpy()[:, study.neurons]
        firing = channels_first(circuits.activation).clamp(min=0)
        means = {name: values.cpu().numpy() for name, values in circuits.lower_mean().items()}
        whole = {
            "activation-max": firing.amax(dim=-1).cpu().numpy(),
            "activation-mean": firing.mean(dim=-1).cpu().numpy(),
            **{name: joined([means[one] for one in lower[name]]) for name in kinds if lower[name]},
        }
        found = {key: np.zeros((end - begin, len(study.neurons)), np.int16) for key in virtual}
        for i, neuron in enumerate(study.neurons.tolist()):
            points = dict(whole)
            if attributed:
                which = torch.full((end - begin,), neuron, device=network.device)
                where = circuits.firing[:, neuron].argmax(dim=-1) if settings.get("position") == "max" else None
                summed = circuits.summed(which, last=i == len(study.neurons) - 1, positions=where)
                parts = {name: normalised_arrays(values) for name, values in summed.items()}
                for name, kind in kinds.items():
                    if kind.transform:
                        points[name] = joined([transformed(*parts[one], kind.transform) for one in lower[name]])
            for name, k in virtual:
                found[name, k][:, i] = _nearest(study, name, k, neuron, points[name])
        embedding.append(embedded)
        activation.append(fired)
        for key, values in found.items():
            virtual[key].append(values)

    done = 0
    for batch in batches(listing, chosen, network.preprocessing, batch_size, workers_of(study.how)):
        portions.each(len(batch.index), partial(compute, images=batch.images))
        done += len(batch.index)
        study.progress(done, len(chosen))
    return Sample(
        chosen,
        np.concatenate(activation),
        np.concatenate(embedding),
        {key: np.concatenate(parts) for key, parts in virtual.items()},
    )


def _nearest(study: Study, features: str, k: int, neuron: int, points: np.ndarray) -> np.ndarray:
    """(b,) the virtual neuron of a neuron whose centroid is nearest to each of the points (b, D)."""
    clustering = study.clustering(features, k)
    own = clustering.centroid[clustering.virtual_neuron == neuron]
    if not len(own):
        return np.zeros(len(points), np.int16)
    return ((points[:, None] - own[None]) ** 2).sum(axis=-1).argmin(axis=1).astype(np.int16)
