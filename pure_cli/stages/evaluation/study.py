"""What every metric works on, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pure_cli.artifacts import Clustering, clustering_path
from pure_cli.config import Running
from pure_cli.stages.common import Progress
from pure_cli.stages.judges import weights_of
from pure_cli.stages.sources import FeatureSource, Sources
from pure_cli.words import counted


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
    how : networks are run
    notes : gets what the user should know
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
    how: Running
    clusterings: dict[str, Clustering]
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def clustering(self, features: str, k: int) -> Clustering:
        return self.clusterings[clustering_path(self.layer, features, k)]

    def labels(self, features: str, k: int) -> np.ndarray:
        """(N, n) int, the virtual neuron of every reference of the study's neurons; -1 for none."""
        clustering = self.clustering(features, k)
        return clustering.label[np.searchsorted(clustering.neuron, self.neurons)]

    def source(self, features: str) -> FeatureSource:
        return self.sources.of(self.layer, features)

    def rows(self, features: str) -> Iterator[np.ndarray]:
        """Features (n, D) of the references of each neuron."""
        return self.source(features).rows(self.neurons)

    def who(self, known: np.ndarray) -> str:
        """In words, which neurons have values, (N,) bool."""
        count = int(known.sum())
        if count == len(known):
            return counted(count, "neuron")
        whole = counted(len(known), "neuron")
        if not count:
            return f"none of {whole} has enough references that excite it"
        return f"{count:,} of {whole} (too few references excite the others)"

    def by(self) -> str:
        """In words, who judges."""
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
    rows : values by column; a pair (mean, error) is shown as mean ± error, None as a dash
    note : what the reader has to know
    """

    name: str
    title: str
    columns: list[str]
    rows: list[dict[str, Any]]
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "columns": self.columns,
            "rows": self.rows,
            "note": self.note,
        }


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
    return [Table(name, title, columns, rows, note)] if rows else []
