"""The two sides of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pure_cli.artifacts import Clustering, read_clusterings
from pure_cli.core.neurons import choose_neurons
from pure_cli.errors import PureError
from pure_cli.stages.comparison.images import CommonImages
from pure_cli.stages.inputs.choice import chosen_features, there_are
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.inputs.units import Units, units_of

NAMES = ("A", "B")


@dataclass(frozen=True, eq=False)
class Side:
    """A layer of one of the two workspaces.

    Attributes
    ----------
    number : 0 for A, 1 for B
    source, clustering : of the virtual neurons that addresses mean; None where there are none, or none are matched
    """

    number: int
    sources: Sources
    layer: str
    source: FeatureSource | None
    clustering: Clustering | None

    @property
    def name(self) -> str:
        return NAMES[self.number]

    def units(self, common: CommonImages, kinds: list[str], neurons: str | None, n: int) -> Units:
        """The units of some kinds that have references among the common images.

        Parameters
        ----------
        neurons : as of ``--neurons``
        n : how many references of each neuron count, the first ones
        """
        own = self.sources.collected.layers[self.layer]
        everyone = np.arange(own.neurons)
        chosen = choose_neurons(neurons, everyone, own.neurons, self.layer, "references", "pure collect", True)
        return units_of(own, self.clustering, chosen, kinds, lambda image: common.numbers(self.number, image), n)


def sides_have_virtual(sources: tuple[Sources, Sources], layers: tuple[str, str]) -> bool:
    """Both layers have virtual neurons."""
    pairs = zip(sources, layers, strict=True)
    return all(layer in there_are(read_clusterings(own.store).values()) for own, layer in pairs)


def side_of(number: int, sources: Sources, layer: str, virtual: bool) -> Side:
    """A side, with its virtual neurons where they are matched.

    Raises
    ------
    PureError
        It has none, or stale ones.
    """
    if not virtual:
        return Side(number, sources, layer, None, None)
    clusterings = read_clusterings(sources.store)
    if layer not in there_are(clusterings.values()):
        raise PureError(
            f"'{layer}' has no virtual neurons in {sources.store.place}. Run `pure cluster -w {sources.store.place}` "
            "first, or take --units neurons."
        )
    return Side(number, sources, layer, *chosen_features(sources, layer, clusterings))
