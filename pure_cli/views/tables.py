"""Tables of results for the terminal, for spreadsheets and for papers."""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pure_cli.words import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

DASH = "–"
DIGITS = 3  # significant, of the largest number of a column; also the most decimals
LEAST = 1e-3  # a column of smaller numbers has more decimals
TINY = 1e-4  # one of still smaller numbers has exponents
FEWER_DIGITS = 2  # where room is short; no fewer decimals either
GAP = 2  # between the columns on the terminal
FEWEST = 3  # columns that stay where room is short and not all are shown
LEADING = 2  # columns of texts at most that name a row
LEAST_NAMES = 12  # wide is the column of names before names get a line of their own
INDENT = 2  # of values below such a name
MARK = " *"  # behind the name of the best row
SPACE = re.compile(r" (?![^()]*\))")  # where a cell may be broken: not within brackets
SPACE_OF_TEXT = re.compile(r" (?![^()]*\)|\()")  # nor before them
SENTENCE = re.compile(r"(?<=\.) (?=\S)")  # between those of a note
ASCII_MINUS = str.maketrans("−", "-")
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


Line = list[tuple[str, bool]]
"""Parts of a line of the terminal, and which of them are bold."""


class Interval(NamedTuple):
    """A value with the ends of its confidence interval."""

    value: float | None
    low: float | None
    high: float | None


def cell(value: Any, digits: int = DIGITS) -> str:
    """A value as the reader sees it.

    Parameters
    ----------
    value : number, text, None, yes or no, a pair of mean and error, or an `Interval`
    digits : significant ones of a number or mean

    Returns
    -------
    str
        A dash for what is not there; ``5.85 ± 0.02`` for a pair, its error to the same decimals, ``5.85 (5.80 … 5.90)``
        for an interval. All numbers of a column have the same decimals: those that its largest number and its smallest
        error need, 3 at most where one is 0.001 or more; ``<0.001`` for a number without error that has none of these.
        Exponents where all are below 0.0001.
    """
    return _shown(value, _decimals([value], digits))


def as_csv(table: Mapping[str, Any]) -> str:
    """A table as comma-separated values (RFC 4180) with full precision, empty for what is not there.

    A column of pairs becomes two: ``intra`` and ``intra error``. Names of columns have an ASCII minus.

    Parameters
    ----------
    table : of `pure_cli.stages.evaluation.study.Table.as_dict`
    """
    columns = [*table["columns"], *table.get("beside", ())]
    pairs = {name for name in columns if any(_is_pair(value) for value in _column(table, name))}
    header = [part for name in columns for part in ([name, f"{name} error"] if name in pairs else [name])]
    header = [name.translate(ASCII_MINUS) for name in header]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    for row in table["rows"]:
        cells: list[Any] = []
        for name in columns:
            value = row.get(name)
            if name in pairs:
                cells += value if _is_pair(value) else (value, None)
            else:
                cells.append(value)
        writer.writerow([_yes_or_no("" if _is_missing(value) else value) for value in cells])
    return out.getvalue()


def as_latex(table: Mapping[str, Any]) -> str:
    """A table for a paper, with the package booktabs.

    Parameters
    ----------
    table : as of `as_csv`
    """
    columns = _columns(table)
    cells = {name: _column(table, name) for name in columns}
    decimals = {name: _decimals(values) for name, values in cells.items()}
    marked = table.get("bold") or {}
    rows = [
        [_latex_cell(cells[name][i], decimals[name], i in marked.get(name, ())) for name in columns]
        for i in range(len(table["rows"]))
    ]
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


def as_rich(table: Mapping[str, Any], compact: bool = False, styles: Sequence[str] = ()) -> "Terminal":
    """A table for the terminal, to be printed by rich.

    Parameters
    ----------
    table : as of `as_csv`
    compact : only the columns that are read first
    styles : of rich, for each row; where there are none, bold for the cells in "bold", or for the best row without such
    """
    return Terminal(table, compact, styles)


