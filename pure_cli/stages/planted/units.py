"""Units with known meanings, and their references: made on one half of the images, collected on the other.

They are directions in a workspace of their own for each half, so that the very stages that serve real neurons collect,
attribute and cluster them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.artifacts import Collected, read_collected
from pure_cli.core.directions import AT, module_of
from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import UNKNOWN_LABEL, Listing
from pure_cli.data.loader import batches
from pure_cli.data.sources.subset import subset
from pure_cli.files import write_whole
from pure_cli.settings.attribute import AttributeSettings
from pure_cli.settings.calibrate import CalibrateSettings
from pure_cli.settings.collect import CollectSettings
from pure_cli.settings.shared import Running
from pure_cli.stages.attribute import attribute
from pure_cli.stages.collect import collect, remembered_options
from pure_cli.stages.resume.pair_work import Plan
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once, images_of
from pure_cli.stages.runtime.network import Network, workers_of
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from pure_cli.core.directions import Directions

FOLDER = "planted"  # in the workspace
HALVES = 2
UNIONS, MERGED, SUMS = "unions", "merged", "sums"
SCARCE = 2  # a class of a union has at least n / SCARCE images in each half
TRIES = 3  # pairs of channels drawn for each unit that is wanted: not all fire for both


@dataclass(frozen=True)
class UnitWorkspace:
    """The units of one kind on one half.

    Attributes
    ----------
    kind : "unions", "merged" or "sums"
    half : whose images are their references, 0 or 1
    store : the half's workspace
    layer : theirs in it
    neuron : (M,) int64, those that fire for each of their meanings
    parts : M times classes, or the two channels
    truth : (M, n) int, the class of each reference, or which of the channels made it one
    """

    kind: str
    half: int
    store: Store
    layer: str
    neuron: np.ndarray
    parts: list[tuple[int, ...]]
    truth: np.ndarray

    @property
    def count(self) -> np.ndarray:
        """(M,) meanings of each."""
        return np.array([len(part) for part in self.parts])

    def unit(self, row: int) -> str:
        """What a unit is, whichever half it was made on."""
        return f"{self.kind} {'+'.join(map(str, self.parts[row]))}"


@dataclass(frozen=True)
class UnitPass:
    """What one pass over the images saw.

    Attributes
    ----------
    image : (N,) int64, those that can be read
    mean : (N, C) float32, activations of the layer over space
    highest : module to (N, C) float32, maxima over space
    """

    image: np.ndarray
    mean: np.ndarray
    highest: dict[str, np.ndarray]


def pass_over_images(
    network: Network,
    listing: Listing,
    module: str,
    before: str | None,
    how: Running,
    progress: Callable[[int], None],
) -> UnitPass:
    """Run all images through the network up to the layer."""
    from pure_cli.core.circuits import activations

    modules = [name for name in (before, module) if name]
    ready = network.ready(first_image(listing, network), modules)
    image, mean = [], []
    highest: dict[str, list[np.ndarray]] = {name: [] for name in modules}
    size = images_at_once(listing, network, how.batch_size)
    adaptive_batches = AdaptiveBatches()
    for batch in batches(listing, listing.index, network.preprocessing, size, workers_of(how)):

        def compute(begin: int, end: int, images: torch.Tensor = batch.images) -> None:
            found = activations(ready.model, ready.inputs(images[begin:end]), modules, _highest_and_mean)
            for name in modules:
                highest[name].append(found[name][0])
            mean.append(found[module][1])

        adaptive_batches.each(len(batch.index), compute)
        image.append(batch.index)
        progress(size)
    return UnitPass(
        np.concatenate(image), np.concatenate(mean), {name: np.concatenate(part) for name, part in highest.items()}
    )


def _highest_and_mean(_: str, activation: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Over space, of each channel."""
    from pure_cli.core.layout import channels_first

    flat = channels_first(activation).float()
    return flat.amax(dim=-1).cpu().numpy(), flat.mean(dim=-1).cpu().numpy()


