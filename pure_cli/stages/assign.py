"""assign: the share of each virtual neuron in images of any data set, over the whole range of activation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.artifacts import (
    Assignment,
    Choice,
    Clustering,
    need_clusterings,
    need_layers,
    read_assignments,
    write_assignments,
)
from pure_cli.core.directions import module_of
from pure_cli.core.neurons import choose_neurons
from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import Listing
from pure_cli.data.long_lists import values_at
from pure_cli.provenance import Provenance
from pure_cli.settings.assign import AssignSettings
from pure_cli.stages.assignment.figures import draw_all, remove_all
from pure_cli.stages.assignment.reader import CircuitReader
from pure_cli.stages.assignment.scores import ScoresTask
from pure_cli.stages.assignment.tables import table_of
from pure_cli.stages.inputs.choice import meant_features, require_virtual, there_are
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.inputs.freshness import read_earlier
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.resume.pair_work import PairWork, Plan
from pure_cli.stages.resume.row_parts import RowParts, tell_part
from pure_cli.stages.resume.unfinished_work import Work, drop_unneeded
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once, images_of_a_step, named_images
from pure_cli.stages.runtime.network import Network, open_network
from pure_cli.stages.runtime.soundness import require_sound
from pure_cli.words import counted
from pure_cli.workspace import Store

if TYPE_CHECKING:
    import torch

ASSIGN = "assign"
SHARE, HARD = "share", "hard"
FOLDER = "assign"  # of the figures


def assign(store: Store, settings: AssignSettings, progress: Progress = silent, from_parts: bool = False) -> Outcome:
    """Compute what is not there yet, and write ``assign.h5``, or a part of it: first of the scores of all images, and
    once all parts of these are there, of the circuits of some.

    Parameters
    ----------
    from_parts : compute nothing, and put together what parts have found

    Raises
    ------
    PureError
        No virtual neurons, stale ones, those of features that need crops, or images that cannot be listed.
    """
    begin = time.perf_counter()
    sources, clusterings = Sources(store), need_clusterings(store)
    layers = need_layers(settings.layer, there_are(clusterings.values()), "cluster")
    listing = sources.images(layers, settings.data, settings.limit)
    if settings.data is not None:  # as it goes on to mean these images, for parts that are merged later
        settings = settings.model_copy(update={"data": listing.data})
    there = read_earlier(read_assignments, store, settings.force)
    tasks = [_task(layer, sources, clusterings, listing, there.get(layer), settings) for layer in layers]
    todo = [task for task in tasks if len(task.missing)]
    outcome = Outcome("assign", layers, sum(len(task.missing) for task in todo), "neurons")
    if todo:
        network = open_network(sources.collected, settings.device)
        outcome.notes += listing.notes
        for task in todo:
            new, old = _computed(task, network, outcome, progress, from_parts), there.get(task.layer)
            if new is None:
                continue
            there[task.layer] = task.valid.joined(new) if task.valid else new
            write_assignments(store, there)
            if not task.valid:
                outcome.notes += [_replaced(task, old, clusterings)] if old else []
                remove_all(store.root / FOLDER, task.layer)
            outcome.details.setdefault("files", []).extend(_figures(task, there[task.layer], network))
    if settings.part is None:
        drop_unneeded(store, ASSIGN, lambda work: False)
    outcome.details["tables"] = [
        table_of(there[task.layer], task.layer, task.neurons, task.clustering.counts(task.neurons))
        for task in tasks
        if settings.part is None or task not in todo
    ]
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _replaced(task: AssignmentTask, old: Assignment, clusterings: dict[str, Clustering]) -> str:
    """What was there of a layer and was made from other things, in a sentence."""
    path = old.clustering_path(clusterings)
    virtual = "virtual neurons that are gone"
    if path:
        own = clusterings[path].provenance.settings
        virtual = f"virtual neurons by {Choice(own['features'], own['k'])}"
    return (
        f"This replaced the shares and figures of {counted(len(old.neuron), 'neuron')} of '{task.layer}' on "
        f"{old.provenance.settings['data']}, of {virtual}: a workspace keeps those of one data set, one clustering and "
        "one set of options for each layer."
    )


def _figures(task: AssignmentTask, assignment: Assignment, network: Network) -> list[str]:
    """Of the first of the neurons that are new."""
    drawn = task.missing[: task.settings.figures]
    folder, collected = task.source.store.root / FOLDER, task.sources.collected
    counts = task.clustering.counts(drawn)
    return draw_all(assignment, task.layer, drawn, counts, task.listing, collected, network.preprocessing, folder)


@dataclass(frozen=True)
class AssignmentTask:
    """What is to be assigned of a layer.

    Attributes
    ----------
    neurons : that are asked for
    missing : those of them that are not there
    valid : what is there and was made from the same things
    """

    layer: str
    source: FeatureSource
    sources: Sources
    clustering: Clustering
    listing: Listing
    neurons: np.ndarray
    missing: np.ndarray
    valid: Assignment | None
    settings: AssignSettings
    provenance: Provenance

    @property
    def most(self) -> int:
        """Virtual neurons that a neuron has at most."""
        return int(self.clustering.label.max(initial=0)) + 1


def _task(
    layer: str,
    sources: Sources,
    clusterings: dict[str, Clustering],
    listing: Listing,
    there: Assignment | None,
    settings: AssignSettings,
) -> AssignmentTask:
    source, clustering = meant_features(sources, layer, clusterings)
    count = sources.collected.layers[layer].neurons
    neurons = choose_neurons(settings.neurons, clustering.neuron, count, layer, "virtual neurons", "pure cluster", True)
    require_virtual(clustering, settings.neurons, count, layer)
    how = settings.model_dump(mode="json", include={"limit", "quantiles", "per_quantile", "seed"})
    how |= settings.arithmetic
    made_from = {"cluster": clustering.provenance.fingerprint, "images": listing.fingerprint}
    provenance = Provenance({**how, "layer": layer, "data": str(listing.data)}, made_from)
    valid = there if there is not None and there.provenance == provenance else None
    if valid is not None and settings.force:
        valid = valid.without(neurons)
    missing = np.setdiff1d(neurons, valid.neuron) if valid else neurons
    return AssignmentTask(layer, source, sources, clustering, listing, neurons, missing, valid, settings, provenance)


def _computed(
    task: AssignmentTask, network: Network, outcome: Outcome, progress: Progress, from_parts: bool
) -> Assignment | None:
    """First the scores of all images, then the circuits of some of them; None where that is a part."""
    made_from = [str(task.listing.fingerprint), str(task.sources.collected.layers[task.layer].passed_on)]
    where = task.sources, task.layer, task.missing, task.listing, network, task.settings, made_from
    first = ScoresTask.of(*where)
    scores = _scores(first, outcome, progress, from_parts)
    if scores is None:
        return None
    drawn = _draw(task, scores)
    outcome.notes += require_sound(network, task.listing, [task.layer, *task.source.lower_layers])
    reader, plan = _reader(task, network), Plan.of(drawn["image"])
    assigners = [reader.assigner(neuron) for neuron in task.missing.tolist()]
    found = _circuits(task, reader, plan, outcome, progress, from_parts)
    if found is None:
        return None
    first.parts.drop()
    shares, hard = found
    used = plan.images
    return Assignment(
        task.missing,
        **drawn,
        share=shares,
        hard=np.where(drawn["image"] == NO_IMAGE, -1, hard).astype(np.int16),
        limit=np.array([one.limit if one else np.nan for one in assigners]),
        variance=np.array([one.variance if one else np.nan for one in assigners]),
        path={index: task.listing.paths[index] for index in used.tolist()},
        label=dict(zip(used.tolist(), values_at(task.listing.labels, used).tolist(), strict=True)),
        label_names=list(task.listing.names),
        provenance=task.provenance,
    )


def _scores(scores: ScoresTask, outcome: Outcome, progress: Progress, from_parts: bool) -> np.ndarray | None:
    """Of all images; None where only a part of them is there yet."""
    scores.parts.require_whole(from_parts)
    if scores.parts.header is None:
        outcome.notes += scores.parts.notes
        return scores.compute(outcome.notes, progress)
    gathered = scores.gathered()
    if not gathered.parts.ranges:
        return gathered.compute(outcome.notes, progress)
    there = scores.parts.is_there and not scores.how.force
    if not there:
        scores.compute(outcome.notes, progress)
    tell_part(outcome, [scores.parts], 0 if there else scores.parts.header.stop - scores.parts.header.start)
    outcome.notes.append(
        f"This part is of the scores of all images. When all parts of them are there, `pure assign --part "
        f"{scores.parts.header.part}` does its part of the circuits."
    )
    return None


def _draw(task: AssignmentTask, scores: np.ndarray) -> dict[str, np.ndarray]:
    """The images whose circuits are computed, and the quantiles that they are of; as of `Assignment`.

    Parameters
    ----------
    scores : (M, N) float32 of all images, NaN where there is none
    """
    above = task.sources.collected.layers[task.layer].fires_above
    rows = []
    for column, neuron in enumerate(task.missing.tolist()):
        own = scores[:, column]
        firing = np.flatnonzero(np.nan_to_num(own, nan=-np.inf) > above)
        rows.append(_draw_of(task, neuron, own, firing[np.argsort(own[firing], kind="stable")]))
    most, empty = max(len(row["image"]) for row in rows), {"image": NO_IMAGE, "score": 0, "quantile": -1}
    for row in rows:
        for name, value in empty.items():
            row[name] = np.pad(row[name], (0, most - len(row[name])), constant_values=value)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _draw_of(task: AssignmentTask, neuron: int, scores: np.ndarray, firing: np.ndarray) -> dict[str, np.ndarray]:
    """Of one neuron: some images of each quantile of those on which it fires, which are given in ascending order."""
    count, random = task.settings.per_quantile, np.random.default_rng([task.settings.seed, neuron])
    parts = np.array_split(firing, task.settings.quantiles)
    drawn = [part if not count or len(part) <= count else random.choice(part, count, replace=False) for part in parts]
    which = np.concatenate(drawn)
    order = np.argsort(-scores[which], kind="stable")
    ends = [*(part[:1] for part in parts), firing[-1:]]
    return {
        "edge": np.array([scores[end[0]] if len(end) else np.nan for end in ends], np.float32),
        "count": np.array([len(part) for part in parts], np.int64),
        "mass": np.array([scores[part].clip(min=0).sum(dtype=np.float64) for part in parts]),
        "image": np.array(task.listing.index[which[order]], np.int64),
        "score": scores[which[order]].astype(np.float32),
        "quantile": np.repeat(np.arange(len(parts)), [len(part) for part in drawn])[order].astype(np.int16),
    }


def _circuits(
    task: AssignmentTask, reader: CircuitReader, plan: Plan, outcome: Outcome, progress: Progress, from_parts: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Shares (N, m, V + 1) float32 of the virtual neurons in the images drawn, and the nearest of them (N, m) int16;
    None where that is a part."""
    network = reader.network
    at_once = images_at_once(task.listing, network, task.settings.batch_size)
    how = {"batch_size": at_once, "step": "circuits"}
    work = Work(ASSIGN, task.provenance, how, task.missing.tolist())
    step = images_of_a_step(task.listing, network, task.settings.batch_size)
    where = len(plan.images), network.device.type, task.settings, step, 1 + plan.counts
    parts = RowParts.of(task.source.store, work, *where)
    parts.require_whole(from_parts)
    if parts.is_there and not task.settings.force:
        tell_part(outcome, [parts], 0)
        return None
    shape, width = (len(task.missing), plan.references), task.most + 1
    arrays = {SHARE: ((plan.pairs, width), "float32"), HARD: ((plan.pairs, 1), "int16")}
    adaptive_batches = AdaptiveBatches(outcome.notes)
    with PairWork(parts, plan, arrays, at_once, task.settings.force) as done, reader.in_force():
        finished = done.pairs_done
        progress(finished, plan.pairs)
        for start, stop, images in done.batches(task.listing, network.preprocessing, task.settings.workers):

            def compute(begin: int, end: int, start: int = start, images: torch.Tensor = images) -> None:
                with named_images(task.listing, plan.images[start + begin : start + end]):
                    for pairs, shares, hard in _read(task, reader, plan, images[begin:end], start + begin):
                        done.write(SHARE, pairs, shares)
                        done.write(HARD, pairs, hard[:, None])

            adaptive_batches.each(stop - start, compute)
            finished += plan.pairs_of(start, stop)
            progress(finished, plan.pairs)
        if done.is_part:
            done.leave_part()
            tell_part(outcome, [parts], finished)
            return None
        found = np.zeros((*shape, width), np.float32), np.zeros(shape, np.int16)
        for row in range(shape[0]):
            found[0][row], found[1][row] = done.of_neuron(SHARE, row), done.of_neuron(HARD, row)[:, 0]
        done.finished()
    return found