@dataclass(frozen=True)
class Terminal:
    """A table with verdict and title above and its note below, all as wide as the terminal and not only as the table.

    Where room is short, texts and heads are broken between words, numbers have fewer digits, and names without room get
    a line of their own; nothing is cut off. Of the note only what is about something shown: a sentence that begins with
    columns and a colon needs one of them, and one on bold needs a terminal that has it. A verdict on no rows is all.
    """

    table: Mapping[str, Any]
    compact: bool = False
    styles: Sequence[str] = ()

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        if self.table.get("verdict"):
            yield Text(printable(self.table["verdict"]))
            yield Text()
            if not self.table["rows"]:
                return
        if self.table["title"]:
            yield Text(printable(self.table["title"]), style="bold")
        best = self.table.get("best") if self.table.get("bold") is None else None
        styles = self.styles or ["bold" if i == best else "" for i in range(len(self.table["rows"]))]
        names = _columns(self.table, self.compact)
        laid_out = _laid_out(self.table, names, options.max_width, self.compact)
        for line, row in _lines(laid_out, options.max_width):
            style = "bold" if row is None else styles[row]
            yield Text.assemble(
                *((part, "bold" if bold else "") for part, bold in line), style=style, overflow="fold", no_wrap=True
            )
        shown = names[: _leading(self.table, names) + len(laid_out[1])]
        has_bold = console.color_system is not None or console.is_jupyter or console.record
        if note := _note(self.table, shown, has_bold):
            yield Text(printable(note), style="dim")
        if self.table["title"] or note:
            yield Text()


def _note(table: Mapping[str, Any], shown: Sequence[str], has_bold: bool) -> str:
    """The sentences of a note that are about what is shown."""
    there = [name.casefold() for name in _columns(table)]
    seen = [name.casefold() for name in shown]

    def is_of(columns: Sequence[str], name: str) -> bool:
        return any(column == name or column.startswith(f"{name},") for column in columns)

    def counts(sentence: str) -> bool:
        head, colon, _ = sentence.partition(": ")
        names = head.casefold().split(", ") if colon else []
        if names == ["bold"]:
            return has_bold
        is_of_columns = bool(names) and all(is_of(there, name) for name in names)
        return not is_of_columns or any(is_of(seen, name) for name in names)

    return " ".join(filter(counts, SENTENCE.split(table["note"])))


# -------------------------------------------------------------------------------------------- lines of a terminal


@dataclass(frozen=True)
class _Column:
    """A column in words.

    Attributes
    ----------
    cells : of every row
    is_text : on the left, and broken between words
    bold : rows whose cells are bold
    """

    head: str
    cells: list[str]
    is_text: bool
    bold: Sequence[int] = ()

    @property
    def most(self) -> int:
        return max(map(_width, (self.head, *self.cells)))

    @property
    def least(self) -> int:
        """Where heads and texts are broken between words."""
        return max(_longest_word(self.head), *map(self.longest if self.is_text else _width, self.cells), 0)

    @property
    def word(self) -> int:
        """Where numbers are broken too."""
        return max(_longest_word(self.head), *map(self.longest, self.cells), 0)

    def longest(self, text: str) -> int:
        """Width of what stays together of a cell."""
        return _longest_word(text, SPACE_OF_TEXT if self.is_text else SPACE)

    def wrapped(self, text: str, width: int) -> list[str]:
        """Lines of a cell."""
        return _wrapped(text, width, SPACE_OF_TEXT if self.is_text else SPACE)


def _lines(laid_out: tuple[_Column, list[_Column], int], room: int) -> Iterator[tuple[Line, int | None]]:
    """The lines of a table, none of them wider than the room, with the row of each; None for the heads."""
    lead, rest, lead_width = laid_out
    before = lead_width + GAP if lead_width and rest else lead_width or INDENT
    widths = _widths(rest, room - before - GAP * (len(rest) - 1))
    before = max(0, min(before, room - sum(widths) - GAP * (len(widths) - 1)))

    def row(name: str, cells: Sequence[str], place: int | None) -> Iterator[Line]:
        head = place is None
        parts = [column.wrapped(text, width) for column, text, width in zip(rest, cells, widths, strict=True)]
        first = _wrapped(name, lead_width) if head and lead_width else [name]
        if not (lead_width and all(_width(line) <= lead_width for line in first)):
            yield from ([(line, False)] for line in _wrapped(name, room))  # on a line of its own
            first = []
        height = max(map(len, (first, *parts)))
        for line in range(height):
            at = [line - (height - len(part)) if head else line for part in (first, *parts)]  # heads stand at the foot
            texts = [part[i] if 0 <= i < len(part) else "" for part, i in zip((first, *parts), at, strict=True)]
            shown = map(_padded, texts[1:], widths, [column.is_text for column in rest])
            cells_shown = [(text, place in column.bold) for text, column in zip(shown, rest, strict=True)]
            yield _one_line(_padded(texts[0], lead_width, lead.is_text).ljust(before), cells_shown)

    yield from ((line, None) for line in row(lead.head, [column.head for column in rest], None))
    for i, name in enumerate(lead.cells):
        yield from ((line, i) for line in row(name, [column.cells[i] for column in rest], i))


def _one_line(name: str, cells: Sequence[tuple[str, bool]]) -> Line:
    """Name and cells of a row, without spaces behind them."""
    line = [(name, False)]
    for place, (text, bold) in enumerate(cells):
        line += [(" " * GAP * (place > 0), False), (text, bold)]
    while len(line) > 1 and not line[-1][0].strip():
        line.pop()
    return [*line[:-1], (line[-1][0].rstrip(), line[-1][1])]


