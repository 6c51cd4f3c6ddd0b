"""Relevance that flows from a neuron through several lower layers, as a mean over images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.directions import module_of
from pure_cli.data.listing import Listing
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import images_at_once, named_images, read_images
from pure_cli.stages.runtime.network import Network

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Circuits


@dataclass(frozen=True)
class References:
    """Images on which a neuron fires.

    Attributes
    ----------
    index : (n,) int64, in the data
    position : (n,) int64, of the neuron's maximum, flat over space
    images : (n, 3, H, W) uint8
    """

    neuron: int
    index: np.ndarray
    position: np.ndarray
    images: torch.Tensor

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Relevances:
    """What a neuron's references say of lower layers, the highest first.

    Attributes
    ----------
    mean : (D,) of each layer, over references that count the same: each has an L1 norm of 1 at the first layer
    norm : (n,) what the references were divided by
    value, position : (n, D) of each layer: its channels' maxima over space
    """

    mean: list[np.ndarray]
    norm: np.ndarray
    value: list[np.ndarray]
    position: list[np.ndarray]


@dataclass
class Flow:
    """Computes by one rule, for the neurons of one layer.

    Attributes
    ----------
    lower_layers : the highest first, each of which leads to the one before
    at_maximum : relevance is that of the neuron's activation at its maximum alone
    passes : forward and backward passes of a batch that were done
    """

    network: Network
    listing: Listing
    layer: str
    lower_layers: Sequence[str]
    rule: str
    at_maximum: bool
    batch_size: int | None
    notes: list[str]
    passes: dict[str, int] = field(default_factory=lambda: {"forward": 0, "backward": 0})

    def __post_init__(self) -> None:
        self.at_once = images_at_once(self.listing, self.network, self.batch_size)
        self._adaptive_batches = AdaptiveBatches(self.notes)

    def relevances(self, references: References) -> Relevances:
        """Of all channels of the lower layers: a forward and a backward pass for each batch."""
        from pure_cli.core.circuits import l1_normalised
        from pure_cli.core.layout import channels_first

        parts: list[tuple[list[np.ndarray], ...]] = []

        def compute(circuits: Circuits, arrived: dict[str, torch.Tensor], count: int) -> None:
            relevance = [circuits.relevance_of(name, arrived[name], count) for name in self.lower_layers]
            _, norm = l1_normalised(relevance[0])
            highest = [channels_first(circuits.lower(name)).max(dim=-1) for name in self.lower_layers]
            parts.append((
                [(values / norm[:, None]).cpu().numpy() for values in relevance],
                [norm.cpu().numpy()],
                [found.values.float().cpu().numpy() for found in highest],
                [found.indices.cpu().numpy() for found in highest],
            ))  # fmt: skip

        self._each(references, compute)
        whole, norm, value, position = (
            [np.concatenate([part[kind][i] for part in parts]) for i in range(len(parts[0][kind]))] for kind in range(4)
        )
        return Relevances([one.mean(axis=0, dtype=np.float64) for one in whole], norm[0], value, position)

    def edges(
        self,
        references: References,
        norm: np.ndarray,
        followed: Sequence[np.ndarray],
        step: Callable[[], None],
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What flows from channels of each layer to all of the next lower one, and from the whole layer.

        Parameters
        ----------
        norm : as of `Relevances`
        followed : (K,) channels of each layer but the lowest
        step : called after each backward pass

        Returns
        -------
        (K, D) and (D,) float64, of each layer but the lowest, with the D channels of the layer below it
        """
        pairs = list(zip(self.lower_layers[:-1], self.lower_layers[1:], followed, strict=True))
        found: list[np.ndarray] = []
        place = 0

        def compute(circuits: Circuits, arrived: dict[str, torch.Tensor], count: int) -> None:
            nonlocal place
            share = norm[place : place + count, None] * len(references)
            sums = []
            for upper, lower, channels in pairs:
                rows = []
                for channel in [None, *channels.tolist()]:
                    flowing = circuits.handed_on(upper, _only(arrived[upper], channel), lower)
                    relevance = circuits.relevance_of(lower, flowing, count).cpu().numpy()
                    rows.append((relevance.astype(np.float64) / share).sum(axis=0))
                    self.passes["backward"] += 1
                    step()
                sums.append(np.stack(rows))
            found[:] = [before + new for before, new in zip(found, sums, strict=True)] if found else sums
            place += count

        if pairs:
            self._each(references, compute)
        return [one[1:] for one in found], [one[0] for one in found]

    def steps(self, references: int, followed: Sequence[np.ndarray]) -> int:
        """Backward passes of `edges`."""
        return -(-references // self.at_once) * sum(1 + len(channels) for channels in followed)

    def _each(self, references: References, compute: Callable[[Circuits, dict[str, torch.Tensor], int], None]) -> None:
        """For each batch in turn: its circuits, and what arrives at the lower layers."""
        import torch

        from pure_cli.models.rules import circuits_for

        module, device = module_of(self.layer), self.network.device
        for start in range(0, len(references), self.at_once):

            def one(begin: int, end: int, start: int = start) -> None:
                rows = slice(start + begin, start + end)
                inputs = self.network.inputs(references.images[rows])
                with named_images(self.listing, references.index[rows]):
                    circuits = circuits_for(
                        self.rule, self.network.model, inputs, module, self.lower_layers,
                        self.network.neurons(self.layer), self.network.bounds[module],
                    )  # fmt: skip
                which = torch.full((end - begin,), references.neuron, device=device)
                positions = torch.from_numpy(references.position[rows]).to(device) if self.at_maximum else None
                arrived = circuits.arriving(which, positions=positions)
                self.passes["forward"] += 1
                self.passes["backward"] += 1
                compute(circuits, arrived, end - begin)

            self._adaptive_batches.each(min(self.at_once, len(references) - start), one)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """A context in which the rule holds, and the network is not what it was."""
        from pure_cli.models.rules import in_force

        with in_force(self.rule, self.network.model):
            yield


def _only(arrived: torch.Tensor, channel: int | None) -> torch.Tensor:
    """What arrived at one channel alone, or at all of them."""
    import torch

    if channel is None:
        return arrived
    masked = torch.zeros_like(arrived)
    masked[:, channel] = arrived[:, channel]
    return masked


def read_references(
    network: Network, listing: Listing, neuron: int, index: np.ndarray, position: np.ndarray
) -> References:
    """Images with their pixels.

    Raises
    ------
    PureError
        One of them cannot be read any more.
    """
    return References(neuron, index, position.astype(np.int64), read_images(network, listing, index))
