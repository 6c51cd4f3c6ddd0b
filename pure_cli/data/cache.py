"""What is worth keeping about a data set, in a folder beside the workspace's results: indices, unpacked arrays."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from pure_cli.files import NO_ARCHIVE, keep_archive, read_archive, temporary_beside
from pure_cli.remote.files import RemoteFile, fit_together
from pure_cli.remote.storage import at_once

VERSION = 2  # of what is kept; another one is made anew
SAVE_SECONDS = 10.0  # at most this much of a long look is lost when the process is killed

FETCHED_AT_ONCE, LOOKED_AT_ONCE = 4, 32  # files elsewhere

Part = dict[str, np.ndarray]
_STAMP = "stamp"
_GONE = (-1, -1)


class Cache:
    """Keeps what was found out about files, for as long as they have the same size and time of change.

    Parameters
    ----------
    folder : where; made when something is kept. None: nothing is kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def parts(self, kind: str, files: Sequence[Path], look: Callable[[Path], Part]) -> list[Part]:
        """What `look` finds in each file: from the cache for those that have not changed since.

        Parameters
        ----------
        kind : of what is found, for the name of the file in the cache
        files : in their order
        look : arrays that are joined along their first axis; the same names and types for every file
        """
        path = self.folder / f"{_plain(kind)}-{_digest(kind, *files)}.npz" if self.folder else None
        kept = _read(path, len(files)) if path else {}
        stamps = [_stamp(file) for file in files]
        found: list[Part | None] = []
        for i, stamp in enumerate(stamps):
            same = i in kept and stamp == tuple(kept[i][_STAMP].tolist())
            found.append({name: a for name, a in kept[i].items() if name != _STAMP} if same else None)
        changed, saved = False, time.monotonic()
        unknown = [i for i, part in enumerate(found) if part is None]
        for i, part in zip(unknown, _looks(look, [files[i] for i in unknown]), strict=True):
            found[i], changed = part, True
            if path and time.monotonic() - saved > SAVE_SECONDS:
                _write(path, found, stamps)
                saved = time.monotonic()
        if path and changed:
            _write(path, found, stamps)
        return [part for part in found if part is not None]

    def unpacked(self, file: Path, member: str, suffix: str, unpack: Callable[[BinaryIO], None]) -> Path | None:
        """A file with the unpacked content of a compressed one, written once; None where there is no room for it.

        What was unpacked of the same file before it changed is removed.
        """
        if self.folder is None:
            return None
        stamp = _stamp(file)
        of_file, of_content = _digest(file), _digest(stamp)
        path = self.folder / f"{_plain(member)}-{of_file}-{of_content}{suffix}"
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = temporary_beside(path)
                try:
                    with temporary.open("wb") as out:
                        unpack(out)
                    temporary.replace(path)
                finally:
                    temporary.unlink(missing_ok=True)
        except OSError:
            return None
        if _stamp(file) == stamp:  # else another process may have unpacked a newer one in the meantime
            for other in self.folder.glob(f"[!.]*-{of_file}-*"):  # not what is being written
                if f"-{of_file}-{of_content}" not in other.name:
                    with suppress(OSError):  # where open files cannot be removed, the next call does
                        other.unlink()
        return path


def _looks(look: Callable[[Path], Part], files: Sequence[Path]) -> Iterator[Part]:
    """What there is in each file; of those elsewhere, several at a time, as a whole where the cache holds them all."""
    elsewhere = [file for file in cast(Sequence[Any], files) if isinstance(file, RemoteFile)]
    if not elsewhere:
        return map(look, files)
    whole = fit_together(elsewhere)
    most = FETCHED_AT_ONCE if whole else LOOKED_AT_ONCE
    for file in elsewhere:
        file.whole, file.others = whole, min(most, len(files)) - 1
    return at_once(look, files, most)


def _digest(*key: object) -> str:
    text = "\0".join(map(str, (VERSION, *key)))
    return sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:20]


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def _stamp(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return _GONE
    return status.st_size, status.st_mtime_ns


def _read(path: Path, count: int) -> dict[int, Part]:
    """The parts of an index by number; nothing where it is not there, damaged, or of other files."""
    try:
        arrays = read_archive(path)
        lengths = {name: arrays.pop(f"{name} lengths") for name in list(arrays) if not name.endswith(" lengths")}
        parts: list[Part] = [{} for _ in range(count)]
        for name, array in arrays.items():
            for part, piece in zip(parts, np.split(array, np.cumsum(lengths[name])[:-1]), strict=True):
                part[name] = piece
        return {i: part for i, part in enumerate(parts) if _STAMP in part and len(part[_STAMP])}
    except NO_ARCHIVE:
        return {}


def _write(path: Path, parts: Sequence[Part | None], stamps: Sequence[tuple[int, int]]) -> None:
    """Keep an index; where that fails, the next stage looks again."""
    names = next(part for part in parts if part is not None)
    arrays: dict[str, np.ndarray] = {}
    whole = [
        None if part is None else {**part, _STAMP: np.array(s, np.int64)} for part, s in zip(parts, stamps, strict=True)
    ]
    for name in [*names, _STAMP]:
        pieces = [part[name] for part in whole if part is not None]
        arrays[name] = np.concatenate(pieces)
        arrays[f"{name} lengths"] = np.array([0 if part is None else len(part[name]) for part in whole])
    keep_archive(path, **arrays)


def pack(texts: Sequence[str]) -> np.ndarray:
    """Texts without zero bytes as one array, for an index."""
    return np.frombuffer(
        "".join(text.replace("\0", " ") + "\0" for text in texts).encode("utf-8", "surrogatepass"), np.uint8
    )


def unpack(packed: np.ndarray) -> list[str]:
    """The texts of `pack`."""
    return packed.tobytes().decode("utf-8", "surrogatepass").split("\0")[:-1]
