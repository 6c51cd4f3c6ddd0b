"""evaluate: how good virtual neurons are, by every metric, for all kinds of features and all k."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pure_cli.artifacts import NeuronRows, read_clusterings
from pure_cli.config import (
    ACTIVATION_FEATURES,
    PURE_FEATURES,
    ClusterSettings,
    EmbedSettings,
    EvaluateSettings,
)
from pure_cli.errors import PureError, unknown
from pure_cli.files import write_whole
from pure_cli.stages.cluster import cluster
from pure_cli.stages.common import Outcome, Progress, earlier, silent
from pure_cli.stages.embed import embed, require_embeddings
from pure_cli.stages.evaluation.study import Result, Study
from pure_cli.stages.sources import Sources
from pure_cli.workspace import Store, result_fingerprint, stamp, write_array

VERSION = 1  # raised when a metric comes to compute something else
METRICS = {
    "correlation": "correlation",
    "labels": "labels",
    "stability": "stability",
    "semantics": "semantics",
    "ms": "monosemanticity",
}
SEPARATION = "separation"  # the metric that an embedder's name means
JUDGED = ("correlation", "semantics", "ms", SEPARATION)
TABLES, FOLDER = "evaluate.json", "evaluate"


def evaluate(store: Store, settings: EvaluateSettings, progress: Progress = silent) -> Outcome:
    """Compute the metrics that are not there yet, and write ``evaluate.h5`` and ``evaluate.json``.

    Raises
    ------
    PureError
        An unknown metric, no embeddings of the judge, no labels, results of earlier stages that are missing or stale.
    """
    begin = time.perf_counter()
    sources = Sources(store)
    if settings.embed:
        wanted = [name for name in [*settings.metric, settings.judge or ""] if name and name not in METRICS]
        for name in dict.fromkeys(wanted):
            embed(store, EmbedSettings(embedder=[name], layer=settings.layer, neurons=settings.neurons), progress)
        sources = Sources(store)
    layers = sources.layers(settings.layer, PURE_FEATURES)
    written = _Written(store, settings.force)
    tables: list[dict[str, Any]] = []
    outcome = Outcome("evaluate", layers, 0, "metrics")
    for layer in layers:
        for name in settings.metric:
            metric, judge = _metric(name, settings, sources, layer)
            study = _study(store, sources, layer, judge, settings, progress)
            own, made_from = _depends_on(metric, study, settings)
            key = f"{name}/{layer}"
            found = written.tables(key, result_fingerprint(own, made_from))
            result = None
            if found is None:
                result = _compute(metric)(study)
                found = [{**table.as_dict(), "judge": judge} for table in result.tables]
                written.add(key, result, found, own, made_from)
                outcome.computed += 1
            folder = store.root / FOLDER / layer
            if result is not None or not all(path.exists() for _, path in _files(folder, name, found, settings.latex)):
                _publish(folder, name, found, written.arrays(key), settings.latex)
            tables += [{"metric": name, "layer": layer, **table} for table in found]
    outcome.details = {"tables": tables, "folder": str(store.root / FOLDER)}
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _publish(
    folder: Path, name: str, tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray], latex: bool
) -> None:
    """Write the tables and figures of one metric, those that are not there; names begin with the metric's."""
    from pure_cli.views.tables import as_csv, as_latex

    folder.mkdir(parents=True, exist_ok=True)
    for table, path in _files(folder, name, tables, latex):
        write_whole(path, as_csv(table) if path.suffix == ".csv" else as_latex(table))
    stem = _stem(name)
    for ending, figure in _figures(name, tables, arrays):
        from pure_cli.views.style import save

        save(figure(), folder / f"{stem}-{ending}.png")
        save(figure(), folder / f"{stem}-{ending}.pdf")


def _stem(name: str) -> str:
    """What the names of a metric's files begin with."""
    return name.replace(":", "-")


def _files(folder: Path, name: str, tables: list[dict[str, Any]], latex: bool) -> Iterator[tuple[dict[str, Any], Path]]:
    """Every table with each file that it is written to."""
    for table in tables:
        for ending in ("csv", "tex") if latex else ("csv",):
            own = table["name"] if table["name"].startswith(name) else f"{_stem(name)}-{table['name']}"
            yield table, folder / f"{own}.{ending}"


