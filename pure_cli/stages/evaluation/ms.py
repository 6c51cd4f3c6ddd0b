"""The MonoSemanticity score of neurons and of their virtual neurons."""

from __future__ import annotations

from typing import Any

import numpy as np

from pure_cli.core.metrics.monosemanticity import monosemanticity, monosemanticity_of_all, monosemanticity_of_parts
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.core.reseeds import KEPT, TURNS
from pure_cli.stages.evaluation.metric import Metric
from pure_cli.stages.evaluation.noise import BOLD, SAYS, Scores, add_noise, bold, repeated
from pure_cli.stages.evaluation.sample import Sample, take_sample
from pure_cli.stages.evaluation.study import (
    Result,
    Study,
    Table,
    after_the_split,
    finite,
    virtual_neurons,
)
from pure_cli.words import counted

NOTE = (
    "Mean cosine similarity over pairs of images, weighted by the product of the activations scaled to 0 … 1 (Pach et "
    "al. 2025, arXiv 2504.02821); up to 1, higher is purer. Virtual neurons are weighted by size."
)
CHANCE = "By chance: the same with references dealt to virtual neurons at random, as many to each as it has."


def compute(study: Study) -> Result:
    """MS before and after the split."""
    result = Result(arrays={"neuron": study.neurons})
    values = study.sources.collected.layers[study.layer].top.value[study.neurons]
    keys = [(features, k) for features in study.features for k in study.ks]
    found = _before_and_after(study, values, keys, result)
    known = np.all([np.isfinite(scores) for scores in found.values()], axis=0)
    rows: list[dict[str, Any]] = [
        {"units": units, "k": k, "references": finite(mean_and_error(scores[known]))}
        for (units, k), scores in found.items()
    ]
    again = repeated(study, lambda row, products, members: monosemanticity_of_parts(products, values[row], members))
    again.record(result, rows, "ms", "references", known)
    scores = {"references": again.scores(found.values(), known)}
    columns, note = ["units", "k", "references", "references noise", "references by chance"], f"{NOTE} {SAYS} {CHANCE}"
    neurons = study.neurons_in_words(known)
    title = f"{study.layer}: MonoSemanticity by {study.judge_in_words()}, {neurons}, before and after the split"
    if study.sample:
        sample = take_sample(study, study.sample)
        scores |= _add_sample(study, sample, keys, rows, result)
        columns += ["sample", "sample noise"]
        note += (
            f" Sample: {counted(len(sample.image), 'whole image')} of the data set, each given to the virtual neuron "
            "whose centroid is nearest; a dash where that needs crops; its noise: of "
            f"{TURNS} draws of {KEPT:.0%} of these."
        )
    add_noise(rows, scores)
    verdict, best = after_the_split(study, rows, "references", "MS")
    marked = bold(scores, rows, study.seed, study.judge)
    result.tables.append(Table("ms", title, columns, rows, f"{note} *: the purest. {BOLD}", verdict, best, bold=marked))
    return result


def _before_and_after(
    study: Study, values: np.ndarray, keys: list[tuple[str, int]], result: Result
) -> dict[tuple[str, int | None], np.ndarray]:
    """Scores (N,) of neurons by what splits them and k, whose activations are (N, n); kept in the result."""
    count, excites, embeddings = len(study.neurons), study.excites(), list(study.rows(study.judge))
    before = np.array([monosemanticity(x[e], v[e]) for x, e, v in zip(embeddings, excites, values, strict=True)])
    result.arrays["ms"] = before
    found: dict[tuple[str, int | None], np.ndarray] = {("neurons", None): before}
    for done, (features, k) in enumerate(keys, 1):
        virtual = virtual_neurons(study, features, k)
        scores = np.array(
            [monosemanticity(embeddings[i][m], values[i][m]) for i, m in zip(virtual.row, virtual.members, strict=True)]
        )
        found[f"by {features}", k] = virtual.by_neuron(scores, count)
        result.arrays |= virtual.arrays(f"{features}/k{k}", ms=scores)
        result.arrays[f"{features}/k{k}/ms"] = found[f"by {features}", k]
        study.progress(done, len(keys))
    return found


def _add_sample(
    study: Study, sample: Sample, keys: list[tuple[str, int]], rows: list[dict[str, Any]], result: Result
) -> dict[str, Scores]:
    """The same over a sample of the whole data set, as one more column."""
    drawn = _parts_of(len(sample.image), study.seed)
    result.arrays["sample/image"] = sample.image
    result.arrays["sample/activation"], result.arrays["sample/embedding"] = sample.activation, sample.embedding
    firing = sample.activation.clip(min=0)
    before = monosemanticity_of_all(sample.embedding, firing)
    result.arrays["sample/ms"] = before
    rows[0]["sample"] = finite(mean_and_error(before))
    values: list[np.ndarray | None] = [before]
    turns: list[np.ndarray | None] = [
        np.stack([monosemanticity_of_all(sample.embedding[own], firing[own]) for own in drawn])
    ]
    for row, (features, k) in zip(rows[1:], keys, strict=True):
        if (features, k) not in sample.virtual:
            row["sample"] = None
            values.append(None)
            turns.append(None)
            continue
        virtual = virtual_neurons(study, features, k)
        assigned = sample.virtual[features, k][:, virtual.row] == virtual.cluster
        fired = np.where(assigned, firing[:, virtual.row], 0)
        scores = monosemanticity_of_all(sample.embedding, fired)
        after = virtual.by_neuron(scores, len(study.neurons))
        result.arrays[f"{features}/k{k}/virtual/sample-ms"] = scores
        result.arrays[f"{features}/k{k}/sample-ms"] = after
        row["sample"] = finite(mean_and_error(after))
        each = [monosemanticity_of_all(sample.embedding[own], fired[own]) for own in drawn]
        values.append(after)
        turns.append(np.stack([virtual.by_neuron(own, len(study.neurons)) for own in each]))
    return {"sample": Scores(values, turns)}


def _parts_of(count: int, seed: int) -> list[np.ndarray]:
    """Places of the images of a sample that each turn keeps."""
    part = round(KEPT * count)
    return [np.sort(np.random.default_rng([seed, turn]).permutation(count)[:part]) for turn in range(TURNS)]


METRIC = Metric(compute, judged=True, options=("sample", "precision"), version=3)
