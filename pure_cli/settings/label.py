"""Say in words what neurons and virtual neurons respond to, and how far the words can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from pure_cli.settings.option import option
from pure_cli.settings.shared import OfVirtualNeurons, Place, Running, data_option, seed_option
from pure_cli.settings.stage import Stage

SIMILARITY, SOFT_WPMI = "similarity", "soft-wpmi"
CLASSES = "classes"  # the names of the data's classes, as a list of concepts
JUDGING = "How good the labels are"


def as_texts(value: object) -> object:
    """A single text or path stands for a list of one; commas are part of it."""
    several = [value] if isinstance(value, str | Path) else value
    return [str(one) if isinstance(one, Path) else one for one in several] if isinstance(several, list) else several


class LabelSettings(Running, OfVirtualNeurons):
    """Say in words what neurons and virtual neurons respond to, and how far the words can be trusted."""

    concepts: list[str] = option(
        ["imagenet"],
        "Words to choose from: imagenet, 1,000 classes; words, 20,068 nouns; classes, those of the data; or a .txt, "
        ".csv or .json file; repeat for several.",
        metavar="LIST",
        python="str | Path | Sequence[str | Path]",
    )
    by: Literal["similarity", "soft-wpmi"] = option(
        SIMILARITY,
        "similarity: cosine of words and the mean embedding of the references; soft-wpmi: images that excite the unit "
        "most, of all that are looked at, as CLIP-Dissect does.",
        metavar="WAY",
    )
    template: list[str] = option(
        ["photo"],
        "Sentences that words are put into: photo, plain, simple, openai, or one with {}; repeat for several.",
        metavar="TEXT",
        python="str | Sequence[str]",
    )
    embedder: str | None = option(
        None, "Which embeddings.", metavar="KIND", otherwise="the first whose network has a text tower"
    )
    units: Literal["neurons", "virtual", "both"] | None = option(
        None, "What gets labels.", metavar="WHAT", otherwise="both where there are virtual neurons"
    )
    top: int = option(5, "Labels of each unit that are kept.", metavar="N", ge=1)
    sample: int = option(
        5000,
        "Images, spread evenly, one half of which takes part in the choice while the other judges it; 0: no judging.",
        metavar="N",
        panel=JUDGING,
        ge=0,
    )
    data: Place | None = data_option(
        None, "These images, as of `pure collect --data`.", "of the workspace", panel=JUDGING
    )
    shuffles: int = option(200, "How often chance is tried.", metavar="N", panel=JUDGING, ge=20)
    seed: int = seed_option()

    _texts = field_validator("concepts", "template", mode="before")(as_texts)


RETURNS = '``details["tables"]`` has the labels of each unit with their scores.'
STAGE = Stage(LabelSettings, order=78, unit="steps", on_demand=True, returns=RETURNS)
