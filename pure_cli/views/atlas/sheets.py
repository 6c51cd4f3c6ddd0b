"""Sheets of tiles: many small images in one JPEG, as a data URL."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

COLUMNS = 10
GREY = 128  # where a tile does not fill its cell
FINE = 92  # quality of sheets of tiles that were never made smaller, of which each pixel is seen
REDUCED = 1.5  # times its size to which an image is brought by plain means over pixels first, which is quicker


def as_tile(image: Image.Image, box: Sequence[int] | np.ndarray | None, side: int) -> np.ndarray:
    """An image, or a part of it, that fits into a square; never enlarged.

    Parameters
    ----------
    image : RGB
    box : top, bottom, left and right, half-open; None for the whole
    side : of the square, in pixels

    Returns
    -------
    (h, w, 3) uint8, with h and w at most `side`
    """
    top, bottom, left, right = (0, image.height, 0, image.width) if box is None else map(int, box)
    height, width = bottom - top, right - left
    scale = side / max(height, width)
    if scale >= 1:
        return np.asarray(image.crop((left, top, right, bottom)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, (left, top, right, bottom), reducing_gap=REDUCED))


def sheet(
    tiles: Sequence[np.ndarray], quality: int, cell: int = 0, columns: int = COLUMNS, fine: bool = False
) -> dict[str, Any]:
    """Tiles (h, w, 3) uint8, row after row, each at the top left of its cell.

    Parameters
    ----------
    quality : of JPEG, 1 to 95
    cell : side of a cell; that of the largest tile where it is 0
    fine : colours stay as they are, at a higher quality

    Returns
    -------
    dict with "src", a data URL, "tile", the side of a cell, "columns", and "sizes", [width, height] of each tile
    """
    side = cell or max((max(one.shape[:2]) for one in tiles), default=1)
    rows = max(1, -(-len(tiles) // columns))
    whole = np.full((rows * side, columns * side, 3), GREY, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = side * (place // columns), side * (place % columns)
        whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    buffer = io.BytesIO()
    how: dict[str, Any] = {"quality": FINE, "subsampling": 0} if fine else {"quality": quality}
    Image.fromarray(whole).save(buffer, "JPEG", optimize=True, progressive=True, **how)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    sizes = [[int(one.shape[1]), int(one.shape[0])] for one in tiles]
    return {"src": f"data:image/jpeg;base64,{encoded}", "tile": side, "columns": columns, "sizes": sizes}


def icons_of(content: dict[str, Any], places: Sequence[int], side: int) -> list[np.ndarray]:
    """Squares (side, side, 3) uint8 out of the middle of some tiles of a sheet."""
    if not places:
        return []
    data = base64.b64decode(content["src"].partition(",")[2])
    whole, cell = Image.open(io.BytesIO(data)).convert("RGB"), content["tile"]
    found = []
    for place in places:
        top, left = cell * (place // content["columns"]), cell * (place % content["columns"])
        width, height = content["sizes"][place]
        short = min(width, height)
        x, y = left + (width - short) / 2, top + (height - short) / 2
        square = whole.resize((side, side), Image.Resampling.BILINEAR, (x, y, x + short, y + short))
        found.append(np.asarray(square))
    return found
