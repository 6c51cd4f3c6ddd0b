"""Whether virtual neurons follow the labels of the images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pure_cli.core.metrics.agreement import agreement, chance
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.core.references import NO_IMAGE
from pure_cli.errors import PureError
from pure_cli.stages.evaluation.metric import Figures, Metric
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
    rows, scores = [], {}
    keys = [(features, k) for features in study.features for k in study.ks]
    for done, (features, k) in enumerate(keys, 1):
        labels = study.labels(features, k)
        found = np.full((len(study.neurons), len(MEASURES)), np.nan)
        expected = found.copy()
        for i in range(len(study.neurons)):
            one = agreement(labels[i], classes[i])
            by_chance, _ = chance(labels[i], classes[i], study.seed)
            found[i] = [getattr(one, name) for name in MEASURES]
            expected[i] = [getattr(by_chance, name) for name in MEASURES]
        scores[features, k] = found
        row = {"features": features, "k": k}
        for column, name in enumerate(MEASURES):
            result.arrays[f"{features}/k{k}/{name}"] = found[:, column]
            result.arrays[f"{features}/k{k}/{name}-chance"] = expected[:, column]
            row[name] = finite(mean_and_error(found[:, column]))
            row[f"{name} by chance"] = number(mean_and_error(expected[:, column])[0])
        rows.append(row)
        study.progress(done, len(keys))
    columns = ["features", "k", "purity", "purity by chance", "nmi", "nmi by chance", "ari"]
    known = np.isfinite(next(iter(scores.values()))[:, 0])
    title = f"{study.layer}: virtual neurons against the labels of the images, {study.neurons_in_words(known)}"
    note = (
        "1 is full agreement; ari is 0 by chance. Chance: labels of the clusters shuffled. A neuron whose references "
        "are of one class scores 1 in purity however it is split, so compare with chance. *: the highest ari."
    )
    best, shown = highest(rows, "ari"), ["features", "k", "ari", "purity", "purity by chance"]
    table = Table("labels", title, columns, rows, note, best=best, shown=shown)
    title = f"{study.layer}: adjusted Rand index with the labels, compared neuron by neuron"
    indices = {key: found[:, MEASURES.index("ari")] for key, found in scores.items()}
    differences = compared(study, indices, "labels-differences", title)
    result.tables += [replace(table, verdict=_verdict(study, table, differences)), *differences]
    return result


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


METRIC = Metric(compute, figures=figures)
