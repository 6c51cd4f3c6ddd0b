"""Find every neuron's reference images."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from pure_cli.registry import RULES, SOURCES
from pure_cli.settings.option import RUNNING, option
from pure_cli.settings.parts import InParts
from pure_cli.settings.shared import (
    AUTO,
    LayerName,
    Place,
    RuleName,
    Running,
    as_list,
    data_option,
    limit_option,
    seed_option,
)
from pure_cli.settings.stage import Stage

SCORE_OPTIONS = ("by", "pool", "rule", "target")  # how images are ranked
PREPROCESSING = "Preprocessing (default: what the model was trained with)"
NEURONS = "Other neurons than the channels of a layer"
RANKING = "Which images come first (default: those with the highest activation)"
BANDS = "References beyond those that come first"
MOST_BANDS, NARROWEST = 100, 1  # bands, and percentiles between the edges of one
SCALE = "On the scale 0 to 1."


def _as_colours(value: Any) -> Any:
    """One number for each of red, green and blue."""
    if value is None:
        return None
    try:
        red, green, blue = (float(part) for part in as_list(value))
    except (TypeError, ValueError):
        raise ValueError("three numbers are needed, for red, green and blue") from None
    return red, green, blue


class CollectSettings(Running, InParts):
    """Find every neuron's reference images: those that excite it most.

    Where nothing is said of model and images, those of the workspace are meant, with the options that it has.
    """

    several_devices = True

    model: str = option(
        ...,
        "A preset (resnet50, …), torchvision:NAME, timm:NAME, hf:NAME or FILE.py:FUNCTION.",
        metavar="M",
        otherwise="that of the workspace",
    )
    data: Place = data_option(
        ...,
        "Folder of images, with or without class folders; .txt/.csv list of paths; tar shards, Parquet, .npz, others: "
        "see docs/data.md; DIR#SPLIT is a split of it; hf:NAME:SPLIT is on the Hugging Face hub; or a URL of these "
        "(s3://, gs://, hf://, https://).",
        "PURE_DATA of the environment with --model, else those of the workspace",
        listed=f"({', '.join(SOURCES)})",
    )
    weights: Path | None = option(
        None,
        "A .safetensors file or torch checkpoint, FILE#KEY for weights in it, hf:NAME/FILE of the Hugging Face hub; "
        "none: a seeded initialisation.",
        metavar="FILE",
        otherwise="the model's own",
    )
    layer: list[LayerName] | None = option(
        None,
        "Where the neurons are; repeat for several.",
        metavar="LAYER",
        otherwise="the preset's, or the last stage",
    )
    references: int = option(100, "Reference images for each neuron.", "-n", "--references", metavar="N", ge=1)
    limit: int | None = limit_option()
    quantiles: list[float] | None = option(
        None,
        "Beside them, as many of each band of a neuron's activation: 5 makes five bands of equally many images, and "
        "50,90,99 bands between these percentiles of the images that excite it; layer4#80-100 names one.",
        metavar="LIST",
        panel=BANDS,
        python="int | Sequence[float]",
    )
    directions: Path | None = option(
        None,
        "Directions over the channels of the layer as neurons: .npy, .npz, .csv, .safetensors or a torch checkpoint, "
        "hf:NAME/FILE of the Hugging Face hub; a row each, probes, or a sparse autoencoder's decoder.",
        metavar="FILE",
        panel=NEURONS,
    )
    directions_relu: bool = option(False, "Negative activations of the directions count as zero.", panel=NEURONS)
    directions_part: Literal["decoder", "encoder"] | None = option(
        None,
        "Of a sparse autoencoder: decoder, what it adds up, or encoder, what its latents read.",
        metavar="PART",
        panel=NEURONS,
        otherwise="decoder",
    )
    channels_axis: list[str] | None = option(
        None,
        "Which axis of its output has a layer's channels, first or last behind the images: of the layers of --layer, "
        "or LAYER=AXIS of any; repeat for several.",
        metavar="AXIS",
        panel=NEURONS,
        otherwise="what the layers in it work along",
    )
    by: Literal["activation", "relevance"] = option(
        "activation",
        "Rank images by the neuron's activation, or by its relevance for the model's output (RelMax).",
        metavar="SCORE",
        panel=RANKING,
    )
    pool: Literal["max", "mean", "sum"] | None = option(
        None,
        "Score over space: max, mean or sum.",
        metavar="POOL",
        panel=RANKING,
        otherwise="max; of relevance: sum",
    )
    rule: RuleName | None = option(
        None,
        "Of --by relevance, as of `pure attribute`.",
        metavar="RULE",
        values=tuple(RULES),
        panel=RANKING,
        otherwise="epsilon-plus-flat; attn-lrp where there is attention",
    )
    target: Literal["label", "predicted"] | None = option(
        None,
        "Of --by relevance: the output of the image's label, or the predicted one.",
        metavar="CLASS",
        panel=RANKING,
        otherwise="label, where labels number the model's outputs",
    )
    resize: int | None = option(None, "Length of the short side.", metavar="PX", panel=PREPROCESSING, ge=1)
    crop_size: int | None = option(None, "Side of the centre crop.", metavar="PX", panel=PREPROCESSING, ge=1)
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = option(
        None, "nearest, bilinear or bicubic.", metavar="HOW", panel=PREPROCESSING
    )
    mean: tuple[float, float, float] | None = option(None, SCALE, metavar="R,G,B", panel=PREPROCESSING)
    std: tuple[float, float, float] | None = option(None, SCALE, metavar="R,G,B", panel=PREPROCESSING)
    strict: bool = option(False, "Stop at the first image that cannot be read.", panel=RUNNING)
    seed: int = seed_option()

    _lists = field_validator("layer", "channels_axis", "quantiles", mode="before")(as_list)
    _mean_std = field_validator("mean", "std", mode="before")(_as_colours)

    @model_validator(mode="after")
    def _of_relevance(self) -> CollectSettings:
        for name in ("rule", "target"):
            if getattr(self, name) is not None and self.by == "activation":
                raise ValueError(f"--{name} is for --by relevance")
        return self

    @field_validator("channels_axis")
    @classmethod
    def _first_or_last(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and any(part.rpartition("=")[2] not in ("first", "last") for part in value):
            raise ValueError("each must be first or last, or LAYER=first or LAYER=last")
        return value

    @field_validator("quantiles")
    @classmethod
    def _ascending(cls, value: list[float] | None) -> list[float] | None:
        """Percentiles from 0 to 100, in place of a number of bands too."""
        if value is None:
            return None
        if len(value) == 1:
            (count,) = value
            if count not in range(2, MOST_BANDS + 1):
                raise ValueError(f"a number of bands is 2 to {MOST_BANDS}; percentiles are at least two, as in 50,90")
            value = [round(100 * place / count, 2) for place in range(int(count) + 1)]
        edges = [0.0, *(edge for edge in value if edge not in (0, 100)), 100.0]
        if not all(low + NARROWEST <= high for low, high in pairwise(edges)):
            raise ValueError(f"percentiles ascend from 0 to 100, and no band is narrower than {NARROWEST}")
        return edges

    @property
    def edges(self) -> list[float]:
        """Percentiles between which the bands lie; none where there are no bands."""
        return self.quantiles or []

    @property
    def channels(self) -> dict[str, str]:
        """Layer to the axis of its channels, as the user says; "" for the layers whose neurons are looked at."""
        parts = [part.rpartition("=") for part in self.channels_axis or ()]
        return {layer: axis for layer, _, axis in parts}

    @property
    def pooled(self) -> str:
        """How scores are pooled over space: activation as PURE does, relevance as zennit-crp does."""
        return self.pool or ("max" if self.by == "activation" else "sum")

    @property
    def score(self) -> dict[str, str]:
        """What the scores are, where that is not the usual."""
        if self.by == "activation":
            return {} if self.pooled == "max" else {"pool": self.pooled}
        return {"by": self.by, "pool": self.pooled, "rule": self.rule or AUTO, "target": self.target or AUTO}

    @field_validator("std")
    @classmethod
    def _positive(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and min(value) <= 0:
            raise ValueError("a standard deviation must be greater than 0")
        return value


STAGE = Stage(CollectSettings, order=10, unit="images", begins=True)
