"""What a file of `pure_cli.settings` declares to be a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from pure_cli.settings.shared import Options


@dataclass(frozen=True)
class Stage:
    """A stage, which goes by the name of its file: a method of `Workspace`, and a section of config files.

    Attributes
    ----------
    settings : its options; their docstring says what the stage does
    order : in which ``pure run`` does the stages
    unit : of its progress
    on_demand : ``pure run`` does it only where the file has a section for it
    returns : what ``details`` of its `Outcome` have, for the docstring of the method
    reads_only : it changes nothing in the workspace, and waits for nobody
    method : its name in Python, where that is not the name of the file
    place : of its function (store, settings, progress), as ``module:function``, where that is not
        ``pure_cli.stages.NAME:NAME``
    begins : it makes references, and needs none
    units : of its progress where some options are given, by the name of the option
    """

    settings: type[Options]
    order: int
    unit: str
    on_demand: bool = False
    returns: str = ""
    reads_only: bool = False
    method: str = ""
    place: str = ""
    begins: bool = False
    units: Mapping[str, str] = field(default_factory=dict)

    def unit_with(self, options: Mapping[str, Any]) -> str:
        """Of its progress with some options."""
        if options.get("on"):
            return "images"  # of the parts that are done
        return next((unit for name, unit in self.units.items() if options.get(name)), self.unit)

    def function(self, name: str) -> Callable[..., Any]:
        """What does it; its module is imported now."""
        module, _, function = (self.place or f"pure_cli.stages.{name}:{name}").partition(":")
        return getattr(import_module(module), function)
