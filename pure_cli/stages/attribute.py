"""attribute: the relevance of lower channels for each neuron on its references; an image is forwarded once for all."""

import time
from collections.abc import Iterator
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
from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError, PureFailure
from pure_cli.stages.common import Network, Outcome, Progress, lineage, open_network, require_unchanged, silent
from pure_cli.workspace import SCHEMA, Scratch, Store

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
    before = read_attributed(store) if store.has("attribute") and not settings.force else {}
    valid = {
        name: layer
        for name, layer in before.items()
        if name in collected.layers and layer.fingerprint == attribute_fingerprint(collected, name, settings.rule)
    }
    jobs = [job for layer in layers for job in _jobs(layer, collected, valid.get(layer), settings)]
    outcome = Outcome("attribute", layers, sum(len(job.neurons) for job in jobs), "neurons")
    if jobs:
        network = open_network(collected.origin, settings.device)
        plans = [Plan.of(collected.layers[job.layer].top.image[job.neurons]) for job in jobs]
        widths = [_check(network, job, plan, listing, settings.rule) for job, plan in zip(jobs, plans, strict=True)]
        done, total = 0, sum(plan.pairs for plan in plans)
        for number, (job, plan) in enumerate(zip(jobs, plans, strict=True)):
            anew = settings.force and number == 0
            for pairs in _run(store, job, plan, widths[number], network, collected, listing, settings, anew):
                done += pairs
                progress(done, total)
        outcome.details["pairs"] = total
        outcome.notes += [
            f"The earlier relevances of '{layer}' were stale or made by another rule, and were replaced."
            for layer in sorted({job.layer for job in jobs} & before.keys() - valid.keys())
        ]
    outcome.seconds = time.perf_counter() - begin
    return outcome


