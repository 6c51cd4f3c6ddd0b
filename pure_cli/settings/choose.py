"""Choose which virtual neurons the addresses of a layer mean."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from pure_cli.settings.option import option
from pure_cli.settings.shared import K, LayerName, Options, as_list, layer_option
from pure_cli.settings.stage import Stage


class ChooseSettings(Options):
    """Choose which clustering the addresses of a layer's virtual neurons mean; without options, tell which it is."""

    layer: list[LayerName] | None = layer_option("all with virtual neurons")
    features: str | None = option(None, "Of these features.", metavar="KIND", otherwise="as it is")
    k: K | None = option(
        None, "With this many virtual neurons, or auto.", metavar="K", otherwise="as it is", python="int | str"
    )
    recipe: Literal["paper", "hidden", "calibrated"] | None = option(
        None,
        "paper: pure features, k = 2; hidden: pure-sqrt-l2 features, k = 2; calibrated: the features that `pure "
        "calibrate` found best, k = auto.",
        metavar="NAME",
    )
    force: bool = option(False, "Start anew where the file of choices cannot be read.")

    _layer = field_validator("layer", mode="before")(as_list)

    @field_validator("k", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.isdecimal() else value


RETURNS = '``details["choices"]`` has features and k of each layer, ``details["tables"]`` what there is to choose from.'
STAGE = Stage(ChooseSettings, order=65, unit="layers", on_demand=True, returns=RETURNS)
