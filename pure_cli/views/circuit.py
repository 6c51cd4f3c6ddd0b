"""The figure of circuits: a graph for each virtual neuron, side by side, with what they share in grey.

A virtual neuron stands on top, its lower layers beneath; edges are as wide as the relevance that they carry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from pure_cli.views.page import draw_image, write
from pure_cli.views.style import (
    EMPTY,
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

NODES = 8  # of a layer that are drawn
NODE_IMAGES, NEURON_IMAGES = 2, 6
COLUMNS = 2  # of panels
UPRIGHT = 90  # degrees
SWEEPS = 8  # that sort nodes by the middle of their neighbours
# inches
WIDTH = 7.0  # of two columns of a paper
MARGIN, GAP = 0.06, 0.16
HEAD, FOOT, LEGEND = 0.28, 0.26, 0.2
CELL = 0.32  # an image of a node
TOP_CELL = 0.4  # an image of the virtual neuron
LABEL = 0.24  # under a node: its channel and its share
FLOW = 0.6  # between a layer and the next
NAME = 1.5  # of the virtual neuron, with its label
SIDE = 0.27  # left of a layer: its name, and what of it is not drawn
WIDEST, NARROWEST = 8.0, 0.3  # points, of an edge with all of a layer's relevance, and the least that is seen
FAINTEST, STRONGEST = 0.35, 0.85  # how far edges hide what is behind them


@dataclass(frozen=True, eq=False)
class Node:
    """A channel: its address, its name below the pictures, its share of the layer, and images (h, w, 3) uint8."""

    address: str
    name: str
    share: float
    shared: bool
    images: Sequence[np.ndarray]


@dataclass(frozen=True, eq=False)
class Rank:
    """A layer: the nodes that are drawn, and how many channels there are beside these, with which share."""

    layer: str
    nodes: Sequence[Node]
    others: int
    rest: float


@dataclass(frozen=True)
class Edge:
    """From an upper address to a lower one."""

    source: str
    target: str
    share: float
    negative: bool
    shared: bool


@dataclass(frozen=True, eq=False)
class Panel:
    """The graph of one virtual neuron.

    Attributes
    ----------
    address, name, number : of the virtual neuron, the number from 0
    images : (h, w, 3) uint8, what it responds to
    ranks : the highest first
    told : what the graph explains, in a line
    """

    address: str
    name: str
    number: int
    images: Sequence[np.ndarray]
    ranks: Sequence[Rank]
    edges: Sequence[Edge]
    told: str

    @property
    def colour(self) -> str:
        return PALETTE[self.number % len(PALETTE)]


def draw(title: str, subtitle: str, panels: Sequence[Panel]) -> Figure:
    """Draw the graphs of a neuron's virtual neurons, two beside each other.

    Returns
    -------
    matplotlib.figure.Figure
        7 inches wide; it belongs to no window and needs no closing.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    wide = (WIDTH - 2 * MARGIN - GAP * (columns - 1)) / columns
    high = _height(max(len(panel.ranks) for panel in panels))
    height = HEAD + rows * high + LEGEND
    with style():
        figure = Figure(figsize=(WIDTH, height))
        figure.suppressComposite = True  # each image on its own in vector files
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height), autoscale_on=False)
        axes.set_axis_off()
        _head(axes, height, title, subtitle)
        for i, panel in enumerate(panels):
            left = MARGIN + (i % columns) * (wide + GAP)
            _Drawing(axes, panel, left, height - HEAD - (i // columns) * high, wide).draw()
        told = shortened(_legend(len(panels)), SMALL_SIZE, WIDTH - 2 * MARGIN)
        _write(axes, MARGIN, MARGIN, told, FAINT_INK, SMALL_SIZE)
    return figure


def _height(layers: int) -> float:
    """Of a panel with so many lower layers."""
    return TOP_CELL + layers * (FLOW + NODE_IMAGES * CELL + LABEL) + FOOT


def _legend(panels: int) -> str:
    """How to read it."""
    shared = "; grey: in another graph too" if panels > 1 else ""
    return f"under a channel: its share of the layer's relevance; lines: what flows, dashed where negative{shared}"


def _head(axes: Axes, height: float, title: str, subtitle: str) -> None:
    baseline, room = height - HEAD + 0.12, WIDTH - 2 * MARGIN
    shown = shortened(title, HEAD_SIZE, 0.6 * room, "bold")
    _write(axes, MARGIN, baseline, shown, INK, HEAD_SIZE, weight="bold")
    used = text_width(shown, HEAD_SIZE, "bold") + 0.12
    _write(axes, MARGIN + used, baseline, shortened(subtitle, SMALL_SIZE, room - used), FAINT_INK, SMALL_SIZE)


def sorted_nodes(panel: Panel) -> list[list[Node]]:
    """The nodes of each layer from left to right, so that few edges cross.

    Each stands where the middle of its neighbours is, weighted by their edges (Sugiyama's barycentre): sweeps go down
    and up, and the order with the fewest weighted crossings stays.
    """
    order = [list(rank.nodes) for rank in panel.ranks]
    best, fewest = order, crossings(panel.edges, order)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        order = [list(nodes) for nodes in order]
        levels = range(len(order)) if down else range(len(order) - 2, -1, -1)
        for level in levels:
            beside = _places(order[level - 1] if level else []) if down else _places(order[level + 1])
            order[level].sort(key=lambda node, beside=beside: _middle(node, beside, panel.edges))  # type: ignore[misc]
        found = crossings(panel.edges, order)
        if found < fewest:
            best, fewest = order, found
    return best


def crossings(edges: Sequence[Edge], order: Sequence[Sequence[Node]]) -> float:
    """Of all pairs of edges that cross, the smaller share, added up."""
    total = 0.0
    for above, below in pairwise(order):
        upper, lower = _places(above), _places(below)
        own = [(upper[edge.source], lower[edge.target], edge.share)
               for edge in edges if edge.source in upper and edge.target in lower]  # fmt: skip
        for i, (a, b, share) in enumerate(own):
            total += sum(min(share, other) for c, d, other in own[:i] if (a - c) * (b - d) < 0)
    return total


def _places(nodes: Sequence[Node]) -> dict[str, float]:
    return {node.address: (i + 0.5) / len(nodes) for i, node in enumerate(nodes)}


def _middle(node: Node, beside: Mapping[str, float], edges: Sequence[Edge]) -> float:
    """The middle of a node's neighbours; of one without, the middle of the page."""
    found = [(beside[other], edge.share) for edge in edges
             for own, other in ((edge.target, edge.source), (edge.source, edge.target))
             if own == node.address and other in beside]  # fmt: skip
    weight = sum(share for _, share in found)
    return sum(place * share for place, share in found) / weight if weight else 0.5


class _Drawing:
    """One panel on the page."""

    def __init__(self, axes: Axes, panel: Panel, left: float, top: float, width: float):
        self._axes, self._panel, self._left, self._top, self._width = axes, panel, left, top, width

    def draw(self) -> None:
        panel, top = self._panel, self._top - TOP_CELL
        out = {panel.address: (self._neuron(), top)}
        into: dict[str, tuple[float, float]] = {}
        for rank, nodes in zip(panel.ranks, sorted_nodes(panel), strict=True):
            top -= FLOW
            self._name(rank, top)
            places = self._places(len(nodes))
            for node, middle in zip(nodes, places, strict=True):
                self._node(node, middle, top)
                into[node.address] = (middle, top)
                out[node.address] = (middle, top - NODE_IMAGES * CELL - LABEL)
            top -= NODE_IMAGES * CELL + LABEL
        for edge in sorted(panel.edges, key=lambda edge: (not edge.shared, edge.share)):
            self._edge(edge, out[edge.source], into[edge.target])
        told = shortened(panel.told, SMALL_SIZE, self._width)
        _write(self._axes, self._left + self._width / 2, top - 0.03, told, INK, SMALL_SIZE, "center", "top")

    def _neuron(self) -> float:
        """The virtual neuron with its images; the middle of them."""
        axes, panel = self._axes, self._panel
        shown = shortened(panel.name, HEAD_SIZE, NAME, "bold")
        name = text_width(shown, HEAD_SIZE, "bold") + 0.1
        images = panel.images[: int((self._width - SIDE - name) / TOP_CELL)]
        middle = self._left + (SIDE + self._width) / 2
        left = middle - (name + TOP_CELL * len(images)) / 2
        bottom = self._top - TOP_CELL
        _write(axes, left, bottom + TOP_CELL / 2, shown, panel.colour, HEAD_SIZE, va="center", weight="bold")
        for i, image in enumerate(images):
            _image(axes, image, left + name + i * TOP_CELL, bottom, TOP_CELL, panel.colour)
        return middle

    def _places(self, count: int) -> list[float]:
        """Middles of the nodes of a layer."""
        step = (self._width - SIDE) / NODES
        first = self._left + SIDE + (self._width - SIDE - step * count) / 2 + step / 2
        return [first + step * i for i in range(count)]

    def _name(self, rank: Rank, top: float) -> None:
        """The layer, and what of it is not drawn, upright beside its nodes."""
        room = NODE_IMAGES * CELL + LABEL + FLOW / 2
        bottom, name = top - NODE_IMAGES * CELL - LABEL, shortened(rank.layer, SIZE, room, "bold")
        _write(self._axes, self._left + 0.05, bottom, name, INK, SIZE, "center", "bottom", "bold", UPRIGHT)
        if rank.others:
            more = f"{rank.others:,} others {rank.rest:.0%}"
            at = self._left + 0.17
            _write(self._axes, at, bottom, more, FAINT_INK, SMALL_SIZE, "center", "bottom", rotation=UPRIGHT)

    def _node(self, node: Node, middle: float, top: float) -> None:
        colour = NO_VIRTUAL_NEURON if node.shared else self._panel.colour
        for i, image in enumerate(node.images[:NODE_IMAGES]):
            _image(self._axes, image, middle - CELL / 2, top - (i + 1) * CELL, CELL, colour)
        ink, at = FAINT_INK if node.shared else INK, top - NODE_IMAGES * CELL
        _write(self._axes, middle, at - 0.015, node.name, ink, SMALL_SIZE, "center", "top", weight="bold")
        _write(self._axes, middle, at - 0.12, f"{node.share:.0%}", FAINT_INK, SMALL_SIZE, "center", "top")

    def _edge(self, edge: Edge, begin: tuple[float, float], end: tuple[float, float]) -> None:
        """A curve that leaves and arrives upright."""
        (x, y), (u, v) = begin, end
        half = (y - v) / 2
        path = Path([(x, y), (x, y - half), (u, v + half), (u, v)], [Path.MOVETO, *[Path.CURVE4] * 3])
        colour = NO_VIRTUAL_NEURON if edge.shared else self._panel.colour
        width = max(NARROWEST, WIDEST * edge.share)
        look = {"edgecolor": colour, "facecolor": "none", "linewidth": width, "capstyle": "butt"}
        dashes = (0, (3, 2)) if edge.negative else "-"
        alpha = min(STRONGEST, FAINTEST + 2 * edge.share)
        self._axes.add_patch(PathPatch(path, alpha=alpha, linestyle=dashes, zorder=1, **look))


def _image(axes: Axes, image: np.ndarray, left: float, bottom: float, side: float, colour: str) -> None:
    """An image as large as fits into a square, framed; small ones keep their pixels' edges."""
    axes.add_patch(Rectangle((left + 0.012, bottom + 0.012), side - 0.024, side - 0.024, color=EMPTY, lw=0, zorder=2))
    inner = side - 2 * INCH_PER_POINT
    draw_image(axes, image, left + INCH_PER_POINT, bottom + INCH_PER_POINT, inner, inner, zorder=3)
    frame = Rectangle((left + 0.012, bottom + 0.012), side - 0.024, side - 0.024, fill=False, linewidth=0.9, zorder=4)
    frame.set_edgecolor(colour)
    axes.add_patch(frame)


def _write(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    colour: str,
    size: float,
    ha: str = "left",
    va: str = "baseline",
    weight: str = "normal",
    rotation: float = 0,
) -> None:
    """Text above all else of the page."""
    write(axes, (x, y), text, colour, size, ha, va, weight, zorder=5, rotation=rotation)
