"""LRP-z⁺, flat at the first layer, PURE's for heatmaps."""

from typing import Any

from pure_cli.models.claims import PLUS
from pure_cli.models.rule import Rule


def composite(canonizers: list[Any] | None = None) -> Any:
    from zennit.composites import EpsilonPlusFlat

    return EpsilonPlusFlat(canonizers=canonizers)


RULE = Rule(composite, conserves=PLUS)
