"""freeze: units with known meanings as a file, for methods to be measured on."""

from __future__ import annotations

import time

import numpy as np

from pure_cli.artifacts import Collected, Track, need_layers, read_collected, write_track
from pure_cli.core.bands import BAND, without_band
from pure_cli.core.directions import AT, module_of
from pure_cli.data.content import pixel_digests
from pure_cli.data.listing import UNKNOWN_LABEL
from pure_cli.errors import PureError
from pure_cli.models.spec import parse_model
from pure_cli.settings.calibrate import CalibrateSettings
from pure_cli.settings.freeze import FreezeSettings
from pure_cli.stages.calibrate import read_grouping
from pure_cli.stages.inputs.freshness import require_unchanged
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.planted.benchmark import STEPS, Steps, grouped, layer_under_test, units_of
from pure_cli.stages.planted.scores import Units
from pure_cli.stages.planted.units import UnitWorkspace, release
from pure_cli.stages.runtime.images import images_of, read_images
from pure_cli.stages.runtime.network import Network
from pure_cli.workspace import Store

DEFAULT = "track.npz"


def freeze(store: Store, settings: FreezeSettings, progress: Progress = silent) -> Outcome:
    """Make the units of a layer, and write them.

    Raises
    ------
    PureError
        No references, several layers and none named, stale ones, images that give no units.
    PureFailure
        The file cannot be written.
    """
    begin, file = time.perf_counter(), settings.out or store.root / DEFAULT
    collected = read_collected(store)
    layer = _layer(collected, settings.layer)
    own = collected.layers[layer]
    paper = own.lower_layers[:1]
    how = CalibrateSettings(
        layer=[layer], lower_layer=[own.hidden] if own.hidden else paper, budget=settings.budget, units=settings.units,
        embedder=settings.embedder, embedder_weights=settings.embedder_weights, seed=settings.seed,
        force=settings.force, **settings.running,
    )  # fmt: skip
    grouping = read_grouping(settings.grouping) if settings.grouping else {}
    listing = grouped(require_unchanged(store, collected, [layer]), grouping)
    test = layer_under_test(store, collected, layer, listing, how)
    units, seen = units_of(test, Steps(progress))
    release(test, seen)
    track = _track(file.stem, layer, collected, units, test.network, settings.method_seeds)
    write_track(file, track)
    progress(STEPS, STEPS)
    details = {"file": str(file), "version": track.version, "bytes": file.stat().st_size, "images": len(track.image)}
    return Outcome("freeze", [layer], len(track), "units", [], time.perf_counter() - begin, details)


def _layer(collected: Collected, requested: str | None) -> str:
    """The layer whose units are frozen."""
    if requested is not None and BAND in requested:
        raise PureError(f"'{requested}' is a band. Name its layer: --layer {without_band(requested)}.")
    if requested is not None and AT in requested:
        raise PureError(f"'{requested}' is a layer of directions. Name the layer that they lie in with --layer.")
    own = collected.channel_layers
    if requested is None and len(own) > 1:
        raise PureError(f"A track is of one layer: name it with --layer ({', '.join(own)}).")
    (layer,) = need_layers(None if requested is None else [requested], own, "collect")
    return layer


def _track(name: str, layer: str, collected: Collected, units: Units, network: Network, seeds: int) -> Track:
    spec, own = parse_model(collected.origin["model"]), collected.layers[layer]
    seen = [_references(made, network) for made in units.made]
    digests = np.concatenate([digest.ravel() for digest, _ in seen])
    image, first, place = np.unique(digests, return_index=True, return_inverse=True)
    label = np.concatenate([labels.ravel() for _, labels in seen])[first]
    directions = [read_collected(made.store).layers[made.layer].directions for made in units.made]
    weights: dict[str, list[np.ndarray]] = {}
    bias, relu = [], []
    for made, every in zip(units.made, directions, strict=True):
        assert every is not None
        weights.setdefault(module_of(made.layer), []).append(every.weight[made.neuron])
        bias.append(every.bias[made.neuron])
        relu.append(np.full(len(made.neuron), every.relu))
    return Track(
        name=name,
        model={"pure": spec.name, "file": "", "python": ""}.get(spec.kind, str(spec)),
        network=spec.short,
        state=collected.origin["state"],
        preprocessing=network.preprocessing.as_dict(),
        layer=layer,
        paper=own.lower_layers[0],
        hidden=own.hidden,
        kind=units.kind.tolist(),
        module=[module_of(made.layer) for made in units.made for _ in made.neuron],
        parts=units.parts,
        seeds=list(range(seeds)),
        image=image,
        label=_small(label),
        reference=_small(place.reshape(len(units.kind), -1)),
        truth=_small(np.stack(units.truth)),
        half=np.concatenate([np.full(len(made.neuron), made.half, np.uint8) for made in units.made]),
        weights={module: np.concatenate(parts) for module, parts in weights.items()},
        bias=np.concatenate(bias),
        relu=np.concatenate(relu),
        branch={unit: own for unit, own in enumerate(_branches(units)) if own is not None},
    )


def _branches(units: Units) -> list[tuple[int, ...] | None]:
    """Of each unit, the branches of the tree that its meanings form."""
    return [made.branch for made in units.made for _ in made.neuron]


def _references(made: UnitWorkspace, network: Network) -> tuple[np.ndarray, np.ndarray]:
    """(M, n) what is to be seen in each reference of some units, and its class."""
    collected = read_collected(made.store)
    image = collected.layers[made.layer].top.image[made.neuron]
    listing = images_of(made.store, collected.origin["data"])
    every, place = np.unique(image, return_inverse=True)
    digests = np.concatenate([pixel_digests(read_images(network, listing, part).numpy()) for part in _parts(every)])
    labels = listing.labels[every] if len(listing.labels) else np.full(len(every), UNKNOWN_LABEL)
    return digests[place].reshape(image.shape), labels[place].reshape(image.shape)


def _parts(index: np.ndarray, size: int = 256) -> list[np.ndarray]:
    return [index[start : start + size] for start in range(0, len(index), size)]


def _small(values: np.ndarray) -> np.ndarray:
    """The same whole numbers, in as few bytes as they go."""
    kind = np.result_type(np.min_scalar_type(values.min(initial=0)), np.min_scalar_type(values.max(initial=0)))
    return values.astype(kind)
