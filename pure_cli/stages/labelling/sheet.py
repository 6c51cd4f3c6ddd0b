"""Contact sheets: what units respond to, a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pure_cli.artifacts import Clustering
from pure_cli.core.references import NO_IMAGE
from pure_cli.errors import PureError
from pure_cli.files import disk_errors
from pure_cli.stages.embeddings.crops import WHOLE, boxes
from pure_cli.stages.inputs.features import FeatureSource, Sources

IMAGES = 8  # of a unit

Unit = tuple[FeatureSource, Clustering | None, int, int]
"""The embeddings and the clustering of a unit's layer, the neuron, and the virtual neuron counted from 0, -1 for the
neuron itself."""


def draw_sheet(
    sources: Sources, units: Sequence[Unit], captions: Sequence[tuple[str, str]], title: str, told: str, file: Path
) -> None:
    """Draw the first references of units, cut as they were embedded.

    Parameters
    ----------
    captions : name and detail of each unit
    told : a sentence below the title
    file : its folder is made where it is missing

    Raises
    ------
    PureError
        A reference cannot be read any more, or the ending of the file is none of a figure.
    """
    from pure_cli.views.sheet import Row, draw
    from pure_cli.views.style import save

    rows = [Row(name, detail, _images(sources, unit)) for unit, (name, detail) in zip(units, captions, strict=True)]
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    save(draw(title, told, rows), file)


def _images(sources: Sources, unit: Unit) -> list[np.ndarray]:
    """(h, w, 3) uint8 of the first references of a unit."""
    from pure_cli.data.decode import DamagedImage
    from pure_cli.data.loader import decode_one

    embeddings, clustering, neuron, part = unit
    layer, listing = embeddings.layer, sources.listing([embeddings.layer])
    image = sources.collected.layers[layer].top.image[neuron]
    there = (image != NO_IMAGE) & sources.excites(layer, neuron)
    if clustering is not None and part >= 0:
        there &= clustering.label[np.searchsorted(clustering.neuron, neuron)] == part
    slots = np.flatnonzero(there)[:IMAGES]
    crop = sources.embeddings(layer)[embeddings.features].provenance.settings["crop"]
    seen = None if crop == WHOLE else next(iter(boxes(sources, layer, crop, np.array([neuron]))))
    found = []
    for slot in slots.tolist():
        try:
            pixels = decode_one(listing, int(image[slot]), sources.preprocessing).transpose(1, 2, 0)
        except DamagedImage as error:
            raise PureError(f"{listing.place(int(image[slot]))} cannot be read any more ({error.reason}).") from None
        if seen is not None:
            top, bottom, left, right = seen[slot]
            pixels = pixels[top:bottom, left:right]
        found.append(pixels)
    return found
