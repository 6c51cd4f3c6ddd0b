"""Files of a storage that are kept on this machine's disk while they are read, of bounded size.

What was used least recently goes first. Several processes fetch a file once: one holds its lock, the others wait. A
file is fetched block by block into ``.part``, which a process that was killed leaves for the next one.
"""

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import md5, sha256
from pathlib import Path
from time import time
from typing import BinaryIO

from filelock import FileLock, Timeout

from pure_cli.errors import PureError
from pure_cli.remote.storage import S3, UNKNOWN, Entry, NoRanges, changed, entry_of, read, read_whole
from pure_cli.remote.urls import is_web, name_of, scheme_of

FOLDER, SIZE = "PURE_CACHE", "PURE_CACHE_SIZE"  # of the environment
USUAL_SIZE = "20GB"
BLOCK = 8 << 20  # bytes of a request
AHEAD = 4  # requests at a time
FRESH = 3600.0  # seconds for which what is being fetched is not taken away
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"([0-9.]+)\s*([KMGT]?)B?", re.IGNORECASE)
_MD5 = re.compile(r"[0-9a-f]{32}")
_PART, _LOCK = ".part", ".lock"


def cache_folder() -> Path:
    """``PURE_CACHE`` of the environment, else ``pure`` in the user's folder for caches."""
    given = os.environ.get(FOLDER)
    usual = os.environ.get("XDG_CACHE_HOME")
    return Path(given).expanduser() if given else (Path(usual) if usual else Path.home() / ".cache") / "pure"


def cache_size() -> int:
    """Bytes that the cache may take, ``PURE_CACHE_SIZE`` of the environment.

    Raises
    ------
    PureError
        It is no size.
    """
    text = os.environ.get(SIZE) or USUAL_SIZE
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[1].count(".") > 1 or not match[1].strip("."):
        raise PureError(f"{SIZE} is '{text}', which is no size. Write it as 500MB or 20GB; 0 keeps nothing.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


@dataclass(frozen=True)
class Shelf:
    """The folder of fetched files.

    Attributes
    ----------
    most : bytes
    """

    folder: Path
    most: int

    @classmethod
    def usual(cls) -> "Shelf":
        return cls(cache_folder() / "storage", cache_size())

    def find(self, url: str, entry: Entry) -> Path | None:
        """A file that is there, which counts as used; None where it is not."""
        path = self._path(url, entry)
        try:
            if path.stat().st_size != entry.size:  # cut short by a disk
                path.unlink()
                return None
            os.utime(path)
        except OSError:
            return None
        return path

    def fetch(self, url: str, entry: Entry, wait: bool = True) -> Path | None:
        """A file, fetched where it is not there; None where it has no place.

        Parameters
        ----------
        wait : for another process that fetches it

        Raises
        ------
        PureError, PureFailure
            The storage does not give it.
        """
        there = self.find(url, entry)
        if there is not None or not 0 <= entry.size <= self.most:
            return there
        path = self._path(url, entry)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(f".{path.name}{_LOCK}"), timeout=-1 if wait else 0):
                if self.find(url, entry) is None:
                    self._fetch(url, entry, path)
            return path
        except Timeout:
            return None
        except OSError:  # the disk takes nothing
            return None

    def keep(self, url: str, entry: Entry, start: int, stop: int, look: Callable[[], bytes]) -> bytes:
        """A few bytes of a file that is not fetched as a whole: those that were kept, else what `look` gives."""
        if not entry.mark and entry.time == UNKNOWN:
            return look()
        path = self._path(url, entry, f"{start}-{stop}")
        with suppress(OSError):
            content = path.read_bytes()
            if len(content) == stop - start:
                os.utime(path)
                return content
        content = look()
        if len(content) <= self.most:
            with suppress(OSError):
                self._make_room(len(content))
                temporary = path.with_name(f"{path.name}-{os.getpid()}{_PART}")
                temporary.write_bytes(content)
                temporary.replace(path)
        return content

    def _path(self, url: str, entry: Entry, *more: str) -> Path:
        key = "\0".join((url, entry.mark or str(entry.time), str(entry.size), *more))
        return self.folder / f"{sha256(key.encode()).hexdigest()[:24]}-{name_of(url)[-80:]}"

    def _fetch(self, url: str, entry: Entry, path: Path) -> None:
        part = path.with_name(f"{path.name}{_PART}")
        self._make_room(entry.size)
        with part.open("ab") as file:
            download(url, entry, file)
        if not _is_held_against_its_mark(url, entry) and entry_of(url) != entry:
            part.unlink()
            raise changed(url)
        if _MD5.fullmatch(entry.mark) and not _fits(part, entry.mark):
            part.unlink()  # what a killed process left, perhaps: the disk may have lost some of it
            with part.open("ab") as file:
                download(url, entry, file)
        part.replace(path)

    def _make_room(self, size: int) -> None:
        """Remove what was used least recently, until so much fits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / _LOCK):
            files = [(s.st_mtime, s.st_size, path) for path in self.folder.iterdir() if (s := _status(path))]
            total = sum(used for _, used, _ in files)
            for changed_at, used, path in sorted(files, key=lambda one: one[0]):
                if total + size <= self.most:
                    break
                if path.name.endswith(_LOCK) or (path.suffix == _PART and time() - changed_at < FRESH):
                    continue
                with suppress(OSError):
                    path.unlink()
                    total -= used


def _is_held_against_its_mark(url: str, entry: Entry) -> bool:
    """Whether each answer says what file it is of."""
    return bool(entry.mark) and (is_web(url) or scheme_of(url) in S3)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # another process took it away
        return None


def download(url: str, entry: Entry, file: BinaryIO) -> None:
    """Add to a file what is missing of it at its end.

    Raises
    ------
    PureError, PureFailure
        The storage does not give it, or it is another one now.
    """
    try:
        for content in _blocks(url, entry, file.seek(0, os.SEEK_END)):
            file.write(content)
    except NoRanges:
        read_whole(url, file)
    if file.tell() != entry.size:
        file.truncate(0)
        raise changed(url)


def _blocks(url: str, entry: Entry, start: int) -> Iterator[bytes]:
    """A file from a byte on, block by block; some are asked for ahead."""
    with ThreadPoolExecutor(AHEAD) as askers:
        waiting: deque[Future[bytes]] = deque()
        places = iter(range(start, entry.size, BLOCK))
        while True:
            while len(waiting) < AHEAD and (place := next(places, None)) is not None:
                stop = min(place + BLOCK, entry.size)
                waiting.append(askers.submit(read, url, place, stop, entry.mark))
            if not waiting:
                return
            yield waiting.popleft().result()


def _fits(path: Path, mark: str) -> bool:
    digest = md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest() == mark
