"""Draw a figure for each neuron."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from pure_cli.settings.option import option
from pure_cli.settings.shared import (
    K_IN_PYTHON,
    K,
    OfFeatures,
    OfNeurons,
    OnDevice,
    k_as_list,
    seed_option,
    sorted_k,
)
from pure_cli.settings.stage import Stage

FIGURES = "The figures"


class RenderSettings(OnDevice, OfFeatures, OfNeurons):
    """Draw a figure for each neuron: its references on a map, and rows of what each virtual neuron responds to."""

    features: list[str] | None = option(  # type: ignore[assignment]
        None,
        "Whose clusters to show; repeat for several.",
        metavar="KIND",
        otherwise="those that addresses mean, see `pure choose`",
    )
    k: list[K] | None = option(
        None,
        "Which clusterings to show, as in 2 or 2,3.",
        metavar="LIST",
        otherwise="that of the addresses; with --features, the smallest that splits",
        python=K_IN_PYTHON,
    )
    top: int | None = option(
        None, "The N most clearly split neurons of a layer only, of those of --neurons.", metavar="N", ge=1
    )
    crop: Literal["crp", "activation", "none"] = option(
        "crp", "crp: cut and darken to what the neuron saw; activation: by its map; none.", metavar="HOW"
    )
    images: int = option(8, "Images in a row, 8 at most.", metavar="N", panel=FIGURES, ge=1, le=8)
    format: Literal["png", "pdf", "svg"] = option("png", "png, pdf or svg.", metavar="TYPE", panel=FIGURES)
    out: Path | None = option(
        None, "Folder of the figures.", metavar="DIR", panel=FIGURES, otherwise="figures in the workspace"
    )
    seed: int = seed_option()

    _ks = field_validator("k", mode="before")(k_as_list)
    _k = field_validator("k")(sorted_k)


RETURNS = '``details["files"]`` has the figures.'
STAGE = Stage(RenderSettings, order=70, unit="figures", returns=RETURNS)
