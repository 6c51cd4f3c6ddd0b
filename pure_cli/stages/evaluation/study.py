"""What every metric works on, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from pure_cli.artifacts import Clustering, clustering_path
from pure_cli.core.metrics.statistics import Estimate
from pure_cli.data.listing import Listing
from pure_cli.settings.evaluate import EvaluateSettings
from pure_cli.stages.embeddings.judges import weights_of
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.outcome import Progress
from pure_cli.words import counted, listed


@dataclass(frozen=True)
class Study:
    """One layer, its neurons, and all clusterings that are compared.

    Attributes
    ----------
    neurons : (N,) int64, those that have every kind of features
    features : kinds that are compared
    ks : numbers of clusters
    judge : the kind of embedding that judges, "" where the metric needs none
    threshold : inter − intra of the judge's own clusters above which a neuron counts as polysemantic; None for the
        paper's, in the judge's scale
    sample : images of the whole data set to look at too, where a metric can
    how : networks are run, and channels cut out
    notes : gets what the user should know
    reseeds : what `pure_cli.stages.evaluation.noise.reseeded` has made, for studies of other judges too
    """

    sources: Sources
    layer: str
    neurons: np.ndarray
    features: list[str]
    ks: list[int]
    judge: str
    seed: int
    threshold: float | None
    sample: int
    how: EvaluateSettings
    clusterings: dict[str, Clustering]
    progress: Progress
    notes: list[str] = field(default_factory=list)
    reseeds: dict[tuple[Any, ...], dict[int, np.ndarray]] = field(default_factory=dict)

    def clustering(self, features: str, k: int) -> Clustering:
        return self.clusterings[clustering_path(self.layer, features, k)]

    def labels(self, features: str, k: int) -> np.ndarray:
        """(N, n) int, the virtual neuron of every reference of the study's neurons; -1 for none."""
        clustering = self.clustering(features, k)
        return clustering.label[np.searchsorted(clustering.neuron, self.neurons)]

    def source(self, features: str) -> FeatureSource:
        return self.sources.features_of(self.layer, features)

    def rows(self, features: str) -> Iterator[np.ndarray]:
        """Features (n, D) of the references of each neuron."""
        return self.source(features).rows(self.neurons)

    def readable(self, listing: Listing) -> np.ndarray:
        """Data-set indices of the images that can be read, ascending."""
        damaged = [index for index, _, _ in self.sources.collected.damaged]
        return np.setdiff1d(listing.index, damaged)

    def neurons_in_words(self, known: np.ndarray) -> str:
        """In words, which neurons have values, (N,) bool."""
        count = int(known.sum())
        if count == len(known):
            return counted(count, "neuron")
        whole = counted(len(known), "neuron")
        if not count:
            return f"none of {whole} has enough references that excite it"
        return f"{count:,} of {whole} (too few references excite the others)"

    def judge_in_words(self) -> str:
        """In words, the embeddings that judge."""
        weights = weights_of(self.sources.embedded[self.layer, self.judge].recipe)
        return f"{self.judge} embeddings" + (f" ({weights})" if weights else "")

    def excites(self) -> np.ndarray:
        """(N, n) bool, the references that excite their neuron."""
        return np.stack([self.sources.excites(self.layer, int(c)) for c in self.neurons])


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes
    ----------
    name : short, for files
    title : a sentence
    columns : names
    rows : values by column: numbers, texts, yes or no, a pair (mean, error), or None for what is not there
    note : what the reader has to know
    verdict : what the table says, in one to three sentences; the tables that have one are what is read first
    best : place of the row that is marked
    intervals : by column, the two columns with the ends of its confidence interval
    shown : columns that are read first, and also others that `columns` lacks; the last ones stand where there is room
    bold : by column, the rows whose figures are printed bold; None where the row that is marked is
    beside : columns that only the CSV has
    headline : the column that the figures of controls stand beside; "" for the first one with errors
    """

    name: str
    title: str
    columns: list[str]
    rows: list[dict[str, Any]]
    note: str = ""
    verdict: str = ""
    best: int | None = None
    intervals: dict[str, tuple[str, str]] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    bold: dict[str, list[int]] | None = None
    beside: list[str] = field(default_factory=list)
    headline: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass
class Result:
    """What a metric found.

    Attributes
    ----------
    arrays : path in the metric's group of ``evaluate.h5`` to per-neuron values
    tables : for the reader
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)


def number(value: float) -> float | None:
    """A value for a table; None where there is none."""
    return float(value) if np.isfinite(value) else None


def finite(pair: tuple[float, float]) -> list[float | None]:
    """Mean and error for a table."""
    return [number(value) for value in pair]


def interval(name: str, estimate: Estimate) -> dict[str, float | None]:
    """A value for a table with the ends of its interval, in the columns that `spread` names."""
    return dict(zip(spread(name), map(number, (estimate.mean, estimate.low, estimate.high)), strict=True))


def spread(name: str) -> list[str]:
    """A column, and those with the ends of its interval."""
    return [name, f"{name} low", f"{name} high"]


