"""Units with known meanings, and their references: made on one half of the images, collected on the other.

They are directions in a workspace of their own for each half, so that the very stages that serve real neurons collect,
attribute and cluster them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Collected, read_collected, read_seen
from pure_cli.config import fingerprint
from pure_cli.core.directions import AT
from pure_cli.core.references import NO_IMAGE, TopImages
from pure_cli.data.listing import UNKNOWN_LABEL, Listing
from pure_cli.data.sources.subset import subset
from pure_cli.files import write_whole
from pure_cli.settings.attribute import AttributeSettings
from pure_cli.settings.calibrate import CalibrateSettings
from pure_cli.settings.collect import CollectSettings
from pure_cli.stages.attribute import attribute
from pure_cli.stages.collect import collect, remembered_options
from pure_cli.stages.planted.candidates import KINDS, MERGED, SUMS, UNIONS, Candidates, drawn, frequent
from pure_cli.stages.planted.dataset_pass import UnitPass, halves, outputs_of_images, pass_over_images
from pure_cli.stages.planted.harder import HalfRows, ImageFacts, harder_candidates, image_facts
from pure_cli.stages.references.given import Given, GivenOutputs
from pure_cli.stages.runtime.begun import Begun
from pure_cli.stages.runtime.network import Network
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pure_cli.core.directions import Directions

FOLDER = "planted"  # in the workspace
HALVES = 2
SET = "units"  # the name of the directions in a module
TRIES = 3  # pairs of channels drawn for each unit that is wanted: not all fire for both


@dataclass(frozen=True)
class UnitWorkspace:
    """The units of one kind on one half.

    Attributes
    ----------
    kind : of `pure_cli.stages.planted.candidates.KINDS`
    half : whose images are their references, 0 or 1
    store : the half's workspace
    layer : theirs in it
    neuron : (M,) int64, those that fire for each of their meanings
    parts : M times the meanings, or the channels that are summed
    truth : (M, n) int, the meaning of each reference, or which of the parts made it one; -1 where it has none
    tried : number of meanings to the candidates that were looked at; those whose references lack a meaning are left out
    branch : of each part, where the meanings form a tree; close ones share one
    begun : what the pass kept of the half's images below the lower layers, by their numbers in it; None without
    alone : "pixels" and "embedder" to (M,) float, adjusted Rand index of clusters of the references' colours and edges,
        or of their vectors by the embedder; without what was not looked at
    """

    kind: str
    half: int
    store: Store
    layer: str
    neuron: np.ndarray
    parts: list[tuple[int, ...]]
    truth: np.ndarray
    tried: Mapping[int, int] = field(default_factory=dict)
    branch: tuple[int, ...] | None = None
    begun: Begun | None = None
    alone: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def fewest(self) -> int:
        """The least number of meanings above one; 0 where there is none."""
        return int(min((count for count in self.count if count > 1), default=0))

    @property
    def count(self) -> np.ndarray:
        """(M,) meanings of each."""
        return np.array([len(part) for part in self.parts])

    def unit(self, row: int) -> str:
        """What a unit is, whichever half it was made on."""
        return f"{self.kind} {'+'.join(map(str, self.parts[row]))}"


@dataclass(frozen=True)
class LayerUnderTest:
    """A layer, and all that its units are made from.

    Attributes
    ----------
    store : the user's workspace
    listing : the images, with the meanings of unions for labels
    before : what goes into the ReLU that the layer ends with; None where there is none, and no merged units then
    lower_layers : whose channels relevance is computed for
    wanted : units of each kind and number of meanings, on both halves together
    """

    store: Store
    collected: Collected
    listing: Listing
    network: Network
    layer: str
    before: str | None
    lower_layers: Sequence[str]
    wanted: int
    settings: CalibrateSettings

    @property
    def n(self) -> int:
        """References of a unit."""
        return self.collected.layers[self.layer].n

    @property
    def unfinished(self) -> str:
        """The name of the folder with what the pass over the images found, until it is not needed any more."""
        return f"calibrate-{fingerprint(self.layer)[:16]}"

    @property
    def key(self) -> str:
        """What this pass is over."""
        own = [self.collected.layers[self.layer].provenance.fingerprint, self.layer, self.before or ""]
        return fingerprint([*own, *self.settings.arithmetic.values()])

    @property
    def wanted_on_a_half(self) -> int:
        return -(-self.wanted // HALVES)


@dataclass(frozen=True)
class _Half:
    """One half of the images, among which references are found; units are made on the other.

    Attributes
    ----------
    number : 0 or 1
    store : a workspace of its own
    images : (F,) int64, ascending, its images in the data set
    making : rows of the pass, the images of the other half
    """

    number: int
    store: Store
    images: np.ndarray
    making: np.ndarray

    @property
    def data(self) -> Path:
        """The list of its images."""
        return self.store.root / "images.subset"


@dataclass(frozen=True)
class _UnitSet:
    """All candidates in one module: directions of one layer, so that one pass serves them all."""

    module: str
    every: list[Candidates]

    @property
    def layer(self) -> str:
        return f"{SET}{AT}{self.module}"

    @property
    def directions(self) -> Directions:
        from pure_cli.core.units import stacked

        return stacked([one.directions for one in self.every])

    def rows_of(self, candidates: Candidates) -> np.ndarray:
        """Neurons of the layer that are some of the candidates."""
        place = next(i for i, one in enumerate(self.every) if one is candidates)
        before = sum(len(one.parts) for one in self.every[:place])
        return np.arange(before, before + len(candidates.parts))


def make_units(
    test: LayerUnderTest, looked: Callable[[int], None], tried: Callable[[int], None]
) -> tuple[list[UnitWorkspace], UnitPass]:
    """Make the units, and collect and attribute those that fire for all of their meanings; `release` what the pass kept
    when nothing needs it any more.

    Parameters
    ----------
    looked, tried : called with how many more images were looked at, and how many more units were tried
    """
    if test.settings.force:
        test.store.drop_partial(test.unfinished)
    where = test.network, test.listing, test.layer, test.before, test.lower_layers, test.settings
    seen = pass_over_images(*where, looked, test.store.partial(test.unfinished), test.key)
    facts = image_facts(test, seen) if test.settings.units else None
    found: list[UnitWorkspace] = []
    for number, (making, finding) in enumerate(halves(seen, test.listing.labels, test.settings.seed)):
        half = _prepared_half(test, number, making, np.sort(seen.image[finding]))
        sets = _sets(_candidates(test, half, seen, facts))
        _collect(test, half, sets, seen)
        for one in sets:
            units = list(_qualified(test, half, one, seen, facts))
            if any(len(made.neuron) for made in units):
                _attribute(test, units)
            found += units
            tried(sum(len(candidates.parts) for candidates in one.every))
    return sorted(found, key=lambda made: (made.half, KINDS.index(made.kind))), seen


def release(test: LayerUnderTest, seen: UnitPass) -> None:
    """Give the disk back what the pass over the images kept."""
    seen.scratch.close()
    test.store.drop_partial(test.unfinished)


def _begun(half: _Half, seen: UnitPass) -> Begun | None:
    return seen.begun.numbered(half.images) if seen.begun else None


def _sets(every: list[Candidates]) -> list[_UnitSet]:
    """The candidates by module."""
    modules = dict.fromkeys(candidates.module for candidates in every)
    return [_UnitSet(module, [one for one in every if one.module == module]) for module in modules]


def _prepared_half(test: LayerUnderTest, number: int, making: np.ndarray, images: np.ndarray) -> _Half:
    """The workspace of a half, with the list of its images."""
    store = Store(test.store.root / FOLDER / test.layer / f"half-{number}")
    store.prepare()
    half = _Half(number, store, images, making)
    _write_if_changed(half.data, subset(test.listing.data, images, test.listing.labels[images]))
    return half


def _candidates(test: LayerUnderTest, half: _Half, seen: UnitPass, facts: ImageFacts | None) -> list[Candidates]:
    """Unions of classes, and pairs of channels before and after the ReLU, as the other half of the images has them; and
    harder ones where these are wanted."""
    generator = np.random.default_rng([test.settings.seed, half.number])
    labels, making, wanted = test.listing.labels, seen.image[half.making], test.wanted_on_a_half
    found = []
    unions = _choose_unions(labels, making, half.images, test.n, wanted, generator)
    if unions:
        from pure_cli.core.units import learned_unions

        probes = learned_unions(seen.mean[half.making], labels[making], unions)
        found.append(Candidates(UNIONS, test.layer, probes, unions, labels))
    for kind, module in ((MERGED, test.before), (SUMS, test.layer)):
        if module is not None and len(making) > test.n:
            highest = seen.highest[module][half.making]
            directions, pairs = _pairs(highest, test.n, wanted, generator, relu=kind == MERGED)
            found.append(Candidates(kind, module, directions, pairs))
    if facts is not None:
        where = HalfRows(half.making, half.images), seen, facts, (test.settings.seed, half.number)
        found += harder_candidates(test, *where)
    return found


def _collect(test: LayerUnderTest, half: _Half, sets: Sequence[_UnitSet], seen: UnitPass) -> None:
    """Find the references of all candidates in one pass, with the options that made those of the user's workspace."""
    if not sets:
        return
    options = {name: own for name, own in remembered_options(test.store).items() if name not in ("layer", "limit")}
    options |= {"data": half.data, "layer": [one.layer for one in sets]}
    given = Given({one.layer: one.directions for one in sets}, _outputs(test, half, seen, options))
    with half.store.lock("calibrate"):
        collect(half.store, CollectSettings(**{**options, **test.settings.running}), given=given)


