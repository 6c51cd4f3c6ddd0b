"""Whether the circuit of a virtual neuron makes it fire: it is cut out, on images held out from the clustering."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from pure_cli.core.metrics.causal import circuit_channels, random_channels
from pure_cli.core.metrics.statistics import mean_and_error, paired_difference
from pure_cli.stages.evaluation.held_out import MOST, Case, Trial, drops, scores_of
from pure_cli.stages.evaluation.metric import Figures, Metric
from pure_cli.stages.evaluation.noise import UNMEASURED, Scores, bold
from pure_cli.stages.evaluation.study import Result, Study, Table, ahead_and_behind, compared, finite, highest, number
from pure_cli.stages.evaluation.surgery import Surgery, open_surgery

SHARES = (0.25, 0.5, 0.75, 1.0)  # of a circuit's relevance that is cut out
SHOWN = 0.5  # of these, in the table
OWN, SIBLINGS, SPECIFIC = "own", "siblings", "specificity"
AT_RANDOM = "at random"
COLUMNS = (OWN, SIBLINGS, SPECIFIC, AT_RANDOM)
IN_WORDS = {
    OWN: "lost on its\nown images",
    SIBLINGS: "lost on images\nof its siblings",
    SPECIFIC: "specificity:\nown − siblings",
    AT_RANDOM: "specificity of\nrandom channels",
}
ERRORS = "Means over neurons with standard errors."
ENDS = ("specificity low", "specificity high")


def compute(study: Study) -> Result:
    """Drops of activation by (features, k): on own images, on those of siblings, and what is specific."""
    surgery = open_surgery(study)
    result = Result(arrays={"neuron": study.neurons})
    keys = [(features, k) for features in study.features for k in study.ks]
    trials = [
        Trial.of(study.sources, surgery.source, study.rows(features), study.neurons, k, study.seed)
        for features, k in keys
    ]
    total, done = sum(len(trial.cases) for trial in trials), 0
    rows, specific = [], {}
    for (features, k), trial in zip(keys, trials, strict=True):
        found = np.full((len(study.neurons), len(SHARES), len(COLUMNS)), np.nan)
        for neuron, cases in trial.by_neuron():
            found[neuron] = _measure(surgery, int(study.neurons[neuron]), cases)
            study.progress(done := done + len(cases), total)
        for place, column in enumerate(COLUMNS):
            result.arrays[f"{features}/k{k}/{column.replace(' ', '-')}"] = found[:, :, place]
        rows.append({"features": features, "k": k, **_row(found, study.seed)})
        specific[features, k] = found[:, SHARES.index(SHOWN), COLUMNS.index(SPECIFIC)]
    known = np.any([np.isfinite(values) for values in specific.values()], axis=0)
    differences = compared(study, specific, "causal-differences", f"{study.layer}: how specific, paired over neurons")
    best, marked = highest(rows, SPECIFIC), bold({SPECIFIC: Scores(list(specific.values()))}, rows, study.seed)
    title = f"{study.layer}: what is lost with half of a circuit, {study.neurons_in_words(known)}"
    shown = ["features", "k", *COLUMNS]
    columns = [*shown, *ENDS]
    curves = Table(
        "causal-curves", f"{study.layer}: what is lost, by the share of the circuit that is cut out",
        ["features", "k", "share", *COLUMNS], _curves(rows), "The columns are those of the table before.",
        headline=SPECIFIC,
    )  # fmt: skip
    verdict = _verdict(study, rows, best, differences)
    result.tables += [
        Table(
            "causal", title, columns, rows, _note(surgery), verdict, best, shown=shown, bold=marked, headline=SPECIFIC
        ),
        *differences,
        curves,
    ]
    return result


def _row(found: np.ndarray, seed: int) -> dict[str, Any]:
    """Means and errors over neurons of (N, shares, columns), and the interval of what is specific."""
    row: dict[str, Any] = {}
    for place, share in enumerate(SHARES):
        for column, name in enumerate(COLUMNS):
            row[f"{name} {share:g}"] = finite(mean_and_error(found[:, place, column]))
    half = found[:, SHARES.index(SHOWN)]
    estimate = paired_difference(half[:, COLUMNS.index(OWN)], half[:, COLUMNS.index(SIBLINGS)], seed)
    ends = dict(zip(ENDS, map(number, (estimate.low, estimate.high)), strict=True))
    return {**{name: row[f"{name} {SHOWN:g}"] for name in COLUMNS}, **ends, **row}


def _curves(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each share that is cut out."""
    return [
        {"features": row["features"], "k": row["k"], "share": share}
        | {name: row[f"{name} {share:g}"] for name in COLUMNS}
        for row in rows
        for share in SHARES
    ]


