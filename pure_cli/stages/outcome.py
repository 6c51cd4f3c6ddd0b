"""What a stage tells: how far it is, and in the end what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pure_cli.views.notebook import Displayed
from pure_cli.words import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

Progress = Callable[[int, int], None]
"""Called with (done, total) as a stage goes on."""


def silent(done: int, total: int) -> None:
    """No progress shown."""


@dataclass(repr=False)
class Outcome(Displayed):
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

    @property
    def part(self) -> str:
        """Which part of the work it was, in words; "" where it was all of it."""
        own = self.details
        return f"part {own['part']}, {own['images']:,} of {own['of']:,} images" if "part" in own else ""

    def __rich__(self) -> RenderableType:
        """What was done in a line, the notes, and the tables that have a verdict."""
        from rich.console import Group
        from rich.text import Text

        from pure_cli.views.tables import as_rich

        unit = self.unit.removesuffix("s") if self.computed == 1 else self.unit
        what = f"{self.part or f'{self.computed:,} {unit}'} in {duration(self.seconds)}"
        line = f"✓ {self.stage}: {'up to date' if self.up_to_date else what} ({', '.join(self.layers)})"
        tables = [table for table in self.details.get("tables", []) if table.get("verdict")]
        notes = [Text(f"Note: {note}", style="yellow") for note in self.notes]
        return Group(Text(line), *notes, *(as_rich(table, compact=True) for table in tables))