def _outputs(test: LayerUnderTest, half: _Half, seen: UnitPass, options: Mapping[str, Any]) -> GivenOutputs | None:
    """The maps of the pass, for the images of a half; None where they do not say what images are ranked by."""
    maps = seen.maps
    if maps is None or options.get("by", "activation") != "activation":
        return None
    content = np.concatenate([part.content for part in read_seen(test.store)])
    own = content[np.searchsorted(test.listing.index, half.images)]
    return GivenOutputs(lambda index: maps.read(half.images[index]), maps.of_modules, own)


def _attribute(test: LayerUnderTest, units: Sequence[UnitWorkspace]) -> None:
    """Compute the relevances of the units of one set together, anew with ``force``."""
    settings = AttributeSettings(
        layer=[units[0].layer],
        neurons=",".join(map(str, np.sort(np.concatenate([one.neuron for one in units])))),
        lower_layer=list(test.lower_layers),
        force=test.settings.force,
        **test.settings.running,
    )
    with units[0].store.lock("calibrate"):
        attribute(units[0].store, settings, begun=units[0].begun)


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8", errors="surrogateescape") != text:
        write_whole(path, text)


def _choose_unions(
    labels: np.ndarray, making: np.ndarray, finding: np.ndarray, n: int, wanted: int, generator: np.random.Generator
) -> list[tuple[int, ...]]:
    """Single classes, pairs and triples of those classes that have images enough."""
    enough = frequent(labels, making, finding, n)
    if len(enough) < 2:
        return []
    found: list[tuple[int, ...]] = []
    for size, count in ((1, wanted), (2, wanted), (3, 2 * wanted)):  # fewer of three fire for all
        every = drawn(enough, size, count, generator)
        found += [union for union in every if not np.isin(labels[making], union).all()]  # else there is nothing to tell
    return found


