"""LRP for attention and layer norm."""

from typing import Any

from pure_cli.models.rule import Rule
from pure_cli.models.rule_coverage import ATTENTION, CONVOLUTIONAL, NORMALISED


def circuits(*arguments: Any) -> Any:
    from pure_cli.core.gradient_relevance import GradientCircuits

    return GradientCircuits(*arguments)


CONSERVES = (*CONVOLUTIONAL, *NORMALISED, *ATTENTION)  # softmax keeps its term of order zero
RULE = Rule(circuits=circuits, functions=True, conserves=CONSERVES)
