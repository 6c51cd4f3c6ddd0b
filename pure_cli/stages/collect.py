"""collect: one pass over the images finds the reference images of every neuron, for several layers at once."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Collected, CollectedLayer, read_collected, write_collected
from pure_cli.core.bands import BAND, without_band, without_bands
from pure_cli.data.listing import Listing
from pure_cli.data.long_lists import in_parts, values_at
from pure_cli.errors import PureError
from pure_cli.provenance import Provenance
from pure_cli.settings.collect import CollectSettings
from pure_cli.stages.inputs.freshness import seen_now
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.references.bands import RequestedBands
from pure_cli.stages.references.dataset_pass import (
    Share,
    check_damage,
    damage_notes,
    not_finite_notes,
    run_dataset_pass,
    sample_of,
    where_broken,
)
from pure_cli.stages.references.earlier import EarlierReferences, earlier_references
from pure_cli.stages.references.facts import Found, LayerFacts, PassFacts
from pure_cli.stages.references.given import Given, GivenOutputs
from pure_cli.stages.references.inputs import CollectInputs, collect_inputs, open_model
from pure_cli.stages.references.requested import (
    RequestedDirections,
    ResolvedLayers,
    named_directions,
    resolve_layers,
)
from pure_cli.stages.references.scores import LayerScores
from pure_cli.stages.references.ties import same_pictures, tie_notes
from pure_cli.stages.resume.checkpoint import COLLECT, Checkpoint
from pure_cli.stages.runtime.arithmetic import compare_device
from pure_cli.stages.runtime.network import Network
from pure_cli.stages.runtime.soundness import require_sound
from pure_cli.waiting import waiting_for
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.core.preprocessing import Preprocessing
    from pure_cli.core.saturation import Bound


def collect(
    store: Store,
    settings: CollectSettings,
    progress: Progress = silent,
    given: Given | None = None,
) -> Outcome:
    """Find the reference images, and write ``collect.h5``.

    Parameters
    ----------
    given : what another stage has at hand

    Raises
    ------
    PureError
        Wrong input; see the README for each case.
    """
    start = time.perf_counter()
    inputs = collect_inputs(store, settings)
    earlier = earlier_references(inputs)
    if settings.force:
        store.drop_partial(COLLECT)
    requested = list(dict.fromkeys(settings.layer or earlier.default_layers))
    _refuse_bands(requested)
    named = named_directions(settings, requested, earlier.collected, given.directions if given else {})
    requested = [named.layer(name) for name in requested]
    if requested and not settings.force and all(earlier.has(name, named, inputs.bands) for name in requested):
        outcome = _up_to_date(inputs, earlier, requested)
    else:
        planned = _planned_pass(inputs, earlier, requested, named, given.outputs if given else None)
        outcome = _write(*_whole_pass(planned, inputs, progress), named, inputs, earlier)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _up_to_date(inputs: CollectInputs, earlier: EarlierReferences, layers: list[str]) -> Outcome:
    """All that was requested is there; what is noted down is where the inputs are now."""
    store, listing, before = inputs.store, inputs.listing, earlier.collected
    assert before is not None, "the layers are in it"
    check_damage(before.damaged, listing, inputs.settings)
    earlier.record_new_place(inputs)
    if Checkpoint.layers(store) <= earlier.valid.keys():  # of a pass that was killed when all was written
        store.drop_partial(COLLECT)
    details = {"damaged": len(before.damaged), "images": before.origin["images"]}
    return Outcome("collect", layers, 0, "images", [*listing.notes, *damage_notes(before.damaged)], details=details)


@dataclass(frozen=True)
class _PlannedPass:
    """A pass over the images that is about to begin.

    Attributes
    ----------
    origin : of the network, JSON-like
    resolved : the layers that were requested
    layers : those of them whose references are to be found
    notes : on layers and network
    """

    network: Network
    origin: dict[str, Any]
    directions: RequestedDirections
    resolved: ResolvedLayers
    layers: list[str]
    scores: LayerScores
    notes: list[str]

    def facts(self, where_broken: str) -> PassFacts:
        """What there is to know of it when it is done."""
        origin = {**self.origin, "default_layer": self.resolved.default}
        notes = [*self.notes, *self.scores.notes, *self.resolved.unclear, *self.network.notes]
        layers = {name: self._layer_facts(name) for name in self.layers}
        return PassFacts(origin, layers, self.network.device.type, notes, where_broken)

    def _layer_facts(self, name: str) -> LayerFacts:
        found, bound = self.resolved.layers[name], self.scores.bounds.get(name)
        own = {**self.directions.settings(name), **_ranked_by(bound)}
        above = bound.fires_above if bound else 0.0
        return LayerFacts(found.lower_layers, found.shape, found.hidden, found.of_preset, above, own)


def _planned_pass(
    inputs: CollectInputs,
    earlier: EarlierReferences,
    requested: list[str],
    directions: RequestedDirections,
    outputs: GivenOutputs | None,
) -> _PlannedPass:
    """Open the network, and find the layers in it."""
    settings, listing = inputs.settings, inputs.listing
    network, origin = open_model(inputs.spec, settings, inputs.made_from["preprocessing"], inputs.made_from["seed"])
    waiting_for("looking at the layers")
    resolved = resolve_layers(network, listing, inputs.spec, requested, directions, settings.channels)
    own = {name: directions.by_layer[name] for name in resolved.layers if name in directions.by_layer}
    network = replace(network, directions=own)
    layers = [name for name in resolved.layers if settings.force or not earlier.has(name, directions, inputs.bands)]
    sound = require_sound(network, listing, layers)
    scores = LayerScores(network, layers, settings, listing, outputs)
    return _PlannedPass(network, origin, directions, resolved, layers, scores, sound)


def _whole_pass(planned: _PlannedPass, inputs: CollectInputs, progress: Progress) -> tuple[PassFacts, Checkpoint]:
    """Run the pass over all images."""
    listing, layers = inputs.listing, planned.layers
    directions = [planned.directions.settings(name) for name in layers]
    key = [inputs.made_from, listing.times_fingerprint, layers, directions, inputs.how, *inputs.bands.key]
    share = Share(inputs.store, COLLECT, 0, len(listing))
    state = run_dataset_pass(share, planned.network, listing, inputs.settings, planned.scores, key, progress)
    return planned.facts(where_broken(planned.network, state, listing)), state


def _write(
    facts: PassFacts, found: Found, directions: RequestedDirections, inputs: CollectInputs, earlier: EarlierReferences
) -> Outcome:
    """Write what a pass found beside the references that still count."""
    store, listing, layers, damaged = inputs.store, inputs.listing, list(facts.layers), found.damaged
    waiting_for("writing the references")
    made_from = {**inputs.made_from, "content": _digest(found.content())}
    not_finite = not_finite_notes(found, facts.where_broken, layers)
    images = len(listing) - len(damaged)
    origin = {**facts.origin, "data": inputs.place["data"], "images": images}
    new = {name: _new_layer(name, facts, found, directions, inputs, made_from) for name in layers}
    in_bands = _in_bands(new, found, inputs.bands)
    valid = earlier.still_valid(made_from, inputs.how)
    others = {
        name: own for name, own in valid.items() if name not in new and not (in_bands and without_band(name) in new)
    }
    compare_device({name: own.device for name, own in others.items()})
    seen = seen_now(listing, found.content())
    write_collected(store, _whole(origin, {**others, **new, **in_bands}, listing, damaged), seen)
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
    name: str,
    facts: PassFacts,
    found: Found,
    directions: RequestedDirections,
    inputs: CollectInputs,
    made_from: dict[str, Any],
) -> CollectedLayer:
    """The references of a layer that the pass found."""
    own, top = facts.layers[name], found.tops[name]
    return CollectedLayer(
        top,
        own.lower_layers,
        own.shape,
        Provenance({"layer": name, **inputs.how, **own.settings}, made_from),
        directions=directions.by_layer.get(name),
        fires_above=own.fires_above,
        twins=same_pictures(top, inputs.listing, lambda: _preprocessing(inputs, facts)),
        device=facts.device,
        hidden=own.hidden,
        of_preset=own.of_preset,
    )


def _preprocessing(inputs: CollectInputs, facts: PassFacts) -> "Preprocessing":
    from pure_cli.models.load import remembered_preprocessing

    return remembered_preprocessing(inputs.spec, facts.origin["preprocessing"])


def _in_bands(new: dict[str, CollectedLayer], found: Found, bands: RequestedBands) -> dict[str, CollectedLayer]:
    """The references of these layers in the bands that were requested."""
    if not bands.edges:
        return {}
    return {
        band: own for name, layer in new.items() for band, own in bands.layers(name, layer, found.tops[sample_of(name)])
    }


def _ranked_by(bound: "Bound | None") -> dict[str, Any]:
    """What the references of channels depend on that are ranked by what goes into a nonlinearity."""
    return {"ranked_by": {"function": bound.name, "input_at": bound.source}} if bound else {}


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
