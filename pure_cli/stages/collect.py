"""collect: one pass over the images finds the reference images of every neuron, for several layers at once."""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Collected, CollectedLayer, read_collected, read_seen, write_collected
from pure_cli.config import fingerprint
from pure_cli.data.listing import Listing
from pure_cli.data.spool import parts_of, picked
from pure_cli.errors import PureError
from pure_cli.models.spec import NO_WEIGHTS, ModelSpec, parse_model, source_fingerprint, weights_fingerprint
from pure_cli.models.trust import trust
from pure_cli.provenance import Provenance, changes
from pure_cli.settings.collect import SCORE_OPTIONS, CollectSettings
from pure_cli.stages.inputs.freshness import ImageChanges, drift, seen_now
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.references.dataset_pass import check_damage, not_finite_notes, search
from pure_cli.stages.references.requested import RequestedDirections, named_directions, resolve_layers
from pure_cli.stages.references.scores import LayerScores
from pure_cli.stages.references.ties import same_pictures, tie_notes
from pure_cli.stages.resume.checkpoint import Checkpoint
from pure_cli.stages.runtime.images import images_of, place_of
from pure_cli.stages.runtime.network import Network
from pure_cli.stages.runtime.soundness import require_sound
from pure_cli.waiting import waiting_for
from pure_cli.words import counted
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.core.saturation import Bound

DAMAGED_SHOWN = 5
PREPROCESSING = ("resize", "crop_size", "interpolation", "mean", "std")


def collect(store: Store, settings: CollectSettings, progress: Progress = silent) -> Outcome:
    """Find the reference images, and write ``collect.h5``.

    Raises
    ------
    PureError
        Wrong input; see the README for each case.
    """
    start = time.perf_counter()
    spec = parse_model(settings.model)
    untold = trust(spec)
    listing = images_of(store, settings.data, settings.limit)
    requested = settings.model_dump(mode="json", include=set(PREPROCESSING))
    random_weights = str(settings.weights) == NO_WEIGHTS or (spec.kind == "file" and settings.weights is None)
    seed = settings.seed if random_weights else 0
    made_from = {
        "model": source_fingerprint(spec),
        "weights": weights_fingerprint(settings.weights),
        "seed": seed,
        "data": listing.fingerprint,
        "preprocessing": requested,
    }
    before = _previous(store, spec, settings.force)
    if settings.force:
        store.drop_partial("collect")
    how: dict[str, Any] = {"n": settings.references, **({"score": settings.score} if settings.score else {})}
    how |= {"channels_axis": settings.channels} if settings.channels else {}
    kept = _still_valid(before, made_from, how)
    moved = drift(store, before, listing, settings.verify) if before and kept and not settings.force else None
    if moved and len(moved.changed):
        kept = {}
    asked = list(dict.fromkeys(settings.layer or ([before.origin["default_layer"]] if before and kept else [])))
    named = named_directions(settings, asked, before)
    asked = [named.layer(name) for name in asked]
    if asked and not settings.force and all(_has(kept, name, named) for name in asked):
        assert before is not None
        check_damage(before.damaged, listing, settings)
        _note_new_place(store, before, listing, settings, moved)
        if Checkpoint.layers(store) <= kept.keys():  # of a pass that was killed when all was written
            store.drop_partial("collect")
        details = {"damaged": len(before.damaged), "images": before.origin["images"]}
        told = [*listing.notes, *_damage_notes(before.damaged)]
        return Outcome("collect", asked, 0, "images", told, time.perf_counter() - start, details)

    network, origin = open_model(spec, settings, requested, seed)
    waiting_for("looking at the layers")
    layers, default_layer, unclear = resolve_layers(network, listing, spec, asked, named, settings.channels)
    network = replace(network, directions={name: named.of[name] for name in layers if name in named.of})
    wanted = [name for name in layers if settings.force or not _has(kept, name, named)]
    sound = require_sound(network, listing, wanted)
    scores = LayerScores(network, wanted, settings, listing)
    key = [made_from, listing.times_fingerprint, wanted, [named.settings(name) for name in wanted], how]
    state = search(store, network, listing, settings, scores, key, progress)

    waiting_for("writing the references")
    tops, damaged = state.tops, state.damaged
    made_from["content"] = _digest(state.content())
    untrue = not_finite_notes(network, state, listing, wanted)
    origin.update(data=place_of(settings.data), images=len(listing) - len(damaged), default_layer=default_layer)
    new = {
        name: CollectedLayer(
            tops[name],
            *layers[name],
            Provenance(
                {"layer": name, **how, **named.settings(name), **_ranked_by(scores.bounds.get(name))}, made_from
            ),
            directions=named.of.get(name),
            fires_above=scores.bounds[name].fires_above if name in scores.bounds else 0.0,
            twins=same_pictures(tops[name], listing, network.preprocessing),
        )
        for name in wanted
    }
    same = _still_valid(before, made_from, how) if kept else {}
    others = {name: layer for name, layer in same.items() if name not in new}
    seen = seen_now(listing, state.content())
    write_collected(store, _whole(origin, {**others, **new}, listing, damaged), seen)
    store.drop_partial("collect")

    notes = [*listing.notes, *_replaced(before, made_from, how, wanted), *sound, *scores.notes, *unclear]
    notes += [*_damage_notes(damaged), *tie_notes(new, listing)]
    notes += [untold] if untold else []
    if random_weights:
        which = "those that its function makes" if settings.weights is None else "untrained (--weights none)"
        notes.append(f"The weights of {spec} are {which}; --weights FILE gives it trained ones.")
    notes += [*network.notes, *untrue]
    return Outcome(
        "collect",
        wanted,
        len(listing),
        "images",
        notes,
        time.perf_counter() - start,
        {"damaged": len(damaged), "images": len(listing) - len(damaged)},
    )


