"""Files and folders of a storage, with those methods of a `Path` that reading data needs."""

import io
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pure_cli.errors import PureError
from pure_cli.remote.faults import Missing
from pure_cli.remote.shelf import SIZE, Shelf
from pure_cli.remote.storage import UNKNOWN, Entry, NoRanges, changed, entry_of, read, read_whole
from pure_cli.remote.urls import is_url, joined, name_of, path_of

FEW = 8 << 10  # bytes that a jump in a file asks for: a header of a tar, and a label beside it
ROUND_TRIP = 3 << 19  # bytes that come in the time of a request: where fewer lie between, a file is read on
MOST = 8 << 20  # bytes that are asked for at once, where a file is read on
KEPT = 1 << 20  # bytes of a part of a file that are kept on the disk, at most
SHARE = 4  # a file is fetched as a whole where a pass wants one byte in so many
ROOM = 3  # files of a pass that the cache holds at least


class RemoteFile:
    """A file or folder by its URL.

    Parameters
    ----------
    url : without secrets
    entry : what the storage says of the file; None for a folder
    below : of a folder, all files in it at any depth, by their names; None where that is not known
    above : the folder that it is in, where that is known

    Attributes
    ----------
    whole : whether it is fetched as a whole where it is opened
    following : what is fetched ahead when it is
    others : files that are read at the same time, so that requests cost that much less time
    """

    def __init__(
        self,
        url: str,
        entry: Entry | None = None,
        below: Mapping[str, Entry] | None = None,
        above: "RemoteFile | None" = None,
    ) -> None:
        self.url, self.entry, self._below, self._above = url, entry, below, above
        self.whole, self.others = False, 0
        self.following: RemoteFile | None = None

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"RemoteFile({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteFile) and (other.url, other.entry) == (self.url, self.entry)

    def __hash__(self) -> int:
        return hash((self.url, self.entry))

    def __lt__(self, other: "RemoteFile") -> bool:
        return self.url < other.url

    def __truediv__(self, name: str) -> "RemoteFile":
        if is_url(name):
            return RemoteFile(name)
        if self._below is None:
            return RemoteFile(joined(self.url, name))
        entry = self._below.get(name)
        return RemoteFile(joined(self.url, name), entry, {} if entry is None else None, self)

    @property
    def parents(self) -> "list[RemoteFile]":
        """The folders that it is in, as far as they are known, the nearest first."""
        return [] if self._above is None else [self._above, *self._above.parents]

    @property
    def name(self) -> str:
        return name_of(self.url)

    @property
    def parent(self) -> "RemoteFile":
        return RemoteFile(path_of(self.url).rpartition("/")[0])

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0] or self.name

    @property
    def suffix(self) -> str:
        return os.path.splitext(self.name)[1]  # noqa: PTH122 (of a name that is no path)

    def as_posix(self) -> str:
        return path_of(self.url)

    def relative_to(self, folder: "RemoteFile") -> "RelativeName":
        return RelativeName(path_of(self.url)[len(path_of(folder.url).rstrip("/")) + 1 :])

    def is_file(self) -> bool:
        return self.entry is not None

    @property
    def known(self) -> Entry:
        """What the storage says of it.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        PureError, PureFailure
            The storage does not say.
        """
        if self.entry is None:
            if self._below is not None:
                raise FileNotFoundError(self.url)
            try:
                self.entry = entry_of(self.url)
            except Missing:
                raise FileNotFoundError(self.url) from None
        return self.entry

    def stat(self) -> "Status":
        return Status(self.known.size, version_of(self.known))

    def read_bytes(self) -> bytes:
        entry = self.known
        if 0 <= entry.size <= KEPT:
            return _shelf().keep(self.url, entry, 0, entry.size, lambda: self.part(0, entry.size))
        if entry.size == UNKNOWN:
            return whole_content(self.url)
        return self.part(0, entry.size)

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def part(self, start: int, stop: int) -> bytes:
        """Bytes ``start:stop``, from the disk where the file is there.

        Raises
        ------
        PureError, PureFailure
            The storage does not give them.
        """
        there = self.local()
        if there is None:
            try:
                return read(self.url, start, stop, self.known.mark)
            except NoRanges:
                there = _shelf().fetch(self.url, self.known)
        if there is None and (start, stop) == (0, self.known.size):
            return self._whole_in_memory()
        if there is None:
            raise PureError(
                f"The server of {self.url} gives files as a whole only, and the cache has no room for it. Raise "
                f"{SIZE} (or fetch the file, and pass the copy with --data)."
            )
        with suppress(OSError), there.open("rb") as file:  # OSError: another process took it away
            file.seek(start)
            content = file.read(stop - start)
            if len(content) == stop - start:
                return content
        return read(self.url, start, stop, self.known.mark)

    def local(self) -> Path | None:
        """The file on the disk: if it is there, or is to be fetched as a whole."""
        shelf = _shelf()
        found = shelf.fetch(self.url, self.known) if self.whole else shelf.find(self.url, self.known)
        if self.whole and self.following is not None:
            ahead, self.following = self.following, None
            threading.Thread(target=_fetch_ahead, args=(ahead,), daemon=True).start()
        return found

    def open(self, mode: str = "rb", keep: bool = False) -> BinaryIO:
        """The file for reading; `keep` as of `Ranges`."""
        there = self.local()
        if there is not None:
            with suppress(FileNotFoundError):
                return there.open("rb")
        return io.BufferedReader(Ranges(self, keep), FEW)

    def _whole_in_memory(self) -> bytes:
        content = whole_content(self.url)
        if len(content) != self.known.size:
            raise changed(self.url)
        return content


