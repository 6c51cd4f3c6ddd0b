"""The figure of one neuron: a map of its references, a region for each virtual neuron, and rows of what they show.

Beside the map stand images of all references and what is said of the split; below it, for each virtual neuron, what the
neuron saw of its references, the whole images, and the lower channels that set it apart.

Everything is laid out in inches on one set of axes that fills the page, so that sizes are those of the printed figure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pure_cli.core.clusters import CLEAR, WEAK
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
    wrapped,
)

IMAGES_IN_ROW = 8
THUMBNAILS = 12  # on the map, for each virtual neuron
CHANNELS = 3  # lower channels that set a virtual neuron apart
CHANNEL_IMAGES = 6  # of each of these, at most
# inches
WIDTH = 7.0  # of two columns of a paper
MARGIN = 0.04
HEAD = 0.26  # the line of the title
CAPTION = 0.17  # the line above the images of a row
BAR = 0.035
INDENT = MARGIN + BAR + 0.05  # where images begin, from the bar's left edge on
SMALL_GAP = 0.03  # between the images of a row
ROW_GAP = 0.11
MAP_WIDTH, MAP_HEIGHT = 2.95, 2.0
MAP_GAP = 0.16  # between the map and what stands beside it
CELLS = (0.36, 0.57)  # sides of the images of a virtual neuron: the more virtual neurons, the smaller
TALLEST = 8.8  # up to which the images keep their size
CHANNELS_GAP = 0.14  # between the images of a virtual neuron and of its lower channels
COLUMN_GAP = 0.09  # between lower channels
LINE = 0.13  # of a small text
NOTHING_HEIGHT = 0.22  # of the body of a figure with nothing but a sentence in it
THUMBNAIL = 0.27  # on the map
NAME_HEIGHT = 0.12  # left free above the map for the name of a region

NEVER_FIRES = "never fires on these images"


class Look(NamedTuple):
    """How a region is drawn: opacity of the fill, style of the line."""

    fill: float
    line: str


@dataclass(frozen=True, eq=False)
class Channel:
    """A lower channel that sets a virtual neuron apart.

    Parameters
    ----------
    name : with its part of what differs ("14 · 12 %")
    images : (h, w, 3) uint8 each, on which it is strongest
    """

    name: str
    images: Sequence[np.ndarray] = ()


@dataclass(frozen=True, eq=False)
class Row:
    """One line of images.

    Parameters
    ----------
    name : "all", or the name of a virtual neuron ("201.1")
    detail : a few words behind the name ("53 images · ship (30, 5.9×)")
    images : (h, w, 3) uint8 each; the first 8 are shown
    label : the virtual neuron, None for all references together
    whole : the same images as a whole, shown below; none where `images` are whole
    channels_of : what the lower channels are of ("more from layer2")
    channels : the first 3 are shown
    """

    name: str
    detail: str
    images: Sequence[np.ndarray] = ()
    label: int | None = None
    whole: Sequence[np.ndarray] = ()
    channels_of: str = ""
    channels: Sequence[Channel] = ()


@dataclass(frozen=True, eq=False)
class NeuronPicture:
    """What the figure of a neuron shows.

    Parameters
    ----------
    title : the neuron ("layer4 · neuron 201")
    subtitle : how it was split ("ResNet50 · pure features · k = 2")
    points : (n, 2) float, the references on the map
    labels : (n,) int, the virtual neuron of each reference, -1 where it was left out
    thumbnails : n images (h, w, 3) uint8, or None for a reference that stays a dot
    rows : all references first, then the virtual neurons
    silhouette : of the split, which its regions are drawn by; None where there is none
    sentences : what else is said

    Raises
    ------
    ValueError
        Where points, labels and thumbnails are not equally many.
    """

    title: str
    subtitle: str
    points: np.ndarray
    labels: np.ndarray
    thumbnails: Sequence[np.ndarray | None]
    rows: Sequence[Row] = field(default_factory=list)
    silhouette: float | None = None
    sentences: Sequence[str] = ()

    def __post_init__(self) -> None:
        if np.shape(self.points) != (len(self.labels), 2) or len(self.thumbnails) != len(self.labels):
            raise ValueError(
                f"points {np.shape(self.points)}, labels ({len(self.labels)},) and {len(self.thumbnails)} thumbnails "
                "do not describe the same references: (n, 2), (n,) and n were expected."
            )


def draw(picture: NeuronPicture) -> Figure:
    """Draw a neuron: the map of its references, images of all of them beside it, and of each virtual neuron below.

    Parameters
    ----------
    picture : what to show

    Returns
    -------
    matplotlib.figure.Figure
        7 inches wide, as high as the rows need; it belongs to no window and needs no closing.
    """
    nothing = not len(picture.points) and not any(len(row.images) for row in picture.rows)
    rows = [] if nothing else list(picture.rows)
    beside = rows.pop(0) if rows and rows[0].label is None else None
    page = _page(rows, NOTHING_HEIGHT if nothing else MAP_HEIGHT)
    with style():
        figure = Figure(figsize=(WIDTH, page.height))
        figure.suppressComposite = True  # each image on its own in vector files
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, page.height), autoscale_on=False)
        axes.set_axis_off()
        _draw_head(axes, page, picture)
        if len(picture.points):
            _draw_map(axes, page.map, picture)
        else:
            write(axes, (MARGIN, page.map.center[1]), NEVER_FIRES, FAINT_INK, SMALL_SIZE, va="center")
        if not nothing:
            _draw_beside(axes, page, beside, picture.sentences)
        for row, top in zip(rows, page.tops, strict=True):
            _draw_row(axes, MARGIN, top, page.cell, row)
            _draw_channels(axes, page, top, row)
    return figure


# ---------------------------------------------------------------------------------------------- the page


class _Place(NamedTuple):
    """A rectangle on the page, in inches."""

    left: float
    bottom: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        return self.left + self.width / 2, self.bottom + self.height / 2


class _Page(NamedTuple):
    """Where things go, in inches: the map, the size of a cell, the top of each virtual neuron's row."""

    height: float
    map: _Place
    cell: float
    tops: list[float]


