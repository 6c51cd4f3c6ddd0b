"""What fewer references, and those of bands of activation, say of the virtual neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pure_cli.config import fingerprint
from pure_cli.core.bands import BAND, without_band
from pure_cli.core.clusters import one_thread, virtual_neurons
from pure_cli.core.metrics.agreement import NO_CLASS, agreement
from pure_cli.core.metrics.stability import bootstrap_stability
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.errors import PureError
from pure_cli.stages.evaluation.labels import NO_LABEL, classes_of
from pure_cli.stages.evaluation.metric import Figures, Metric
from pure_cli.stages.evaluation.study import Result, Study, Table, finite, highest, number
from pure_cli.words import counted

COUNTS = (20, 50, 100, 200, 500, 1000, 2000)
MEASURES = ("bootstrap", "alike", "ari")
CHANCE, CLASSES = "chance", "classes"
SHUFFLES = 20  # of the labels
ENOUGH = 0.8  # adjusted Rand index of a split with that of all references, from which on it counts as the same
TOP = "top"  # in place of a band


@dataclass(frozen=True)
class _References:
    """Those of one neuron that excite it.

    Attributes
    ----------
    points : (n, D) features
    classes : (n,) of their images
    order : (n,) of which the first ones stand for fewer references: the strongest first, and in a band any
    """

    points: np.ndarray
    classes: np.ndarray
    order: np.ndarray


def compute(study: Study) -> Result:
    """By (features, k, n), and by (features, k, band): how stable splits are, and what labels say of them."""
    result = Result(arrays={"neuron": study.neurons})
    most = study.sources.collected.layers[study.layer].most_references
    counts = [*(n for n in COUNTS if n < most), most]
    where = [
        (kind, name) for kind in study.features for name in [study.layer, *_bands(study)] if _has(study, name, kind)
    ]
    total, done = len(where) * len(study.ks) * len(study.neurons), 0
    by_count: list[dict[str, Any]] = []
    by_band: list[dict[str, Any]] = []
    for features, layer in where:
        place = np.flatnonzero(np.isin(study.neurons, study.sources.features_of(layer, features).neuron))
        own = counts if layer == study.layer else [most]
        found = {k: np.full((len(study.neurons), len(own), 5), np.nan) for k in study.ks}
        for i, references in zip(place, _references(study, layer, features, study.neurons[place]), strict=True):
            for k in study.ks:
                found[k][i] = _measured(references, k, own, study.seed)
                study.progress(done := done + 1, total)
        for k in study.ks:
            if layer == study.layer:
                by_count += _rows(result, found[k], features, k, "n", own)
            by_band += _rows(result, found[k][:, -1:], features, k, "band", [layer.partition(BAND)[2] or TOP])
    result.tables.append(_of_counts(study, by_count, most))
    if any(BAND in layer for _, layer in where):
        result.tables.append(_of_bands(study, by_band))
    return result


def _bands(study: Study) -> list[str]:
    """The bands of the study's layer, the strongest first."""
    if BAND in study.layer:
        return []
    collected = study.sources.collected
    there = [name for name in collected.layers if BAND in name and without_band(name) == study.layer]
    return sorted(there, key=lambda name: -collected.layers[name].provenance.settings["band"][0])


def _has(study: Study, layer: str, features: str) -> bool:
    """A layer has some kind of features, and they are up to date."""
    try:
        study.sources.layers([layer], features)
        return len(study.sources.features_of(layer, features).neuron) > 0
    except PureError:
        return False


def _references(study: Study, layer: str, features: str, neurons: np.ndarray) -> Iterator[_References]:
    """Those of some neurons, one after another."""
    sources = study.sources
    labelled = (sources.collected.image_label != NO_LABEL).any()
    shape = sources.collected.layers[layer].top.image[neurons].shape
    classes = classes_of(sources, layer, neurons) if labelled else np.full(shape, NO_CLASS)
    rows = sources.features_of(layer, features).rows(neurons)
    with one_thread():
        for neuron, own, points in zip(neurons.tolist(), classes, rows, strict=True):
            known = sources.excites(layer, neuron)
            order = np.arange(known.sum())
            if BAND in layer:
                order = np.random.default_rng([study.seed, neuron]).permutation(order)
            yield _References(points[known], own[known], order)


def _measured(references: _References, k: int, counts: list[int], seed: int) -> np.ndarray:
    """(len(counts), 5): how stable, alike, near the labels, near them by chance, and of how many classes."""
    found = np.full((len(counts), 5), np.nan)
    there = len(references.points)
    if there <= k:
        return found
    whole, shuffled = _split(references.points, k, seed), np.random.default_rng(seed)
    for row, n in enumerate(counts):
        if n > there and n != counts[-1]:
            continue
        own = np.sort(references.order[:n])
        points, kinds = references.points[own], references.classes[own]
        labels = whole if len(own) == there else _split(points, k, seed)
        chance = [agreement(labels, shuffled.permutation(kinds)).ari for _ in range(SHUFFLES)]
        found[row] = (
            bootstrap_stability(points, k, seed),
            agreement(labels, whole[own]).ari,
            agreement(labels, kinds).ari,
            np.mean(chance),
            len(np.unique(kinds[kinds != NO_CLASS])) or np.nan,
        )
    return found


