"""compare: which neurons and virtual neurons of two workspaces match, and which have no match."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pure_cli.artifacts import Comparison, need_layers, read_comparison, read_comparisons, write_comparison
from pure_cli.config import fingerprint
from pure_cli.errors import PureError
from pure_cli.models.spec import parse_model
from pure_cli.provenance import Provenance
from pure_cli.remote.mirror import Mirror
from pure_cli.remote.urls import is_url, name_of
from pure_cli.settings.compare import ACTIVATIONS, EMBEDDINGS, IMAGES, CompareSettings
from pure_cli.settings.shared import BOTH, NEURONS, VIRTUAL
from pure_cli.stages.comparison.files import write_files
from pure_cli.stages.comparison.images import CommonImages, common_images
from pure_cli.stages.comparison.measures import (
    ByImages,
    Measure,
    Sides,
    UnitPair,
    by_embeddings,
    shared_embedder,
    stored_activations,
    used_files,
)
from pure_cli.stages.comparison.sides import NAMES, side_of, sides_have_virtual
from pure_cli.stages.comparison.similarities import similarities, steps_of
from pure_cli.stages.comparison.tables import tables_of
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.inputs.freshness import read_earlier
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.words import in_file_names
from pure_cli.workspace import Store

FOLDER = "compare"
JACCARD = "Jaccard index of the references"


def compare(store: Store, settings: CompareSettings, progress: Progress = silent) -> Outcome:
    """Compare layers of two workspaces, and write ``compare.h5``, tables and figures in the first.

    Raises
    ------
    PureError
        One of them lacks a layer, virtual neurons or embeddings that were asked for, something in it is stale, or they
        are about other images.
    """
    begin, sources = time.perf_counter(), (Sources(store), Sources(_other(settings)))
    there = read_earlier(read_comparisons, store, settings.force)
    tasks = [_task(sources, *layers, settings) for layers in _layers(sources, settings)]
    outcome = Outcome(
        "compare", [f"{task.sides[0].layer} and {task.sides[1].layer}" for task in tasks], 0, "comparisons"
    )
    outcome.details = {"tables": [], "folders": []}
    for task in tasks:
        valid = not settings.force and there.get(task.key) == task.provenance
        if valid:
            found = read_comparison(store, task.key)
        else:
            found = _computed(task, settings, progress)
            write_comparison(store, task.key, found, settings.force)
            outcome.computed += 1
        tables, folder = tables_of(found), settings.out or store.root / FOLDER / task.key
        if settings.out is not None and len(tasks) > 1:
            folder = settings.out / task.key
        write_files(folder, found, tables, not valid or settings.out is not None)
        outcome.notes += found.about["notes"]
        outcome.details["tables"] += tables
        outcome.details["folders"].append(str(folder))
    outcome.notes = list(dict.fromkeys(outcome.notes))
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _other(settings: CompareSettings) -> Store:
    """The other workspace, which is the same where its layers are compared."""
    if is_url(settings.other):
        mirror = Mirror(settings.other)
        mirror.pull()
        other = Store(mirror.root, mirror.url)
    else:
        other = Store(Path(settings.other).expanduser())
    other.require("collect")
    return other


def _layers(sources: tuple[Sources, Sources], settings: CompareSettings) -> list[tuple[str, str]]:
    """Layers of A and B that are compared."""
    there = [own.collected.layers for own in sources]
    if settings.layer is None and settings.other_layer is None:
        common = [name for name in there[0] if name in there[1]]
        if not common and len(there[0]) == len(there[1]) == 1:
            common = [next(iter(there[0]))]
            return [(common[0], next(iter(there[1])))]
        if not common:
            lists = " and ".join(f"{name} has {', '.join(own)}" for name, own in zip(NAMES, there, strict=True))
            raise PureError(f"No layer is in both: {lists}. Name them with --layer and --other-layer.")
        return [(name, name) for name in common]
    of_a = need_layers(settings.layer, there[0], "collect")
    of_b = settings.other_layer or of_a
    for name in of_b:
        if name not in there[1]:
            need_layers([name], there[1], f"collect -w {sources[1].store.place}")
    if len(of_b) == 1:
        of_b = of_b * len(of_a)
    if len(of_a) == 1:
        of_a = of_a * len(of_b)
    if len(of_a) != len(of_b):
        raise PureError(
            f"{len(of_a)} layers of A and {len(of_b)} of B make no pairs: name as many with --other-layer as with "
            "--layer, or one."
        )
    return list(zip(of_a, of_b, strict=True))


@dataclass(frozen=True)
class ComparisonTask:
    """Two layers that are to be compared.

    Attributes
    ----------
    kinds : of units, "neurons" and "virtual"
    names : of measures
    embedder : kind of embeddings; None where none are compared
    """

    sides: Sides
    kinds: list[str]
    names: list[str]
    embedder: str | None
    key: str
    provenance: Provenance


def _task(sources: tuple[Sources, Sources], layer: str, other: str, settings: CompareSettings) -> ComparisonTask:
    for own, name in zip(sources, (layer, other), strict=True):
        own.listing([name])
    units = settings.units or (BOTH if sides_have_virtual(sources, (layer, other)) else NEURONS)
    kinds = [NEURONS, VIRTUAL] if units == BOTH else [units]
    a, b = (side_of(i, sources[i], name, VIRTUAL in kinds) for i, name in enumerate((layer, other)))
    sides = a, b
    embedder = shared_embedder(sides, settings.embedder)
    names: list[str] = [IMAGES, *([EMBEDDINGS] if embedder else []), ACTIVATIONS]
    if settings.by:
        names = list(dict.fromkeys(settings.by))
    if EMBEDDINGS in names and not embedder:
        raise PureError("A and B have no embeddings by the same embedder. Run `pure embed` in both, then compare.")
    how = settings.model_dump(mode="json", include={"neurons", "correlation", "sample", "shuffles", "seed"})
    how |= {"layer": layer, "other_layer": other, "units": kinds, "by": names, "embedder": embedder}
    how |= settings.arithmetic
    made_from = dict(zip(NAMES, used_files(sides, settings, names, embedder), strict=True))
    key = _key(layer, sources[1].store, other)
    return ComparisonTask(sides, kinds, names, embedder, key, Provenance(how, made_from))


def _key(layer: str, other: Store, other_layer: str) -> str:
    """Of the comparison in the file, and its folder: one for each pair of layers, whatever the options."""
    place = other.place if is_url(other.place) else str(other.root.absolute().resolve())
    return in_file_names(f"{layer}-in-{name_of(place)}-{fingerprint(place)[:4]}-{other_layer}")


def _computed(task: ComparisonTask, settings: CompareSettings, progress: Progress) -> Comparison:
    """First the activations where networks are run, then similarities by each measure."""
    a, b = task.sides
    common = common_images((a.sources.store, b.sources.store), _listings(task))
    notes = [common.note] if common.note else []
    n = min(side.sources.collected.layers[side.layer].n for side in task.sides)
    units = a.units(common, task.kinds, settings.neurons, n), b.units(common, task.kinds, None, n)
    images = min(settings.sample or 0, common.count) if ACTIVATIONS in task.names else 0
    total, finished = len(task.names) * steps_of(settings) + 2 * images, 0

    def done(steps: int) -> None:
        nonlocal finished
        finished += steps
        progress(finished, total)

    found = {}
    for name in task.names:
        measure = _measure(name, task, units, common, settings, notes, done)
        if measure is not None:
            found[name] = similarities(measure, units, common, settings, done)
    about: dict[str, Any] = {"notes": notes}
    for side in task.sides:
        model = parse_model(side.sources.collected.origin["model"]).short
        about[side.name] = {"workspace": _place(side.sources.store), "model": model, "layer": side.layer}
    return Comparison(found, about, task.provenance)


def _place(store: Store) -> str:
    """A URL, or a folder from the root of the disk."""
    return store.place if is_url(store.place) else str(store.root.absolute())


def _listings(task: ComparisonTask) -> tuple[Any, Any]:
    a, b = (side.sources.listing([side.layer]) for side in task.sides)
    return a, b


def _measure(
    name: str,
    task: ComparisonTask,
    units: UnitPair,
    common: CommonImages,
    settings: CompareSettings,
    notes: list[str],
    done: Any,
) -> Measure | None:
    """What similarity is by; None for activations that are not there and were not asked for by name."""
    if name != ACTIVATIONS or not settings.sample:
        common.require(f"--by {name}")
    if name == IMAGES:
        return ByImages(JACCARD)
    if name == EMBEDDINGS:
        assert task.embedder is not None
        return by_embeddings(task.sides, task.embedder, units)
    if settings.sample:
        from pure_cli.stages.comparison.activations import sampled_activations

        return sampled_activations(task.sides, common, units, settings, notes, done)
    stored = stored_activations(task.sides, common, settings)
    if stored is None and settings.by is not None:
        raise PureError(
            "A and B have no activations on the same images. Run both networks with --sample 2000, or `pure attribute` "
            "in both."
        )
    if stored is not None and VIRTUAL in task.kinds and stored.sides[0].share is None:
        notes.append(
            "Activations are those of neurons alone: --sample N computes those of virtual neurons, or `pure assign "
            "--per-quantile 0` in both."
        )
    return stored