def _page(rows: Sequence[Row], band: float) -> _Page:
    """Lay out the page, with a band for the map at its top: the more rows, the smaller their cells.

    Parameters
    ----------
    rows : of virtual neurons
    """
    around = CAPTION + ROW_GAP
    cell = CELLS[1]
    if rows:
        lines = max(2 if len(row.whole) else 1 for row in rows)
        cell = float(np.clip(((TALLEST - HEAD - band) / len(rows) - around) / lines - SMALL_GAP, *CELLS))
    heights = [around + _images_height(row, cell) for row in rows]
    height = MARGIN + sum(heights) + band + HEAD
    tops = [height - HEAD - band - ROW_GAP - sum(heights[:i]) for i in range(len(rows))]
    return _Page(height, _Place(MARGIN, height - HEAD - band, MAP_WIDTH, band), cell, tops)


def _images_height(row: Row, cell: float) -> float:
    return 2 * cell + SMALL_GAP if len(row.whole) else cell


def _draw_head(axes: Axes, page: _Page, picture: NeuronPicture) -> None:
    """The title in bold, the subtitle behind it."""
    baseline = page.height - HEAD + 0.1
    room = WIDTH - 2 * MARGIN
    title = shortened(picture.title, HEAD_SIZE, 0.6 * room if picture.subtitle else room, "bold")
    write(axes, (MARGIN, baseline), title, INK, HEAD_SIZE, weight="bold")
    used = text_width(title, HEAD_SIZE, "bold") + 0.12
    subtitle = shortened(picture.subtitle, SMALL_SIZE, room - used)
    write(axes, (MARGIN + used, baseline), subtitle, FAINT_INK, SMALL_SIZE)


def _draw_beside(axes: Axes, page: _Page, row: Row | None, sentences: Sequence[str]) -> None:
    """Beside the map: images of all references, and below them what is said of the split."""
    left, top = MARGIN + MAP_WIDTH + MAP_GAP, page.map.bottom + page.map.height
    if row is not None:
        cell = (WIDTH - MARGIN - left - (INDENT - MARGIN) - (IMAGES_IN_ROW - 1) * SMALL_GAP) / IMAGES_IN_ROW
        _draw_row(axes, left, top, cell, row)
        top -= CAPTION + _images_height(row, cell)
    lines = [
        (line, FAINT_INK if number else INK)
        for number, sentence in enumerate(sentences)
        for line in wrapped(sentence, SMALL_SIZE, WIDTH - MARGIN - left)
    ]
    room = int((top - page.map.bottom) / LINE)
    for number, (line, color) in enumerate(lines[:room], 1):
        write(axes, (left, top - number * LINE - 0.03), line, color, SMALL_SIZE)


