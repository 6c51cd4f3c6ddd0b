"""What a killed process had begun: by its description it is found again, and dropped when nobody needs it any more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pure_cli.config import fingerprint
from pure_cli.provenance import Provenance
from pure_cli.scratch import KEY
from pure_cli.workspace import Store

FORMAT = 2  # raised when rows of unfinished work come to lie in another way


@dataclass(frozen=True)
class Work:
    """What a stage computes for some neurons of a layer.

    Attributes
    ----------
    stage : whose work it is
    provenance : of the results; the layer is among the settings
    how : what the way to them depends on besides, such as the size of the batches; JSON-like
    neurons : ascending
    """

    stage: str
    provenance: Provenance
    how: dict[str, Any]
    neurons: list[int]

    @property
    def text(self) -> str:
        own = {
            "format": FORMAT,
            "stage": self.stage,
            **asdict(self.provenance),
            "how": self.how,
            "neurons": self.neurons,
        }
        return json.dumps(own, sort_keys=True)

    @classmethod
    def of_text(cls, text: str) -> Work:
        """The inverse of `text`.

        Raises
        ------
        ValueError
            Of another format.
        """
        own = json.loads(text)
        if own.pop("format", None) != FORMAT:
            raise ValueError("rows that lie in another way")
        provenance = Provenance(own.pop("settings"), own.pop("made_from"))
        return cls(provenance=provenance, **own)

    @property
    def name(self) -> str:
        """Of the folder with what is done of it."""
        return f"{self.stage}-{fingerprint(self.text)[:16]}"

    @property
    def layer(self) -> str:
        return str(self.provenance.settings["layer"])

    def begun(self, store: Store, there: np.ndarray) -> Work:
        """The same work as a killed process had begun it: perhaps with more neurons, which are there by now.

        Parameters
        ----------
        there : (M,) int64, neurons that have results
        """
        for other in unfinished(store, self.stage):
            beyond = np.setdiff1d(other.neurons, self.neurons)
            same = replace(other, neurons=self.neurons).text == self.text
            if same and np.isin(self.neurons, other.neurons).all() and np.isin(beyond, there).all():
                return other
        return self


def unfinished(store: Store, stage: str) -> Iterator[Work]:
    """All that was begun by a stage and is not finished."""
    for folder in store.partials(f"{stage}-"):
        with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
            yield Work.of_text((folder / KEY).read_text(encoding="utf-8"))


def drop_unneeded(store: Store, stage: str, needed: Callable[[Work], bool]) -> None:
    """Drop what was begun and is not needed any more, and what cannot be told what it is."""
    kept = {work.name for work in unfinished(store, stage) if needed(work)}
    for folder in store.partials(f"{stage}-"):
        if folder.name not in kept:
            store.drop_partial(folder.name)
