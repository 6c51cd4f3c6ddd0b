"""export: which images belong to which virtual neuron, as one long table for other programs."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli.artifacts import Choice, Clustering, Collected, need_clusterings
from pure_cli.core.neurons import choose_neurons, parse_addresses, parse_virtual, virtual_of
from pure_cli.errors import PureError, unknown
from pure_cli.files import disk_errors, write_whole
from pure_cli.settings.export import ExportSettings, MembersSettings
from pure_cli.stages.inputs.choice import chosen
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.workspace import Store

DEFAULT = "virtual-neurons.csv"
COLUMNS = ("address", "features", "k", "index", "path", "score", "share", "label", "class")


def export(store: Store, settings: ExportSettings, progress: Progress = silent) -> Outcome:
    """Write what `members` gives as a table, by the ending of the file.

    Raises
    ------
    PureError
        As of `members`, or there is no pyarrow for Parquet.
    PureFailure
        The file cannot be written.
    """
    begin, file = time.perf_counter(), settings.out or store.root / DEFAULT
    columns = members(store, settings)
    rows = len(columns["address"])
    layers = list(dict.fromkeys(address.rpartition("/")[0] for address in columns["address"]))
    (_write_csv if file.suffix.lower() == ".csv" else _write_parquet)(file, columns)
    progress(rows, rows)
    outcome = Outcome("export", layers, rows, "rows", details={"file": str(file), "columns": list(columns)})
    outcome.seconds = time.perf_counter() - begin
    return outcome


def members(store: Store, settings: MembersSettings) -> dict[str, list[Any]]:
    """A row for each reference of each virtual neuron, by column.

    Returns
    -------
    dict of `COLUMNS`, each as long as there are rows
        "address" as in figures (``layer4/201.2``, counted from 1), "index" and "path" of the image, its "score", the
        "share" of its neuron's references that belong to the virtual neuron, and the image's "label" and "class" (None
        where it has none). Clusterings in the order of the file, neurons ascending, the highest scores first.

    Raises
    ------
    PureError
        There is no such clustering, one is stale, or it lacks a neuron that was asked for.
    """
    sources, clusterings = Sources(store), need_clusterings(store)
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for clustering in _meant(store, settings, clusterings):
        own = clustering.provenance.settings
        sources.features_of(own["layer"], own["features"]).require_current(clustering)
        for row in _rows(clustering, sources.collected, settings.neurons):
            for name, value in zip(COLUMNS, row, strict=True):
                found[name].append(value)
    if not found["address"]:
        raise PureError("No clustering has all that was asked for. `pure info` lists them.")
    return found


def _meant(store: Store, settings: MembersSettings, clusterings: Mapping[str, Clustering]) -> Iterator[Clustering]:
    """The clusterings that are asked for; where virtual neurons are named, those that addresses mean."""
    ks = None if settings.k is None else [str(k) for k in settings.k]
    wanted = {"layer": settings.layer, "features": settings.features, "k": ks}
    for name, values in wanted.items():
        there = list(dict.fromkeys(str(one.provenance.settings[name]) for one in clusterings.values()))
        for value in values or ():
            if value not in there:
                raise unknown(f"{name} of a clustering", value, there, "Run `pure cluster` to add it.")
    named = any(address.number for address in parse_addresses(settings.neurons or ""))
    for clustering in clusterings.values():
        own = clustering.provenance.settings
        if not all(values is None or str(own[name]) in values for name, values in wanted.items()):
            continue
        if named and settings.features is None and settings.k is None:
            if Choice(own["features"], own["k"]) == chosen(store, own["layer"], clusterings):
                yield clustering
        else:
            yield clustering


def _rows(clustering: Clustering, collected: Collected, neurons: str | None) -> Iterator[tuple[Any, ...]]:
    own = clustering.provenance.settings
    layer, path_of = collected.layers[own["layer"]], collected.path_of
    chosen = choose_neurons(
        neurons, clustering.neuron, layer.neurons, own["layer"], "virtual neurons", "pure cluster", True
    )
    numbers = parse_virtual(neurons, layer.neurons, own["layer"]) if neurons else {}
    for row in np.searchsorted(clustering.neuron, chosen).tolist():
        neuron, labels = int(clustering.neuron[row]), clustering.label[row]
        belonging, count = int((labels >= 0).sum()), int(labels.max(initial=-1)) + 1
        for virtual in virtual_of(neuron, numbers.get(neuron), count, own["layer"]):
            slots = np.flatnonzero(labels == virtual)
            share = len(slots) / belonging
            for slot in slots.tolist():
                image = int(layer.top.image[neuron, slot])
                label = collected.label_of[image]
                named = label if label >= 0 else None
                name = collected.label_names[label] if 0 <= label < len(collected.label_names) else None
                yield (
                    f"{own['layer']}/{neuron}.{virtual + 1}", own["features"], own["k"], image, path_of[image],
                    float(layer.top.value[neuron, slot]), share, named, name,
                )  # fmt: skip


def _write_csv(file: Path, columns: Mapping[str, list[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    _write(file, text.getvalue())


def _write_parquet(file: Path, columns: Mapping[str, list[Any]]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise PureError("Parquet needs pyarrow: pip install 'pure-cli[parquet]', or write .csv.") from None
    columns = {**columns, "k": list(map(str, columns["k"]))}  # a number, or auto
    buffer = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), buffer)
    _write(file, buffer.getvalue())


def _write(file: Path, content: str | bytes) -> None:
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, content)
