"""embed: vectors of the references in the space of a foundation model, of what each neuron saw of them."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import NeuronRows, NewRows, add_rows, need_layers, read_rows_index
from pure_cli.config import EmbedSettings
from pure_cli.core.neurons import parse_neurons
from pure_cli.core.references import NO_IMAGE
from pure_cli.errors import PureError
from pure_cli.models.spec import NO_WEIGHTS
from pure_cli.stages.common import Network, Outcome, Progress, open_network, silent
from pure_cli.stages.crops import BOX, WHOLE, boxes, compute_boxes, missing_boxes
from pure_cli.stages.pairs import PairWork, Plan
from pure_cli.stages.sources import EMBEDDING, Sources
from pure_cli.stages.unfinished import Work, drop_unneeded
from pure_cli.workspace import Store, result_fingerprint

if TYPE_CHECKING:
    from pure_cli.embedders.load import Embedder
    from pure_cli.embedders.spec import EmbedderSpec


@dataclass(frozen=True)
class Job:
    """Neurons of one layer that lack embeddings of one kind."""

    layer: str
    spec: "EmbedderSpec"
    kind: str
    neurons: np.ndarray
    settings: dict[str, Any]
    recipe: dict[str, Any]


def embed(store: Store, settings: EmbedSettings, progress: Progress = silent) -> Outcome:
    """Compute the embeddings that are not there yet, and write ``embed.h5``.

    Raises
    ------
    PureError
        No references, stale ones, unknown layer, neuron or embedder, weights that do not fit.
    PureFailure
        The embedder's weights would have to be downloaded and cannot be.
    """
    begin = time.perf_counter()
    sources = Sources(store)
    layers = need_layers(settings.layer, sources.collected.layers, "collect")
    sources.listing(layers)
    jobs = [job for layer in layers for text in settings.embedder for job in _jobs(layer, text, sources, settings)]
    outcome = Outcome("embed", layers, sum(len(job.neurons) for job in jobs), "neurons")
    outcome.details = {"embedders": [label_of(settings, text) for text in settings.embedder]}
    if jobs:
        work = _work(jobs, sources, settings)
        total, done = next(work), 0
        outcome.details["embeddings"] = sum(_pairs(job, sources) for job in jobs)
        for pairs in work:
            done += pairs
            progress(done, total)
    for stage, array in (("crops", BOX), ("embed", EMBEDDING)):
        there = read_rows_index(store, stage, array)
        drop_unneeded(store, stage, lambda begun, there=there: _needed(begun, there, sources))  # type: ignore[misc]
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _needed(begun: Work, there: Mapping[Any, NeuronRows], sources: Sources) -> bool:
    """What a killed process had begun is of the references that there are, and not done since."""
    layer = begun.settings["layer"]
    if layer not in sources.collected.layers or begun.made_from != sources.embed_lineage(layer):
        return False
    same = [rows for rows in there.values() if rows.fingerprint == begun.fingerprint]
    return not any(np.isin(begun.neurons, rows.neuron).all() for rows in same)


def label_of(settings: EmbedSettings, text: str) -> str:
    """The name under which embeddings stand in ``embed.h5``, in tables, and as a kind of features."""
    label = _spec(settings, text).label
    return label if settings.crop == "crp" else f"{label}+{settings.crop}"


def _spec(settings: EmbedSettings, text: str) -> "EmbedderSpec":
    from pure_cli.embedders.spec import parse_embedder

    return parse_embedder(text, settings.embedder_layer, settings.embedder_weights, settings.embedder_size)


def _recipe(settings: EmbedSettings, text: str) -> dict[str, Any]:
    """What `parse_embedder` needs to build the embedder again, wherever that runs."""
    if ".py:" in text:
        text = str(Path(text).expanduser().absolute())
    weights = settings.embedder_weights
    if weights is not None and str(weights) != NO_WEIGHTS:
        weights = weights.expanduser().absolute()
    return {
        "text": text,
        "layer": settings.embedder_layer,
        "weights": None if weights is None else str(weights),
        "size": settings.embedder_size,
    }


def open_judge(sources: Sources, layer: str, kind: str, network: Network) -> "Embedder":
    """The embedder of embeddings that are there, for more images.

    Raises
    ------
    PureError
        It is not what it was when it made them.
    """
    from pure_cli.embedders.load import load_embedder
    from pure_cli.embedders.spec import parse_embedder

    there = sources.embedded[layer, kind]
    spec = parse_embedder(**there.recipe)
    if spec.identity() != there.settings["embedder"]:
        raise PureError(f"The embedder {kind} is not what it was. Run `pure embed --embedder {kind} --force`.")
    index = sources.listing([layer]).index
    height, width = Plan.of(index[None, :1]).first_image(sources.listing([layer]), network).shape[-2:]
    return load_embedder(spec, network.device, min(height, width))


def _jobs(layer: str, text: str, sources: Sources, settings: EmbedSettings) -> Iterator[Job]:
    spec, kind = _spec(settings, text), label_of(settings, text)
    neurons = _neurons(layer, sources, settings)
    own = {"layer": layer, "embedder": spec.identity(), "crop": settings.crop}
    there: NeuronRows | None = sources.embedded.get((layer, kind)) if not settings.force else None
    if there is not None and there.fingerprint == result_fingerprint(own, sources.embed_lineage(layer)):
        neurons = np.setdiff1d(neurons, there.neuron)
    if len(neurons):
        yield Job(layer, spec, kind, neurons, own, _recipe(settings, text))


def _neurons(layer: str, sources: Sources, settings: EmbedSettings) -> np.ndarray:
    """The neurons that were asked for; where none was, those with relevances, or all where there are no relevances."""
    if settings.neurons is not None:
        return parse_neurons(settings.neurons, sources.collected.layers[layer].neurons, layer)
    if sources.store.has("attribute") and layer in sources.attributed:
        return sources.attributed[layer].neuron
    return np.arange(sources.collected.layers[layer].neurons)


def _pairs(job: Job, sources: Sources) -> int:
    return int((sources.collected.layers[job.layer].top.image[job.neurons] != NO_IMAGE).sum())


def _work(jobs: list[Job], sources: Sources, settings: EmbedSettings) -> Iterator[int]:
    """All of it: first the number of pairs of neuron and reference to do, then that of each finished batch."""
    from pure_cli.embedders.load import load_embedder

    network = open_network(sources.collected.origin, settings.device)
    first = sources.collected.layers[jobs[0].layer].top.image[jobs[0].neurons]
    height, width = Plan.of(first).first_image(sources.listing([jobs[0].layer]), network).shape[-2:]
    embedders = {spec: load_embedder(spec, network.device, min(height, width)) for spec in {job.spec for job in jobs}}
    uncropped = {job.layer: np.empty(0, np.int64) for job in jobs}
    if settings.crop != WHOLE:
        for job in jobs:
            lacking = job.neurons
            if not settings.force:
                lacking = missing_boxes(sources, job.layer, settings.crop, job.neurons)
            uncropped[job.layer] = np.union1d(uncropped[job.layer], lacking)
    image = {job.layer: sources.collected.layers[job.layer].top.image for job in jobs}
    yield sum(_pairs(job, sources) for job in jobs) + sum(
        int((image[layer][neurons] != NO_IMAGE).sum()) for layer, neurons in uncropped.items()
    )
    for layer, neurons in uncropped.items():
        if len(neurons):
            yield from compute_boxes(
                sources, network, layer, settings.crop, neurons, settings.batch_size, settings.workers, settings.force
            )
    for job in jobs:
        yield from _run(job, sources, network, embedders[job.spec], settings)


def _run(job: Job, sources: Sources, network: Network, embedder: "Embedder", settings: EmbedSettings) -> Iterator[int]:
    """Compute one job and write it; yields the pairs of every finished batch."""
    import torch

    listing = sources.listing([job.layer])
    references = sources.collected.layers[job.layer].top.image[job.neurons]
    plan = Plan.of(references)
    width = embedder.width
    crops = None
    if settings.crop != WHOLE:
        crops = np.stack(list(boxes(sources, job.layer, settings.crop, job.neurons)))
    at_once = network.batch_size(settings.batch_size, embedder.size, embedder.size)
    made_from = sources.embed_lineage(job.layer)
    begun = Work("embed", job.settings, made_from, {"batch_size": at_once}, job.neurons.tolist())
    arrays = {EMBEDDING: ((len(job.neurons) * plan.references, width), "float32")}
    with PairWork(sources.store, begun, plan, arrays, max(1, at_once // 2), settings.force) as work:
        yield work.pairs_done
        for start, stop, images in work.batches(listing, network.preprocessing, settings.workers):
            pixels = images.permute(0, 2, 3, 1).numpy()
            pairs = np.arange(plan.offsets[start], plan.offsets[start] + plan.pairs_of(start, stop))
            if crops is None:
                vectors = embedder.embed(torch.stack([embedder.preprocess(image) for image in pixels]))
                found = np.repeat(vectors.cpu().numpy(), plan.counts[start:stop], axis=0)
                work.write(EMBEDDING, plan.row(pairs), found)
                yield len(pairs)
                continue
            which = np.repeat(np.arange(stop - start), plan.counts[start:stop])
            for begin in range(0, len(pairs), at_once):
                chosen = pairs[begin : begin + at_once]
                parts = []
                for pair, image in zip(chosen, which[begin : begin + at_once], strict=True):
                    top, bottom, left, right = crops[plan.neuron_row[pair], plan.slot[pair]]
                    parts.append(embedder.preprocess(pixels[image, top:bottom, left:right]))
                work.write(EMBEDDING, plan.row(chosen), embedder.embed(torch.stack(parts)).cpu().numpy())
            yield len(pairs)

        def row(place: int) -> np.ndarray:
            return work.rows(EMBEDDING, place * plan.references, (place + 1) * plan.references)

        new = NewRows(job.neurons, row, (plan.references, width), "float32", job.settings, made_from, job.recipe)
        add_rows(sources.store, "embed", job.layer, job.kind, EMBEDDING, new, settings.force)
        work.finished()


def require_embeddings(sources: Sources, layer: str, kind: str) -> None:
    """Make sure that a layer has embeddings of some kind.

    Raises
    ------
    PureError
        With the command that makes them.
    """
    if (layer, kind) not in sources.embedded:
        raise PureError(
            f"The workspace has no {kind} embeddings of '{layer}'. Run `pure embed --embedder {kind}` first, "
            "or add --embed to make them on the way."
        )
