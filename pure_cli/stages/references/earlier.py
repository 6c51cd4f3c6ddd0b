"""The references that a workspace has before collect runs: which of them count, and why the others do not."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli.artifacts import Collected, CollectedLayer, read_collected, read_seen, write_collected
from pure_cli.config import fingerprint
from pure_cli.errors import PureError
from pure_cli.models.spec import ModelSpec
from pure_cli.provenance import changes
from pure_cli.stages.inputs.freshness import ImageChanges, find_image_changes, seen_now
from pure_cli.stages.references.bands import RequestedBands
from pure_cli.stages.references.inputs import CollectInputs
from pure_cli.stages.references.requested import RequestedDirections


@dataclass(frozen=True)
class EarlierReferences:
    """The references that are in a workspace.

    Attributes
    ----------
    collected : all of them; None where there are none
    valid : by layer, those that would be the same if they were made now
    image_changes : since they were collected; None where that was not looked at
    """

    collected: Collected | None
    valid: dict[str, CollectedLayer]
    image_changes: ImageChanges | None

    @property
    def default_layers(self) -> list[str]:
        """The layer that stands in when none is named, where the references that count tell it."""
        return [self.collected.origin["default_layer"]] if self.collected and self.valid else []

    def has(self, name: str, directions: RequestedDirections, bands: RequestedBands) -> bool:
        """The references of a layer are there, of the same directions, and in all bands."""
        return self._has(name, directions) and bands.are_there(name, self.valid.get)

    def _has(self, name: str, directions: RequestedDirections) -> bool:
        if name not in self.valid:
            return False
        own = self.valid[name].provenance.settings
        return own.get("directions") == directions.settings(name).get("directions")

    def still_valid(self, made_from: dict[str, Any], how: dict[str, Any]) -> dict[str, CollectedLayer]:
        """Those that would be the same if they were made from these things now."""
        return _still_valid(self.collected, made_from, how) if self.valid else {}

    def record_new_place(self, inputs: CollectInputs) -> None:
        """Note the same images, weights or model file by another name or of another time: later stages must find
        them."""
        before, found = self.collected, self.image_changes
        assert before is not None, "there are references"
        new_times = found is not None and 0 < found.touched == found.compared
        if new_times or any(before.origin[key] != value for key, value in inputs.place.items()):
            store = inputs.store
            seen = seen_now(inputs.listing, (part.content for part in read_seen(store))) if new_times else None
            write_collected(store, replace(before, origin={**before.origin, **inputs.place}), seen)

    def replaced_notes(self, made_from: dict[str, Any], how: dict[str, Any], made: Iterable[str]) -> Iterator[str]:
        """A sentence on each layer whose references gave way because their inputs changed.

        Parameters
        ----------
        made : layers whose references were made anew
        """
        for name, layer in self.collected.layers.items() if self.collected else ():
            differing = changes({**layer.provenance.made_from, **_how(layer)}, {**made_from, **how})
            if not differing and name in made and _ordered_by_listing(layer):
                differing = ["the order of equal scores"]
            if differing:
                fate = "replaced" if name in made else "dropped"
                yield f"The earlier references of '{name}' were {fate}: {' and '.join(differing)} changed."


def earlier_references(inputs: CollectInputs) -> EarlierReferences:
    """Read the references that are there, and compare the images with those that they were made from.

    Raises
    ------
    PureError
        They are of another model, or cannot be read.
    """
    store, settings = inputs.store, inputs.settings
    collected = _read(inputs)
    valid = _still_valid(collected, inputs.made_from, inputs.how)
    if collected is None or not valid or settings.force:
        return EarlierReferences(collected, valid, None)
    found = find_image_changes(store, collected, inputs.listing, settings.verify)
    return EarlierReferences(collected, {} if len(found.changed) else valid, found)


def _read(inputs: CollectInputs) -> Collected | None:
    """What the workspace holds; a workspace of another model is left alone."""
    store, spec = inputs.store, inputs.spec
    if not store.has("collect"):
        return None
    if inputs.settings.force:
        with suppress(PureError):
            return read_collected(store)
        return None
    before = read_collected(store)
    if _parse_model_name(before.origin["model"]) != (spec.kind, spec.short):
        raise PureError(
            f"The workspace {store.root} belongs to another model, {before.origin['model']}. "
            "Choose another --workspace, or start this one anew with --force."
        )
    return before


def _parse_model_name(text: str) -> tuple[str, str]:
    """Kind and short name of a model, also where its file is gone."""
    kind, _, name = text.rpartition(":")
    if kind.endswith(".py"):
        return "file", f"{Path(kind).name}:{name}"
    return kind, ModelSpec(kind, name).short


def _still_valid(
    collected: Collected | None, made_from: dict[str, Any], how: dict[str, Any]
) -> dict[str, CollectedLayer]:
    if collected is None:
        return {}
    return {
        name: layer
        for name, layer in collected.layers.items()
        if _how(layer) == how
        and fingerprint({**layer.provenance.made_from, **made_from}) == fingerprint(layer.provenance.made_from)
        and not _ordered_by_listing(layer)
    }


def _ordered_by_listing(layer: CollectedLayer) -> bool:
    """Whether equal scores may be in the order of the listing, as earlier versions left them."""
    return bool(np.isnan(layer.top.mean).any() and layer.tied.any())


def _how(layer: CollectedLayer) -> dict[str, Any]:
    """How the references of a layer were chosen, whatever its neurons are."""
    own = layer.provenance.settings
    return {key: own[key] for key in ("n", "score", "channels_axis", "precision") if key in own}
