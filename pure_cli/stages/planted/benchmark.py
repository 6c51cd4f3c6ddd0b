"""The benchmark on units with known meanings: what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pure_cli.artifacts import Collected, read_collected
from pure_cli.core.features import Kind
from pure_cli.core.metrics.agreement import agreement
from pure_cli.core.metrics.statistics import Estimate, shared_mean
from pure_cli.data.listing import UNKNOWN_LABEL, Listing
from pure_cli.errors import PureError, unknown
from pure_cli.settings.calibrate import CalibrateSettings
from pure_cli.stages.inputs.freshness import require_unchanged
from pure_cli.stages.outcome import Progress
from pure_cli.stages.planted.candidates import LEVELS, MERGED, SUMS, UNIONS
from pure_cli.stages.planted.dataset_pass import UnitPass
from pure_cli.stages.planted.scores import LEAKING, MEAN_MAPS, RecipeScores, Units, judged, kinds_for, leaks, score
from pure_cli.stages.planted.specificity import specificities
from pure_cli.stages.planted.units import HALVES, TRIES, LayerUnderTest, make_units, release
from pure_cli.stages.runtime.images import first_image
from pure_cli.stages.runtime.network import open_network
from pure_cli.stages.runtime.soundness import require_sound
from pure_cli.waiting import waiting_for
from pure_cli.words import printable
from pure_cli.workspace import Store

UNITS = 90  # of each kind and number of meanings, where the data have them
LEAK_UNITS = 24  # of each kind that the checks look at
LEAK = 0.2  # of what features find, from which on a check that finds it too speaks of a leak
JUDGED = 2  # kinds by relevance and of activations, beside the paper's, whose number of meanings is looked at
LAYERS = 5  # lower layers that are tried at most
NAMED = 4  # classes that a sentence names
STEPS = 100  # of the progress
UNTESTABLE = "not testable"  # for leaks; see Benchmark.testable


@dataclass(frozen=True)
class Benchmark:
    """All that was measured on a layer.

    Attributes
    ----------
    kinds : of features; the first is the paper's recipe
    scores : of each
    leak : (kind of unit, features, check) to adjusted Rand indices
    specific : features to the specificity of a few units of the kind that judges without labels look at
    notes : sentences that the user should read
    """

    layer: str
    units: Units
    kinds: list[str]
    scores: dict[str, RecipeScores]
    leak: dict[tuple[str, str, str], np.ndarray]
    specific: dict[str, np.ndarray]
    seed: int
    notes: Sequence[str] = ()

    @property
    def paper(self) -> str:
        return self.kinds[0]

    def which(self, kind: str, count: int | None = None) -> np.ndarray:
        """(U,) bool, the units of a kind, with so many meanings."""
        own = self.units.kind == kind
        return own if count is None else own & (self.units.count == count)

    def fewest(self, kind: str) -> int:
        """The least number of meanings above one that units of a kind have; 2 where there are none."""
        counts = self.units.count[self.which(kind)]
        return int(counts[counts > 1].min()) if (counts > 1).any() else 2

    def mean(self, values: np.ndarray, which: np.ndarray) -> Estimate:
        rows = np.flatnonzero(which)
        return self.over(values[rows], [self.units.parts[row] for row in rows])

    def over(self, values: np.ndarray, parts: Sequence[tuple[int, ...]]) -> Estimate:
        """The mean over units, with its interval.

        Parameters
        ----------
        values : (N,) float
        parts : of each unit; those that share one are no two observations
        """
        return shared_mean(values, parts, self.seed)

    @property
    def without_labels(self) -> str:
        """The kind of units that judges without labels look at."""
        return source_of(self.units)

    def proxies(self, features: str, kind: str) -> tuple[float, float]:
        """Of units with two meanings: stability of the splits between bootstrap samples, and mean agreement with the
        splits by features of other layers."""
        own, rows = self.scores[features], np.flatnonzero(self.which(kind, 2))
        others = [one for one in self.kinds if Kind.of(one).lower_layers != Kind.of(features).lower_layers]
        agree = [agreement(own.label[row], self.scores[one].label[row]).ari for one in others for row in rows]
        return float(np.nanmean(own.stability[rows])), float(np.mean(agree)) if agree else float("nan")

    def alone(self, values: np.ndarray) -> Estimate:
        """The mean of a few units that were looked at, taken as independent."""
        return shared_mean(values, [(row,) for row in range(len(values))], self.seed)

    def testable(self, features: str, kind: str) -> bool:
        """Whether the checks could find a leak: of activations they find nothing by their nature."""
        looked_at = [self.leak.get((kind, features, check), np.empty(0)) for check in LEAKING]
        return bool(Kind.of(features).transform) and all(np.isfinite(self.alone(one).low) for one in looked_at)

    def leaks(self, features: str, kind: str = UNIONS) -> list[str]:
        """The checks that find a fifth of what the features find, where there should be nothing."""
        return self._finding(LEAKING, features, kind)

    def by_place(self, features: str, kind: str = UNIONS) -> bool:
        """Whether a fifth of what the features find is left where all images have the same maps: what is told by where
        in the image the unit fires, which is no leak, and no circuit."""
        return bool(self._finding((MEAN_MAPS,), features, kind))

    def _finding(self, checks: Sequence[str], features: str, kind: str) -> list[str]:
        own = self.mean(self.scores[features].ari, self.which(kind, self.fewest(kind))).mean
        found = {check: self.alone(self.leak.get((kind, features, check), np.empty(0))) for check in checks}
        return [check for check, estimate in found.items() if estimate.low > 0 and estimate.mean >= LEAK * own]

    def leaks_in_words(self, features: str, kind: str) -> str:
        return ", ".join(self.leaks(features, kind)) or ("none found" if self.testable(features, kind) else UNTESTABLE)


def source_of(units: Units) -> str:
    """The kind of units that judges without labels look at."""
    usual = (kind for kind in (UNIONS, MERGED, SUMS) if ((units.kind == kind) & (units.count == 2)).any())
    return next(usual, UNIONS)


class Steps:
    """Progress in hundredths, of several works that take their parts of the time."""

    def __init__(self, progress: Progress):
        self._progress, self._done = progress, 0.0
        progress(0, STEPS)

    def share(self, part: float, count: int) -> Callable[[int], None]:
        """Called with how many more things are done, of `count` that are `part` of the steps together."""

        def advance(done: int) -> None:
            self._done = min(STEPS, self._done + part * done / count)
            self._progress(int(self._done), STEPS)

        return advance


def run(
    store: Store,
    layer: str,
    grouping: Mapping[str, str],
    settings: CalibrateSettings,
    progress: Progress,
) -> Benchmark:
    """Make units, and measure every kind of features on them.

    Parameters
    ----------
    grouping : class to group, where groups of classes are the meanings; empty where classes are

    Raises
    ------
    PureError
        Too few images, or a layer of directions.
    """
    collected = read_collected(store)
    whole = require_unchanged(store, collected, [layer])
    test = layer_under_test(store, collected, layer, grouped(whole, grouping), settings)
    steps = Steps(progress)
    waiting_for("looking for units with known meanings")
    units, seen = units_of(test, steps)
    kinds = kinds_for(test.lower_layers, collected.layers[layer].lower_layers[0])
    scores = _scores(units, kinds, settings.seed, steps)
    most = max(2, round(LEAK_UNITS * min(1.0, settings.budget)))
    leak = leaks(units, kinds, test.network, most, settings.seed, steps.share(15, 3 * most))
    source = source_of(units)
    made = [one for one in units.made if one.kind == source]
    advance = steps.share(5, most * len(kinds))
    specific = specificities(made, kinds, test.network, most, settings, advance)
    release(test, seen)
    progress(STEPS, STEPS)
    return Benchmark(layer, units, kinds, scores, leak, specific, settings.seed, ungrouped(whole, grouping))


def layer_under_test(
    store: Store, collected: Collected, layer: str, listing: Listing, settings: CalibrateSettings
) -> LayerUnderTest:
    """The layer in its network, and the lower layers that are tried: those named or found above the paper's, the hidden
    layer of the last block, and the paper's."""
    from pure_cli.models.ends import pre_activation
    from pure_cli.models.layers import candidates

    own = collected.layers[layer]
    if not own.lower_layers:
        raise PureError(f"No layer is known to lie below '{layer}', so there is nothing to attribute to.")
    network, paper = open_network(collected, settings.device), own.lower_layers[0]
    image = network.inputs(first_image(listing, network))
    before = pre_activation(network.model, image, layer)
    found = [name for name in candidates(network.model, image, layer, paper) if name != before]
    hidden = [own.hidden] if own.hidden else []
    every = list(dict.fromkeys([*(settings.lower_layer or found[: LAYERS - 1]), *hidden, paper]))
    require_sound(network, listing, [layer, *every])  # what is odd about it collect has said
    before = None if before in every else before  # nothing can be attributed to itself
    wanted = max(4, round(UNITS * settings.budget))
    return LayerUnderTest(store, collected, listing, network, layer, before, every, wanted, settings)


