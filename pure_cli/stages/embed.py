"""embed: vectors of the references in the space of a foundation model, of what each neuron saw of them."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import NeuronRows, NewRows, add_rows, has_parts, need_layers, read_rows_index
from pure_cli.core.neurons import parse_neurons
from pure_cli.errors import UnreadableFile
from pure_cli.models.trust import require_trusted
from pure_cli.provenance import Provenance
from pure_cli.settings.embed import EmbedSettings
from pure_cli.stages.embeddings.crops import (
    BOX,
    CROPS,
    CRP,
    RULES,
    WHOLE,
    CropJob,
    CropTask,
    boxes,
    compute_boxes,
    crop_task,
    heatmaps_share,
    missing_boxes,
)
from pure_cli.stages.embeddings.judges import Chosen, choose, require_same, require_weights, short_side, warnings
from pure_cli.stages.inputs.features import EMBEDDING, Sources
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.resume.pair_work import PairWork, Plan
from pure_cli.stages.resume.row_parts import RowParts, require_parts, tell_part
from pure_cli.stages.resume.unfinished_work import Work, drop_unneeded
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import images_of_a_step
from pure_cli.stages.runtime.network import Network, open_network
from pure_cli.waiting import waiting_for
from pure_cli.words import counted
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.embedders.load import Embedder


EMBED = "embed"
CropKey = tuple[str, str, tuple[int, ...]]  # layer, kind of crop, neurons where parts are of all of them


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
    parts : what of it is done here
    batch_size : images that are embedded at once
    adaptive_batches : as the memory allows
    boxes : (N, n, 4) int, what each neuron saw of each reference; None where whole images are embedded
    """

    job: EmbeddingJob
    embedder: "Embedder"
    plan: Plan
    parts: RowParts
    batch_size: int
    adaptive_batches: AdaptiveBatches
    boxes: np.ndarray | None = None

    @property
    def pairs_to_do(self) -> int:
        """Pairs that are computed here."""
        return self.plan.pairs_of_all(self.parts.ranges)

    def vectors(self, images: list[np.ndarray]) -> np.ndarray:
        """Embeddings (B, E) float32 of images (H, W, 3) uint8 of any size."""
        import torch

        parts: list[np.ndarray] = []

        def compute(start: int, stop: int) -> None:
            batch = torch.stack([self.embedder.preprocess(image) for image in images[start:stop]])
            parts.append(self.embedder.embed(batch).cpu().numpy())

        self.adaptive_batches.each(len(images), compute)
        return np.concatenate(parts)


def embed(store: Store, settings: EmbedSettings, progress: Progress = silent, from_parts: bool = False) -> Outcome:
    """Compute the embeddings that are not there yet, and write ``embed.h5``, or a part of them.

    Parameters
    ----------
    from_parts : compute nothing, and put together what parts have found

    Raises
    ------
    PureError
        No references, stale ones, unknown layer, neuron or embedder, weights that do not fit.
    PureFailure
        The embedder's weights would have to be downloaded and cannot be.
    """
    return add_embeddings(Sources(store, settings.force), settings, progress, from_parts)


def add_embeddings(
    sources: Sources, settings: EmbedSettings, progress: Progress = silent, from_parts: bool = False
) -> Outcome:
    """As `embed`, for what is read of a workspace."""
    begin = time.perf_counter()
    layers = need_layers(settings.layer, sources.collected.layers, "collect", bands_too=False)
    sources.listing(layers)
    wanted = {(layer, text): choose(text, settings, sources, layer) for layer in layers for text in settings.embedder}
    jobs = [job for (layer, _), chosen in wanted.items() for job in _jobs(layer, chosen, sources, settings)]
    outcome = Outcome("embed", layers, sum(len(job.neurons) for job in jobs), "neurons")
    outcome.details = {"embedders": list(dict.fromkeys(chosen.kind for chosen in wanted.values()))}
    recipes = {chosen.kind: chosen.recipe for chosen in wanted.values()}
    for kind, recipe in recipes.items():
        outcome.notes += warnings(kind, recipe, sources.collected.origin)
    if settings.part is None:
        outcome.notes += _losses(jobs, sources)
    if jobs:
        work = _Run.opened(jobs, sources, settings, outcome.notes)
        work.require_parts(from_parts)
        total, done = work.pairs_to_do, 0
        outcome.details["embeddings"] = sum(sources.pairs(job.layer, job.neurons) for job in jobs)
        for pairs in work.steps():
            done += pairs
            progress(done, total)
    if settings.part is not None:
        tell_part(outcome, [task.parts for task in work.tasks] if jobs else [], total if jobs else 0)
    else:
        _tidy(sources)
        sources.forget_embeddings()
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _tidy(sources: Sources) -> None:
    """Drop what nobody needs any more of what was begun."""
    for stage, array in ((CROPS, BOX), (EMBED, EMBEDDING)):
        there = {}
        with suppress(UnreadableFile):  # boxes that this run had no need of
            there = read_rows_index(sources.store, stage, array)
        drop_unneeded(sources.store, stage, lambda begun, there=there: _needed(begun, there, sources))  # type: ignore[misc]


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


