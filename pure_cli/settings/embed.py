"""Embed every reference image with a foundation model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from pure_cli.registry import EMBEDDERS
from pure_cli.settings.option import option
from pure_cli.settings.parts import InParts
from pure_cli.settings.shared import OfNeurons, Running, as_list
from pure_cli.settings.stage import Stage

EMBEDDER = "More on the embedder"


class EmbedSettings(Running, InParts, OfNeurons):
    """Embed every reference image, cut to what the neuron saw of it, with a foundation model."""

    embedder: list[str] = option(
        ["clip"],
        "Foundation models, or what else gives embeddings; repeat for several.",
        metavar="E",
        values=EMBEDDERS,
        listed=f"{EMBEDDERS.listed()}.",
    )
    embedder_layer: str | None = option(None, "Of the embedder, pooled over space.", metavar="LAYER", panel=EMBEDDER)
    embedder_weights: Path | None = option(
        None,
        "A local checkpoint.",
        metavar="FILE",
        panel=EMBEDDER,
        otherwise="those of embeddings with this name, else downloaded",
    )
    embedder_size: int | None = option(
        None, "Side of its input.", metavar="PX", panel=EMBEDDER, otherwise="its own; 224 for dinov2", ge=1
    )
    crop: Literal["crp", "activation", "none"] = option(
        "crp",
        "What to embed: crp, cut to what the neuron saw by its heatmap; activation, by its map (far cheaper); none, "
        "the whole image.",
        metavar="HOW",
    )

    _lists = field_validator("embedder", mode="before")(as_list)


STAGE = Stage(EmbedSettings, order=50, unit="pairs", on_demand=True)
