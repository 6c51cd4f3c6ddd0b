"""LRP-ε at every linear layer."""

from typing import Any

from pure_cli.models.rule import Rule
from pure_cli.models.rule_coverage import CONVOLUTIONAL


def composite(canonizers: list[Any] | None = None) -> Any:
    from zennit.composites import LAYER_MAP_BASE, LayerMapComposite
    from zennit.rules import Epsilon
    from zennit.types import Linear

    return LayerMapComposite([*LAYER_MAP_BASE, (Linear, Epsilon())], canonizers=canonizers)


RULE = Rule(composite, conserves=CONVOLUTIONAL)
