"""LRP-ε at every linear layer."""

from typing import Any

from pure_cli.models.claims import CONVOLUTIONAL
from pure_cli.models.rule import Rule


def composite(canonizers: list[Any] | None = None) -> Any:
    from zennit.composites import LAYER_MAP_BASE, LayerMapComposite
    from zennit.rules import Epsilon
    from zennit.types import Linear

    return LayerMapComposite([*LAYER_MAP_BASE, (Linear, Epsilon())], canonizers=canonizers)


RULE = Rule(composite, conserves=CONVOLUTIONAL)
