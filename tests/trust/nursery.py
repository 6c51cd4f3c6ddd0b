"""Commands in processes of their own that start at once: forked off one that has imported everything and run nothing.

Only for a process that has not computed anything with torch, whose threads a fork would lose.
"""

import contextlib
import importlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60.0  # seconds that a command may take
IMPORTED = (
    *("torch", "torchvision", "sklearn.cluster", "scipy.stats", "umap", "matplotlib.backends.backend_agg"),
    *("pure_cli.app", "pure_cli.core.circuits", "pure_cli.embedders.load", "pure_cli.models.load"),
    *("pure_cli.models.rules", "pure_cli.stages.directions", "pure_cli.stages.embed", "pure_cli.stages.evaluate"),
    *("pure_cli.stages.render", "pure_cli.views.evaluation", "pure_cli.views.neuron"),
)


def warm_up() -> None:
    """Import what the commands import."""
    for name in IMPORTED:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)


@dataclass
class Ended:
    """A command that came to its end: exit code (minus the signal where one ended it), what it said, seconds."""

    code: int
    out: str
    err: str
    seconds: float


class Running:
    """A command at work.

    Parameters
    ----------
    words : of the command line, without "pure"
    logs : folder for what it says
    first : called in the new process before anything else
    user : id of the user that it runs as
    environment : variables that are set
    """

    def __init__(
        self,
        words: list[object],
        logs: Path,
        first: Callable[[], None] | None = None,
        user: int | None = None,
        environment: dict[str, str] | None = None,
    ):
        logs.mkdir(parents=True, exist_ok=True)
        self._out, self._err = logs / "out", logs / "err"
        self._began = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            self._child([str(word) for word in words], first, user, environment or {})
        self._code: int | None = None

    def _child(
        self, words: list[str], first: Callable[[], None] | None, user: int | None, environment: dict[str, str]
    ) -> None:
        code = 70
        try:
            for handle, path in ((1, self._out), (2, self._err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
            sys.stdout, sys.stderr = (os.fdopen(os.dup(h), "w", encoding="utf-8") for h in (1, 2))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.environ.update(environment)
            sys.argv = ["pure", *words]
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            if first is not None:
                first()
            from pure_cli.app import main

            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def end(self) -> Ended:
        """Wait for its end; one that does not come is killed, and is no end."""
        limit = self._began + PATIENCE
        while self.poll() is None:
            if time.monotonic() > limit:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"no end after {PATIENCE:.0f} s: {self._err.read_text()}")
            time.sleep(0.002)
        seconds = time.monotonic() - self._began
        return Ended(self._code or 0, self._out.read_text(), self._err.read_text(), seconds)


def pure(*words: object, logs: Path, **options: object) -> Ended:
    """A command to its end."""
    return Running(list(words), logs, **options).end()  # type: ignore[arg-type]
