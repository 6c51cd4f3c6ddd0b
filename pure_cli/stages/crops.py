"""crops: what each neuron saw of each of its references, as a box in the image. Computed on the way by embed."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from pure_cli.artifacts import NewRows, add_rows, read_row, read_rows_index
from pure_cli.config import fingerprint
from pure_cli.core.references import NO_IMAGE
from pure_cli.errors import PureError
from pure_cli.stages.common import Network
from pure_cli.stages.pairs import PairWork, Plan
from pure_cli.stages.sources import Sources
from pure_cli.workspace import result_fingerprint

RULE = "epsilon-plus-flat"  # of the heatmaps, as in PURE
BOX = "box"  # the data set of crops.h5: top, bottom, left, right, half-open; -1 where there is no image
HEATMAPS_SHARE = 8  # times the memory of a forward pass: the graph of the whole network, with the rules' copies


def boxes(sources: Sources, layer: str, crop: str, neurons: np.ndarray) -> Iterator[np.ndarray]:
    """Boxes (n, 4) of each of some neurons, once they are there.

    Parameters
    ----------
    crop : "crp" or "activation"
    """
    there = read_rows_index(sources.store, "crops", BOX)[layer, crop]
    for place in np.searchsorted(there.neuron, neurons).tolist():
        yield read_row(sources.store, "crops", layer, crop, BOX, place)


def missing_boxes(sources: Sources, layer: str, crop: str, neurons: np.ndarray) -> np.ndarray:
    """Those of some neurons that have no boxes yet, or stale ones."""
    there = read_rows_index(sources.store, "crops", BOX).get((layer, crop))
    if there is None or there.fingerprint != result_fingerprint(*_depends_on(sources, layer, crop)):
        return neurons
    return np.setdiff1d(neurons, there.neuron)


def compute_boxes(
    sources: Sources,
    network: Network,
    layer: str,
    crop: str,
    neurons: np.ndarray,
    batch_size: int | None,
    workers: int | None,
    anew: bool,
) -> Iterator[int]:
    """Find the boxes of some neurons and write them; yields the pairs of every finished batch.

    Parameters
    ----------
    crop : "crp", by relevance of the pixels, or "activation", by the neuron's own map
    """
    import torch

    from pure_cli.core.circuits import Heatmaps, activation_maps, activations
    from pure_cli.core.crops import blurred, box, seen
    from pure_cli.models.layers import check_rules, list_layers
    from pure_cli.models.rules import composite_for

    listing = sources.listing([layer])
    top = sources.collected.layers[layer].top
    plan = Plan.of(top.image[neurons])
    settings, made_from = _depends_on(sources, layer, crop)
    size = plan.batch_size(listing, network, batch_size, HEATMAPS_SHARE if crop == "crp" else 1)
    shape = (plan.references, 4)
    key = fingerprint([settings, made_from, neurons.tolist(), size])
    registered: Any = nullcontext()
    if crop == "activation" and len(sources.collected.layers[layer].shape) != 3:
        raise PureError(f"The neurons of '{layer}' have no map over space. Use --crop crp or --crop none.")
    if crop == "crp":
        layers = list_layers(network.model, network.inputs(plan.first_image(listing, network)))
        check_rules(network.model, layers, layer)
        registered = composite_for(RULE, network.model).context(network.model)
    arrays = {BOX: ((len(neurons) * plan.references, 4), "int16")}
    with PairWork(sources.store, "crops", key, plan, arrays, size, anew) as work, registered:
        yield work.pairs_done
        for start, stop, images in work.batches(listing, network.preprocessing, workers):
            inputs = network.inputs(images)
            maps: Any = Heatmaps(network.model, inputs, layer) if crop == "crp" else None
            activation = activations(network.model, inputs, [layer])[layer] if crop == "activation" else None
            rounds = list(plan.rounds(start, stop))
            for pairs in rounds:
                rows = plan.neuron_row[pairs]
                channels = torch.from_numpy(neurons[rows]).to(network.device)
                if activation is None:
                    places = top.position[neurons[rows], plan.slot[pairs]].astype(np.int64)
                    positions = torch.from_numpy(places).to(network.device)
                    found = maps.at(channels, positions, last=pairs is rounds[-1])
                else:
                    found = activation_maps(activation, channels, (inputs.shape[-2], inputs.shape[-1]))
                work.write(BOX, plan.row(pairs), np.array([box(one) for one in seen(blurred(found)).cpu()]))
            yield plan.pairs_of(start, stop)
        n = plan.references
        there = top.image[neurons] != NO_IMAGE

        def row(place: int) -> np.ndarray:
            return np.where(there[place][:, None], work.rows(BOX, place * n, (place + 1) * n), -1)

        new = NewRows(neurons, row, shape, "int16", settings, made_from)
        add_rows(sources.store, "crops", layer, crop, BOX, new, anew)
        work.finished()


def _depends_on(sources: Sources, layer: str, crop: str) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = {"layer": layer, "crop": crop, "rule": RULE if crop == "crp" else ""}
    return settings, sources.embed_lineage(layer)
