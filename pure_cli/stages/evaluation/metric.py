"""What a file of `pure_cli.stages.evaluation` declares to be a metric, and how one of single neurons is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.settings.evaluate import EvaluateSettings
from pure_cli.stages.evaluation.noise import BOLD, NOISE, Scores, add_noise, bold
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
    by_module : looks at all layers that lie in a module together: one of them has the table where none was named
    beside : fingerprints of what it is made from beside clusterings and the judge's embeddings
    version : raised when it comes to compute something else
    """

    compute: Callable[[Study], Result] | None
    judged: bool = False
    options: tuple[str, ...] = ()
    figures: Callable[[list[dict[str, Any]], Callable[[str], np.ndarray]], Figures] = no_figures
    instead: Callable[[Store, EvaluateSettings, Progress], Outcome] | None = None
    by_module: bool = False
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
    measure: Callable[[Neuron], Mapping[str, float | np.ndarray]],
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
    measure : gives a number for each of the columns, NaN where there is none; or those of equally many repetitions,
        (T,): the mean of them counts, and has a column with its noise, the standard error over them
    name : of the table: that of the metric
    columns : names of what is measured
    title : what that is, in words
    note : how to read it
    verdict : from the rows and the place of the best by the first column to what is read first; no row is marked
        without one
    """

    def compute(study: Study) -> Result:
        result = Result(arrays={"neuron": study.neurons})
        excites, rows, measured = study.excites(), [], []
        judged = list(study.rows(study.judge)) if study.judge else [None] * len(study.neurons)
        keys = [(features, k) for features in study.features for k in study.ks]
        for place, (features, k) in enumerate(keys):
            own = _measured(measure, study, (features, k), excites, judged, columns, (place, len(keys)))
            row: dict[str, Any] = {"features": features, "k": k}
            for column in columns:
                result.arrays[f"{features}/k{k}/{column}"] = own.value(column)
                row[column] = finite(mean_and_error(own.value(column)))
            rows.append(row)
            measured.append(own)
        known = np.any([own.known(columns) for own in measured], axis=0)
        judge = f" by {study.judge_in_words()}" if study.judge else ""
        whole = f"{study.layer}: {title}{judge}, {study.neurons_in_words(known)}"
        if not verdict:
            result.tables.append(Table(name, whole, ["features", "k", *columns], rows, note))
            return result
        scores = {column: _scores(measured, column) for column in columns}
        noisy = {column: own for column, own in scores.items() if any(one is not None for one in own.turns)}
        add_noise(rows, noisy)
        shown = [part for column in columns for part in (column, *([f"{column} {NOISE}"] * (column in noisy)))]
        best, marked = highest(rows, columns[0]), bold(scores, rows, study.seed)
        said = verdict(study, rows, best)
        columns_shown = ["features", "k", *shown]
        result.tables.append(Table(name, whole, columns_shown, rows, f"{note} {BOLD}", said, best, bold=marked))
        return result

    return compute


class _Measured(NamedTuple):
    """What was measured of each neuron of one clustering: by column a number each, or (T,) of repetitions."""

    values: dict[str, list[np.ndarray]]

    def value(self, column: str) -> np.ndarray:
        """(N,) of the neurons."""
        return np.array([one.mean() for one in self.values[column]])

    def known(self, columns: Sequence[str]) -> np.ndarray:
        """(N,) bool, the neurons with a value in each column."""
        return np.all([np.isfinite(self.value(column)) for column in columns], axis=0)

    def turns(self, column: str) -> np.ndarray | None:
        """(T, N) of repetitions; None where there are none. A neuron without a value has NaN in all."""
        values = self.values[column]
        count = max((one.size for one in values), default=0)
        return np.stack([np.broadcast_to(one, (count,)) for one in values], axis=1) if count > 1 else None


def _measured(
    measure: Callable[[Neuron], Mapping[str, float | np.ndarray]],
    study: Study,
    key: tuple[str, int],
    excites: np.ndarray,
    judged: Sequence[np.ndarray | None],
    columns: Sequence[str],
    done: tuple[int, int],
) -> _Measured:
    """One clustering, where so many of so many are done."""
    from pure_cli.core.clusters import one_thread

    (features, k), count = key, len(study.neurons)
    labels, found = study.labels(features, k), _Measured({column: [] for column in columns})
    with one_thread():
        for i, points in enumerate(study.rows(features)):
            number = int(study.neurons[i])
            own = measure(Neuron(number, k, labels[i], points, excites[i], judged[i], study.seed))
            for column in columns:
                found.values[column].append(np.asarray(own[column], np.float64))
            study.progress(done[0] * count + i + 1, done[1] * count)
    return found


def _scores(measured: Sequence[_Measured], column: str) -> Scores:
    """A column of all clusterings."""
    turns = [own.turns(column) for own in measured]
    scale = next((len(one) ** -0.5 for one in turns if one is not None), 1.0)  # from deviation to error of the mean
    return Scores([own.value(column) for own in measured], turns, scale=scale)


def lines(*columns: str, ending: str = "lines") -> Callable[..., Figures]:
    """The `figures` of a metric with a row for each kind of features and k: its columns against k."""

    def figures(tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]) -> Figures:
        from pure_cli.views.evaluation import lines_over_k

        yield ending, lines_over_k(tables[0]["rows"], columns)

    return figures