def _split(points: np.ndarray, k: int, seed: int) -> np.ndarray:
    return virtual_neurons(points, np.ones(len(points), bool), k, seed).labels


def _rows(
    result: Result, found: np.ndarray, features: str, k: int, what: str, values: list[Any]
) -> Iterator[dict[str, Any]]:
    """A row for each of some counts or bands, from values (N, counts, 5), which are kept."""
    for column, value in enumerate(values):
        row: dict[str, Any] = {"features": features, "k": k, what: value}
        for place, name in enumerate((*MEASURES, CHANCE, CLASSES)):
            result.arrays[f"{features}/k{k}/{what}{value}/{name}"] = found[:, column, place]
            mean, error = mean_and_error(found[:, column, place])
            row[name] = finite((mean, error)) if name in MEASURES else number(mean)
        yield row


NOTE = (
    "bootstrap: adjusted Rand index between a split and those of bootstrap samples; ari: with the labels of images, "
    "and chance: with labels shuffled (0 but for noise, however many classes there are); classes: different labels "
    "among the references. Among more classes even the best split into k has a lower ari: compare kinds of features "
    "on one line of references, and stability between them."
)


def _of_counts(study: Study, rows: list[dict[str, Any]], most: int) -> Table:
    columns = ["features", "k", "n", *MEASURES, CHANCE, CLASSES]
    title = f"{study.layer}: virtual neurons by fewer references, {counted(len(study.neurons), 'neuron')}"
    note = f"{NOTE} alike: with the split by all {most} references, on those that both have."
    shown = ["features", "k", "n", *MEASURES]
    return Table("references", title, columns, rows, note, _verdict(study, rows, most), shown=shown)


def _verdict(study: Study, rows: list[dict[str, Any]], most: int) -> str:
    """How few references would have given the same split, by the first kind of features and k of which it is known."""
    measured = [row for row in rows if row["alike"] and row["alike"][0] is not None]
    if not measured:
        fewest = min(study.ks)
        return (
            f"Nothing is known of '{study.layer}': a neuron has to have more references that excite it than virtual "
            f"neurons, and none has more than {fewest}. `pure collect -n 100` finds more."
        )
    features, k = measured[0]["features"], measured[0]["k"]
    fewer = {row["n"]: row["alike"][0] for row in measured if (row["features"], row["k"]) == (features, k)}
    whole = fewer.pop(most, None)
    if whole is None or not fewer:
        return (
            f"Whether fewer than {most} references split '{study.layer}' alike was not tried: the least is "
            f"{COUNTS[0]}. `pure collect -n {5 * COUNTS[0]}` finds enough to tell."
        )
    n = min((count for count, alike in fewer.items() if alike >= ENOUGH), default=most)
    if n == most:
        return (
            f"No fewer than all {most} references give the split of '{study.layer}' by {features} at k = {k}: fewer "
            f"agree with it by less than {ENOUGH:g}. More may split it otherwise again: `pure collect -n {2 * most}`."
        )
    return f"{n} references split '{study.layer}' by {features} at k = {k} as all {most} do (agreement of {ENOUGH:g})."


def _of_bands(study: Study, rows: list[dict[str, Any]]) -> Table:
    columns = ["features", "k", "band", "bootstrap", "ari", CHANCE, CLASSES]
    title = f"{study.layer}: virtual neurons by bands of activation, {counted(len(study.neurons), 'neuron')}"
    note = f"{NOTE} band: percentiles of the images that excite the neuron; top: those that excite it most. "
    note += "*: the most stable."
    best = highest(rows, "bootstrap")
    said = ""
    if best is not None:
        row = rows[best]
        said = (
            f"In '{study.layer}' the references '{row['band']}' are split most stably, by {row['features']} at k = "
            f"{row['k']}: bootstrap samples agree with an adjusted Rand index of {row['bootstrap'][0]:.2f}."
        )
    return Table("references-bands", title, columns, rows, note, said, best, shown=columns)


def figures(tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]) -> Figures:
    from pure_cli.views.evaluation import lines_over_k

    for table in tables:
        by_count = table["name"] == "references"
        for k in dict.fromkeys(row["k"] for row in table["rows"]):
            own = [row for row in table["rows"] if row["k"] == k]
            measures = [name for name in MEASURES if any(row[name] and row[name][0] is not None for row in own)]
            if not measures:
                continue
            if by_count:
                yield (
                    f"n-k{k}",
                    lines_over_k(
                        [{**row, "k": row["n"]} for row in own],
                        measures,
                        across="references of each neuron (n)",
                        log=True,
                    ),
                )
                continue
            names = list(dict.fromkeys(row["band"] for row in own))[::-1]
            yield (
                f"bands-k{k}",
                lines_over_k(
                    [{**row, "k": names.index(row["band"])} for row in own],
                    [name for name in measures if name != "alike"],
                    across="percentiles of activation",
                    ticks=names,
                ),
            )


def made_from(study: Study) -> dict[str, str]:
    """Fingerprints of the features of the bands."""
    where = [(kind, name) for kind in study.features for name in _bands(study) if _has(study, name, kind)]
    return {f"{kind} {name}": fingerprint(study.sources.features_of(name, kind).made_from) for kind, name in where}


METRIC = Metric(compute, figures=figures, beside=made_from, version=4)
