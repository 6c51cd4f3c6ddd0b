"""What every metric works on, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pure_cli.artifacts import Clustering, clustering_path
from pure_cli.stages.common import Progress
from pure_cli.stages.sources import FeatureSource, Sources


@dataclass(frozen=True)
class Study:
    """One layer, its neurons, and all clusterings that are compared.

    Attributes
    ----------
    neurons : (N,) int64, those that have every kind of features
    features : kinds that are compared
    ks : numbers of clusters
    judge : the kind of embedding that judges, "" where the metric needs none
    threshold : inter − intra of the judge's own clusters above which a neuron counts as polysemantic
    sample : images of the whole data set to look at too, where a metric can
    device : where to run networks
    """

    sources: Sources
    layer: str
    neurons: np.ndarray
    features: list[str]
    ks: list[int]
    judge: str
    seed: int
    threshold: float
    sample: int
    device: str
    clusterings: dict[str, Clustering]
    progress: Progress

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


def compared(study: Study, scores: Mapping[tuple[str, int], np.ndarray], name: str, title: str) -> Table:
    """Every kind of features against the first, paired over neurons.

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
                    "95 % interval": f"{found.low:.3f} … {found.high:.3f}" if np.isfinite(found.low) else None,
                    "wins": number(found.wins),
                    "p": number(found.p),
                }
            )
    note = (
        "Difference: mean over neurons, with a bootstrap interval; wins: share of neurons where the first is ahead; "
        "p: Wilcoxon signed-rank test."
    )
    return Table(name, title, ["features", "k", "difference", "95 % interval", "wins", "p"], rows, note)
