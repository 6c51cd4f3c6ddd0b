"""Files that a list names without their folder or their ending, as ``id,breed`` beside a folder ``train`` does."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pure_cli.data.source import EXTENSIONS, MISSING_SIZE, NO_TIME
from pure_cli.errors import PureError

MOST_FOLDERS = 1000  # beside a list that are looked into
LOOKS = 50  # for files that are nowhere known, before no more are looked for: each asks for every folder and ending


class FileStatus(NamedTuple):
    """Of a listed file: bytes and time of the last change, -1 where there is none, and what tells it from others."""

    size: int
    time: int
    inode: int


NO_FILE = FileStatus(MISSING_SIZE, NO_TIME, 0)


def status_of(root: Path, path: str) -> FileStatus:
    """The status of a file by its path relative to a folder."""
    try:
        status = os.stat(f"{root}/{path}" if path[:1] != "/" else path)  # noqa: PTH116 (a Path each takes longer)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return NO_FILE
    return FileStatus(status.st_size, status.st_mtime_ns, status.st_ino) if stat.S_ISREG(status.st_mode) else NO_FILE


class Beside:
    """Looks for what is not where a list says: in the folders beside the list, and with the endings of images.

    Parameters
    ----------
    file : the list
    """

    def __init__(self, file: Path) -> None:
        self._file, self._root = file, file.parent
        self._folders: list[str] | None = None
        self._known: dict[tuple[str, str], None] = {}  # folders and endings with which one was found before
        self._looks = 0
        self.found = 0
        self.example = ("", "")

    def find(self, path: str) -> tuple[str, FileStatus] | None:
        """Path and status of the file that is meant; None where there is none.

        Raises
        ------
        PureError
            There are several.
        """
        if path.startswith("/"):
            return None
        there = self._at(path, self._known)
        if self._looks < LOOKS and (not there or self.found < LOOKS):
            there |= self._at(path, self._ways(path))
            self._looks += not there
        if not there:
            return None
        if len(there) > 1:
            there = self._of_the_same_name(there) or there
        ways = list(there)
        if len(ways) > 1:
            names = " or ".join(f"'{folder}{path}{end}'" for folder, end in sorted(ways)[:3])
            raise PureError(
                f"The list '{self._file}' names '{path}', which may be {names}. Write the whole paths into the list."
            )
        (folder, end), status = ways[0], there[ways[0]]
        self._known[ways[0]] = None
        self.found += 1
        self.example = self.example if self.found > 1 else (path, f"{folder}{path}{end}")
        return f"{folder}{path}{end}", status

    def notes(self) -> list[str]:
        """A sentence on where the files were found."""
        if not self.found:
            return []
        said, at = self.example
        subject = "1 image was" if self.found == 1 else f"{self.found:,} images were"
        return [
            f"{subject} found beside the list '{self._file.name}', by another name than it has: '{said}' is '{at}'."
        ]

    def _at(self, path: str, ways: "dict[tuple[str, str], None]") -> dict[tuple[str, str], FileStatus]:
        """The ways that lead to a file, one for each file."""
        there: dict[int, tuple[tuple[str, str], FileStatus]] = {}
        for folder, end in ways:
            status = status_of(self._root, f"{folder}{path}{end}")
            if status is not NO_FILE:  # two endings are one file where upper case does not count
                there.setdefault(status.inode, ((folder, end), status))
        return dict(there.values())

    def _ways(self, path: str) -> dict[tuple[str, str], None]:
        if self._folders is None:
            self._folders = ["", *(f"{name}/" for name in sorted(self._names())[:MOST_FOLDERS])]
        endings = [""]
        if not path.lower().endswith(EXTENSIONS):
            endings += [form for end in EXTENSIONS for form in (end, end.upper())]
        return dict.fromkeys((folder, end) for folder in self._folders for end in endings)

    def _names(self) -> Iterator[str]:
        with os.scandir(self._root) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir():
                    yield entry.name

    def _of_the_same_name(self, there: dict[tuple[str, str], FileStatus]) -> dict[tuple[str, str], FileStatus]:
        """Of ``train`` and ``test``, the folder that ``train.csv`` or ``train_labels.csv`` is called after."""
        stem = self._file.stem.lower()
        fits = {way: status for way, status in there.items() if way[0] and stem.startswith(way[0][:-1].lower())}
        return fits if len(fits) == 1 else {}