def _laid_out(
    table: Mapping[str, Any], names: Sequence[str], room: int, compact: bool
) -> tuple[_Column, list[_Column], int]:
    """The names of the rows, the other columns, and how wide the names are: 0 where all have lines of their own.

    Names have one where they do not fit beside the values, even with fewer digits, or with fewer columns where those
    that are read first are shown; where only some of them do not, the others stay where they are.
    """
    leading, found = _leading(table, names), []
    for digits in (DIGITS, FEWER_DIGITS):
        columns = [_in_words(table, name, digits) for name in names]
        lead, rest = _joined(columns[:leading], table.get("best")), columns[leading:]
        found.append((lead, rest, room - sum(GAP + column.least for column in rest)))
    for fewer in range(max(1, len(found[0][1]) - FEWEST + 2) if compact else 1):
        for lead, rest, left in found:
            kept = rest[: len(rest) - fewer]
            if lead.most <= left + sum(GAP + column.least for column in rest[len(kept) :]):
                return lead, kept, lead.most
    for lead, rest, left in found:
        if left >= max(LEAST_NAMES, _longest_word(lead.head)):
            return lead, rest, left
    lead, rest, _ = next((one for one in found if one[-1] >= INDENT - GAP), found[-1])
    return lead, rest, 0 if rest else room


def _in_words(table: Mapping[str, Any], name: str, digits: int) -> _Column:
    values = _column(table, name)
    decimals = _decimals(values)
    if digits < DIGITS and decimals is not None:
        decimals = max(min(digits, decimals), _decimals(values, digits) or 0)
    cells, bold = [printable(_shown(value, decimals)) for value in values], (table.get("bold") or {}).get(name, ())
    return _Column(printable(name), cells, _is_text(table, name), bold)


def _leading(table: Mapping[str, Any], names: Sequence[str]) -> int:
    """How many columns name the row: those of texts that it begins with."""
    count = 0
    while count < min(LEADING, len(names) - 1) and _is_text(table, names[count]):
        count += 1
    return max(count, 1)


def _joined(columns: Sequence[_Column], best: int | None) -> _Column:
    """The columns that name the rows as one, with a mark at the best row."""
    widths = [column.most for column in columns]

    def line(texts: Sequence[str]) -> str:
        return (
            (" " * GAP).join(map(partial(_padded, left=True), texts, widths)).rstrip() if len(texts) > 1 else texts[0]
        )

    cells = [line([column.cells[i] for column in columns]) for i in range(len(columns[0].cells))]
    marked = [f"{text}{MARK}" if i == best else text for i, text in enumerate(cells)]
    return _Column(line([column.head for column in columns]), marked, columns[0].is_text)


def _widths(columns: Sequence[_Column], room: int) -> list[int]:
    """Widths of columns that fill no more than the room: heads of numbers are broken first, then texts, the widest
    first; then numbers between words, and at last words."""
    widths = [column.most for column in columns]
    for least in (
        [max(_longest_word(column.head), *map(_width, column.cells), 0) for column in columns],
        [column.least for column in columns],
        [column.word for column in columns],
        [1] * len(columns),
    ):
        while sum(widths) > room:
            spare = [width - needed for width, needed in zip(widths, least, strict=True)]
            if max(spare, default=0) <= 0:
                break
            widths[spare.index(max(spare))] -= 1
    return widths


def _wrapped(text: str, width: int, space: re.Pattern[str] = SPACE) -> list[str]:
    """Lines of a text, broken between words; a word is broken where it is wider than the line."""
    lines = [""]
    for word in space.split(text):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if _width(joined) <= width:
            lines[-1] = joined
            continue
        lines += [word] if lines[-1] else []
        lines[-1] = word
        while _width(lines[-1]) > width > 0 and len(lines[-1]) > 1:
            cut = next((i for i in range(1, len(lines[-1])) if _width(lines[-1][: i + 1]) > width), 1)
            lines[-1:] = [lines[-1][:cut], lines[-1][cut:]]
    return lines


def _padded(text: str, width: int, left: bool) -> str:
    space = " " * max(0, width - _width(text))
    return text + space if left else space + text


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _longest_word(text: str, space: re.Pattern[str] = SPACE) -> int:
    return max(map(_width, space.split(text)))


# ------------------------------------------------------------------------------------------------------- values


def _columns(table: Mapping[str, Any], compact: bool = False) -> list[str]:
    """The columns of cells: the ends of an interval stand in the cell of its value."""
    ends = {end for pair in table.get("intervals", {}).values() for end in pair}
    return [name for name in (compact and table.get("shown")) or table["columns"] if name not in ends]


