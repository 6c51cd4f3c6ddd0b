"""attribute: the relevance of lower channels for each neuron on its references; an image is forwarded once for all."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import (
    AttributedLayer,
    Collected,
    CollectedLayer,
    NewRelevances,
    add_relevances,
    has_parts,
    need_calibration,
    need_layers,
    read_attributed,
    read_collected,
)
from pure_cli.core.directions import module_of
from pure_cli.core.neurons import parse_neurons
from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.settings.attribute import AttributeSettings
from pure_cli.settings.shared import AUTO, FLOAT32, HIDDEN, PAPER
from pure_cli.stages.inputs.freshness import attribute_provenance, read_earlier, require_unchanged
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.relevances.lower_layers import require_lower_layers
from pure_cli.stages.relevances.work import AttributionJob, AttributionTask, compute_batch
from pure_cli.stages.resume.pair_work import PairWork, Plan
from pure_cli.stages.resume.row_parts import RowParts, require_parts, tell_part
from pure_cli.stages.resume.unfinished_work import Work, drop_unneeded
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.begun import Begun, inputs_of
from pure_cli.stages.runtime.images import first_image, images_at_once, images_of_a_step, named_images
from pure_cli.stages.runtime.network import Network, open_network
from pure_cli.stages.runtime.soundness import require_sound
from pure_cli.words import counted
from pure_cli.workspace import Store

if TYPE_CHECKING:
    import torch

ATTRIBUTE = "attribute"
GRADIENT_X_INPUT = "gradient-x-input"
ZEROS_SHOWN = 5  # neurons


def attribute(
    store: Store,
    settings: AttributeSettings,
    progress: Progress = silent,
    begun: Begun | None = None,
    from_parts: bool = False,
) -> Outcome:
    """Compute the relevances that are not there yet, and write ``attribute.h5``, or a part of them.

    Parameters
    ----------
    begun : what another stage kept of the images, below all lower layers; rules of LRP want the images all the same
    from_parts : compute nothing, and put together what parts have found

    Raises
    ------
    PureError
        No references, stale ones, unknown layer or neuron, a lower layer that does not lead to the layer.
    """
    begin = time.perf_counter()
    if settings.data_type != FLOAT32 and settings.rule != GRADIENT_X_INPUT:
        raise PureError(f"--precision {settings.precision} is for {GRADIENT_X_INPUT}; other rules need float32.")
    collected = read_collected(store)
    layers = need_layers(settings.layer, collected.layers, "collect", bands_too=False)
    listing = require_unchanged(store, collected, layers)
    before = _earlier(store, settings)
    valid = {
        name: layer
        for name, layer in before.items()
        if name in collected.layers and layer.provenance == attribute_provenance(collected, name, settings.how)
    }
    jobs = [
        job for layer in layers for job in _jobs(store, layer, collected, before.get(layer), valid.get(layer), settings)
    ]
    outcome = Outcome(
        "attribute", layers, sum(len(job.neurons) for job in jobs), "neurons", details={"pairs": 0, "lower_layers": []}
    )
    tasks: list[AttributionTask] = []
    if jobs:
        network = open_network(collected, settings.device)
        tasks = [_task(job, store, network, collected, listing, settings, begun) for job in jobs]
        outcome.notes += _looked_at(tasks, network, listing)
    require_parts(store, ATTRIBUTE, [task.parts for task in tasks], settings, from_parts)
    outcome.details |= _compute_all(tasks, listing, outcome.notes, progress)
    if settings.part is not None:
        tell_part(outcome, [task.parts for task in tasks], outcome.details["pairs"])
    else:
        outcome.notes += _replaced({job.layer for job in jobs} & before.keys() - valid.keys())
        there = read_attributed(store)
        drop_unneeded(store, ATTRIBUTE, lambda work: _needed(work, collected, there))
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _looked_at(tasks: list[AttributionTask], network: Network, listing: Listing) -> list[str]:
    """What is to be known of the network, of the rule for it, and of the layers, in sentences."""
    jobs, collected, rule = [task.job for task in tasks], tasks[0].collected, tasks[0].settings.rule
    used = [name for job in jobs for name in (job.layer, *job.lower_layers)]
    notes = require_sound(network, listing, used)
    return [*notes, *_misfits(network, jobs, listing, rule), *_unclear(network, jobs, collected, listing)]


def _compute_all(
    tasks: list[AttributionTask], listing: Listing, notes: list[str], progress: Progress
) -> dict[str, Any]:
    """Compute what is to be done here of some tasks; how many pairs that are, and of which lower layers."""
    todo = [task for task in tasks if task.settings.force or not task.parts.is_there]
    done, total = 0, sum(task.pairs_to_do for task in todo)
    for task in todo:
        notes += task.parts.notes
        for pairs in _run(task, listing, notes):
            done += pairs
            progress(done, total)
    return {"pairs": total, "lower_layers": list(dict.fromkeys(name for one in tasks for name in one.job.lower_layers))}


def _earlier(store: Store, settings: AttributeSettings) -> dict[str, AttributedLayer]:
    return read_earlier(read_attributed, store, settings.force) if store.has("attribute") else {}


def _chosen(store: Store, source: CollectedLayer, layer: str, settings: AttributeSettings) -> list[str] | None:
    """The lower layers that were asked for; those of the calibration in place of the word auto.

    Raises
    ------
    PureError
        The layer is not calibrated, or has no hidden layer.
    """
    if settings.lower_layer is None and settings.recipe == PAPER:
        return source.lower_layers
    if settings.lower_layer is None and settings.recipe == HIDDEN:
        return [source.require_hidden(layer)]
    if settings.lower_layer is None or AUTO not in settings.lower_layer:
        return settings.lower_layer
    calibrated = need_calibration(store, module_of(layer), source.provenance.made_from).lower_layers
    return [name for one in settings.lower_layer for name in (calibrated if one == AUTO else [one])]


def _jobs(
    store: Store,
    layer: str,
    collected: Collected,
    before: AttributedLayer | None,
    there: AttributedLayer | None,
    settings: AttributeSettings,
) -> Iterator[AttributionJob]:
    """What is missing of a layer, where `before` is in the file and `there` is the part of it that is up to date."""
    source = collected.layers[layer]
    neurons = parse_neurons("all" if settings.neurons is None else settings.neurons, source.neurons, layer)
    lower_layers = _chosen(store, source, layer, settings) or (
        before.lower_layers if before else source.usual_lower_layers
    )
    if not lower_layers:
        raise PureError(f"No layer is known to lie below '{layer}'. Name one with --lower-layer.")
    if settings.force:
        there = None
    by_missing: dict[tuple[int, ...], list[str]] = {}
    for lower in dict.fromkeys(lower_layers):
        missing = there.missing(lower, neurons) if there else neurons
        if len(missing):
            by_missing.setdefault(tuple(missing.tolist()), []).append(lower)
    for missing_neurons, lowers in by_missing.items():
        done = np.arange(source.neurons)
        for lower in lowers:
            done = np.setdiff1d(done, there.missing(lower, done) if there else done)
        yield AttributionJob(layer, np.array(missing_neurons, dtype=np.int64), lowers, done)


def _task(
    job: AttributionJob,
    store: Store,
    network: Network,
    collected: Collected,
    listing: Listing,
    settings: AttributeSettings,
    begun: Begun | None,
) -> AttributionTask:
    from pure_cli.models.rules import RULES

    image = collected.layers[job.layer].top.image
    widths = require_lower_layers(network, job.layer, job.lower_layers, listing, settings.rule)
    layer_channels = widths.pop(module_of(job.layer))
    at_once = images_at_once(listing, network, settings.batch_size)
    how = {"lower_layers": job.lower_layers, "batch_size": at_once}
    work = Work(ATTRIBUTE, attribute_provenance(collected, job.layer, settings.how), how, job.neurons.tolist())
    if settings.part is None and not has_parts(store, ATTRIBUTE):
        work = work.begun(store, job.there)
    plan = Plan.of(image[work.neurons])
    step = images_of_a_step(listing, network, settings.batch_size)
    parts = RowParts.of(store, work, len(plan.images), network.device.type, settings, step, 1 + plan.counts)
    can_begin = not RULES[settings.rule].hooks and settings.data_type == FLOAT32
    own = begun if can_begin else None
    return AttributionTask(job, network, collected, settings, parts, plan, widths, layer_channels, at_once, own)


def _replaced(layers: Collection[str]) -> list[str]:
    """A sentence on each of the layers whose earlier relevances did not count."""
    return [
        f"The earlier relevances of '{layer}' were stale or made in another way, and were replaced."
        for layer in sorted(layers)
    ]


def _needed(work: Work, collected: Collected, there: Mapping[str, AttributedLayer]) -> bool:
    """What a killed process had begun is of the references that there are, and not done since."""
    layer = work.layer
    if layer not in collected.layers:
        return False
    if work.provenance != attribute_provenance(collected, layer, work.provenance.settings):
        return False
    if layer not in there or there[layer].provenance != work.provenance:
        return True
    return any(len(there[layer].missing(lower, np.array(work.neurons))) for lower in work.how["lower_layers"])


def _misfits(network: Network, jobs: list[AttributionJob], listing: Listing, rule: str) -> list[str]:
    """What of the network the rule does not fit, in sentences."""
    from pure_cli.models.rules import missing_canonizer

    image = network.inputs(first_image(listing, network))
    modules = dict.fromkeys(module_of(job.layer) for job in jobs)
    found = dict.fromkeys(missing_canonizer(rule, network.model, image, module) for module in modules)
    return [sentence for sentence in found if sentence is not None]


def _unclear(network: Network, jobs: list[AttributionJob], collected: Collected, listing: Listing) -> list[str]:
    """What is not clear about lower layers that collect said nothing about."""
    from pure_cli.models.layers import list_layers, unclear

    known = {lower for layer in collected.layers.values() for lower in layer.lower_layers}
    new = {lower for job in jobs for lower in job.lower_layers} - known
    return unclear(list_layers(network.model, network.inputs(first_image(listing, network))), new) if new else []


def _run(task: AttributionTask, listing: Listing, notes: list[str]) -> Iterator[int]:
    """Compute one task from where a killed process left it, and write it; yields the pairs of every finished batch."""
    from pure_cli.models.rules import RULES, in_force

    plan, settings, adaptive_batches = task.plan, task.settings, AdaptiveBatches(notes)
    if task.begun is not None:
        task = replace(task, network=task.begun.ready(task.network))
    elif not RULES[settings.rule].hooks:
        looked_at = [task.module, *task.job.lower_layers]
        fast = task.network.ready(first_image(listing, task.network), looked_at, settings.data_type)
        task = replace(task, network=fast)
    tasks = [replace(task, network=network) for network in task.network.replicas()]
    with (
        ExitStack() as contexts,
        PairWork(task.parts, plan, task.arrays, task.batch_size, settings.force) as work,
    ):
        for own in tasks:
            contexts.enter_context(in_force(settings.rule, own.network.model))
        yield work.pairs_done
        devices = [own.network.device for own in tasks]
        for group in work.groups(listing, task.network.preprocessing, settings.workers, devices, task.begun):
            _compute(tasks, work, group, listing, adaptive_batches)
            yield plan.pairs_of(group[0][0], group[-1][1])
        if work.is_part:
            work.leave_part()
            return
        new = _found_relevances(task, work)
        notes += _zeros(task.job, task.source, new.norm)
        add_relevances(task.parts.workspace, new, task.source.top.image, task.work.provenance, settings.force)
        work.finished()


def _compute(
    tasks: list[AttributionTask],
    work: PairWork,
    group: list[tuple[int, int, "torch.Tensor"]],
    listing: Listing,
    adaptive_batches: AdaptiveBatches,
) -> None:
    """Compute a batch on each device, all at once, and write what they find.

    Parameters
    ----------
    tasks : the same one on each of the devices
    group : of each batch, start and stop of its images in the plan, and the images (B, 3, H, W) uint8, or what was
        kept of them
    """
    writes: list[Callable[[], None]] = []
    for task, (start, stop, images) in zip(cycle(tasks), group, strict=False):

        def compute(
            begin: int, end: int, task: AttributionTask = task, start: int = start, images: "torch.Tensor" = images
        ) -> None:
            named = named_images(listing, task.plan.images[start + begin : start + end])
            with named, inputs_of(task.network, images[begin:end], task.begun) as pixels:
                writes.append(compute_batch(task, work, (start + begin, start + end), pixels))
            if len(group) == 1:  # then nothing is gained by waiting
                writes.pop()()

        adaptive_batches.each(stop - start, compute)
    for write in writes:
        write()


def _found_relevances(task: AttributionTask, work: PairWork) -> NewRelevances:
    """What was computed of the neurons of the job, neuron by neuron, and of the images."""
    job, plan = task.job, task.plan
    place_in_work = np.searchsorted(task.neurons, job.neurons)

    def rows_of(name: str) -> Callable[[int], np.ndarray]:
        return lambda place: work.of_neuron(name, int(place_in_work[place]))

    def norms_of(name: str) -> Callable[[int], np.ndarray]:
        read = rows_of(f"{name}-norm")
        return lambda place: read(place)[:, 0]

    def of_images(name: str) -> np.ndarray:
        return work.rows(name, 0, len(plan.images))

    return NewRelevances(
        job.layer,
        job.neurons,
        {lower: rows_of(name) for lower, name in task.names.items()},
        {lower: norms_of(name) for lower, name in task.names.items()},
        task.channels,
        plan.images,
        {kind: of_images(kind) for kind in ("max", "mean")},
        {lower: of_images(f"{name}-mean") for lower, name in task.names.items()},
        task.settings.store,
    )


def _zeros(
    job: AttributionJob, source: CollectedLayer, norms: Mapping[str, Callable[[int], np.ndarray]]
) -> Iterator[str]:
    """A sentence for each lower layer at which neurons have no relevance although they fire."""
    from pure_cli.core.circuits import L1_EPSILON

    fires = (source.top.value[job.neurons] > source.fires_above) & (source.top.image[job.neurons] != NO_IMAGE)
    for lower, norm_of in norms.items():
        zero = [
            row
            for row in range(len(job.neurons))
            if fires[row].any() and (norm_of(row)[fires[row]] <= 2 * L1_EPSILON).all()
        ]
        if zero:
            first = ", ".join(str(job.neurons[row]) for row in zero[:ZEROS_SHOWN])
            more = ", …" if len(zero) > ZEROS_SHOWN else ""
            yield (
                f"{counted(len(zero), 'neuron')} of '{job.layer}' ({first}{more}) without relevance at '{lower}' on "
                "any reference: something between cuts the gradient off (rounding, a threshold, a dead layer). Virtual "
                "neurons of that mean nothing."
            )