def halves(seen: UnitPass, labels: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each half: rows of `seen` to make units of, and rows to find references among; every class is halved."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(seen.image))
    order = order[np.argsort(labels[seen.image[order]], kind="stable")]
    one, other = np.sort(order[::2]), np.sort(order[1::2])
    return [(one, other), (other, one)]


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
class _Candidates:
    """Directions in a module that may be units of one kind.

    Attributes
    ----------
    parts : of each, classes or the two channels
    """

    kind: str
    module: str
    directions: Directions
    parts: list[tuple[int, ...]]

    @property
    def layer(self) -> str:
        """The name of the layer whose neurons they are."""
        return f"{self.kind}{AT}{self.module}"


def make_units(
    test: LayerUnderTest, looked: Callable[[int], None], tried: Callable[[int], None]
) -> list[UnitWorkspace]:
    """Make the units, and collect and attribute those that fire for all of their meanings.

    Parameters
    ----------
    looked, tried : called with how many more images were looked at, and how many more units were tried
    """
    seen = pass_over_images(test.network, test.listing, test.layer, test.before, test.settings, looked)
    found: list[UnitWorkspace] = []
    for number, (making, finding) in enumerate(halves(seen, test.listing.labels, test.settings.seed)):
        half = _prepared_half(test, number, making, np.sort(seen.image[finding]))
        every = _candidates(test, half, seen)
        _collect(test, half, every)
        for candidates in every:
            units = _qualified(test, half, candidates)
            if len(units.neuron):
                _attribute(test, units)
                found.append(units)
            tried(len(candidates.parts))
    return found


def _prepared_half(test: LayerUnderTest, number: int, making: np.ndarray, images: np.ndarray) -> _Half:
    """The workspace of a half, with the list of its images."""
    store = Store(test.store.root / FOLDER / test.layer / f"half-{number}")
    store.prepare()
    half = _Half(number, store, images, making)
    _write_if_changed(half.data, subset(test.listing.data, images, test.listing.labels[images]))
    return half


def _candidates(test: LayerUnderTest, half: _Half, seen: UnitPass) -> list[_Candidates]:
    """Unions of classes, and pairs of channels before and after the ReLU, as the other half of the images has them."""
    generator = np.random.default_rng([test.settings.seed, half.number])
    labels, making, wanted = test.listing.labels, seen.image[half.making], test.wanted_on_a_half
    found = []
    unions = _choose_unions(labels, making, half.images, test.n, wanted, generator)
    if unions:
        from pure_cli.core.units import learned_unions

        probes = learned_unions(seen.mean[half.making], labels[making], unions)
        found.append(_Candidates(UNIONS, test.layer, probes, unions))
    for kind, module in ((MERGED, test.before), (SUMS, test.layer)):
        if module is not None and len(making) > test.n:
            highest = seen.highest[module][half.making]
            directions, pairs = _pairs(highest, test.n, wanted, generator, relu=kind == MERGED)
            found.append(_Candidates(kind, module, directions, pairs))
    return found


def _collect(test: LayerUnderTest, half: _Half, every: Sequence[_Candidates]) -> None:
    """Find the references of all candidates in one pass, with the options that made those of the user's workspace."""
    if not every:
        return
    options = {name: own for name, own in remembered_options(test.store).items() if name not in ("layer", "limit")}
    options |= {"data": half.data, "layer": [one.layer for one in every]}
    with half.store.lock("calibrate"):
        settings = CollectSettings(**options, **test.settings.running)
        collect(half.store, settings, directions={one.layer: one.directions for one in every})


def _attribute(test: LayerUnderTest, units: UnitWorkspace) -> None:
    """Compute the relevances of units, anew with ``force``."""
    settings = AttributeSettings(
        layer=[units.layer],
        neurons=",".join(map(str, units.neuron)),
        lower_layer=list(test.lower_layers),
        force=test.settings.force,
        **test.settings.running,
    )
    with units.store.lock("calibrate"):
        attribute(units.store, settings)


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8", errors="surrogateescape") != text:
        write_whole(path, text)


def _choose_unions(
    labels: np.ndarray, making: np.ndarray, finding: np.ndarray, n: int, wanted: int, generator: np.random.Generator
) -> list[tuple[int, ...]]:
    """Single classes, pairs and triples of those classes that have images enough."""
    known = np.unique(labels[labels != UNKNOWN_LABEL])
    enough = [
        int(c) for c in known if min((labels[making] == c).sum(), (labels[finding] == c).sum()) >= max(2, n // SCARCE)
    ]
    if len(enough) < 2:
        return []
    found: list[tuple[int, ...]] = []
    for size, count in ((1, wanted), (2, wanted), (3, 2 * wanted)):  # fewer of three fire for all
        drawn = _drawn(enough, size, count, generator)
        found += [union for union in drawn if not np.isin(labels[making], union).all()]  # else there is nothing to tell
    return found


def _drawn(things: Sequence[int], size: int, count: int, generator: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Different subsets of a size in random order, all where there are no more than `count`."""
    if comb(len(things), size) <= 20 * count:
        every = list(combinations(things, size))
        chosen = generator.permutation(len(every))[:count]
        yield from (every[i] for i in chosen.tolist())
        return
    seen: dict[tuple[int, ...], None] = {}
    while len(seen) < count:
        seen[tuple(sorted(generator.choice(things, size, replace=False).tolist()))] = None
    yield from seen


def _pairs(
    highest: np.ndarray, n: int, wanted: int, generator: np.random.Generator, relu: bool
) -> tuple[Directions, list[tuple[int, ...]]]:
    """Pairs of channels that fire, each scaled by the mean of its n highest scores."""
    from pure_cli.core.units import pairs_of_channels

    reach = np.sort(highest, axis=0)[-n:].mean(axis=0)
    alive = np.flatnonzero(reach > 0).tolist()
    pairs = list(_drawn(alive, 2, min(TRIES * wanted, len(alive) * (len(alive) - 1) // 2), generator))
    return pairs_of_channels(pairs, np.where(reach > 0, reach, 1), relu), pairs


def _qualified(test: LayerUnderTest, half: _Half, candidates: _Candidates) -> UnitWorkspace:
    """The units all of whose meanings have their share of the references, as many for each number of meanings as are
    wanted."""
    from pure_cli.core.units import has_its_meanings

    store, layer, parts = half.store, candidates.layer, candidates.parts
    top = read_collected(store).layers[layer].top
    if candidates.kind == UNIONS:
        labels = test.listing.labels[half.images[top.image.clip(min=0)]]
        truth = np.where(top.image == NO_IMAGE, UNKNOWN_LABEL, labels)
        meanings: list[Sequence[int]] = list(parts)
    else:
        values = _parts_at(store, layer, parts, test.network, test.settings)
        truth, meanings = values.argmax(axis=-1), [(0, 1)] * len(parts)
    full = (top.image != NO_IMAGE).all(axis=1) & (top.value > 0).all(axis=1)
    left, good = dict.fromkeys((1, 2, 3), test.wanted_on_a_half), []
    for row in np.flatnonzero(full).tolist():
        size = len(parts[row])
        if left[size] and has_its_meanings(truth[row], meanings[row]):
            good.append(row)
            left[size] -= 1
    neurons, own = np.array(good, np.int64), [parts[row] for row in good]
    return UnitWorkspace(candidates.kind, half.number, store, layer, neurons, own, truth[good])


def _parts_at(store: Store, layer: str, parts: list[tuple[int, ...]], network: Network, how: Running) -> np.ndarray:
    """(M, n, 2) what each of the two channels adds to a unit at its maximum in each reference."""
    from pure_cli.core.circuits import activations
    from pure_cli.core.layout import channels_first

    collected = read_collected(store)
    own = collected.layers[layer]
    assert own.directions is not None
    top, module, weight = own.top, module_of(layer), own.directions.weight
    listing, plan = images_of(store, collected.origin["data"]), Plan.of(top.image)
    found = np.zeros((top.image.size, 2), np.float32)
    size = images_at_once(listing, network, how.batch_size)
    start, adaptive_batches = 0, AdaptiveBatches()
    for batch in batches(listing, plan.images, network.preprocessing, size, workers_of(how)):

        def compute(begin: int, end: int, start: int = start, images: torch.Tensor = batch.images) -> None:
            output = activations(network.model, network.inputs(images[begin:end]), [module])[module]
            for place, flat in enumerate(channels_first(output).cpu().numpy(), start + begin):
                pairs = plan.pairs_in(place, place + 1)
                rows, slots = plan.neuron_row[pairs], plan.slot[pairs]
                channels = np.array([parts[row] for row in rows.tolist()])
                values = flat[channels, top.position[rows, slots].clip(min=0)[:, None]]
                found[plan.row(pairs)] = values * weight[rows[:, None], channels]

        adaptive_batches.each(len(batch.index), compute)
        start += len(batch.index)
    return found.reshape(*top.image.shape, 2)
