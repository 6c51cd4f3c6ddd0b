"""What a file of `pure_cli.stages.evaluation` declares to be a metric, and how one of single neurons is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.settings.evaluate import EvaluateSettings
from pure_cli.stages.evaluation.study import Result, Study, Table, finite, highest
from pure_cli.stages.outcome import Outcome, Progress
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Figures = Iterable[tuple[str, "Figure"]]


def no_figures(tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]) -> Figures:
    return ()


@dataclass(frozen=True)
class Metric:
    """What can be measured of virtual neurons.

    Attributes
    ----------
    compute : from what is compared to per-neuron values and tables, of which the names begin with the metric's; None
        with `instead`
    judged : it needs embeddings that judge; ``Study.judge`` names them
    options : the settings of evaluate that nothing but such metrics heeds ("sample", "polysemantic"); "precision" where
        it runs the network
    figures : from its tables and the per-neuron values by their path to figures, each with the end of its file's name
    instead : for what another stage measures: does all of it
    beside : fingerprints of what it is made from beside clusterings and the judge's embeddings
    version : raised when it comes to compute something else
    """

    compute: Callable[[Study], Result] | None
    judged: bool = False
    options: tuple[str, ...] = ()
    figures: Callable[[list[dict[str, Any]], Callable[[str], np.ndarray]], Figures] = no_figures
    instead: Callable[[Store, EvaluateSettings, Progress], Outcome] | None = None
    beside: Callable[[Study], dict[str, str]] | None = None
    version: int = 2


@dataclass(frozen=True)
class Neuron:
    """One neuron of a study, split one way.

    Attributes
    ----------
    number : of the neuron in its layer
    k : virtual neurons that were asked for
    labels : (n,) int, the virtual neuron of each reference; -1 for none
    points : (n, D) float, the features that were clustered
    excites : (n,) bool, the references that excite it; the others say nothing
    embeddings : (n, E) float, the judge's; None where the metric is not judged
    seed : of every random choice
    """

    number: int
    k: int
    labels: np.ndarray
    points: np.ndarray
    excites: np.ndarray
    embeddings: np.ndarray | None
    seed: int


def by_neuron(
    measure: Callable[[Neuron], Mapping[str, float]],
    name: str,
    columns: Sequence[str],
    title: str,
    note: str,
    verdict: Callable[[Study, list[dict[str, Any]], int | None], str] | None = None,
) -> Callable[[Study], Result]:
    """The `compute` of a metric that looks at one neuron at a time: a row for each kind of features and k, with the
    mean over neurons and its error in each column; per-neuron values as ``FEATURES/kK/COLUMN`` in ``evaluate.h5``.

    Parameters
    ----------
    measure : gives a number for each of the columns, NaN where there is none
    name : of the table: that of the metric
    columns : names of what is measured
    title : what that is, in words
    note : how to read it
    verdict : from the rows and the place of the best by the first column to what is read first; no row is marked
        without one
    """

    def compute(study: Study) -> Result:
        from pure_cli.core.clusters import one_thread

        result = Result(arrays={"neuron": study.neurons})
        excites, rows = study.excites(), []
        judged = list(study.rows(study.judge)) if study.judge else [None] * len(study.neurons)
        keys = [(features, k) for features in study.features for k in study.ks]
        total, done, known = len(keys) * len(study.neurons), 0, np.zeros(len(study.neurons), bool)
        for features, k in keys:
            labels, found = study.labels(features, k), np.full((len(study.neurons), len(columns)), np.nan)
            with one_thread():
                for i, points in enumerate(study.rows(features)):
                    number = int(study.neurons[i])
                    values = measure(Neuron(number, k, labels[i], points, excites[i], judged[i], study.seed))
                    found[i] = [values[column] for column in columns]
                    study.progress(done := done + 1, total)
            known |= np.isfinite(found).all(axis=1)
            row: dict[str, Any] = {"features": features, "k": k}
            for place, column in enumerate(columns):
                result.arrays[f"{features}/k{k}/{column}"] = found[:, place]
                row[column] = finite(mean_and_error(found[:, place]))
            rows.append(row)
        judge = f" by {study.judge_in_words()}" if study.judge else ""
        whole = f"{study.layer}: {title}{judge}, {study.neurons_in_words(known)}"
        best = highest(rows, columns[0]) if verdict else None
        said = verdict(study, rows, best) if verdict else ""
        result.tables.append(Table(name, whole, ["features", "k", *columns], rows, note, said, best))
        return result

    return compute


def lines(*columns: str, ending: str = "lines") -> Callable[..., Figures]:
    """The `figures` of a metric with a row for each kind of features and k: its columns against k."""

    def figures(tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]) -> Figures:
        from pure_cli.views.evaluation import lines_over_k

        yield ending, lines_over_k(tables[0]["rows"], columns)

    return figures
