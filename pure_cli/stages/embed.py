"""embed: vectors of the references in the space of a foundation model, of what each neuron saw of them."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import NeuronRows, NewRows, add_rows, need_layers, read_rows_index
from pure_cli.core.neurons import parse_neurons
from pure_cli.errors import UnreadableFile
from pure_cli.models.trust import require_trusted
from pure_cli.provenance import Provenance
from pure_cli.settings.embed import EmbedSettings
from pure_cli.stages.embeddings.crops import BOX, CRP, RULES, WHOLE, CropJob, boxes, compute_boxes, missing_boxes
from pure_cli.stages.embeddings.judges import Chosen, choose, require_same, require_weights, short_side, warnings
from pure_cli.stages.inputs.features import EMBEDDING, Sources
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.resume.pair_work import PairWork, Plan
from pure_cli.stages.resume.unfinished_work import Work, drop_unneeded
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.network import Network, open_network
from pure_cli.waiting import waiting_for
from pure_cli.words import counted
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.embedders.load import Embedder


@dataclass(frozen=True)
class EmbeddingJob:
    """Neurons of one layer that lack embeddings of one kind."""

    layer: str
    chosen: Chosen
    neurons: np.ndarray
    provenance: Provenance


@dataclass(frozen=True)
class _EmbeddingTask:
    """A job with all that it takes.

    Attributes
    ----------
    boxes : (N, n, 4) int, what each neuron saw of each reference; None where whole images are embedded
    batch_size : images that are embedded at once
    adaptive_batches : as the memory allows
    """

    job: EmbeddingJob
    embedder: "Embedder"
    plan: Plan
    boxes: np.ndarray | None
    batch_size: int
    adaptive_batches: AdaptiveBatches

    def vectors(self, images: list[np.ndarray]) -> np.ndarray:
        """Embeddings (B, E) float32 of images (H, W, 3) uint8 of any size."""
        import torch

        parts: list[np.ndarray] = []

        def compute(start: int, stop: int) -> None:
            batch = torch.stack([self.embedder.preprocess(image) for image in images[start:stop]])
            parts.append(self.embedder.embed(batch).cpu().numpy())

        self.adaptive_batches.each(len(images), compute)
        return np.concatenate(parts)


def embed(store: Store, settings: EmbedSettings, progress: Progress = silent) -> Outcome:
    """Compute the embeddings that are not there yet, and write ``embed.h5``.

    Raises
    ------
    PureError
        No references, stale ones, unknown layer, neuron or embedder, weights that do not fit.
    PureFailure
        The embedder's weights would have to be downloaded and cannot be.
    """
    return add_embeddings(Sources(store, settings.force), settings, progress)


def add_embeddings(sources: Sources, settings: EmbedSettings, progress: Progress = silent) -> Outcome:
    """As `embed`, for what is read of a workspace."""
    begin, store = time.perf_counter(), sources.store
    layers = need_layers(settings.layer, sources.collected.layers, "collect", bands_too=False)
    sources.listing(layers)
    wanted = {(layer, text): choose(text, settings, sources, layer) for layer in layers for text in settings.embedder}
    jobs = [job for (layer, _), chosen in wanted.items() for job in _jobs(layer, chosen, sources, settings)]
    outcome = Outcome("embed", layers, sum(len(job.neurons) for job in jobs), "neurons")
    outcome.details = {"embedders": list(dict.fromkeys(chosen.kind for chosen in wanted.values()))}
    recipes = {chosen.kind: chosen.recipe for chosen in wanted.values()}
    for kind, recipe in recipes.items():
        outcome.notes += warnings(kind, recipe, sources.collected.origin)
    outcome.notes += _losses(jobs, sources)
    if jobs:
        work = _work(jobs, sources, settings, outcome.notes)
        total, done = next(work), 0
        outcome.details["embeddings"] = sum(sources.pairs(job.layer, job.neurons) for job in jobs)
        for pairs in work:
            done += pairs
            progress(done, total)
    for stage, array in (("crops", BOX), ("embed", EMBEDDING)):
        there = {}
        with suppress(UnreadableFile):  # boxes that this run had no need of
            there = read_rows_index(store, stage, array)
        drop_unneeded(store, stage, lambda begun, there=there: _needed(begun, there, sources))  # type: ignore[misc]
    sources.forget_embeddings()
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _needed(begun: Work, there: Mapping[Any, NeuronRows], sources: Sources) -> bool:
    """What a killed process had begun is of the references that there are, and not done since."""
    own = sources.collected.layers.get(begun.layer)
    if own is None or begun.provenance.made_from != own.passed_on:
        return False
    same = [rows for rows in there.values() if rows.provenance == begun.provenance]
    return not any(np.isin(begun.neurons, rows.neuron).all() for rows in same)


def _jobs(layer: str, chosen: Chosen, sources: Sources, settings: EmbedSettings) -> Iterator[EmbeddingJob]:
    neurons = _neurons(layer, sources, settings)
    there: NeuronRows | None = sources.embedded.get((layer, chosen.kind)) if not settings.force else None
    if (
        there is not None
        and there.provenance.precision == settings.precision
        and chosen.remembered
        and sources.status_of_embeddings(layer, chosen.kind).up_to_date
    ):
        neurons = np.setdiff1d(neurons, there.neuron)
        if not len(neurons):  # whatever became of the weights since
            return
    require_weights(chosen)
    own = {"layer": layer, "embedder": chosen.spec.identity(), "crop": chosen.crop}
    if chosen.crop == CRP:
        own["heatmaps"] = RULES
    provenance = Provenance({**own, **settings.arithmetic}, sources.collected.layers[layer].passed_on)
    if there is not None:
        require_same(layer, chosen, there)
        if there.provenance == provenance:
            neurons = np.setdiff1d(neurons, there.neuron)
    if len(neurons):
        yield EmbeddingJob(layer, chosen, neurons, provenance)


def _losses(jobs: list[EmbeddingJob], sources: Sources) -> Iterator[str]:
    """What is there and goes, since it is stale or by another embedder."""
    for job in jobs:
        there = sources.embedded.get((job.layer, job.chosen.kind))
        if there is None or there.provenance == job.provenance:
            continue
        what = f"The earlier {job.chosen.kind} embeddings of '{job.layer}'"
        status = sources.status_of_embeddings(job.layer, job.chosen.kind)
        why = "by other weights" if status.up_to_date else "stale"
        if status.up_to_date and there.provenance.precision != job.provenance.precision:
            why = f"in {there.provenance.precision}"
        lost = len(np.setdiff1d(there.neuron, job.neurons))
        rest = f"; {counted(lost, 'neuron')} of them are not made again" if lost else ""
        yield f"{what} were {why} and are replaced{rest}."


def _neurons(layer: str, sources: Sources, settings: EmbedSettings) -> np.ndarray:
    """The neurons that were asked for; where none was, those with relevances, or all where there are no relevances."""
    if settings.neurons is not None:
        return parse_neurons(settings.neurons, sources.collected.layers[layer].neurons, layer)
    if sources.store.has("attribute") and layer in sources.attributed:
        return sources.attributed[layer].neuron
    return np.arange(sources.collected.layers[layer].neurons)


def _work(jobs: list[EmbeddingJob], sources: Sources, settings: EmbedSettings, notes: list[str]) -> Iterator[int]:
    """All of it: first the number of pairs of neuron and reference to do, then that of each finished batch.

    A pair counts once for the box and once for each embedding.
    """
    from pure_cli.embedders.load import load_embedder

    network = open_network(sources.collected, settings.device)
    pixels = short_side(sources, jobs[0].layer, network)
    specs = {job.chosen.spec for job in jobs}
    for spec in specs:
        require_trusted(spec.model)
    waiting_for("loading the embedder")
    embedders = {spec: load_embedder(spec, network.device, pixels) for spec in specs}
    crop_jobs = list(_crop_jobs(jobs, sources, settings))
    wanted = [(job.layer, job.neurons) for job in jobs] + [(job.layer, job.neurons) for job in crop_jobs]
    yield sum(sources.pairs(layer, neurons) for layer, neurons in wanted)
    for crop_job in crop_jobs:
        yield from compute_boxes(crop_job, sources, network, settings, notes)
    for job in jobs:
        embedder = embedders[job.chosen.spec]
        at_once = network.batch_size(settings.batch_size, embedder.size, embedder.size)
        yield from _run(_task(job, sources, embedder, at_once, notes), sources, network, settings)


def _crop_jobs(jobs: list[EmbeddingJob], sources: Sources, settings: EmbedSettings) -> Iterator[CropJob]:
    """The boxes that the embeddings need and that are not there, each once."""
    lacking: dict[tuple[str, str], np.ndarray] = {}
    for job in jobs:
        where = layer, crop = job.layer, job.chosen.crop
        if crop != WHOLE:
            own = job.neurons if settings.force else missing_boxes(sources, layer, crop, job.neurons, settings)
            lacking[where] = np.union1d(lacking.get(where, np.empty(0, np.int64)), own)
    for (layer, crop), neurons in lacking.items():
        if len(neurons):
            yield CropJob(layer, crop, neurons)


def _task(
    job: EmbeddingJob, sources: Sources, embedder: "Embedder", batch_size: int, notes: list[str]
) -> _EmbeddingTask:
    seen = None
    if job.chosen.crop != WHOLE:
        seen = np.stack(list(boxes(sources, job.layer, job.chosen.crop, job.neurons)))
    plan = Plan.of(sources.collected.layers[job.layer].top.image[job.neurons])
    return _EmbeddingTask(job, embedder, plan, seen, batch_size, AdaptiveBatches(notes))


def _run(task: _EmbeddingTask, sources: Sources, network: Network, settings: EmbedSettings) -> Iterator[int]:
    """Compute one task and write it; yields the pairs of every finished batch."""
    job, plan = task.job, task.plan
    listing, shape = sources.listing([job.layer]), (plan.references, task.embedder.width)
    begun = Work("embed", job.provenance, {"batch_size": task.batch_size}, job.neurons.tolist())
    arrays = {EMBEDDING: ((plan.pairs, task.embedder.width), "float32")}
    with PairWork(sources.store, begun, plan, arrays, max(1, task.batch_size // 2), settings.force) as work:
        yield work.pairs_done
        for start, stop, images in work.batches(listing, network.preprocessing, settings.workers):
            pixels = images.permute(0, 2, 3, 1).numpy()
            if task.boxes is None:
                _write_whole_images(task, work, start, stop, pixels)
            else:
                _write_crops(task, work, start, stop, pixels, task.boxes)
            yield plan.pairs_of(start, stop)

        def row(place: int) -> np.ndarray:
            return work.of_neuron(EMBEDDING, place)

        new = NewRows(job.neurons, row, shape, "float32", job.provenance, job.chosen.recipe)
        add_rows(sources.store, "embed", job.layer, job.chosen.kind, EMBEDDING, new, settings.force)
        work.finished()


def _write_whole_images(task: _EmbeddingTask, work: PairWork, start: int, stop: int, pixels: np.ndarray) -> None:
    """Embed the images ``start:stop`` of the plan, each once for all neurons that refer to it."""
    plan = task.plan
    vectors = task.vectors(list(pixels))
    work.write(EMBEDDING, plan.pairs_in(start, stop), np.repeat(vectors, plan.counts[start:stop], axis=0))


def _write_crops(
    task: _EmbeddingTask, work: PairWork, start: int, stop: int, pixels: np.ndarray, boxes: np.ndarray
) -> None:
    """Embed what each neuron saw of the images ``start:stop`` of the plan."""
    plan, pairs = task.plan, task.plan.pairs_in(start, stop)
    image_of_pair = np.repeat(np.arange(stop - start), plan.counts[start:stop])
    for begin in range(0, len(pairs), task.batch_size):
        chosen = pairs[begin : begin + task.batch_size]
        crops = []
        for pair, image in zip(chosen, image_of_pair[begin : begin + task.batch_size], strict=True):
            top, bottom, left, right = boxes[plan.neuron_row[pair], plan.slot[pair]]
            crops.append(pixels[image, top:bottom, left:right])
        work.write(EMBEDDING, chosen, task.vectors(crops))