def _note(surgery: Surgery) -> str:
    return (
        f"Drop of the neuron's activation, 1 for all of it, when the lower channels that carry {SHOWN:.0%} of a "
        f"virtual neuron's positive relevance at {', '.join(surgery.lower_layers)} {surgery.how_in_words()}; on up to "
        f"{MOST} images of each virtual neuron, held out from the clustering (halves). siblings: on the images of the "
        "other virtual neurons. specificity: own − siblings. at random: the specificity of channels drawn at random "
        "that carry as much. *: the most specific. "
        f"{UNMEASURED}"
    )


def _measure(surgery: Surgery, neuron: int, cases: list[Case]) -> np.ndarray:
    """(shares, columns) of one neuron."""
    random = np.random.default_rng([surgery.seed, neuron])
    whole = scores_of(surgery, neuron, cases)
    found = np.full((len(SHARES), len(COLUMNS)), np.nan)
    for place, share in enumerate(SHARES):
        circuit, at_random = (
            partial(circuit_channels, share=share),
            partial(random_channels, share=share, random=random),
        )
        own, siblings = drops(surgery, neuron, cases, whole, circuit)
        own_at_random, siblings_at_random = drops(surgery, neuron, cases, whole, at_random)
        found[place] = own, siblings, own - siblings, own_at_random - siblings_at_random
    return found


def _verdict(study: Study, rows: list[dict[str, Any]], best: int | None, differences: list[Table]) -> str:
    if best is None:
        return (
            f"The neurons of '{study.layer}' have too few references to cut out the circuits of their virtual neurons."
        )
    found = rows[best]
    told = (
        f"Without half of its circuit, a virtual neuron by {found['features']} at k = {found['k']} loses "
        f"{found['own'][0]:.0%} of the activation on its own images and {found['siblings'][0]:.0%} on those of its "
        f"siblings: {found[SPECIFIC][0]:+.2f}{_between(found)}, and {found['at random'][0]:+.2f} with as much "
        "relevance at random."
    )
    return " ".join(filter(None, [told, ahead_and_behind(study, differences)]))


def _between(row: dict[str, Any]) -> str:
    low, high = (row[end] for end in ENDS)
    return "" if low is None else f" (95 % interval {low:+.2f} … {high:+.2f})"


def _figures(tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]) -> Figures:
    from pure_cli.views.evaluation import lines_over_k

    rows = tables[0]["rows"]
    note = (
        "How much more of the neuron's activation is lost on images of a virtual neuron than on those of its siblings, "
        f"0 for no more and 1 for all of it, without the lower channels that carry {SHOWN:.0%} of its positive "
        f"relevance. {ERRORS}"
    )
    yield "specificity", lines_over_k(rows, (SPECIFIC,), names=IN_WORDS, note=note)
    few = min((row["k"] for row in rows), default=0)
    curves = [{**row, "k": row["share"]} for row in _curves(rows) if row["k"] == few]
    note = (
        "Lost: the part of the neuron's activation that is gone, from 0 for nothing to 1 for all of it, without the "
        "lower channels that carry most of a virtual neuron's positive relevance, as few as carry the share on the "
        f"axis; random ones carry as much. Siblings: the other virtual neurons of the neuron. {ERRORS}"
    )
    across = f"share of the relevance that is cut out (k = {few})"
    yield "curves", lines_over_k(curves, COLUMNS, across=across, names=IN_WORDS, note=note)


METRIC = Metric(compute, options=("ablation", "precision"), figures=_figures, version=3)
