"""Open files and the like, each process its own."""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Handles(Generic[Key, Value]):
    """What was opened last, for the process that opened it.

    The workers that decode are forks: with a file in common, one would read where another one has just moved to.

    Parameters
    ----------
    opener : makes the value of a key; a function of a module, so that it reaches workers that are no forks
    most : values that are kept
    """

    def __init__(self, opener: Callable[[Key], Value], most: int = 8) -> None:
        self._opener, self._most = opener, most
        self._process = -1
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __call__(self, key: Key) -> Value:
        if self._process != os.getpid():
            self._process, self._values = os.getpid(), OrderedDict()
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        while len(self._values) >= self._most:
            self._close(self._values.popitem(last=False)[1])
        value = self._values[key] = self._opener(key)
        return value

    def __getstate__(self) -> dict[str, Any]:
        return {"_opener": self._opener, "_most": self._most, "_process": -1, "_values": OrderedDict()}

    @staticmethod
    def _close(value: Any) -> None:
        with suppress(AttributeError):
            value.close()
