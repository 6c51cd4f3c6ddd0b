"""The pass of collect that is about to begin: for all images, or for one of several parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import PartHeader, find_part, has_parts
from pure_cli.core.parts import Part, cuts, gaps
from pure_cli.stages.inputs.freshness import seen_now
from pure_cli.stages.outcome import Outcome, Progress
from pure_cli.stages.references.dataset_pass import Share, damage_notes, run_dataset_pass, where_broken
from pure_cli.stages.references.earlier import EarlierReferences
from pure_cli.stages.references.facts import Found, LayerFacts, PassFacts
from pure_cli.stages.references.given import GivenOutputs
from pure_cli.stages.references.inputs import CollectInputs, open_model
from pure_cli.stages.references.parts import FoundInParts, facts_of, write_found
from pure_cli.stages.references.requested import RequestedDirections, ResolvedLayers, resolve_layers
from pure_cli.stages.references.scores import LayerScores
from pure_cli.stages.resume.checkpoint import COLLECT
from pure_cli.stages.resume.parts import (
    alone_with_part,
    empty_notes,
    missing_parts,
    part_place,
    remembered,
    require_all,
    same_parts,
    threads_on,
    unlike_notes,
    ways_of,
)
from pure_cli.stages.runtime.images import first_image, images_at_once, images_of_a_step
from pure_cli.stages.runtime.network import Network
from pure_cli.stages.runtime.soundness import require_sound
from pure_cli.waiting import waiting_for

if TYPE_CHECKING:
    from pure_cli.core.saturation import Bound


@dataclass(frozen=True)
class CollectWork:
    """What a run of collect has to do.

    Attributes
    ----------
    requested : layers; none for the default one, which only the network tells
    directions : of those layers whose neurons are no channels
    outputs : what another stage has at hand in place of the images
    """

    inputs: CollectInputs
    earlier: EarlierReferences
    requested: list[str]
    directions: RequestedDirections
    outputs: GivenOutputs | None = None

    def has(self, name: str) -> bool:
        """The references of a layer are there, and count."""
        force = self.inputs.settings.force
        return not force and self.earlier.has(name, self.directions, self.inputs.bands)

    @property
    def is_done(self) -> bool:
        return bool(self.requested) and all(map(self.has, self.requested))

    @property
    def known(self) -> dict[str, Any]:
        """What the parts of the pass depend on, as far as it is known before the network is opened."""
        found = {"made_from": self.inputs.made_from, "how": self.inputs.how, "bands": self.inputs.bands.key}
        layers = [name for name in self.requested if not self.has(name)]
        return {**found, **self.of_layers(layers)} if layers else found

    def of_layers(self, layers: list[str]) -> dict[str, Any]:
        """What the parts depend on of the layers that they are about."""
        directions = {name: self.directions.settings(name) for name in layers}
        return {"layers": sorted(layers), "directions": {name: own for name, own in directions.items() if own}}


@dataclass(frozen=True)
class PlannedPass:
    """A pass whose network is open.

    Attributes
    ----------
    origin : of the network, JSON-like
    resolved : the layers that were requested
    layers : those of them whose references are to be found
    notes : on layers and network
    """

    work: CollectWork
    network: Network
    origin: dict[str, Any]
    resolved: ResolvedLayers
    layers: list[str]
    scores: LayerScores
    notes: list[str]

    @cached_property
    def batch_size(self) -> int:
        """Images at once."""
        settings = self.work.inputs.settings
        return images_at_once(self.work.inputs.listing, self.network, settings.batch_size, self.scores.share)

    @cached_property
    def what(self) -> dict[str, Any]:
        """What all parts of it have in common, JSON-like."""
        listing = self.work.inputs.listing
        own = {
            "device": self.network.device.type,
            "state": self.origin["state"],
            "pixels": list(first_image(listing, self.network).shape[1:]),
        }
        return {**self.work.known, **self.work.of_layers(self.layers), **own}

    def run(self, share: Share, progress: Progress) -> tuple[PassFacts, Found]:
        """Go over some images."""
        inputs, listing = self.work.inputs, self.work.inputs.listing
        directions = [self.work.directions.settings(name) for name in self.layers]
        key = [inputs.made_from, listing.times_fingerprint, self.layers, directions, inputs.how, *inputs.bands.key]
        key += [] if len(share) == len(listing) else [[share.start, share.stop]]
        state = run_dataset_pass(share, self.network, listing, inputs.settings, self.scores, key, progress)
        index = listing.index[share.start : share.stop]
        found = Found(state.tops, state.damaged, state.broken, lambda: seen_now(listing, state.content(), index))
        return self.facts(where_broken(self.network, state, listing)), found

    def part(self, part: Part) -> PartHeader:
        """One of several parts of it."""
        inputs, listing = self.work.inputs, self.work.inputs.listing
        step = images_of_a_step(listing, self.network, inputs.settings.batch_size, self.scores.share)
        starts = np.searchsorted(listing.index, listing.starts)
        places = cuts(len(listing), part.count, step, starts)
        start, stop = places[part.number - 1 : part.number + 1]
        more = remembered(inputs.settings, inputs.place)
        threads = threads_on(self.network.device.type)
        return PartHeader(COLLECT, part, start, stop, len(listing), self.batch_size, threads, self.what, more)

    def facts(self, where: str) -> PassFacts:
        """What there is to know of it when it is done."""
        origin = {**self.origin, "default_layer": self.resolved.default}
        notes = [*self.notes, *self.scores.notes, *self.resolved.unclear, *self.network.notes]
        layers = {name: self._layer_facts(name) for name in self.layers}
        return PassFacts(origin, layers, self.network.device.type, notes, where)

    def _layer_facts(self, name: str) -> LayerFacts:
        found, bound = self.resolved.layers[name], self.scores.bounds.get(name)
        own = {**self.work.directions.settings(name), **_ranked_by(bound)}
        above = bound.fires_above if bound else 0.0
        return LayerFacts(found.lower_layers, found.shape, found.hidden, found.of_preset, above, own)


def planned_pass(work: CollectWork) -> PlannedPass:
    """Open the network, and find the layers in it."""
    inputs, directions = work.inputs, work.directions
    settings, listing = inputs.settings, inputs.listing
    network, origin = open_model(inputs.spec, settings, inputs.made_from["preprocessing"], inputs.made_from["seed"])
    waiting_for("looking at the layers")
    resolved = resolve_layers(network, listing, inputs.spec, work.requested, directions, settings.channels)
    own = {name: directions.by_layer[name] for name in resolved.layers if name in directions.by_layer}
    network = replace(network, directions=own)
    layers = [name for name in resolved.layers if not work.has(name)]
    sound = require_sound(network, listing, layers)
    scores = LayerScores(network, layers, settings, listing, work.outputs)
    return PlannedPass(work, network, origin, resolved, layers, scores, sound)


def collect_part(work: CollectWork, part: Part, progress: Progress) -> Outcome:
    """Do one of several parts of a pass, and leave what it found beside the others; nothing where it is there."""
    store = work.inputs.store
    headers = same_parts(store, COLLECT, work.known)
    there = find_part(store, COLLECT, part)
    if there is not None and not work.inputs.settings.force:
        return _of_part(there, there.what["layers"], 0, [], headers)
    planned = planned_pass(work)
    same_parts(store, COLLECT, planned.what)
    header = planned.part(part)
    notes = _do_part(planned, header, progress)
    return _of_part(header, planned.layers, header.stop - header.start, notes, [*headers, header])


def _do_part(planned: PlannedPass, header: PartHeader, progress: Progress) -> list[str]:
    """Run a part's pass and write what it finds; sentences on it."""
    place = part_place(planned.work.inputs.store, COLLECT, header.part)
    if planned.work.inputs.settings.force:
        place.drop_partial(COLLECT)
    if header.stop > header.start:
        facts, found = planned.run(Share(place, COLLECT, header.start, header.stop), progress)
    else:
        facts, found = planned.facts(""), Found({}, [], np.zeros(0, np.int64), lambda: iter(()))
    write_found(planned.work.inputs.store, header, facts, found)
    return [*facts.notes, *damage_notes(found.damaged), *empty_notes([header])]


