"""Which part of a work comes next, and which has failed too often. Knows no engine and keeps no time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from pure_cli.core.parts import Part

TRIES = 3  # workers that may fail at a part before it is given up


class PartQueue:
    """Parts that are waiting, at work, done or given up; each is in one of these places.

    A part that failed waits behind all others: what fails for a reason of its own holds up nothing.

    Parameters
    ----------
    parts : in the order in which they are handed out
    tries : after so many failures, a part is given up
    """

    def __init__(self, parts: Iterable[Part], tries: int = TRIES):
        self._waiting = deque(dict.fromkeys(parts))
        self._at_work: set[Part] = set()
        self._failures: dict[Part, list[str]] = {}
        self._tries = tries
        self.total, self.handed_out = len(self._waiting), 0
        self.done: list[Part] = []
        self.given_up: dict[Part, list[str]] = {}

    @property
    def is_over(self) -> bool:
        """No part waits, and none is at work."""
        return not self._waiting and not self._at_work

    @property
    def open(self) -> int:
        """Parts that wait or are at work."""
        return len(self._waiting) + len(self._at_work)

    @property
    def repeated(self) -> int:
        """How often a part was handed out again."""
        return self.handed_out - len(self._at_work) - len(self.done) - len(self.given_up)

    def take(self) -> Part | None:
        """The next part, which is at work from now on; None where none waits."""
        if not self._waiting:
            return None
        part = self._waiting.popleft()
        self._at_work.add(part)
        self.handed_out += 1
        return part

    def finish(self, part: Part) -> None:
        """A part that is at work is done."""
        self._at_work.remove(part)
        self.done.append(part)

    def fail(self, part: Part, why: str) -> None:
        """A part that is at work failed: it waits again, or is given up.

        Parameters
        ----------
        why : a few words
        """
        self._at_work.remove(part)
        failures = self._failures.setdefault(part, [])
        failures.append(why)
        if len(failures) < self._tries:
            self._waiting.append(part)
        else:
            self.given_up[part] = failures
