"""What a figure moves by where arbitrary choices are made again, and which figures of a column it leaves apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.core.reseeds import KEPT, TURNS, WIDER, is_ahead, kept_references, noise_of, split_again
from pure_cli.stages.evaluation.study import Result, Study, number

NOISE = "noise"  # behind the name of a column, in the name of that with its noise
SAYS = (
    f"±: standard error over neurons; noise: what the figure moves by with other references and another seed of "
    f"k-means (deviation over {TURNS} draws of {KEPT:.0%} of the references, scaled to new ones)."
)
BOLD = (
    "Bold: the best of a column, with what cannot be told apart from it: their difference (paired over neurons) is "
    "within its 95 % interval and twice the noise together; nothing is bold where that is all."
)

UNMEASURED = (
    "Bold: the best of a column, with what cannot be told apart from it: their difference (paired over neurons) is "
    "within its 95 % interval; nothing is bold where that is all. What other seeds and references would change is not "
    "measured: it takes the network again."
)


@dataclass(frozen=True)
class Scores:
    """The values of one column, by row of the table.

    Attributes
    ----------
    values : (N,) of each neuron; None for a row without any
    turns : (T, N) with other choices; None where they were not made again
    lower : less is better
    scale : of the standard deviation over turns
    """

    values: Sequence[np.ndarray | None]
    turns: Sequence[np.ndarray | None] = ()
    lower: bool = False
    scale: float = WIDER

    def noise(self, row: int, other: int | None = None) -> float:
        """Of the figure of a row, or of its difference from another row's; NaN where it was not measured."""
        turns = [self.turns[i] if i < len(self.turns) else None for i in (row, other) if i is not None]
        if any(one is None for one in turns):
            return np.nan
        own, *rest = turns
        return noise_of(own - rest[0] if rest else own, self.scale)  # type: ignore[operator, arg-type]

    def not_told_apart(self, seed: int, left_out: Sequence[int] = ()) -> list[int]:
        """The row with the best mean and those that it does not lead by more than noise; none where that is all.

        Parameters
        ----------
        seed : of the bootstrap
        left_out : rows that are no match for the others
        """
        sign = -1 if self.lower else 1
        known = {
            row: sign * values
            for row, values in enumerate(self.values)
            if values is not None and np.isfinite(values).any() and row not in left_out
        }
        if not known:
            return []
        best = max(known, key=lambda row: float(np.nanmean(known[row])))
        found = [
            row
            for row, values in known.items()
            if row == best or not is_ahead(known[best], values, self.noise(best, row), seed)
        ]
        return [] if len(found) == len(known) else found


def add_noise(rows: Sequence[dict[str, Any]], scores: Mapping[str, Scores]) -> None:
    """Set the noise of columns in the rows of a table, as ``COLUMN noise``."""
    for column, own in scores.items():
        for place, row in enumerate(rows):
            row[f"{column} {NOISE}"] = number(own.noise(place))


def bold(
    scores: Mapping[str, Scores], rows: Sequence[Mapping[str, Any]], seed: int, judge: str = ""
) -> dict[str, list[int]]:
    """By column, the rows whose figures are printed bold.

    Parameters
    ----------
    judge : whose own clusters are no match for the others
    """
    own = {judge, f"by {judge}"} if judge else set()
    left_out = [i for i, row in enumerate(rows) if own.intersection((row.get("features"), row.get("units")))]
    left_out = left_out if len(left_out) < len(rows) else []
    return {column: one.not_told_apart(seed, left_out) for column, one in scores.items()}


def reseeded(study: Study, features: str, k: int) -> np.ndarray:
    """(T, N, n) int16, the virtual neurons of the references that turns keep, by another seed each; -1 for the others.

    They are made once for all metrics.
    """
    key = (study.layer, features, study.neurons.tobytes())
    found = study.reseeds.get(key, {})
    if k not in found:
        found = split_again(list(study.rows(features)), list(kept_in_turns(study)), study.ks, study.seed)
        study.reseeds[key] = found
    return found[k]


