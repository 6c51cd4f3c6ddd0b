"""Write units with known meanings as a track of ``pure benchmark``."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from pure_cli.settings.option import option
from pure_cli.settings.planted import PlantedSettings
from pure_cli.settings.shared import LayerName, ends_in, seed_option
from pure_cli.settings.stage import Stage


class FreezeSettings(PlantedSettings):
    """Write the units with known meanings of a layer as a file: a track of `pure benchmark`.

    The units are those of `pure calibrate`, with their references, and what they mean.
    """

    layer: LayerName | None = option(None, "Whose units.", metavar="LAYER", otherwise="the only one that was collected")
    out: Path | None = option(
        None, "A .npz file; its name is that of the track.", "--out", "-o", metavar="FILE", otherwise="track.npz there"
    )
    method_seeds: int = option(5, "Seeds with which a method will be called.", metavar="N", ge=1)
    seed: int = seed_option()

    _table = field_validator("out")(ends_in(".npz"))


RETURNS = '``details["file"]`` has the file, ``details["version"]`` the letters that tell it from others.'
STAGE = Stage(FreezeSettings, order=95, unit="steps", on_demand=True, returns=RETURNS)
