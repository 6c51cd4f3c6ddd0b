"""What a long work waits for, told to whoever shows progress. Light: nothing of the package is imported."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


def waiting_for(what: str) -> None:
    """Say what takes time from here on, as in "loading the network"; the next step of the progress ends it."""
    if listener := _listener.get():
        listener(what)


@contextmanager
def telling(listener: Callable[[str], None]) -> Iterator[None]:
    """A context in which `listener` is told what the work waits for."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
