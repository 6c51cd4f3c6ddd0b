"""Figures of an assignment, a file for each neuron."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.artifacts import Assignment, Collected
from pure_cli.core.neurons import NO_PART
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.listing import Listing
from pure_cli.files import disk_errors
from pure_cli.models.spec import parse_model
from pure_cli.settings.shared import FLOAT32
from pure_cli.stages.assignment.tables import carried
from pure_cli.words import counted

if TYPE_CHECKING:
    from pure_cli.views.assignment import Part


def remove_all(folder: Path, layer: str) -> None:
    """Remove the figures of a layer's assignment, which is gone."""
    with disk_errors(folder / layer):
        for file in (folder / layer).glob("neuron-*.png"):
            if file.stem.removeprefix("neuron-").isdecimal():
                file.unlink(missing_ok=True)


def draw_all(
    assignment: Assignment,
    layer: str,
    neurons: np.ndarray,
    counts: np.ndarray,
    listing: Listing,
    collected: Collected,
    preprocessing: Preprocessing,
    folder: Path,
) -> list[str]:
    """Draw the figures of some neurons, which have so many virtual neurons; their files."""
    from pure_cli.views.assignment import draw
    from pure_cli.views.style import save

    files = []
    with disk_errors(folder / layer):
        (folder / layer).mkdir(parents=True, exist_ok=True)
    model, data = parse_model(collected.origin["model"]).short, assignment.provenance.settings["data"]
    rough = "" if assignment.provenance.precision == FLOAT32 else f"shares in {assignment.provenance.precision}"
    for neuron, count in zip(neurons.tolist(), counts.tolist(), strict=True):
        place = int(np.searchsorted(assignment.neuron, neuron))
        names = [*(f"{neuron}.{virtual + 1}" for virtual in range(count)), NO_PART]
        own = collected.layers[layer].name_of(neuron)
        title = " · ".join(filter(None, [layer, f"neuron {neuron}", own]))
        file = folder / layer / f"neuron-{neuron:04d}.png"
        parts = [_part(assignment, place, quantile, count, listing, preprocessing)
                 for quantile in reversed(range(assignment.count.shape[1]))]  # fmt: skip
        save(draw(title, " · ".join(filter(None, [model, data, rough])), names, parts), file)
        files.append(str(file))
    return files


def _part(
    assignment: Assignment, place: int, quantile: int, count: int, listing: Listing, preprocessing: Preprocessing
) -> Part:
    """A quantile of the images on which a neuron fires."""
    from pure_cli.data.loader import decode_one
    from pure_cli.views.assignment import IMAGES, Part

    low, high = assignment.edge[place, quantile : quantile + 2].tolist()
    own = np.flatnonzero(assignment.quantile[place] == quantile)
    shown = own[np.linspace(0, len(own) - 1, min(IMAGES, len(own))).astype(int)] if len(own) else own
    shares = carried(assignment, place)[0][quantile]
    images = [decode_one(listing, int(index), preprocessing) for index in assignment.image[place, shown]]
    return Part(
        f"{low:.3g} … {high:.3g}" if len(own) else "–",
        counted(int(assignment.count[place, quantile]), "image"),
        np.append(shares[:count], shares[-1]) if np.isfinite(shares).all() else None,
        [image.transpose(1, 2, 0) for image in images],
        assignment.hard[place, shown].tolist(),
    )