@dataclass(frozen=True)
class _Run:
    """All that is to be done: boxes first, then embeddings.

    Attributes
    ----------
    crops : by layer, kind of crop and neurons
    notes : get what the user should know
    """

    sources: Sources
    settings: EmbedSettings
    network: Network
    crops: Mapping[CropKey, CropTask]
    tasks: list[_EmbeddingTask]
    notes: list[str]

    @classmethod
    def opened(cls, jobs: list[EmbeddingJob], sources: Sources, settings: EmbedSettings, notes: list[str]) -> "_Run":
        """With network and embedders."""
        network = open_network(sources.collected, settings.device)
        embedders = _embedders(jobs, sources, network)
        step = _step(jobs, embedders, sources, network, settings)
        crop_jobs = _crop_jobs(jobs, sources, settings)
        crops = {key: crop_task(job, sources, network, settings, step) for key, job in crop_jobs.items()}
        tasks = [_task(job, sources, embedders[job.chosen.spec], network, settings, step, notes) for job in jobs]
        return cls(sources, settings, network, crops, tasks, notes)

    def require_parts(self, from_parts: bool) -> None:
        """As of `pure_cli.stages.resume.row_parts.require_parts`."""
        require_parts(
            self.sources.store, CROPS, [task.parts for task in self.crops.values()], self.settings, from_parts
        )
        require_parts(self.sources.store, EMBED, [task.parts for task in self.tasks], self.settings, from_parts)

    @property
    def pairs_to_do(self) -> int:
        """Pairs of neuron and reference; each counts once for the box and once for each embedding."""
        boxes_to_do = sum(task.pairs_to_do for task in self._crops_to_do)
        return boxes_to_do + sum(task.pairs_to_do for task in self._tasks_to_do)

    @property
    def _crops_to_do(self) -> list[CropTask]:
        return [task for task in self.crops.values() if self.settings.force or not task.parts.is_there]

    @property
    def _tasks_to_do(self) -> list[_EmbeddingTask]:
        return [task for task in self.tasks if self.settings.force or not task.parts.is_there]

    def steps(self) -> Iterator[int]:
        """Do it; yields the pairs of every finished batch."""
        for crops in self._crops_to_do:
            self.notes.extend(crops.parts.notes)
            yield from compute_boxes(crops, self.sources, self.network, self.settings, self.notes)
        for task in self._tasks_to_do:
            self.notes.extend(task.parts.notes)
            yield from _run(replace(task, boxes=self._boxes(task)), self.sources, self.network, self.settings)

    def _boxes(self, task: _EmbeddingTask) -> np.ndarray | None:
        """What neurons saw, of a part those of its images; None where whole images are embedded."""
        job = task.job
        if job.chosen.crop == WHOLE:
            return None
        own = self.crops.get(_crop_key(job)) if task.parts.header is not None else None
        return own.own_boxes() if own else np.stack(list(boxes(self.sources, job.layer, job.chosen.crop, job.neurons)))


def _embedders(jobs: list[EmbeddingJob], sources: Sources, network: Network) -> "dict[Any, Embedder]":
    from pure_cli.embedders.load import load_embedder

    pixels = short_side(sources, jobs[0].layer, network)
    specs = {job.chosen.spec for job in jobs}
    for spec in specs:
        require_trusted(spec.model)
    waiting_for("loading the embedder")
    return {spec: load_embedder(spec, network.device, pixels) for spec in specs}


