"""Match the neurons and virtual neurons of two workspaces."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from pure_cli.settings.option import option
from pure_cli.settings.shared import (
    NEURONS_IN_PYTHON,
    LayerName,
    OfVirtualNeurons,
    Place,
    Running,
    as_list,
    seed_option,
)
from pure_cli.settings.stage import Stage

IMAGES, EMBEDDINGS, ACTIVATIONS = "images", "embeddings", "activations"  # what similarity is by
FEWEST = 20  # shuffles, for a quantile of 95 %


class CompareSettings(Running, OfVirtualNeurons):
    """Match the neurons and virtual neurons of this workspace, A, with those of another, B, on the same images."""

    other: Place = option(
        ..., "The other workspace, a folder or a URL.", argument=True, metavar="B", python="PathLike[str] | str"
    )
    layer: list[LayerName] | None = option(
        None, "Layers of A; repeat for several.", metavar="LAYER", otherwise="those that both have"
    )
    other_layer: list[LayerName] | None = option(
        None, "Layers of B: one for each of A's, or one for all.", metavar="LAYER", otherwise="those of A"
    )
    neurons: str | None = option(
        None,
        "Which neurons of A, with their virtual neurons: 201,2,341 or layer4/201.",
        metavar="LIST",
        otherwise="all",
        python=NEURONS_IN_PYTHON,
    )
    units: Literal["neurons", "virtual", "both"] | None = option(
        None,
        "What is matched.",
        metavar="WHAT",
        otherwise="both where both workspaces have virtual neurons, or neurons",
    )
    by: list[Literal["images", "embeddings", "activations"]] | None = option(
        None,
        "What similarity is: images, the Jaccard index of the references; embeddings, the cosine of their means; "
        "activations, the correlation; repeat for several.",
        metavar="NAME",
        otherwise="images, and what else is there",
        python="str | Sequence[str]",
    )
    embedder: list[str] | None = option(
        None, "Which embeddings; of several, the first that both have.", metavar="KIND", otherwise="any"
    )
    correlation: Literal["pearson", "spearman"] = option("pearson", "Of activations.", metavar="NAME")
    sample: int | None = option(
        None,
        "Run both networks on N of the common images, spread evenly, for --by activations.",
        metavar="N",
        otherwise="what is stored of activations",
        ge=3,
    )
    shuffles: int = option(100, "How often chance is tried.", metavar="N", ge=FEWEST)
    out: Path | None = option(
        None, "Folder of tables and figures.", "--out", "-o", metavar="DIR", otherwise="one in compare/ of A"
    )
    seed: int = seed_option()

    _lists = field_validator("other_layer", "by", "embedder", mode="before")(as_list)


RETURNS = (
    '``details["tables"]`` has means and counts, neurons that fall apart, and all matches; ``details["folders"]`` '
    "where these and figures are."
)
STAGE = Stage(CompareSettings, order=95, unit="steps", on_demand=True, returns=RETURNS)