def ends(*names: str) -> dict[str, tuple[str, str]]:
    """The columns with the ends of intervals, as `Table.intervals` has them."""
    return {name: (f"{name} low", f"{name} high") for name in names}


def highest(rows: Sequence[Mapping[str, Any]], column: str, judge: str = "") -> int | None:
    """Place of the row with the highest mean; None where no row has one.

    Parameters
    ----------
    judge : whose own clusters are no match for the others: they are left out if there are others
    """
    means = {i: row[column][0] for i, row in enumerate(rows) if row.get(column) and row[column][0] is not None}
    own = (judge, f"by {judge}")
    fair = {
        i: mean for i, mean in means.items() if not {rows[i].get("features"), rows[i].get("units")}.intersection(own)
    }
    means = fair or means
    return max(means, key=lambda i: means[i]) if means else None


def after_the_split(study: Study, rows: Sequence[Mapping[str, Any]], column: str, score: str) -> tuple[str, int | None]:
    """What the split makes of a score of the neurons, the first row, where higher is better; and the best other row."""
    best = highest(rows[1:], column, study.judge)
    if best is None or rows[0][column][0] is None:
        return (
            f"The neurons of '{study.layer}' have too few references to compare them with their virtual neurons.",
            None,
        )
    after, before = rows[best + 1], rows[0][column][0]
    value = after[column][0]
    how = "purer" if value > before else "no purer"
    verdict = f"Split {after['units']} at k = {after['k']}, the neurons of '{study.layer}' are {how} to {study.judge}"
    return f"{verdict}: {score} {before:.3g} before, {value:.3g} after.", best + 1


class Virtual(NamedTuple):
    """The virtual neurons of a study by one clustering.

    Attributes
    ----------
    neuron, cluster, size : (V,) int64
    row : (V,) int64, the place of the neuron in the study
    members : (V, n) bool, its references
    """

    neuron: np.ndarray
    cluster: np.ndarray
    size: np.ndarray
    row: np.ndarray
    members: np.ndarray

    def by_neuron(self, values: np.ndarray, count: int) -> np.ndarray:
        """Mean of (V,) values for each of `count` neurons, weighted by size; NaN is left out, and where there is none.

        Returns
        -------
        (count,) float64
        """
        known = np.isfinite(values)
        weight = np.bincount(self.row[known], self.size[known], count)
        total = np.bincount(self.row[known], self.size[known] * values[known], count)
        return np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)

    def arrays(self, path: str, **values: np.ndarray) -> dict[str, np.ndarray]:
        """Their names and values, for ``evaluate.h5``."""
        named = {"neuron": self.neuron, "cluster": self.cluster, "size": self.size, **values}
        return {f"{path}/virtual/{name}": array for name, array in named.items()}


def virtual_neurons(study: Study, features: str, k: int) -> Virtual:
    """The virtual neurons of a study's neurons, neuron after neuron."""
    labels = study.labels(features, k)
    row, cluster = np.nonzero((labels[:, :, None] == np.arange(k)).any(axis=1))
    members = labels[row] == cluster[:, None]
    return Virtual(study.neurons[row], cluster, members.sum(axis=1), row, members)


def compared(study: Study, scores: Mapping[tuple[str, int], np.ndarray], name: str, title: str) -> list[Table]:
    """Every kind of features against the first, paired over neurons; nothing where there is a single kind.

    Parameters
    ----------
    scores : (features, k) to (N,) values, higher is better
    """
    from pure_cli.core.metrics.statistics import paired_difference

    first, *others = study.features
    rows = []
    for k in study.ks:
        for other in others:
            found = paired_difference(scores[first, k], scores[other, k], study.seed)
            rows.append(
                {
                    "features": f"{first} against {other}",
                    "k": k,
                    "difference": number(found.mean),
                    "low": number(found.low),
                    "high": number(found.high),
                    "wins": number(found.wins),
                    "p": number(found.p),
                }
            )
    note = (
        "Difference: mean over neurons; low, high: its 95 % bootstrap interval; wins: share of neurons where the first "
        "is ahead; p: Wilcoxon signed-rank test."
    )
    columns = ["features", "k", "difference", "low", "high", "wins", "p"]
    return [Table(name, title, columns, rows, note, intervals={"difference": ("low", "high")})] if rows else []


def ahead_and_behind(study: Study, differences: Sequence[Table]) -> str:
    """In a sentence, which kinds of features the first is ahead of at the smallest k; "" where there is nothing to say.

    Parameters
    ----------
    differences : of `compared`
    """
    rows = [row for table in differences for row in table.rows if row["k"] == min(study.ks)]
    found: dict[str, list[str]] = {"ahead of": [], "behind": [], "not told apart from": []}
    for row, other in zip(rows, study.features[1:], strict=False):
        if row["low"] is not None and row["high"] is not None:
            how = "ahead of" if row["low"] > 0 else "behind" if row["high"] < 0 else "not told apart from"
            found[how].append(other)
    parts = [f"{how} {listed(names)}" for how, names in found.items() if names]
    if not parts:
        return ""
    return f"Neuron by neuron, {study.features[0]} at k = {min(study.ks)} is {listed(parts)} (95 % intervals)."
