"""attribute: the relevance of lower channels for each neuron on its references; an image is forwarded once for all."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from pure_cli.artifacts import (
    AttributedLayer,
    Collected,
    NewRelevances,
    add_relevances,
    need_layers,
    read_attributed,
    read_collected,
)
from pure_cli.config import AttributeSettings, fingerprint
from pure_cli.core.neurons import parse_neurons
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.stages.common import (
    Network,
    Outcome,
    Progress,
    earlier,
    lineage,
    open_network,
    require_unchanged,
    silent,
)
from pure_cli.stages.pairs import PairWork, Plan
from pure_cli.workspace import Store, result_fingerprint

GRADIENT_X_INPUT = "gradient-x-input"


@dataclass(frozen=True)
class Job:
    """Neurons of one layer whose relevances at some lower layers are to be computed together."""

    layer: str
    neurons: np.ndarray
    lower_layers: list[str]


def attribute(store: Store, settings: AttributeSettings, progress: Progress = silent) -> Outcome:
    """Compute the relevances that are not there yet, and write ``attribute.h5``.

    Raises
    ------
    PureError
        No references, stale ones, unknown layer or neuron, a lower layer that does not lead to the layer.
    """
    begin = time.perf_counter()
    collected = read_collected(store)
    layers = need_layers(settings.layer, collected.layers, "collect")
    listing = require_unchanged(collected, layers)
    before = _earlier(store, settings)
    valid = {
        name: layer
        for name, layer in before.items()
        if name in collected.layers and layer.fingerprint == attribute_fingerprint(collected, name, settings.rule)
    }
    jobs = [job for layer in layers for job in _jobs(layer, collected, before.get(layer), valid.get(layer), settings)]
    outcome = Outcome("attribute", layers, sum(len(job.neurons) for job in jobs), "neurons", details={"pairs": 0})
    if jobs:
        network = open_network(collected.origin, settings.device)
        plans = [Plan.of(collected.layers[job.layer].top.image[job.neurons]) for job in jobs]
        widths = [_check(network, job, plan, listing, settings.rule) for job, plan in zip(jobs, plans, strict=True)]
        done, total = 0, sum(plan.pairs for plan in plans)
        for job, plan, channels in zip(jobs, plans, widths, strict=True):
            for pairs in _run(store, job, plan, channels, network, collected, listing, settings):
                done += pairs
                progress(done, total)
        outcome.details["pairs"] = total
        outcome.notes += [
            f"The earlier relevances of '{layer}' were stale or made by another rule, and were replaced."
            for layer in sorted({job.layer for job in jobs} & before.keys() - valid.keys())
        ]
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _earlier(store: Store, settings: AttributeSettings) -> dict[str, AttributedLayer]:
    return earlier(read_attributed, store, settings.force) if store.has("attribute") else {}


def attribute_depends_on(collected: Collected, layer: str, rule: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the relevances of a layer, and what they are made from."""
    source = collected.layers[layer]
    return {"layer": layer, "rule": rule}, lineage(source, "collect", n=source.settings["n"])


def attribute_fingerprint(collected: Collected, layer: str, rule: str) -> str:
    """The fingerprint that relevances computed now would have."""
    settings, made_from = attribute_depends_on(collected, layer, rule)
    return result_fingerprint(settings, made_from)


def _jobs(
    layer: str,
    collected: Collected,
    before: AttributedLayer | None,
    there: AttributedLayer | None,
    settings: AttributeSettings,
) -> Iterator[Job]:
    """What is missing of a layer, where `before` is in the file and `there` is the part of it that is up to date."""
    source = collected.layers[layer]
    neurons = parse_neurons(settings.neurons or "all", source.neurons, layer)
    lower_layers = settings.lower_layer or (before.lower_layers if before else source.lower_layers)
    if not lower_layers:
        raise PureError(f"No layer is known to lie below '{layer}'. Name one with --lower-layer.")
    by_missing: dict[tuple[int, ...], list[str]] = {}
    for lower in dict.fromkeys(lower_layers):
        missing = there.missing(lower, neurons) if there and not settings.force else neurons
        if len(missing):
            by_missing.setdefault(tuple(missing.tolist()), []).append(lower)
    for missing_neurons, lowers in by_missing.items():
        yield Job(layer, np.array(missing_neurons, dtype=np.int64), lowers)


