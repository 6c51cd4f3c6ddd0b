"""The store: a folder of HDF5 files, each replaced as a whole, each knowing what it was made from.

The only code that opens HDF5. What is in the files (names and shapes) is in ``artifacts.py``.
"""

import errno
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from filelock import FileLock, Timeout

from pure_cli import __version__
from pure_cli.config import fingerprint
from pure_cli.errors import PureError, PureFailure, UnreadableFile, first_line

SCHEMA = 1  # of the files; raised when their layout changes
STAGE_FILES = ("collect", "attribute", "crops", "embed", "cluster", "evaluate")
MADE_BY = {"crops": "embed"}  # the command that makes a file, where it has another name
LOCK_POLL = 0.2  # seconds
ODD_NAMES = "surrogateescape"  # file names that are no UTF-8 keep their bytes
UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError)  # what h5py raises where a file is damaged
PARTIAL = ".partial"  # folder of unfinished work
NO_FOLDER = "The workspace {} is a file. Choose a folder with --workspace."


class Store:
    """One workspace folder.

    Parameters
    ----------
    root : the folder; it need not exist before something is written
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)

    def path(self, name: str) -> Path:
        return self.root / f"{name}.h5"

    def has(self, name: str) -> bool:
        return self.path(name).exists()

    def require_folder(self) -> None:
        """Make sure that there is a workspace.

        Raises
        ------
        PureError
            There is none.
        """
        if not self.root.exists():
            raise PureError(
                f"There is no workspace {self.root}. Run `pure collect` first, or name another with --workspace."
            )
        if not self.root.is_dir():
            raise PureError(NO_FOLDER.format(self.root))

    def require(self, name: str) -> None:
        """Make sure that a file is there.

        Raises
        ------
        PureError
            It is not.
        """
        self.require_folder()
        if not self.has(name):
            command = MADE_BY.get(name, name)
            raise PureError(f"The workspace {self.root} has no {self.path(name).name}. Run `pure {command}` first.")

    @contextmanager
    def read(self, name: str) -> Iterator[h5py.File]:
        """Open a file of the workspace for reading.

        Raises
        ------
        PureError
            The file is missing, damaged, or written by a newer pure.
        """
        self.require(name)
        path = self.path(name)
        with_options = " and its --model and --data" if name == "collect" else ""
        remake = f"Make it again with `pure {MADE_BY.get(name, name)} --force`{with_options}."
        try:
            file = h5py.File(path, "r")
        except PermissionError:
            raise PureError(f"{path} may not be read: permission denied.") from None
        except OSError:
            raise UnreadableFile(
                f"{path} is no readable HDF5 file: damaged, cut short or something else. {remake}"
            ) from None
        with file:
            schema = file.attrs.get("schema")
            if not isinstance(schema, int | np.integer):
                raise UnreadableFile(f"{path} was not written by pure. Move it away, or choose another --workspace.")
            if schema > SCHEMA:
                raise UnreadableFile(
                    f"{path} has schema {schema}, and this pure ({__version__}) knows {SCHEMA}. "
                    "Update pure, or choose another --workspace."
                )
            try:
                yield file
            except UNREADABLE as error:
                if _disk_is_full(error):  # a copy was being written
                    raise
                raise UnreadableFile(f"{path} is damaged ({first_line(error)}). {remake}") from error

    @contextmanager
    def replace(self, name: str) -> Iterator[h5py.File]:
        """Write a new file that takes the old one's place, as a whole, when the block ends well.

        A process that is killed meanwhile leaves the old file.
        """
        self.prepare()
        path = self.path(name)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}-", suffix=".tmp", dir=path.parent)
        os.close(handle)
        try:
            with h5py.File(temporary, "w") as file:
                file.attrs["schema"] = SCHEMA
                file.attrs["pure_version"] = __version__
                yield file
            _sync(temporary)
            Path(temporary).replace(path)
        except OSError as error:
            raise _write_failure(path, error) from error
        finally:
            Path(temporary).unlink(missing_ok=True)

    def rewrite(self, name: str, write: Callable[[h5py.File, h5py.File | None], None], anew: bool = False) -> None:
        """Replace a file by one that is written with the old one at hand.

        Parameters
        ----------
        write : called with the new file, and the old one, None where there is none
        anew : where the old one cannot be read, go on without it
        """
        try:
            with self.replace(name) as new:
                if self.has(name):
                    with self.read(name) as old:
                        write(new, old)
                else:
                    write(new, None)
        except UnreadableFile:
            if not anew:
                raise
            with self.replace(name) as new:
                write(new, None)

    def prepare(self) -> None:
        """Make the folder; say why when it cannot be made or written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise PureError(NO_FOLDER.format(self.root)) from None
        except OSError as error:
            raise PureError(f"The workspace {self.root} cannot be made: {error.strerror}.") from None
        if not os.access(self.root, os.W_OK):
            raise PureError(f"The workspace {self.root} may not be written: permission denied.")

    @contextmanager
    def lock(self, stage: str, waiting: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Hold the workspace for writing; where another process holds it, say so once and wait.

        The lock belongs to the operating system and ends with the process that held it, however that ended.
        """
        self.prepare()
        for old in self.root.glob(".*.tmp"):  # left by a killed process; younger ones may be at work
            with suppress(OSError):
                if time.time() - old.stat().st_mtime > 3600:
                    old.unlink()
        lock = FileLock(self.root / ".lock")
        owner = self.root / ".lock-owner"
        try:
            lock.acquire(timeout=0)
        except Timeout:
            who = owner.read_text().strip() if owner.exists() else "another process"
            waiting(f"{who} is at work in {self.root}; waiting for it to finish.")
            lock.acquire(poll_interval=LOCK_POLL)
        except OSError as error:
            raise PureError(f"The workspace {self.root} cannot be locked: {error.strerror}.") from None
        try:
            with suppress(OSError):
                owner.write_text(f"pure {stage} (process {os.getpid()} on {socket.gethostname()})\n")
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    def partial(self, name: str) -> Path:
        """Folder for the unfinished work called `name` (made when it is not there)."""
        self.prepare()
        folder = self.root / PARTIAL / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def drop_partial(self, name: str) -> None:
        shutil.rmtree(self.root / PARTIAL / name, ignore_errors=True)
        with suppress(OSError):
            (self.root / PARTIAL).rmdir()


def result_fingerprint(settings: Mapping[str, Any], made_from: Mapping[str, Any]) -> str:
    """The fingerprint of what is made from these things with these settings."""
    return fingerprint({"settings": settings, "made_from": made_from, "schema": SCHEMA})


def stamp(node: h5py.Group, settings: Mapping[str, Any], made_from: Mapping[str, Any]) -> str:
    """Write what a file or group was made from, and its fingerprint, as attributes; return the fingerprint."""
    value = result_fingerprint(settings, made_from)
    node.attrs["settings"] = json.dumps(settings, sort_keys=True, default=str)
    node.attrs["made_from"] = json.dumps(made_from, sort_keys=True, default=str)
    node.attrs["fingerprint"] = value
    return value


def settings_of(node: h5py.Group) -> dict[str, Any]:
    return json.loads(node.attrs["settings"])


def made_from(node: h5py.Group) -> dict[str, Any]:
    return json.loads(node.attrs["made_from"])


def write_array(group: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
    """A data set with a checksum on every block of it."""
    values = np.asarray(values)
    if values.ndim == 0 or values.size == 0:
        return group.create_dataset(name, data=values)
    return group.create_dataset(name, data=values, fletcher32=True)


def empty_rows(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    """A data set with a checksum, to be filled row by row of its first axis."""
    return group.create_dataset(name, shape, dtype, chunks=(1, *shape[1:]), fletcher32=True)


def read_texts(dataset: h5py.Dataset) -> list[str]:
    return [value.decode("utf-8", ODD_NAMES) for value in dataset[:]]


def write_texts(group: h5py.Group, name: str, values: list[str]) -> None:
    encoded = [value.encode("utf-8", ODD_NAMES) for value in values]
    group.create_dataset(name, data=np.array(encoded, dtype=object), shape=(len(values),), dtype=h5py.string_dtype())


class Scratch:
    """Rows of unfinished work in plain files: what a killed process had marked as done is there when it starts again.

    Parameters
    ----------
    folder : where the files lie; emptied when they belong to other work
    key : fingerprint of the work, such as what is computed and in which order
    arrays : name to (shape, dtype) of each array
    """

    def __init__(self, folder: Path, key: str, arrays: Mapping[str, tuple[tuple[int, ...], str]]):
        self.folder, self.arrays = folder, dict(arrays)
        self._journal = folder / "done"
        marker = folder / "key"
        if not marker.exists() or marker.read_text() != key:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self._allocate()
            marker.write_text(key)
        self._files = {name: (folder / name).open("r+b") for name in self.arrays}

    def _allocate(self) -> None:
        for name, (shape, dtype) in self.arrays.items():
            with (self.folder / name).open("wb") as file:
                file.truncate(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)

    @property
    def done(self) -> int:
        """Number of steps that were finished."""
        return len(self._journal.read_bytes()) if self._journal.exists() else 0

    def write(self, name: str, rows: np.ndarray, values: np.ndarray) -> None:
        """Put ``values[i]`` at row ``rows[i]`` of the array seen as (rows, last axis)."""
        shape, dtype = self.arrays[name]
        values = np.ascontiguousarray(values, dtype=dtype)
        width = shape[-1] * values.itemsize
        file = self._files[name].fileno()
        try:
            for row, value in zip(rows, values, strict=True):
                os.pwrite(file, value.tobytes(), int(row) * width)
        except OSError as error:
            raise _write_failure(self.folder / name, error) from error

    def finish_step(self) -> None:
        """Mark everything written so far as one more finished step."""
        for file in self._files.values():
            os.fdatasync(file.fileno())
        with self._journal.open("ab") as journal:
            journal.write(b".")

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Entries ``start:stop`` of the array's first axis."""
        shape, dtype = self.arrays[name]
        width = int(np.prod(shape[1:], dtype=np.int64)) * np.dtype(dtype).itemsize
        data = os.pread(self._files[name].fileno(), (stop - start) * width, start * width)
        return np.frombuffer(data, dtype=dtype).reshape(stop - start, *shape[1:])

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk_is_full(error: Exception) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return getattr(error, "errno", None) in full or "no space left" in str(error).lower()


def _write_failure(path: Path, error: OSError) -> PureFailure:
    reason = "the disk is full" if _disk_is_full(error) else (error.strerror or str(error))
    return PureFailure(f"{path} cannot be written: {reason}. What was there before is intact; run the command again.")