def _draw_row(axes: Axes, left: float, top: float, cell: float, row: Row) -> None:
    """A bar in the colour of the virtual neuron, name and detail, the images, and below them the whole ones."""
    height = CAPTION + _images_height(row, cell)
    axes.add_patch(Rectangle((left, top - height), BAR, height, facecolor=_color(row.label), edgecolor="none"))
    left, baseline = left + INDENT - MARGIN, top - CAPTION + 0.06
    room = IMAGES_IN_ROW * cell + (IMAGES_IN_ROW - 1) * SMALL_GAP
    name = shortened(row.name, SIZE, room / 2, "bold")
    color = INK if row.label is None else _darker(_color(row.label))
    write(axes, (left, baseline), name, color, SIZE, weight="bold")
    used = text_width(name, SIZE, "bold") + 0.09
    write(axes, (left + used, baseline), shortened(row.detail, SMALL_SIZE, room - used), FAINT_INK, SMALL_SIZE)

    for line, images in enumerate((row.images, row.whole)):
        bottom = top - CAPTION - cell - line * (cell + SMALL_GAP)
        for i, image in enumerate(images[:IMAGES_IN_ROW]):
            spot = _Place(left + i * (cell + SMALL_GAP), bottom, cell, cell)
            axes.add_patch(Rectangle(spot[:2], cell, cell, facecolor=EMPTY, edgecolor="none"))
            _draw_image(axes, image, spot)
    if not len(row.images):
        write(axes, (left, top - CAPTION - cell / 2), "no images", FAINT_INK, SMALL_SIZE, va="center")


def _draw_channels(axes: Axes, page: _Page, top: float, row: Row) -> None:
    """The lower channels that set a virtual neuron apart, right of its images: a column for each."""
    if not row.channels:
        return
    begin = INDENT + IMAGES_IN_ROW * (page.cell + SMALL_GAP) - SMALL_GAP + CHANNELS_GAP
    room = WIDTH - MARGIN - begin
    write(axes, (begin, top - CAPTION + 0.06), shortened(row.channels_of, SMALL_SIZE, room), INK, SMALL_SIZE)
    width = (room - (CHANNELS - 1) * COLUMN_GAP) / CHANNELS
    high = _images_height(row, page.cell)
    side = min((width - SMALL_GAP) / 2, high - LINE)
    lines = max(1, int((high - LINE + SMALL_GAP + 1e-6) / (side + SMALL_GAP)))
    for number, channel in enumerate(row.channels[:CHANNELS]):
        left, below = begin + number * (width + COLUMN_GAP), top - CAPTION - LINE
        write(axes, (left, below + 0.04), shortened(channel.name, SMALL_SIZE, width), FAINT_INK, SMALL_SIZE)
        for i, image in enumerate(channel.images[: min(2 * lines, CHANNEL_IMAGES)]):
            x, y = left + i % 2 * (side + SMALL_GAP), below - side - i // 2 * (side + SMALL_GAP)
            _draw_image(axes, image, _Place(x, y, side, side))


def _draw_image(axes: Axes, image: np.ndarray, place: _Place, zorder: float = 1.0) -> _Place:
    """An image as large as fits into a place, centred; returns where it went. Small ones keep their pixels' edges."""
    return _Place(*draw_image(axes, image, *place, zorder))


# ----------------------------------------------------------------------------------------------- the map


