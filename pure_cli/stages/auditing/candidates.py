"""What an audit looks at: layers with their virtual neurons, and classes of the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pure_cli.artifacts import Clustering, need_clusterings, need_layers
from pure_cli.core.bands import without_bands
from pure_cli.core.directions import AT
from pure_cli.core.neurons import choose_neurons, parse_virtual, virtual_of
from pure_cli.data.listing import Listing
from pure_cli.data.long_lists import values_at
from pure_cli.errors import PureError, unknown
from pure_cli.settings.audit import ALL
from pure_cli.stages.inputs.choice import meant_features, there_are
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.references.scores import why_no_outputs


@dataclass(frozen=True, eq=False)
class Candidates:
    """Virtual neurons that may drive a class.

    Attributes
    ----------
    layers : in which they are
    features, clusterings : of each layer
    unit : (N, 3) int64, place in `layers`, neuron and virtual neuron, counted from 0
    """

    layers: list[str]
    features: list[FeatureSource]
    clusterings: list[Clustering]
    unit: np.ndarray

    @property
    def made_from(self) -> dict[str, str]:
        """Fingerprints of the virtual neurons, by layer."""
        prints = [one.provenance.fingerprint for one in self.clusterings]
        return dict(zip(self.layers, prints, strict=True))


def candidates_of(sources: Sources, requested: list[str] | None, neurons: str | None) -> Candidates:
    """The virtual neurons that addresses mean, of some layers and neurons.

    Parameters
    ----------
    requested, neurons : as of ``--layer`` and ``--neurons``

    Raises
    ------
    PureError
        There are none, they are stale or of features that need crops, or the neurons are directions.
    """
    clusterings = need_clusterings(sources.store)
    layers = _layers(sources, requested, clusterings)
    found = [meant_features(sources, layer, clusterings) for layer in layers]
    units = []
    for place, (layer, (_, clustering)) in enumerate(zip(layers, found, strict=True)):
        count = sources.collected.layers[layer].neurons
        own = np.stack([clustering.virtual_neuron, clustering.cluster], axis=1)[clustering.size > 0]
        own = own[_meant(own, clustering, neurons, count, layer)]
        units.append(np.column_stack([np.full(len(own), place), own]))
    unit = np.concatenate(units).astype(np.int64)
    if not len(unit):
        raise PureError(f"None of these neurons of '{layers[0]}' fires on any image, so they have no virtual neurons.")
    return Candidates(layers, [source for source, _ in found], [clustering for _, clustering in found], unit)


def _layers(sources: Sources, requested: list[str] | None, clusterings: Mapping[str, Clustering]) -> list[str]:
    there = there_are(clusterings.values())
    layers = need_layers(requested, there, "cluster")
    channels = [layer for layer in without_bands(layers) if layer in sources.collected.channel_layers]
    if requested is None and channels:
        return channels
    directions = [layer for layer in layers if AT in layer or sources.collected.layers[layer].directions]
    if directions:
        raise PureError(f"The neurons of '{directions[0]}' are directions, which cannot be silenced one by one.")
    return layers


def _meant(units: np.ndarray, clustering: Clustering, text: str | None, count: int, layer: str) -> np.ndarray:
    """(N,) bool, which of the virtual neurons (N, 2) of a layer a list of neurons names."""
    neurons = choose_neurons(text, clustering.neuron, count, layer, "virtual neurons", "pure cluster", True)
    meant = np.isin(units[:, 0], neurons)
    for neuron, numbers in parse_virtual(text, count, layer).items() if text else ():
        if numbers:
            parts = virtual_of(neuron, numbers, int(clustering.counts(np.array([neuron]))[0]), layer)
            meant &= (units[:, 0] != neuron) | np.isin(units[:, 1], parts)
    return meant


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of some images.

    Attributes
    ----------
    listing : the images
    names : by number; numbers where the data has no names
    label : (M,) int64, of the images in use, in the order of ``listing.index``
    """

    listing: Listing
    names: list[str]
    label: np.ndarray

    @classmethod
    def of(cls, listing: Listing) -> Classes:
        """
        Raises
        ------
        PureError
            Not every image has a label.
        """
        label = np.asarray(values_at(listing.labels, listing.index))
        outputs = max(len(listing.names), int(label.max(initial=-1)) + 1)
        if label.min(initial=0) < 0:
            raise _no_classes(listing, why_no_outputs(listing, label, outputs))
        return cls(listing, list(listing.names) or [str(number) for number in range(outputs)], label)

    def chosen(self, requested: list[str] | None) -> list[int]:
        """The numbers of the classes that were asked for, each once.

        Raises
        ------
        PureError
            None was named, or one that the data does not have, or that no image in use is of.
        """
        there = np.unique(self.label).tolist()
        if not requested:
            some = ", ".join(self.names[number] for number in there[:3])
            raise PureError(f"Name the classes to audit, or all: there are {len(there):,}, as {some}.")
        if ALL in requested and ALL not in self.names:
            return there
        found = []
        for name in requested:
            if name not in self.names:
                raise unknown("class of the data", name, self.names)
            number = self.names.index(name)
            if number not in there:
                raise PureError(f"No image in use is of the class '{name}'. Name other --data, or leave out --limit.")
            found.append(number)
        return list(dict.fromkeys(found))

    def require_outputs(self, outputs: int) -> None:
        """Make sure that the classes are the network's outputs.

        Raises
        ------
        PureError
            Nothing says which of the outputs they are.
        """
        if why := why_no_outputs(self.listing, self.label, outputs):
            raise _no_classes(self.listing, why)


def _no_classes(listing: Listing, why: str) -> PureError:
    return PureError(
        f"The network's outputs cannot be taken for classes of {listing.data}: {why}. Name images that have "
        "its classes with --data."
    )
