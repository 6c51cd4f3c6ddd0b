"""Tables of results for the terminal, for spreadsheets and for papers."""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pure_cli.words import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

DASH = "–"
DIGITS = 3  # significant, of the largest number of a column; also the most decimals
LEAST = 1e-3  # smaller numbers are written with an exponent
GAP = 2  # between the columns on the terminal
WORD = 8  # letters of a text that stay together on a narrow terminal
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "…": r"\dots{}",
    "–": "--",
    "\N{NO-BREAK SPACE}": "~",
}
MINUS = re.compile(r"(?<![\w.:/-])-(?=\d)")  # before a number within a text
EXPONENT = re.compile(r"e([+-]\d+)")
PLUS_MINUS = r"\pm"
LINE_BREAK = re.compile(r"\s*[\r\n]\s*")
TAKEN_FOR_OPTIONS = ("[", "*")  # after \\ and \midrule
NOT_IN_LABELS = re.compile(r"[^\w:.+/@-]", re.ASCII)


def cell(value: Any, digits: int = DIGITS) -> str:
    """A value as the reader sees it.

    Parameters
    ----------
    value : number, text, None, or a pair of mean and error
    digits : significant ones of a number or mean, and the most decimals

    Returns
    -------
    str
        A dash for what is not there; ``5.85 ± 0.02`` for a pair, its error to the same decimals; a tiny number with an
        exponent.
    """
    return _shown(value, _decimals([value], digits))


def as_csv(table: Mapping[str, Any]) -> str:
    """A table as comma-separated values (RFC 4180) with full precision, empty for what is not there.

    A column of pairs becomes two: ``intra`` and ``intra error``.

    Parameters
    ----------
    table : of `pure_cli.stages.evaluation.study.Table.as_dict`
    """
    pairs = {name for name in table["columns"] if any(_is_pair(value) for value in _column(table, name))}
    header = [part for name in table["columns"] for part in ([name, f"{name} error"] if name in pairs else [name])]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    for row in table["rows"]:
        cells: list[Any] = []
        for name in table["columns"]:
            value = row.get(name)
            if name in pairs:
                cells += value if _is_pair(value) else (value, None)
            else:
                cells.append(value)
        writer.writerow(["" if _is_missing(value) else value for value in cells])
    return out.getvalue()


