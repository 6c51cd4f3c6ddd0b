"""How a command shows that it goes on: a bar in a terminal, lines elsewhere, and what it waits for in both."""

import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pure_cli.waiting import telling, waiting_for
from pure_cli.words import duration, printable

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_SECONDS = 10.0  # between lines of progress where there is no terminal
PATIENCE = 0.8  # seconds of silence until a line says what is waited for
SMOOTHING = 15.0  # seconds in which the time left follows a new pace
SURE = (2, 2.0)  # things and seconds that a pace is made of, at least
STEPS = "steps"  # a unit whose pace says nothing
FIRST = "reading the workspace"


def about(seconds: float) -> str:
    """A time that is guessed, as exact as a guess may be: "4 s", "35 s", "2 min 10 s", "25 min"."""
    if seconds < 10:
        return f"{max(1, math.ceil(seconds))} s"
    grain = 5 if seconds < 60 else 10 if seconds < 600 else 60
    words = duration(max(grain * round(seconds / grain), 10))
    return words.removesuffix(" 0 s")


class Pace:
    """How fast a work goes on, and how long it still takes: without jumps, and nothing before that can be known."""

    def __init__(self) -> None:
        self._total = self._first = self._done = 0
        self._began = self._last = 0.0
        self.seconds_each: float | None = None
        self.left: float | None = None

    def update(self, done: int, total: int, now: float) -> None:
        """Where the work is, at a time in seconds."""
        if total != self._total or done < self._done:  # another work
            self._total, self._first, self._began, self.seconds_each, self.left = total, done, now, None, None
        things, past, since = done - self._first, now - self._began, now - self._last
        if things >= SURE[0] and past >= SURE[1]:
            self.seconds_each = past / things
            guess = (total - done) * self.seconds_each
            expected = guess if self.left is None else max(self.left - since, 0.0)
            self.left = expected + (guess - expected) * (1 - math.exp(-since / SMOOTHING))
        self._done, self._last = done, now

    def words(self, unit: str) -> tuple[str, str]:
        """Rate and time left; "" for what is not known."""
        if self.seconds_each is None or self.left is None:
            return "", ""
        each = self.seconds_each
        rate = f"{1 / each:,.0f} a second" if each < 0.1 else f"{1 / each:.1f} a second"
        rate = rate if each <= 1 else f"{duration(each)} each"
        return "" if unit == STEPS else rate, f"{about(self.left)} left"


class Shown:
    """Progress that is not shown; the base of those that are. A context, and a callback (done, total)."""

    def __enter__(self) -> Callable[[int, int], None]:
        return self.update

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, done: int, total: int) -> None:
        pass


class Telling(Shown):
    """The base of those that tell what is waited for, too."""

    def __init__(self, console: "Console", stage: str, unit: str):
        self._console, self._stage, self._unit = console, stage, unit
        self._pace, self._context = Pace(), ExitStack()

    def __enter__(self) -> Callable[[int, int], None]:
        self._context.enter_context(telling(self.wait))
        waiting_for(FIRST)
        return self.update

    def __exit__(self, *error: object) -> None:
        self._context.close()

    def wait(self, what: str) -> None:
        """Tell what is waited for."""


class Bar(Telling):
    """A bar with rate and time left."""

    def __init__(self, console: "Console", stage: str, unit: str):
        from rich.progress import BarColumn, Progress, TextColumn

        super().__init__(console, stage, unit)
        texts = [TextColumn("{task.fields[" + name + "]}") for name in ("count", "rate", "left")]
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), *texts, console=console, transient=True)
        self._task: Any = self._bar.add_task(stage, total=None, count="", rate="", left="")

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar.start()
        self._context.callback(self._bar.stop)
        return super().__enter__()

    def wait(self, what: str) -> None:
        self._bar.update(self._task, description=f"{self._stage}: {printable(what)}")

    def update(self, done: int, total: int) -> None:
        self._pace.update(done, total, time.monotonic())
        rate, left = self._pace.words(self._unit)
        count = f"{done:,}/{total:,} {self._unit}"
        self._bar.update(
            self._task, description=self._stage, completed=done, total=total, count=count, rate=rate, left=left
        )


class Lines(Telling):
    """A line every few seconds, for logs; what is waited for has one line, however often it comes again."""

    def __init__(self, console: "Console", stage: str, unit: str):
        super().__init__(console, stage, unit)
        self._last = self._said = time.monotonic()
        self._done = 0
        self._told: set[str] = set()
        self._timer: threading.Timer | None = None
        self._context.callback(self._waited)

    def wait(self, what: str) -> None:
        self._waited()
        left = max(0.0, self._said + PATIENCE - time.monotonic())
        self._timer = threading.Timer(left, self._tell, [printable(what)])
        self._timer.daemon = True
        self._timer.start()

    def update(self, done: int, total: int) -> None:
        self._waited()
        now = time.monotonic()
        self._pace.update(done, total, now)
        if now - self._last >= PLAIN_SECONDS and done > self._done:
            self._last = now
            self._line(", ".join(filter(None, [f"{done:,} of {total:,} {self._unit}", *self._pace.words(self._unit)])))
        self._done = done

    def _waited(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._line(what)

    def _line(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(f"{self._stage}: {text}", soft_wrap=True, markup=False)


def shown(stage: str, unit: str, console: "Console", elsewhere: bool = True) -> Shown:
    """How progress is shown on a console: as a bar where it is a terminal or a notebook.

    Parameters
    ----------
    elsewhere : with lines where it is neither
    """
    if console.is_terminal or console.is_jupyter:
        return Bar(console, stage, unit)
    return Lines(console, stage, unit) if elsewhere else Shown()
