"""How well each kind of features finds the meanings of units, and whether it leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.core.clusters import VirtualNeurons, labels_of, one_thread, split_all
from pure_cli.core.cores import cores
from pure_cli.core.directions import module_of
from pure_cli.core.features import LOWER_ACTIVATION, Kind, joined, transformed
from pure_cli.core.kmeans import inner_products
from pure_cli.core.meanings import KS, RULES, meanings
from pure_cli.core.metrics.agreement import agreement
from pure_cli.core.metrics.stability import bootstrap_stability
from pure_cli.core.metrics.tree import close_first, cuts, tree_agreement
from pure_cli.data.loader import batches
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.planted.candidates import UNIONS, USUAL
from pure_cli.stages.planted.units import UnitWorkspace
from pure_cli.stages.runtime.begun import inputs_of
from pure_cli.stages.runtime.images import first_image, images_of
from pure_cli.stages.runtime.network import Network

if TYPE_CHECKING:
    from pure_cli.core.stem import Stem

NULLS = 50
STABLE = 40  # units of each kind whose splits are compared between bootstrap samples
CONSTANT, SHUFFLED = "constant activations", "shuffled images"
MEAN_MAPS, GRADIENT, REMOVED, LABELS = "mean maps", "gradient alone", "planted channels removed", "labels alone"
CHECKS = (CONSTANT, SHUFFLED, MEAN_MAPS, GRADIENT, REMOVED, LABELS)
LEAKING = (CONSTANT, SHUFFLED)  # in which nothing of the meanings should be left
ROUNDING = 1e-5  # of float32, through a few layers, in parts of the largest value
BRANCHES, BY_TREE, BY_CHANCE, CLOSE, FOUND = "branches", "tree", "tree by chance", "close together", "two or three"


@dataclass(frozen=True)
class RecipeScores:
    """What one kind of features makes of the units.

    Attributes
    ----------
    label : U times (n,) int, the split at the true number of meanings; of one meaning, at two
    ari, nmi : (U,) float, of the split at the true number of meanings, NaN for one
    silhouette : (U, K) float, for 2, 3, … clusters
    stability : (U,) float, of the split in two between bootstrap samples
    polysemanticity, p : (U,) float; NaN where they were not computed
    k : rule to (U,) int, 0 where it was not computed
    tree : measure to (U,) float, of units whose meanings form a tree; see `of_trees`
    """

    label: list[np.ndarray]
    ari: np.ndarray
    nmi: np.ndarray
    silhouette: np.ndarray
    stability: np.ndarray
    polysemanticity: np.ndarray
    p: np.ndarray
    k: dict[str, np.ndarray]
    tree: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Units:
    """All units, set after set.

    Attributes
    ----------
    made : by kind and half
    without : those of which no candidate fires for all of its meanings
    """

    made: list[UnitWorkspace]
    without: Sequence[UnitWorkspace] = ()

    @cached_property
    def kind(self) -> np.ndarray:
        return np.concatenate([[one.kind] * len(one.neuron) for one in self.made])

    @cached_property
    def count(self) -> np.ndarray:
        """(U,) int, meanings of each; 2 of those made of two channels."""
        return np.concatenate([one.count for one in self.made])

    @cached_property
    def name(self) -> np.ndarray:
        """The same for the same unit on the other half."""
        return np.array([one.unit(row) for one in self.made for row in range(len(one.neuron))])

    @cached_property
    def parts(self) -> list[tuple[int, ...]]:
        """The classes or channels of each."""
        return [part for one in self.made for part in one.parts]

    @cached_property
    def truth(self) -> list[np.ndarray]:
        return [truth for one in self.made for truth in one.truth]

    @cached_property
    def sources(self) -> list[Sources]:
        """The features of each set, whose files are opened once."""
        return [Sources(one.store) for one in self.made]


def score(units: Units, kind: str, seed: int) -> RecipeScores:
    """Split all units by one kind of features; the number of meanings is not looked at."""
    count, rows = units.count, list(_rows(units, kind))
    whole = [np.ones(len(one), bool) for one in rows]
    splits = split_all(rows, whole, KS, seed)
    label, ari, nmi = [], np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for row, of_unit in enumerate(splits):
        own = of_unit[KS.index(max(2, int(count[row])))].labels
        label.append(own)
        if count[row] > 1:
            found = agreement(own, units.truth[row])
            ari[row], nmi[row] = found.ari, found.nmi
    nothing, none = np.full(len(rows), np.nan), {rule: np.zeros(len(rows), int) for rule in RULES}
    silhouettes = np.array([[split.silhouette for split in of_unit] for of_unit in splits])
    stability, some = nothing.copy(), _some(units)
    with ThreadPoolExecutor(cores()) as pool, one_thread():
        stability[some] = list(pool.map(lambda row: bootstrap_stability(rows[row], 2, seed), some))
    return RecipeScores(
        label, ari, nmi, silhouettes, stability, nothing, nothing, none, of_trees(units, splits, silhouettes, seed)
    )


def of_trees(
    units: Units, splits: Sequence[Sequence[VirtualNeurons]], silhouettes: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """How well the splits of units whose meanings form a tree agree with it; empty where there are no such units.

    Returns
    -------
    dict of (U,) float, NaN for other units
        "branches": adjusted Rand index of the split in two with the branches. "tree": of the split with the largest
        silhouette, with the better of both cuts, adjusted for chance; "tree by chance": the better of both for the same
        labels dealt at random. "close together": the split in two leaves the close meanings together rather than
        another pair, 1 or 0. "two or three": that is how many clusters have the largest silhouette, 1 or 0.
    """
    if all(one.branch is None for one in units.made):
        return {}
    found = {name: np.full(len(splits), np.nan) for name in (BRANCHES, BY_TREE, BY_CHANCE, CLOSE, FOUND)}
    row = -1
    for one in units.made:
        for truth, parts in zip(one.truth, one.parts, strict=True):
            row += 1
            if one.branch is None:
                continue
            right, two = cuts(truth, parts, one.branch), splits[row][KS.index(2)].labels
            best = int(np.nanargmax(silhouettes[row])) if np.isfinite(silhouettes[row]).any() else 0
            by_tree = tree_agreement(splits[row][best].labels, right, seed)
            found[BRANCHES][row] = agreement(two, right[0]).ari
            found[BY_TREE][row], found[BY_CHANCE][row] = by_tree.score, by_tree.chance
            found[CLOSE][row] = close_first(two, truth, parts, one.branch)
            found[FOUND][row] = float(KS[best] in (2, 3))
    return found


def judged(units: Units, kind: str, own: RecipeScores, seed: int) -> RecipeScores:
    """The same scores, with the number of meanings of unions."""
    unions = np.flatnonzero(units.kind == UNIONS)
    rows = [row for row, is_union in zip(_rows(units, kind), units.kind == UNIONS, strict=True) if is_union]
    verdicts = list(meanings(rows, [np.ones(len(row), bool) for row in rows], seed, NULLS, RULES))
    poly, p = own.polysemanticity.copy(), own.p.copy()
    k = {rule: values.copy() for rule, values in own.k.items()}
    poly[unions] = [one.polysemanticity for one in verdicts]
    p[unions] = [one.p for one in verdicts]
    for rule in RULES:
        k[rule][unions] = [one.k[rule] for one in verdicts]
    return replace(own, polysemanticity=poly, p=p, k=k)


def _some(units: Units) -> list[int]:
    """A few units of each of the usual kinds with two meanings."""
    return [
        row for kind in USUAL for row in np.flatnonzero((units.kind == kind) & (units.count == 2))[:STABLE].tolist()
    ]


def _rows(units: Units, kind: str) -> Any:
    for one, sources in zip(units.made, units.sources, strict=True):
        yield from sources.features_of(one.layer, kind, check=False).rows(one.neuron)


def leaks(
    units: Units, kinds: Sequence[str], network: Network, most: int, seed: int, advance: Callable[[int], None]
) -> dict[tuple[str, str, str], np.ndarray]:
    """Splits of units with two meanings (else the fewest of their kind) by features that should know nothing.

    Parameters
    ----------
    most : units of each kind that are looked at

    Returns
    -------
    dict of (kind of unit, features, check) to (U',) adjusted Rand indices; NaN where a check does not apply
    """
    found: dict[tuple[str, str, str], list[float]] = {}
    left: dict[str, int] = {}
    for made, sources in zip(units.made, units.sources, strict=True):
        chosen = np.flatnonzero(made.count == made.fewest)[: max(0, left.setdefault(made.kind, most))]
        left[made.kind] -= len(chosen)
        bench = _Bench(made, sources, network, kinds)
        for row, own in zip(chosen.tolist(), bench.rows(chosen), strict=True):
            truth = made.truth[row]
            for kind, check, features in bench.features(row, own, np.random.default_rng([seed, row])):
                value = np.nan if features is None else _found(features, truth, made.fewest, seed)
                found.setdefault((made.kind, kind, check), []).append(value)
            advance(1)
    return {key: np.array(values) for key, values in found.items()}


def _found(features: np.ndarray, truth: np.ndarray, k: int, seed: int) -> float:
    """Adjusted Rand index of a split in k with the truth; 0 where all features are the same but for rounding."""
    points = np.asarray(features, np.float64)
    if np.ptp(points, axis=0).max() <= ROUNDING * np.abs(points).max():
        return 0.0
    (label,) = labels_of(inner_products(points)[None], [points], k, np.array([seed]))
    return float(agreement(label, truth).ari)


class _Bench:
    """Features of one set of units that should know nothing."""

    def __init__(self, made: UnitWorkspace, sources: Sources, network: Network, kinds: Sequence[str]):
        self._made, self._kinds = made, kinds
        self._own = sources.collected.layers[made.layer]
        self._listing = images_of(made.store, sources.collected.origin["data"])
        self._sources = {kind: sources.features_of(made.layer, kind, check=False) for kind in kinds}
        lower = dict.fromkeys(
            name for kind in kinds if Kind.of(kind).transform for name in self._sources[kind].lower_layers
        )
        self._lower = list(lower)
        assert self._own.directions is not None
        self._directions = self._own.directions
        if made.begun is None:
            self._network = network.ready(first_image(self._listing, network), [module_of(made.layer), *self._lower])
        else:
            self._network = made.begun.ready(network)

    def rows(self, which: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """Features (n, D) of each kind, of some units one after the other."""
        neurons = self._made.neuron[which]
        return zip(*(self._sources[kind].rows(neurons) for kind in self._kinds), strict=True)

    def features(self, row: int, own_rows: tuple[np.ndarray, ...], generator: np.random.Generator) -> Any:
        """Yields kind, check and features (n, D), None where the check does not apply.

        Parameters
        ----------
        own_rows : the unit's of `rows`
        """
        from pure_cli.core.units import main_channels

        neuron = int(self._made.neuron[row])
        top = self._own.top.image[neuron]
        order = generator.permutation(len(top))
        changed = self._changed(neuron, top, order)
        planted, labels = main_channels(self._directions.weight[neuron]), self._labels(top)
        for kind, own in zip(self._kinds, own_rows, strict=True):
            yield kind, REMOVED, self._without(kind, own, planted)
            yield kind, LABELS, labels
            parsed = Kind.of(kind)
            if not parsed.transform:
                yield kind, CONSTANT, np.broadcast_to(own.mean(axis=0), own.shape)
                yield kind, SHUFFLED, own[order]
                yield kind, MEAN_MAPS, None
                yield kind, GRADIENT, None
                continue
            for check, parts in changed.items():
                lower = self._sources[kind].lower_layers
                yield kind, check, joined([transformed(*parts[name], parsed.transform) for name in lower])

    @cached_property
    def _stems(self) -> dict[str, Stem]:
        """What comes before each lower layer, where passes can begin there."""
        example, module = first_image(self._listing, self._network), module_of(self._made.layer)
        found = {lower: self._network.stem(example, [lower], module) for lower in self._lower}
        return {lower: stem for lower, stem in found.items() if stem is not None}

    def _loaded(self, images: np.ndarray) -> Any:
        """(n, 3, H, W) uint8, or what was kept of the images."""
        if self._made.begun is not None:
            return self._made.begun.read(images)
        (batch,) = batches(self._listing, images, self._network.preprocessing, len(images), 0)
        return batch.images

    def _labels(self, images: np.ndarray) -> np.ndarray | None:
        names, label = np.unique(self._listing.labels[images], return_inverse=True)
        if len(names) == 1:
            return None
        return np.eye(len(names), dtype=np.float32)[label]

    def _without(self, kind: str, own: np.ndarray, planted: np.ndarray) -> np.ndarray | None:
        """Features without those of the planted channels; None where the features are not of channels like these."""
        channels = self._directions.weight.shape[1]
        lower = self._sources[kind].lower_layers
        if own.shape[1] != channels * max(1, len(lower)):
            return None
        dropped = [part * channels + planted for part in range(max(1, len(lower)))]
        return np.delete(own, np.concatenate(dropped), axis=1)

    def _changed(
        self, neuron: int, images: np.ndarray, order: np.ndarray
    ) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """For each check, the relevances (n, D) at each lower layer and their norms (n,)."""
        from pure_cli.core.circuits import normalised_arrays
        from pure_cli.core.replay import Replay, constant, mean_map, shuffled

        if not self._lower:
            return {}
        module, begun = module_of(self._made.layer), self._made.begun
        model, stems = self._network.model, self._stems  # before the network begins elsewhere
        bound = self._network.bound_of(module, first_image(self._listing, self._network))
        with inputs_of(self._network, self._loaded(images), begun) as pixels:
            replay = Replay(model, pixels, module, self._lower, self._directions, neuron, bound, stems)
            found = {
                CONSTANT: replay.relevance(constant, everywhere=True),
                SHUFFLED: replay.relevance(shuffled(order)),
                MEAN_MAPS: replay.relevance(mean_map),
                GRADIENT: replay.gradient_alone,
            }
        return {
            check: {name: normalised_arrays(summed) for name, summed in parts.items()} for check, parts in found.items()
        }


def kinds_for(lower_layers: Sequence[str], paper: str) -> list[str]:
    """The kinds of features that are compared: the paper's recipe first.

    Parameters
    ----------
    lower_layers : the highest first
    paper : the lower layer of the paper's recipe
    """
    found = [f"pure@{paper}"]
    for lower in lower_layers:
        found += [f"pure@{lower}", f"pure-sqrt-l2@{lower}", f"{LOWER_ACTIVATION}@{lower}"]
    if lower_layers:
        found.append(f"pure-none@{lower_layers[0]}")
    if len(lower_layers) > 1:
        found.append(f"pure-sqrt-l2@{lower_layers[0]}+{lower_layers[1]}")
    return list(dict.fromkeys([*found, "activation-max", "activation-mean"]))