def _has(kept: dict[str, CollectedLayer], name: str, named: RequestedDirections) -> bool:
    """The references of a layer are there, of the same directions."""
    return name in kept and kept[name].provenance.settings.get("directions") == named.settings(name).get("directions")


def remembered_options(store: Store) -> dict[str, Any]:
    """The options that made the references of a workspace."""
    collected = read_collected(store)
    origin = collected.origin
    requested = {name: value for name, value in origin["requested"].items() if value is not None}
    kept = {name: origin[name] for name in ("model", "data", "weights", "seed", "limit")}
    axes = [f"{layer}={axis}" if layer else axis for layer, axis in origin.get("channels_axis", {}).items()]
    channels = {"channels_axis": axes} if axes else {}
    kept["references"] = origin["n"]
    return {**kept, **requested, **channels, **origin.get("score", {}), "layer": list(collected.layers)}


def _previous(store: Store, spec: ModelSpec, force: bool) -> Collected | None:
    """What the workspace holds; a workspace of another model is left alone."""
    if not store.has("collect"):
        return None
    if force:
        with suppress(PureError):
            return read_collected(store)
        return None
    before = read_collected(store)
    theirs = parse_model_name(before.origin["model"])
    if theirs != (spec.kind, spec.short):
        raise PureError(
            f"The workspace {store.root} belongs to another model, {before.origin['model']}. "
            "Choose another --workspace, or start this one anew with --force."
        )
    return before


def parse_model_name(text: str) -> tuple[str, str]:
    """Kind and short name of a model, also where its file is gone."""
    kind, _, name = text.rpartition(":")
    if kind.endswith(".py"):
        return "file", f"{Path(kind).name}:{name}"
    return kind, ModelSpec(kind, name).short


