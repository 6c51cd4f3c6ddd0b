"""LRP-α2β1 at convolutions, ε at dense layers."""

from typing import Any

from pure_cli.models.rule import Rule
from pure_cli.models.rule_coverage import SIGNED


def composite(canonizers: list[Any] | None = None) -> Any:
    from zennit.composites import EpsilonAlpha2Beta1

    return EpsilonAlpha2Beta1(canonizers=canonizers)


RULE = Rule(composite, conserves=SIGNED)