def _pairs(
    highest: np.ndarray, n: int, wanted: int, generator: np.random.Generator, relu: bool
) -> tuple[Directions, list[tuple[int, ...]]]:
    """Pairs of channels that fire, each scaled by the mean of its n highest scores."""
    from pure_cli.core.units import pairs_of_channels

    reach = np.sort(highest, axis=0)[-n:].mean(axis=0)
    alive = np.flatnonzero(reach > 0).tolist()
    pairs = list(drawn(alive, 2, min(TRIES * wanted, len(alive) * (len(alive) - 1) // 2), generator))
    return pairs_of_channels(pairs, np.where(reach > 0, reach, 1), relu), pairs


def _qualified(
    test: LayerUnderTest, half: _Half, one: _UnitSet, seen: UnitPass, facts: ImageFacts | None
) -> Iterator[UnitWorkspace]:
    """For each kind in a set, the units all of whose meanings have their share of the references, as many for each
    number of meanings as are wanted; there may be none."""
    from pure_cli.core.units import has_its_meanings

    top = read_collected(half.store).layers[one.layer].top
    full = (top.image != NO_IMAGE).all(axis=1) & (top.value > 0).all(axis=1)
    for candidates in one.every:
        rows, parts = one.rows_of(candidates), candidates.parts
        own = TopImages(*(values[rows] for values in (top.value, top.image, top.position, top.mean)))
        truth, meanings = _truth(test, half, candidates, own, seen)
        left, good, tried = dict.fromkeys((1, 2, 3), test.wanted_on_a_half), [], dict[int, int]()
        for place in range(len(parts)):
            size = len(parts[place])
            if not left[size]:
                continue
            tried[size] = tried.get(size, 0) + 1
            if full[rows[place]] and has_its_meanings(truth[place], meanings[place]):
                good.append(place)
                left[size] -= 1
        neurons, chosen = rows[np.array(good, np.int64)], [parts[place] for place in good]
        shown = own.image[good], truth[good], [len(part) for part in chosen]
        alone = {} if facts is None else _without_network(test, half, *shown, facts)
        yield UnitWorkspace(
            candidates.kind, half.number, half.store, one.layer, neurons, chosen, truth[good], tried,
            candidates.branch, _begun(half, seen), alone,
        )  # fmt: skip


def _truth(
    test: LayerUnderTest, half: _Half, candidates: Candidates, top: TopImages, seen: UnitPass
) -> tuple[np.ndarray, list[Sequence[int]]]:
    """(M, n) the meaning of each reference, and the meanings of each unit."""
    parts = candidates.parts
    if candidates.labels is None:
        return _parts_at(test, half, candidates, top, seen).argmax(axis=-1), [range(len(part)) for part in parts]
    labels = candidates.labels[half.images[top.image.clip(min=0)]]
    truth = np.where(top.image == NO_IMAGE, UNKNOWN_LABEL, labels)
    if candidates.strays:
        own = np.array([np.isin(one, part) for one, part in zip(truth, parts, strict=True)])
        truth = np.where(own, truth, UNKNOWN_LABEL)
    return truth, list(parts)


def _without_network(
    test: LayerUnderTest, half: _Half, images: np.ndarray, truth: np.ndarray, counts: Sequence[int], facts: ImageFacts
) -> dict[str, np.ndarray]:
    """What is found of the meanings, (M,), by clusters of what is known of the references without the network."""
    from pure_cli.core.clusters import labels_of
    from pure_cli.core.kmeans import inner_products
    from pure_cli.core.metrics.agreement import agreement

    found = {name: np.full(len(truth), np.nan) for name in facts.points}
    for row, count in enumerate(counts):
        if count == 1:
            continue
        own = np.searchsorted(facts.image, half.images[images[row]])
        for name, points in facts.points.items():
            seen = points[own].astype(np.float64)
            (label,) = labels_of(inner_products(seen)[None], [seen], count, np.array([test.settings.seed]))
            found[name][row] = agreement(label, truth[row]).ari
    return found


def _parts_at(test: LayerUnderTest, half: _Half, candidates: Candidates, top: TopImages, seen: UnitPass) -> np.ndarray:
    """(M, n, P) what each of the parts adds to a unit at its maximum in each reference."""
    from pure_cli.core.layout import channels_first

    weight, parts, module = candidates.directions.weight, np.array(candidates.parts, np.int64), candidates.module
    found = np.zeros((*top.image.shape, parts.shape[-1]), np.float32)
    rows, slots = np.nonzero(top.image != NO_IMAGE)
    image = half.images[top.image[rows, slots]]
    order = np.argsort(image, kind="stable")
    rows, slots, image = rows[order], slots[order], image[order]
    shown = outputs_of_images(seen, test.network, test.listing, np.unique(image), [module], test.settings)
    for index, outputs in shown:
        flat = channels_first(outputs[module]).cpu().numpy()
        pairs = slice(np.searchsorted(image, index[0]), np.searchsorted(image, index[-1], side="right"))
        row, slot = rows[pairs], slots[pairs]
        place, position = np.searchsorted(index, image[pairs]), top.position[row, slot].clip(min=0)
        if candidates.concepts is None:
            channels = parts[row]
            found[row, slot] = flat[place[:, None], channels, position[:, None]] * weight[row[:, None], channels]
            continue
        there = flat[place, :, position]
        for part, one in enumerate(candidates.concepts):
            found[row, slot, part] = (there * one.weight[row]).sum(axis=1) + one.bias[row]
    return found
