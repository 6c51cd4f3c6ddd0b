"""Attribute each neuron's activation to the channels of a lower layer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator, model_validator

from pure_cli.registry import RULES
from pure_cli.settings.option import RUNNING, option
from pure_cli.settings.parts import InParts
from pure_cli.settings.shared import (
    AUTO,
    BFLOAT16,
    FLOAT32,
    ByRecipe,
    LayerName,
    OfNeurons,
    RuleName,
    Running,
    as_list,
)
from pure_cli.settings.stage import Stage

CANONIZERS = 2  # raised when they come to change what LRP's rules find
HOW = "How relevance is computed and kept"


class AttributeSettings(Running, InParts, ByRecipe, OfNeurons):
    """Attribute each neuron's activation to the channels of a lower layer, for all its references."""

    several_devices = True

    lower_layer: list[LayerName] | None = option(
        None,
        "Whose channels get the relevance; repeat for several. A function goes by its module: layer4.1:relu.",
        metavar="LAYER",
        otherwise="the preset's, or the stage before",
    )
    rule: RuleName = option(
        "gradient-x-input",
        "How relevance is computed.",
        metavar="RULE",
        panel=HOW,
        values=RULES,
        listed=f"{RULES.listed()}.",
    )
    position: Literal["all", "max"] = option(
        "all",
        "Where the neuron's activation counts: all, or max, its maximal position alone.",
        metavar="WHICH",
        panel=HOW,
    )
    precision: Literal["float32", "tf32", "bfloat16"] = option(  # type: ignore[assignment]
        FLOAT32,
        "float32, the same on every device; with other results, tf32: faster on NVIDIA's GPUs from Ampere on, or "
        "bfloat16: about 1.5 times as fast where the processor has it, for gradient-x-input.",
        metavar="TYPE",
        panel=RUNNING,
    )
    store: Literal["float32", "float16"] = option(
        "float32", "float32, or float16: relevances take half of the disk.", metavar="TYPE", panel=HOW
    )

    _lists = field_validator("lower_layer", mode="before")(as_list)

    @model_validator(mode="before")
    @classmethod
    def _of_recipe(cls, values: Any) -> Any:
        calibrated = isinstance(values, dict) and values.get("recipe") == "calibrated"
        return {"lower_layer": [AUTO], **values} if calibrated else values

    @property
    def data_type(self) -> str:
        """Of the network's numbers, by torch's name."""
        return BFLOAT16 if self.precision == BFLOAT16 else FLOAT32

    @property
    def how(self) -> dict[str, str]:
        """What the relevances depend on beside layer and inputs; what is usual is left out, but for the rule."""
        fields = ("precision", "store", "position")
        usual = {name: type(self).model_fields[name].default for name in fields}
        return {
            "rule": self.rule,
            **({"canonizers": str(CANONIZERS)} if RULES[self.rule].canonized else {}),
            **{name: getattr(self, name) for name in fields if getattr(self, name) != usual[name]},
        }


STAGE = Stage(AttributeSettings, order=40, unit="pairs")