def as_latex(table: Mapping[str, Any]) -> str:
    """A table for a paper, with the package booktabs.

    Parameters
    ----------
    table : as of `as_csv`
    """
    columns = list(table["columns"])
    decimals = {name: _decimals(_column(table, name)) for name in columns}
    rows = [[_latex_cell(row.get(name), decimals[name]) for name in columns] for row in table["rows"]]
    alignment = "".join("l" if _is_text(table, name) else "r" for name in columns)
    lines = [
        r"\begin{table}  % \usepackage{booktabs}",
        r"  \centering",
        rf"  \caption{{{_escaped(table['title'])}}}",
        rf"  \label{{tab:{NOT_IN_LABELS.sub('-', table['name'])}}}",
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        f"    {' & '.join(_escaped(name) for name in columns)} " + r"\\",
        r"    \midrule",
        *(f"    {' & '.join(cells)} " + r"\\" for cells in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
    ]
    if table["note"]:
        lines.append(rf"  \par\smallskip{{\footnotesize {_escaped(table['note'])}\par}}")
    return "\n".join([*lines, r"\end{table}", ""])


def as_rich(table: Mapping[str, Any]) -> "Terminal":
    """A table for the terminal, to be printed by rich.

    Parameters
    ----------
    table : as of `as_csv`
    """
    return Terminal(table)


@dataclass(frozen=True)
class Terminal:
    """A table with its title above and its note below, both as wide as the terminal and not only as the table.

    Where room is short, texts and heads are broken before numbers are; nothing is cut off.
    """

    table: Mapping[str, Any]

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.cells import cell_len
        from rich.table import Table
        from rich.text import Text

        names = list(map(printable, self.table["columns"]))
        columns, least, most = [], [], []
        for name, heading in zip(self.table["columns"], names, strict=True):
            values = _column(self.table, name)
            columns.append([printable(_shown(value, _decimals(values))) for value in values])
            widest = max(map(cell_len, columns[-1]), default=0)
            head = max(map(cell_len, heading.split()), default=0)
            least.append(max(min(widest, WORD) if _is_text(self.table, name) else widest, head))
            most.append(max(widest, cell_len(heading)))
        texts = [_is_text(self.table, name) for name in self.table["columns"]]
        widths = _widths(least, most, texts, options.max_width - GAP * (len(names) - 1))

        shown = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
        for heading, text, width in zip(names, texts, widths, strict=True):
            justify: Literal["left", "right"] = "left" if text else "right"
            shown.add_column(Text(heading), justify=justify, overflow="fold", width=width)
        for row in zip(*columns, strict=True):
            shown.add_row(*map(Text, row))

        yield Text(printable(self.table["title"]), style="bold")
        yield shown
        if self.table["note"]:
            yield Text(printable(self.table["note"]), style="dim")
        yield Text()


def _widths(least: list[int], most: list[int], texts: list[bool], room: int) -> Sequence[int | None]:
    """Widths of columns that fill no more than the room: heads of numbers are broken first, then texts, the widest
    first; None where none fit."""
    if sum(least) > room:
        return [None] * len(least)
    widths = list(most)
    while sum(widths) > room:
        spare = [width - needed for width, needed in zip(widths, least, strict=True)]
        heads = [0 if text else one for one, text in zip(spare, texts, strict=True)]
        spare = heads if any(heads) else spare
        widths[spare.index(max(spare))] -= 1
    return widths


def _column(table: Mapping[str, Any], name: str) -> list[Any]:
    return [row.get(name) for row in table["rows"]]


def _is_text(table: Mapping[str, Any], name: str) -> bool:
    return any(isinstance(value, str) for value in _column(table, name))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _decimals(values: list[Any], digits: int = DIGITS) -> int:
    """How many decimals show the largest of the numbers, or of the means, with so many significant digits."""
    means = [value[0] if _is_pair(value) else value for value in values]
    largest = max((abs(mean) for mean in means if isinstance(mean, float) and math.isfinite(mean)), default=0.0)
    exponent = int(f"{largest:.{digits - 1}e}".partition("e")[2])  # of the rounded number: 9.999 becomes 10.0
    return min(max(digits - 1 - exponent, 0), digits)


def _shown(value: Any, decimals: int) -> str:
    if _is_pair(value):
        return " ± ".join(_mean_and_error(value[0], value[1], decimals)) or DASH
    if _is_missing(value):
        return DASH
    return _number(value, decimals, abs(value) < LEAST) if isinstance(value, float) else str(value)


def _mean_and_error(mean: float | None, error: float | None, decimals: int) -> Iterator[str]:
    """What is known of them, both with an exponent or neither."""
    if mean is not None and math.isfinite(mean):
        known = [mean] if error is None or not math.isfinite(error) else [mean, error]
        tiny = max(map(abs, known)) < LEAST
        yield from (_number(number, decimals, tiny) for number in known)


def _number(number: float, decimals: int, tiny: bool) -> str:
    text = f"{number:.1e}" if tiny and number else f"{number:.{decimals}f}"
    return text if float(text) else text.lstrip("-")  # no negative zero


def _latex_cell(value: Any, decimals: int) -> str:
    text = _shown(value, decimals)
    if isinstance(value, str) or text == DASH:
        text = _escaped(text)
        return f"{{{text[0]}}}{text[1:]}" if text.startswith(TAKEN_FOR_OPTIONS) else text
    if text.replace(".", "").isdecimal():
        return text
    return f"${EXPONENT.sub(_power, text.replace('±', PLUS_MINUS))}$"


def _power(exponent: re.Match[str]) -> str:
    return rf" \times 10^{{{int(exponent[1])}}}"


def _escaped(text: str) -> str:
    """Text as it stands, on one line."""
    parts = MINUS.sub("−", LINE_BREAK.sub(" ", text)).split("--")
    plain = LATEX.get
    return "-{}-".join("".join(plain(char) or _spelled(char) for char in part) for part in parts)


def _spelled(char: str) -> str:
    return "".join(LATEX.get(one, one) for one in printable(char))
