"""Find directions in a layer's own activations."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from pure_cli.settings.option import option
from pure_cli.settings.shared import LayerName, Running, as_list, layer_option, limit_option, seed_option
from pure_cli.settings.stage import Stage


class DirectionsSettings(Running):
    """Take a layer's activations apart into directions, for `collect` to take as its ``directions``."""

    how: Literal["pca", "nmf"] = option(
        ...,
        "Principal components, of all positions of all images; or non-negative ones, of a sample of them.",
        metavar="pca|nmf",
        argument=True,
    )
    components: int | None = option(
        None, "Directions to find.", "-m", "--components", metavar="M", otherwise="64, or one a channel", ge=1
    )
    layer: list[LayerName] | None = layer_option()
    limit: int | None = limit_option()
    sample: int = option(8, "For nmf: positions drawn from each image.", metavar="S", ge=1)
    out: Path | None = option(
        None, "A .safetensors file.", metavar="FILE", otherwise="directions/LAYER/HOW-M.safetensors in the workspace"
    )
    seed: int = seed_option()

    _layer = field_validator("layer", mode="before")(as_list)


RETURNS = '``details["files"]`` has the file of each layer, ``details["explained"]`` its share.'
STAGE = Stage(DirectionsSettings, order=20, unit="images", on_demand=True, returns=RETURNS)