def dealt(study: Study, features: str, k: int) -> np.ndarray:
    """(T, N, n) int16, the virtual neurons of references as if dealt at random, as many to each as it has."""
    labels = study.labels(features, k)
    found = np.repeat(labels[None].astype(np.int16), TURNS, axis=0)
    for i, neuron in enumerate(study.neurons.tolist()):
        known = np.flatnonzero(labels[i] >= 0)
        for turn in range(TURNS):
            order = np.random.default_rng([study.seed, turn, neuron]).permutation(known)
            found[turn, i, known] = labels[i, order]
    return found


def kept_in_turns(study: Study) -> np.ndarray:
    """(N, T, n) bool, the references that turns keep of each neuron."""
    return np.stack(
        [
            np.stack([kept_references(present, study.seed, turn, int(neuron)) for turn in range(TURNS)])
            for neuron, present in zip(study.neurons, study.excites(), strict=True)
        ]
    )


class Repeated(NamedTuple):
    """A score of parts of neurons, with other choices and by chance.

    Attributes
    ----------
    neurons : (T, N) of whole neurons, of the references that turns keep
    again : (features, k) to (T, N) of virtual neurons of other seeds and references, weighted by size
    by_chance : (features, k) to (N,) of references dealt at random
    """

    neurons: np.ndarray
    again: dict[tuple[str, int], np.ndarray]
    by_chance: dict[tuple[str, int], np.ndarray]

    def record(self, result: Result, rows: Sequence[dict[str, Any]], name: str, column: str, known: np.ndarray) -> None:
        """Keep the values of neurons under the name of the score, and set ``COLUMN by chance`` in the rows: of whole
        neurons, and of each kind of features and k."""
        rows[0][f"{column} by chance"] = None
        for row, (features, k) in zip(rows[1:], self.again, strict=True):
            row[f"{column} by chance"] = number(mean_and_error(self.by_chance[features, k][known])[0])
            result.arrays[f"{features}/k{k}/{name}-reseeded"] = self.again[features, k]
            result.arrays[f"{features}/k{k}/{name}-chance"] = self.by_chance[features, k]

    def scores(self, values: Iterable[np.ndarray], known: np.ndarray) -> Scores:
        """A column of the neurons that have all values: (N,) of whole neurons, and of each kind of features and k."""
        turns = [np.where(known, own, np.nan) for own in (self.neurons, *self.again.values())]
        return Scores([np.where(known, own, np.nan) for own in values], turns)


def repeated(study: Study, score: Callable[[int, np.ndarray, np.ndarray], np.ndarray]) -> Repeated:
    """A score of virtual neurons, of other references and seeds, and as if dealt at random.

    Parameters
    ----------
    score : of parts of the references of a neuron: its row in the study, the cosine similarities (n, n) of the judge's
        embeddings of its references, and members (P, n) bool; gives (P,)
    """
    from pure_cli.core.metrics.semantics import unit_vectors

    keys = [(features, k) for features in study.features for k in study.ks]
    splits = {key: np.concatenate([reseeded(study, *key), dealt(study, *key)]) for key in keys}  # (2T, N, n)
    kept, count = kept_in_turns(study), len(study.neurons)
    whole = np.full((TURNS, count), np.nan)
    found = {key: np.full((2 * TURNS, count), np.nan) for key in keys}
    for i, points in enumerate(study.rows(study.judge)):
        units = unit_vectors(points)
        products = units @ units.T
        whole[:, i] = score(i, products, kept[i])
        for (features, k), labels in splits.items():
            members = (labels[:, i, None] == np.arange(k)[:, None]).reshape(-1, labels.shape[-1])
            values, sizes = (one.reshape(-1, k) for one in (score(i, products, members), members.sum(axis=1)))
            weight = np.where(np.isfinite(values), sizes, 0)
            total = weight.sum(axis=1)
            mean = (np.nan_to_num(values) * weight).sum(axis=1) / np.maximum(total, 1)
            found[features, k][:, i] = np.where(total > 0, mean, np.nan)
    again = {key: values[:TURNS] for key, values in found.items()}
    return Repeated(whole, again, {key: values[TURNS:].mean(axis=0) for key, values in found.items()})
