"""What a method of the benchmark may look at: the references of one unit, and never what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from pure_cli.artifacts import Track
from pure_cli.core.clusters import labels_of
from pure_cli.core.directions import Directions
from pure_cli.core.features import KINDS, Kind
from pure_cli.core.kmeans import inner_products
from pure_cli.core.meanings import meanings
from pure_cli.data.listing import Listing
from pure_cli.errors import unknown
from pure_cli.stages.inputs.features import RULE
from pure_cli.stages.relevances.image_features import ImageFeatures
from pure_cli.stages.runtime.images import first_image, read_images
from pure_cli.stages.runtime.network import Network

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pure_cli.core.circuits import Circuits

NULLS = 50  # clouds of one meaning that a unit is held against, where k is chosen
GRADIENT = "gradient-x-input"  # the paper's rule


@dataclass(frozen=True)
class OpenTrack:
    """A track with its network and its images.

    Attributes
    ----------
    track : which
    network : with the track's weights
    untrained : the same with weights of a seed
    listing : images
    index : (I,) int64, data-set indices of the track's
    batch_size : images at once
    """

    track: Track
    network: Network
    untrained: Network
    listing: Listing
    index: np.ndarray
    batch_size: int


class NotOpened(BaseException):
    """A method asks for what only an open track has. No `Exception`: a method that catches those goes no further."""


class _Nothing:
    """In the place of a network and its images."""

    def __getattr__(self, name: str) -> NoReturn:
        raise NotOpened


def unopened(track: Track) -> OpenTrack:
    """A track of which nothing is open yet: its units have numbers, directions and layers, and all else of them raises
    `NotOpened`."""
    nothing = cast(Any, _Nothing())
    return OpenTrack(track, nothing, nothing, nothing, np.zeros(len(track.image), np.int64), 1)


class UnitInputs:
    """What is known of one unit to a network: computed where it is asked for, and once.

    Parameters
    ----------
    bench : the open track
    unit : its number
    network : the track's, or the untrained one
    other : the same unit to another network with this preprocessing, whose images are read once for both
    """

    def __init__(self, bench: OpenTrack, unit: int, network: Network, other: UnitInputs | None = None):
        self.unit, self.network = unit, network
        self.layer, self.module = bench.track.layer, bench.track.module[unit]
        self.paper, self.hidden = bench.track.paper, bench.track.hidden
        self.direction: Directions = bench.track.direction(unit)
        self._listing, self._index = bench.listing, bench.index[bench.track.reference[unit]]
        self._all = bench.index
        self._batch_size = bench.batch_size
        self._other = other
        self._found: dict[str, np.ndarray] = {}

    def _once(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        if name not in self._found:
            self._found[name] = compute()
        return self._found[name]

    def pixels(self) -> np.ndarray:
        """(n, 3, H, W) uint8."""
        if self._other is not None:
            return self._other.pixels()
        return self._once("pixels", lambda: read_images(self.network, self._listing, self._index).numpy())

    def inputs(self) -> torch.Tensor:
        """(n, 3, H, W) float32, on the network's device."""
        import torch

        return self.network.inputs(torch.from_numpy(self.pixels()))

    def activations(self) -> np.ndarray:
        """(n, C, …) float32, what the module gives."""

        def read(circuits: Circuits) -> np.ndarray:
            return circuits.activation.float().cpu().numpy()

        return self._once("activations", lambda: self._from_circuits([], read))

    def activations_of_all(self) -> Iterator[np.ndarray]:
        """(B, C, …) float32 of all images of the track."""
        from pure_cli.core.circuits import activations

        network = self.network
        for begin in range(0, len(self._all), self._batch_size):
            pixels = read_images(network, self._listing, self._all[begin : begin + self._batch_size])
            yield activations(network.model, network.inputs(pixels), [self.module])[self.module].float().cpu().numpy()

    def relevances(self, lower_layer: str, rule: str) -> np.ndarray:
        """(n, D) float32, divided by their L1 norms."""

        def compute() -> np.ndarray:
            from pure_cli.models.rules import RULES, in_force

            if rule not in RULES:
                raise unknown("rule", rule, RULES)
            with in_force(rule, self.network.model):
                return self._from_circuits(
                    [lower_layer],
                    lambda circuits: circuits.relevance(_first(circuits), last=True)[lower_layer].cpu().numpy(),
                    rule,
                )

        return self._once(f"{rule} {lower_layer}", compute)

    def features(self, name: str) -> np.ndarray:
        """(n, D) float32."""
        kind = Kind.of(name)
        if kind.is_embedding or (kind.has_lower_layer and not kind.lower_layers):
            hint = "Name the lower layer of relevances, as in pure@LAYER."
            raise unknown("kind of features", name, KINDS, hint)

        def compute() -> np.ndarray:
            wanted = ImageFeatures({name: kind.lower_layers})

            def read(circuits: Circuits) -> np.ndarray:
                return (wanted.relevances(circuits, _first(circuits), True) or wanted.activations(circuits))[name]

            return np.nan_to_num(self._from_circuits(wanted.every_lower_layer, read), posinf=0, neginf=0)

        return self._once(name, compute)

    def _from_circuits(
        self, lower_layers: Sequence[str], read: Callable[[Circuits], np.ndarray], rule: str = GRADIENT
    ) -> np.ndarray:
        """What is read off the circuits of the references, as many at once as go."""
        from pure_cli.models.rules import circuits_for

        bound = self.network.bound_of(self.module, first_image(self._listing, self.network))
        parts = self.inputs().split(self._batch_size)
        where = self.module, list(lower_layers), self.direction, bound
        return np.concatenate([read(circuits_for(rule, self.network.model, part, *where)) for part in parts])


