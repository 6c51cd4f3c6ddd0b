"""What a result depends on: how it was made and from what; and whether it is still what it would be if made now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pure_cli.config import fingerprint
from pure_cli.settings.shared import FLOAT32

SCHEMA = 3  # of the files of a workspace; raised when their layout changes
EARLIER = ("collect", "attribute", "embed")  # stages whose results are what others are made from
COMPONENTS = {
    "model": "the model",
    "weights": "the weights",
    "seed": "the seed of the initialisation",
    "data": "the images",
    "content": "the images",
    "preprocessing": "the preprocessing",
    "n": "the number of references (n)",
    "score": "the score (--by, --pool, --rule, --target)",
    "channels_axis": "the axis of the channels (--channels-axis)",
    "precision": "the precision (--precision)",
    "collect": "the references",
    "attribute": "the relevances",
    "embed": "the embeddings",
}


@dataclass(frozen=True)
class Status:
    """Whether a result is up to date.

    Attributes
    ----------
    reason : why it is stale, in words; "" where it is not
    """

    reason: str = ""

    @classmethod
    def of_changes(cls, changed: list[str]) -> Status:
        """Stale because of these, where there are any."""
        return cls(f"{' and '.join(changed)} changed" if changed else "")

    @property
    def up_to_date(self) -> bool:
        return not self.reason

    def __str__(self) -> str:
        return f"stale: {self.reason}" if self.reason else "up to date"


UP_TO_DATE = Status()


@dataclass(frozen=True, eq=False)
class Provenance:
    """What a result depends on; equal to another where the fingerprint is.

    Attributes
    ----------
    settings : how it was made, JSON-like
    made_from : what it was made from, all the way up: fingerprints of the model, the weights and the images, and of the
        results of earlier stages; JSON-like
    """

    settings: dict[str, Any]
    made_from: dict[str, Any]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Provenance) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """The same for results that are the same."""
        return fingerprint({"settings": self.settings, "made_from": self.made_from, "schema": SCHEMA})

    @property
    def precision(self) -> str:
        """In which it was computed."""
        return self.settings.get("precision", FLOAT32)

    def passed_on(self, stage: str, **more: Any) -> dict[str, Any]:
        """What something made from this result of `stage` is made from."""
        return {**self.made_from, **more, stage: self.fingerprint}

    def status(self, now: Provenance) -> Status:
        """Of this result, where `now` is what it would have if it was made now."""
        if self.fingerprint == now.fingerprint:
            return UP_TO_DATE
        return Status.of_changes(changes(self.made_from, now.made_from) or ["the settings"])


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words, what differs between what something was made from and what it would be made from now."""
    names = [name for name in COMPONENTS if then.get(name) != now.get(name)]
    inputs = [name for name in names if name not in EARLIER]
    return list(dict.fromkeys(COMPONENTS[name] for name in inputs or names))