def _column(table: Mapping[str, Any], name: str) -> list[Any]:
    values = [row.get(name) for row in table["rows"]]
    if ends := table.get("intervals", {}).get(name):
        return [Interval(value, *map(row.get, ends)) for value, row in zip(values, table["rows"], strict=True)]
    return values


def _is_text(table: Mapping[str, Any], name: str) -> bool:
    return any(isinstance(value, str) for value in _column(table, name))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and not isinstance(value, Interval)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _decimals(values: list[Any], digits: int = DIGITS) -> int | None:
    """How many decimals the numbers of a column have; None: an exponent.

    They show the largest of the numbers, or of the means, with so many significant digits, and, where there is room for
    all digits, the smallest error.
    """
    numbers = [value for value in map(_value, values) if value is not None]
    errors = [error for value in values for error in _errors(value) if error > 0]
    largest = max(map(abs, numbers), default=0.0)
    if 0 < (scale := max([largest, *errors])) < LEAST:
        return None if scale < TINY else 1 - _exponent(scale, 2)
    if not largest:
        return DIGITS
    decimals = min(max(digits - 1 - _exponent(largest, digits), 0), DIGITS)
    seen = [error for error in errors if round(error, DIGITS)]
    return max(decimals, min(-_exponent(min(seen), 1), DIGITS)) if seen and digits >= DIGITS else decimals


def _exponent(number: float, digits: int) -> int:
    """Of ten, of the number rounded to so many digits: 9.999 becomes 10.0."""
    return int(f"{number:.{digits - 1}e}".partition("e")[2])


def _value(cell_value: Any) -> float | None:
    """The number of a cell, or its mean; None where that is none."""
    value = cell_value[0] if isinstance(cell_value, list | tuple) else cell_value
    return value if isinstance(value, float) and math.isfinite(value) else None


def _errors(value: Any) -> list[float]:
    """The error of a cell, or how far the ends of its interval are from the value."""
    mean = _value(value)
    if mean is None or not isinstance(value, list | tuple):
        return []
    known = [float(one) for one in value[1:] if one is not None and math.isfinite(one)]
    return [abs(end - mean) for end in known] if isinstance(value, Interval) else known


def _shown(value: Any, decimals: int | None) -> str:
    if isinstance(value, Interval):
        known = [one for one in value if one is not None and math.isfinite(one)]
        if len(known) < len(value):
            return _shown(value.value, decimals)
        number, low, high = (_number(one, decimals) for one in known)
        return f"{number} ({low} … {high})"
    if _is_pair(value):
        known = [one for one in value if one is not None and math.isfinite(one)]
        return DASH if _is_missing(value[0]) else " ± ".join(_number(one, decimals) for one in known)
    if _is_missing(value):
        return DASH
    if not isinstance(value, float):
        return str(_yes_or_no(value))
    least = 0.0 if decimals is None else 10.0**-decimals
    return f"<{least:.{decimals}f}" if 0 < value < least / 2 else _number(value, decimals)


def _yes_or_no(value: Any) -> Any:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _number(number: float, decimals: int | None) -> str:
    text = f"{number:.1e}" if decimals is None and number else f"{number:.{decimals or 0}f}"
    return text if float(text) else text.lstrip("-")  # no negative zero


def _latex_cell(value: Any, decimals: int | None, bold: bool = False) -> str:
    text = _shown(value, decimals)
    if bold and text != DASH:
        plain = _latex_cell(value, decimals)
        return rf"$\mathbf{{{plain[1:-1]}}}$" if plain.startswith("$") else rf"\textbf{{{plain}}}"
    if isinstance(value, str) or text == DASH:
        text = _escaped(text)
        return f"{{{text[0]}}}{text[1:]}" if text.startswith(TAKEN_FOR_OPTIONS) else text
    if text.replace(".", "").isdecimal():
        return text
    return f"${EXPONENT.sub(_power, _in_mathematics(text))}$" if not isinstance(value, bool) else text


def _in_mathematics(text: str) -> str:
    return text.replace("±", PLUS_MINUS).replace(" (", r"\ (").replace("…", r"\dots")


def _power(exponent: re.Match[str]) -> str:
    return rf" \times 10^{{{int(exponent[1])}}}"


def _escaped(text: str) -> str:
    """Text as it stands, on one line."""
    parts = MINUS.sub("−", LINE_BREAK.sub(" ", text)).split("--")
    plain = LATEX.get
    return "-{}-".join("".join(plain(char) or _spelled(char) for char in part) for part in parts)


def _spelled(char: str) -> str:
    return "".join(LATEX.get(one, one) for one in printable(char))
