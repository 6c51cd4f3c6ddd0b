"""Tables of results for the terminal, for spreadsheets and for papers."""

import csv
import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Group

DASH = "–"
LEAST = 1e-3  # smaller numbers are written with an exponent
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
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "…": r"\dots{}",
    "–": "--",
}


def cell(value: Any, digits: int = 3) -> str:
    """A value as the reader sees it.

    Parameters
    ----------
    value : number, text, None, or a pair of mean and error
    digits : decimals

    Returns
    -------
    str
        A dash for what is not there; ``5.850 ± 0.020`` for a pair; a tiny number with an exponent.
    """
    if value is None:
        return DASH
    if isinstance(value, list | tuple):
        mean, error = value
        if mean is None:
            return DASH
        return cell(mean, digits) if error is None else f"{cell(mean, digits)} ± {error:.{digits}f}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return DASH
        return f"{value:.1e}" if value and abs(value) < LEAST else f"{value:.{digits}f}"
    return str(value)


def as_csv(table: Mapping[str, Any]) -> str:
    """A table as comma-separated values with full precision; a column of pairs becomes two, the second its error.

    Parameters
    ----------
    table : of `pure_cli.stages.evaluation.study.Table.as_dict`
    """
    pairs = {name for name in table["columns"] if any(_is_pair(row.get(name)) for row in table["rows"])}
    header = [part for name in table["columns"] for part in ([name, f"{name} error"] if name in pairs else [name])]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    for row in table["rows"]:
        cells: list[Any] = []
        for name in table["columns"]:
            value = row.get(name)
            if name in pairs:
                cells += list(value) if _is_pair(value) else [value, None]
            else:
                cells.append(value)
        writer.writerow(["" if value is None else value for value in cells])
    return out.getvalue()


def as_latex(table: Mapping[str, Any]) -> str:
    """A table for a paper, with the package booktabs.

    Parameters
    ----------
    table : as of `as_csv`
    """
    numeric = {name: not any(isinstance(row.get(name), str) for row in table["rows"]) for name in table["columns"]}
    rows = [" & ".join(_latex_cell(row.get(name)) for name in table["columns"]) + r" \\" for row in table["rows"]]
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escaped(table['title'])}}}",
        rf"  \label{{tab:{table['name']}}}",
        rf"  \begin{{tabular}}{{{''.join('r' if numeric[name] else 'l' for name in table['columns'])}}}",
        r"    \toprule",
        "    " + " & ".join(_escaped(name) for name in table["columns"]) + r" \\",
        r"    \midrule",
        *("    " + row for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
    ]
    if table["note"]:
        lines.append(rf"  \par\smallskip\footnotesize {_escaped(table['note'])}")
    return "\n".join([*lines, r"\end{table}", ""])


def as_rich(table: Mapping[str, Any]) -> "Group":
    """A table for the terminal, with its title above and its note below.

    Parameters
    ----------
    table : as of `as_csv`
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in table["columns"]:
        text = any(isinstance(row.get(name), str) for row in table["rows"])
        shown.add_column(Text(name), justify="left" if text else "right", overflow="fold")
    for row in table["rows"]:
        shown.add_row(*(Text(cell(row.get(name))) for name in table["columns"]))
    return Group(Text(table["title"], style="bold"), shown, Text(table["note"] + "\n", style="dim"))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _latex_cell(value: Any) -> str:
    if _is_pair(value) and value[0] is not None and value[1] is not None:
        return rf"${cell(value[0])} \pm {value[1]:.3f}$"
    return _escaped(cell(value))


def _escaped(text: str) -> str:
    return "".join(LATEX.get(char, char) for char in text)
