"""Whether the circuit of a virtual neuron makes it fire: it is cut out, on images held out from the clustering."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.core.metrics.causal import circuit_channels, drop, random_channels
from pure_cli.core.metrics.statistics import mean_and_error, paired_difference
from pure_cli.stages.evaluation.metric import Figures, Metric
from pure_cli.stages.evaluation.study import Result, Study, Table, ahead_and_behind, compared, finite, highest, number
from pure_cli.stages.evaluation.surgery import Surgery, open_surgery
from pure_cli.stages.inputs.features import FeatureSource

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Firing

SHARES = (0.25, 0.5, 0.75, 1.0)  # of a circuit's relevance that is cut out
SHOWN = 0.5  # of these, in the table
MOST = 8  # held-out images of each virtual neuron
OWN, SIBLINGS, SPECIFIC = "own", "siblings", "specificity"
COLUMNS = (OWN, SIBLINGS, SPECIFIC, "at random")
ENDS = ("specificity low", "specificity high")


def compute(study: Study) -> Result:
    """Drops of activation by (features, k): on own images, on those of siblings, and what is specific."""
    surgery = open_surgery(study)
    result = Result(arrays={"neuron": study.neurons})
    keys = [(features, k) for features in study.features for k in study.ks]
    trials = [_Trial.of(study, surgery.source, features, k) for features, k in keys]
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
    best = highest(rows, SPECIFIC)
    title = f"{study.layer}: what is lost with half of a circuit, {study.neurons_in_words(known)}"
    shown = ["features", "k", *COLUMNS]
    columns = [*shown, *ENDS, *(f"{column} {share:g}" for share in SHARES for column in COLUMNS)]
    verdict = _verdict(study, rows, best, differences)
    result.tables += [Table("causal", title, columns, rows, _note(surgery), verdict, best, shown=shown), *differences]
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


def _note(surgery: Surgery) -> str:
    return (
        f"Drop of the neuron's activation, 1 for all of it, when the lower channels that carry {SHOWN:.0%} of a "
        f"virtual neuron's positive relevance at {', '.join(surgery.lower_layers)} {surgery.how_in_words()}; on up to "
        f"{MOST} images of each virtual neuron, held out from the clustering (halves). siblings: on the images of the "
        "other virtual neurons. specificity: own − siblings. at random: the specificity of channels drawn at random "
        "that carry as much. *: the most specific."
    )


@dataclass(frozen=True)
class _Case:
    """An image held out, and the virtual neuron that it is nearest to.

    Attributes
    ----------
    row : of the neuron in the study
    circuits : (V, D) mean relevances of the virtual neurons, by the other half of the references
    """

    row: int
    image: int
    own: int
    circuits: np.ndarray


@dataclass
class _Trial:
    """One kind of features and one k: all images held out."""

    cases: list[_Case] = field(default_factory=list)

    def by_neuron(self) -> Iterator[tuple[int, list[_Case]]]:
        rows = dict.fromkeys(case.row for case in self.cases)
        yield from ((row, [case for case in self.cases if case.row == row]) for row in rows)

    @classmethod
    def of(cls, study: Study, source: FeatureSource, features: str, k: int) -> _Trial:
        """Each half of a neuron's references is clustered, and the other one is given to its virtual neurons."""
        from pure_cli.core.clusters import virtual_neurons

        found = cls()
        image = study.sources.collected.layers[study.layer].top.image
        excites = study.excites()
        both = zip(study.rows(features), source.rows(study.neurons), strict=True)
        for row, (points, relevance) in enumerate(both):
            present = np.flatnonzero(excites[row])
            for half in (0, 1):
                learn, held = present[half::2], present[1 - half :: 2]
                if len(learn) < k or not len(held):
                    continue
                split = virtual_neurons(points[learn], np.ones(len(learn), bool), k, study.seed)
                if len(split.sizes) < 2:
                    continue
                circuits = np.stack([relevance[learn][split.labels == v].mean(axis=0) for v in range(len(split.sizes))])
                near = ((points[held][:, None] - split.centroids[None]) ** 2).sum(axis=-1).argmin(axis=1)
                for virtual in range(len(circuits)):
                    chosen = held[near == virtual][: MOST // 2]
                    found.cases += [
                        _Case(row, int(image[study.neurons[row], slot]), virtual, circuits) for slot in chosen
                    ]
        return found


def _measure(surgery: Surgery, neuron: int, cases: list[_Case]) -> np.ndarray:
    """(shares, columns) of one neuron."""
    random = np.random.default_rng([surgery.study.seed, neuron])
    whole = _scores(surgery, neuron, cases)
    found = np.full((len(SHARES), len(COLUMNS)), np.nan)
    for place, share in enumerate(SHARES):
        circuit, at_random = (
            partial(circuit_channels, share=share),
            partial(random_channels, share=share, random=random),
        )
        own, siblings = _drops(surgery, neuron, cases, whole, circuit)
        own_at_random, siblings_at_random = _drops(surgery, neuron, cases, whole, at_random)
        found[place] = own, siblings, own - siblings, own_at_random - siblings_at_random
    return found


def _drops(
    surgery: Surgery, neuron: int, cases: list[_Case], whole: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float]:
    """Mean drop on own images and on those of siblings, each virtual neuron's circuit counting as much."""
    pairs = [(place, cut) for place, case in enumerate(cases) for cut in range(len(case.circuits))]
    memory: dict[tuple[int, int], np.ndarray] = {}
    for place, cut in pairs:
        key = (id(cases[place].circuits), cut)
        if key not in memory:
            memory[key] = choose(cases[place].circuits[cut])
    masks = np.stack([memory[id(cases[place].circuits), cut] for place, cut in pairs])
    after = _scores(surgery, neuron, [cases[place] for place, _ in pairs], masks)
    lost = drop(whole[[place for place, _ in pairs]], after)
    is_own = np.array([cases[place].own == cut for place, cut in pairs])
    own, siblings = (float(np.nanmean(lost[of])) if of.any() else np.nan for of in (is_own, ~is_own))
    return own, siblings


def _scores(surgery: Surgery, neuron: int, cases: list[_Case], masks: np.ndarray | None = None) -> np.ndarray:
    """(M,) activations of the neuron on the images of cases, without the channels of masks (M, D)."""

    def score(firing: Firing) -> torch.Tensor:
        return firing.scores()[0][:, neuron].clamp(min=0)

    return surgery.read([case.image for case in cases], score, masks)


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
    yield "specificity", lines_over_k(rows, (SPECIFIC,))
    few = min((row["k"] for row in rows), default=0)
    curves = [
        {"features": row["features"], "k": share, **{name: row[f"{name} {share:g}"] for name in COLUMNS}}
        for row in rows
        if row["k"] == few
        for share in SHARES
    ]
    yield "curves", lines_over_k(curves, COLUMNS, across=f"share of the circuit that is cut out (k = {few})")


METRIC = Metric(compute, options=("ablation",), figures=_figures, version=3)
