"""Which lower channels set virtual neurons apart from their siblings, and the images that show such a channel."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from pure_cli.artifacts import Clustering, read_activations
from pure_cli.core.contrast import differences, shares
from pure_cli.core.features import L1, PURE, Kind
from pure_cli.core.references import NO_IMAGE
from pure_cli.errors import PureError
from pure_cli.stages.inputs.features import FeatureSource, Sources

CHANNELS = 10  # of each virtual neuron at most


class LowerChannel(NamedTuple):
    """A channel whose relevance is higher in a virtual neuron than in its siblings.

    Attributes
    ----------
    value : by how much the mean relevance is higher, where all of a reference's is 1 in absolute value
    share : of all that differs, in absolute value
    """

    layer: str
    channel: int
    value: float
    share: float

    @property
    def address(self) -> str:
        return f"{self.layer}/{self.channel}"

    def as_dict(self) -> dict[str, Any]:
        return {"address": self.address, **self._asdict()}


@dataclass(frozen=True)
class ChannelReader:
    """Reads what sets the virtual neurons of a clustering apart.

    Parameters
    ----------
    sources : the workspace
    layer : of the clustering
    clustering : by features of any kind; where these are no relevances, the relevances of its references are taken
    """

    sources: Sources
    layer: str
    clustering: Clustering
    _read: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @cached_property
    def source(self) -> FeatureSource | None:
        """The relevances; None where there are none that are up to date."""
        own = self.clustering.provenance.settings["features"]
        kind, sources = Kind.of(own), self.sources
        name = f"{PURE}{kind.where}" if kind.has_lower_layer else PURE
        there = sources.store.has("attribute") and self.layer in sources.attributed
        if not there or not sources.status_of_relevances(self.layer).up_to_date:
            return None
        try:
            return sources.features_of(self.layer, name, check=False)
        except PureError:  # the lower layer is not there any more
            return None

    @cached_property
    def _channels(self) -> list[tuple[str, int]]:
        return self.source.lower_channels() if self.source else []

    def setting_apart(self, neuron: int) -> list[list[LowerChannel]] | None:
        """Of each virtual neuron of a neuron, the channels that it has more relevance of, the largest difference first;
        None where no relevances tell."""
        if self.source is None or neuron not in self.source.neuron:
            return None
        own = self.clustering.virtual_neuron == neuron
        means, sizes = self.clustering.centroid[own], self.clustering.size[own]
        if Kind.of(self.clustering.provenance.settings["features"]).transform != L1:
            (relevance,) = self.source.rows(np.array([neuron]))
            labels = self.clustering.label[np.searchsorted(self.clustering.neuron, neuron)]
            means = np.array([relevance[labels == label].mean(axis=0) for label in range(len(sizes))])
        return [self._largest(one) for one in differences(means, sizes)] if len(sizes) else []

    def _largest(self, difference: np.ndarray) -> list[LowerChannel]:
        share = shares(difference)
        order = np.argsort(-difference, kind="stable")[:CHANNELS]
        found = []
        for i in order[difference[order] > 0].tolist():
            layer, channel = self._channels[i]
            found.append(LowerChannel(layer, channel, float(difference[i]), float(share[i])))
        return found

    def has_own_references(self, lower: str) -> bool:
        """The lower layer was collected too, and is up to date."""
        there = self.sources.collected.layers.get(lower)
        if there is None or there.directions is not None:
            return False
        try:
            self.sources.listing([lower])
        except PureError:  # it is stale
            return False
        return True

    def images_of(self, channel: LowerChannel, count: int) -> np.ndarray:
        """Indices (m,) of the images on which a lower channel is strongest: its own references, or else those of this
        layer's that its mean activation is highest on."""
        if self.has_own_references(channel.layer):
            image = self.sources.collected.layers[channel.layer].top.image
            if channel.channel < len(image):
                own = image[channel.channel]
                return own[own != NO_IMAGE][:count]
        values = self._activations(channel.layer)[:, channel.channel]
        known = np.flatnonzero(np.isfinite(values))
        order = known[np.argsort(-values[known], kind="stable")][:count]
        return self.sources.attributed[self.layer].activation_image[order]

    def _activations(self, lower: str) -> np.ndarray:
        if lower not in self._read:
            self._read[lower] = read_activations(self.sources.store, self.layer, f"lower/{lower}")
        return self._read[lower]

    @property
    def made_from(self) -> dict[str, str]:
        """What figures that show the channels depend on beside the clustering."""
        if self.source is None:
            return {}
        lower = {one: self.sources.collected.layers[one].provenance.fingerprint
                 for one in self.source.lower_layers if self.has_own_references(one)}  # fmt: skip
        return {"relevances": self.sources.attributed[self.layer].provenance.fingerprint, **lower}
