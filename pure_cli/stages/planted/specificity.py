"""Whether the splits of units cut through their circuits: specificity, beside the agreement with the known meanings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from pure_cli.core.features import PURE, Kind
from pure_cli.core.metrics.causal import circuit_channels
from pure_cli.settings.calibrate import CalibrateSettings
from pure_cli.settings.evaluate import EvaluateSettings
from pure_cli.stages.evaluation.held_out import Trial, drops, scores_of
from pure_cli.stages.evaluation.surgery import Surgery, surgery_on
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.planted.units import UnitWorkspace
from pure_cli.stages.runtime.images import images_of
from pure_cli.stages.runtime.network import Network

SHARE = 0.5  # of a circuit's relevance that is cut out
MOST = 4  # held-out images of each virtual neuron


def specificities(
    made: Sequence[UnitWorkspace],
    kinds: Sequence[str],
    network: Network,
    most: int,
    settings: CalibrateSettings,
    advance: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """How much more the loss of half a virtual neuron's circuit costs on its own images than on its sibling's.

    Parameters
    ----------
    made : units of one kind, half after half
    kinds : of features; circuits are cut at their lower layers, for activations at those of the first
    most : units with two meanings that are looked at

    Returns
    -------
    dict of features to (U',) drop on own images − on those of the sibling, 0 to 1 where all is well; NaN where a unit
    has too few references
    """
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    left = most
    for one in made:
        chosen = one.neuron[np.flatnonzero(one.count == 2)[:left]]
        left -= len(chosen)
        if not len(chosen):
            continue
        for kind, surgery in _surgeries(one, kinds, network, settings).items():
            features = surgery.sources.features_of(one.layer, kind, check=False).rows(chosen)
            trial = Trial.of(surgery.sources, surgery.source, features, chosen, 2, settings.seed, MOST)
            values = np.full(len(chosen), np.nan)
            for row, cases in trial.by_neuron():
                neuron = int(chosen[row])
                whole = scores_of(surgery, neuron, cases)
                own, siblings = drops(surgery, neuron, cases, whole, partial(circuit_channels, share=SHARE))
                values[row] = own - siblings
            found[kind] += values.tolist()
            advance(len(chosen))
    return {kind: np.array(values) for kind, values in found.items()}


def _surgeries(
    made: UnitWorkspace, kinds: Sequence[str], network: Network, settings: CalibrateSettings
) -> dict[str, Surgery]:
    """Of each kind of features; kinds with the same lower layers share one."""
    sources, by_place = Sources(made.store), dict[str, Surgery]()
    listing = images_of(made.store, sources.collected.origin["data"])
    directions = sources.collected.layers[made.layer].directions
    assert directions is not None
    own = replace(network, directions={made.layer: directions})
    how = EvaluateSettings(metric=["causal"], **settings.running)
    found = {}
    for kind in kinds:
        parsed = Kind.of(kind)
        place = parsed.where if parsed.has_lower_layer else Kind.of(kinds[0]).where
        if place not in by_place:
            relevances = sources.features_of(made.layer, f"{PURE}{place}", check=False)
            by_place[place] = surgery_on(own, sources, listing, relevances, how, settings.seed, [], made.begun)
        found[kind] = by_place[place]
    return found
