"""LRP-z⁺ at convolutions, ε at dense layers."""

from typing import Any

from pure_cli.models.rule import Rule
from pure_cli.models.rule_coverage import PLUS


def composite(canonizers: list[Any] | None = None) -> Any:
    from zennit.composites import EpsilonPlus

    return EpsilonPlus(canonizers=canonizers)


RULE = Rule(composite, conserves=PLUS)
