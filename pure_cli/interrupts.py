"""Where a process that is asked to stop does so: in time, and not in the middle of what would bring it down."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

AGAIN = 0.01  # seconds after which a signal that came at a bad moment is delivered again
IN_TIME = 4.0  # seconds that a process has to stop by itself
TERMINATED = 143  # exit code by convention: 128 + SIGTERM


class Terminated(BaseException):
    """The scheduler asked the process to stop (SIGTERM)."""


@contextmanager
def never_inside(*functions: Callable[..., Any]) -> Iterator[None]:
    """Ctrl-C and SIGTERM raise outside of some functions only: an exception in what HDF5 calls ends in a crash.

    One that comes inside is delivered again a moment later.
    """
    codes = {function.__code__ for function in functions}
    before: dict[int, Any] = {}

    def careful(signum: int, frame: FrameType | None) -> None:
        inner = frame
        while inner is not None:
            if inner.f_code in codes:
                later = threading.Timer(AGAIN, os.kill, (os.getpid(), signum))
                later.daemon = True
                later.start()
                return
            inner = inner.f_back
        before[signum](signum, frame)

    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if callable(handler := signal.getsignal(number)):
                    before[number] = handler
                    signal.signal(number, careful)
        yield
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)


@contextmanager
def stops_when_asked(last_words: str) -> Iterator[None]:
    """SIGTERM raises `Terminated`, once; a process that is still there some seconds later ends all the same.

    Python has no say while a network is at work on a batch, and a batch can take longer than a scheduler waits. Ending
    then is like `kill -9`: what was finished is on the disk.

    Parameters
    ----------
    last_words : for standard error, where the process did not end by itself
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGTERM"):
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    told = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    over = threading.Event()
    threading.Thread(target=_watch, args=(reader, over, last_words), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(told)
        os.close(writer)  # which ends the thread
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _watch(reader: int, over: threading.Event, last_words: str) -> None:
    """End the process some seconds after SIGTERM came."""
    with os.fdopen(reader, "rb", buffering=0) as signals:
        while came := signals.read(1):
            if came[0] == signal.SIGTERM:
                if not over.wait(IN_TIME):
                    with suppress(Exception):
                        print(last_words, file=sys.stderr, flush=True)
                    os._exit(TERMINATED)
                return
