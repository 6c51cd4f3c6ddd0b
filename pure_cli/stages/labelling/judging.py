"""How good the labels of units are, on images that had no part in their choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pure_cli.artifacts.labels import BY_CLASSES, BY_IMAGES, CHANCE, GIVEN, RARE
from pure_cli.core.labelling import Presence
from pure_cli.core.metrics.detection import (
    Ranking,
    average_precision,
    best_threshold,
    by_chance,
    correlations,
    f1,
    gain,
    skill,
    union,
)
from pure_cli.data.listing import UNKNOWN_LABEL
from pure_cli.stages.inputs.units import WHOLE, Units
from pure_cli.stages.labelling.choosing import best_by_correlation
from pure_cli.stages.labelling.images import Seen

FEWEST = 3  # images with a concept to be expected, for a judgement
MOST = 3  # labels of a unit
RESAMPLES, SURE = 100, 2.0  # of the gain by a further label: bootstrap samples, and standard errors that it has to have
WORTH = 0.1  # of what is told without it, that a further label adds at least
UNITS = 64  # at a time


@dataclass(frozen=True, eq=False)
class Presences:
    """In which images concepts are.

    Attributes
    ----------
    by_images : by the vectors of images
    label : (C,) int64, the class that each concept names, -1 for none
    """

    seen: Seen
    by_images: Presence
    label: np.ndarray

    def of(self, chosen: np.ndarray) -> np.ndarray:
        """(P, K) float, 0 to 1, of some concepts (K,): by classes where they name some and all images have one."""
        found = self.by_images.of(chosen)
        true = self.ways(chosen) == BY_CLASSES
        found[:, true] = self.seen.label[:, None] == self.label[chosen[true]]
        return found

    def ways(self, chosen: np.ndarray) -> np.ndarray:
        """(K,) int8, by what the presence of some concepts is told."""
        known = (self.label[chosen] != UNKNOWN_LABEL) & (self.seen.label != UNKNOWN_LABEL).all()
        return np.where(known, BY_CLASSES, BY_IMAGES).astype(np.int8)


def first_places(activation: np.ndarray, concept: np.ndarray, presences: Presences, seed: int) -> np.ndarray:
    """(U, T) places of concepts: the one that tells images of the choosing half best comes first, where it does so by
    more than the noise; the others as they were.

    Parameters
    ----------
    activation : (P, U) float
    concept : (U, T) int64, that fit best, the best first; -1 for none
    """
    choosing = ~presences.seen.judges
    order = np.tile(np.arange(concept.shape[1]), (len(concept), 1))
    for start in range(0, len(concept), UNITS):
        rows = [u for u in range(start, min(start + UNITS, len(concept))) if (concept[u] >= 0).all()]
        used = np.unique(concept[rows]) if rows else np.zeros(0, np.int64)
        here = presences.of(used)[choosing]
        for u in rows:
            own, there = activation[choosing, u], here[:, np.searchsorted(used, concept[u])]
            best = int(np.argmax(np.nan_to_num(skill(Ranking.of(own), there), nan=-np.inf)))
            if best:
                higher, error = gain(own, there[:, 0], there[:, best], RESAMPLES, seed)
                if higher > SURE * error:
                    order[u] = [best, *np.delete(order[u], best)]
    return order


def judged(
    units: Units, concept: np.ndarray, presences: Presences, shuffles: int, seed: int, done: Callable[[int], None]
) -> dict[str, np.ndarray]:
    """Arrays of `pure_cli.artifacts.labels.Labels`, of units whose concepts (U, T) were chosen.

    Parameters
    ----------
    done : called with the number of units that are done more
    """
    seen, top = presences.seen, concept.shape[1]
    choosing = np.flatnonzero(~seen.judges)
    more = best_by_correlation(
        seen.activation[choosing], lambda chosen: presences.of(chosen)[choosing], len(presences.label), top
    )
    first = {(int(units.neuron[units.row[u]]), int(units.part[u])): int(concept[u, 0]) for u in range(len(units))}
    found: dict[str, list[Any]] = {}
    for start in range(0, len(units), UNITS):
        rows = range(start, min(start + UNITS, len(units)))
        candidates = {u: _candidates(units, u, concept[u], more[u], first) for u in rows if (concept[u] >= 0).all()}
        used = np.unique(np.concatenate([*candidates.values(), np.zeros(1, np.int64)]))
        here = presences.of(used)
        for u in rows:
            answer = _nothing(top)
            if (own := candidates.get(u)) is not None:
                case = _Case(seen, seen.activation[:, u], here[:, np.searchsorted(used, own)], own, shuffles, seed)
                answer = case.judgement(top)
            for name, value in answer.items():
                found.setdefault(name, []).append(value)
            done(1)
    ways = presences.ways(concept.ravel()).reshape(concept.shape)
    return {name: np.array(values) for name, values in found.items()} | {"present": np.where(concept >= 0, ways, 0)}


def _candidates(
    units: Units, unit: int, chosen: np.ndarray, more: np.ndarray, first: dict[tuple[int, int], int]
) -> np.ndarray:
    """Concepts that a unit may be called by: those chosen, those of its virtual neurons, those that go with its
    activation; each once."""
    neuron = int(units.neuron[units.row[unit]])
    parts = [label for (own, part), label in first.items() if own == neuron and part != WHOLE and label >= 0]
    of_parts = parts if units.part[unit] == WHOLE else []
    return np.array(list(dict.fromkeys([*chosen.tolist(), *of_parts, *more.tolist()])), np.int64)


def _nothing(top: int) -> dict[str, Any]:
    """Of a unit that no concept could be chosen for."""
    none = np.full(top, np.nan, np.float32)
    same = {"auprc": none, "chance": none, "pearson": none, "f1": none, "limit": np.float32(np.nan)}
    return {**same, "label": np.full(MOST, -1, np.int64), "verdict": np.int8(RARE)}


@dataclass(frozen=True, eq=False)
class _Case:
    """A unit and the concepts that it may be called by.

    Attributes
    ----------
    activation : (P,)
    presence : (P, K)
    concept : (K,), those chosen first
    """

    seen: Seen
    activation: np.ndarray
    presence: np.ndarray
    concept: np.ndarray
    shuffles: int
    seed: int

    def judgement(self, top: int) -> dict[str, Any]:
        judges, chosen = self.seen.judges, self.presence[:, :top]
        own, ranking = self.activation[judges], Ranking.of(self.activation[judges])
        threshold = best_threshold(self.activation[~judges], chosen[~judges])
        chance = by_chance(ranking, chosen[judges, 0], self.shuffles, self.seed)
        area = average_precision(ranking, chosen[judges])
        rare = chosen[judges, 0].sum() < FEWEST or own.min() == own.max()
        verdict = RARE if rare else GIVEN if area[0] > chance.max() else CHANCE
        return {
            "auprc": area.astype(np.float32),
            "chance": chosen[judges].mean(axis=0).astype(np.float32),
            "pearson": correlations(own[:, None], chosen[judges])[0].astype(np.float32),
            "f1": f1(own, chosen[judges], threshold).astype(np.float32),
            "limit": np.float32(chance.max()),
            "label": self._labels() if verdict == GIVEN else self._padded([0]),
            "verdict": np.int8(verdict),
        }

    def _padded(self, places: list[int]) -> np.ndarray:
        return np.array([*self.concept[places].tolist(), *[-1] * (MOST - len(places))], np.int64)

    def _labels(self) -> np.ndarray:
        """(L,) the concepts that tell the unit's images best together: each further one is chosen on one half, and
        kept where it helps on the other, by more than the noise and by something."""
        judges, places = self.seen.judges, [0]
        ranking = Ranking.of(self.activation[~judges])
        while len(places) < MOST:
            before = self.presence[:, places[0]]
            for place in places[1:]:
                before = union(before, self.presence[:, place])
            after = union(before[:, None], self.presence)
            found = skill(ranking, after[~judges])
            found[places] = -np.inf
            best, alone = int(np.nanargmax(found)), float(skill(ranking, before[~judges]))
            if found[best] <= alone:
                break
            higher, error = gain(
                self.activation[judges], before[judges], after[judges, best], RESAMPLES, self.seed + len(places)
            )
            if not higher > max(SURE * error, WORTH * alone):
                break
            places.append(best)
        return self._padded(places)
