"""A folder: each folder in it that holds an image, at any depth, is a class; images directly in it have no label."""

import os
import stat
from collections import Counter
from pathlib import Path

from pure_cli.data.cache import Cache
from pure_cli.data.labels import number
from pure_cli.data.place import Place, no_splits, pick_split, unreadable
from pure_cli.data.source import EXTENSIONS, MISSING_SIZE, Files, Items
from pure_cli.data.synsets import readable_names
from pure_cli.errors import PureError

SPLITS = (
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "dev",
    "test",
    "testing",
)  # names of folders that are no classes, side by side

_NAMED = 4  # kinds of other files that an error counts


class Folder:
    """Class folders and flat folders."""

    name = "a folder of images"
    has_splits = True

    def claims(self, place: Place) -> bool:
        return place.is_folder

    def list(self, place: Place, cache: Cache) -> Items:
        splits = _splits(place)
        if place.split is not None and not splits:
            raise no_splits(place)
        root = place.path / pick_split(place, splits) if splits else place.path
        paths, sizes = _scan(root)
        labels, codes = number([p.partition("/")[0] if "/" in p else "" for p in paths])
        names = readable_names(root, codes)
        return Items(
            root, paths, Files(root, tuple(paths)), labels, names or codes, sizes, codes=codes if names else ()
        )


def _splits(place: Place) -> list[str]:
    """The folders train, val, test where they have classes in common that no other folder has, or where one has class
    folders and another is flat; or all of them, where one is asked for."""
    there = [name for name in SPLITS if name in place.folders]
    if place.split in there:
        return there
    inside = {name: Place(str(place.path / name), place.path / name).folders for name in place.folders}
    shared = {a for one in there for other in there if one != other for a in inside[one] & inside[other]}
    elsewhere = any(shared & inside[name] for name in place.folders if name not in there)
    flat = any(inside[name] for name in there) and not all(inside[name] for name in there)
    return there if len(there) >= 2 and (flat or (shared and not elsewhere)) else []


def _scan(root: Path) -> tuple[list[str], list[int]]:
    """All images below a folder, sorted by path, and their sizes. Links are followed, but not into a folder above."""
    found: list[tuple[str, int]] = []
    others: Counter[str] = Counter()
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(str(root), "", frozenset())]
    while waiting:
        folder, prefix, above = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 (a Path for each folder and file takes longer than the scan)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            with os.scandir(folder) as entries:
                visible = [e for e in entries if not e.name.startswith(".")]
        except OSError as error:
            raise unreadable(folder, error) from error
        for entry in visible:
            if _is_folder(entry):
                waiting.append((entry.path, f"{prefix}{entry.name}/", above | {identity}))
            elif entry.name.lower().endswith(EXTENSIONS):
                size = _entry_size(entry)
                if size is not None:
                    found.append((prefix + entry.name, size))
            else:
                others[Path(entry.name).suffix.lower() or "without an ending"] += 1
    if not found:
        raise PureError(f"There is no image in '{root}': {_holds(others)}. Images end in {', '.join(EXTENSIONS)}.")
    found.sort()
    return [p for p, _ in found], [size for _, size in found]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _entry_size(entry: os.DirEntry[str]) -> int | None:
    """Bytes of a file, -1 for a link that leads nowhere, None for what is no file (a pipe, a socket)."""
    try:
        status = entry.stat()
    except OSError:
        return MISSING_SIZE
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _holds(others: Counter[str]) -> str:
    if not others:
        return "it is empty"
    counts = [f"{n} {kind}" for kind, n in others.most_common(_NAMED)]
    more = len(others) - len(counts)
    kinds = f" and {more} more kind{'s' if more > 1 else ''} of file" if more else ""
    return f"it holds {', '.join(counts)}{kinds}"
