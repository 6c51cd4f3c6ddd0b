"""Neurons of an atlas as one piece of HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from pure_cli.artifacts import clustering_path, read_clusterings
from pure_cli.settings.atlas import AtlasSettings
from pure_cli.settings.embed import EmbedSettings
from pure_cli.stages.atlas_content.inputs import LayerInputs, open_layer
from pure_cli.stages.atlas_content.layer import LayerContent
from pure_cli.stages.atlas_content.near import spaces
from pure_cli.stages.atlas_content.neuron import NeuronContent
from pure_cli.stages.atlas_content.site import layer_entry, site
from pure_cli.stages.atlas_content.tiles import SIZES, icon_sheet, part_icons, sheets
from pure_cli.stages.embeddings.crops import CRP, WHOLE, missing_boxes
from pure_cli.stages.inputs.features import Sources
from pure_cli.workspace import Store

HEIGHT = 720  # pixels of the frame


def inline(
    store: Store, layer: str, neurons: Sequence[int], start: str, clustering: tuple[str, int | str] | None = None
) -> str:
    """A frame with the pane of some neurons of a layer; nothing is written but what the workspace keeps anyway.

    Parameters
    ----------
    neurons : ascending
    start : address of what is shown first
    clustering : features and k of the virtual neurons; those that addresses mean where nothing is said

    Raises
    ------
    PureError
        They have no virtual neurons, or stale ones.
    """
    from pure_cli.views.atlas.page import page

    sources, chosen = Sources(store), np.array(neurons, np.int64)
    inputs = _inputs(sources, layer, chosen, clustering)
    near = list(spaces(inputs))
    content = LayerContent(inputs, chosen, [])
    chunks: dict[str, Any] = {f"layer:{layer}": content.content(near[0].title if near else "")}
    panes = NeuronContent(inputs, near[0].nearest(chosen) if near else {})
    both = [panes.content(neuron, box) for neuron, box in zip(neurons, inputs.boxes(chosen), strict=True)]
    made = sheets([job for _, job in both], inputs.listing, sources.preprocessing, SIZES["normal"], 0)
    icons: list[np.ndarray] = []
    for (own, _), (job, found) in zip(both, made, strict=True):
        chunks[f"neuron:{layer}/{job.neuron}"] = {**own, "sheets": found}
        icons += part_icons(own, found).values()
    if icons:
        chunks[f"icons:{layer}:0"] = icon_sheet(icons, SIZES["normal"])
    told = site(sources.collected, [layer_entry(inputs, content, "")], [], start)
    whole = page({**told, "inline": True}, chunks)
    return (
        f'<iframe srcdoc="{escape(whole)}" title="{escape(start)}" sandbox="allow-scripts allow-downloads" '
        f'style="width: 100%; height: {HEIGHT}px; border: 1px solid #8884"></iframe>'
    )


def _inputs(sources: Sources, layer: str, neurons: np.ndarray, clustering: tuple[str, int | str] | None) -> LayerInputs:
    """With what the neurons saw, where it was found before, and whole images else."""
    clusterings = read_clusterings(sources.store)
    meant = None
    if clustering is not None:
        features, k = clustering
        meant = sources.features_of(layer, features), clusterings[clustering_path(layer, features, k)]
    crop: Any = CRP
    if len(missing_boxes(sources, layer, crop, neurons, EmbedSettings(crop=crop))):
        crop = WHOLE
    return open_layer(sources, layer, clusterings, AtlasSettings(layer=[layer], crop=crop), meant)
