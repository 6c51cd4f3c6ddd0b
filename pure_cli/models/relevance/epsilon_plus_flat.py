"""LRP-z⁺, flat at the first layer, PURE's for heatmaps."""

from typing import Any

from pure_cli.models.rule import Rule
from pure_cli.models.rule_coverage import PLUS


def composite(canonizers: list[Any] | None = None) -> Any:
    from zennit.composites import EpsilonPlusFlat

    return EpsilonPlusFlat(canonizers=canonizers)


RULE = Rule(composite, conserves=PLUS)