def units_of(test: LayerUnderTest, steps: Steps) -> tuple[Units, UnitPass]:
    """All units of the layer, and the pass that they were made in, to be released.

    Raises
    ------
    PureError
        The images give none.
    """
    harder = len(test.settings.units or ()) * len(LEVELS)
    drawn = HALVES * test.wanted_on_a_half * (4 + 2 * TRIES + harder)  # unions and pairs, at most
    every, seen = make_units(test, steps.share(8, max(1, len(test.listing))), steps.share(27, drawn))
    made = [one for one in every if len(one.neuron)]
    if not made:
        release(test, seen)
        raise PureError(
            f"The images give no units with known meanings for '{test.layer}': every class of a union, and every "
            f"channel of a pair, needs its share of {test.n} references. Collect with fewer (-n) or more images."
        )
    return Units(made, [one for one in every if not len(one.neuron)]), seen


def _scores(units: Units, kinds: Sequence[str], seed: int, steps: Steps) -> dict[str, RecipeScores]:
    """Of all kinds of features; of some the number of meanings is looked at too."""
    scores, advance = {}, steps.share(20, len(kinds))
    for kind in kinds:
        scores[kind] = score(units, kind, seed)
        advance(1)
    looked_at = _judged(units, kinds, scores) if (units.kind == UNIONS).any() else []
    advance = steps.share(25, len(looked_at))
    for kind in looked_at:
        scores[kind] = judged(units, kind, scores[kind], seed)
        advance(1)
    return scores


