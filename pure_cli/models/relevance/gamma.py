"""LRP-γ (0.25) at convolutions, ε at dense layers."""

from typing import Any

from pure_cli.models.rule import Rule
from pure_cli.models.rule_coverage import RECTIFIED

GAMMA = 0.25  # of what positive weights get on top, as in zennit's EpsilonGammaBox


def composite(canonizers: list[Any] | None = None) -> Any:
    """zennit's EpsilonGammaBox without its box."""
    from torch import nn
    from zennit.composites import LAYER_MAP_BASE, LayerMapComposite
    from zennit.rules import Epsilon, Gamma
    from zennit.types import Convolution

    layer_map = [*LAYER_MAP_BASE, (Convolution, Gamma(GAMMA)), (nn.Linear, Epsilon())]
    return LayerMapComposite(layer_map, canonizers=canonizers)


RULE = Rule(composite, conserves=(*RECTIFIED, "torchvision RegNet", "timm RegNet"))
