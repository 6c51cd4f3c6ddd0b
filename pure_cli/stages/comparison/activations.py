"""Activations of neurons and virtual neurons of both networks, on a sample of the images that they have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pure_cli.errors import PureError
from pure_cli.settings.compare import CompareSettings
from pure_cli.stages.assignment.unit_activations import ActivationPass, Activations
from pure_cli.stages.comparison.images import CommonImages
from pure_cli.stages.comparison.measures import FEWEST, ByActivations, Sides, UnitPair, way_of
from pure_cli.stages.comparison.sides import Side
from pure_cli.stages.inputs.units import Units
from pure_cli.stages.runtime.network import open_network

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
        _activations(side, own, common, images, settings, notes, done) for side, own in zip(sides, units, strict=True)
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


def _activations(
    side: Side,
    units: Units,
    common: CommonImages,
    images: np.ndarray,
    settings: CompareSettings,
    notes: list[str],
    done: Callable[[int], None],
) -> Activations:
    """Of one network on images, by their numbers among the common ones; NaN on those that cannot be read."""
    listing, index = common.listings[side.number], common.index[side.number][images]
    run = ActivationPass(side.sources, side.layer, units, side.source, side.clustering, listing, settings)
    network = open_network(side.sources.collected, settings.device)
    value = np.full((len(run.neurons), len(images)), np.nan, np.float32)
    share: np.ndarray | None = None
    for batch in run.batches(network, index, notes):
        value[:, batch.own] = batch.value.T
        if batch.share is not None:
            share = np.zeros((*value.shape, run.most), np.float32) if share is None else share
            share[:, batch.own] = batch.share.swapaxes(0, 1)
        done(batch.stop - batch.start)
    return Activations(run.neurons, value, share)
