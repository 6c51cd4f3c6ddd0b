"""Unfinished work on the disk, from which a killed process goes on."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pure_cli.files import disk_errors, write_whole

KEY, JOURNAL = "key", "done"
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has the latter only


class Scratch:
    """Rows of unfinished work in plain files: what a killed process had marked as done is there when it starts again.

    Parameters
    ----------
    folder : where the files lie; emptied when they belong to other work
    key : text that identifies the work, such as what is computed and in which order
    arrays : name to (shape, dtype) of each array

    Raises
    ------
    PureFailure
        The disk does not take them; also from `write` and `finish_step`.
    """

    def __init__(self, folder: Path, key: str, arrays: Mapping[str, tuple[tuple[int, ...], str]]):
        self.folder, self.arrays = folder, dict(arrays)
        self._journal = folder / JOURNAL
        with disk_errors(folder):
            if not self._is_there(key):
                if folder.exists():
                    shutil.rmtree(folder)
                folder.mkdir(parents=True)
                for name in self.arrays:
                    with (folder / name).open("wb") as file:
                        file.truncate(self._bytes(name))
                write_whole(folder / KEY, key)
            self._files = {name: (folder / name).open("r+b") for name in self.arrays}

    def _is_there(self, key: str) -> bool:
        """The folder holds all of this work."""
        marker = self.folder / KEY
        return (
            marker.exists()
            and marker.read_text(encoding="utf-8") == key
            and all(
                (self.folder / name).exists() and (self.folder / name).stat().st_size == self._bytes(name)
                for name in self.arrays
            )
        )

    def _bytes(self, name: str) -> int:
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
        file = self._files[name].fileno()
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # of runs of rows that follow each other
        with disk_errors(self.folder / name):
            for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
                rest, place = memoryview(values[start:stop].tobytes()), int(rows[start]) * width
                while rest:  # a disk that is almost full takes a part
                    written = os.pwrite(file, rest, place)
                    rest, place = rest[written:], place + written

    def finish_step(self) -> None:
        """Mark everything written so far as one more finished step."""
        with disk_errors(self._journal):
            for file in self._files.values():
                _sync(file.fileno())
            with self._journal.open("ab") as journal:
                journal.write(b".")

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Entries ``start:stop`` of the array's first axis."""
        shape, dtype = self.arrays[name]
        width = int(np.prod(shape[1:], dtype=np.int64))
        offset = start * width * np.dtype(dtype).itemsize
        flat = np.fromfile(self.folder / name, dtype, (stop - start) * width, offset=offset)
        return flat.reshape(stop - start, *shape[1:])

    def close(self) -> None:
        for file in self._files.values():
            file.close()
