"""What the atlas knows of a layer: its virtual neurons, and all that other stages found of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli.artifacts import (
    Assignment,
    Clustering,
    Labels,
    NeuronCircuits,
    clustering_path,
    read_assignments,
    read_circuits,
)
from pure_cli.config import fingerprint
from pure_cli.core.neurons import choose_neurons
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.files import crc_or_none
from pure_cli.settings.atlas import AtlasSettings
from pure_cli.settings.shared import AUTO, VIRTUAL
from pure_cli.stages.atlas_content.measures import Measures, read_measures
from pure_cli.stages.embeddings.crops import CRP, WHOLE, boxes
from pure_cli.stages.inputs.choice import chosen_features
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.inputs.lower_channels import ChannelReader
from pure_cli.stages.inputs.units import Units, units_of
from pure_cli.stages.labelling.names import names_of
from pure_cli.stages.neuron_figures.index import CIRCUITS
from pure_cli.stages.references.scores import why_no_outputs

VERSION = 5  # raised when the content of an atlas comes to be another
FIRST_EMBEDDINGS = ("clip-image", "clip", "dinov2")  # that say what is near to what, where there are several


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """What there is of a layer.

    Attributes
    ----------
    source, clustering : the virtual neurons that addresses mean, and their features
    names : what they are called; None where they were not labelled
    embeddings : of the references; None where there are none that are up to date
    measures : what evaluate found
    assignment : what assign found; None where there is nothing of these virtual neurons
    circuits : neuron to the file of its graph
    missing : what is not there, to a sentence with the command that adds it
    """

    sources: Sources
    layer: str
    source: FeatureSource
    clustering: Clustering
    names: Labels | None
    embeddings: FeatureSource | None
    measures: Measures
    assignment: Assignment | None
    circuits: dict[int, Path]
    settings: AtlasSettings
    missing: dict[str, str] = field(default_factory=dict)

    @cached_property
    def channels(self) -> ChannelReader:
        return ChannelReader(self.sources, self.layer, self.clustering)

    @cached_property
    def listing(self) -> Listing:
        return self.sources.listing([self.layer])

    @cached_property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the images as the network sees them."""
        from pure_cli.data.loader import decode_one

        index = int(self.sources.collected.image_index[0])
        height, width = decode_one(self.listing, index, self.sources.preprocessing).shape[1:]
        return height, width

    @cached_property
    def outputs(self) -> list[str]:
        """Names of the network's outputs; none where they are not the classes of the images."""
        listing = self.listing
        count = next((len(effect) for effect in self.measures.effect.values() if effect.size), 0)
        named = count and listing.names and not why_no_outputs(listing, listing.labels, count)
        return list(listing.names) if named else []

    def output(self, number: int) -> str:
        """What an output is called."""
        return self.outputs[number] if self.outputs else f"output {number}"

    def units(self, neurons: np.ndarray) -> Units:
        """The virtual neurons of some neurons, neuron after neuron."""
        return units_of(self.sources.collected.layers[self.layer], self.clustering, neurons, [VIRTUAL])

    def chosen(self) -> np.ndarray:
        """(N,) int64, the neurons that were asked for, all with virtual neurons where none was.

        Raises
        ------
        PureError
            One has no virtual neurons, or the layer does not have it.
        """
        there, count = self.clustering.neuron, self.sources.collected.layers[self.layer].neurons
        return choose_neurons(self.settings.neurons, there, count, self.layer, "virtual neurons", "pure cluster")

    def members(self, neuron: int, part: int) -> np.ndarray:
        """Data-set indices of the images of a virtual neuron, counted from 0."""
        label = self.clustering.label[int(np.searchsorted(self.clustering.neuron, neuron))]
        there = (label == part) & self.sources.excites(self.layer, neuron)
        found: np.ndarray = self.sources.collected.layers[self.layer].top.image[neuron][there]
        return found

    def circuit(self, neuron: int) -> NeuronCircuits | None:
        """The graphs of a neuron, where they are of these virtual neurons."""
        file = self.circuits.get(neuron)
        found = read_circuits(file) if file else None
        same = found and found.provenance.made_from.get("cluster") == self.clustering.provenance.fingerprint
        return found if same else None

    def boxes(self, neurons: np.ndarray) -> Iterator[np.ndarray | None]:
        """(n, 4) int of each of some neurons, what it saw of its references; None where whole images are shown."""
        if self.settings.crop == WHOLE:
            yield from [None] * len(neurons)
        else:
            yield from boxes(self.sources, self.layer, self.settings.crop or CRP, neurons)

    @cached_property
    def made_from(self) -> str:
        """A hash of all that the content depends on beside the boxes."""
        own = self.sources.collected.layers[self.layer].provenance.fingerprint
        parts: list[Any] = [VERSION, own, self.clustering.provenance.fingerprint, self.clustering.neuron.tolist()]
        parts += [self.settings.size, self.settings.crop, self.settings.seed, self.measures.used, self.missing]
        if self.names:
            parts += [self.names.provenance.fingerprint, _digest(self.names.label), self.names.names]
        if self.embeddings:
            parts += [self.embeddings.made_from, self.embeddings.neuron.tolist()]
        if self.assignment:
            parts += [self.assignment.provenance.fingerprint, self.assignment.neuron.tolist()]
        parts += [[neuron, crc_or_none(file)] for neuron, file in self.circuits.items()]
        if self.channels.source:
            parts.append(self.channels.made_from)
        return fingerprint(parts)


