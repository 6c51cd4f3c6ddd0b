"""collect: one pass over the images finds the reference images of every neuron, for several layers at once."""

import time
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Collected, CollectedLayer, drop_parts, read_collected, write_collected
from pure_cli.core.bands import BAND, without_band, without_bands
from pure_cli.data.listing import Listing
from pure_cli.data.long_lists import in_parts, values_at
from pure_cli.errors import PureError
from pure_cli.provenance import Provenance
from pure_cli.settings.collect import CollectSettings
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.references.bands import RequestedBands
from pure_cli.stages.references.dataset_pass import (
    Share,
    check_damage,
    damage_notes,
    not_finite_notes,
    sample_of,
)
from pure_cli.stages.references.earlier import earlier_references
from pure_cli.stages.references.facts import Found, PassFacts
from pure_cli.stages.references.given import Given
from pure_cli.stages.references.inputs import CollectInputs, collect_inputs
from pure_cli.stages.references.passes import CollectWork, collect_part, from_all_parts, planned_pass
from pure_cli.stages.references.requested import named_directions
from pure_cli.stages.references.ties import same_pictures, tie_notes
from pure_cli.stages.resume.checkpoint import COLLECT, Checkpoint
from pure_cli.stages.runtime.arithmetic import compare_device
from pure_cli.waiting import waiting_for
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.core.preprocessing import Preprocessing


def collect(
    store: Store,
    settings: CollectSettings,
    progress: Progress = silent,
    given: Given | None = None,
    from_parts: bool = False,
) -> Outcome:
    """Find the reference images, and write ``collect.h5``, or a part of it.

    Parameters
    ----------
    given : what another stage has at hand
    from_parts : compute nothing, and put together what parts have found

    Raises
    ------
    PureError
        Wrong input; see the README for each case.
    """
    start = time.perf_counter()
    inputs = collect_inputs(store, settings)
    earlier = earlier_references(inputs)
    if settings.force and settings.part is None:
        store.drop_partial(COLLECT)
        if not from_parts:
            drop_parts(store, COLLECT)
    requested = list(dict.fromkeys(settings.layer or earlier.default_layers))
    _refuse_bands(requested)
    named = named_directions(settings, requested, earlier.collected, given.directions if given else {})
    requested = [named.layer(name) for name in requested]
    work = CollectWork(inputs, earlier, requested, named, given.outputs if given else None)
    if work.is_done:
        outcome = _up_to_date(work)
    elif settings.own_part is not None:
        outcome = collect_part(work, settings.own_part, progress)
    else:
        together = from_all_parts(work, progress, from_parts) if given is None else None
        outcome = _write(*(together or _whole_pass(work, progress)), work)
        if together:
            drop_parts(store, COLLECT)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _up_to_date(work: CollectWork) -> Outcome:
    """All that was requested is there; what is noted down is where the inputs are now."""
    inputs, earlier, layers = work.inputs, work.earlier, work.requested
    store, listing, before = inputs.store, inputs.listing, earlier.collected
    assert before is not None, "the layers are in it"
    check_damage(before.damaged, listing, inputs.settings)
    if inputs.settings.part is None:
        earlier.record_new_place(inputs)
    if Checkpoint.layers(store) <= earlier.valid.keys():  # of a pass that was killed when all was written
        store.drop_partial(COLLECT)
    details = {"damaged": len(before.damaged), "images": before.origin["images"]}
    return Outcome("collect", layers, 0, "images", [*listing.notes, *damage_notes(before.damaged)], details=details)


def _whole_pass(work: CollectWork, progress: Progress) -> tuple[PassFacts, Found]:
    """Run the pass over all images."""
    planned = planned_pass(work)
    return planned.run(Share(work.inputs.store, COLLECT, 0, len(work.inputs.listing)), progress)


def _write(facts: PassFacts, found: Found, work: CollectWork) -> Outcome:
    """Write what a pass found beside the references that still count."""
    inputs, earlier = work.inputs, work.earlier
    store, listing, layers, damaged = inputs.store, inputs.listing, list(facts.layers), found.damaged
    waiting_for("writing the references")
    made_from = {**inputs.made_from, "content": _digest(seen.content for seen in found.seen())}
    not_finite = not_finite_notes(found, facts.where_broken, layers)
    images = len(listing) - len(damaged)
    origin = {**facts.origin, **inputs.place, "images": images}
    new = {name: _new_layer(name, facts, found, work, made_from) for name in layers}
    in_bands = _in_bands(new, found, inputs.bands)
    valid = earlier.still_valid(made_from, inputs.how)
    others = {
        name: own for name, own in valid.items() if name not in new and not (in_bands and without_band(name) in new)
    }
    compare_device({name: own.device for name, own in others.items()})
    write_collected(store, _whole(origin, {**others, **new, **in_bands}, listing, damaged), found.seen())
    store.drop_partial(COLLECT)

    notes = [*listing.notes, *earlier.replaced_notes(made_from, inputs.how, [*layers, *in_bands]), *facts.notes]
    notes += [*damage_notes(damaged), *tie_notes(new, listing)]
    notes += [inputs.trust_note] if inputs.trust_note else []
    notes += [*inputs.weights_notes(), *not_finite]
    details = {"damaged": len(damaged), "images": images}
    return Outcome("collect", layers, len(listing), "images", notes, details=details)