def _do_missing(work: CollectWork, missing: Sequence[Part], progress: Progress) -> None:
    """Do the parts that are missing, and what they leave where some were cut at batches of other sizes."""
    store, total, planned = work.inputs.store, len(work.inputs.listing), planned_pass(work)
    same_parts(store, COLLECT, planned.what)
    for part in missing:
        with alone_with_part(store, COLLECT, part, waiting_for):
            if find_part(store, COLLECT, part) is None:
                _do_part(planned, planned.part(part), progress)
    headers = same_parts(store, COLLECT, planned.what)
    if holes := gaps((one.range for one in headers), total):
        rest = planned.part(Part(1, 1))
        holes += [one.range for one in headers if one.part == rest.part]  # whose file it takes the place of
        start, stop = min(begin for begin, _ in holes), max(end for _, end in holes)
        with alone_with_part(store, COLLECT, rest.part, waiting_for):
            _do_part(planned, replace(rest, start=start, stop=stop), progress)


def _of_part(
    header: PartHeader, layers: list[str], computed: int, notes: list[str], headers: list[PartHeader]
) -> Outcome:
    done = {one.part for one in headers if one.part.count == header.part.count}
    details = {"part": str(header.part), "images": header.stop - header.start, "of": header.total}
    details |= {"parts_done": len(done), "part_files": [f"{header.name}.h5"]}
    return Outcome(COLLECT, layers, computed, "images", notes, details=details)


def from_all_parts(work: CollectWork, progress: Progress, only: bool) -> tuple[PassFacts, Found] | None:
    """What the parts of a pass have found, once those that are missing are done; None where there are no parts.

    Parameters
    ----------
    only : do no part that is missing

    Raises
    ------
    PureError
        Parts are of another pass, damaged, or missing where none is to be done.
    """
    store, listing = work.inputs.store, work.inputs.listing
    if not has_parts(store, COLLECT):
        if only:
            require_all([], len(listing), COLLECT)
        return None
    headers = same_parts(store, COLLECT, work.known, whole_ones=not only)
    if only:
        require_all(headers, len(listing), COLLECT)
    if gaps((one.range for one in headers), len(listing)):
        _do_missing(work, missing_parts(headers, len(listing)) or ([] if headers else [Part(1, 1)]), progress)
        headers = same_parts(store, COLLECT, work.known)
        require_all(headers, len(listing), COLLECT)
    found = FoundInParts(store, headers, work.inputs.settings.seed).read(progress)
    facts = facts_of(headers, int(found.broken[0]) if len(found.broken) else None, listing.index)
    return replace(facts, notes=[*facts.notes, *unlike_notes(ways_of(headers))]), found


def _ranked_by(bound: Bound | None) -> dict[str, Any]:
    """What the references of channels depend on that are ranked by what goes into a nonlinearity."""
    return {"ranked_by": {"function": bound.name, "input_at": bound.source}} if bound else {}
