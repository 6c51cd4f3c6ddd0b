"""Put the parts of stages together."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from pure_cli.settings.option import RUNNING, option
from pure_cli.settings.shared import AUTO, Options, as_list
from pure_cli.settings.stage import Stage

STAGES = ("collect", "attribute", "embed", "assign")  # that have parts, in their order


class MergeSettings(Options):
    """Put together what processes with --part have found: the same files, byte for byte, as one process makes."""

    stage: list[Literal["collect", "attribute", "embed", "assign"]] | None = option(
        None,
        "Whose parts: of collect, attribute, embed or assign; repeat for several.",
        metavar="STAGE",
        otherwise="all that are there",
        python="str | Sequence[str]",
    )
    device: str = option(
        AUTO,
        "Where the network is opened that relevances, embeddings and shares are checked with: as of `pure attribute`.",
        metavar="NAME",
        panel=RUNNING,
    )

    _lists = field_validator("stage", mode="before")(as_list)


STAGE = Stage(MergeSettings, order=15, unit="parts", on_demand=True, begins=True)
