"""The folder of a comparison: its tables as CSV, and a figure for each measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Comparison, Similarities
from pure_cli.files import disk_errors, write_whole
from pure_cli.stages.comparison.tables import title_of

if TYPE_CHECKING:
    from pure_cli.views.comparison import Panel

UNITS = {"neurons": "neurons", "virtual": "virtual neurons"}


def write_files(folder: Path, comparison: Comparison, tables: list[dict[str, Any]], anew: bool) -> None:
    """Write what is not there; all of it where that was made from other things, and drop what it has no more."""
    writers: dict[str, Callable[[Path], None]] = {}
    for table in tables:
        writers[f"{table['name']}.csv"] = partial(_write_table, table)
    for by, own in comparison.similarities.items():
        writers[f"{by}.png"] = partial(_draw, comparison, own)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, write in writers.items():
        if anew or not (folder / name).is_file():
            write(folder / name)
    if anew:
        for name in ("images.png", "embeddings.png", "activations.png"):
            if name not in writers:
                (folder / name).unlink(missing_ok=True)


def _write_table(table: dict[str, Any], file: Path) -> None:
    from pure_cli.views.tables import as_csv

    write_whole(file, as_csv(table))


def _draw(comparison: Comparison, own: Similarities, file: Path) -> None:
    from pure_cli.views.comparison import draw
    from pure_cli.views.style import save

    save(draw(title_of(comparison), own.way, list(_panels(own))), file)


def _panels(own: Similarities) -> Iterator[Panel]:
    """Of units of one kind in both."""
    from pure_cli.views.comparison import Panel

    for kinds, block in own.blocks.items():
        if kinds[0] != kinds[1]:
            continue
        part = own.part(kinds)
        order = np.argsort(-part[block.pair_a, block.pair_b], kind="stable")
        rows, columns = block.pair_a[order], block.pair_b[order]
        left = [np.setdiff1d(np.arange(count), pair) for count, pair in zip(part.shape, (rows, columns), strict=True)]
        sides = [own.matches(kinds, side) for side in (0, 1)]
        yield Panel(
            UNITS[kinds[0]],
            part[np.ix_(np.concatenate([rows, left[0]]), np.concatenate([columns, left[1]]))],
            len(rows),
            (sides[0].similarity, sides[1].similarity),
            (sides[0].shuffled.ravel(), sides[1].shuffled.ravel()),
            (sides[0].limit, sides[1].limit),
        )