class _Region(NamedTuple):
    """A density on a grid, and the level of its one contour."""

    x: np.ndarray  # (g,)
    y: np.ndarray  # (g,)
    density: np.ndarray  # (g, g), a row for each y
    level: float
    inside: np.ndarray  # (g, g) bool, where the density is above the level: never on the rim of the grid

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest x and y of the contour, or up to a step of the grid beyond."""
        x, y = self.x[self.inside.any(axis=0)], self.y[self.inside.any(axis=1)]
        step = np.array([self.x[1] - self.x[0], self.y[1] - self.y[0]])
        return np.array([x[0], y[0]]) - step, np.array([x[-1], y[-1]]) + step


GRID = 96  # points on a side
NARROWING = 0.8  # of Scott's bandwidth, which takes a cluster for one normal distribution and blurs its shape
LEAST_BANDWIDTH = 0.12  # inches: the contour of a single point is a circle around its thumbnail
COVERED = 0.85  # part of the references that lie well inside the contour


def _region(points: np.ndarray) -> _Region:
    """Gaussian kernel density of points (n, 2) in inches, n >= 1.

    As :class:`scipy.stats.gaussian_kde`, but with a least bandwidth, so that single, equal and collinear points have a
    density like any others.
    """
    covariance = (
        np.cov(points.T, bias=True) * (NARROWING * len(points) ** (-1 / 6)) ** 2 + np.eye(2) * LEAST_BANDWIDTH**2
    )
    reach = 4 * np.sqrt(np.diag(covariance))
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    x, y = np.linspace(low[0], high[0], GRID), np.linspace(low[1], high[1], GRID)

    whiten = np.linalg.cholesky(np.linalg.inv(covariance))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2) @ whiten
    density, at_points = np.zeros(len(grid)), np.zeros(len(points))
    for point in points @ whiten:
        density += np.exp(-((grid - point) ** 2).sum(axis=1) / 2)
        at_points += np.exp(-((points @ whiten - point) ** 2).sum(axis=1) / 2)
    level = np.quantile(at_points, 1 - COVERED) * np.exp(-1)
    on_grid = density.reshape(GRID, GRID)
    return _Region(x, y, on_grid, float(level), on_grid > level)


def _regions(positions: np.ndarray, labels: np.ndarray) -> dict[int, _Region]:
    return {int(label): _region(positions[labels == label]) for label in np.unique(labels[labels >= 0])}


def _look(silhouette: float | None) -> Look:
    """As sure as the split is."""
    if silhouette is None or silhouette >= CLEAR:
        return Look(0.15, "solid")
    return Look(0.08, "dashed") if silhouette >= WEAK else Look(0.04, "dotted")


def _draw_map(axes: Axes, place: _Place, picture: NeuronPicture) -> None:
    """Regions at the back, then dots, then thumbnails, then the names of the regions."""
    labels = np.asarray(picture.labels, dtype=int)
    positions = _positions(np.asarray(picture.points, dtype=float), labels, place)
    regions, look = _regions(positions, labels), _look(picture.silhouette)
    for label, region in regions.items():
        color, levels = _color(label), [region.level, region.density.max() * 1.01]
        axes.contourf(region.x, region.y, region.density, levels, colors=[color], alpha=look.fill, zorder=2)
        axes.contour(region.x, region.y, region.density, levels[:1], colors=[color], linewidths=0.9,
                     linestyles=look.line, zorder=2.5)  # fmt: skip

    colors = [_color(label) for label in labels]
    axes.scatter(positions[:, 0], positions[:, 1], s=5, c=colors, linewidths=0.3, edgecolors="white", zorder=3)
    chosen = _spread(positions, labels, np.array([image is not None for image in picture.thumbnails]))
    for i in chosen:
        half = THUMBNAIL / 2
        spot = _Place(positions[i, 0] - half, positions[i, 1] - half, THUMBNAIL, THUMBNAIL)
        image = picture.thumbnails[i]
        assert image is not None
        spot = _draw_image(axes, image, spot, zorder=4)
        frame = Rectangle(spot[:2], spot.width, spot.height, fill=False, edgecolor=colors[i], linewidth=0.9, zorder=5)
        axes.add_patch(frame)

    names = {row.label: row.name for row in picture.rows if row.label is not None and row.label in regions}
    _draw_names(axes, place, regions, names, positions, positions[chosen])


def _positions(points: np.ndarray, labels: np.ndarray, place: _Place) -> np.ndarray:
    """Points (n, 2) on the page, in inches, such that thumbnails and contours stay within the place.

    The axes of a UMAP have no unit, so that each may be stretched on its own to fill the place, but not by more than
    half as much again as the other: roundness still means something.
    """
    low, high = np.array(place[:2]), np.add(place[:2], place[2:]) - (0, NAME_HEIGHT)
    below = above = np.full(2, THUMBNAIL / 2)
    for _ in range(6):  # a contour's margin around the points depends on their scale, but less than in proportion
        positions = _stretched(points, low + below, high - above)
        bounds = [region.bounds for region in _regions(positions, labels).values()]
        if bounds:
            below = np.maximum(THUMBNAIL / 2, positions.min(axis=0) - np.min([b[0] for b in bounds], axis=0))
            above = np.maximum(THUMBNAIL / 2, np.max([b[1] for b in bounds], axis=0) - positions.max(axis=0))
    return positions


def _stretched(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Points (n, 2) moved and scaled to fill the rectangle from low to high, or the middle of it."""
    span = np.ptp(points, axis=0)
    scale = np.divide(high - low, span, out=np.full(2, np.inf), where=span > 0)
    scale = np.minimum(scale, 1.5 * scale.min())
    scale = np.where(np.isfinite(scale), scale, 0.0)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return (low + high) / 2 + (points - middle) * scale


