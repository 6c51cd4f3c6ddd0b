"""Find the neurons and virtual neurons for something, said in words or shown in images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from pure_cli.settings.label import as_texts
from pure_cli.settings.option import RUNNING, option
from pure_cli.settings.shared import LayerName, Options, as_list, layer_option
from pure_cli.settings.stage import Stage


class SearchSettings(Options):
    """Find the neurons and virtual neurons for something, said in words or shown in images."""

    text: list[str] | None = option(
        None, "What is searched for, in words.", argument=True, metavar="TEXT", python="str | Sequence[str]"
    )
    image: list[Path] | None = option(
        None,
        "What is searched for, as a picture; repeat for several that have it in common.",
        metavar="FILE",
        python="str | Path | Sequence[str | Path]",
    )
    count: int = option(20, "How many are shown.", "--count", "-n", metavar="N", ge=1)
    layer: list[LayerName] | None = layer_option("all with embeddings that know words")
    units: Literal["neurons", "virtual", "both"] | None = option(
        None, "What is looked at.", metavar="WHAT", otherwise="both where there are virtual neurons"
    )
    embedder: str | None = option(
        None, "Which embeddings.", metavar="KIND", otherwise="the first whose network has a text tower"
    )
    template: list[str] = option(
        ["photo"],
        "Sentences that the text is put into: photo, plain, simple, openai, or one with {}; repeat for several.",
        metavar="TEXT",
        python="str | Sequence[str]",
    )
    sheet: bool = option(True, "Draw a contact sheet, which takes longer than the search.")
    out: Path | None = option(
        None, "The contact sheet: .png, .pdf or .svg.", "--out", "-o", metavar="FILE", otherwise="one in search/"
    )

    device: str = option(
        "auto",
        "Where to run the embedder: auto, cpu, cuda, cuda:1 or mps.",
        metavar="NAME",
        panel=RUNNING,
        otherwise="auto, the fastest there is",
    )

    _layer = field_validator("layer", mode="before")(as_list)
    _texts = field_validator("text", "template", "image", mode="before")(as_texts)


RETURNS = '``details["tables"]`` has the units with their scores, ``details["files"]`` the contact sheet.'
STAGE = Stage(SearchSettings, order=79, unit="steps", on_demand=True, returns=RETURNS)
