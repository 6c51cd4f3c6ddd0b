"""export: which images belong to which virtual neuron, as one long table for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pure_cli.artifacts import Clustering, Collected, need_clusterings
from pure_cli.core.neurons import choose_neurons
from pure_cli.errors import PureError, unknown
from pure_cli.stages.inputs.features import Sources
from pure_cli.workspace import Store

COLUMNS = ("address", "features", "k", "index", "path", "score", "share", "label", "class")


def members(
    store: Store,
    neurons: str | None = None,
    layer: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    k: Sequence[str] | None = None,
) -> dict[str, list[Any]]:
    """A row for each reference of each virtual neuron, by column.

    Parameters
    ----------
    neurons : as of ``--neurons``; all that have virtual neurons where nothing is said
    layer, features, k : of the clusterings; all that are there where nothing is said

    Returns
    -------
    dict of `COLUMNS`, each as long as there are rows
        "address" as in figures (``layer4/201.2``, counted from 1), "index" and "path" of the image, its "score", the
        "share" of its neuron's references that belong to the virtual neuron, and the image's "label" and "class" (None
        where it has none). Clusterings in the order of the file, neurons ascending, the highest scores first.

    Raises
    ------
    PureError
        There is no such clustering, one is stale, or it lacks a neuron that was asked for.
    """
    sources, clusterings = Sources(store), need_clusterings(store)
    requested = {"layer": layer, "features": features, "k": k}
    for name, wanted in requested.items():
        there = list(dict.fromkeys(str(one.provenance.settings[name]) for one in clusterings.values()))
        for value in wanted or ():
            if value not in there:
                raise unknown(f"{name} of a clustering", value, there, "Run `pure cluster` to add it.")
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for clustering in clusterings.values():
        own = clustering.provenance.settings
        if all(wanted is None or str(own[name]) in wanted for name, wanted in requested.items()):
            sources.features_of(own["layer"], own["features"]).require_current(clustering)
            for row in _rows(clustering, sources.collected, neurons):
                for name, value in zip(COLUMNS, row, strict=True):
                    found[name].append(value)
    if not found["address"]:
        raise PureError("No clustering has all that was asked for. `pure info` lists them.")
    return found


def _rows(clustering: Clustering, collected: Collected, neurons: str | None) -> Iterator[tuple[Any, ...]]:
    own = clustering.provenance.settings
    layer, path_of = collected.layers[own["layer"]], collected.path_of
    chosen = choose_neurons(neurons, clustering.neuron, layer.neurons, own["layer"], "virtual neurons", "pure cluster")
    for row in np.searchsorted(clustering.neuron, chosen).tolist():
        neuron, labels = int(clustering.neuron[row]), clustering.label[row]
        belonging = int((labels >= 0).sum())
        for virtual in range(int(labels.max(initial=-1)) + 1):
            slots = np.flatnonzero(labels == virtual)
            share = len(slots) / belonging
            for slot in slots.tolist():
                image = int(layer.top.image[neuron, slot])
                label = collected.label_of[image]
                named = label if label >= 0 else None
                name = collected.label_names[label] if 0 <= label < len(collected.label_names) else None
                yield (
                    f"{own['layer']}/{neuron}.{virtual + 1}", own["features"], own["k"], image, path_of[image],
                    float(layer.top.value[neuron, slot]), share, named, name,
                )  # fmt: skip
