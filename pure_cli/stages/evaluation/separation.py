"""How far apart virtual neurons are in the eyes of a judge: distances within and across (the paper's main table)."""

from typing import Any

import numpy as np

from pure_cli.core.metrics.separation import pairwise_distances, separation
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.stages.evaluation.study import Result, Study, Table, compared, finite

# Dreyer et al. 2024: ResNet101, 1000 neurons, CLIP, k = 2
PUBLISHED = {
    "dinov2": (5.79, 6.48),
    "pure": (5.85, 6.40),
    "activation-mean": (5.95, 6.26),
}
PUBLISHED_RANDOM = 6.08
PUBLISHED_JUDGE, PUBLISHED_K = "clip", 2


def compute(study: Study) -> Result:
    """Intra and inter distance for every kind of features and k."""
    result = Result()
    count = len(study.neurons)
    values = {(features, k): np.full((count, 2), np.nan) for features in study.features for k in study.ks}
    overall = np.full(count, np.nan)
    labels = {key: study.labels(*key) for key in values}
    for i, points in enumerate(study.rows(study.judge)):
        distances = pairwise_distances(points)
        for key, found in values.items():
            one = separation(distances, labels[key][i])
            found[i] = one.intra, one.inter
            overall[i] = one.overall
        study.progress(i + 1, count)
    result.arrays["neuron"], result.arrays["overall"] = study.neurons, overall
    for (features, k), found in values.items():
        result.arrays[f"{features}/k{k}/intra"], result.arrays[f"{features}/k{k}/inter"] = found.T
    result.tables.append(_table(study, values, overall, np.ones(count, bool), "all", f"{count} neurons"))
    gaps = {key: found[:, 1] - found[:, 0] for key, found in values.items()}
    title = f"{study.layer}: inter − intra of {study.judge} embeddings, compared neuron by neuron"
    result.tables.append(compared(study, gaps, "separation-differences", title))
    result.tables += _polysemantic(study, values, overall)
    return result


def _table(
    study: Study, values: dict[tuple[str, int], np.ndarray], overall: np.ndarray, which: np.ndarray, name: str, who: str
) -> Table:
    columns = ["features", "k", "intra", "inter", "inter − intra"]
    published = study.judge == PUBLISHED_JUDGE and PUBLISHED_K in study.ks and name == "all"
    rows = []
    for (features, k), found in values.items():
        found = found[which]
        row: dict[str, Any] = {
            "features": features,
            "k": k,
            "intra": finite(mean_and_error(found[:, 0])),
            "inter": finite(mean_and_error(found[:, 1])),
            "inter − intra": finite(mean_and_error(found[:, 1] - found[:, 0])),
        }
        if published:
            row["published"] = "{} / {}".format(*PUBLISHED[features]) if k == 2 and features in PUBLISHED else None
        rows.append(row)
    random = finite(mean_and_error(overall[which]))
    last: dict[str, Any] = {"features": "random", "k": None, "intra": random, "inter": random, "inter − intra": None}
    rows.append({**last, "published": str(PUBLISHED_RANDOM)} if published else last)
    note = "Intra: lower is better; inter: higher is better; mean ± standard error over neurons."
    if published:
        columns.append("published")
        note += " Published: ResNet101, 1000 neurons (arXiv 2404.06453)."
    return Table(
        f"separation-{name}", f"{study.layer}: distances of {study.judge} embeddings, {who}", columns, rows, note
    )


def _polysemantic(study: Study, values: dict[tuple[str, int], np.ndarray], overall: np.ndarray) -> list[Table]:
    """The same for the neurons that the judge's own clustering splits most clearly."""
    key = (study.judge, min(study.ks))
    if key not in values:
        return []
    gap = values[key][:, 1] - values[key][:, 0]
    which = gap > study.threshold
    who = f"{int(which.sum())} neurons that the judge itself splits by more than {study.threshold:g} at k = {key[1]}"
    return [_table(study, values, overall, which, "polysemantic", who)] if which.any() else []
