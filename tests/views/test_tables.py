"""Tables for the terminal, for spreadsheets and for papers, against exact strings."""

import csv
import io
import re

import pytest
from rich.console import Console

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


def printed(table, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(as_rich(table))
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (3, "3"),
        ("a", "a"),
        (0.12345, "0.123"),
        (5.8512, "5.85"),
        (9.999, "10.0"),
        (12345.6, "12346"),
        (0.0123, "0.012"),
        (1.2e-6, "1.2e-06"),
        (-1.5367, "-1.54"),
        (-4.4e-4, "-0.00044"),
        (0.0, "0.000"),
        (-0.0, "0.000"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        ([5.85, 0.02], "5.85 ± 0.02"),
        ((0.736, 0.008), "0.736 ± 0.008"),
        ([123.4, 5.6], "123 ± 6"),
        ([0.0004, 0.02], "0.000 ± 0.020"),
        ([-0.0004, 0.02], "0.000 ± 0.020"),
        ([0.0002, 0.0001], "0.00020 ± 0.00010"),
        ([2e-5, 1e-5], "2.0e-05 ± 1.0e-05"),
        ([1.0, 0.004], "1.000 ± 0.004"),
        ([123.4, 0.3], "123.4 ± 0.3"),
        ([5.85, 1e-5], "5.85 ± 0.00"),
        ([0.0, 0.0], "0.000 ± 0.000"),
        ([5.85, None], "5.85"),
        ([5.85, float("nan")], "5.85"),
        ([None, None], "–"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


def test_digits_of_a_cell_can_be_chosen():
    assert cell([5.8512, 0.0213], digits=4) == "5.851 ± 0.021"


def test_csv_has_full_precision_and_a_column_for_the_error():
    text = as_csv(TABLE)
    assert text.splitlines(keepends=True)[1] == '"pure, at layer_2",2,5.85,0.0213,1.2e-06\r\n'
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["features", "k", "intra", "intra error", "p"]
    assert rows[1] == ["pure, at layer_2", "2", "5.85", "0.0213", "1.2e-06"]
    assert rows[2] == ["random", "", "", "", ""]


def test_csv_gives_back_every_float_and_any_text():
    texts = ['say "x"', "two\nlines", "a,b", "é−", ""]
    means = [1 / 3, 1e-17, 5.721203367606765, -2.0, float("nan")]
    rows = [{"text": text, "value": [mean, None]} for text, mean in zip(texts, means, strict=True)]
    found = list(csv.DictReader(io.StringIO(as_csv({**TABLE, "columns": ["text", "value"], "rows": rows}), newline="")))
    assert [row["text"] for row in found] == texts
    assert [float(row["value"]) for row in found[:-1]] == means[:-1]
    assert found[-1]["value"] == ""
    assert {row["value error"] for row in found} == {""}


def test_latex_is_booktabs_with_escaped_text():
    assert (
        as_latex(TABLE)
        == r"""\begin{table}  % \usepackage{booktabs}
  \centering
  \caption{layer3: inter $-$ intra of r\_32 \& 50 \%}
  \label{tab:separation-all}
  \begin{tabular}{lrrr}
    \toprule
    features & k & intra & p \\
    \midrule
    pure, at layer\_2 & 2 & $5.85 \pm 0.02$ & $1.2 \times 10^{-6}$ \\
    random & -- & -- & -- \\
    \bottomrule
  \end{tabular}
  \par\smallskip{\footnotesize 100 \% = all\par}
\end{table}
"""
    )


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b & c% #1 $x$", r"a\_b \& c\% \#1 \$x\$"),
        (r"C:\x{y}~^", r"C:\textbackslash{}x\{y\}\textasciitilde{}\textasciicircum{}"),
        ("16 × 16, ± 1, a − b", r"16 $\times$ 16, $\pm$ 1, a $-$ b"),
        ("-1.749 … -1.325", r"$-$1.749 \dots{} $-$1.325"),
        ("vit-l-14 at 0-63", "vit-l-14 at 0-63"),
        ("--latex", "-{}-latex"),
        ("<a>|b", "$<$a$>$$|$b"),
        ("two\n  lines", "two lines"),
        ("[2] is no option", "{[}2] is no option"),
        ("*", "{*}"),
    ],
)
def test_latex_of_any_text(text, escaped):
    assert f"    {escaped} \\\\\n" in as_latex({**TABLE, "columns": ["name"], "rows": [{"name": text}]})


def test_latex_label_holds_only_what_a_label_may():
    assert r"\label{tab:a_b:c-d--e}" in as_latex({**TABLE, "name": "a_b:c-d%}e"})


def test_a_column_has_the_same_decimals_on_terminal_and_paper():
    table = {**TABLE, "columns": ["r"], "rows": [{"r": [0.4316, 0.0624]}, {"r": [1.9712, 0.11]}]}
    assert "0.43 ± 0.06" in printed(table, 80)
    assert r"$0.43 \pm 0.06$" in as_latex(table)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([[0.31, 0.02], [-4.4e-4, 3e-4], [0.0, 0.0]], ["0.310 ± 0.020", "0.000 ± 0.000", "0.000 ± 0.000"]),
        ([[1.0, 0.004], [0.5, 0.03]], ["1.000 ± 0.004", "0.500 ± 0.030"]),
        ([0.04, 4e-5, -4e-5, 0.0], ["0.040", "<0.001", "0.000", "0.000"]),
        ([3e-5, 0.0], ["3.0e-05", "0"]),
    ],
)
def test_numbers_of_a_column_are_written_one_way(values, shown):
    table = {
        **TABLE,
        "columns": ["x", "v"],
        "rows": [{"x": "a", "v": value} for value in values],
        "title": "",
        "note": "",
    }
    assert [line.split(maxsplit=1)[1].strip() for line in printed(table, 80).splitlines()[1:]] == shown