class Status(NamedTuple):
    """Bytes of a file, and in place of a time a number that changes with its content."""

    st_size: int
    st_mtime_ns: int


class RelativeName(str):
    """A name below a folder."""

    __slots__ = ()

    def as_posix(self) -> str:
        return str(self)


class Ranges(io.RawIOBase):
    """A file that is read by ranges: few bytes where it is jumped about in, many where it is read on.

    Parameters
    ----------
    keep : small parts on the disk, so that who reads the same ones again asks for nothing
    """

    def __init__(self, file: RemoteFile, keep: bool = False) -> None:
        super().__init__()
        self._file, self._size, self._keep = file, file.known.size, keep
        self._at, self._start, self._block, self._step = 0, 0, b"", FEW

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        if not self._start <= self._at < self._start + len(self._block):
            self._ask(stop)
        found = self._block[self._at - self._start : stop - self._start]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _ask(self, stop: int) -> None:
        most = ROUND_TRIP // (1 + self._file.others)
        near = self._block and 0 <= self._at - self._start - len(self._block) <= most
        self._step = min(2 * self._step, MOST) if near else FEW
        start, stop = self._at, min(max(stop, self._at + self._step), self._size)
        file = self._file
        if self._keep and stop - start <= KEPT:
            self._block = _shelf().keep(file.url, file.known, start, stop, lambda: file.part(start, stop))
        else:
            self._block = file.part(start, stop)
        self._start = start


def plan_pass(files: Sequence[RemoteFile], wanted: Sequence[int]) -> None:
    """Say which files are read in a pass, so that each is fetched as a whole, and the next one ahead.

    Parameters
    ----------
    files : in the order in which they are read
    wanted : bytes of each that are
    """
    before: RemoteFile | None = None
    most = _shelf().most
    for file, count in zip(files, wanted, strict=True):
        file.whole = count * SHARE >= file.known.size and file.known.size * ROOM <= most
        file.following = None
        if file.whole:
            if before is not None:
                before.following = file
            before = file


def fit_together(files: Sequence[RemoteFile]) -> bool:
    """Whether the cache holds all of some files, and as much again."""
    return sum(file.known.size for file in files) * 2 <= _shelf().most and all(f.known.size >= 0 for f in files)


def whole_content(url: str) -> bytes:
    """A file in memory, whose size nothing is said of."""
    sink = io.BytesIO()
    read_whole(url, sink)
    return sink.getvalue()


def version_of(entry: Entry) -> int:
    """A number that changes with a file: of its mark, or else its time; `UNKNOWN` where there is neither."""
    return int(sha256(entry.mark.encode()).hexdigest()[:15], 16) if entry.mark else entry.time


def _fetch_ahead(file: RemoteFile) -> None:
    with suppress(PureError, RuntimeError):  # who reads it says so; RuntimeError: Python ends
        _shelf().fetch(file.url, file.known, wait=False)


def _shelf() -> Shelf:
    return Shelf.usual()
