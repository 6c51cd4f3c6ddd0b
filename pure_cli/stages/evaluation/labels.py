"""Whether virtual neurons follow the labels of the images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pure_cli.core.metrics.agreement import agreement, chance
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.core.references import NO_IMAGE
from pure_cli.errors import PureError
from pure_cli.stages.evaluation.metric import Figures, Metric
from pure_cli.stages.evaluation.noise import BOLD, SAYS, Scores, add_noise, bold, reseeded
from pure_cli.stages.evaluation.study import (
    Result,
    Study,
    Table,
    ahead_and_behind,
    compared,
    finite,
    highest,
    number,
)
from pure_cli.stages.inputs.features import Sources

MEASURES = ("purity", "nmi", "ari")
NO_LABEL = -1


def compute(study: Study) -> Result:
    """Purity, normalised mutual information and adjusted Rand index with the labels, and what chance gives.

    Raises
    ------
    PureError
        The images have no labels.
    """
    classes = classes_of(study.sources, study.layer, study.neurons)
    result = Result(arrays={"neuron": study.neurons})
    rows, scores, again = [], {}, {}
    keys = [(features, k) for features in study.features for k in study.ks]
    for done, (features, k) in enumerate(keys, 1):
        labels = study.labels(features, k)
        scores[features, k] = found = _agreements(labels, classes)
        expected = _by_chance(labels, classes, study.seed)
        again[features, k] = turns = np.stack([_agreements(turn, classes) for turn in reseeded(study, features, k)])
        row = {"features": features, "k": k}
        for column, name in enumerate(MEASURES):
            path = f"{features}/k{k}/{name}"
            result.arrays[path], result.arrays[f"{path}-chance"] = found[:, column], expected[:, column]
            result.arrays[f"{path}-reseeded"] = turns[:, :, column]
            row[name] = finite(mean_and_error(found[:, column]))
            row[f"{name} by chance"] = number(mean_and_error(expected[:, column])[0])
        rows.append(row)
        study.progress(done, len(keys))
    of_column = {
        name: Scores([scores[key][:, column] for key in keys], [again[key][:, :, column] for key in keys])
        for column, name in enumerate(MEASURES)
    }
    table = _table(study, rows, of_column)
    title = f"{study.layer}: adjusted Rand index with the labels, compared neuron by neuron"
    indices = {key: found[:, MEASURES.index("ari")] for key, found in scores.items()}
    differences = compared(study, indices, "labels-differences", title)
    result.tables += [replace(table, verdict=_verdict(study, table, differences)), *differences]
    return result


def _table(study: Study, rows: list[dict[str, Any]], scores: Mapping[str, Scores]) -> Table:
    add_noise(rows, scores)
    columns = ["features", "k", "purity", "purity by chance", "nmi", "nmi by chance", "ari", "ari noise"]
    known = np.isfinite(next(one for one in scores["ari"].values if one is not None))
    title = f"{study.layer}: virtual neurons against the labels of the images, {study.neurons_in_words(known)}"
    note = (
        "1 is full agreement; ari is 0 by chance. Chance: labels of the clusters shuffled. A neuron whose references "
        "are of one class scores 1 in purity however it is split, so compare with chance. "
        f"{SAYS} *: the highest ari. {BOLD}"
    )
    return Table(
        "labels",
        title,
        columns,
        rows,
        note,
        best=highest(rows, "ari"),
        shown=["features", "k", "ari", "ari noise", "purity", "purity by chance"],
        bold=bold(scores, rows, study.seed),
        headline="ari",
        beside=["purity noise", "nmi noise", "ari by chance"],
    )


def _by_chance(labels: np.ndarray, classes: np.ndarray, seed: int) -> np.ndarray:
    """As `_agreements`, of virtual neurons that are shuffled."""
    found = [chance(own, of, seed)[0] for own, of in zip(labels, classes, strict=True)]
    return np.array([[getattr(one, name) for name in MEASURES] for one in found]).reshape(-1, len(MEASURES))


def _agreements(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(N, measures) of virtual neurons (N, n) with classes (N, n)."""
    found = [agreement(own, of) for own, of in zip(labels, classes, strict=True)]
    return np.array([[getattr(one, name) for name in MEASURES] for one in found]).reshape(-1, len(MEASURES))


def _verdict(study: Study, table: Table, differences: Sequence[Table]) -> str:
    if table.best is None:
        return f"No virtual neurons of '{study.layer}' can be held against the labels."
    best = table.rows[table.best]
    found = (
        f"{best['features']} at k = {best['k']} agrees best with the labels in '{study.layer}': adjusted Rand index "
    )
    return f"{found}{best['ari'][0]:.2f}, where chance gives 0. {ahead_and_behind(study, differences)}".rstrip()


def classes_of(sources: Sources, layer: str, neurons: np.ndarray) -> np.ndarray:
    """(N, n) int, the class of each reference of some neurons; -1 for none.

    Raises
    ------
    PureError
        The images have no labels.
    """
    collected = sources.collected
    if (collected.image_label == NO_LABEL).all():
        raise PureError("The images have no labels. Use class folders or a list with labels, or another --metric.")
    images = collected.layers[layer].top.image[neurons]
    return np.vectorize(lambda image: NO_LABEL if image == NO_IMAGE else collected.label_of[int(image)])(images)


def figures(tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]) -> Figures:
    from pure_cli.views.evaluation import agreement_bars

    yield "lines", agreement_bars(tables[0]["rows"], ("ari", "nmi", "purity"))


METRIC = Metric(compute, figures=figures, version=3)