def grouped(listing: Listing, grouping: Mapping[str, str]) -> Listing:
    """The images with groups of classes for labels; classes without a group have no label.

    Raises
    ------
    PureError
        A class that the images do not have.
    """
    if not grouping:
        return listing
    known = _classes(listing, grouping)
    for name in grouping:
        if name not in known.values():
            raise unknown("class", name, known.values())
    groups = sorted(set(grouping.values()))
    new = {label: groups.index(grouping[name]) for label, name in known.items() if name in grouping}
    labels = np.array([new.get(int(label), UNKNOWN_LABEL) for label in listing.labels], dtype=np.int64)
    return replace(listing, labels=labels, names=tuple(groups), codes=())


def _classes(listing: Listing, grouping: Mapping[str, str]) -> dict[int, str]:
    """Label to what a grouping calls the class."""
    by_code = any(name in listing.codes for name in grouping)
    return dict(enumerate(listing.codes if by_code else listing.names)) or {
        int(c): str(c) for c in np.unique(listing.labels) if c >= 0
    }


def ungrouped(listing: Listing, grouping: Mapping[str, str]) -> list[str]:
    """A sentence on the classes that a grouping leaves out."""
    known = _classes(listing, grouping) if grouping else {}
    without = [name for name in known.values() if name not in grouping]
    if not without:
        return []
    named = ", ".join(f"'{printable(name)}'" for name in without[:NAMED])
    more = f" and {len(without) - NAMED:,} more" if len(without) > NAMED else ""
    return [
        f"The grouping names {len(known) - len(without):,} of {len(known):,} classes; no union is made of the others "
        f"({named}{more})."
    ]


def _judged(units: Units, kinds: Sequence[str], scores: dict[str, RecipeScores]) -> list[str]:
    """The kinds whose numbers of meanings are looked at: the paper's, the best by relevance, and activations."""
    unions = units.kind == UNIONS
    which = unions if unions.any() else np.ones(len(unions), bool)

    def ari(kind: str) -> float:
        values = scores[kind].ari[which]
        return float(np.nanmean(values)) if np.isfinite(values).any() else -1.0

    relevance = sorted((kind for kind in kinds[1:] if Kind.of(kind).transform), key=ari, reverse=True)
    lower = sorted((kind for kind in kinds if kind.startswith("lower-activation")), key=ari, reverse=True)
    return list(dict.fromkeys([kinds[0], *relevance[:JUDGED], *lower[:1], "activation-max", "activation-mean"]))