def _spread(positions: np.ndarray, labels: np.ndarray, has_image: np.ndarray) -> list[int]:
    """Indices of references whose thumbnails do not touch; virtual neurons take turns, from their first reference on.

    Those left out get a thumbnail only where there is no virtual neuron.
    """
    kinds = np.unique(labels[labels >= 0]) if (labels >= 0).any() else np.unique(labels)
    waiting = {label: np.flatnonzero((labels == label) & has_image).tolist() for label in kinds}
    chosen: list[int] = []
    for _ in range(THUMBNAILS):
        for queue in waiting.values():
            while queue:
                i = queue.pop(0)
                apart = np.abs(positions[chosen] - positions[i]).max(axis=1)
                if not chosen or apart.min() > THUMBNAIL + 0.02:
                    chosen.append(i)
                    break
    return chosen


def _draw_names(
    axes: Axes,
    place: _Place,
    regions: dict[int, _Region],
    names: dict[int, str],
    positions: np.ndarray,
    thumbnails: np.ndarray,
) -> None:
    """The name of each region, where in its neighbourhood it covers least."""
    taken: list[_Place] = []
    for label, name in names.items():
        region = regions[label]
        size = np.array([text_width(name, SIZE, "bold") + 0.04, SIZE * INCH_PER_POINT + 0.02])
        others = [r for other, r in regions.items() if other != label]
        spots = list(_around(region, size, place))
        best = spots[int(np.argmin([_covered(spot, region, others, positions, thumbnails, taken) for spot in spots]))]
        taken.append(best)
        write(axes, best.center, name, _darker(_color(label)), SIZE, ha="center", va="center", weight="bold", zorder=6)


def _around(region: _Region, size: np.ndarray, place: _Place) -> Iterator[_Place]:
    """Places of a size (2,) around the contour of a region, within the place; the first ones above it."""
    rows, columns = np.nonzero(region.inside)
    inside = np.stack([region.x[columns], region.y[rows]], axis=1)
    low, high = np.array(place[:2]), np.add(place[:2], place[2:]) - size
    for angle in np.linspace(0, 2 * np.pi, 48, endpoint=False):
        direction = np.array([np.sin(angle), np.cos(angle)])
        edge = inside[(inside @ direction).argmax()]
        for distance in (0.02, -0.06, 0.1):
            center = edge + direction * (distance + np.abs(direction) @ size / 2)
            left, bottom = np.clip(center - size / 2, low, high)
            yield _Place(float(left), float(bottom), *size.tolist())


def _covered(
    spot: _Place,
    region: _Region,
    others: Sequence[_Region],
    positions: np.ndarray,
    thumbnails: np.ndarray,
    taken: Sequence[_Place],
) -> float:
    """How much a name would hide or confuse: names worst, then thumbnails, other regions, its own region, dots."""
    thumbs = [_Place(x - THUMBNAIL / 2, y - THUMBNAIL / 2, THUMBNAIL, THUMBNAIL) for x, y in thumbnails]
    dots = (np.abs(positions - spot.center) < np.array(spot[2:]) / 2).all(axis=1).sum()
    return (
        50 * sum(_overlap(spot, other) for other in taken)
        + 10 * sum(_overlap(spot, thumb) for thumb in thumbs)
        + 4 * sum(_share(spot, other) for other in others)
        + 1.5 * _share(spot, region)
        + 0.3 * float(dots)
    )


def _overlap(a: _Place, b: _Place) -> float:
    """Part of the first rectangle that the second one hides."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.bottom + a.height, b.bottom + b.height) - max(a.bottom, b.bottom)
    return max(width, 0.0) * max(height, 0.0) / (a.width * a.height)


def _share(spot: _Place, region: _Region) -> float:
    """Part of a rectangle that lies inside a region."""
    xs, ys = spot.left + spot.width * np.arange(7) / 6, spot.bottom + spot.height * np.arange(4) / 3
    columns = np.searchsorted(region.x, xs).clip(max=GRID - 1)
    rows = np.searchsorted(region.y, ys).clip(max=GRID - 1)
    return float(region.inside[rows[:, None], columns].mean())


# ----------------------------------------------------------------------------------------- words and colours


def _color(label: int | None) -> str:
    return NO_VIRTUAL_NEURON if label is None or label < 0 else PALETTE[label % len(PALETTE)]


def _darker(color: str) -> tuple[float, ...]:
    """A colour that can be read as text on white."""
    return tuple(0.72 * c for c in to_rgb(color))
