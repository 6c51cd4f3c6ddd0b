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

    how: Literal["pca", "nmf", "sae", "kmeans", "random"] = option(
        ...,
        "Principal components, a sparse autoencoder or random directions, of all positions of all images; "
        "non-negative components or centroids of k-means, of a sample of them.",
        metavar="pca|nmf|sae|kmeans|random",
        argument=True,
    )
    components: int | None = option(
        None,
        "Directions to find.",
        "-m",
        "--components",
        metavar="M",
        otherwise="64, or one a channel where there are fewer; for sae four a channel",
        ge=1,
    )
    layer: list[LayerName] | None = layer_option()
    limit: int | None = limit_option()
    sample: int = option(8, "For nmf and kmeans: positions drawn from each image.", metavar="S", ge=1)
    active: int | None = option(
        None,
        "For sae: latents that are active at a position.",
        metavar="K",
        otherwise="one for eight channels, 32 at most",
        ge=1,
    )
    sparsity: Literal["topk", "batch-topk"] = option(
        "topk",
        "For sae: the K highest latents of each position are active, or as many on average over positions.",
        metavar="topk|batch-topk",
    )
    out: Path | None = option(
        None, "A .safetensors file.", metavar="FILE", otherwise="directions/LAYER/HOW-M.safetensors in the workspace"
    )
    seed: int = seed_option()

    _layer = field_validator("layer", mode="before")(as_list)


RETURNS = (
    '``details["files"]`` has the file of each layer, ``details["explained"]`` its share, ``details["quality"]`` '
    "what more there is to say of a sparse autoencoder."
)
STAGE = Stage(DirectionsSettings, order=20, unit="images", on_demand=True, returns=RETURNS)
