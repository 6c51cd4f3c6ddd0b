"""Files that are written as a whole or not at all, and what is said when the disk does not take them."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pure_cli.errors import PureFailure

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TEMPORARY = ".tmp"  # how the name of a file that is being written ends; it begins with a dot


def temporary_beside(path: Path) -> Path:
    """The name of a new file in the same folder, to be renamed to `path` when it is complete."""
    return path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a killed process leaves the old one or the new one.

    Raises
    ------
    PureFailure
        The disk does not take it; the old file is as it was.
    """
    temporary = temporary_beside(path)
    with disk_errors(path):
        try:
            temporary.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


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
