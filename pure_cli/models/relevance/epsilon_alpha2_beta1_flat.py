"""LRP-α2β1, flat at the first layer."""

from typing import Any

from pure_cli.models.rule import Rule
from pure_cli.models.rule_coverage import SIGNED


def composite(canonizers: list[Any] | None = None) -> Any:
    from zennit.composites import EpsilonAlpha2Beta1Flat

    return EpsilonAlpha2Beta1Flat(canonizers=canonizers)


RULE = Rule(composite, conserves=SIGNED)
