"""Whether distances among references agree with the judge's."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pure_cli.core.metrics.correlation import correlation
from pure_cli.stages.evaluation import published
from pure_cli.stages.evaluation.metric import Figures, Metric
from pure_cli.stages.evaluation.study import Result, Study, Table, finite, highest
from pure_cli.words import counted


def compute(study: Study) -> Result:
    """Correlation of every kind of features with the judge."""
    result = Result()
    judge, excites = list(study.rows(study.judge)), list(study.excites())
    kinds = [features for features in study.features if features != study.judge]
    columns, rows = ["features", "r", "subsets"], []
    same = published.same_setting(study)
    for done, features in enumerate(kinds, 1):
        found = correlation(list(study.rows(features)), judge, excites, study.seed)
        result.arrays[f"{features}/r"] = np.asarray(found.values)
        row = {
            "features": features,
            "r": finite((found.mean, found.error)),
            "subsets": len(found.values),
        }
        if same:
            row["published"] = published.CORRELATION.get(features)
        rows.append(row)
        study.progress(done, len(kinds))
    note = (
        "Pearson r of pairwise distances within neurons; mean ± error over disjoint subsets of equally many neurons, "
        "as in the paper: what does not fill the last subset is left out, and so is a subset without two distances."
    )
    if same:
        columns.append("published")
        note += published.NOTE
    neurons = counted(len(study.neurons), "neuron")
    title = f"{study.layer}: correlation with distances of {study.judge_in_words()}, {neurons}"
    best = highest(rows, "r")
    shown = [name for name in columns if name != "subsets"]
    note += " *: the highest."
    result.tables.append(
        Table("correlation", title, columns, rows, note, _verdict(study, rows, best), best, shown=shown)
    )
    return result


def _verdict(study: Study, rows: list[dict[str, Any]], best: int | None) -> str:
    if best is None:
        return f"No distances in '{study.layer}' can be held against those of {study.judge}."
    found, (mean, error) = rows[best], rows[best]["r"]
    within = "" if error is None else f" ± {error:.2f}"
    return f"Distances by {found['features']} follow those of {study.judge} best: r = {mean:.2f}{within}."


def figures(tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]) -> Figures:
    from pure_cli.views.evaluation import correlation_bars

    yield "bars", correlation_bars(tables[0]["rows"], tables[0]["judge"])


METRIC = Metric(compute, judged=True, figures=figures)
