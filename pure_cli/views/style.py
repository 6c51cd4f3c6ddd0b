"""What all figures share: colours, letters and how wide they are, and how figures are written to files."""

import io
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from pure_cli.errors import PureError
from pure_cli.files import write_whole
from pure_cli.words import printable

# Okabe and Ito's colours for the colour-blind (without black, yellow darkened), then three that stay apart from them.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#882255", "#332288", "#D4C61C", "#5C3A1E"),
)
NO_VIRTUAL_NEURON = "#8C8C8C"  # of all references together, and of those left out
INK = "#1A1A1A"
FAINT_INK = "#6B6B6B"
EMPTY = "#F2F2F2"  # what an image that is not square leaves of its cell

DPI = 200  # of PNG files
VECTOR_DPI = 300  # of the images in PDF and SVG files

SIZE = 7.5  # points, of names
SMALL_SIZE = 7.0  # points, of details
HEAD_SIZE = 8.0  # points, of the title
INCH_PER_POINT = 1 / 72

FONT = "DejaVu Sans"  # comes with matplotlib, so that the figure is the same everywhere
STYLE = {
    "font.family": FONT,
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "pure",
}


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG (200 dpi), PDF or SVG, whichever the path's ending says.

    The same figure gives the same bytes. A process that is killed leaves the old file or the new one.

    Parameters
    ----------
    figure : from :func:`draw`
    path : the file; its folder exists

    Raises
    ------
    PureError
        For any other ending.
    """
    path = Path(path)
    kinds: dict[str, tuple[int, dict[str, None]]] = {
        ".png": (DPI, {"Software": None}),
        ".pdf": (VECTOR_DPI, {"CreationDate": None}),
        ".svg": (VECTOR_DPI, {"Date": None}),
    }
    if path.suffix.lower() not in kinds:
        raise PureError(f"Cannot write a figure to '{path}'. The file name has to end in {', '.join(kinds)}.")

    dpi, metadata = kinds[path.suffix.lower()]
    content = io.BytesIO()
    with style():
        figure.savefig(content, format=path.suffix.lower()[1:], dpi=dpi, metadata=metadata)
    write_whole(path, content.getvalue())


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults with ours on top, whatever the user's own settings; no word on letters the font lacks."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


@lru_cache(maxsize=4096)  # laying out a line takes a millisecond, and names come again
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text in inches."""
    if not text.strip():
        return 0.0
    font = FontProperties(family=FONT, weight=weight)
    return TextPath((0, 0), text.replace("$", "S"), size=size, prop=font).get_extents().width * INCH_PER_POINT


def shortened(text: str, size: float, room: float, weight: str = "normal") -> str:
    """The text, its middle replaced by an ellipsis where it is wider than the room (inches)."""
    text = printable(" ".join(text.split()))
    if text_width(text, size, weight) <= room:
        return text

    def keeping(letters: int) -> str:
        return f"{text[: (letters + 1) // 2].rstrip()}…{text[len(text) - letters // 2 :].lstrip()}"

    too_many = bisect_right(range(len(text)), room, key=lambda letters: text_width(keeping(letters), size, weight))
    return keeping(max(too_many - 1, 0))


def wrapped(text: str, size: float, room: float) -> list[str]:
    """The lines of a text, broken between words where it is wider than the room (inches)."""
    # a space, and what the extents of two words leave out around them
    space, lines, used = 0.42 * size * INCH_PER_POINT, [""], 0.0
    for word in text.split():
        width = _word_width(word, size)
        if lines[-1] and used + space + width > room:
            lines.append("")
        used = used + space + width if lines[-1] else width
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [line if " " in line else shortened(line, size, room) for line in lines]


@lru_cache(4096)
def _word_width(word: str, size: float) -> float:
    """As of `text_width`, which takes long where the same words are measured again and again."""
    return text_width(word, size)
