"""Contact sheets: a row of images for each unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pure_cli.views.style import EMPTY, FAINT_INK, HEAD_SIZE, INK, SIZE, SMALL_SIZE, shortened, style

WIDTH = 7.0  # inches, of two columns of a paper
MARGIN, GAP, HEAD = 0.06, 0.04, 0.42
NAMES, CELL = 1.75, 0.6
LEAST = 8  # cells of a row


@dataclass(frozen=True, eq=False)
class Row:
    """A unit.

    Attributes
    ----------
    name, detail : before its images
    images : (h, w, 3) uint8 each
    """

    name: str
    detail: str
    images: Sequence[np.ndarray]


def draw(title: str, told: str, rows: Sequence[Row]) -> Figure:
    """A row for each unit, 7 inches wide; a sentence below the title."""
    height = 2 * MARGIN + HEAD + len(rows) * (CELL + GAP)
    with style():
        figure = Figure(figsize=(WIDTH, height))
        figure.suppressComposite = True  # each image on its own in vector files
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height), autoscale_on=False)
        axes.set_axis_off()
        _write(axes, MARGIN, height - MARGIN, shortened(title, HEAD_SIZE, WIDTH - 2 * MARGIN, "bold"), HEAD_SIZE, INK)
        told = shortened(told, SMALL_SIZE, WIDTH - 2 * MARGIN)
        _write(axes, MARGIN, height - MARGIN - 0.17, told, SMALL_SIZE, FAINT_INK, "normal")
        for number, row in enumerate(rows):
            _row(axes, row, height - MARGIN - HEAD - number * (CELL + GAP))
    return figure


def _row(axes: Axes, row: Row, top: float) -> None:
    room = NAMES - 2 * MARGIN
    _write(axes, MARGIN, top - 0.08, shortened(row.name, SIZE, room, "bold"), SIZE, INK)
    _write(axes, MARGIN, top - 0.26, shortened(row.detail, SMALL_SIZE, room), SMALL_SIZE, FAINT_INK, "normal")
    for place in range(max(LEAST, len(row.images))):
        left = NAMES + place * (CELL + GAP)
        axes.fill([left, left + CELL, left + CELL, left], [top, top, top - CELL, top - CELL], color=EMPTY, lw=0)
    for place, image in enumerate(row.images):
        high, wide = (CELL * side / max(image.shape[:2]) for side in image.shape[:2])
        left, low = NAMES + place * (CELL + GAP) + (CELL - wide) / 2, top - CELL + (CELL - high) / 2
        axes.imshow(image, extent=(left, left + wide, low, low + high), aspect="auto", interpolation="antialiased",
                    zorder=2)  # fmt: skip


def _write(axes: Axes, x: float, y: float, text: str, size: float, colour: str, weight: str = "bold") -> None:
    axes.text(x, y, text.replace("$", r"\$"), fontsize=size, color=colour, ha="left", va="top", weight=weight)
