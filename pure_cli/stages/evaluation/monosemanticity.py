"""The MonoSemanticity score of neurons and of their virtual neurons, over references and over a sample of the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from pure_cli.core.metrics.monosemanticity import monosemanticity, monosemanticity_of_all
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.stages.evaluation.sample import Sample, take_sample
from pure_cli.stages.evaluation.study import Result, Study, Table, finite

NOTE = (
    "Mean cosine similarity over pairs of images, weighted by the product of the activations scaled to 0 … 1 (Pach et "
    "al. 2025, arXiv 2504.02821); up to 1, higher is purer. Virtual neurons are weighted by size."
)


def compute(study: Study) -> Result:
    """MS before and after the split."""
    result = Result(arrays={"neuron": study.neurons})
    excites = study.excites()
    values = study.sources.collected.layers[study.layer].top.value[study.neurons]
    embeddings = list(study.rows(study.judge))
    before = np.array([monosemanticity(x[e], v[e]) for x, e, v in zip(embeddings, excites, values, strict=True)])
    result.arrays["ms"] = before
    rows: list[dict[str, Any]] = [{"units": "neurons", "k": None, "references": finite(mean_and_error(before))}]
    keys = [(features, k) for features in study.features for k in study.ks]
    for done, (features, k) in enumerate(keys, 1):
        labels = study.labels(features, k)
        after = np.full(len(study.neurons), np.nan)
        for i, points in enumerate(embeddings):
            scores = [monosemanticity(points[labels[i] == v], values[i][labels[i] == v]) for v in range(k)]
            after[i] = _weighted(scores, [int((labels[i] == v).sum()) for v in range(k)])
        result.arrays[f"{features}/k{k}/ms"] = after
        units = f"virtual neurons by {features}"
        rows.append({"units": units, "k": k, "references": finite(mean_and_error(after))})
        study.progress(done, len(keys))
    columns = ["units", "k", "references"]
    title = f"{study.layer}: MonoSemanticity by {study.judge} embeddings, {len(study.neurons)} neurons"
    note = NOTE
    if study.sample:
        sample = take_sample(study, study.sample)
        _add_sample(study, sample, keys, rows, result)
        columns.append("sample")
        note += (
            f" Sample: {len(sample.image):,} whole images of the data set, each given to the virtual neuron whose "
            "centroid is nearest; a dash where that needs crops."
        )
    result.tables.append(Table("ms", title, columns, rows, note))
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
        clustering = study.clustering(features, k)
        after = np.full(len(study.neurons), np.nan)
        for i, neuron in enumerate(study.neurons.tolist()):
            sizes = clustering.size[clustering.virtual_neuron == neuron]
            parts = [np.where(sample.virtual[features, k][:, i] == v, firing[:, i], 0) for v in range(len(sizes))]
            if parts:
                after[i] = _weighted(monosemanticity_of_all(sample.embedding, np.stack(parts, axis=1)), sizes)
        result.arrays[f"{features}/k{k}/sample-ms"] = after
        row["sample"] = finite(mean_and_error(after))


def _weighted(scores: Any, sizes: Any) -> float:
    """Mean of the scores that are known, weighted by size; NaN where none is."""
    scores, sizes = np.asarray(scores, float), np.asarray(sizes, float)
    known = np.isfinite(scores) & (sizes > 0)
    return float(np.average(scores[known], weights=sizes[known])) if known.any() else float("nan")
