"""Unfinished work on the disk, from which a killed process goes on."""

import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pure_cli.errors import PureFailure
from pure_cli.files import disk_errors, write_whole

KEY, JOURNAL, SUMS = "key", "done", "sums"
CHECKSUM = np.dtype("<u4")
AT_ONCE = 1 << 24  # bytes that are held against their checksums at a time
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has the latter only


class Scratch:
    """Rows of unfinished work in plain files: what a killed process had marked as done is there when it starts again.

    A row has a checksum from the end of the step that wrote it on, zero before; where one does not fit, the work is
    begun anew.

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
        with disk_errors(folder):
            if not (self._is_there(key) and self._is_whole()):
                self._begin(key)
            self._files = {name: (folder / name).open("r+b") for name in [*self.arrays, SUMS]}

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
        return self._journal.stat().st_size if self._journal.exists() else 0

    def write(self, name: str, rows: np.ndarray, values: np.ndarray) -> None:
        """Put ``values[i]`` at row ``rows[i]`` of the array seen as (rows, last axis)."""
        shape, dtype = self.arrays[name]
        values = np.ascontiguousarray(values, dtype=dtype)
        width = shape[-1] * values.itemsize
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # of runs of rows that follow each other
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
            content = values[start:stop].tobytes()
            self._put(name, content, int(rows[start]) * width)
            first = self._first[name] + int(rows[start])
            self._sums[first : first + stop - start] = checksums(content, width)
            self._new.append((first, first + stop - start))

    def _put(self, name: str, content: bytes, place: int) -> None:
        rest = memoryview(content)
        with disk_errors(self.folder / name):
            while rest:  # a disk that is almost full takes a part
                written = os.pwrite(self._files[name].fileno(), rest, place)
                rest, place = rest[written:], place + written

    def finish_step(self) -> None:
        """Mark everything written so far as one more finished step."""
        with disk_errors(self._journal):
            for name in self.arrays:
                _sync(self._files[name].fileno())
            for start, stop in self._new:
                self._put(SUMS, self._sums[start:stop].tobytes(), start * CHECKSUM.itemsize)
            self._new.clear()
            _sync(self._files[SUMS].fileno())
            with self._journal.open("ab") as journal:
                journal.write(b".")

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Entries ``start:stop`` of the array's first axis; zeros where nothing was written."""
        shape, dtype = self.arrays[name]
        size = int(np.prod(shape[1:], dtype=np.int64))
        offset = start * size * np.dtype(dtype).itemsize
        flat = np.fromfile(self.folder / name, dtype, (stop - start) * size, offset=offset)
        deep = int(np.prod(shape[1:-1], dtype=np.int64))
        sums = self._sums[self._first[name] + start * deep : self._first[name] + stop * deep]
        wide = flat.reshape(len(sums), shape[-1])
        fits = len(flat) == (stop - start) * size and (sums == checksums(flat.tobytes(), wide[:1].nbytes))
        if not np.all(fits | ((sums == 0) & ~wide.view(np.uint8).any(axis=1))):
            shutil.rmtree(self.folder, ignore_errors=True)
            raise PureFailure(f"The disk changed the unfinished work in {self.folder}. Run the command again.")
        return flat.reshape(stop - start, *shape[1:])

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def checksums(content: bytes, width: int) -> np.ndarray:
    """A CRC-32 of each `width` bytes, never zero."""
    if not width:
        return np.zeros(0, CHECKSUM)
    parts = memoryview(content)
    return np.array([zlib.crc32(parts[i : i + width]) or 1 for i in range(0, len(content), width)], CHECKSUM)
