"""The MonoSemanticity score of neurons and of their virtual neurons."""

from __future__ import annotations

from typing import Any

import numpy as np

from pure_cli.core.metrics.monosemanticity import monosemanticity, monosemanticity_of_all
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.stages.evaluation.metric import Metric
from pure_cli.stages.evaluation.sample import Sample, take_sample
from pure_cli.stages.evaluation.study import Result, Study, Table, after_the_split, finite, virtual_neurons
from pure_cli.words import counted

NOTE = (
    "Mean cosine similarity over pairs of images, weighted by the product of the activations scaled to 0 … 1 (Pach et "
    "al. 2025, arXiv 2504.02821); up to 1, higher is purer. Virtual neurons are weighted by size."
)


def compute(study: Study) -> Result:
    """MS before and after the split."""
    result = Result(arrays={"neuron": study.neurons})
    count, excites = len(study.neurons), study.excites()
    values = study.sources.collected.layers[study.layer].top.value[study.neurons]
    embeddings = list(study.rows(study.judge))
    before = np.array([monosemanticity(x[e], v[e]) for x, e, v in zip(embeddings, excites, values, strict=True)])
    result.arrays["ms"] = before
    found: dict[tuple[str, int | None], np.ndarray] = {("neurons", None): before}
    keys = [(features, k) for features in study.features for k in study.ks]
    for done, (features, k) in enumerate(keys, 1):
        virtual = virtual_neurons(study, features, k)
        scores = np.array(
            [monosemanticity(embeddings[i][m], values[i][m]) for i, m in zip(virtual.row, virtual.members, strict=True)]
        )
        found[f"by {features}", k] = virtual.by_neuron(scores, count)
        result.arrays |= virtual.arrays(f"{features}/k{k}", ms=scores)
        result.arrays[f"{features}/k{k}/ms"] = found[f"by {features}", k]
        study.progress(done, len(keys))
    known = np.all([np.isfinite(scores) for scores in found.values()], axis=0)
    rows: list[dict[str, Any]] = [
        {"units": units, "k": k, "references": finite(mean_and_error(scores[known]))}
        for (units, k), scores in found.items()
    ]
    columns, note = ["units", "k", "references"], NOTE
    neurons = study.neurons_in_words(known)
    title = f"{study.layer}: MonoSemanticity by {study.judge_in_words()}, {neurons}, before and after the split"
    if study.sample:
        sample = take_sample(study, study.sample)
        _add_sample(study, sample, keys, rows, result)
        columns.append("sample")
        note += (
            f" Sample: {counted(len(sample.image), 'whole image')} of the data set, each given to the virtual neuron "
            "whose centroid is nearest; a dash where that needs crops."
        )
    verdict, best = after_the_split(study, rows, "references", "MS")
    result.tables.append(Table("ms", title, columns, rows, f"{note} *: the purest.", verdict, best))
    return result


def _add_sample(
    study: Study, sample: Sample, keys: list[tuple[str, int]], rows: list[dict[str, Any]], result: Result
) -> None:
    """The same over a sample of the whole data set, as one more column."""
    result.arrays["sample/image"] = sample.image
    result.arrays["sample/activation"], result.arrays["sample/embedding"] = sample.activation, sample.embedding
    firing = sample.activation.clip(min=0)
    before = monosemanticity_of_all(sample.embedding, firing)
    result.arrays["sample/ms"] = before
    rows[0]["sample"] = finite(mean_and_error(before))
    for row, (features, k) in zip(rows[1:], keys, strict=True):
        if (features, k) not in sample.virtual:
            row["sample"] = None
            continue
        virtual = virtual_neurons(study, features, k)
        assigned = sample.virtual[features, k][:, virtual.row] == virtual.cluster
        scores = monosemanticity_of_all(sample.embedding, np.where(assigned, firing[:, virtual.row], 0))
        after = virtual.by_neuron(scores, len(study.neurons))
        result.arrays[f"{features}/k{k}/virtual/sample-ms"] = scores
        result.arrays[f"{features}/k{k}/sample-ms"] = after
        row["sample"] = finite(mean_and_error(after))


METRIC = Metric(compute, judged=True, options=("sample", "precision"))
