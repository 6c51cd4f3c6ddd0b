"""Activations of neurons and virtual neurons of both networks, on a sample of the images that they have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.features import Kind
from pure_cli.errors import PureError
from pure_cli.settings.compare import VIRTUAL, CompareSettings
from pure_cli.stages.assignment.reader import CircuitReader
from pure_cli.stages.assignment.scores import as_collected
from pure_cli.stages.comparison.images import CommonImages
from pure_cli.stages.comparison.measures import FEWEST, Activations, ByActivations, Sides, UnitPair, way_of
from pure_cli.stages.comparison.units import Side, Units
from pure_cli.stages.references.dataset_pass import damage_notes
from pure_cli.stages.runtime.images import first_image, images_at_once
from pure_cli.stages.runtime.network import Network, open_network, workers_of
from pure_cli.stages.runtime.soundness import require_sound

if TYPE_CHECKING:
    import torch

WHERE = "run on both networks"


def sampled_activations(
    sides: Sides,
    common: CommonImages,
    units: UnitPair,
    settings: CompareSettings,
    notes: list[str],
    done: Callable[[int], None],
) -> ByActivations:
    """Run both networks over some of the common images, spread evenly.

    Parameters
    ----------
    notes : gets what the user should know
    done : called with the number of images that one network has seen more
    """
    assert settings.sample is not None
    count = min(settings.sample, common.count)
    images = np.arange(count) * common.count // count
    runs = [
        _Run(side, own, common, images, settings).activations(notes, done)
        for side, own in zip(sides, units, strict=True)
    ]
    readable = np.isfinite(runs[0].value).all(axis=0) & np.isfinite(runs[1].value).all(axis=0)
    if readable.sum() < FEWEST:
        raise PureError("Fewer than three of the images can be read in both, too few for a correlation.")
    a, b = (
        Activations(own.neuron, own.value[:, readable], own.share[:, readable] if own.share is not None else None)
        for own in runs
    )
    way = way_of(settings, int(readable.sum()), WHERE)
    return ByActivations(way, (a, b), images[readable], settings.correlation == "spearman")


@dataclass(frozen=True)
class _Run:
    """A pass of one network over images, by their numbers among the common ones."""

    side: Side
    units: Units
    common: CommonImages
    images: np.ndarray
    settings: CompareSettings

    def activations(self, notes: list[str], done: Callable[[int], None]) -> Activations:
        """As of `Activations`, NaN on images that cannot be read."""
        from pure_cli.data.loader import batches
        from pure_cli.stages.references.scores import LayerScores

        side, listing = self.side, self.common.listings[self.side.number]
        network = open_network(side.sources.collected, self.settings.device)
        first_image(listing, network)
        reader = self._reader(network, notes)
        scores = LayerScores(network, [side.layer], as_collected(side.sources, listing), listing)
        neurons = np.unique(self.units.neuron[self.units.row])
        value = np.full((len(neurons), len(self.images)), np.nan, np.float32)
        share = None if reader is None else np.zeros((*value.shape, self._most), np.float32)
        index, damaged, start = self.common.index[side.number][self.images], [], 0
        size = images_at_once(listing, network, self.settings.batch_size)
        with scores:
            for batch in batches(listing, index, network.preprocessing, size, workers_of(self.settings)):
                stop = start + len(batch.index) + len(batch.damaged)
                own = start + np.flatnonzero(np.isin(index[start:stop], batch.index))
                damaged += [(one.index, one.path, one.reason) for one in batch.damaged]
                if len(own):
                    scored, *_ = scores.score(batch)[side.layer]
                    value[:, own] = scored.cpu().numpy()[:, neurons].T
                    if reader is not None and share is not None:
                        self._share(reader, network.inputs(batch.images), neurons, share, own)
                done(stop - start)
                start = stop
        notes += damage_notes(damaged)
        return Activations(neurons, value, share)

    @property
    def _most(self) -> int:
        """Virtual neurons that a neuron has at most."""
        return int(self.units.part.max(initial=0)) + 1

    def _reader(self, network: Network, notes: list[str]) -> CircuitReader | None:
        """What tells virtual neurons apart; None where none are matched."""
        side, listing = self.side, self.common.listings[self.side.number]
        if side.source is None or side.clustering is None or not len(self.units.places(VIRTUAL)):
            return None
        if Kind.of(side.source.features).is_embedding:
            raise PureError(
                f"The virtual neurons of {side.name} are by embeddings, which say nothing of other images. Choose "
                "others with `pure choose --features`, or take --units neurons."
            )
        notes += require_sound(network, listing, [side.layer, *side.source.lower_layers])
        network.bound_of(side.layer, first_image(listing, network))
        return CircuitReader.of(side.sources, side.source, side.clustering, network)

    def _share(
        self, reader: CircuitReader, inputs: torch.Tensor, neurons: np.ndarray, share: np.ndarray, own: np.ndarray
    ) -> None:
        """Fill in the shares of virtual neurons of a batch; neurons without any keep zeros."""
        clustered = np.flatnonzero(np.isin(neurons, reader.clustering.neuron))
        found = reader.shares(inputs, neurons[clustered].tolist())
        for row in clustered.tolist():
            values = found[int(neurons[row])].cpu().numpy()[:, :-1]
            share[row, own, : values.shape[1]] = values
