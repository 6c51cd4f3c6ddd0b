"""Long lists of names and numbers on the disk, in files without a name, which end with their processes."""

import mmap
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np

IN_MEMORY = 1 << 24  # bytes of a list that are kept in memory before it goes to the disk
BLOCK = 64  # texts that are read from the disk at a time
ROWS = 1 << 16  # numbers that are written at a time
AT_A_TIME = 1 << 11  # numbers that are read at a time from anywhere


class LongTable:
    """Rows that are gathered one by one: a text, which has no zero byte, and some whole numbers.

    Parameters
    ----------
    columns : how many numbers
    folder : for the files; where it takes none, the system's folder for temporary files, or else memory
    """

    def __init__(self, columns: int, folder: Path | None = None) -> None:
        self._text, self._block = _Tape(folder), list[str]()
        self._starts = array("q")
        self._columns = [_Tape(folder) for _ in range(columns)]
        self._waiting = [array("q") for _ in range(columns)]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: str, *numbers: int) -> None:
        self._block.append(text)
        self._count += 1
        for waiting, number in zip(self._waiting, numbers, strict=True):
            waiting.append(number)
        if len(self._block) == BLOCK:
            self._end_block()
        if self._count % ROWS == 0:
            self._end_rows()

    def texts(self) -> Sequence[str]:
        """The texts, when all are there."""
        if self._block:
            self._end_block()
        texts = Texts(self._text, self._starts, self._count)
        return texts if self._text.on_disk else tuple(texts)

    def numbers(self, column: int) -> np.ndarray:
        """(N,) int64, when all are there; on the disk, they are mapped and can be changed."""
        self._end_rows()
        return self._columns[column].mapped()

    def _end_block(self) -> None:
        self._starts.append(len(self._text))
        self._text.append("\0".join(self._block).encode("utf-8", "surrogatepass"))
        self._block.clear()

    def _end_rows(self) -> None:
        for waiting, column in zip(self._waiting, self._columns, strict=True):
            column.append(waiting.tobytes())
            del waiting[:]


class Texts(Sequence[str]):
    """Texts in blocks, the last one of which to be read is kept."""

    def __init__(self, tape: "_Tape", starts: Sequence[int], count: int) -> None:
        self._tape, self._starts, self._count = tape, starts, count
        self._last: tuple[int, list[str]] = (-1, [])

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        where = range(self._count)[i]
        if isinstance(where, int):
            return self._of(where // BLOCK)[where % BLOCK]
        return [self._of(k // BLOCK)[k % BLOCK] for k in where]

    def __iter__(self) -> Iterator[str]:
        for block in range(len(self._starts)):
            yield from self._of(block)

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (list(self),)

    def _of(self, block: int) -> list[str]:
        last, texts = self._last
        if last != block:
            stop = self._starts[block + 1] if block + 1 < len(self._starts) else len(self._tape)
            texts = self._tape.read(self._starts[block], stop).decode("utf-8", "surrogatepass").split("\0")
            self._last = block, texts
        return texts


def joined_numbers(parts: Iterable[np.ndarray], folder: Path | None = None) -> np.ndarray:
    """Whole numbers that come in parts, joined: (N,) int64.

    Parameters
    ----------
    folder : as of `LongTable`
    """
    tape = _Tape(folder)
    for part in parts:
        tape.append(np.asarray(part, np.int64).tobytes())
    return tape.mapped()


def in_parts(values: np.ndarray) -> Iterator[np.ndarray]:
    """Numbers in parts; what was mapped into memory for one is given back after it."""
    for start in range(0, len(values), ROWS):
        yield values[start : start + ROWS]
        release(values)


def values_at(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Some of many numbers: of those on the disk, the pages of a few at a time are in memory."""
    parts = [np.zeros(0, values.dtype)]
    for start in range(0, len(index), AT_A_TIME):
        parts.append(np.array(values[index[start : start + AT_A_TIME]]))
        release(values)
    return np.concatenate(parts)


def release(*arrays: np.ndarray) -> None:
    """Let go of what was mapped into memory of some arrays; they are read again where they are used again."""
    for one in arrays:
        if isinstance(one, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            one._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class _Tape:
    """Bytes that grow at their end: in memory, and when they are many in a file, if a disk takes it."""

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._memory, self._size = folder, bytearray(), 0
        self._file: BinaryIO | None = None
        self._full = False

    def __len__(self) -> int:
        return self._size

    @property
    def on_disk(self) -> bool:
        return self._file is not None

    def append(self, content: bytes) -> None:
        if self._file is None and not self._full and self._size + len(content) > IN_MEMORY:
            self._to_disk()
        try:
            self._put(content)
        except OSError:
            self._memory, self._file, self._full = bytearray(self.read(0, self._size)), None, True
            self._put(content)
        self._size += len(content)

    def read(self, start: int, stop: int) -> bytes:
        if self._file is None:
            return bytes(self._memory[start:stop])
        found = b""
        while len(found) < stop - start:
            part = os.pread(self._file.fileno(), stop - start - len(found), start + len(found))
            if not part:
                raise EOFError("a list on the disk is shorter than what was written")
            found += part
        return found

    def mapped(self) -> np.ndarray:
        """All of it as (N,) int64."""
        if not self._size:
            return np.zeros(0, np.int64)
        if self._file is None:
            return np.frombuffer(self._memory, np.int64)
        return np.memmap(self._file, np.int64, "r+")

    def _to_disk(self) -> None:
        memory, self._file = self._memory, _unnamed(self._folder)
        self._full = self._file is None
        if self._file is not None:
            try:
                self._put(memory, 0)
                self._memory = bytearray()
            except OSError:
                self._file, self._full = None, True

    def _put(self, content: bytes | bytearray, at: int | None = None) -> None:
        if self._file is None:
            self._memory += content
            return
        rest, at = memoryview(content), self._size if at is None else at
        while rest:
            written = os.pwrite(self._file.fileno(), rest, at)
            rest, at = rest[written:], at + written


def _unnamed(folder: Path | None) -> BinaryIO | None:
    """A file that is gone when its last process is; None where no disk takes one."""
    for place in (folder, None) if hasattr(os, "pread") else ():  # not on Windows
        with suppress(OSError):
            if place is not None:
                place.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=place)
    return None
