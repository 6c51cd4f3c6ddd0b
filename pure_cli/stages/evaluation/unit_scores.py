"""What can be measured of units of any kind: neurons, virtual neurons, directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.config import fingerprint
from pure_cli.core.clusters import one_thread
from pure_cli.core.directions import module_of
from pure_cli.core.features import PURE, Kind
from pure_cli.core.metrics.causal import circuit_channels, drop
from pure_cli.core.metrics.monosemanticity import monosemanticity
from pure_cli.core.metrics.semantics import clarity
from pure_cli.core.metrics.stability import best_overlaps, cluster_overlaps
from pure_cli.stages.evaluation.study import Study
from pure_cli.stages.evaluation.surgery import Surgery, surgery_on
from pure_cli.stages.inputs.features import FeatureSource
from pure_cli.stages.runtime.network import Network, open_network

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Firing

SHARE = 0.5  # of a circuit's relevance that is cut out
MOST_UNITS = 32  # of a kind, whose circuits are cut out
IMAGES = 4  # of a unit, held out from its circuit
OTHERS = 2  # units on whose images a circuit is cut out, too


@dataclass(frozen=True)
class Units:
    """Units of one kind.

    Attributes
    ----------
    name : for the table
    path : in ``evaluate.h5``
    layer : that has their references
    row : (U,) int64, the neuron of `layer` that each is or is a part of
    members : (U, n) bool, which of its references
    part : (U,) int64, which of the neuron's virtual neurons each is; None for whole units
    features : by which neurons were split; "" for whole units
    k : into how many; 0 for whole units
    """

    name: str
    path: str
    layer: str
    row: np.ndarray
    members: np.ndarray
    part: np.ndarray | None = None
    features: str = ""
    k: int = 0

    def some(self, chosen: np.ndarray) -> Units:
        """Those at some places."""
        part = None if self.part is None else self.part[chosen]
        return replace(self, row=self.row[chosen], members=self.members[chosen], part=part)


def by_embeddings(study: Study, units: Units, judge: str) -> dict[str, np.ndarray]:
    """(U,) MonoSemanticity and clarity; NaN where references have no embeddings."""
    found = {"ms": np.full(len(units.row), np.nan), "clarity": np.full(len(units.row), np.nan)}
    sources = study.sources
    if not judge or (units.layer, judge) not in sources.embedded:
        return found
    source = sources.features_of(units.layer, judge)
    values = sources.collected.layers[units.layer].top.value
    for neuron, places, points in _of_neurons(units, source):
        for unit in places:
            own = points[units.members[unit]]
            found["ms"][unit] = monosemanticity(own, values[neuron][units.members[unit]])
            found["clarity"][unit] = clarity(own)
    return found


def stabilities(study: Study, units: Units) -> np.ndarray:
    """(U,) overlap of each unit's references with those of the unit most like it when units are found again: virtual
    neurons in bootstrap samples of the references, directions by the same way with another seed.

    NaN where nothing is found (neurons, random directions), or nothing was found again.
    """
    found = np.full(len(units.row), np.nan)
    if units.part is None:
        if again := _found_again(study, units.layer):
            layers = study.sources.collected.layers
            image = layers[units.layer].top.image[units.row]
            found = best_overlaps(
                [own[mask] for own, mask in zip(image, units.members, strict=True)], layers[again].top.image
            )
        return found
    labels = study.labels(units.features, units.k)
    with one_thread():
        for neuron, places, points in _of_neurons(units, study.source(units.features)):
            own = labels[np.searchsorted(study.neurons, neuron)]
            overlaps = cluster_overlaps(points[own >= 0], own[own >= 0], units.k, study.seed)
            found[places] = overlaps[units.part[places]]
    return found


def _found_again(study: Study, layer: str) -> str:
    """A layer of as many directions, found in the same way with another seed; "" where none is collected."""
    layers = study.sources.collected.layers
    own = layers[layer].directions
    if own is None or not own.names:
        return ""
    how = own.names[0].partition(" ")[0]
    for name, other in layers.items():
        if name == layer or module_of(name) != module_of(layer) or other.directions is None:
            continue
        directions = other.directions
        alike = directions.names and directions.names[0].partition(" ")[0] == how
        if alike and len(directions.names) == len(own.names) and not np.array_equal(directions.weight, own.weight):
            return name
    return ""


def _of_neurons(units: Units, source: FeatureSource) -> Iterator[tuple[int, list[int], np.ndarray]]:
    """Each neuron that has units and features: itself, the places of its units, its features (n, D)."""
    neurons = np.intersect1d(units.row, source.neuron)
    for neuron, points in zip(neurons.tolist(), source.rows(neurons), strict=True):
        yield neuron, np.flatnonzero(units.row == neuron).tolist(), points


def specificities(study: Study, every: Sequence[Units]) -> dict[str, np.ndarray]:
    """How much more of a unit's activation is lost without half of its circuit than of other units of its kind.

    Parameters
    ----------
    every : kinds of units

    Returns
    -------
    dict of path to (U,)
        Drop of a unit's activation on its own images, held out from its circuit, minus that of other units of the same
        kind on theirs; NaN where there are no relevances at the lower layer that is cut, or too few references.
    """
    found = {units.path: np.full(len(units.row), np.nan) for units in every}
    where = where_cut(study)
    able = [units for units in every if where and _has_relevances(study, units.layer, where)]
    if not able:
        return found
    network = open_network(study.sources.collected, study.how.device)
    surgeries: dict[str, Surgery] = {}
    for units in able:
        if units.layer not in surgeries:
            surgeries[units.layer] = _surgery(study, network, units.layer, where)
        found[units.path] = _specificity(study, units, surgeries[units.layer])
    return found


def circuits_of(study: Study, layers: Sequence[str]) -> dict[str, str]:
    """Fingerprints of the relevances that `specificities` takes of some layers: which, and of which neurons."""
    where, found = where_cut(study), dict[str, str]()
    for layer in layers:
        if where and _has_relevances(study, layer, where):
            source = study.sources.features_of(layer, f"{PURE}{where}")
            found[f"relevances {layer}{where}"] = fingerprint({**source.made_from, "neuron": source.neuron.tolist()})
    return found


def where_cut(study: Study) -> str:
    """The lower layers at which circuits are cut, as of `Kind.where`; "" where the layer has no relevances."""
    attributed = study.sources.attributed.get(study.layer)
    if attributed is None:
        return ""
    first = next((name for name in study.features if Kind.of(name).has_lower_layer), PURE)
    return f"@{'+'.join(study.source(f'{PURE}{Kind.of(first).where}').lower_layers)}"


def _has_relevances(study: Study, layer: str, where: str) -> bool:
    attributed = study.sources.attributed.get(layer)
    return attributed is not None and set(Kind.of(f"{PURE}{where}").lower_layers) <= set(attributed.lower_layers)


def _surgery(study: Study, network: Network, layer: str, where: str) -> Surgery:
    source = study.sources.features_of(layer, f"{PURE}{where}")
    listing = study.sources.listing([layer])
    return surgery_on(network, study.sources, listing, source, study.how, study.seed, study.notes)


def _specificity(study: Study, units: Units, surgery: Surgery) -> np.ndarray:
    """(U,) of the first units that have circuits."""
    found = np.full(len(units.row), np.nan)
    circuits: dict[int, np.ndarray] = {}
    images: dict[int, np.ndarray] = {}
    for neuron, places, relevance in _of_neurons(units, surgery.source):
        excites = study.sources.excites(units.layer, neuron)
        for unit in places:
            own = np.flatnonzero(units.members[unit] & excites)
            if len(own) > 1 and len(circuits) < MOST_UNITS:
                circuits[unit] = circuit_channels(relevance[own[::2]].mean(axis=0), SHARE)
                images[unit] = surgery.references(neuron)[own[1::2][:IMAGES]]
    if len(circuits) <= OTHERS:
        return found
    order = list(circuits)
    for place, unit in enumerate(order):
        steps = [turn * len(order) // (OTHERS + 1) for turn in range(OTHERS + 1)]  # neighbours may share a neuron
        seen = [order[(place + step) % len(order)] for step in steps]
        lost = _lost(surgery, [(int(units.row[other]), images[other]) for other in seen], circuits[unit])
        found[unit] = lost[0] - np.nanmean(lost[1:])
    return found


def _lost(surgery: Surgery, cases: Sequence[tuple[int, np.ndarray]], cut: np.ndarray) -> list[float]:
    """Mean drop of each neuron on its images without some lower channels."""
    every = np.concatenate([images for _, images in cases])
    neuron = np.repeat([neuron for neuron, _ in cases], [len(images) for _, images in cases])
    masks = np.broadcast_to(cut, (len(every), len(cut))).copy()
    whole, after = (
        surgery.read(every.tolist(), _scores, mask)[np.arange(len(every)), neuron] for mask in (None, masks)
    )
    ends = np.cumsum([len(images) for _, images in cases])[:-1]
    return [float(np.nanmean(part)) for part in np.split(drop(whole, after), ends)]


def _scores(firing: Firing) -> torch.Tensor:
    return firing.scores()[0].clamp(min=0)