def attribute_depends_on(collected: Collected, layer: str, rule: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the relevances of a layer, and what they are made from."""
    source = collected.layers[layer]
    return {"layer": layer, "rule": rule}, lineage(source, "collect", n=source.settings["n"])


def attribute_fingerprint(collected: Collected, layer: str, rule: str) -> str:
    """The fingerprint that relevances computed now would have."""
    settings, made_from = attribute_depends_on(collected, layer, rule)
    return fingerprint({"settings": settings, "made_from": made_from, "schema": SCHEMA})


@dataclass(frozen=True)
class Plan:
    """In which order images and neurons are visited: the images that most neurons share come first, so that the
    backward passes over a batch stay full.

    Attributes
    ----------
    images : (U,) distinct data-set indices
    counts : (U,) neurons that share each image, descending
    offsets : (U,) where the pairs of each image begin
    neuron_row, slot : (P,) the pairs of neuron and reference, image after image
    references : references of one neuron
    """

    images: np.ndarray
    counts: np.ndarray
    offsets: np.ndarray
    neuron_row: np.ndarray
    slot: np.ndarray
    references: int

    @classmethod
    def of(cls, references: np.ndarray) -> "Plan":
        """The plan for references (N, n) of N neurons; -1 where there is no image."""
        row, slot = np.nonzero(references != NO_IMAGE)
        images, inverse, counts = np.unique(references[row, slot], return_inverse=True, return_counts=True)
        order = np.lexsort((images, -counts))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        by_image = np.lexsort((row, rank[inverse]))
        counts = counts[order]
        offsets = np.cumsum(counts) - counts
        return cls(images[order], counts, offsets, row[by_image], slot[by_image], references.shape[1])

    @property
    def pairs(self) -> int:
        return len(self.slot)

    def rounds(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """For the images ``start:stop``, the pairs of each round: one neuron for each of the first m images."""
        for turn in range(self.counts[start] if start < stop else 0):
            m = int((self.counts[start:stop] > turn).sum())
            yield self.offsets[start : start + m] + turn


def _jobs(
    layer: str, collected: Collected, there: AttributedLayer | None, settings: AttributeSettings
) -> Iterator[Job]:
    source = collected.layers[layer]
    neurons = parse_neurons(settings.neurons or "all", source.neurons, layer)
    lower_layers = settings.lower_layer or (there.lower_layers if there else source.lower_layers)
    if not lower_layers:
        raise PureError(f"No layer is known to lie below '{layer}'. Name one with --lower-layer.")
    by_missing: dict[tuple[int, ...], list[str]] = {}
    for lower in dict.fromkeys(lower_layers):
        missing = there.missing(lower, neurons) if there else neurons
        if len(missing):
            by_missing.setdefault(tuple(missing.tolist()), []).append(lower)
    for missing_neurons, lowers in by_missing.items():
        yield Job(layer, np.array(missing_neurons, dtype=np.int64), lowers)


def _check(network: Network, job: Job, plan: Plan, listing: Listing, rule: str) -> dict[str, int]:
    """Channels of every lower layer, once it is clear that each leads to the layer."""
    from pure_cli.core.layout import channel_count
    from pure_cli.models.layers import check_layer, check_leads_to, check_rules, list_layers

    image = network.inputs(_read(listing, int(plan.images[0]) if len(plan.images) else 0, network))
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


def _read(listing: Listing, index: int, network: Network) -> Any:
    import torch

    from pure_cli.data.decode import DamagedImage
    from pure_cli.data.loader import decode_one

    try:
        return torch.from_numpy(decode_one(listing, index, network.preprocessing))[None]
    except DamagedImage as error:
        raise _gone(listing.path(index), error.reason) from None


def _gone(path: object, reason: str) -> PureFailure:
    return PureFailure(f"{path} could be read by collect and cannot any more ({reason}). Run `pure collect --force`.")


def _run(
    store: Store,
    job: Job,
    plan: Plan,
    widths: dict[str, int],
    network: Network,
    collected: Collected,
    listing: Listing,
    settings: AttributeSettings,
    anew: bool,
) -> Iterator[int]:
    """Compute one job from where a killed process left it, and write it; yields the pairs of every finished batch."""
    import torch

    from pure_cli.core.circuits import Circuits
    from pure_cli.core.layout import channels_first
    from pure_cli.data.loader import batches, default_workers
    from pure_cli.models.rules import composite_for

    source = collected.layers[job.layer]
    there = {} if anew or not store.has("attribute") else read_attributed(store)
    own, made_from = attribute_depends_on(collected, job.layer, settings.rule)
    known = np.empty(0, np.int64)
    if job.layer in there and there[job.layer].fingerprint == attribute_fingerprint(
        collected, job.layer, settings.rule
    ):
        known = there[job.layer].activation_image

    height, width = _read(listing, int(plan.images[0]), network).shape[-2:] if len(plan.images) else (1, 1)
    batch_size = network.batch_size(settings.batch_size, height, width)
    new_image = ~np.isin(plan.images, known)
    activation_row = np.cumsum(new_image) - 1
    key = fingerprint([own, made_from, job.neurons.tolist(), job.lower_layers, known.tolist(), batch_size])
    names = {lower: f"relevance-{i}" for i, lower in enumerate(job.lower_layers)}
    arrays = {names[lower]: ((len(job.neurons) * plan.references, widths[lower]), "float32") for lower in names}
    arrays |= {kind: ((int(new_image.sum()), source.neurons), "float32") for kind in ("max", "mean")}
    work = f"attribute-{key[:16]}"
    if anew:
        store.drop_partial(work)
    scratch = Scratch(store.partial(work), key, arrays)
    lrp = settings.rule != GRADIENT_X_INPUT
    registered = composite_for(settings.rule, network.model).context(network.model) if lrp else nullcontext()
    workers = default_workers() if settings.workers is None else settings.workers

    starts = list(range(0, len(plan.images), batch_size))
    for step in range(min(scratch.done, len(starts))):
        yield int(plan.counts[starts[step] : starts[step] + batch_size].sum())
    with registered:
        loaded = batches(listing, plan.images, network.preprocessing, batch_size, workers, scratch.done)
        for start, batch in zip(starts[scratch.done :], loaded, strict=True):
            if batch.damaged:
                raise _gone(listing.path(batch.damaged[0].index), batch.damaged[0].reason)
            stop = min(start + batch_size, len(plan.images))
            circuits = Circuits(network.model, network.inputs(batch.images), job.layer, job.lower_layers, lrp)
            fresh = np.flatnonzero(new_image[start:stop])
            if len(fresh):
                firing = channels_first(circuits.activation).clamp(min=0)[torch.from_numpy(fresh)]
                scratch.write("max", activation_row[start + fresh], firing.amax(dim=-1).cpu().numpy())
                scratch.write("mean", activation_row[start + fresh], firing.mean(dim=-1).cpu().numpy())
            rounds = list(plan.rounds(start, stop))
            for pairs in rounds:
                channels = torch.from_numpy(job.neurons[plan.neuron_row[pairs]]).to(network.device)
                found = circuits.relevance(channels, last=pairs is rounds[-1])
                rows = plan.neuron_row[pairs] * plan.references + plan.slot[pairs]
                for lower, values in found.items():
                    scratch.write(names[lower], rows, values.cpu().numpy())
            scratch.finish_step()
            yield int(plan.counts[start:stop].sum())

    def rows_of(lower: str) -> Any:
        n = plan.references
        return lambda row: scratch.rows(names[lower], row * n, (row + 1) * n)

    new = NewRelevances(
        job.layer,
        job.neurons,
        {lower: rows_of(lower) for lower in job.lower_layers},
        widths,
        plan.images[new_image],
        {kind: scratch.rows(kind, 0, int(new_image.sum())) for kind in ("max", "mean")},
    )
    add_relevances(store, new, source.top.image, own, made_from, anew)
    scratch.close()
    store.drop_partial(work)
