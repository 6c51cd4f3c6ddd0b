"""Which virtual neurons the circuits of images belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Clustering, need_clusterings, need_layers
from pure_cli.core.assignment import Assigner
from pure_cli.core.directions import module_of
from pure_cli.core.features import PURE, Kind
from pure_cli.errors import PureError
from pure_cli.stages.inputs.choice import meant_features, there_are
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.relevances.image_features import ImageFeatures
from pure_cli.stages.runtime.images import first_image
from pure_cli.stages.runtime.network import Network, open_network
from pure_cli.workspace import Store

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Circuits


@dataclass
class CircuitReader:
    """Which virtual neurons the circuits of a layer's neurons belong to, on images that a network is given.

    Attributes
    ----------
    network : as it was loaded
    rule, features : by which circuits are computed, and what of them is compared
    relevances : of the references, at the lower layer that circuits are compared at, or the first there is
    """

    layer: str
    source: FeatureSource
    clustering: Clustering
    network: Network
    rule: str
    features: ImageFeatures
    relevances: FeatureSource
    _assigners: dict[int, Assigner | None] = field(default_factory=dict)

    @property
    def example(self) -> torch.Tensor:
        """(1, 3, H, W) uint8, the image by which the network was looked at."""
        assert self.network.first is not None, "the bound of the layer was looked for"
        return self.network.first[1]

    @classmethod
    def of(cls, sources: Sources, source: FeatureSource, clustering: Clustering, network: Network) -> CircuitReader:
        """By a clustering of features that any image has, on a network whose bounds are known."""
        layer, attributed = source.layer, sources.attributed[source.layer]
        features = ImageFeatures({source.features: source.lower_layers}, attributed.at_maximum)
        where = Kind(PURE, tuple(source.lower_layers)).where
        relevances = sources.features_of(layer, sources.named(layer, PURE + where))
        return cls(layer, source, clustering, network, attributed.rule, features, relevances)

    def assigner(self, neuron: int) -> Assigner | None:
        """Of a neuron; None where no reference has a virtual neuron.

        Raises
        ------
        PureError
            It was not clustered.
        """
        if neuron not in self._assigners:
            place = int(np.searchsorted(self.clustering.neuron, neuron))
            if place == len(self.clustering.neuron) or self.clustering.neuron[place] != neuron:
                raise PureError(
                    f"Neuron {neuron} of '{self.layer}' has no virtual neurons yet. "
                    f"Run `pure cluster --layer {self.layer} --neurons {neuron}` first."
                )
            self._assigners[neuron] = self.source.assigner(self.clustering, neuron)
        return self._assigners[neuron]

    def shares(self, images: torch.Tensor, neurons: Iterable[int]) -> dict[int, torch.Tensor]:
        """(B, V + 1) of each neuron: how much its circuits belong to its virtual neurons, and at last to none.

        Parameters
        ----------
        images : (B, 3, H, W) float, as the model takes them; their gradients end here
        """
        import torch

        wanted, found = list(neurons), {}
        with torch.inference_mode(False), self.in_force():
            circuits = self.circuits_of(images.detach().clone())
            rounds = [np.full(len(images), neuron) for neuron in wanted]
            for neuron, points in zip(wanted, self.points(circuits, rounds), strict=True):
                fires = (circuits.firing[:, neuron] > 0).any(dim=-1).cpu().numpy()
                found[neuron] = torch.from_numpy(self._shares(neuron, points, fires)).to(images.device)
        return found

    def in_force(self) -> AbstractContextManager[Any]:
        """A context in which circuits can be computed."""
        from pure_cli.models.rules import in_force

        return in_force(self.rule, self.network.model)

    def circuits_of(self, images: torch.Tensor) -> Circuits:
        """Of images (B, 3, H, W) float, as the model takes them, inside of `in_force`."""
        from pure_cli.models.rules import circuits_for

        module = module_of(self.layer)
        return circuits_for(
            self.rule, self.network.model, images, module, self.features.every_lower_layer,
            self.network.neurons(self.layer), self.network.bounds[module],
        )  # fmt: skip

    def points(self, circuits: Circuits, rounds: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Features (m, D) of circuits, for each of some rounds of neurons (m,), of the first m images."""
        import torch

        activations = self.features.activations(circuits)
        for number, neurons in enumerate(rounds, 1):
            which = torch.from_numpy(neurons).to(self.network.device)
            relevances = self.features.relevances(circuits, which, last=number == len(rounds))
            yield {**activations, **relevances}[self.source.features][: len(neurons)]

    def _shares(self, neuron: int, points: np.ndarray, fires: np.ndarray) -> np.ndarray:
        assigner = self.assigner(neuron)
        if assigner is None:
            return np.ones((len(points), 1))
        shares = assigner.shares(points)
        shares[~fires] = 0
        shares[~fires, -1] = 1
        return shares

    def circuits(self, neuron: int) -> tuple[str, np.ndarray]:
        """A lower layer, and (V, D) mean relevances of its channels on the references of each virtual neuron.

        Raises
        ------
        PureError
            The virtual neurons are by several lower layers, or no reference has one.
        """
        if len(self.source.lower_layers) > 1:
            raise PureError(
                f"The virtual neurons of '{self.layer}' are by several lower layers, and channels of one can be shared "
                "out. Choose others with `pure choose --features`."
            )
        relevances = self.relevances
        labels = self.clustering.label[np.searchsorted(self.clustering.neuron, neuron)]
        count = int(labels.max(initial=-1)) + 1
        if not count:
            raise PureError(f"No reference of neuron {neuron} of '{self.layer}' has a virtual neuron.")
        (rows,) = relevances.rows(np.array([neuron]))
        return relevances.lower_layers[0], np.stack([rows[labels == v].mean(axis=0) for v in range(count)])


def open_reader(store: Store, layer: str, device: str = "auto") -> CircuitReader:
    """What reads the circuits of a layer, by the virtual neurons that addresses mean.

    Raises
    ------
    PureError
        No virtual neurons, stale ones, or those of features that need crops.
    """
    sources, clusterings = Sources(store), need_clusterings(store)
    need_layers([layer], there_are(clusterings.values()), "cluster")
    source, clustering = meant_features(sources, layer, clusterings)
    network = open_network(sources.collected, device)
    network.bound_of(layer, first_image(sources.listing([layer]), network))
    return CircuitReader.of(sources, source, clustering, network)