def _reader(task: AssignmentTask, network: Network) -> CircuitReader:
    """With the network as fast as it gets, where the rule does without hooks."""
    from pure_cli.models.rules import RULES

    example = first_image(task.listing, network)
    network.bound_of(task.layer, example)
    reader = CircuitReader.of(task.sources, task.source, task.clustering, network)
    if not RULES[reader.rule].hooks:
        reader.network = network.ready(example, [module_of(task.layer), *reader.features.every_lower_layer])
    return reader


def _read(
    task: AssignmentTask, reader: CircuitReader, plan: Plan, images: torch.Tensor, start: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For images (B, 3, H, W) uint8, the first of which is number `start` of the plan: pairs, shares, and the nearest
    virtual neurons."""
    circuits = reader.circuits_of(reader.network.inputs(images))
    rounds = list(plan.rounds(start, start + len(images)))
    neurons = [task.missing[plan.neuron_row[pairs]] for pairs in rounds]
    for pairs, which, points in zip(rounds, neurons, reader.points(circuits, neurons), strict=True):
        yield pairs, *_belonging(task, reader, which, points)


def _belonging(
    task: AssignmentTask, reader: CircuitReader, neurons: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    shares = np.zeros((len(neurons), task.most + 1), np.float32)
    hard = np.full(len(neurons), -1, np.int16)
    for neuron in np.unique(neurons).tolist():
        own, assigner = neurons == neuron, reader.assigner(neuron)
        if assigner is None:
            shares[own, -1] = 1
            continue
        found = assigner.shares(points[own])
        shares[own, : found.shape[1] - 1], shares[own, -1] = found[:, :-1], found[:, -1]
        hard[own] = assigner.hard(points[own])
    return shares, hard