def _refuse_bands(requested: list[str]) -> None:
    """
    Raises
    ------
    PureError
        Bands are named as layers.
    """
    if named := next((name for name in requested if BAND in name), None):
        raise PureError(
            f"'{named}' is a band. `pure collect --layer {without_band(named)} --quantiles LIST` makes some."
        )


def _new_layer(
    name: str, facts: PassFacts, found: Found, work: CollectWork, made_from: dict[str, Any]
) -> CollectedLayer:
    """The references of a layer that the pass found."""
    own, top, inputs = facts.layers[name], found.tops[name], work.inputs
    return CollectedLayer(
        top,
        own.lower_layers,
        own.shape,
        Provenance({"layer": name, **inputs.how, **own.settings}, made_from),
        directions=work.directions.by_layer.get(name),
        fires_above=own.fires_above,
        twins=same_pictures(top, inputs.listing, lambda: _preprocessing(inputs, facts)),
        device=facts.device,
        hidden=own.hidden,
        of_preset=own.of_preset,
    )


def _preprocessing(inputs: CollectInputs, facts: PassFacts) -> "Preprocessing":
    from pure_cli.core.preprocessing import Preprocessing

    own = facts.origin["preprocessing"]
    if inputs.spec.kind != "python":  # without torch, which takes seconds to import
        return Preprocessing.from_dict(own)
    from pure_cli.models.load import remembered_preprocessing

    return remembered_preprocessing(inputs.spec, own)


def _in_bands(new: dict[str, CollectedLayer], found: Found, bands: RequestedBands) -> dict[str, CollectedLayer]:
    """The references of these layers in the bands that were requested."""
    if not bands.edges:
        return {}
    return {
        band: own for name, layer in new.items() for band, own in bands.layers(name, layer, found.tops[sample_of(name)])
    }


def _digest(contents: Iterable[np.ndarray]) -> str:
    """Of what is in all images."""
    digest = sha256()
    for content in contents:
        digest.update(content.astype("<u4").tobytes())
    return digest.hexdigest()


def _whole(
    origin: dict[str, Any], layers: dict[str, CollectedLayer], listing: Listing, damaged: list[tuple[int, str, str]]
) -> Collected:
    used = np.unique(np.concatenate([layer.top.image.ravel() for layer in layers.values()]))
    used = used[used >= 0]
    paths, labels = [listing.paths[index] for index in used.tolist()], values_at(listing.labels, used)
    counts = _images_of_label(np.unique(labels), listing, np.array([index for index, _, _ in damaged], dtype=np.int64))
    return Collected(origin, layers, used, paths, labels, list(listing.names), damaged, counts)


def _images_of_label(labels: np.ndarray, listing: Listing, damaged: np.ndarray) -> dict[int, int]:
    """How many of the images in use that could be read have each of some labels, which ascend."""

    def count(index: np.ndarray) -> np.ndarray:
        own = values_at(listing.labels, index)
        place = np.searchsorted(labels, own).clip(max=len(labels) - 1)
        return np.bincount(place[labels[place] == own], minlength=len(labels))

    if not len(labels):
        return {}
    counts = sum((count(part) for part in in_parts(listing.index)), -count(damaged))
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


def remembered_options(store: Store) -> dict[str, Any]:
    """The options that made the references of a workspace."""
    collected = read_collected(store)
    origin = collected.origin
    requested = {name: value for name, value in origin["requested"].items() if value is not None}
    kept = {name: origin[name] for name in ("model", "data", "weights", "seed", "limit")}
    kept["references"] = origin["n"]
    axes = [f"{layer}={axis}" if layer else axis for layer, axis in origin.get("channels_axis", {}).items()]
    channels = {"channels_axis": axes} if axes else {}
    channels |= {"precision": origin["precision"]} if "precision" in origin else {}
    layers = without_bands(collected.layers)
    return {**kept, **requested, **channels, **origin.get("score", {}), "layer": layers}
