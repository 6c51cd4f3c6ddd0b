"""Build the atlas: a page on which one looks at a layer, its virtual neurons and their images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pure_cli.settings.option import option
from pure_cli.settings.shared import OfNeurons, Running, seed_option
from pure_cli.settings.stage import Stage


class AtlasSettings(Running, OfNeurons):
    """Build the atlas: a folder with a page on which one walks through layers, from the disk and without a network."""

    out: Path | None = option(
        None,
        "Folder of the atlas; neurons are added to one that is there.",
        "--out",
        "-o",
        metavar="DIR",
        otherwise="atlas in the workspace",
    )
    size: Literal["small", "normal", "large"] = option(
        "normal",
        "Of the images: small, the first 8 of each virtual neuron at 36 px; normal, all at 64 px; large, at 128 px.",
        metavar="SIZE",
    )
    crop: Literal["crp", "activation", "none"] | None = option(
        None,
        "What images are cut to: crp, what the neuron saw by its heatmap, as embed --crop crp finds it; activation, "
        "by its map (far cheaper); none, nothing.",
        metavar="HOW",
        otherwise="as in the atlas that is there, or crp",
    )
    seed: int = seed_option()


RETURNS = '``details["page"]`` is the page to open, ``details["bytes"]`` the size of the folder.'
STAGE = Stage(AtlasSettings, order=97, unit="images", on_demand=True, returns=RETURNS)
