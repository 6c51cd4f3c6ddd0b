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


class Stops:
    """Whether Ctrl-C and SIGTERM may raise now."""

    def __init__(self) -> None:
        self.allowed = False

    def __enter__(self) -> None:
        self.allowed = True

    def __exit__(self, *_: object) -> None:
        self.allowed = False


@contextmanager
def stops_held_back(*functions: Callable[..., Any]) -> Iterator[Stops]:
    """Ctrl-C and SIGTERM raise only where it is said: an exception in what HDF5 calls ends in a crash, and one between
    its opening of a file and ours leaves it open.

    One that comes at another moment is delivered again a little later.

    Parameters
    ----------
    functions : nothing raises inside of these, either

    Yields
    ------
    Stops : a context, inside of which they raise
    """
    codes = {function.__code__ for function in functions}
    before: dict[int, Any] = {}
    stops = Stops()

    def inside(frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code in codes:
                return True
            frame = frame.f_back
        return False

    def careful(signum: int, frame: FrameType | None) -> None:
        if stops.allowed and not inside(frame):
            before[signum](signum, frame)
            return
        later = threading.Timer(AGAIN, os.kill, (os.getpid(), signum))
        later.daemon = True
        later.start()

    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if callable(handler := signal.getsignal(number)):
                    before[number] = handler
                    signal.signal(number, careful)
        yield stops
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
