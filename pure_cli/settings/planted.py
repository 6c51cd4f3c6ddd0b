"""Which units with known meanings are made: options of all that makes some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import field_validator

from pure_cli.registry import EMBEDDERS
from pure_cli.settings.option import option
from pure_cli.settings.shared import Running, as_list

HARDER = ("finer", "alike", "tree", "correlated", "joined")  # kinds of units


class PlantedSettings(Running):
    """What units with known meanings are made from."""

    budget: float = option(
        1.0,
        "1: 90 units of each kind and number of meanings. The time goes with it: on 633 photos, `pure calibrate "
        "--budget 0.1` took three times as long as `pure collect`.",
        metavar="X",
        otherwise="1",
        gt=0,
        le=100,
        allow_inf_nan=False,
    )
    grouping: Path | None = option(
        None,
        "A .csv file with a line class,group for each class: groups are the meanings.",
        metavar="FILE",
        otherwise="the classes",
    )
    units: list[str] | None = option(
        None,
        "Harder ones beside the usual, which alone choose a recipe; repeat for several. finer: parts of a "
        "class, by --embedder; alike: two classes of like colours and edges; tree: three, of which two are close; "
        "correlated: sums of two concepts; joined: sums of outputs, for the network's last layer.",
        metavar="KIND",
        values=HARDER,
        otherwise="none",
    )
    embedder: str | None = option(
        None,
        "A network held out, by which parts of classes and close classes are found for --units.",
        metavar="E",
        values=EMBEDDERS,
        otherwise="the layer itself says which classes are close",
    )
    embedder_weights: Path | None = option(None, "Its local checkpoint.", metavar="FILE", otherwise="downloaded")

    @field_validator("units", mode="before")
    @classmethod
    def _known_kinds(cls, value: Any) -> Any:
        """In one order, each once."""
        named = as_list(value) or []
        for name in named:
            if name not in HARDER:
                raise ValueError(f"there are no units '{name}', only {', '.join(HARDER)}")
        return [name for name in HARDER if name in named] or None
