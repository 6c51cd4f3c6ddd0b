"""Measure how good virtual neurons are."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

from pure_cli.registry import METRICS
from pure_cli.settings.option import option
from pure_cli.settings.shared import (
    K_IN_PYTHON,
    OfNeurons,
    Running,
    as_list,
    k_as_list,
    latex_option,
    seed_option,
    sorted_k,
)
from pure_cli.settings.stage import Stage

MEASURING = "How it is measured"
MEAN, ZERO = "mean", "zero"  # ways of cutting channels out
UNTRAINED, SHUFFLED = "untrained", "shuffled"  # networks that figures are held against
CONTROL = re.compile(rf"({UNTRAINED}|{SHUFFLED})(?::(\d+))?")


class EvaluateSettings(Running, OfNeurons):
    """Measure how good the virtual neurons are, for all kinds of features and numbers of clusters."""

    metric: list[str] = option(
        ...,
        "What to measure; repeat for several. clip, dinov2 or any embeddings there (separation, by these),",
        metavar="M",
        values=METRICS,
        listed=f"{METRICS.listed()}.",
    )
    features: list[str] | None = option(
        None,
        "Kinds to compare; repeat.",
        metavar="KIND",
        otherwise="pure, activations, embeddings that have all of the neurons",
    )
    k: list[int] = option([2, 3, 4, 5], "Numbers of clusters.", metavar="LIST", python=K_IN_PYTHON)
    judge: str | None = option(
        None,
        "Embeddings that judge, where a metric needs some.",
        metavar="E",
        panel=MEASURING,
        otherwise="clip, or the only ones there are",
    )
    polysemantic: float | None = option(
        None,
        "A table too for the neurons that the judge itself splits by more (inter − intra).",
        metavar="GAP",
        panel=MEASURING,
        otherwise="1.5 for clip, as in the paper; for other judges the same in their scale",
    )
    sample: int = option(0, "ms: over N images of the whole data set too.", metavar="N", panel=MEASURING, ge=0)
    ablation: Literal["mean", "zero", "resampled"] = option(
        "mean",
        "causal, faithfulness: lower channels that are cut out get their mean over references, zero, or the maps that "
        "they have for another image.",
        metavar="HOW",
        panel=MEASURING,
    )
    between: str | None = option(
        None,
        "outputs: two classes by name or number, as in 4,9; who decides between them, on their images.",
        metavar="A,B",
        panel=MEASURING,
    )
    controls: list[str] = option(
        [],
        "Networks to hold the figures against, measured the same way and kept in the workspace: untrained, fresh "
        "weights; shuffled, the weights within layers; untrained:1 has another seed; repeat.",
        "--controls",
        "--control",
        metavar="C",
        values=(UNTRAINED, SHUFFLED),
        panel=MEASURING,
    )
    embed: bool = option(False, "Make the embeddings that are missing on the way.")
    latex: bool = latex_option()
    seed: int = seed_option()

    @field_validator("between")
    @classmethod
    def _two(cls, text: str | None) -> str | None:
        parts = [part.strip() for part in (text or "a,b").split(",")]
        if len(parts) != 2 or not all(parts) or parts[0] == parts[1]:
            raise ValueError("takes two classes, as in cat,dog")
        return text

    @field_validator("controls")
    @classmethod
    def _are_controls(cls, names: list[str]) -> list[str]:
        for name in names:
            if not CONTROL.fullmatch(name):
                raise ValueError(
                    f"input should be {UNTRAINED} or {SHUFFLED}, with a seed as in {UNTRAINED}:1 or without"
                )
        return list(dict.fromkeys(names))

    _lists = field_validator("metric", "features", "controls", mode="before")(as_list)
    _ks = field_validator("k", mode="before")(k_as_list)
    _k = field_validator("k")(sorted_k)


RETURNS = '``details["tables"]`` has the measurements, ``details["folders"]`` where they are as files.'
STAGE = Stage(EvaluateSettings, order=80, unit="steps", on_demand=True, returns=RETURNS)
