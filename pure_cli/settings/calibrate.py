"""Find the best recipe on units with known meanings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import field_validator

from pure_cli.registry import EMBEDDERS
from pure_cli.settings.option import option
from pure_cli.settings.shared import LayerName, Running, as_list, latex_option, layer_option, seed_option
from pure_cli.settings.stage import Stage

HARDER = ("finer", "alike", "tree", "correlated", "joined")  # kinds of units


class CalibrateSettings(Running):
    """Find the recipe that tells meanings apart on this network and data, by units whose meanings are known."""

    layer: list[LayerName] | None = layer_option()
    lower_layer: list[LayerName] | None = option(
        None,
        "To be tried beside the paper's; repeat for several.",
        metavar="LAYER",
        otherwise="the parts of the layer",
    )
    budget: float = option(
        1.0,
        "1: 90 units of each kind and number of meanings; the time goes with it.",
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
        "Harder ones beside the usual, which choose the recipe all the same; repeat for several. finer: parts of a "
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
    latex: bool = latex_option()
    seed: int = seed_option()

    _lists = field_validator("layer", "lower_layer", mode="before")(as_list)

    @field_validator("units", mode="before")
    @classmethod
    def _known_kinds(cls, value: Any) -> Any:
        """In one order, each once."""
        named = as_list(value) or []
        for name in named:
            if name not in HARDER:
                raise ValueError(f"there are no units '{name}', only {', '.join(HARDER)}")
        return [name for name in HARDER if name in named] or None


RETURNS = '``details["recipes"]`` has the recipe of each layer, ``details["tables"]`` the measurements.'
STAGE = Stage(CalibrateSettings, order=30, unit="steps", on_demand=True, returns=RETURNS)