def test_terminal_has_title_and_note_in_full_and_numbers_on_the_right():
    rows = [{"features": "pure", "k": 2, "intra": [5.85, 0.02], "p": 0.5}, {"features": "x", "k": 10}]
    lines = [line.rstrip() for line in printed({**TABLE, "rows": rows}, 60).splitlines()]
    assert lines == [
        "layer3: inter − intra of r_32 & 50 %",
        "features   k        intra      p",
        "pure       2  5.85 ± 0.02  0.500",
        "x         10            –      –",
        "100 % = all",
        "",
    ]


def test_terminal_shows_text_as_it_is():
    rows = [{"features": "[red]x[/red]", "k": 1, "intra": None, "p": 0.5}]
    shown = printed({**TABLE, "rows": rows, "title": "[bold]t", "note": "[/]"}, 60)
    assert "[red]x[/red]" in shown
    assert "[bold]t" in shown
    assert "[/]" in shown


@pytest.mark.parametrize("width", range(15, 100, 7))
def test_nothing_is_cut_off_on_a_narrow_terminal(width):
    name = "cifar_resnet.py:resnet32:layer3"
    rows = [{"features": name, "k": 2, "intra": [5.85, 0.02], "inter − intra": [0.43, 0.06]}]
    shown = printed({**TABLE, "columns": list(rows[0]), "rows": rows, "title": "", "note": ""}, width)
    assert all(len(line) <= width for line in shown.splitlines())
    full = f"features k intra inter − intra {name} 2 5.85 ± 0.02 0.430 ± 0.060".replace(" ", "")
    fewer = full.replace("0.430", "0.43").replace("0.060", "0.06")
    assert sorted(shown.replace("\n", "").replace(" ", "")) in (sorted(full), sorted(fewer))


def test_texts_are_broken_before_numbers():
    rows = [{"features": "cifar_resnet.py:resnet32:layer3", "k": 2, "intra": [5.85, 0.02]}]
    shown = printed({**TABLE, "columns": list(rows[0]), "rows": rows}, 30)
    assert "5.85 ± 0.02" in shown


@pytest.mark.parametrize("write", [as_csv, as_latex, lambda table: printed(table, 40)])
def test_an_empty_table_is_still_a_table(write):
    assert "features" in write({**TABLE, "rows": [], "note": ""})


def test_only_figures_that_are_told_apart_are_bold():
    rows = [
        {"features": name, "k": 2, "ari": [mean, 0.01], "nmi": 0.5} for name, mean in (("pure", 0.2), ("clip", 0.4))
    ]
    table = {"title": "", "name": "t", "columns": ["features", "k", "ari", "nmi"], "rows": rows, "note": "", "best": 1}

    def bold_parts(**more):
        console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="standard", highlight=False)
        console.print(as_rich({**table, **more}))
        lines = console.file.getvalue().splitlines()[1:]
        return [part for line in lines for part in re.findall("\x1b\\[1m(.*?)\x1b\\[0m", line)]

    assert bold_parts(bold={"ari": [1]}) == ["0.400 ± 0.010"]
    assert bold_parts(bold={"ari": [0, 1], "nmi": [0]}) == ["0.200 ± 0.010", "0.500", "0.400 ± 0.010"]
    assert bold_parts(bold={"ari": []}) == []
    assert bold_parts(bold=None) == ["clip *    2  0.400 ± 0.010  0.500"]  # tables that tell nothing apart
    latex = as_latex({**table, "bold": {"ari": [1], "features": [1]}})
    assert r"\textbf{clip} & 2 & $\mathbf{0.400 \pm 0.010}$ & 0.500" in latex
    assert r"pure & 2 & $0.200 \pm 0.010$ & 0.500" in latex


def test_columns_of_the_csv_alone_stand_behind_the_others():
    table = {"columns": ["k"], "beside": ["ari untrained"], "rows": [{"k": 2, "ari untrained": [0.5, None]}]}
    assert as_csv(table).splitlines() == ["k,ari untrained,ari untrained error", "2,0.5,"]


NOTE = "All of them. ari: agreement. nmi, ms: two more; each of its kind. k right: where it is asked. Bold: the best."


@pytest.mark.parametrize(
    ("shown", "width", "expected"),
    [
        (["features", "ari"], 80, "All of them. ari: agreement."),
        (["features", "ari", "ms"], 80, "All of them. ari: agreement. nmi, ms: two more; each of its kind."),
        (["features", "ari", "ms", "nmi", "k right, 2"], 32, NOTE[: NOTE.index(" k right")]),
        ([], 80, NOTE.removesuffix(" Bold: the best.")),
    ],
)
def test_a_note_explains_the_columns_that_are_shown_and_bold_where_there_is_bold(shown, width, expected):
    columns = ["features", "ari", "nmi", "ms", "k right, 2"]
    row = {"features": "pure-of-a-long-name", **dict.fromkeys(columns[1:], 0.5)}
    table = {"name": "t", "title": "", "columns": columns, "rows": [row], "note": NOTE, "shown": shown}
    for colours, more in ((None, ""), ("standard", " Bold: the best.")):
        console = Console(width=width, file=io.StringIO(), force_terminal=bool(colours), color_system=colours)
        console.print(as_rich(table, compact=True))
        text = " ".join(re.sub("\x1b\\[[0-9;]*m", "", console.file.getvalue()).split())
        assert text[text.index("All of them.") :] == expected + more
    assert NOTE in as_latex(table)


def test_a_verdict_on_no_rows_is_all_that_is_said():
    assert printed({**TABLE, "rows": [], "verdict": "None of them."}, 80).split("\n") == ["None of them.", "", ""]
