"""The leaderboard: a file of rows that anyone can add to, and the page that is made from it.

``python -m pure_cli.stages.benchmarking.leaderboard [ROWS.csv …]`` adds rows of ``pure benchmark --row`` to
``benchmark/leaderboard.csv``, and writes ``docs/leaderboard.md``.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli import __version__
from pure_cli.errors import PureError, first_line
from pure_cli.files import write_whole
from pure_cli.stages.benchmarking.measure import Measured, Scores
from pure_cli.stages.benchmarking.tables import number_found
from pure_cli.stages.evaluation.study import number

COLUMNS = (
    *("track", "version", "method", "units", "meanings", "count"),
    *("ari", "low", "high", "noise", "k_right", "mean_k"),
    *("about", "link", "pure"),
)
KEY = ("track", "version", "method")  # rows of one measurement
DIGITS = 3  # of numbers
FILE, PAGE = Path("benchmark", "leaderboard.csv"), Path("docs", "leaderboard.md")  # in the repository
TOP = """# Leaderboard

How well methods that split neurons find the meanings of the frozen units of [`pure benchmark`](benchmark.md): adjusted
Rand index with the truth where k is told, with its 95 % interval, and in brackets the share of units whose number of
meanings is found where it is not told. Controls are in italics. Made from `benchmark/leaderboard.csv`, which has the
noise between seeds too; how a row gets there is said [there](benchmark.md#a-row-on-the-leaderboard).
"""


def leaderboard_rows(found: Measured, link: str | None = None) -> list[dict[str, Any]]:
    """What the leaderboard has of each method: a row for each kind of units and number of meanings.

    Parameters
    ----------
    link : to where the user's methods are described
    """
    rows = []
    for own in found.scores:
        described = {"about": own.method.about, "link": (link or "") * own.method.is_users, "pure": __version__}
        for kind in dict.fromkeys(found.track.kind):
            for count in np.unique(found.track.count[found.which(kind)]).tolist():
                which = found.which(kind, count)
                where: dict[str, Any] = {
                    "track": found.track.name,
                    "version": found.track.version,
                    "method": own.method.name,
                }
                where |= {"units": kind, "meanings": count, "count": int(which.sum())}
                rows.append({**where, **_rounded(found, own, which, count), **described})
    return rows


def _rounded(found: Measured, own: Scores, which: np.ndarray, count: int) -> dict[str, float | None]:
    """What the leaderboard has of some units with `count` meanings."""
    ari = found.mean(own.ari.mean(axis=0), which)
    right, mean = number_found(found, own, which, count)
    noise = found.noise(own, which) if count > 1 else float("nan")
    values = {"ari": ari.mean, "low": ari.low, "high": ari.high, "noise": noise, "k_right": right.mean, "mean_k": mean}
    # + 0.0: without a minus before 0
    return {name: number(round(value, DIGITS) + 0.0) for name, value in values.items()}


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of the leaderboard as its file has them."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_leaderboard(path: Path) -> list[dict[str, str]]:
    """The rows of a leaderboard, as texts.

    Raises
    ------
    PureError
        It is no such file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PureError(f"The leaderboard {path} cannot be read: {first_line(error)}.") from None
    if any(list(row) != list(COLUMNS) for row in rows):
        raise PureError(f"{path} is no leaderboard: its columns have to be {', '.join(COLUMNS)}.")
    return rows


def added(rows: Sequence[Mapping[str, str]], more: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Rows of a leaderboard with more, which take the place of those of the same method on the same track."""
    new = {tuple(row[name] for name in KEY) for row in more}
    kept = [row for row in rows if tuple(row[name] for name in KEY) not in new]
    return sorted([*kept, *more], key=lambda row: (row["track"], row["version"]))


def page(rows: Sequence[Mapping[str, str]]) -> str:
    """The leaderboard as Markdown."""
    parts = [TOP]
    for track, version in dict.fromkeys((row["track"], row["version"]) for row in rows):
        own = [row for row in rows if (row["track"], row["version"]) == (track, version)]
        columns = dict.fromkeys((row["units"], row["meanings"], row["count"]) for row in own)
        heads = [f"{units} of {meanings} ({count})" for units, meanings, count in columns]
        lines = ["| method | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for method in dict.fromkeys(row["method"] for row in own):
            cells = {(r["units"], r["meanings"], r["count"]): r for r in own if r["method"] == method}
            about = next(iter(cells.values()))
            shown = [_cell(cells[column]) if column in cells else "" for column in columns]
            lines.append(f"| {_named(method, about)} | " + " | ".join(shown) + " |")
        told = dict.fromkeys(f"- `{row['method']}`: {_plain(row['about'])}" for row in own)
        parts.append("\n".join([f"## {track}, version {version}", "", *lines, "", *told, ""]))
    return "\n".join(parts)


def _named(method: str, row: Mapping[str, str]) -> str:
    name = _plain(method)
    name = f"[{name}]({row['link']})" if row["link"] else name
    return f"*{name}*" if row["about"].startswith("control:") else name


def _cell(row: Mapping[str, str]) -> str:
    mean, low, high = (f"{float(row[name]):.{DIGITS}f}" if row[name] else "" for name in ("ari", "low", "high"))
    ari = f"{mean} ({low} … {high})" if low else mean
    return " ".join(filter(None, [ari, f"[{float(row['k_right']):.2f}]" if row["k_right"] else ""]))


def _plain(text: str) -> str:
    """Text in a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    rows: Sequence[Mapping[str, str]] = read_leaderboard(FILE) if FILE.exists() else []
    for file in sys.argv[1:]:
        rows = added(rows, read_leaderboard(Path(file)))
    FILE.parent.mkdir(exist_ok=True)
    write_whole(FILE, as_csv(rows))
    write_whole(PAGE, page(rows))
    print(f"{len({tuple(row[name] for name in KEY) for row in rows})} measurements in {FILE} and {PAGE}")


if __name__ == "__main__":
    main()
