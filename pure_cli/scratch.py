"""Unfinished work on the disk, from which a killed process goes on."""

import os
import shutil
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from pure_cli.errors import PureFailure
from pure_cli.files import disk_errors, write_whole

KEY, JOURNAL, SUMS = "key", "done", "sums"
CHECKSUM = np.dtype("<u4")
AT_ONCE = 1 << 24  # bytes that are held against their checksums at a time
SYNC_SECONDS = 2.0  # at most this much work is lost when the process is killed
Kind = TypeVar("Kind", bound="Scratch")
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has the latter only


class Scratch:
    """Rows of unfinished work in plain files: what a killed process had marked as done is there when it starts again.

    A disk takes its time to keep something for certain, so that steps are marked as done together, every few seconds
    and at the end. A row has a checksum from then on, zero before; where one does not fit, the work is begun anew.

    Parameters
    ----------
    folder : where the files lie; emptied when they belong to other work
    key : text that identifies the work, such as what is computed and in which order
    arrays : name to (shape, dtype) of each array

    Raises
    ------
    PureFailure
        The disk does not take them, also from `write` and `finish_step`; or gives others back, from `rows`.
    """

    def __init__(self, folder: Path, key: str, arrays: Mapping[str, tuple[tuple[int, ...], str]]):
        self.folder, self.arrays = folder, dict(arrays)
        self._journal = folder / JOURNAL
        self._first: dict[str, int] = {}  # where the checksums of an array begin
        count = 0
        for name, (shape, _) in self.arrays.items():
            self._first[name] = count
            count += int(np.prod(shape[:-1], dtype=np.int64))
        self._sums = np.zeros(count, CHECKSUM)
        self._new: list[tuple[int, int]] = []  # start and stop of the checksums of this step
        self._finished: list[tuple[int, int]] = []  # the same of steps that are finished and not yet marked as done
        self._steps = 0  # which are so many
        self._synced = time.monotonic()
        with disk_errors(folder):
            if not (self._is_there(key) and self._is_whole()):
                self._begin(key)
            self._files = {name: (folder / name).open("r+b") for name in [*self.arrays, SUMS]}

    def __enter__(self: Kind) -> Kind:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _is_there(self, key: str) -> bool:
        """The folder holds all of this work."""
        marker = self.folder / KEY
        return (
            marker.exists()
            and marker.read_bytes() == key.encode()
            and all(
                (self.folder / name).exists() and (self.folder / name).stat().st_size == self._bytes(name)
                for name in [*self.arrays, SUMS]
            )
        )

    def _is_whole(self) -> bool:
        """All rows of finished steps fit their checksums."""
        self._sums = np.fromfile(self.folder / SUMS, CHECKSUM)
        for name, (shape, dtype) in self.arrays.items():
            width = shape[-1] * np.dtype(dtype).itemsize
            stop = self._first[name] + self._bytes(name) // max(width, 1)
            step = max(1, AT_ONCE // max(width, 1))
            with (self.folder / name).open("rb") as file:
                for start in range(self._first[name], stop, step):
                    sums = self._sums[start : min(start + step, stop)]
                    found = checksums(file.read(len(sums) * width), width)
                    if ((sums != found) & (sums != 0)).any():
                        return False
        return True

    def _begin(self, key: str) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        self._sums[:] = 0
        for name in [*self.arrays, SUMS]:
            with (self.folder / name).open("wb") as file:
                file.truncate(self._bytes(name))
        write_whole(self.folder / KEY, key)

    def _bytes(self, name: str) -> int:
        if name == SUMS:
            return self._sums.nbytes
        shape, dtype = self.arrays[name]
        return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize

    @property
    def done(self) -> int:
        """Number of steps that were finished."""
        return self._steps + (self._journal.stat().st_size if self._journal.exists() else 0)

    def write(self, name: str, rows: np.ndarray, values: np.ndarray) -> None:
        """Put ``values[i]`` at row ``rows[i]`` of the array seen as (rows, last axis)."""
        shape, dtype = self.arrays[name]
        values = np.ascontiguousarray(values, dtype=dtype)
        width = shape[-1] * values.itemsize
        done = 0
        for start, stop in runs(rows).tolist():
            content = values[done : done + stop - start].reshape(-1).view(np.uint8).data
            self._put(name, content, start * width)
            first, done = self._first[name] + start, done + stop - start
            self._sums[first : first + stop - start] = checksums(content, width)
            self._new.append((first, first + stop - start))

    def _put(self, name: str, content: bytes | memoryview, place: int) -> None:
        rest = memoryview(content)
        try:
            while rest:  # a disk that is almost full takes a part
                written = os.pwrite(self._files[name].fileno(), rest, place)
                rest, place = rest[written:], place + written
        except OSError:
            with disk_errors(self.folder / name):
                raise

    def finish_step(self) -> None:
        """Everything written so far is one more finished step, and marked as done when the time for that has come."""
        self._steps += 1
        self._finished += self._new
        self._new = []
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Mark all finished steps as done."""
        if not self._steps:
            return
        with disk_errors(self._journal):
            for name in self.arrays:
                _sync(self._files[name].fileno())
            for start, stop in _joined(self._finished):
                self._put(SUMS, self._sums[start:stop].tobytes(), start * CHECKSUM.itemsize)
            _sync(self._files[SUMS].fileno())
            with self._journal.open("ab") as journal:
                journal.write(b"." * self._steps)
        self._finished, self._steps, self._synced = [], 0, time.monotonic()

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Entries ``start:stop`` of the array's first axis; zeros where nothing was written."""
        shape = self.arrays[name][0]
        deep = int(np.prod(shape[1:-1], dtype=np.int64))
        parts = np.array([[start, stop]]) * deep
        return self._read(name, parts, slice(start * deep, stop * deep)).reshape(stop - start, *shape[1:])

    def rows_at(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Rows (m,) of the array seen as (rows, last axis), in their order; zeros where nothing was written."""
        return self._read(name, runs(rows), rows)

    def _read(self, name: str, parts: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        """Rows that fit their checksums: given as parts (r, 2) that follow each other, and all together."""
        shape, dtype = self.arrays[name]
        found = np.empty((int((parts[:, 1] - parts[:, 0]).sum()), shape[-1]), dtype)
        content, width, filled = found.reshape(-1).view(np.uint8).data, shape[-1] * found.itemsize, 0
        for start, stop in parts.tolist():
            last = filled + (stop - start) * width
            place = start * width - filled
            while filled < last:
                count = os.preadv(self._files[name].fileno(), [content[filled:last]], place + filled)
                if not count:
                    raise self._changed()
                filled += count
        own = slice(self._first[name], self._first[name] + int(np.prod(shape[:-1], dtype=np.int64)))
        sums = self._sums[own][rows]
        fits = sums == checksums(content, width)
        if not np.all(fits | ((sums == 0) & ~found.view(np.uint8).any(axis=1))):
            raise self._changed()
        return found

    def _changed(self) -> PureFailure:
        shutil.rmtree(self.folder, ignore_errors=True)
        return PureFailure(f"The disk changed the unfinished work in {self.folder}. Run the command again.")

    def close(self, keep: bool = True) -> None:
        """With all finished steps marked as done, if they are to be kept."""
        try:
            if keep:
                self.sync()
        finally:
            self._steps = 0
            for file in self._files.values():
                file.close()


def runs(rows: np.ndarray) -> np.ndarray:
    """Start and stop (r, 2) of the runs of rows (m,) that follow each other."""
    begins = np.flatnonzero(np.diff(rows, prepend=rows[:1] - 2) != 1)
    ends = np.append(begins[1:], len(rows))[: len(begins)]
    return np.stack([rows[begins], rows[ends - 1] + 1], axis=1)


def _joined(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of numbers as few ranges."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(parts):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(stop, found[-1][1])
        else:
            found.append((start, stop))
    return found


def checksums(content: bytes | memoryview, width: int) -> np.ndarray:
    """A CRC-32 of each `width` bytes, never zero."""
    if not width:
        return np.zeros(0, CHECKSUM)
    parts = memoryview(content)
    return np.array([zlib.crc32(parts[i : i + width]) or 1 for i in range(0, len(content), width)], CHECKSUM)
