"""What a stage tells: how far it is, and in the end what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Progress = Callable[[int, int], None]
"""Called with (done, total) as a stage goes on."""


def silent(done: int, total: int) -> None:
    """No progress shown."""


@dataclass
class Outcome:
    """What a stage did.

    Attributes
    ----------
    stage : its name
    layers : it worked on or found up to date
    computed : things computed anew (images for collect, neurons otherwise); 0 where all was up to date
    unit : what is counted
    notes : sentences that the user should read
    seconds : it took
    details : more figures, JSON-like
    """

    stage: str
    layers: list[str]
    computed: int
    unit: str
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def up_to_date(self) -> bool:
        return self.computed == 0
