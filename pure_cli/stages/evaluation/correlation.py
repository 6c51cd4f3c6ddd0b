"""Whether distances among references agree with the judge's."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pure_cli.core.metrics.correlation import correlations
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.core.reseeds import KEPT, TURNS
from pure_cli.stages.evaluation import published
from pure_cli.stages.evaluation.metric import Figures, Metric
from pure_cli.stages.evaluation.noise import BOLD, Scores, add_noise, bold, kept_in_turns
from pure_cli.stages.evaluation.study import Result, Study, Table, finite, highest
from pure_cli.words import counted


def compute(study: Study) -> Result:
    """Correlation of every kind of features with the judge."""
    result = Result()
    judge, excites = list(study.rows(study.judge)), study.excites()
    choices = np.concatenate([excites[:, None], kept_in_turns(study)], axis=1)  # (N, 1 + T, n)
    kinds = [features for features in study.features if features != study.judge]
    columns, rows = ["features", "r", "r noise", "subsets"], []
    values, turns = [], []
    same = published.same_setting(study)
    for done, features in enumerate(kinds, 1):
        (found, *again), _ = correlations(list(study.rows(features)), judge, list(choices), study.seed)
        result.arrays[f"{features}/r"] = known = found[~np.isnan(found)]
        result.arrays[f"{features}/r-reseeded"] = np.stack(again)
        values.append(found)
        turns.append(np.stack(again))
        row = {"features": features, "r": finite(mean_and_error(known)), "subsets": len(known)}
        if same:
            row["published"] = published.CORRELATION.get(features)
        rows.append(row)
        study.progress(done, len(kinds))
    note = (
        "Pearson r of pairwise distances within neurons; mean ± error over disjoint subsets of equally many neurons, "
        "as in the paper: what does not fill the last subset is left out, and so is a subset without two distances. "
        f"noise: what the figure moves by with other references (deviation over {TURNS} draws of {KEPT:.0%} of them, "
        "scaled to new ones)."
    )
    scores = {"r": Scores(values, turns)}
    add_noise(rows, scores)
    if same:
        columns.append("published")
        note += published.NOTE
    neurons = counted(len(study.neurons), "neuron")
    title = f"{study.layer}: correlation with distances of {study.judge_in_words()}, {neurons}"
    best = highest(rows, "r")
    shown = [name for name in columns if name != "subsets"]
    note += f" *: the highest. {BOLD.replace('over neurons', 'over subsets')}"
    verdict, marked = _verdict(study, rows, best), bold(scores, rows, study.seed)
    result.tables.append(Table("correlation", title, columns, rows, note, verdict, best, shown=shown, bold=marked))
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


METRIC = Metric(compute, judged=True, figures=figures, version=3)
