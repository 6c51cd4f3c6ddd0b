"""Activations of neurons and virtual neurons on chosen images of a data set, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.artifacts import Clustering
from pure_cli.core.features import Kind
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.settings.shared import VIRTUAL, Running
from pure_cli.stages.assignment.reader import CircuitReader
from pure_cli.stages.assignment.scores import as_collected
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.inputs.units import WHOLE, Units
from pure_cli.stages.references.dataset_pass import damage_notes
from pure_cli.stages.runtime.images import first_image, images_at_once
from pure_cli.stages.runtime.network import Network, workers_of
from pure_cli.stages.runtime.soundness import require_sound

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class ActivationBatch:
    """Some images.

    Attributes
    ----------
    start, stop : places among the images of the pass
    own : (b,) int64, places of those of them that can be read
    images : (b, 3, H, W) uint8, as the network sees them
    value : (b, N) float32, of each neuron
    share : (b, N, V) float32, of each of their virtual neurons, zeros where a neuron has none; None where the units
        have no virtual neurons
    """

    start: int
    stop: int
    own: np.ndarray
    images: torch.Tensor
    value: np.ndarray
    share: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Activations:
    """Of neurons and virtual neurons on some images.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    value : (N, P) float32
    share : (N, P, V) float32, of each of their virtual neurons; None where that is not known
    """

    neuron: np.ndarray
    value: np.ndarray
    share: np.ndarray | None

    def of(self, units: Units, dealt: np.random.Generator | None = None) -> np.ndarray:
        """(U, P) of units; with `dealt`, shares go to other images at random, among those on which a neuron fires."""
        place = np.searchsorted(self.neuron, units.neuron[units.row])
        found = self.value[place].astype(np.float64)
        if self.share is not None:
            share = self._dealt(dealt) if dealt else self.share
            virtual = np.flatnonzero(units.part != WHOLE)
            found[virtual] = found[virtual].clip(min=0) * share[place[virtual], :, units.part[virtual]]
        return found

    def _dealt(self, random: np.random.Generator) -> np.ndarray:
        assert self.share is not None
        share = self.share.copy()
        for own, value in zip(share, self.value, strict=True):
            firing = np.flatnonzero(value > 0)
            own[firing] = own[random.permutation(firing)]
        return share


@dataclass(frozen=True, eq=False)
class ActivationPass:
    """A pass of the network over images, for some units of a layer.

    Attributes
    ----------
    units : neurons and virtual neurons
    source, clustering : of the virtual neurons; None where there are none
    listing : the images, of the workspace or others
    """

    sources: Sources
    layer: str
    units: Units
    source: FeatureSource | None
    clustering: Clustering | None
    listing: Listing
    how: Running

    @property
    def neurons(self) -> np.ndarray:
        """(N,) int64, ascending, that the units are or are parts of."""
        return np.unique(self.units.neuron[self.units.row])

    @property
    def most(self) -> int:
        """Virtual neurons that a neuron has at most; 0 where there are none among the units."""
        return int(self.units.part.max(initial=-1)) + 1 if self.clustering is not None else 0

    def size(self, network: Network) -> int:
        """Images at once."""
        first_image(self.listing, network)
        return images_at_once(self.listing, network, self.how.batch_size)

    def batches(
        self, network: Network, index: np.ndarray, notes: list[str], done: int = 0
    ) -> Iterator[ActivationBatch]:
        """All batches, from number `done` on.

        Parameters
        ----------
        index : (P,) data-set indices
        notes : gets what the user should know, at the end what cannot be read

        Raises
        ------
        PureError
            The virtual neurons are by embeddings, or the network does not give one answer for an image.
        """
        from pure_cli.data.loader import batches
        from pure_cli.stages.references.scores import LayerScores

        size, neurons = self.size(network), self.neurons
        reader = self._reader(network, notes)
        scores = LayerScores(network, [self.layer], as_collected(self.sources, self.listing), self.listing)
        damaged, start = [], done * size
        with scores:
            loaded = batches(self.listing, index, network.preprocessing, size, workers_of(self.how), done)
            for batch in loaded:
                stop = start + len(batch.index) + len(batch.damaged)
                own = start + np.flatnonzero(np.isin(index[start:stop], batch.index))
                damaged += [(one.index, one.path, one.reason) for one in batch.damaged]
                value, share = np.zeros((0, len(neurons)), np.float32), None
                if len(own):
                    scored, *_ = scores.score(batch)[self.layer]
                    value = scored.cpu().numpy()[:, neurons]
                if reader is not None:
                    share = self._share(reader, network.inputs(batch.images) if len(own) else None, len(own))
                yield ActivationBatch(start, stop, own, batch.images, value, share)
                start = stop
        notes += damage_notes(damaged)

    def _reader(self, network: Network, notes: list[str]) -> CircuitReader | None:
        """What tells virtual neurons apart; None where there are none among the units."""
        if self.source is None or self.clustering is None or not len(self.units.places(VIRTUAL)):
            return None
        if Kind.of(self.source.features).is_embedding:
            raise PureError(
                f"The virtual neurons of '{self.layer}' are by embeddings, which say nothing of other images. Choose "
                "others with `pure choose --features`, or take --units neurons."
            )
        notes += require_sound(network, self.listing, [self.layer, *self.source.lower_layers])
        network.bound_of(self.layer, first_image(self.listing, network))
        return CircuitReader.of(self.sources, self.source, self.clustering, network)

    def _share(self, reader: CircuitReader, inputs: torch.Tensor | None, count: int) -> np.ndarray:
        """(b, N, V) of a batch."""
        neurons = self.neurons
        share = np.zeros((count, len(neurons), self.most), np.float32)
        clustered = np.flatnonzero(np.isin(neurons, reader.clustering.neuron))
        found = reader.shares(inputs, neurons[clustered].tolist()) if inputs is not None else {}
        for row in clustered.tolist() if count else ():
            values = found[int(neurons[row])].cpu().numpy()[:, :-1]
            share[:, row, : values.shape[1]] = values
        return share