def _step(
    jobs: list[EmbeddingJob],
    embedders: "dict[Any, Embedder]",
    sources: Sources,
    network: Network,
    settings: EmbedSettings,
) -> int:
    """Where parts begin, in images: where batches of boxes and of embeddings do."""
    listing = sources.listing([job.layer for job in jobs])
    crops = {job.chosen.crop for job in jobs} - {WHOLE}
    sizes = [images_of_a_step(listing, network, settings.batch_size, heatmaps_share(crop)) for crop in crops]
    for embedder in embedders.values():
        usual = network.usual_batch_size(embedder.size, embedder.size)
        sizes.append(_images_at_once(settings.batch_size or usual))
    return math.lcm(*sizes)


def _images_at_once(crops: int) -> int:
    """Images whose crops are cut together, where so many of these are embedded at once."""
    return max(1, crops // 2)


def _crop_jobs(jobs: list[EmbeddingJob], sources: Sources, settings: EmbedSettings) -> dict[CropKey, CropJob]:
    """The boxes that the embeddings need and that are not there, each once; in parts, of all neurons of an embedding,
    so that the parts of both are of the same images."""
    lacking: dict[tuple[str, str], np.ndarray] = {}
    in_parts: dict[CropKey, CropJob] = {}
    shared = settings.part is not None or has_parts(sources.store, CROPS)
    for job in jobs:
        where = layer, crop = job.layer, job.chosen.crop
        if crop != WHOLE:
            own = job.neurons if settings.force else missing_boxes(sources, layer, crop, job.neurons, settings)
            lacking[where] = np.union1d(lacking.get(where, np.empty(0, np.int64)), own)
            if len(own):
                in_parts[_crop_key(job)] = CropJob(layer, crop, job.neurons)
    if shared:
        return in_parts
    return {(*where, ()): CropJob(*where, neurons) for where, neurons in lacking.items() if len(neurons)}


def _crop_key(job: EmbeddingJob) -> CropKey:
    return job.layer, job.chosen.crop, tuple(job.neurons.tolist())


def _task(
    job: EmbeddingJob,
    sources: Sources,
    embedder: "Embedder",
    network: Network,
    settings: EmbedSettings,
    step: int,
    notes: list[str],
) -> _EmbeddingTask:
    plan = Plan.of(sources.collected.layers[job.layer].top.image[job.neurons])
    at_once = network.batch_size(settings.batch_size, embedder.size, embedder.size)
    work = Work(EMBED, job.provenance, {"batch_size": at_once}, job.neurons.tolist())
    where = len(plan.images), network.device.type, settings, step, 1 + plan.counts
    parts = RowParts.of(sources.store, work, *where)
    return _EmbeddingTask(job, embedder, plan, parts, at_once, AdaptiveBatches(notes))


def _run(task: _EmbeddingTask, sources: Sources, network: Network, settings: EmbedSettings) -> Iterator[int]:
    """Compute one task and write it; yields the pairs of every finished batch."""
    job, plan = task.job, task.plan
    listing, shape = sources.listing([job.layer]), (plan.references, task.embedder.width)
    arrays = {EMBEDDING: ((plan.pairs, task.embedder.width), "float32")}
    with PairWork(task.parts, plan, arrays, _images_at_once(task.batch_size), settings.force) as work:
        yield work.pairs_done
        for start, stop, images in work.batches(listing, network.preprocessing, settings.workers):
            pixels = images.permute(0, 2, 3, 1).numpy()
            if task.boxes is None:
                _write_whole_images(task, work, start, stop, pixels)
            else:
                _write_crops(task, work, start, stop, pixels, task.boxes)
            yield plan.pairs_of(start, stop)
        if work.is_part:
            work.leave_part()
            return

        def row(place: int) -> np.ndarray:
            return work.of_neuron(EMBEDDING, place)

        new = NewRows(job.neurons, row, shape, "float32", job.provenance, job.chosen.recipe)
        add_rows(sources.store, EMBED, job.layer, job.chosen.kind, EMBEDDING, new, settings.force)
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
