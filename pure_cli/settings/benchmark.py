"""What ``pure benchmark`` takes."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from pure_cli.settings.option import option
from pure_cli.settings.shared import Decoding, Place, as_list, data_option, ends_in


class BenchmarkSettings(Decoding):
    """Hold methods that split neurons against frozen units whose meanings are known.

    A method is a function from the references of a unit to a label for each.
    """

    method: list[str] | None = option(
        None,
        "FILE.py:FUNCTION, a method of yours, or the name of one that comes with pure; repeat for several.",
        metavar="METHOD",
        otherwise="those that come with pure",
        python="str | Callable[[References], Any] | Sequence[str | Callable[[References], Any]]",
    )
    builtin: bool = option(True, "Measure the methods that come with pure too.")
    track: str = option("digits", "The units: the name of a track, or a file of `pure freeze`.", metavar="NAME")
    model: str | None = option(
        None, "The track's network, where it does not come with pure.", metavar="M", otherwise="that of the track"
    )
    weights: Path | None = option(None, "Its weights.", metavar="FILE", otherwise="the model's own")
    data: Place | None = data_option(
        None, "The track's images, where they do not come with pure.", "those of the track"
    )
    name: str | None = option(
        None, "What your method is called in the tables.", metavar="TEXT", otherwise="the name of its function"
    )
    link: str | None = option(None, "Where it is described, for the leaderboard.", metavar="URL", otherwise="none")
    row: Path | None = option(
        None, "Write what the leaderboard has of each method: a .csv file.", metavar="FILE", otherwise="not written"
    )

    _lists = field_validator("method", mode="before")(as_list)
    _table = field_validator("row")(ends_in(".csv"))
