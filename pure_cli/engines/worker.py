"""What a worker does: a part of a stage's work, in a workspace of its own that ends with it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pure_cli import __version__
from pure_cli.errors import PureError
from pure_cli.remote.faults import fault_notes
from pure_cli.workspace import Store

FOLDER = "pure-worker-"  # how the name of a worker's folder begins
IN_USE = ".in-use"  # locked for as long as the worker is alive


@dataclass(frozen=True)
class Done:
    """A part that is done.

    Attributes
    ----------
    files : the bytes of its files, by name; one for each layer
    images : that it has
    notes : what the user should know
    """

    files: dict[str, bytes]
    images: int
    notes: list[str]


@dataclass(frozen=True)
class Refused:
    """A part that could not be done, for a reason that a user can mend.

    Attributes
    ----------
    lasting : another worker would say the same
    """

    message: str
    lasting: bool


class Worker:
    """A process that does parts, one after the other.

    Parameters
    ----------
    threads : of torch
    trusted : model files that may be run here, since the user named them where the work was begun
    """

    def __init__(self, threads: int, trusted: Sequence[str] = ()):
        import torch

        from pure_cli.models.trust import ALLOWED

        torch.set_num_threads(threads)
        os.environ[ALLOWED] = os.pathsep.join(filter(None, [os.environ.get(ALLOWED), *trusted]))
        remove_left()
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        self._lock = FileLock(self._folder / IN_USE)
        self._lock.acquire(timeout=0)
        self._store = Store(self._folder / "workspace")
        self._sent: set[str] = set()

    def version(self) -> str:
        """Of pure, here."""
        return __version__

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Put a file into the workspace.

        Parameters
        ----------
        name : relative to its folder
        """
        path = self._store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(pieces)
        self._sent.add(path.name)

    def do(self, stage: str, options: Mapping[str, Any], stages: Sequence[str]) -> Done | Refused:
        """Do a part.

        Parameters
        ----------
        options : of the stage, with its part
        stages : whose parts it may leave
        """
        from pure_cli.artifacts import part_files
        from pure_cli.config import make
        from pure_cli.registry import STAGES
        from pure_cli.stages.outcome import silent
        from pure_cli.stages.runtime.arithmetic import arithmetic_of

        try:
            settings = make(stage, options)
            with arithmetic_of(settings) as arithmetic:
                outcome = STAGES[stage].function(stage)(self._store, settings, silent)
        except PureError as error:
            return Refused(str(error), error.exit_code == PureError.exit_code)
        paths = [path for path in part_files(self._store, stages) if path.name not in self._sent]
        found = {path.name: path.read_bytes() for path in paths}
        for path in paths:
            path.unlink()
        return Done(found, int(outcome.details.get("images", 0)), [*outcome.notes, *arithmetic.notes, *fault_notes()])

    def close(self) -> None:
        """Leave nothing behind."""
        self._lock.release()
        shutil.rmtree(self._folder, ignore_errors=True)


def remove_left() -> None:
    """Remove the folders of workers that were killed here."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with suppress(OSError, Timeout):
            if (folder / IN_USE).exists():
                with FileLock(folder / IN_USE, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
