"""Files that are written as a whole or not at all, and what is said when the disk does not take them."""

import errno
import os
import secrets
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from pure_cli.errors import PureFailure

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
NO_ARCHIVE = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    RuntimeError,
    TypeError,
    SyntaxError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)  # raised by `read_archive` where there is none, or a damaged one
LFS_POINTER = b"version https://git-lfs"  # how such a file begins
_PART = 1 << 20  # bytes that are read at a time
TEMPORARY = ".tmp"  # how the name of a file that is being written ends; it begins with a dot


def is_pointer(path: Path) -> bool:
    """Whether a file stands for a larger one that Git LFS did not fetch."""
    try:
        with path.open("rb") as content:
            return content.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


def temporary_beside(path: Path) -> Path:
    """The name of a new file in the same folder, to be renamed to `path` when it is complete."""
    return path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")


def write_whole(path: Path, content: bytes | str, sync: bool = True) -> None:
    """Write a file so that a killed process leaves the old one or the new one.

    Parameters
    ----------
    sync : wait for the disk, so that this holds where the power goes too; slow for thousands of files

    Raises
    ------
    PureFailure
        The disk does not take it; the old file is as it was.
    """
    temporary = temporary_beside(path)
    with disk_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file, each held against its checksum before any of it is looked at."""
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise ValueError(f"{path} is damaged")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def keep_archive(path: Path, **arrays: np.ndarray) -> None:
    """Write an ``.npz`` file that may be lost: where that fails, whoever asks next computes it again."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(path)
        try:
            with temporary.open("wb") as out:
                np.savez(out, **arrays)  # type: ignore[arg-type]
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def can_lock(path: Path) -> bool:
    """Whether the disk has locks that end with their process; some network disks have none."""
    try:
        import fcntl
    except ImportError:  # Windows has others
        return True
    try:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in NO_LOCKS
    return True


def is_read_only(path: Path) -> bool:
    """Whether the disk was mounted so that nothing can be written to it."""
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def file_crc(path: Path) -> int:
    """The CRC-32 of a file.

    Raises
    ------
    OSError
        It cannot be read.
    """
    crc = 0
    with path.open("rb", buffering=0) as file:
        while part := file.read(_PART):
            crc = zlib.crc32(part, crc)
    return crc


def crc_or_none(path: Path) -> int | None:
    """The CRC-32 of a file; None where it cannot be read."""
    try:
        return file_crc(path)
    except OSError:
        return None


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into a sentence for the user."""
    try:
        yield
    except OSError as error:
        raise write_failure(path, error) from error


def write_failure(path: Path, error: OSError) -> PureFailure:
    """The error for a file that the disk does not take."""
    full = error.errno in DISK_FULL
    reason, advice = ("the disk is full", "make room and ") if full else (error.strerror or str(error), "")
    return PureFailure(
        f"{path} cannot be written: {reason}. What was there before is intact; {advice}run the command again."
    )
