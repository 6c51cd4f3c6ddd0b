"""Figures of controls beside those of the network: in its tables, and among the values of neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pure_cli.artifacts import read_evaluation_values
from pure_cli.errors import PureError
from pure_cli.provenance import Provenance
from pure_cli.settings.evaluate import EvaluateSettings
from pure_cli.stages.controls.network import Control
from pure_cli.stages.controls.workspace import Measure, measured_in
from pure_cli.stages.evaluation.measured import Measured
from pure_cli.stages.evaluation.result_files import ALL, ResultFiles, publish
from pure_cli.stages.evaluation.study import Result
from pure_cli.stages.outcome import Progress
from pure_cli.words import listed
from pure_cli.workspace import Store

KEYS = ("k", "n", "share")  # name rows, beside texts
LEAD = 2  # standard errors of a difference
LEFT_OUT = ("sample/", "virtual/")  # of the values of a control: those that are not of neurons


def with_controls(
    store: Store,
    settings: EvaluateSettings,
    done: list[Measured],
    measure: Measure,
    progress: Progress,
    notes: list[str],
) -> list[Measured]:
    """What was measured, with the figures of controls beside it, written as results of their own.

    Parameters
    ----------
    done, measure, notes : as of `measured_in`
    """
    beside: dict[str, dict[str, Measured]] = {}
    made: dict[str, str] = {}
    for name in settings.controls:
        try:
            weights, found = measured_in(Control.of(name), done, settings, measure, progress, notes)
        except PureError as error:
            notes.append(f"The control '{name}' is left out: {error}")
            continue
        made[name] = weights.made
        for key, own in found.items():
            beside.setdefault(key, {})[name] = own
    result_files = ResultFiles(store, settings.force)
    return [_written(store, one, beside[one.where.key], made, result_files, settings) for one in done] if made else done


def _written(
    store: Store,
    one: Measured,
    beside: Mapping[str, Measured],
    made: Mapping[str, str],
    result_files: ResultFiles,
    settings: EvaluateSettings,
) -> Measured:
    names = f"controls-{','.join(beside)}"
    where = replace(one.where, run=names if one.where.run == ALL else f"{one.where.run}_{names}")
    of_controls = {
        name: {"key": own.where.key, "fingerprint": own.provenance.fingerprint} for name, own in beside.items()
    }
    provenance = Provenance(
        {**one.provenance.settings, "controls": list(beside)}, {**one.provenance.made_from, "controls": of_controls}
    )
    there = result_files.tables(where, provenance)
    tables = there if there is not None else [_table(table, one, beside, made) for table in one.tables]
    if there is None:
        arrays = read_evaluation_values(store, one.where.key)
        for name, own in beside.items():
            values = read_evaluation_values(own.study.sources.store, own.where.key)
            arrays |= {f"{name}/{path}": array for path, array in values.items() if not _is_of_others(path)}
        result_files.add(where, Result(arrays), tables, provenance)
    publish(store.root, where, one.metric, tables, result_files, settings.latex, there is None)
    return replace(one, where=where, tables=tables, provenance=provenance, anew=one.anew or there is None)


def _is_of_others(path: str) -> bool:
    return any(part in f"{path}/" for part in LEFT_OUT)


def _table(
    table: dict[str, Any], one: Measured, beside: Mapping[str, Measured], made: Mapping[str, str]
) -> dict[str, Any]:
    """A table with the figures of controls in its rows, those of the headline in columns, and a note on them."""
    headline = _headline(table)
    theirs = {name: {each["name"]: each for each in own.tables}.get(table["name"]) for name, own in beside.items()}
    if not headline or not any(theirs.values()):
        return table
    keys = [
        name for name in table["columns"] if name in KEYS or any(isinstance(r.get(name), str) for r in table["rows"])
    ]
    pairs = [name for name in table["columns"] if any(isinstance(row.get(name), list) for row in table["rows"])]
    rows = [dict(row) for row in table["rows"]]
    for name, own in theirs.items():
        by_key = {tuple(row.get(key) for key in keys): row for row in (own or {"rows": []})["rows"]}
        for row in rows:
            found = by_key.get(tuple(row.get(key) for key in keys), {})
            row |= {f"{column} {name}": found.get(column) for column in pairs}
            row[name] = (found.get(headline) or [None])[0]
    shown = table["shown"] or table["columns"]
    place = max(shown.index(column) for column in (headline, f"{headline} noise") if column in shown) + 1
    others = [f"{column} {name}" for name in beside for column in pairs if column != headline]
    return {
        **table,
        "rows": rows,
        "columns": [*table["columns"], *(f"{headline} {name}" for name in beside)],
        "shown": [*shown[:place], *beside, *shown[place:]],
        "beside": [*table.get("beside", []), *others],
        "note": f"{table['note']} {_note(headline, beside, made)}",
        "verdict": f"{table['verdict']} {_verdict(rows, table.get('best'), headline, beside)}".strip()
        if table["verdict"]
        else "",
        "controls": list(beside),
    }


def _headline(table: Mapping[str, Any]) -> str:
    """The column whose figures controls stand beside: the one that is named, or the first with errors."""
    with_errors = [name for name in table["columns"] if any(isinstance(row.get(name), list) for row in table["rows"])]
    return table.get("headline") or next(iter(with_errors), "")


def _note(headline: str, beside: Mapping[str, Measured], made: Mapping[str, str]) -> str:
    told = "; ".join(f"{name}: {made[name]}" for name in beside)
    return f"Controls, {headline} of the same network measured the same way: {told}."


def _verdict(rows: list[dict[str, Any]], best: int | None, headline: str, beside: Mapping[str, Measured]) -> str:
    """In a sentence, what controls have where the network is best, and whether it is ahead of them."""
    from pure_cli.views.tables import cell

    if best is None or not (own := rows[best].get(headline)) or own[0] is None:
        return ""
    found = {name: pair for name in beside if (pair := rows[best].get(f"{headline} {name}")) and pair[0] is not None}
    if not found:
        return ""
    said = listed([f"{name} {cell(mean)}" for name, (mean, _) in found.items()])
    near = [name for name, (mean, error) in found.items() if own[0] - mean <= LEAD * np.hypot(own[1] or 0, error or 0)]
    said = f"Controls there: {said}"
    return (
        f"{said}; it is not ahead of {listed(near)} by two standard errors, and may say nothing of learning."
        if near
        else f"{said}."
    )
