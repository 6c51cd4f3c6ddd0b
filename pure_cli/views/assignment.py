"""The figure of an assignment: a neuron from its strongest images to its faintest, and whose each part is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pure_cli.views.style import (
    FAINT_INK,
    HEAD_SIZE,
    INCH_PER_POINT,
    INK,
    NO_VIRTUAL_NEURON,
    PALETTE,
    SIZE,
    SMALL_SIZE,
    shortened,
    style,
    text_width,
)

IMAGES = 8  # in a row
# inches
WIDTH = 7.0  # of two columns of a paper
MARGIN, GAP = 0.06, 0.06
HEAD, LEGEND, FOOT = 0.26, 0.22, 0.2
NAMES, BAR = 1.15, 2.0  # width of what stands before the bars, and of these
ROW, THUMBNAIL = 0.44, 0.4
FRAME = 1.6  # points, around an image


@dataclass(frozen=True, eq=False)
class Part:
    """A quantile of the images on which a neuron fires.

    Attributes
    ----------
    name : its range of scores
    detail : how many images
    shares : (V + 1,) of the activation, the last of none of the virtual neurons; None where it has no images
    images : (h, w, 3) uint8 each
    hard : the virtual neuron of each image, -1 for none
    """

    name: str
    detail: str
    shares: np.ndarray | None
    images: Sequence[np.ndarray]
    hard: Sequence[int]


def draw(title: str, subtitle: str, names: Sequence[str], parts: Sequence[Part]) -> Figure:
    """A row for each part, the strongest first.

    Parameters
    ----------
    names : of the virtual neurons, then of none of them
    """
    height = MARGIN * 2 + HEAD + LEGEND + ROW * len(parts) + FOOT
    with style():
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(0, height))
        axes.axis("off")
        top = height - MARGIN
        _head(axes, top, title, subtitle)
        _legend(axes, top - HEAD, names)
        for number, part in enumerate(parts):
            _row(axes, top - HEAD - LEGEND - ROW * number, part, len(names))
        text = "share of the activation in each part; frames: the virtual neuron that an image is nearest to"
        axes.text(MARGIN, MARGIN, text, size=SMALL_SIZE, color=FAINT_INK, va="bottom")
    return figure


def colour_of(virtual: int, count: int) -> str:
    """Of a virtual neuron, counted from 0; of none of them, which is -1 or the last of `count`."""
    return NO_VIRTUAL_NEURON if virtual in (-1, count - 1) else PALETTE[virtual % len(PALETTE)]


def _head(axes: Axes, top: float, title: str, subtitle: str) -> None:
    axes.text(MARGIN, top, title, size=HEAD_SIZE, weight="bold", color=INK, va="top")
    left = MARGIN + text_width(title, HEAD_SIZE, "bold") + 3 * GAP
    axes.text(left, top, shortened(subtitle, SIZE, WIDTH - left - MARGIN), size=SIZE, color=FAINT_INK, va="top")


def _legend(axes: Axes, top: float, names: Sequence[str]) -> None:
    left = MARGIN + NAMES
    for virtual, name in enumerate(names):
        axes.add_patch(Rectangle((left, top - 0.12), 0.1, 0.1, color=colour_of(virtual, len(names)), lw=0))
        axes.text(left + 0.14, top - 0.07, name, size=SMALL_SIZE, color=INK, va="center")
        left += 0.14 + text_width(name, SMALL_SIZE) + 2 * GAP


def _row(axes: Axes, top: float, part: Part, count: int) -> None:
    middle = top - ROW / 2
    axes.text(MARGIN, middle + 0.01, part.name, size=SIZE, color=INK, va="bottom")
    axes.text(MARGIN, middle - 0.01, part.detail, size=SMALL_SIZE, color=FAINT_INK, va="top")
    left, bottom = MARGIN + NAMES, middle - 0.1
    for virtual, share in enumerate(part.shares if part.shares is not None else ()):
        axes.add_patch(Rectangle((left, bottom), BAR * float(share), 0.2, color=colour_of(virtual, count), lw=0))
        left += BAR * float(share)
    left = MARGIN + NAMES + BAR + 2 * GAP
    for image, virtual in list(zip(part.images, part.hard, strict=True))[:IMAGES]:
        high, wide = image.shape[:2]
        scale = THUMBNAIL / max(high, wide)
        x, y = left + (THUMBNAIL - wide * scale) / 2, middle - high * scale / 2
        axes.imshow(image, extent=(x, x + wide * scale, y, y + high * scale), interpolation="antialiased", zorder=1)
        frame = Rectangle((x, y), wide * scale, high * scale, fill=False, lw=FRAME, zorder=2)
        frame.set_edgecolor(colour_of(virtual, count))
        axes.add_patch(frame)
        left += THUMBNAIL + FRAME * 2 * INCH_PER_POINT
    axes.set(xlim=(0, WIDTH), ylim=axes.get_ylim())
    axes.set_aspect("auto")
