"""calibrate: the benchmark on units with known meanings, and the recipe that it speaks for."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pure_cli.artifacts import (
    Calibration,
    Collected,
    need_layers,
    read_calibrations,
    read_collected,
    write_calibration,
)
from pure_cli.config import fingerprint
from pure_cli.core.bands import BAND, without_band
from pure_cli.core.directions import AT, module_of
from pure_cli.errors import PureError, UnreadableFile, first_line
from pure_cli.provenance import Provenance
from pure_cli.settings.calibrate import CalibrateSettings
from pure_cli.stages.evaluation.result_files import ALL, PLANTED, ResultFiles, ResultKey, publish
from pure_cli.stages.evaluation.study import Result
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.workspace import Store

FREE = (
    "seed",
    "budget",
    "lower_layers",
    "grouping",
    "units",
    "embedder",
)  # in which a calibration may differ from the usual one
RECIPE = "planted-recipe"  # the table of what is recommended
VERSION = 5  # raised when the benchmark comes to measure, or to recommend, something else


def calibrate(
    store: Store, settings: CalibrateSettings, progress: Progress = silent, any_budget: bool = False
) -> Outcome:
    """Find the recipe of each layer that is not calibrated yet.

    Writes ``calibration.json``, ``evaluate.h5`` and tables.

    Parameters
    ----------
    any_budget : what is there counts whatever its budget, seed, lower layers and grouping were; nothing is computed
        without `settings.force`

    Raises
    ------
    PureError
        Nothing is there that counts; no references, stale ones, an unknown layer, images that give no units.
    """
    begin = time.perf_counter()
    collected = read_collected(store)
    layers = _layers(collected, settings)
    grouping = read_grouping(settings.grouping) if settings.grouping else {}
    result_files = ResultFiles(store, settings.force)
    outcome, missing = Outcome("calibrate", layers, 0, "layers"), list[str]()
    outcome.details = {"tables": [], "folders": [], "recipes": {}}
    for layer in layers:
        where, source = ResultKey(layer, PLANTED, ALL), collected.layers[layer].provenance
        wanted = _provenance(layer, source, settings, grouping)
        tables = result_files.tables(where, wanted)
        if tables is None and any_budget:
            tables = _tables_of_any_budget(result_files, where, wanted, outcome.notes)
            if tables is None and not settings.force:
                missing.append(layer)
                continue
        anew = tables is None
        if tables is None:
            result, calibration = _measured(store, layer, settings, grouping, progress, outcome.notes)
            tables = [{**table.as_dict(), "judge": ""} for table in result.tables]
            result_files.add(where, result, tables, wanted)
            outcome.computed += 1
            if calibration:
                write_calibration(store, layer, replace(calibration, made_from=source.made_from))
        publish(store.root, where, PLANTED, tables, result_files, settings.latex, anew)
        _report(outcome, store, where, tables)
    if missing:
        outcome.notes.append(_missing_note(missing, required=bool(settings.layer) or len(missing) == len(layers)))
        outcome.layers = [layer for layer in layers if layer not in missing]
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _layers(collected: Collected, settings: CalibrateSettings) -> list[str]:
    """The layers to calibrate; those of directions have no calibration of their own."""
    if directions := [name for name in settings.layer or () if AT in name]:
        raise PureError(
            f"'{directions[0]}' is a layer of directions. Calibrate the layer that they lie in: "
            f"--layer {module_of(directions[0])}."
        )
    if bands := [name for name in settings.layer or () if BAND in name]:
        raise PureError(f"'{bands[0]}' is a band. Calibrate its layer: --layer {without_band(bands[0])}.")
    return need_layers(settings.layer, collected.channel_layers, "collect")


def _provenance(
    layer: str, references: Provenance, settings: CalibrateSettings, grouping: dict[str, str]
) -> Provenance:
    """What a calibration depends on that is made now."""
    own = {
        "metric": PLANTED,
        "layer": layer,
        "judge": "",
        "neurons": [],
        "k": [],
        "seed": settings.seed,
        "budget": settings.budget,
        "lower_layers": settings.lower_layer or [],
        "grouping": fingerprint(grouping),
        "version": VERSION,
        **({"units": settings.units, "embedder": _identity(settings)} if settings.units else {}),
        **settings.arithmetic,
    }
    return Provenance(own, {"cluster": {}, "judge": "", "collect": references.passed_on("collect")})


def _identity(settings: CalibrateSettings) -> dict[str, Any] | None:
    """What decides the vectors of the embedder."""
    from pure_cli.embedders.spec import parse_embedder

    if settings.embedder is None:
        return None
    return parse_embedder(settings.embedder, weights=settings.embedder_weights).identity()


def _tables_of_any_budget(
    result_files: ResultFiles, where: ResultKey, wanted: Provenance, notes: list[str]
) -> list[dict[str, Any]] | None:
    """The tables that are there, made from the same things in whatever settings a calibration may have."""
    before = result_files.settings(where)
    if _bound(before) != _bound(wanted.settings):
        return None
    tables = result_files.tables(where, Provenance(before, wanted.made_from))
    if tables is not None:
        notes.append(
            f"The tables of '{where.layer}' are those of a calibration with --budget {before['budget']:g} and --seed "
            f"{before['seed']}; `pure calibrate` computes others."
        )
    return tables


def _bound(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a calibration may not differ in."""
    return {name: value for name, value in settings.items() if name not in FREE}


