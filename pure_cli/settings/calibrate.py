"""Find the best recipe on units with known meanings."""

from __future__ import annotations

from pydantic import field_validator

from pure_cli.settings.option import option
from pure_cli.settings.planted import PlantedSettings
from pure_cli.settings.shared import LayerName, as_list, latex_option, layer_option, seed_option
from pure_cli.settings.stage import Stage


class CalibrateSettings(PlantedSettings):
    """Find the recipe that tells meanings apart on this network and data, by units whose meanings are known."""

    layer: list[LayerName] | None = layer_option()
    lower_layer: list[LayerName] | None = option(
        None,
        "To be tried beside the paper's; repeat for several.",
        metavar="LAYER",
        otherwise="the parts of the layer",
    )
    latex: bool = latex_option()
    seed: int = seed_option()

    _lists = field_validator("layer", "lower_layer", mode="before")(as_list)


RETURNS = '``details["recipes"]`` has the recipe of each layer, ``details["tables"]`` the measurements.'
STAGE = Stage(CalibrateSettings, order=30, unit="steps", on_demand=True, returns=RETURNS)
