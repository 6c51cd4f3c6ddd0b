"""Where the results of evaluate are written: ``evaluate.h5``, ``evaluate.json``, tables and figures."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli.artifacts import read_evaluations, write_evaluation
from pure_cli.config import fingerprint
from pure_cli.files import crc_or_none, disk_errors, write_whole
from pure_cli.provenance import Provenance
from pure_cli.registry import METRICS
from pure_cli.stages.evaluation.study import Result
from pure_cli.stages.inputs.freshness import read_earlier
from pure_cli.workspace import Store

PLANTED = "planted"  # the metric of units with known meanings, which calibrate writes
SEPARATION = "separation"  # the metric that an embedder's name means
TABLES, FOLDER = "evaluate.json", "evaluate"
ALL = "all"  # the run without options that choose


@dataclass(frozen=True)
class ResultKey:
    """Where the results of one metric stand.

    Attributes
    ----------
    name : the metric's, with its judge
    run : what was asked for beside the metric, "all" for nothing; one run does not replace another's results
    """

    layer: str
    name: str
    run: str

    @property
    def key(self) -> str:
        """Of the group in ``evaluate.h5``, and in ``evaluate.json``."""
        return f"{self.name}/{self.layer}/{self.run}"

    @property
    def folder(self) -> Path:
        """Of tables and figures, below the workspace."""
        folder = Path(FOLDER, self.layer)
        return folder if self.run == ALL else folder / self.run

    @property
    def stem(self) -> str:
        """What the names of files begin with."""
        return self.name.replace(":", "-")


class ResultFiles:
    """``evaluate.h5`` with per-neuron values, and ``evaluate.json`` with the tables made of them and their files."""

    def __init__(self, store: Store, anew: bool):
        self._store, self._path, self._anew = store, store.root / TABLES, anew
        self._there = read_earlier(read_evaluations, store, anew)
        self._shown: dict[str, dict[str, Any]] = {}
        with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
            content = json.loads(self._path.read_text(encoding="utf-8"))
            self._shown = {
                key: own for key, own in content.items() if own.pop("fingerprint", "") == fingerprint([key, own])
            }

    def tables(self, where: ResultKey, provenance: Provenance) -> list[dict[str, Any]] | None:
        """The tables of a metric, if they were made from these things."""
        if self._anew or self._there.get(where.key) != provenance:
            return None
        return self._shown.get(where.key, {}).get("tables")

    def settings(self, where: ResultKey) -> dict[str, Any]:
        """Of the results of a metric that are there; empty where none are."""
        there = self._there.get(where.key)
        return {} if there is None else there.settings

    def intact(self, where: ResultKey, names: Iterable[str]) -> bool:
        """Whether files of a metric are as they were written."""
        sums, folder = self._shown.get(where.key, {}).get("crc", {}), self._store.root / where.folder
        return all(name in sums and crc_or_none(folder / name) == sums[name] for name in names)

    def files(self, where: ResultKey) -> list[str]:
        """Names of the files of a metric that were written before, in its folder whatever is noted."""
        names = self._shown.get(where.key, {}).get("files", [])
        return [name for name in names if Path(name).name == name]

    def arrays(self, where: ResultKey) -> Callable[[str], np.ndarray]:
        """Reads the per-neuron values of a metric by their path."""

        def read(path: str) -> np.ndarray:
            with self._store.read("evaluate") as file:
                return file[f"{where.key}/{path}"][:]

        return read

    def add(
        self,
        where: ResultKey,
        result: Result,
        tables: list[dict[str, Any]],
        provenance: Provenance,
    ) -> None:
        write_evaluation(self._store, where.key, result.arrays, provenance, self._anew)
        self._there[where.key] = provenance
        self._shown[where.key] = {"tables": tables, "files": self.files(where), "complete": False}
        self._save()

    def complete(self, where: ResultKey) -> bool:
        """Whether tables and figures of the results were all written: no process was killed before."""
        return bool(self._shown.get(where.key, {}).get("complete"))

    def set_files(self, where: ResultKey, names: list[str]) -> None:
        folder = self._store.root / where.folder
        sums = {name: crc_or_none(folder / name) for name in sorted(names)}
        self._shown[where.key] |= {"files": sorted(names), "crc": sums, "complete": True}
        self._save()

    def _save(self) -> None:
        whole = {key: {**own, "fingerprint": fingerprint([key, own])} for key, own in self._shown.items()}
        write_whole(self._path, json.dumps(whole, indent=1, allow_nan=False))


def publish(
    root: Path,
    where: ResultKey,
    metric: str,
    tables: list[dict[str, Any]],
    result_files: ResultFiles,
    latex: bool,
    anew: bool,
) -> None:
    """Write the tables and figures of one metric where that is needed; drop those of its earlier results."""
    from pure_cli.views.tables import as_csv, as_latex

    folder = root / where.folder
    texts: dict[str, Callable[[], str]] = {}
    for table in tables:
        stem = _stem(where, metric, table["name"])
        texts[f"{stem}.csv"] = partial(as_csv, table)
        if latex:
            label = f"{where.layer}-{stem}" if where.run == ALL else f"{where.layer}-{stem}-{where.run}"
            texts[f"{stem}.tex"] = partial(as_latex, {**table, "name": label})
    before = result_files.files(where)
    anew = anew or not result_files.complete(where)
    if not anew and result_files.intact(where, [*before, *texts]):
        return
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_whole(folder / name, text())
    now = [*texts, *_draw(folder, where, metric, tables, result_files.arrays(where))]
    if anew:
        for name in set(before).difference(now):
            (folder / name).unlink(missing_ok=True)
    result_files.set_files(where, now if anew else list(dict.fromkeys([*before, *now])))


def _stem(where: ResultKey, metric: str, table: str) -> str:
    """What the names of a table's files begin with."""
    return f"{where.stem}-{table}" if metric == SEPARATION else where.stem + table.removeprefix(metric)


def _draw(
    folder: Path, where: ResultKey, metric: str, tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]
) -> Iterator[str]:
    """Draw the figures of one metric; yields the names of the files."""
    from pure_cli.views.style import save

    for ending, figure in METRICS[metric].figures(tables, arrays):
        for kind in ("png", "pdf"):
            name = f"{where.stem}-{ending}.{kind}"
            save(figure, folder / name)
            yield name
