"""Tables for the terminal, for spreadsheets and for papers, against exact strings."""

import csv
import io

import pytest

from pure_cli.views.tables import as_csv, as_latex, as_rich, cell

TABLE = {
    "name": "separation-all",
    "title": "layer3: inter − intra of r_32 & 50 %",
    "columns": ["features", "k", "intra", "p"],
    "rows": [
        {"features": "pure, at layer_2", "k": 2, "intra": [5.85, 0.0213], "p": 0.0000012},
        {"features": "random", "k": None, "intra": None, "p": None},
    ],
    "note": "100 % = all",
}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (3, "3"),
        ("a", "a"),
        (0.12345, "0.123"),
        (1.2e-6, "1.2e-06"),
        (0.0, "0.000"),
        (float("nan"), "–"),
        ([5.85, 0.02], "5.850 ± 0.020"),
        ([5.85, None], "5.850"),
        ([None, None], "–"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


def test_csv_has_full_precision_and_a_column_for_the_error():
    rows = list(csv.reader(io.StringIO(as_csv(TABLE))))
    assert rows[0] == ["features", "k", "intra", "intra error", "p"]
    assert rows[1] == ["pure, at layer_2", "2", "5.85", "0.0213", "1.2e-06"]
    assert rows[2] == ["random", "", "", "", ""]


def test_latex_is_booktabs_with_escaped_text():
    lines = [line.strip() for line in as_latex(TABLE).splitlines()]
    assert r"\caption{layer3: inter $-$ intra of r\_32 \& 50 \%}" in lines
    assert r"\label{tab:separation-all}" in lines
    assert r"\begin{tabular}{lrrr}" in lines
    assert r"pure, at layer\_2 & 2 & $5.850 \pm 0.021$ & 1.2e-06 \\" in lines
    assert r"random & -- & -- & -- \\" in lines
    assert r"\par\smallskip\footnotesize 100 \% = all" in lines


def test_terminal_shows_text_as_it_is():
    from rich.console import Console

    table = {**TABLE, "rows": [{"features": "[red]x[/red]", "k": 1, "intra": None, "p": 0.5}], "title": "[bold]t"}
    console = Console(width=60, file=io.StringIO())
    console.print(as_rich(table))
    shown = console.file.getvalue()
    assert "[red]x[/red]" in shown
    assert "[bold]t" in shown
    assert "100 % = all" in shown
