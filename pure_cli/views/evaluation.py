"""The figures of an evaluation: bars of distances and correlations, lines of agreement, an overview of the neurons.

One column of a paper wide. Bars stand upright as in the paper where names and numbers have room below and above them,
and lie on their side where they have not.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from pure_cli.settings.evaluate import CONTROL
from pure_cli.views.style import (
    EMPTY,
    FAINT_INK,
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
from pure_cli.words import printable

# inches
WIDTH = 3.4  # of one column of a paper
HEIGHT = 2.3
OVERVIEW_HEIGHT = 3.2
ROW = 0.31  # of bars that lie
HEAD_AND_FOOT = 1.05  # of a figure of such bars
PANEL = 1.35  # of one measure of agreement
LINE = 0.145  # of a legend
AXES_WIDTH = WIDTH - 0.55  # what the numbers of an axis leave, at least
NAMES_WIDTH = 1.2  # of names beside bars that lie

LINES = 3  # of a name below a bar
INTRA, INTER = PALETTE[0], PALETTE[4]  # dark and light: they stay apart without colour too
MARKERS = "osD^vPX*"
CONTROL_LINES = ("--", ":", "-.")
SHORT = {"ari": "ARI", "nmi": "NMI"}
TICKS = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
LEAST_SPREAD = 1e-3  # of the largest value; less cannot be read from bars
RIM = [withStroke(linewidth=1.6, foreground="white")]
DASH = "–"
NOTHING = "no values"


def separation_bars(
    rows: Sequence[Mapping[str, Any]], overall: Sequence[float | None] | None, judge: str, k: int
) -> Figure:
    """Distances within and across virtual neurons for each kind of features, as in the paper.

    Parameters
    ----------
    rows : "features", and "intra" and "inter" as (mean, error)
    overall : (mean, error) over all pairs, what a random split would give
    judge : whose embeddings are compared
    k : virtual neurons of each neuron
    """
    intra, inter = _values(rows, "intra"), _values(rows, "inter")
    random = _values([{"random": overall}], "random")
    with style():
        chart = _chart([row["features"] for row in rows], [intra, inter])
        handles: dict[str, Artist | Container] = {}
        handles["intra"] = chart.bars(intra, -0.2, 0.38, INTRA)
        handles["inter"] = chart.bars(inter, 0.2, 0.38, INTER)
        if np.isfinite(random[0, 0]):
            handles[f"random, {_number(random[0, 0], chart.decimals)}"] = chart.line(random[0])
        begin = chart.limits([intra, inter, random], cut=True)
        chart.label("distance of embeddings", f"axis begins at {begin:g}" if begin else "")
        _legend(chart.figure, handles if rows else {})
        _foot(chart.figure, f"judged by {judge}", f"k = {k}")
    return chart.figure


def correlation_bars(rows: Sequence[Mapping[str, Any]], judge: str) -> Figure:
    """Correlation of pairwise distances with the judge's, with the published value where there is one.

    Parameters
    ----------
    rows : "features", "r" as (mean, error), and "published" where the paper has a value
    judge : whose distances are the standard
    """
    values = _values(rows, "r")
    published = _values(rows, "published")
    with style():
        chart = _chart([row["features"] for row in rows], [values])
        if np.isfinite(published).any():
            bars, points = chart.bars(values, -0.1, 0.5, PALETTE[0]), chart.points(published, 0.28)
            _legend(chart.figure, {"measured here": bars, "published (ResNet101)": points})
        else:
            chart.bars(values, 0, 0.56, PALETTE[0])
        chart.limits([values, published])
        chart.label("correlation of distances")
        _foot(chart.figure, f"judged by {judge}")
    return chart.figure


def planted_bars(rows: Sequence[Mapping[str, Any]], what: str) -> Figure:
    """Agreement with known meanings for each kind of features, with its confidence interval.

    Parameters
    ----------
    rows : "features", and for each number of meanings "ARI, 2", and "ARI, 2 low" and "ARI, 2 high" if known
    what : the units
    """
    counts = [count for count in (2, 3) if any(f"ARI, {count}" in row for row in rows)]
    values = [_intervals(rows, count) for count in counts]
    with style():
        chart = _chart([row["features"] for row in rows], values)
        places = [(0.0, 0.56)] if len(counts) == 1 else [(-0.2, 0.38), (0.2, 0.38)]
        handles: dict[str, Artist | Container] = {
            f"{count} meanings": chart.bars(one, place, width, colour)
            for count, one, (place, width), colour in zip(counts, values, places, PALETTE, strict=False)
        }
        handles = {name: handle for one, (name, handle) in zip(values, handles.items(), strict=True) if _any(one[:, 0])}
        chart.limits(values)
        chart.label("adjusted Rand index")
        _legend(chart.figure, handles)
        intervals = ["95 % intervals"] if any(_any(one[:, 1:]) for one in values) else []
        _foot(chart.figure, f"known meanings of {what}", *intervals)
    return chart.figure


def _intervals(rows: Sequence[Mapping[str, Any]], count: int) -> np.ndarray:
    """Means with what their intervals have below and above them (n, 3), NaN for what is not there."""
    found = np.full((len(rows), 3), np.nan)
    for own, row in zip(found, rows, strict=True):
        mean, low, high = (row.get(f"ARI, {count}{end}") for end in ("", " low", " high"))
        if mean is not None:
            known = low is not None and high is not None
            own[:] = (mean, max(mean - low, 0), max(high - mean, 0)) if known else (mean, np.nan, np.nan)
    return found


def agreement_bars(rows: Sequence[Mapping[str, Any]], measures: str | Sequence[str] = "ari") -> Figure:
    """Agreement with labels against k: a line for each kind of features, grey for what chance gives.

    Parameters
    ----------
    rows : "features", "k", and each measure as (mean, error); the number "MEASURE by chance" where it is not zero
    measures : names of columns, a panel for each
    """
    return lines_over_k(rows, [measures] if isinstance(measures, str) else measures, " with labels", chance=True)


def lines_over_k(
    rows: Sequence[Mapping[str, Any]],
    measures: Sequence[str],
    what: str = "",
    chance: bool = False,
    across: str = "virtual neurons of each neuron (k)",
    names: Mapping[str, str] | None = None,
    note: str = "",
    log: bool = False,
    ticks: Sequence[str] = (),
) -> Figure:
    """Measures against k: a line for each kind of features.

    Parameters
    ----------
    rows : "features", "k", and each measure as (mean, error); that of a control as "MEASURE CONTROL"
    measures : names of columns, a panel for each
    what : behind their names beside the axis
    chance : draw in grey what chance gives, the number "MEASURE by chance", zero where there is none
    across : in words, what "k" is
    names : in words, what measures are; else their own names stand beside the axis
    note : below everything, what a reader has to know
    log : "k" grows by factors
    ticks : names of what "k" numbers from 0 on; none where it is a number itself
    """
    rows = [row for row in rows if row["k"] is not None]
    kinds = list(dict.fromkeys(row["features"] for row in rows))
    columns = 2 if all(text_width(name, SMALL_SIZE) < WIDTH / 2 - 0.4 for name in kinds) else 1
    controls = _controls_in(rows, measures)
    legend_height = LINE * -(-(len(kinds) + chance + len(controls)) // columns)
    below = wrapped(note, SMALL_SIZE, WIDTH - 0.1) if note else []
    handles: dict[str, Artist | Container] = {}
    with style():
        height = PANEL * len(measures) + legend_height + 0.5 + LINE * len(below)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        panels = figure.subplots(len(measures), sharex=True, squeeze=False)[:, 0]
        for measure, axes in zip(measures, panels, strict=True):
            axes.set_ylabel(f"{(names or SHORT).get(measure, measure)}{what}")
            handles |= _draw_panel(axes, rows, kinds, measure, chance, controls)
        panels[-1].set_xlabel(across)
        _mark_ks(panels[-1], sorted({row["k"] for row in rows}), log, ticks)
        behind = ("chance", *(f"{name}, the highest" for name in controls))
        last = {name: handles.pop(name) for name in behind if name in handles}
        _legend(figure, handles | last, columns)
        _say_below(figure, below)
    return figure


def _mark_ks(axes: Axes, ks: Sequence[int], log: bool, ticks: Sequence[str]) -> None:
    if log:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(ks, list(ticks) or [f"{k:g}" for k in ks])
    if ks and not log:
        beside = 0.35 * min([1.0, *np.diff(ks)])
        axes.set_xlim(ks[0] - beside, ks[-1] + beside)


def _draw_panel(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    kinds: Sequence[str],
    measure: str,
    chance: bool,
    controls: Sequence[str],
) -> dict[str, Artist | Container]:
    """One measure against k; what stands in the legend."""
    _plain(axes)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    handles = _draw_agreement(axes, rows, kinds, measure)
    if not np.isfinite(_values(rows, measure)[:, 0]).any():
        axes.set_yticks([])
        _say_nothing(axes)
        return handles
    if chance:
        _draw_chance(axes, rows, measure)
        handles["chance"] = Line2D([], [], color=NO_VIRTUAL_NEURON, lw=1.5)
    return handles | _draw_controls(axes, rows, measure, controls)


def _say_below(figure: Figure, lines: Sequence[str]) -> None:
    """A note below everything, if there is one."""
    if lines:
        figure.supxlabel(_escaped("\n".join(lines)), fontsize=SMALL_SIZE, color=FAINT_INK, x=0.02, ha="left")


def overview(
    neuron: np.ndarray,
    overall: np.ndarray,
    gap: np.ndarray,
    judge: str,
    features: str = "",
    k: int | None = None,
    label: int = 8,
) -> Figure:
    """Every neuron by how unlike its references are, and how far apart its virtual neurons.

    Parameters
    ----------
    neuron : (N,) int
    overall : (N,) float, mean distance of all pairs
    gap : (N,) float, inter − intra
    judge : whose embeddings are compared
    features : what was clustered
    k : virtual neurons of each neuron
    label : neurons to name, the most and the least split first, then those furthest from the middle; those without
        room for a name are left out
    """
    known = np.isfinite(overall) & np.isfinite(gap)
    neuron, points = np.asarray(neuron)[known], np.stack([overall, gap], axis=1)[known].astype(float)
    with style():
        layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
        figure = Figure(figsize=(WIDTH, OVERVIEW_HEIGHT), layout=layout)
        grid = figure.add_gridspec(2, 2, width_ratios=(6, 1), height_ratios=(1, 6))
        axes = figure.add_subplot(grid[1, 0])
        _plain(axes)
        axes.set_xlabel("overall distance")
        axes.set_ylabel("inter − intra")
        _foot(figure, f"split by {features}" if features else "", f"judged by {judge}", f"k = {k}" if k else "")
        if not len(points):
            axes.set(xticks=[], yticks=[])
            _say_nothing(axes)
            return figure
        radius = 1.8 if len(points) <= 200 else 1.2
        axes.axhline(0, color=NO_VIRTUAL_NEURON, lw=0.6, zorder=1)
        axes.plot(*points.T, "o", color=PALETTE[0], ms=2 * radius, mec="white", mew=0.3, zorder=2)
        axes.set_xlim(*_around(points[:, 0]))
        axes.set_ylim(*_around(np.append(points[:, 1], 0)))
        _draw_histogram(figure.add_subplot(grid[0, 0]), points[:, 0], axes.get_xlim(), upright=True)
        _draw_histogram(figure.add_subplot(grid[1, 1]), points[:, 1], axes.get_ylim(), upright=False)
        figure.draw_without_rendering()  # finds the layout, which stays from here on
        figure.set_layout_engine("none")
        _draw_neuron_names(axes, points, [str(number) for number in neuron], label, radius)
    return figure


# -------------------------------------------------------------------------------------------------- bars


class _Chart(NamedTuple):
    """Bars side by side, one group for each name, upright or lying."""

    figure: Figure
    axes: Axes
    upright: bool
    decimals: int
    room: float  # part of the axis of values that a number beyond a bar takes

    def bars(self, values: np.ndarray, shift: float, width: float, color: str) -> Container:
        """Bars for means and errors (n, 2), or means and what lies below and above them (n, 3), with their values
        written at the end; a dash where there is none."""
        at = np.arange(len(values)) + shift
        heights, below, above = np.nan_to_num(_two_sided(values)).T
        draw, name = (self.axes.bar, "yerr") if self.upright else (self.axes.barh, "xerr")
        errors_drawn: dict[str, Any] = {name: _two_sided(values)[:, 1:].T, "error_kw": {"lw": 0.8, "ecolor": INK}}
        drawn = draw(at, heights, width, color=color, **errors_drawn)
        if np.isfinite(values[:, 0]).any():
            for x, mean, *errors in zip(at.tolist(), values[:, 0], below, above, strict=True):
                self._write(x, mean, errors[0 if mean < 0 else 1])
        return drawn

    def _write(self, at: float, mean: float, error: float) -> None:
        side = -1 if mean < 0 else 1
        end, along = (0.0, "axes fraction") if np.isnan(mean) else (mean + side * error, "data")
        if self.upright:
            place, shift, align = (at, end), (0, 2 * side), ("center", "top" if side < 0 else "bottom")
        else:
            place, shift, align = (end, at), (3 * side, 0), ("right" if side < 0 else "left", "center_baseline")
        self.axes.annotate(
            _number(mean, self.decimals), place, shift, ("data", along) if self.upright else (along, "data"),
            "offset points", ha=align[0], va=align[1], fontsize=SMALL_SIZE, color=INK, path_effects=RIM, zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        )  # fmt: skip

    def line(self, value: np.ndarray) -> Artist:
        """A line across all bars at a mean, a band for its error."""
        mean, error = np.nan_to_num(value)
        line, band = (self.axes.axhline, self.axes.axhspan) if self.upright else (self.axes.axvline, self.axes.axvspan)
        band(mean - error, mean + error, color=NO_VIRTUAL_NEURON, alpha=0.25, lw=0, zorder=2.5)
        return line(mean, color=INK, lw=0.8, ls=(0, (4, 2)), zorder=3)

    def points(self, values: np.ndarray, shift: float) -> Artist:
        """A diamond beside each bar."""
        at, means = np.arange(len(values)) + shift, values[:, 0]
        places = (at, means) if self.upright else (means, at)
        return self.axes.plot(*places, "D", color=PALETTE[1], ms=3.5, zorder=4)[0]

    def limits(self, values: Sequence[np.ndarray], cut: bool = False) -> float:
        """Leave room for the numbers; where `cut`, begin where differences can be seen, and mark it.

        Returns
        -------
        float
            Where the axis begins if it is cut, else 0.
        """
        axis = self.axes.yaxis if self.upright else self.axes.xaxis
        ends = np.concatenate([_two_sided(v[np.isfinite(v[:, 0])]) for v in values])
        ends = np.nan_to_num(ends) @ [[1, 1], [-1, 0], [0, 1]]  # where errors end
        if not len(ends):
            axis.set_ticks([])
            _say_nothing(self.axes)
            return 0.0
        begin = _begin(ends) if cut else 0.0
        low, high = begin or min(float(ends.min()), 0.0), max(float(ends.max()), 0.0)
        high = high if high > low else low + 1
        ticks = np.asarray(TICKS.tick_values(low, high))
        room = self.room * (high - low) / (1 - self.room * (2 if low < 0 else 1))
        low, high = low - room if low < 0 else low, high + room
        axis.set_ticks(ticks[(ticks >= low) & (ticks <= high)])
        (self.axes.set_ylim if self.upright else self.axes.set_xlim)(low, high)
        if begin:
            self._mark_cut()
        elif low < 0:
            self.axes.spines["bottom" if self.upright else "left"].set_visible(False)
            (self.axes.axhline if self.upright else self.axes.axvline)(0, color=INK, lw=0.6, zorder=2)
        return begin

    def _mark_cut(self) -> None:
        """A gap through the foot of the axis and of every bar."""
        turned = 1 if self.upright else -1
        transform = blended_transform_factory(*(self.axes.transData, self.axes.transAxes)[::turned])
        level = np.array([0.045, 0.075] if self.upright else [0.03, 0.045])

        def stroke(start: float, end: float, shift: float = 0.0, **look: Any) -> Line2D:
            places = (np.array([start, end]), level + shift)[::turned]
            return self.axes.plot(*places, transform=transform, solid_capstyle="butt", **look)[0]

        for bar in list(self.axes.patches):
            if isinstance(bar, Rectangle) and bar.get_width() and bar.get_height():
                start, width = (bar.get_x(), bar.get_width()) if self.upright else (bar.get_y(), bar.get_height())
                stroke(start, start + width, color="white", lw=2, zorder=2.6).set_clip_path(bar)
        first, last = self.axes.get_xlim() if self.upright else self.axes.get_ylim()
        reach = 0.025 * abs(last - first)
        apart = 0.014 if self.upright else 0.01
        for shift, width, color in ((0.0, 2.0, "white"), (-apart, 0.6, INK), (apart, 0.6, INK)):
            stroke(first - reach, first + reach, shift, color=color, lw=width, zorder=6, clip_on=False)

    def label(self, *lines: str) -> None:
        """Name the axis of the values."""
        (self.axes.set_ylabel if self.upright else self.axes.set_xlabel)("\n".join(filter(None, lines)))


def _chart(names: Sequence[str], values: Sequence[np.ndarray]) -> _Chart:
    """An empty chart for groups of as many bars as there are `values` (n, 2)."""
    decimals = _decimals(np.concatenate([v[:, 0] for v in values]))
    numbers = [text_width(_number(mean, decimals), SMALL_SIZE) for v in values for mean in v[:, 0]]
    group = AXES_WIDTH / max(len(names), 1)
    below = [_broken(name, 0.92 * group) for name in names]
    upright = max(numbers, default=0.0) < 0.8 * group / len(values) and all(
        len(lines) <= LINES and max(text_width(line, SMALL_SIZE) for line in lines) < 0.95 * group for lines in below
    )
    figure = Figure(figsize=(WIDTH, HEIGHT if upright else HEAD_AND_FOOT + ROW * len(names)), layout="constrained")
    axes = figure.add_subplot()
    _plain(axes)
    first, last = (-0.6, len(names) - 0.4) if len(names) > 1 else (-1.2, 1.2)
    if upright:
        axes.set_xticks(range(len(names)), [_escaped("\n".join(lines)) for lines in below])
        axes.set_xlim(first, last)
        axes.tick_params(axis="x", length=0)
        return _Chart(figure, axes, upright, decimals, (SMALL_SIZE + 4) * INCH_PER_POINT / (HEIGHT - 1))
    beside = [[lines[0], "".join(lines[1:])] for lines in (_broken(name, NAMES_WIDTH) for name in names)]
    shown = ["\n".join(shortened(line, SMALL_SIZE, NAMES_WIDTH) for line in lines if line) for lines in beside]
    axes.set_yticks(range(len(names)), [_escaped(text) for text in shown])
    axes.set_ylim(last, first)
    axes.tick_params(axis="y", length=0)
    return _Chart(figure, axes, upright, decimals, (max(numbers) + 0.08) / (WIDTH - NAMES_WIDTH - 0.2))


def _any(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any())


def _two_sided(values: np.ndarray) -> np.ndarray:
    """Means with what lies below and above them (n, 3), of means and errors (n, 2) or of such."""
    return values if values.shape[1] == 3 else values[:, [0, 1, 1]]


def _begin(ends: np.ndarray) -> float:
    """Where an axis begins so that the differences between the values can be seen; 0 for no cut."""
    low, high = ends.min(), ends.max()
    spread = high - low
    if low <= 0 or spread < LEAST_SPREAD * high:
        return 0.0
    begin = low - 0.6 * spread
    for _ in range(3):  # until it is a tick of the axis that begins there
        begin = float(TICKS.tick_values(begin, high)[0])
    return begin if begin > 0.2 * high else 0.0


def _number(value: float, decimals: int) -> str:
    return DASH if np.isnan(value) else f"{value:.{decimals}f}".replace("-", "−")


def _decimals(values: np.ndarray) -> int:
    """Decimals that show two digits of the differences, three of the largest value, or two where it is below 1."""
    known = values[np.isfinite(values)]
    largest, spread = (np.abs(known).max(), np.ptp(known)) if known.size else (0.0, 0.0)
    exponent = int(np.floor(np.log10(largest))) if largest > 0 else 0
    of_spread = 1 - int(np.floor(np.log10(spread))) if spread > LEAST_SPREAD * largest else 0
    return int(np.clip(max(2 - exponent if exponent >= 0 else max(2, 1 - exponent), of_spread), 0, 4))


# ---------------------------------------------------------------------------------------------- agreement


def _draw_agreement(
    axes: Axes, rows: Sequence[Mapping[str, Any]], kinds: Sequence[str], measure: str
) -> dict[str, Artist | Container]:
    """A line for each kind of features, side by side so that their errors can be told apart."""
    handles: dict[str, Artist | Container] = {}
    apart = min([1.0, *np.diff(sorted({row["k"] for row in rows}))])
    for i, features in enumerate(kinds):
        own = sorted((row for row in rows if row["features"] == features), key=lambda row: row["k"])
        values = _values(own, measure)
        shift = (i - (len(kinds) - 1) / 2) * min(0.06, 0.4 / len(kinds)) * apart
        drawn = axes.errorbar(
            [row["k"] + shift for row in own], values[:, 0], values[:, 1], color=PALETTE[i % len(PALETTE)],
            marker=MARKERS[i % len(MARKERS)], ms=3.5, mew=0.3, lw=1, elinewidth=0.8, zorder=3,
        )  # fmt: skip
        handles[features] = drawn.lines[0]
    return handles


def _draw_chance(axes: Axes, rows: Sequence[Mapping[str, Any]], measure: str) -> None:
    """A band from the lowest to the highest that chance gives to any kind of features; 0 where the rows do not say."""
    name = f"{measure} by chance"
    values_of_k: dict[int, list[float]] = {}
    for row, (mean, _) in zip(rows, _values(rows, name), strict=True):
        value = mean if name in row else 0.0
        if np.isfinite(value):
            values_of_k.setdefault(row["k"], []).append(value)
    if values_of_k:
        ks = sorted(values_of_k)
        low, high = [min(values_of_k[k]) for k in ks], [max(values_of_k[k]) for k in ks]
        around = [ks[0] - 1, *ks, ks[-1] + 1]  # beyond the panel on both sides
        low, high = [low[0], *low, low[-1]], [high[0], *high, high[-1]]
        axes.fill_between(around, low, high, color=NO_VIRTUAL_NEURON, lw=1.2, zorder=1)


def _controls_in(rows: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> list[str]:
    """The controls that rows have figures of."""
    behind = [name.removeprefix(f"{measure} ") for row in rows for measure in measures for name in row]
    return [name for name in dict.fromkeys(behind) if CONTROL.fullmatch(name)]


def _draw_controls(
    axes: Axes, rows: Sequence[Mapping[str, Any]], measure: str, controls: Sequence[str]
) -> dict[str, Artist | Container]:
    """A grey line for each control: at every k the highest of all kinds of features; right across for a single k."""
    handles: dict[str, Artist | Container] = {}
    ks = sorted({row["k"] for row in rows})
    for name, look in zip(controls, islice(cycle(CONTROL_LINES), len(controls)), strict=True):
        each = [_values([row for row in rows if row["k"] == k], f"{measure} {name}")[:, 0] for k in ks]
        known = [(k, np.nanmax(own)) for k, own in zip(ks, each, strict=True) if np.isfinite(own).any()]
        line: dict[str, Any] = {"color": FAINT_INK, "ls": look, "lw": 1}
        if len(ks) == 1 and known:
            handles[f"{name}, the highest"] = axes.axhline(known[0][1], **line)
        elif known:
            line |= {"marker": "_"} if len(known) == 1 else {}  # a line through one point is not seen
            (handles[f"{name}, the highest"],) = axes.plot(*zip(*known, strict=True), **line)
    return handles


# ---------------------------------------------------------------------------------------------- the overview


def _around(values: np.ndarray) -> tuple[float, float]:
    """Limits of an axis with some room on both sides of the values, however few."""
    low, high = float(values.min()), float(values.max())
    room = 0.08 * (high - low) or 0.1 * abs(high) or 0.5
    return low - room, high + room


def _draw_histogram(axes: Axes, values: np.ndarray, limits: tuple[float, float], upright: bool) -> None:
    axes.set_axis_off()
    axes.hist(
        values, np.linspace(*limits, 26).tolist(), color=PALETTE[0], alpha=0.45,
        orientation="vertical" if upright else "horizontal",
    )  # fmt: skip
    (axes.set_xlim if upright else axes.set_ylim)(*limits)


def _draw_neuron_names(axes: Axes, points: np.ndarray, names: Sequence[str], count: int, radius: float) -> None:
    """Names beside the points (n, 2) that are furthest from the middle; no name lies on another or on a point."""
    scaled = (points - np.median(points, axis=0)) / np.ptp(points, axis=0).clip(min=np.finfo(float).tiny)
    distance = np.linalg.norm(scaled, axis=1)
    distance[[points[:, 1].argmax(), points[:, 1].argmin()]] = np.inf  # the most and the least split come first
    order = np.argsort(-distance, kind="stable")
    inch = axes.figure.dpi_scale_trans.inverted()
    on_page = inch.transform(axes.transData.transform(points)) / INCH_PER_POINT  # in points, as sizes of letters are
    frame = inch.transform(axes.get_window_extent().get_points()) / INCH_PER_POINT
    taken = np.zeros((0, 2, 2))  # lower left and upper right corners of names
    lines = np.zeros((0, 2))  # points on the lines that lead to names
    for i in islice(order.tolist(), 5 * count):
        if len(taken) == count:
            break
        size = np.array([text_width(names[i], SMALL_SIZE) / INCH_PER_POINT, 0.75 * SMALL_SIZE])
        for center, far in _spots(on_page[i], size, radius):
            box = np.stack([center - size / 2 - 0.8, center + size / 2 + 0.8])
            line = on_page[i] + np.linspace(0, 1, 9)[:, None] * (center - on_page[i])
            if (
                (box[0] < frame[0]).any()
                or (box[1] > frame[1]).any()
                or _inside(on_page, box, radius).any()
                or _inside(lines, box).any()
                or any(_inside(line, other).any() for other in taken)
                or ((taken[:, 0] < box[1]) & (taken[:, 1] > box[0])).all(axis=1).any()
            ):
                continue
            leading = {"arrowstyle": "-", "lw": 0.4, "color": FAINT_INK, "shrinkA": 0, "shrinkB": radius}
            axes.annotate(
                names[i], points[i], center - on_page[i], textcoords="offset points", ha="center", va="center_baseline",
                fontsize=SMALL_SIZE, color=INK, path_effects=RIM, zorder=4, arrowprops=leading if far else None,
            )  # fmt: skip
            taken, lines = np.concatenate([taken, box[None]]), np.concatenate([lines, line])
            break


def _inside(points: np.ndarray, box: np.ndarray, radius: float = 0.0) -> np.ndarray:
    """Which of the points (n, 2) lie in a box (2, 2), or so near that a dot of that radius touches it."""
    return ((points > box[0] - radius) & (points < box[1] + radius)).all(axis=1)


def _spots(point: np.ndarray, size: np.ndarray, radius: float) -> Iterator[tuple[np.ndarray, bool]]:
    """Centres of places for a name around a point, the nearest first; whether a line has to lead there."""
    for distance in (radius + 1.5, radius + 5, radius + 10):
        for angle in np.radians([0, 180, 90, 270, 35, 145, 325, 215]):
            direction = np.array([np.cos(angle), np.sin(angle)])
            yield point + direction * (distance + size / 2), distance > radius + 2


# ----------------------------------------------------------------------------------------- what they share


def _plain(axes: Axes) -> None:
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_linewidth(0.6)
    axes.tick_params(labelsize=SMALL_SIZE, width=0.6, length=2.5)
    axes.xaxis.label.set_fontsize(SIZE)
    axes.yaxis.label.set_fontsize(SIZE)


def _say_nothing(axes: Axes) -> None:
    axes.set_facecolor(EMPTY)
    axes.text(0.5, 0.5, NOTHING, transform=axes.transAxes, ha="center", va="center", fontsize=SIZE, color=FAINT_INK)


def _legend(figure: Figure, handles: Mapping[str, Artist | Container], columns: int = 3) -> None:
    if not handles:
        return
    shown: list[Any] = list(handles.values())
    legend = figure.legend(
        shown, ["-"] * len(handles), loc="outside upper center", ncols=columns, fontsize=SMALL_SIZE,
        frameon=False, borderaxespad=0.2, labelspacing=0.3, columnspacing=1.2, handlelength=1.6, handletextpad=0.5,
    )  # fmt: skip
    room = WIDTH / min(columns, len(handles)) - 0.4
    for text, name in zip(legend.get_texts(), handles, strict=True):
        text.set_text(_escaped(shortened(name, SMALL_SIZE, room)))  # set here, since names may begin with _


def _foot(figure: Figure, *parts: str) -> None:
    """A line below everything, or several where one has no room."""
    room = WIDTH - 0.1
    lines = [", ".join(filter(None, parts))]
    if text_width(lines[0], SIZE) > room:
        lines = [shortened(part, SIZE, room) for part in parts if part]
    figure.supxlabel(_escaped("\n".join(lines)), fontsize=SIZE)


def _broken(name: str, room: float) -> list[str]:
    """A name on lines of at most so many inches, broken after its punctuation; a part may be longer."""
    lines = [""]
    for part in re.findall(r"[^\s:/@,_-]*[\s:/@,_-]?", printable(name)):
        if lines[-1] and text_width(lines[-1] + part, SMALL_SIZE) > room:
            lines.append("")
        lines[-1] += part
    return [line.strip() for line in lines]


def _escaped(text: str) -> str:
    """Text as it stands: its dollars begin no formula."""
    return text.replace("$", r"\$")


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Means and errors (n, 2) of a column of pairs or numbers, NaN for what is not there."""
    pairs = [value if isinstance(value := row.get(name), list | tuple) else (value, None) for row in rows]
    return np.array([[np.nan if value is None else value for value in pair] for pair in pairs], float).reshape(-1, 2)
