"""Text and images on a page that is measured in inches: axes that fill the figure."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke

from pure_cli.views.style import DPI, VECTOR_DPI


def draw_image(
    axes: Axes, image: np.ndarray, left: float, bottom: float, width: float, height: float, zorder: float = 1.0
) -> tuple[float, float, float, float]:
    """An image (h, w, 3) as large as fits into a place, centred; small ones keep their pixels' edges.

    Returns
    -------
    left, bottom, width, height of where it went
    """
    rows, columns = image.shape[:2]
    scale = min(width / columns, height / rows)
    wide, high = columns * scale, rows * scale
    x, y = left + width / 2 - wide / 2, bottom + height / 2 - high / 2

    # Repeated until there are more pixels than the page has dots: then averaging over dots leaves the edges where
    # they are, while plain nearest-neighbour sampling would make the pixels unequal.
    repeat = int(np.ceil(2 * VECTOR_DPI * scale)) if scale * DPI > 1 else 1
    extent = (x, x + wide, y, y + high)
    shown = AxesImage(axes, extent=extent, interpolation="antialiased", origin="upper", zorder=zorder)
    shown.set_data(image.repeat(repeat, axis=0).repeat(repeat, axis=1))
    axes.add_image(shown)
    return x, y, wide, high


def write(
    axes: Axes,
    at: tuple[float, float],
    text: str,
    color: str | tuple[float, ...],
    size: float,
    ha: str = "left",
    va: str = "baseline",
    weight: str = "normal",
    zorder: float = 3,
    rotation: float = 0,
) -> None:
    """Text as it stands, dollars and all, with a white rim."""
    rim = [withStroke(linewidth=1.8, foreground="white")]
    look = {"color": color, "fontsize": size, "fontweight": weight, "ha": ha, "va": va, "zorder": zorder}
    axes.text(*at, text, parse_math=False, path_effects=rim, rotation=rotation, **look)  # type: ignore[arg-type]
