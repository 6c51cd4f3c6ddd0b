"""semanticlens's scores of neurons and of their virtual neurons."""

from typing import Any

import numpy as np

from pure_cli.core.clusters import one_thread
from pure_cli.core.metrics.semantics import clarity, clarity_of_parts, polysemanticity, redundancy
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.stages.evaluation.metric import Metric
from pure_cli.stages.evaluation.noise import BOLD, SAYS, Scores, add_noise, bold, repeated
from pure_cli.stages.evaluation.study import (
    Result,
    Study,
    Table,
    after_the_split,
    finite,
    virtual_neurons,
)

SCORES = ("clarity", "polysemanticity", "redundancy")


def compute(study: Study) -> Result:
    """Clarity, polysemanticity and redundancy before and after the split."""
    with one_thread():
        return _compute(study)


def _compute(study: Study) -> Result:
    result = Result(arrays={"neuron": study.neurons})
    found = _before_and_after(study, result)
    known = np.all([np.isfinite(values[name]) for values in found.values() for name in SCORES[:2]], axis=0)
    rows: list[dict[str, Any]] = [
        {"units": units, "k": k, **{name: finite(mean_and_error(values[name][known])) for name in SCORES}}
        for (units, k), values in found.items()
    ]
    neurons = study.neurons_in_words(known)
    title = f"{study.layer}: semanticlens's scores by {study.judge_in_words()}, {neurons}, before and after the split"
    note = (
        "Clarity: mean cosine similarity of the references, up to 1, higher is clearer. Polysemanticity: 1 − "
        "similarity of the centres of two clusters of the references, 0 to 2, lower is purer. Redundancy: similarity "
        "to the most similar other unit, up to 1, lower is more distinct. Virtual neurons are weighted by size. "
        f"{SAYS} By chance: clarity of references dealt to virtual neurons at random, as many to each as it has."
    )
    again = repeated(study, lambda _, products, members: clarity_of_parts(products, members))
    again.record(result, rows, "clarity", "clarity", known)
    columns = {"clarity": again.scores((own["clarity"] for own in found.values()), known)}
    add_noise(rows, columns)
    for name in SCORES[1:]:
        columns[name] = Scores([np.where(known, own[name], np.nan) for own in found.values()], lower=True)
    verdict, best = after_the_split(study, rows, "clarity", "clarity")
    shown = ["units", "k", "clarity", "clarity noise", "clarity by chance", *SCORES[1:]]
    marked, note = bold(columns, rows, study.seed, study.judge), f"{note} *: the clearest. {BOLD}"
    result.tables.append(Table("semantics", title, shown, rows, note, verdict, best, bold=marked))
    return result


def _before_and_after(study: Study, result: Result) -> dict[tuple[str, int | None], dict[str, np.ndarray]]:
    """Scores of neurons by what splits them and k; kept in the result."""
    count, excites = len(study.neurons), study.excites()
    embeddings = list(study.rows(study.judge))
    before = _scores([points[mask] for points, mask in zip(embeddings, excites, strict=True)], study.seed)
    result.arrays |= before
    found: dict[tuple[str, int | None], dict[str, np.ndarray]] = {("neurons", None): before}
    keys = [(features, k) for features in study.features for k in study.ks]
    for done, (features, k) in enumerate(keys, 1):
        virtual = virtual_neurons(study, features, k)
        parts = [embeddings[row][mask] for row, mask in zip(virtual.row, virtual.members, strict=True)]
        scores = _scores(parts, study.seed)
        after = {name: virtual.by_neuron(values, count) for name, values in scores.items()}
        result.arrays |= virtual.arrays(f"{features}/k{k}", **scores)
        result.arrays |= {f"{features}/k{k}/{name}": values for name, values in after.items()}
        found[f"by {features}", k] = after
        study.progress(done, len(keys))
    return found


def _scores(parts: list[np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """The scores of units, each of them (units,), from the embeddings (m, E) of their references."""
    width = max((part.shape[1] for part in parts), default=1)
    concepts = np.stack([part.mean(axis=0) if len(part) else np.full(width, np.nan) for part in parts] or [[np.nan]])
    return {
        "clarity": np.array([clarity(part) for part in parts]),
        "polysemanticity": np.array([polysemanticity(part, seed) for part in parts]),
        "redundancy": redundancy(concepts)[: len(parts)],
    }


METRIC = Metric(compute, judged=True, version=3)
