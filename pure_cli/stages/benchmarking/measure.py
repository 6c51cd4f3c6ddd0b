"""How well methods find the meanings of a track's units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from pure_cli.artifacts import Track
from pure_cli.core.metrics.agreement import agreement
from pure_cli.core.metrics.statistics import Estimate, shared_mean
from pure_cli.stages.benchmarking.methods import Method
from pure_cli.stages.benchmarking.references import NotOpened, OpenTrack, References, UnitInputs, unopened

SEED = 0  # of the bootstrap


@dataclass(frozen=True)
class Scores:
    """What one method makes of the units.

    Attributes
    ----------
    method : which
    ari : (S, U) float, adjusted Rand index with the truth, where k is told, by seed; NaN for units of one meaning
    k : (U,) int, clusters where k is not told; 0 where that was not asked, or the method does not choose
    """

    method: Method
    ari: np.ndarray
    k: np.ndarray


@dataclass(frozen=True)
class Measured:
    """What all methods make of a track."""

    track: Track
    scores: list[Scores]

    def which(self, kind: str, count: int | None = None) -> np.ndarray:
        """(U,) bool, the units of a kind, with so many meanings."""
        own = np.array(self.track.kind) == kind
        return own if count is None else own & (self.track.count == count)

    def mean(self, values: np.ndarray, which: np.ndarray) -> Estimate:
        """Over units, with an interval that knows that they share parts."""
        rows = np.flatnonzero(which)
        return shared_mean(values[rows], [self.track.parts[row] for row in rows], SEED)

    def noise(self, scores: Scores, which: np.ndarray) -> float:
        """Standard deviation of the mean over units between seeds; NaN with a single one."""
        means = scores.ari[:, which].mean(axis=1)
        return float(means.std(ddof=1)) if len(means) > 1 else float("nan")

    def by_name(self, name: str) -> Scores | None:
        return next((one for one in self.scores if one.method.name == name), None)


def asks_for_k(track: Track) -> np.ndarray:
    """(U,) bool, units whose number of meanings is asked for: of the kinds that differ in it."""
    kinds, count = np.array(track.kind), track.count
    several = [kind for kind in dict.fromkeys(track.kind) if len(np.unique(count[kinds == kind])) > 1]
    return np.isin(kinds, several)


def try_out(track: Track, methods: Sequence[Method]) -> None:
    """Call the user's methods on the first unit until they ask for the network or the images, before these are opened.

    Raises
    ------
    PureError
        One fails, or gives no labels, without having looked at anything.
    """
    first, bench = 0, unopened(track)
    count = int(track.count[first])
    for method in methods:
        if method.is_users:
            with suppress(NotOpened):
                k = count if count > 1 else None
                _called(method, UnitInputs(bench, first, bench.network), track, k, track.seeds[0])


def measure(bench: OpenTrack, methods: Sequence[Method], progress: Callable[[int], None]) -> Measured:
    """Call every method on every unit, with each of the track's seeds; the user's on one unit of each kind first.

    Parameters
    ----------
    progress : called with how many units are done

    Raises
    ------
    PureError
        A method fails, or gives no labels.
    """
    track, asked = bench.track, asks_for_k(bench.track)
    ari = np.full((len(methods), len(track.seeds), len(track)), np.nan)
    chosen = np.zeros((len(methods), len(track)), np.int64)
    calls = list(_in_order(track, methods))
    for done, (unit, places) in enumerate(calls, 1):
        trained = UnitInputs(bench, unit, bench.network)
        untrained = UnitInputs(bench, unit, bench.untrained, trained)
        count = int(track.count[unit])
        for place in places:
            method = methods[place]
            own = untrained if method.untrained else trained
            for turn, seed in enumerate(track.seeds):
                if count > 1:
                    labels, order = _called(method, own, track, count, seed)
                    assert labels is not None, "k was told"
                    ari[place, turn, unit] = agreement(labels, track.truth[unit][order]).ari
            if asked[unit]:
                labels, _ = _called(method, own, track, None, track.seeds[0])
                chosen[place, unit] = 0 if labels is None else labels.max() + 1
        progress(len(track) * done // len(calls))
    return Measured(track, [Scores(*one) for one in zip(methods, ari, chosen, strict=True)])


def _in_order(track: Track, methods: Sequence[Method]) -> Iterator[tuple[int, list[int]]]:
    """Units with the places of the methods to call on them.

    A method of the user may be wrong: it is called on the first unit of each kind and number of meanings before those
    that come with pure take their time.
    """
    keys = list(zip(track.kind, track.count.tolist(), strict=True))
    first = [keys.index(key) for key in dict.fromkeys(keys)]
    users = [place for place, method in enumerate(methods) if method.is_users]
    others = [place for place in range(len(methods)) if place not in users]
    if users:
        yield from ((unit, users) for unit in first)
    for unit in range(len(track)):
        yield unit, others if unit in first else [*users, *others]


def _called(
    method: Method, own: UnitInputs, track: Track, k: int | None, seed: int
) -> tuple[np.ndarray | None, np.ndarray]:
    """What a method says of a unit, and the order in which it saw the references: that of the track would say much."""
    order = np.random.default_rng([seed, own.unit]).permutation(track.reference.shape[1])
    classes = track.label[track.reference[own.unit]][order]
    unit = f"unit {own.unit} ({track.kind[own.unit]})"
    return method.labels(References(own, order, k, seed), classes, unit), order
