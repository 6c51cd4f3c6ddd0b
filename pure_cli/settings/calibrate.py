"""Find the best recipe on units with known meanings."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from pure_cli.settings.option import option
from pure_cli.settings.shared import LayerName, Running, as_list, latex_option, layer_option, seed_option
from pure_cli.settings.stage import Stage


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
    latex: bool = latex_option()
    seed: int = seed_option()

    _lists = field_validator("layer", "lower_layer", mode="before")(as_list)


RETURNS = '``details["recipes"]`` has the recipe of each layer, ``details["tables"]`` the measurements.'
STAGE = Stage(CalibrateSettings, order=30, unit="steps", on_demand=True, returns=RETURNS)
