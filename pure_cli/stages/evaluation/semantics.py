"""semanticlens's scores of neurons, and of the virtual neurons that they were split into."""

import numpy as np

from pure_cli.core.clusters import one_thread
from pure_cli.core.metrics.semantics import clarity, polysemanticity, redundancy
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.stages.evaluation.study import Result, Study, Table, finite


def compute(study: Study) -> Result:
    """Clarity, polysemanticity and redundancy before and after the split."""
    with one_thread():
        return _compute(study)


def _compute(study: Study) -> Result:
    result = Result(arrays={"neuron": study.neurons})
    excites = study.excites()
    embeddings = [points[excites[i]] for i, points in enumerate(study.rows(study.judge))]
    whole = np.array([[clarity(points), polysemanticity(points, study.seed)] for points in embeddings])
    concepts = _concepts(embeddings)
    result.arrays["clarity"], result.arrays["polysemanticity"] = whole.T
    rows = [_row("neurons", None, whole[:, 0], whole[:, 1], concepts)]
    keys = [(features, k) for features in study.features for k in study.ks]
    for done, (features, k) in enumerate(keys, 1):
        labels = study.labels(features, k)
        found = np.full((len(study.neurons), 2), np.nan)
        parts_of_all = []
        for i, points in enumerate(embeddings):
            label = labels[i][excites[i]]
            parts = [points[label == v] for v in range(int(label.max(initial=-1)) + 1)]
            parts_of_all += parts
            sizes = np.array([len(part) for part in parts], float)
            for column, score in enumerate((clarity, lambda part: polysemanticity(part, study.seed))):
                values = np.array([score(part) for part in parts])
                known = np.isfinite(values)
                if known.any():
                    found[i, column] = np.average(values[known], weights=sizes[known])
        result.arrays[f"{features}/k{k}/clarity"], result.arrays[f"{features}/k{k}/polysemanticity"] = found.T
        rows.append(_row(features, k, found[:, 0], found[:, 1], _concepts(parts_of_all)))
        study.progress(done, len(keys))
    title = f"{study.layer}: semanticlens's scores by {study.judge} embeddings, neurons and their virtual neurons"
    note = (
        "Clarity: mean cosine similarity of the references, up to 1, higher is clearer. Polysemanticity: 1 − "
        "similarity of the centres of two clusters of the references, 0 to 2, lower is purer. Redundancy: similarity "
        "to the most similar other unit, up to 1, lower is more distinct. Virtual neurons are weighted by size."
    )
    columns = ["units", "k", "clarity", "polysemanticity", "redundancy"]
    result.tables.append(Table("semantics", title, columns, rows, note))
    return result


def _concepts(parts: list[np.ndarray]) -> np.ndarray:
    return np.stack([part.mean(axis=0) for part in parts if len(part)])


def _row(units: str, k: int | None, clear: np.ndarray, poly: np.ndarray, concepts: np.ndarray) -> dict:
    return {
        "units": units if k is None else f"virtual neurons by {units}",
        "k": k,
        "clarity": finite(mean_and_error(clear)),
        "polysemanticity": finite(mean_and_error(poly)),
        "redundancy": finite(mean_and_error(redundancy(concepts))),
    }
