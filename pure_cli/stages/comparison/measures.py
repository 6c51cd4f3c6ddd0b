"""What similarity of units is by: their references, the embeddings of these, or activations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pure_cli.artifacts import read_activations, read_assignments, read_rows
from pure_cli.core.matching import Correlation, Cosine, Likeness, Overlap
from pure_cli.core.references import NO_IMAGE
from pure_cli.errors import PureError
from pure_cli.settings.compare import ACTIVATIONS, EMBEDDINGS, IMAGES, CompareSettings
from pure_cli.settings.shared import NEURONS
from pure_cli.stages.assignment.unit_activations import Activations
from pure_cli.stages.comparison.images import CommonImages
from pure_cli.stages.comparison.sides import Side
from pure_cli.stages.embeddings.judges import of_same_embedder
from pure_cli.stages.inputs.features import EMBEDDING
from pure_cli.stages.inputs.units import Units

Sides = tuple[Side, Side]
UnitPair = tuple[Units, Units]
FEWEST = 3  # images, for a correlation


class Measure(Protocol):
    """What similarity is by."""

    @property
    def name(self) -> str:
        """As of ``--by``."""
        ...

    @property
    def way(self) -> str:
        """What it is in full, for titles."""
        ...

    def covered(self, units: UnitPair) -> UnitPair:
        """Those of the units of A and B that it says something of."""
        ...

    def likeness(self, units: UnitPair, first: int = 0, dealt: np.random.Generator | None = None) -> Likeness:
        """Of units of A and B.

        Parameters
        ----------
        first : the side whose units are the rows, 0 for A
        dealt : deals what belongs to the virtual neurons of that side out among them, at random
        """
        ...


@dataclass(frozen=True, eq=False)
class ByImages:
    """By the references that both have."""

    name = IMAGES
    way: str

    def covered(self, units: UnitPair) -> UnitPair:
        """All of them."""
        return units

    def likeness(self, units: UnitPair, first: int = 0, dealt: np.random.Generator | None = None) -> Overlap:
        """As of `Measure`."""
        rows, others = units[first], units[1 - first]
        rows = rows.dealt(dealt) if dealt else rows
        return Overlap.of(rows.members(rows.image), others.members(others.image))


@dataclass(frozen=True, eq=False)
class ByEmbeddings:
    """By the mean embeddings of the references.

    Attributes
    ----------
    neurons : of A and B, that were embedded
    rows : (N, n, E) float32 of A and B, a row for each neuron of the units; zeros where there is none
    """

    name = EMBEDDINGS
    way: str
    neurons: tuple[np.ndarray, np.ndarray]
    rows: tuple[np.ndarray, np.ndarray]

    def covered(self, units: UnitPair) -> UnitPair:
        """Those whose neurons were embedded in both."""
        a, b = (own.of_neurons(there) for own, there in zip(units, self.neurons, strict=True))
        return a, b

    def likeness(self, units: UnitPair, first: int = 0, dealt: np.random.Generator | None = None) -> Cosine:
        """As of `Measure`."""
        rows, others = units[first], units[1 - first]
        rows = rows.dealt(dealt) if dealt else rows
        a, b = self.rows[first], self.rows[1 - first]
        slots = np.arange(others.image.size).reshape(others.image.shape)
        of_rows = rows.members(np.arange(rows.image.size).reshape(rows.image.shape))
        vectors = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
        members = others.members(slots)
        used = np.unique(members.item)  # only these are dealt out by chance
        return Cosine.of(of_rows, vectors[0], members.among(used), vectors[1][used], others.image.ravel()[used])


@dataclass(frozen=True, eq=False)
class ByActivations:
    """By the correlation of activations.

    Attributes
    ----------
    sides : activations of A and B on the same images
    images : (P,) int64, numbers of these
    """

    name = ACTIVATIONS
    way: str
    sides: tuple[Activations, Activations]
    images: np.ndarray
    ranks: bool

    def covered(self, units: UnitPair) -> UnitPair:
        """Virtual neurons only where their shares are known."""
        found = []
        for own, side in zip(units, self.sides, strict=True):
            own = own.of_neurons(side.neuron)
            found.append(own if side.share is not None else own.only(own.places(NEURONS)))
        return found[0], found[1]

    def likeness(self, units: UnitPair, first: int = 0, dealt: np.random.Generator | None = None) -> Correlation:
        """As of `Measure`."""
        rows = self.sides[first].of(units[first], dealt)
        return Correlation.of(rows, self.sides[1 - first].of(units[1 - first]), self.images, self.ranks)


# --------------------------------------------------------------------------------------- what is there of each


def shared_embedder(sides: Sides, wanted: list[str] | None) -> str | None:
    """The first kind of embeddings that both have by the same embedder, of the same part of images; None where there
    is none.

    Raises
    ------
    PureError
        None of those that are named.
    """
    a, b = (side.sources.embeddings(side.layer) for side in sides)
    for kind in wanted or a:
        if kind in a and kind in b and of_same_embedder(a[kind], b[kind]):
            return kind
    for kind in wanted or ():
        lacking = " and ".join(side.name for side, there in zip(sides, (a, b), strict=True) if kind not in there)
        if lacking:
            raise PureError(f"There are no {kind} embeddings in {lacking}. Run `pure embed --embedder {kind}` there.")
        raise PureError(
            f"The {kind} embeddings of A and B are by other networks or of other crops. Run `pure embed` in both with "
            "the same options."
        )
    return None


def by_embeddings(sides: Sides, kind: str, units: UnitPair) -> ByEmbeddings:
    """Read what both have of one kind."""
    neurons = [side.sources.features_of(side.layer, kind).neuron for side in sides]
    rows = [_embeddings(*parts, kind) for parts in zip(sides, units, neurons, strict=True)]
    way = f"cosine of the mean {kind} embeddings of the references"
    return ByEmbeddings(way, (neurons[0], neurons[1]), (rows[0], rows[1]))


def _embeddings(side: Side, units: Units, there: np.ndarray, kind: str) -> np.ndarray:
    rows = side.sources.embeddings(side.layer)[kind]
    count, n = units.image.shape
    found = np.zeros((count, n, rows.shape[-1]), np.float32)
    known = np.flatnonzero(np.isin(units.neuron, there))
    places = np.searchsorted(there, units.neuron[known])
    read = read_rows(side.sources.store, "embed", side.layer, kind, EMBEDDING, places)
    for place, values in zip(known.tolist(), read, strict=True):
        found[place] = np.where(units.image[place, :, None] != NO_IMAGE, values[:n], 0)
    return found


def stored_activations(sides: Sides, common: CommonImages, settings: CompareSettings) -> ByActivations | None:
    """What is there without running the networks: of all units by ``assign.h5`` where it has all images on which
    neurons fire, else of neurons by ``attribute.h5``, on images that are references in both; None where neither is."""
    for read, way in ((_assigned, "as assign has them"), (_attributed, "of references of both")):
        found = [read(side, common) for side in sides]
        if found[0] is None or found[1] is None:
            continue
        (a, numbers_a), (b, numbers_b) = found[0], found[1]
        images = (np.union1d if read is _assigned else np.intersect1d)(numbers_a, numbers_b)
        if len(images) >= FEWEST:
            both = _on(a, numbers_a, images), _on(b, numbers_b, images)
            return ByActivations(way_of(settings, len(images), way), both, images, settings.correlation == "spearman")
    return None


def way_of(settings: CompareSettings, images: int, where: str) -> str:
    """What a correlation is in full."""
    name = {"pearson": "Pearson", "spearman": "Spearman"}[settings.correlation]
    return f"{name}'s correlation of activations on {images:,} images, {where}"


def _on(own: Activations, there: np.ndarray, images: np.ndarray) -> Activations:
    """On other images; 0 on those that are not there, since no neuron fires."""
    place = np.searchsorted(there, images).clip(max=len(there) - 1)
    known = there[place] == images
    value = np.where(known, own.value[:, place], 0)
    share = None if own.share is None else np.where(known[:, None], own.share[:, place], 0)
    return Activations(own.neuron, value, share)


def _attributed(side: Side, common: CommonImages) -> tuple[Activations, np.ndarray] | None:
    """Positive activations, the highest over space, of all neurons; and the numbers of the images, ascending."""
    sources, layer = side.sources, side.layer
    if not sources.store.has("attribute") or layer not in sources.attributed:
        return None
    if not sources.status_of_relevances(layer).up_to_date:
        return None
    values = read_activations(sources.store, layer, "max")
    if values.shape[1] != sources.collected.layers[layer].neurons:
        return None
    numbers = common.numbers(side.number, sources.attributed[layer].activation_image)
    order = np.argsort(numbers)[np.count_nonzero(numbers < 0) :]
    everyone = np.arange(values.shape[1])
    return Activations(everyone, values[order].T.astype(np.float32), None), numbers[order]


def _assigned(side: Side, common: CommonImages) -> tuple[Activations, np.ndarray] | None:
    """Scores and shares of the neurons that were assigned, with the numbers of the images, ascending."""
    if side.clustering is None:
        return None
    own = read_assignments(side.sources.store).get(side.layer)
    made = {"cluster": side.clustering.provenance.fingerprint, "images": common.listings[side.number].fingerprint}
    if own is None or own.provenance.made_from != made or own.provenance.settings["per_quantile"] != 0:
        return None
    numbers = np.where(own.image == NO_IMAGE, -1, common.numbers(side.number, own.image))
    images = np.unique(numbers[numbers >= 0])
    if not len(images):
        return None
    value = np.zeros((len(own.neuron), len(images)), np.float32)
    share = np.zeros((*value.shape, own.share.shape[2] - 1), np.float32)
    row, slot = np.nonzero(numbers >= 0)
    place = np.searchsorted(images, numbers[row, slot])
    value[row, place], share[row, place] = own.score[row, slot], own.share[row, slot, :-1]
    return Activations(own.neuron, value, share), images


def used_files(sides: Sides, settings: CompareSettings, names: list[str], kind: str | None) -> Iterator[dict[str, Any]]:
    """Of A and of B, the fingerprints of what a comparison by some measures is made from."""
    for side in sides:
        sources, layer = side.sources, side.layer
        made: dict[str, Any] = {"collect": sources.collected.layers[layer].provenance.fingerprint}
        if side.clustering is not None:
            made["cluster"] = side.clustering.provenance.fingerprint
        if EMBEDDINGS in names and kind:
            made["embed"] = sources.embeddings(layer)[kind].provenance.fingerprint
        if ACTIVATIONS in names and not settings.sample:
            if sources.store.has("attribute") and layer in sources.attributed:
                made["attribute"] = sources.attributed[layer].provenance.fingerprint
            if assigned := read_assignments(sources.store).get(layer):
                made["assign"] = assigned.provenance.fingerprint
        yield made
