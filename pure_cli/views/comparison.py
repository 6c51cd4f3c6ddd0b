"""The figure of a comparison: how alike the units of two layers are, and how alike by chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pure_cli.views.style import (
    FAINT_INK,
    HEAD_SIZE,
    INK,
    NO_VIRTUAL_NEURON,
    PALETTE,
    SIZE,
    SMALL_SIZE,
    shortened,
    style,
)

# inches
WIDTH = 7.0  # of two columns of a paper
HEAD, ROW, FOOT = 0.5, 2.5, 0.1
LEFT, SQUARE, TOP, BOTTOM = 0.55, 1.8, 0.3, 0.45
BAR = 0.08  # width of the colour bar
HISTOGRAM = 3.55  # where it begins
CELLS = 200  # of the matrix at most, each way
BINS = 30
ABOVE = 8  # times the number of units, how high histograms reach: room for the legend


@dataclass(frozen=True, eq=False)
class Panel:
    """Units of one kind in both.

    Attributes
    ----------
    units : what they are, in the plural
    matrix : (N, M) similarities, units of A as rows; the most similar pairs first in both
    pairs : how many of the first rows and columns are pairs
    best : (N,) and (M,) similarity of each unit of A, and of B, with its most similar one
    chance : the same in shuffles, of any number
    limit : (N,) and (M,), above which units match
    """

    units: str
    matrix: np.ndarray
    pairs: int
    best: tuple[np.ndarray, np.ndarray]
    chance: tuple[np.ndarray, np.ndarray]
    limit: tuple[np.ndarray, np.ndarray]


def draw(title: str, similarity: str, panels: Sequence[Panel]) -> Figure:
    """A row for each panel: the matrix, and histograms of the most similar against chance.

    Parameters
    ----------
    title : which layers
    similarity : what it is
    """
    height = HEAD + ROW * len(panels) + FOOT
    with style():
        figure = Figure(figsize=(WIDTH, height))
        figure.text(0.1 / WIDTH, 1 - 0.08 / height, shortened(title, HEAD_SIZE, WIDTH - 0.3, "bold"),
                    size=HEAD_SIZE, weight="bold", color=INK, va="top")  # fmt: skip
        figure.text(0.1 / WIDTH, 1 - 0.26 / height, shortened(similarity, SIZE, WIDTH - 0.3), size=SIZE,
                    color=FAINT_INK, va="top")  # fmt: skip
        for number, panel in enumerate(panels):
            bottom = height - HEAD - ROW * (number + 1)
            _matrix(figure, panel, bottom, height)
            _histograms(figure, panel, bottom, height)
    return figure


def _axes(figure: Figure, left: float, bottom: float, width: float, high: float, height: float) -> Axes:
    axes = figure.add_axes((left / WIDTH, bottom / height, width / WIDTH, high / height))
    axes.tick_params(labelsize=SMALL_SIZE, length=2, width=0.5, colors=INK)
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, color=INK)
    return axes


def _matrix(figure: Figure, panel: Panel, bottom: float, height: float) -> None:
    axes = _axes(figure, LEFT, bottom + BOTTOM, SQUARE, SQUARE, height)
    rows, columns = panel.matrix.shape
    image = axes.imshow(_smaller(panel.matrix), cmap="Blues", aspect="auto", interpolation="nearest",
                        vmin=max(0.0, float(panel.matrix.min())), extent=(0, columns, rows, 0))  # fmt: skip
    axes.set_title(f"{panel.units}, pairs first", size=SIZE, color=INK, loc="left", pad=4)
    axes.set_xlabel("in B", size=SIZE, color=INK, labelpad=2)
    axes.set_ylabel("in A", size=SIZE, color=INK, labelpad=2)
    side = _axes(figure, LEFT + SQUARE + 0.1, bottom + BOTTOM, BAR, SQUARE, height)
    bar = figure.colorbar(image, cax=side)
    bar.outline.set_linewidth(0.5)
    bar.locator = MaxNLocator(4)
    bar.update_ticks()


def _smaller(matrix: np.ndarray) -> np.ndarray:
    """At most `CELLS` each way, each the highest of those that it stands for."""
    for axis in (0, 1):
        count = matrix.shape[axis]
        if count > CELLS:
            begins = np.arange(CELLS) * count // CELLS
            matrix = np.maximum.reduceat(matrix, begins, axis=axis)
    return matrix


def _histograms(figure: Figure, panel: Panel, bottom: float, height: float) -> None:
    ends = [end for values in (*panel.best, *panel.chance) for end in (values.min(), values.max())]
    edges = np.linspace(min(ends), max(ends) + 1e-9, BINS + 1).tolist()
    gap, high = 0.25, (SQUARE - 0.25) / 2
    for number, (best, chance, limit) in enumerate(zip(panel.best, panel.chance, panel.limit, strict=True)):
        of, among = ("A", "B") if number == 0 else ("B", "A")
        axes = _axes(figure, HISTOGRAM, bottom + BOTTOM + (1 - number) * (high + gap), WIDTH - HISTOGRAM - 0.15, high,
                     height)  # fmt: skip
        weights = np.full(len(chance), len(best) / len(chance))
        axes.hist(chance, edges, weights=weights, color=NO_VIRTUAL_NEURON, alpha=0.6, label="by chance")
        axes.hist(best, edges, color=PALETTE[number], histtype="step", linewidth=1.2, label="most similar")
        axes.axvline(float(np.median(limit)), color=INK, linewidth=0.8, linestyle=":", label="limit, in the median")
        told = f"{panel.units} of {of} in {among}: {int((best > limit).sum()):,} of {len(best):,} matched"
        axes.set_title(told, size=SIZE, color=INK, loc="left", pad=4)
        axes.set_ylabel("units", size=SMALL_SIZE, color=INK, labelpad=2)
        axes.set_yscale("symlog", linthresh=1)
        ticks = [0, *(10**power for power in range(len(str(len(best)))))]
        axes.set_yticks(ticks, labels=list(map(str, ticks)))
        axes.set_ylim(0, len(best) * ABOVE)
        axes.minorticks_off()
        axes.set_xlim(edges[0], edges[-1])
        if number:
            axes.set_xlabel("similarity with the most similar unit", size=SIZE, color=INK, labelpad=2)
        else:
            axes.set_xticklabels([])
            axes.legend(fontsize=SMALL_SIZE, frameon=False, loc="upper right", borderpad=0, labelspacing=0.2)