def _check(network: Network, job: Job, plan: Plan, listing: Listing, rule: str) -> dict[str, int]:
    """Channels of every lower layer, once it is clear that each leads to the layer."""
    from pure_cli.core.layout import channel_count
    from pure_cli.models.layers import check_layer, check_leads_to, check_rules, list_layers

    image = network.inputs(plan.first_image(listing, network))
    layers = list_layers(network.model, image)
    if rule != GRADIENT_X_INPUT:
        check_rules(network.model, layers, job.layer)
    widths = {}
    for lower in job.lower_layers:
        shape = check_layer(lower, layers).shape
        assert shape is not None
        widths[lower] = channel_count(shape)
    check_leads_to(network.model, image, job.layer, job.lower_layers)
    return widths


def _run(
    store: Store,
    job: Job,
    plan: Plan,
    widths: dict[str, int],
    network: Network,
    collected: Collected,
    listing: Listing,
    settings: AttributeSettings,
) -> Iterator[int]:
    """Compute one job from where a killed process left it, and write it; yields the pairs of every finished batch."""
    import torch

    from pure_cli.core.circuits import Circuits
    from pure_cli.core.layout import channels_first
    from pure_cli.models.rules import composite_for

    source = collected.layers[job.layer]
    there = _earlier(store, settings).get(job.layer)
    own, made_from = attribute_depends_on(collected, job.layer, settings.rule)
    known = np.empty(0, np.int64)
    if there and there.fingerprint == result_fingerprint(own, made_from) and not settings.force:
        known = there.activation_image
    new_image = ~np.isin(plan.images, known)
    activation_row = np.cumsum(new_image) - 1
    batch_size = plan.batch_size(listing, network, settings.batch_size)

    key = fingerprint([own, made_from, job.neurons.tolist(), job.lower_layers, known.tolist(), batch_size])
    names = {lower: f"relevance-{i}" for i, lower in enumerate(job.lower_layers)}
    arrays = {names[lower]: ((len(job.neurons) * plan.references, widths[lower]), "float32") for lower in names}
    arrays |= {kind: ((int(new_image.sum()), source.neurons), "float32") for kind in ("max", "mean")}
    lrp = settings.rule != GRADIENT_X_INPUT
    registered = composite_for(settings.rule, network.model).context(network.model) if lrp else nullcontext()
    with PairWork(store, "attribute", key, plan, arrays, batch_size, settings.force) as work, registered:
        yield work.pairs_done
        for start, stop, images in work.batches(listing, network.preprocessing, settings.workers):
            circuits = Circuits(network.model, network.inputs(images), job.layer, job.lower_layers, lrp)
            fresh = np.flatnonzero(new_image[start:stop])
            if len(fresh):
                firing = channels_first(circuits.activation).clamp(min=0)[torch.from_numpy(fresh)]
                work.write("max", activation_row[start + fresh], firing.amax(dim=-1).cpu().numpy())
                work.write("mean", activation_row[start + fresh], firing.mean(dim=-1).cpu().numpy())
            rounds = list(plan.rounds(start, stop))
            for pairs in rounds:
                channels = torch.from_numpy(job.neurons[plan.neuron_row[pairs]]).to(network.device)
                found = circuits.relevance(channels, last=pairs is rounds[-1])
                for lower, values in found.items():
                    work.write(names[lower], plan.row(pairs), values.cpu().numpy())
            yield plan.pairs_of(start, stop)

        def rows_of(lower: str) -> Callable[[int], np.ndarray]:
            n = plan.references
            return lambda row: work.rows(names[lower], row * n, (row + 1) * n)

        new = NewRelevances(
            job.layer,
            job.neurons,
            {lower: rows_of(lower) for lower in job.lower_layers},
            widths,
            plan.images[new_image],
            {kind: work.rows(kind, 0, int(new_image.sum())) for kind in ("max", "mean")},
        )
        add_relevances(store, new, source.top.image, own, made_from, settings.force)
        work.finished()