def _first(circuits: Circuits) -> torch.Tensor:
    """(B,) the direction, which is the only one, for each image."""
    import torch

    return torch.zeros(len(circuits.images), dtype=torch.int64, device=circuits.images.device)


class References:
    """The references of one unit, in an order that says nothing: what a method of the benchmark is given.

    The unit is a direction over the channels of a layer, and the references are the images that excite it most. A
    method says which of them belong together. Everything is computed when it is asked for.

    Attributes
    ----------
    k : int or None
        Meanings of the unit. None: find out how many there are, or return None.
    seed : int
        Of every random choice.
    """

    def __init__(self, own: UnitInputs, order: np.ndarray, k: int | None, seed: int):
        self._own, self._order = own, order
        self.k, self.seed = k, seed

    def __len__(self) -> int:
        return len(self._order)

    @property
    def unit(self) -> str:
        """The unit, by its number."""
        return f"unit {self._own.unit}"

    @property
    def model(self) -> nn.Module:
        """The network, in eval mode. Leave it as it is."""
        return self._own.network.model

    @property
    def layer(self) -> str:
        """The module over whose channels the unit is a direction."""
        return self._own.module

    @property
    def lower_layers(self) -> dict[str, str]:
        """``"paper"`` and ``"hidden"``: the lower layer of the paper's recipe, and the hidden layer of the last block
        where there is one; any other can be named too."""
        found = {"paper": self._own.paper, "hidden": self._own.hidden}
        return {name: layer for name, layer in found.items() if layer}

    @property
    def direction(self) -> np.ndarray:
        """(C,) float32; the unit is this over the layer's channels, plus `bias`, at every position."""
        return self._own.direction.weight[0].copy()

    @property
    def bias(self) -> float:
        """Added to it."""
        return float(self._own.direction.bias[0])

    @property
    def relu(self) -> bool:
        """Whether negative activations of the unit count as zero."""
        return self._own.direction.relu

    @property
    def pixels(self) -> np.ndarray:
        """(n, 3, H, W) uint8, the images after resize and crop, for other networks to look at."""
        return self._own.pixels()[self._order]

    @property
    def images(self) -> torch.Tensor:
        """(n, 3, H, W) float32 on the model's device, the images as the model takes them."""
        import torch

        return self._own.inputs()[torch.from_numpy(self._order)]

    @property
    def activations(self) -> np.ndarray:
        """(n, C, …) float32, what the layer gives for each image."""
        return self._own.activations()[self._order]

    def activations_of_all(self) -> Iterator[np.ndarray]:
        """What the layer gives for the references of all units, each image once: to learn a dictionary from.

        Yields
        ------
        (B, C, …) float32
            Of some images, which do not come in an order that says anything.
        """
        return self._own.activations_of_all()

    def relevances(self, lower_layer: str, rule: str = GRADIENT) -> np.ndarray:
        """Relevance of the channels of a lower layer for the unit, by image.

        Parameters
        ----------
        lower_layer : name of a module below the layer
        rule : as of ``pure attribute --rule``

        Returns
        -------
        (n, D) float32
            Summed over space, signed, with an L1 norm of 1.
        """
        return self._own.relevances(lower_layer, rule)[self._order]

    def features(self, kind: str) -> np.ndarray:
        """Features by the names that pure has for them.

        Parameters
        ----------
        kind : ``pure@LAYER``, ``pure-sqrt-l2@LAYER``, ``lower-activation@LAYER``, ``activation-max``, …

        Returns
        -------
        (n, D) float32
        """
        return self._own.features(kind)[self._order]

    def split(self, features: np.ndarray) -> np.ndarray:
        """Clusters of features, as ``pure cluster`` finds them: k-means, and where k is None by the gap statistic.

        Parameters
        ----------
        features : (n, D) float

        Returns
        -------
        (n,) int
        """
        points, k = np.asarray(features, np.float64), self.k
        if k is None:
            (found,) = meanings([points], [np.ones(len(points), bool)], self.seed, NULLS, [RULE])
            k = found.k[RULE]
        return labels_of(inner_products(points)[None], [points], min(k, len(points)), np.array([self.seed]))[0]
