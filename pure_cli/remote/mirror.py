"""A workspace in a bucket, worked on in a folder of this machine that has the same files.

What is newer there comes down before a command, what a command changed goes up after it. Each file goes up as a whole:
where that is cut off, the storage has the old one.
"""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from pure_cli.errors import PureError, causes
from pure_cli.files import disk_errors, file_crc, temporary_beside, write_whole
from pure_cli.remote.faults import Missing
from pure_cli.remote.files import version_of
from pure_cli.remote.shelf import cache_folder, download
from pure_cli.remote.storage import Entry, at_once, changed, entries_below, entry_of, put, remove
from pure_cli.remote.urls import name_of, without_secrets

STATE = ".mirror.json"  # what of it is the same here and there
PARTS = "parts/"  # of a pass that several processes share: none needs those of the others
OWN = ("data-index/",)  # of this machine alone
RESULTS = ".h5"  # go up last, since they name other files
NO_LOCKS = "The storage of {} has no file locks. Let no two commands work on it at the same time."
Same = tuple[int, ...]  # size and version there, size and time here


class Mirror:
    """The folder on this machine.

    Parameters
    ----------
    url : of the workspace

    Attributes
    ----------
    root : the folder
    """

    def __init__(self, url: str) -> None:
        self.url = without_secrets(url).rstrip("/")
        digest = sha256(self.url.encode()).hexdigest()[:12]
        self.root = cache_folder() / "workspaces" / f"{name_of(self.url)}-{digest}"

    def told(self, found: Any) -> Any:
        """Text, or lists and dictionaries of it, that call files of the folder by their URLs: those are what lasts."""
        if isinstance(found, str):
            for folder in sorted({str(self.root), str(self.root.absolute()), str(self.root.resolve())}, reverse=True):
                found = found.replace(folder, self.url)
            return found
        if isinstance(found, dict):
            return {name: self.told(own) for name, own in found.items()}
        return [self.told(own) for own in found] if isinstance(found, list) else found

    def local(self, place: str) -> Path:
        """The file of this machine behind what `told` calls it."""
        return self.root / place.removeprefix(self.url).strip("/") if place.startswith(self.url) else Path(place)

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """A context whose errors speak of the URL; of the folder, too, where this machine's disk is behind them."""
        try:
            yield
        except PureError as error:
            text = str(error)
            if self.url not in text and (told := self.told(text)) != text:
                disk = any(isinstance(one, OSError) for one in causes(error))
                error.args = (f"{told} Its copy on this machine is {self.root}." if disk else told,)
            raise

    @contextmanager
    def renewed(self, with_parts: bool = True) -> Iterator[None]:
        """A context in which the folder has what is there, and which gives back what was changed in it.

        After an error too: what was finished is kept.
        """
        self.pull(with_parts)
        try:
            yield
        except Exception:
            with suppress(PureError):  # the first error is the one to tell
                self.push()
            raise
        self.push()

    def pull(self, with_parts: bool = False) -> None:
        """Fetch what is newer there.

        Raises
        ------
        PureError
            No such bucket, no permission; or a file was changed both here and there.
        PureFailure
            The storage fails again and again.
        """
        there = {
            name: entry
            for name, entry in entries_below(self.url).items()
            if not name.startswith(OWN) and (with_parts or not name.startswith(PARTS))
        }
        same = self._read_state()
        newer = [name for name, entry in there.items() if same.get(name, ())[:2] != _version(entry)]
        for name in [name for name in newer if self._is_changed(name, same)]:
            self._require_equal(name, there[name])
        for name, here in zip(newer, at_once(lambda name: self._fetch(name, there[name]), newer, 4), strict=True):
            same[name] = (*_version(there[name]), *here)
        for name in [name for name in same if name not in there and (with_parts or not name.startswith(PARTS))]:
            if _status(self.root / name) == same[name][2:]:
                (self.root / name).unlink()
                del same[name]
        self._write_state(same)

    def push(self) -> None:
        """Give the storage what was changed here, results last.

        Raises
        ------
        PureFailure
            The storage fails again and again, or another command changed the same file meanwhile.
        """
        same = self._read_state()
        files = {self._name(path): path for path in self.root.rglob("*") if path.is_file()}
        files = {name: path for name, path in files.items() if _is_shared(name)}
        newer = [name for name, path in files.items() if _status(path) != same.get(name, ())[2:]]
        try:
            for name in sorted(newer, key=lambda name: (name.endswith(RESULTS) and "/" not in name, name)):
                here = _status(files[name])
                self._require_same_there(name, same)
                put(f"{self.url}/{name}", files[name])
                same[name] = (*_version(entry_of(f"{self.url}/{name}")), *here)
            for name in [name for name in same if name not in files]:
                remove(f"{self.url}/{name}")
                del same[name]
        finally:
            self._write_state(same)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _fetch(self, name: str, entry: Entry) -> tuple[int, ...]:
        path = self.root / name
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = temporary_beside(path)
            try:
                with temporary.open("ab") as file:
                    download(f"{self.url}/{name}", entry, file)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        return _status(path)

    def _is_changed(self, name: str, same: dict[str, Same]) -> bool:
        here = _status(self.root / name)
        return bool(here) and here != same.get(name, ())[2:]

    def _require_equal(self, name: str, entry: Entry) -> None:
        """What was changed here is there already, if a command ended between giving it and noting that."""
        path = self.root / name
        with disk_errors(path), TemporaryFile(dir=self.root) as file:
            download(f"{self.url}/{name}", entry, file)
            file.seek(0)
            there = zlib.crc32(file.read())
        if there != file_crc(path):
            raise PureError(
                f"{name} was changed in {self.url} and in its copy {self.root}, which was not given back. Remove one "
                "of them."
            )

    def _require_same_there(self, name: str, same: dict[str, Same]) -> None:
        """Another command may have been at work there."""
        try:
            now = _version(entry_of(f"{self.url}/{name}"))
        except Missing:
            return
        if now != same.get(name, ())[:2]:
            raise changed(f"{self.url}/{name}", f"by another command; yours is in {self.root}. Remove one of them.")

    def _read_state(self) -> dict[str, Same]:
        with suppress(OSError, ValueError):
            content = json.loads((self.root / STATE).read_text(encoding="utf-8"))
            return {name: tuple(numbers) for name, numbers in content.items()}
        return {}

    def _write_state(self, same: dict[str, Same]) -> None:
        if same or self.root.is_dir():
            self.root.mkdir(parents=True, exist_ok=True)
            write_whole(self.root / STATE, json.dumps(same))


def _version(entry: Entry) -> tuple[int, int]:
    return entry.size, version_of(entry)


def _status(path: Path) -> tuple[int, ...]:
    """Bytes of a file and time of its last change; nothing where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns


def _is_shared(name: str) -> bool:
    return not name.startswith(OWN) and not any(part.startswith(".") for part in name.split("/"))