def _still_valid(before: Collected | None, made_from: dict[str, Any], how: dict[str, Any]) -> dict[str, CollectedLayer]:
    if before is None:
        return {}
    return {
        name: layer
        for name, layer in before.layers.items()
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
    return {key: own[key] for key in ("n", "score", "channels_axis") if key in own}


def _replaced(
    before: Collected | None, made_from: dict[str, Any], how: dict[str, Any], wanted: Iterable[str]
) -> list[str]:
    """A sentence on results that gave way because their inputs changed."""
    if before is None:
        return []
    notes = []
    for name, layer in before.layers.items():
        differing = changes({**layer.provenance.made_from, **_how(layer)}, {**made_from, **how})
        if not differing and name in wanted and _ordered_by_listing(layer):
            differing = ["the order of equal scores"]
        if differing:
            fate = "replaced" if name in wanted else "dropped"
            notes.append(f"The earlier references of '{name}' were {fate}: {' and '.join(differing)} changed.")
    return notes


def _ranked_by(bound: "Bound | None") -> dict[str, Any]:
    """What the references of channels depend on that are ranked by what goes into a nonlinearity."""
    return {"ranked_by": {"function": bound.name, "input_at": bound.source}} if bound else {}


def _digest(contents: Iterable[np.ndarray]) -> str:
    """Of what is in all images."""
    digest = sha256()
    for content in contents:
        digest.update(content.astype("<u4").tobytes())
    return digest.hexdigest()


def _note_new_place(
    store: Store, before: Collected, listing: Listing, settings: CollectSettings, moved: ImageChanges | None
) -> None:
    """The same images, weights or model file by another name or of another time: later stages must find them."""
    place = {
        "data": place_of(settings.data),
        "model": str(parse_model(settings.model)),
        "weights": place_of(settings.weights),
        "limit": settings.limit,
    }
    new_times = moved is not None and 0 < moved.touched == moved.compared
    if new_times or any(before.origin[key] != value for key, value in place.items()):
        seen = seen_now(listing, (part.content for part in read_seen(store))) if new_times else None
        write_collected(store, replace(before, origin={**before.origin, **place}), seen)


def open_model(
    spec: ModelSpec, settings: CollectSettings, requested: dict[str, Any], seed: int
) -> tuple[Network, dict[str, Any]]:
    waiting_for("loading the network")
    from pure_cli.core.preprocessing import Preprocessing
    from pure_cli.models.load import load_model, own_preprocessing, prepare_device
    from pure_cli.models.weights import state_fingerprint

    given = {name: value for name, value in requested.items() if value is not None}
    if given and spec.kind == "python":
        raise PureError(f"The transform of {spec.short} says how images are prepared; leave out {', '.join(given)}.")
    complete = all(requested[name] is not None for name in PREPROCESSING)
    preprocessing = replace(Preprocessing() if complete else own_preprocessing(spec), **given)
    device = prepare_device(settings.device, settings.deterministic)
    notes: list[str] = []
    model = load_model(spec, settings.weights, seed, preprocessing.crop_size, notes)
    origin = {
        "model": str(spec),
        "weights": place_of(settings.weights),
        "seed": seed,
        "limit": settings.limit,
        "n": settings.references,
        "score": settings.model_dump(mode="json", include=set(SCORE_OPTIONS), exclude_none=True),
        "requested": requested,
        "preprocessing": preprocessing.as_dict(),
        "state": state_fingerprint(model),
        **({"channels_axis": settings.channels} if settings.channels else {}),
    }
    return Network(model.to(device), device, preprocessing, notes=notes), origin


def _whole(
    origin: dict[str, Any], layers: dict[str, CollectedLayer], listing: Listing, damaged: list[tuple[int, str, str]]
) -> Collected:
    used = np.unique(np.concatenate([layer.top.image.ravel() for layer in layers.values()]))
    used = used[used >= 0]
    paths, labels = [listing.paths[index] for index in used.tolist()], picked(listing.labels, used)
    counts = _images_of_label(np.unique(labels), listing, np.array([index for index, _, _ in damaged], dtype=np.int64))
    return Collected(origin, layers, used, paths, labels, list(listing.names), damaged, counts)


def _images_of_label(labels: np.ndarray, listing: Listing, damaged: np.ndarray) -> dict[int, int]:
    """How many of the images in use that could be read have each of some labels, which ascend."""

    def counted(index: np.ndarray) -> np.ndarray:
        own = picked(listing.labels, index)
        place = np.searchsorted(labels, own).clip(max=len(labels) - 1)
        return np.bincount(place[labels[place] == own], minlength=len(labels))

    if not len(labels):
        return {}
    counts = sum((counted(part) for part in parts_of(listing.index)), -counted(damaged))
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


def _damage_notes(damaged: list[tuple[int, str, str]]) -> list[str]:
    if not damaged:
        return []
    shown = "; ".join(f"{path} ({reason})" for _, path, reason in damaged[:DAMAGED_SHOWN])
    more = f"; and {len(damaged) - DAMAGED_SHOWN} more (`pure info --damaged`)" if len(damaged) > DAMAGED_SHOWN else ""
    were = "were" if len(damaged) > 1 else "was"
    return [f"{counted(len(damaged), 'image')} could not be read and {were} skipped: {shown}{more}."]
