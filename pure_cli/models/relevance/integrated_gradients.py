"""Gradients along the line from zero."""

from typing import Any

from pure_cli.models.rule import Rule
from pure_cli.models.rule_coverage import CONVOLUTIONAL


def circuits(*arguments: Any) -> Any:
    from pure_cli.core.integrated import IntegratedCircuits

    return IntegratedCircuits(*arguments)


RULE = Rule(circuits=circuits, conserves=CONVOLUTIONAL)  # the sum is the neuron's value less that at zero
