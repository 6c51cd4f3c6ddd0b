"""LRP-z⁺ at convolutions, ε at dense layers."""

from typing import Any

from pure_cli.models.claims import PLUS
from pure_cli.models.rule import Rule


def composite(canonizers: list[Any] | None = None) -> Any:
    from zennit.composites import EpsilonPlus

    return EpsilonPlus(canonizers=canonizers)


RULE = Rule(composite, conserves=PLUS)