def _figures(
    name: str, tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is drawn of a metric: an ending of the file's name, and what draws it."""
    from pure_cli.views import evaluation as views

    rows = tables[0]["rows"]
    if name == "correlation":
        yield "bars", lambda: views.correlation_bars(rows, tables[0]["judge"])
    elif name == "labels":
        for measure in ("ari", "nmi", "purity"):
            yield measure, partial(views.agreement_bars, rows, measure)
    elif name not in METRICS:
        k = min(row["k"] for row in rows if row["k"])
        shown = [row for row in rows if row["k"] == k]
        random = next(row["intra"] for row in rows if row["features"] == "random")
        yield f"bars-k{k}", lambda: views.separation_bars(shown, random, name, k)
        first = shown[0]["features"]
        gap = arrays(f"{first}/k{k}/inter") - arrays(f"{first}/k{k}/intra")
        yield f"overview-{first}-k{k}", lambda: views.overview(arrays("neuron"), arrays("overall"), gap, name, first)


def _compute(metric: str) -> Callable[[Study], Result]:
    return import_module(f"pure_cli.stages.evaluation.{METRICS.get(metric, metric)}").compute


def _metric(name: str, settings: EvaluateSettings, sources: Sources, layer: str) -> tuple[str, str]:
    """What a name after ``--metric`` means: the metric, and the embeddings that judge ("" for none)."""
    there = [kind for where, kind in sources.embedded if where == layer]
    if name not in METRICS:
        if name not in there and ":" not in name and name not in ("clip", "clip-image", "dinov2", "pixels"):
            raise unknown("metric", name, [*METRICS, *there, "clip", "dinov2"])
        require_embeddings(sources, layer, name)
        return SEPARATION, name
    if name not in JUDGED:
        return name, ""
    if settings.judge:
        require_embeddings(sources, layer, settings.judge)
        return name, settings.judge
    if not there:
        require_embeddings(sources, layer, "clip")
    if len(there) > 1 and "clip" not in there:
        raise PureError(f"Name the embeddings that judge with --judge: {', '.join(there)}.")
    return name, "clip" if "clip" in there else there[0]


def _study(
    store: Store, sources: Sources, layer: str, judge: str, settings: EvaluateSettings, progress: Progress
) -> Study:
    """The neurons and clusterings to compare; clusterings that are not there yet are made."""
    embedded = [kind for where, kind in sources.embedded if where == layer]
    features = settings.features or [PURE_FEATURES, *ACTIVATION_FEATURES, *embedded]
    kinds = [*features, *([judge] if judge else [])]
    for kind in kinds:
        sources.layers([layer], kind)
    count = sources.collected.layers[layer].neurons
    neurons = sources.of(layer, features[0]).choose(settings.neurons, count)
    for kind in kinds:
        there = sources.of(layer, kind)
        if settings.neurons is None:
            neurons = np.intersect1d(neurons, there.neuron)
        else:
            there.choose(settings.neurons, count)
    if not len(neurons):
        raise PureError(
            f"No neuron of '{layer}' has all of {', '.join(features)}. Give the same --neurons to each stage."
        )
    listed = ",".join(map(str, neurons.tolist()))
    wanted = ClusterSettings(layer=[layer], neurons=listed, features=features, k=settings.k, seed=settings.seed)
    cluster(store, wanted, progress)
    return Study(
        sources,
        layer,
        neurons,
        features,
        settings.k,
        judge,
        settings.seed,
        settings.polysemantic,
        settings.sample,
        settings.device,
        read_clusterings(store),
        progress,
    )


def _depends_on(metric: str, study: Study, settings: EvaluateSettings) -> tuple[dict[str, Any], dict[str, Any]]:
    own = {
        "metric": metric,
        "layer": study.layer,
        "judge": study.judge,
        "neurons": study.neurons.tolist(),
        "features": study.features,
        "k": study.ks,
        "seed": study.seed,
        "polysemantic": study.threshold,
        "sample": settings.sample if metric == "ms" else 0,
        "version": VERSION,
    }
    clusterings = {f"{kind} k{k}": study.clustering(kind, k).fingerprint for kind in study.features for k in study.ks}
    judge: NeuronRows | None = study.sources.embedded.get((study.layer, study.judge))
    return own, {"cluster": clusterings, "judge": judge.fingerprint if judge else ""}


class _Written:
    """``evaluate.h5`` with per-neuron values, and ``evaluate.json`` with the tables made of them."""

    def __init__(self, store: Store, anew: bool):
        self._store, self._path, self._anew = store, store.root / TABLES, anew
        self._prints = earlier(_read_prints, store, anew)
        self._tables: dict[str, list[dict[str, Any]]] = {}
        with suppress(OSError, ValueError):
            self._tables = json.loads(self._path.read_text(encoding="utf-8"))

    def tables(self, key: str, value: str) -> list[dict[str, Any]] | None:
        """The tables of a metric and layer, if they were made from what `value` is the fingerprint of."""
        return self._tables.get(key) if self._prints.get(key) == value and not self._anew else None

    def arrays(self, key: str) -> Callable[[str], np.ndarray]:
        """Reads the per-neuron values of a metric and layer by their path."""

        def read(path: str) -> np.ndarray:
            with self._store.read("evaluate") as file:
                return file[f"{key}/{path}"][:]

        return read

    def add(
        self,
        key: str,
        result: Result,
        tables: list[dict[str, Any]],
        settings: dict[str, Any],
        made_from: dict[str, Any],
    ) -> None:
        def write(file: h5py.File, old: h5py.File | None) -> None:
            for other in self._prints if old is not None else ():
                if other != key:
                    old.copy(other, file.require_group(other.split("/")[0]))  # type: ignore[union-attr]
            group = file.create_group(key)
            for path, values in result.arrays.items():
                write_array(group, path, values)
            self._prints[key] = stamp(group, settings, made_from)
            stamp(file, {}, self._prints)

        self._store.rewrite("evaluate", write, self._anew)
        self._tables[key] = tables
        write_whole(self._path, json.dumps(self._tables, indent=1, allow_nan=False))


def _read_prints(store: Store) -> dict[str, str]:
    """Fingerprint of every metric and layer that there is."""
    if not store.has("evaluate"):
        return {}
    with store.read("evaluate") as file:
        return {
            f"{metric}/{layer}": group.attrs["fingerprint"]
            for metric, layers in file.items()
            for layer, group in layers.items()
        }
