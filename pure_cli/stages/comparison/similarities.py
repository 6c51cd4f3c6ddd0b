"""How alike all units of A and B are by one measure, and how alike they are by chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pure_cli.artifacts import Apart, Block, Similarities, block_order
from pure_cli.core.matching import ASSIGNED, Likeness, contrasts, dealt_within, one_to_one
from pure_cli.data.labels import UNKNOWN_LABEL
from pure_cli.errors import PureError
from pure_cli.settings.compare import CompareSettings
from pure_cli.settings.shared import NEURONS, VIRTUAL
from pure_cli.stages.comparison.images import CommonImages
from pure_cli.stages.comparison.measures import Measure, UnitPair
from pure_cli.stages.comparison.sides import NAMES
from pure_cli.stages.inputs.units import WHOLE

KINDS = (NEURONS, VIRTUAL)
Done = Callable[[int], None]


def steps_of(settings: CompareSettings) -> int:
    """Shuffles of all sorts, of one measure."""
    return 4 * settings.shuffles


def similarities(
    measure: Measure, units: UnitPair, common: CommonImages, settings: CompareSettings, done: Done
) -> Similarities:
    """By one measure.

    Parameters
    ----------
    done : called with the number of shuffles that were made more, `steps_of` in all

    Raises
    ------
    PureError
        One side has nothing that can be compared by it.
    """
    units = measure.covered(units)
    for name, own in zip(NAMES, units, strict=True):
        if not len(own):
            raise PureError(f"Nothing of {name} can be compared by {measure.name}: no neuron of it has a reference.")
    likeness = measure.likeness(units)
    matrix = likeness.matrix()
    kinds = [[kind for kind in KINDS if len(own.places(kind))] for own in units]
    chance = _Chance(likeness, units, sorted(((a, b) for a in kinds[0] for b in kinds[1]), key=block_order))
    count = settings.shuffles
    everywhere = chance.highest(np.zeros(len(likeness.columns), np.int64), settings.seed, count, done)
    label = common.label[likeness.columns]
    classes = None
    if len(np.unique(label[label != UNKNOWN_LABEL])) > 1:
        classes = chance.highest(label, settings.seed, count, done)
    else:
        done(count)
    blocks = {}
    for pair, (places_a, places_b) in chance.places.items():
        shuffled_a, shuffled_b, paired = everywhere[pair]
        none = np.zeros((0, len(places_a)), np.float32), np.zeros((0, len(places_b)), np.float32)
        classes_a, classes_b = classes[pair][:2] if classes else none
        pair_a, pair_b = one_to_one(matrix[np.ix_(places_a, places_b)])
        blocks[pair] = Block(places_a, places_b, shuffled_a, shuffled_b, classes_a, classes_b, pair_a, pair_b, paired)
    apart = [_apart(measure, units, side, matrix if side == 0 else matrix.T, settings, done) for side in (0, 1)]
    unit_a, unit_b = (own.identity for own in units)
    return Similarities(measure.name, measure.way, unit_a, unit_b, matrix, blocks, (apart[0], apart[1]))


class _Chance:
    """The highest similarities where B's images are shuffled, and so those of each unit are others.

    Parameters
    ----------
    pairs : kinds of units in A and B
    """

    def __init__(self, likeness: Likeness, units: UnitPair, pairs: list[tuple[str, str]]):
        self._likeness, self.pairs = likeness, pairs
        a, b = units
        self.places = {(of, among): (a.places(of), b.places(among)) for of, among in pairs}

    def highest(
        self, groups: np.ndarray, seed: int, count: int, done: Done
    ) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each pair of kinds (S, N) of the units of A, (S, M) of those of B, and (T,) the mean of one-to-one pairs.

        Parameters
        ----------
        groups : (Q,) columns of the same number are shuffled among themselves
        """
        random = np.random.default_rng([seed, len(groups)])
        found: dict[tuple[str, str], tuple[np.ndarray, np.ndarray, list[float]]] = {
            pair: (np.empty((count, len(a)), np.float32), np.empty((count, len(b)), np.float32), [])
            for pair, (a, b) in self.places.items()
        }
        for shuffle in range(count):
            matrix = self._likeness.matrix(dealt_within(groups, random))
            for pair, (a, b) in self.places.items():
                part, (of_a, of_b, paired) = matrix[np.ix_(a, b)], found[pair]
                of_a[shuffle], of_b[shuffle] = part.max(axis=1), part.max(axis=0)
                if shuffle < ASSIGNED and pair[0] == pair[1]:
                    paired.append(float(part[one_to_one(part)].mean()))
            done(1)
        return {pair: (a, b, np.array(paired, np.float32)) for pair, (a, b, paired) in found.items()}


def _apart(
    measure: Measure, units: UnitPair, side: int, matrix: np.ndarray, settings: CompareSettings, done: Done
) -> Apart | None:
    """Of the neurons of A (0) or B (1), whether their virtual neurons match different neurons of the other side.

    Parameters
    ----------
    matrix : similarities, that side's units as rows
    """
    own, other = units[side], units[1 - side]
    virtual, neurons = own.places(VIRTUAL), other.places(NEURONS)
    rows, owner = np.unique(own.row[virtual], return_inverse=True)
    if not len(virtual) or not len(neurons) or np.bincount(owner).max() < 2:
        done(settings.shuffles)
        return None
    random, several = np.random.default_rng([settings.seed, side, len(virtual)]), np.bincount(owner) > 1
    pair = [own.only(virtual), other.only(neurons)]
    dealt = np.empty((settings.shuffles, len(rows)))
    for shuffle in range(settings.shuffles):
        chosen = (pair[0], pair[1]) if side == 0 else (pair[1], pair[0])
        dealt[shuffle] = contrasts(measure.likeness(chosen, side, random).matrix(), owner)
        done(1)
    contrast = contrasts(matrix[np.ix_(virtual, neurons)], owner)
    assert (own.part[virtual] != WHOLE).all()
    return Apart(own.neuron[rows[several]], contrast[several], dealt[:, several])
