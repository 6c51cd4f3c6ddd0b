"""Give the images of any data set to virtual neurons."""

from __future__ import annotations

from pure_cli.settings.option import option
from pure_cli.settings.parts import InParts
from pure_cli.settings.shared import OfVirtualNeurons, Place, Running, data_option, limit_option, seed_option
from pure_cli.settings.stage import Stage


class AssignSettings(Running, InParts, OfVirtualNeurons):
    """Find the share of each virtual neuron in images of any data set, over the whole range of activation."""

    data: Place | None = data_option()
    limit: int | None = limit_option()
    quantiles: int = option(
        10, "Into how many parts, of as many images each, the range of activation is cut.", metavar="Q", ge=1, le=1000
    )
    per_quantile: int = option(
        20,
        "Images of each neuron in each part whose circuits are computed, drawn at random; 0: all on which it fires.",
        metavar="N",
        ge=0,
    )
    figures: int = option(16, "Of how many neurons to draw a figure, the first ones.", metavar="N", ge=0)
    seed: int = seed_option()


RETURNS = '``details["tables"]`` has the share of each virtual neuron, ``details["files"]`` the figures.'
STAGE = Stage(AssignSettings, order=75, unit="steps", on_demand=True, returns=RETURNS)