def _measured(
    store: Store,
    layer: str,
    settings: CalibrateSettings,
    grouping: dict[str, str],
    progress: Progress,
    notes: list[str],
) -> tuple[Result, Calibration | None]:
    from pure_cli.stages.planted.benchmark import run
    from pure_cli.stages.planted.tables import result
    from pure_cli.stages.planted.units import FOLDER

    if settings.force:
        shutil.rmtree(store.root / FOLDER / layer, ignore_errors=True)
    try:
        found = run(store, layer, grouping, settings, progress)
    except UnreadableFile as error:
        raise PureError(f"{str(error).partition(' Make it again')[0]} Run `pure calibrate --force`.") from error
    notes += [note for note in found.notes if note not in notes]
    return result(found)


def _report(outcome: Outcome, store: Store, where: ResultKey, tables: list[dict[str, Any]]) -> None:
    """Add the tables of a layer to the outcome, and the recipe that they recommend."""
    layer = where.layer
    outcome.details["tables"] += [{"metric": PLANTED, "layer": layer, **table} for table in tables]
    outcome.details["folders"].append(str(store.root / where.folder))
    chosen = read_calibrations(store).get(layer)
    if chosen and any(table["name"] == RECIPE for table in tables):
        outcome.details["recipes"][layer] = asdict(chosen)
    else:
        outcome.notes.append(
            f"The units of '{layer}' with two or three meanings are too few to recommend a recipe. Raise --budget, "
            "collect with fewer references (-n), or use more images."
        )


def _missing_note(missing: list[str], required: bool) -> str:
    """A sentence on layers that are not calibrated; an error where one of them is `required`."""
    sentence = f"There is no calibration of {', '.join(map(repr, missing))} that is up to date"
    if required:
        raise PureError(f"{sentence}. Run `pure calibrate` first; --budget 0.3 is a first look.")
    return f"{sentence}; `pure calibrate` makes it."


def read_grouping(path: Path) -> dict[str, str]:
    """Class to group, of a table with a line ``class,group`` for each class; a header of these words is left out.

    Raises
    ------
    PureError
        No such file, or a line without two cells.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PureError(f"The grouping {path} cannot be read: {first_line(error)}.") from None
    if rows and [cell.lower() for cell in rows[0]] == ["class", "group"]:
        rows = rows[1:]
    if not rows or any(len(row) != 2 or not all(row) for row in rows):
        raise PureError(f"{path} needs a line 'class,group' for each class.")
    return dict(rows)
