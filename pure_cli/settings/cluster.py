"""Split each neuron into virtual neurons."""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationInfo, field_validator

from pure_cli.settings.option import option
from pure_cli.settings.shared import (
    AUTO,
    K_IN_PYTHON,
    K,
    OfFeatures,
    OfNeurons,
    Settings,
    k_as_list,
    seed_option,
    sorted_k,
)
from pure_cli.settings.stage import Stage


class ClusterSettings(Settings, OfFeatures, OfNeurons):
    """Split each neuron into virtual neurons: clusters of its references by circuit."""

    k: list[K] = option(
        [2],
        "Virtual neurons for each neuron, as in 2 or 2,3,4; auto: as many as the evidence says, perhaps one.",
        metavar="LIST",
        python=K_IN_PYTHON,
    )
    sort: Literal["silhouette", "polysemantic", "neuron"] = option(
        "silhouette",
        "silhouette, the clearest split first; polysemantic, with --k auto; or neuron.",
        metavar="BY",
    )
    seed: int = seed_option()

    _ks = field_validator("k", mode="before")(k_as_list)
    _k = field_validator("k")(sorted_k)

    @field_validator("sort")
    @classmethod
    def _can_be_sorted(cls, value: str, info: ValidationInfo) -> str:
        if value == "polysemantic" and AUTO not in info.data.get("k", [AUTO]):
            raise ValueError("polysemanticity is there with --k auto alone")
        return value


STAGE = Stage(ClusterSettings, order=60, unit="fits")
