"""The figures of an evaluation: bars of distances, correlations and agreement, and the overview of all neurons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pure_cli.views.style import INK, NO_VIRTUAL_NEURON, PALETTE, SIZE, SMALL_SIZE, style

WIDTH = 3.4  # inches, of one column of a paper
HEIGHT = 2.3
LONG_NAME = 16  # characters after which a name is broken
LABELLED = 8  # neurons named in the overview
APART = 0.06  # of the axes' diagonal: names that are closer would touch


def separation_bars(rows: Sequence[Mapping[str, Any]], overall: Sequence[float | None], judge: str, k: int) -> Figure:
    """Distances within and across virtual neurons for each kind of features, as in the paper.

    Parameters
    ----------
    rows : "features", and "intra" and "inter" as (mean, error)
    overall : (mean, error) over all pairs, what a random split would give
    judge : whose embeddings are compared
    k : virtual neurons of each neuron
    """
    with style():
        figure, axes = _page(len(rows))
        at = np.arange(len(rows))
        intra, inter = _values(rows, "intra"), _values(rows, "inter")
        for values, name, color, side in ((intra, "intra", PALETTE[0], -1), (inter, "inter", PALETTE[1], 1)):
            _bars(axes, at + side * 0.2, values, 0.38, color, name)
        if overall[0] is not None:
            axes.axhline(overall[0], color=NO_VIRTUAL_NEURON, lw=0.8, ls=(0, (4, 2)), label="random", zorder=3)
        shown = np.concatenate([intra[:, 0], inter[:, 0]])
        cut = _cut(axes, shown[np.isfinite(shown)])
        _names(axes, [row["features"] for row in rows])
        axes.set_ylabel(f"distance of embeddings\nk = {k}{cut}")
        axes.set_xlabel(f"judged by {judge}")
        _legend(figure, axes)
    return figure


def correlation_bars(rows: Sequence[Mapping[str, Any]], judge: str) -> Figure:
    """Correlation of pairwise distances with the judge's, with the published value where there is one.

    Parameters
    ----------
    rows : "features", "r" as (mean, error), and "published" where the paper has a value
    """
    with style():
        figure, axes = _page(len(rows))
        at = np.arange(len(rows))
        _bars(axes, at, _values(rows, "r"), 0.6, PALETTE[0], "measured here")
        published = [(i, row["published"]) for i, row in enumerate(rows) if row.get("published") is not None]
        if published:
            where, values = zip(*published, strict=True)
            axes.plot(where, values, "D", color=PALETTE[1], ms=4, label="published (ResNet101)", zorder=4)
            _legend(figure, axes)
        axes.axhline(0, color=INK, lw=0.6)
        _names(axes, [row["features"] for row in rows])
        axes.set_ylabel("correlation of distances")
        axes.set_xlabel(f"judged by {judge}")
    return figure


def agreement_bars(rows: Sequence[Mapping[str, Any]], measure: str) -> Figure:
    """Agreement with labels against k, a line for each kind of features.

    Parameters
    ----------
    rows : "features", "k", and the measure as (mean, error)
    measure : name of the column
    """
    with style():
        figure, axes = _page(1)
        kinds = list(dict.fromkeys(row["features"] for row in rows))
        for i, features in enumerate(kinds):
            own = [row for row in rows if row["features"] == features]
            values = _values(own, measure)
            ks = np.array([row["k"] for row in own]) + (i - (len(kinds) - 1) / 2) * 0.04
            color, marker = PALETTE[i % len(PALETTE)], "osD^vPX*"[i % 8]
            axes.errorbar(
                ks, values[:, 0], values[:, 1], color=color, marker=marker, ms=4, lw=1.2, label=_broken(features)
            )
        axes.set_xticks(sorted({row["k"] for row in rows}))
        axes.set_xlabel("virtual neurons of each neuron (k)")
        axes.set_ylabel(f"{measure} with the labels")
        _legend(figure, axes, columns=2)
    return figure


def overview(
    neuron: np.ndarray, overall: np.ndarray, gap: np.ndarray, judge: str, features: str, labelled: int = LABELLED
) -> Figure:
    """Every neuron by how unlike its references are, and how far apart its virtual neurons.

    Parameters
    ----------
    neuron : (N,) int
    overall : (N,) float, mean distance of all pairs
    gap : (N,) float, inter − intra
    judge, features : whose embeddings, and what was clustered
    labelled : neurons named, those furthest from the middle
    """
    known = np.isfinite(overall) & np.isfinite(gap)
    neuron, overall, gap = neuron[known], overall[known], gap[known]
    with style():
        figure = Figure(figsize=(WIDTH, WIDTH * 0.95), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(5, 1), height_ratios=(1, 5), wspace=0.02, hspace=0.02)
        axes = figure.add_subplot(grid[1, 0])
        top, right = figure.add_subplot(grid[0, 0], sharex=axes), figure.add_subplot(grid[1, 1], sharey=axes)
        axes.plot(overall, gap, "o", color=PALETTE[0], ms=3.2, mec="white", mew=0.4)
        bins = max(5, min(30, len(neuron) // 4))
        if len(neuron) > 1:
            top.hist(overall, bins=bins, color=PALETTE[0], alpha=0.5)
            right.hist(gap, bins=bins, color=PALETTE[0], alpha=0.5, orientation="horizontal")
        for side in (top, right):
            side.axis("off")
        _plain(axes)
        axes.margins(0.08)
        axes.axhline(0, color=NO_VIRTUAL_NEURON, lw=0.6)
        axes.set_xlabel(f"overall distance\n({judge})")
        axes.set_ylabel(f"inter − intra of {_broken(features)}")
        for i in _extreme(overall, gap, labelled):
            axes.annotate(str(neuron[i]), (overall[i], gap[i]), xytext=(3, 2), textcoords="offset points",
                          fontsize=SMALL_SIZE - 1, color=INK)  # fmt: skip
    return figure


def _extreme(x: np.ndarray, y: np.ndarray, count: int) -> list[int]:
    """The points furthest from the middle of the cloud, no two so close that their names would touch."""
    points = np.stack([x, y], axis=1)
    spread = np.ptp(points, axis=0) if len(points) else np.ones(2)
    scaled = (points - np.median(points, axis=0)) / np.where(spread > 0, spread, 1) if len(points) else points
    chosen: list[int] = []
    for i in np.argsort(-np.linalg.norm(scaled, axis=1), kind="stable").tolist():
        if len(chosen) == count:
            break
        if all(np.linalg.norm(scaled[i] - scaled[j]) > APART for j in chosen):
            chosen.append(i)
    return chosen


def _page(count: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(max(WIDTH, 0.8 * count + 0.7), HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_linewidth(0.6)
    axes.tick_params(labelsize=SMALL_SIZE, width=0.6, length=2.5)
    axes.xaxis.label.set_fontsize(SIZE)
    axes.yaxis.label.set_fontsize(SIZE)


def _bars(axes: Axes, at: np.ndarray, values: np.ndarray, width: float, color: str, name: str) -> None:
    heights, errors = np.nan_to_num(values[:, 0]), np.nan_to_num(values[:, 1])
    axes.bar(at, heights, width, yerr=errors, color=color, alpha=0.75, label=name,
             error_kw={"lw": 0.8, "ecolor": INK})  # fmt: skip
    for x, (height, error) in zip(at, values, strict=True):
        if np.isfinite(height):
            top = height + np.nan_to_num(error) if height >= 0 else height - np.nan_to_num(error)
            axes.annotate(f"{height:.2f}", (x, top), xytext=(0, 1.5 if height >= 0 else -1.5), ha="center",
                          va="bottom" if height >= 0 else "top", textcoords="offset points",
                          fontsize=SMALL_SIZE - 1.5, color=INK)  # fmt: skip


def _cut(axes: Axes, values: np.ndarray) -> str:
    """Begin the axis where differences can be seen; returns words that say so."""
    low = values.min() - 0.6 * np.ptp(values) if len(values) else 0.0
    if low <= 0 or np.ptp(values) == 0:
        return ""
    axes.set_ylim(low, values.max() + 0.2 * np.ptp(values))
    return f", axis begins at {low:.2g}"


def _names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xticks(range(len(names)), [_broken(name) for name in names], fontsize=SMALL_SIZE)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="x", length=0)


def _legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, fontsize=SMALL_SIZE, frameon=False)


def _broken(name: str) -> str:
    """A long name on several lines, at its colons and dashes."""
    if len(name) <= LONG_NAME:
        return name.replace("activation-", "activation\n") if name.startswith("activation-") else name
    return name.replace(":", ":\n")


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Means and errors (n, 2) of a column, NaN for what is not there."""
    pairs = [row[name] or (None, None) for row in rows]
    return np.array([[np.nan if value is None else value for value in pair] for pair in pairs]).reshape(-1, 2)