def _digest(values: np.ndarray) -> str:
    return sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def open_layer(
    sources: Sources,
    layer: str,
    clusterings: Mapping[str, Clustering],
    settings: AtlasSettings,
    meant: tuple[FeatureSource, Clustering] | None = None,
) -> LayerInputs:
    """All that there is of a layer.

    Parameters
    ----------
    meant : the virtual neurons and their features; those that addresses mean where nothing is said

    Raises
    ------
    PureError
        Its virtual neurons are stale.
    """
    source, clustering = meant or chosen_features(sources, layer, clusterings)
    store = sources.store
    assignment = read_assignments(store).get(layer)
    if assignment is not None and assignment.provenance.made_from["cluster"] != clustering.provenance.fingerprint:
        assignment = None
    inputs = LayerInputs(
        sources,
        layer,
        source,
        clustering,
        names_of(store, layer, clustering),
        _embeddings(sources, layer),
        read_measures(store, layer, clustering, clusterings),
        assignment,
        dict(_circuit_files(store.root / CIRCUITS / layer)),
        settings,
    )
    inputs.missing.update(_missing(inputs, clusterings))
    return inputs


def _missing(inputs: LayerInputs, clusterings: Mapping[str, Clustering]) -> Iterator[tuple[str, str]]:
    """What is not there, with a sentence."""
    if inputs.names is None:
        yield "labels", "Nothing is labelled: `pure label` finds words for what neurons respond to."
    if inputs.embeddings is None:
        yield (
            "embeddings",
            "There are no embeddings that are up to date, so circuits say what is near to what: "
            "`pure embed --embedder clip-image` adds some.",
        )
    if not inputs.measures.columns and not inputs.measures.effect:
        yield (
            "measures",
            "Nothing was measured of these virtual neurons: `pure evaluate --metric causal --metric outputs` tells how "
            "specific they are, and which classes they drive.",
        )
    if not inputs.clustering.chosen:
        features = inputs.clustering.provenance.settings["features"]
        which = f"--layer {inputs.layer} --features {features} --k auto"
        there = clustering_path(inputs.layer, features, AUTO) in clusterings
        add = "" if there else f"`pure cluster {which}`, and then "
        yield (
            "polysemanticity",
            f"k was not chosen for each neuron, so there is no polysemanticity and no p: {add}`pure choose {which}` "
            "has the atlas show virtual neurons of which it was.",
        )
    if inputs.assignment is None:
        yield (
            "other images",
            "Images beyond the references are not assigned: `pure assign` shares their activation out.",
        )


def _embeddings(sources: Sources, layer: str) -> FeatureSource | None:
    """Those that are up to date, of the first kind that says most of what an image shows."""
    kinds = list(sources.embeddings(layer))
    order = [*(kind for kind in FIRST_EMBEDDINGS if kind in kinds), *(k for k in kinds if k not in FIRST_EMBEDDINGS)]
    for kind in order:
        with suppress(PureError):
            return sources.features_of(layer, kind)
    return None


def _circuit_files(folder: Path) -> Iterator[tuple[int, Path]]:
    """By neuron; of several of a neuron the last by name."""
    for file in sorted(folder.glob("neuron-*.json")):
        number = file.stem.removeprefix("neuron-").partition("-")[0]
        if number.isdecimal():
            yield int(number), file
