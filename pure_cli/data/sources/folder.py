"""A folder: each folder in it that holds an image, at any depth, is a class; images directly in it have no label.

A folder that all images are in, in folders of it, is no class: those folders are.
"""

import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np

from pure_cli.data.cache import Cache
from pure_cli.data.labels import UNKNOWN_LABEL, numbering
from pure_cli.data.long_lists import LongTable, in_parts
from pure_cli.data.no_classes import FOLDERS_OF_TWINS, Twins, no_classes
from pure_cli.data.place import Place, no_splits, pick_split, unreadable
from pure_cli.data.remote_reading import OfFolder, RemoteItems
from pure_cli.data.rest import Rest
from pure_cli.data.source import EXTENSIONS, MISSING_SIZE, NO_TIME, Files, Items
from pure_cli.data.synsets import readable_names
from pure_cli.errors import PureError
from pure_cli.remote.files import RemoteFile, version_of
from pure_cli.words import printable

DEEPEST = 100  # folders in each other: more are links that go round
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


class Folder:
    """Class folders and flat folders."""

    name = "a folder of images"
    has_splits = True
    by_url = True
    order = 91  # it claims every folder

    def claims(self, place: Place) -> bool:
        return place.is_folder

    def list(self, place: Place, cache: Cache) -> Items:
        splits = _splits(place)
        inner = place if splits else _descended(place)
        if inner is not place:
            splits = _splits(inner) or _flat_splits(inner)
        if place.split is not None and not splits:
            raise no_splits(place)
        chosen = inner.inside(pick_split(place, splits)) if splits else inner
        root = chosen.path
        table, seen = LongTable(3, cache.folder), {"": UNKNOWN_LABEL}
        rest, twins = Rest(), Twins()
        for path, size, time in _listed(chosen, rest) if place.url else _scan(root, rest):
            name = path.partition("/")[0] if "/" in path else ""
            table.add(path, size, time, seen.setdefault(name, len(seen) - 1))
            if name and len(seen) <= FOLDERS_OF_TWINS:
                twins.add(name, path)
        position, codes, order = numbering(seen.keys() - {""})
        labels = table.numbers(2)
        in_order = np.array([*(position[name] for name in seen if name), UNKNOWN_LABEL])  # that of -1 is the last
        for part in in_parts(labels):
            part[:] = in_order[part]
        names = readable_names(root, codes)
        paths, sizes, times = table.texts(), table.numbers(0), table.numbers(1)
        known = codes if names else ()
        notes = [*_of_descent(place, inner), *rest.notes(seen), *no_classes(root, seen.keys() - {""}, twins)]
        read, versioned = _elsewhere(chosen, paths, sizes) if place.url else (Files(root, paths), False)
        return Items(
            root, paths, read, labels, names or codes, sizes, codes=known, times=times, order=order,
            versioned=versioned, notes=notes, unlabelled="lie in no class folder and have no label",
        )  # fmt: skip


def _splits(place: Place) -> list[str]:
    """The folders train, val, test where they have classes in common that no other folder has, or where one has class
    folders and another is flat; or all of them, where one is asked for."""
    there = [name for name in SPLITS if name in place.folders]
    if place.split in there:
        return there
    inside = {name: place.inside(name).folders for name in place.folders}
    shared = {a for one in there for other in there if one != other for a in inside[one] & inside[other]}
    elsewhere = any(shared & inside[name] for name in place.folders if name not in there)
    flat = any(inside[name] for name in there) and not all(inside[name] for name in there)
    return there if len(there) >= 2 and (flat or (shared and not elsewhere)) else []


def _flat_splits(place: Place) -> list[str]:
    """The folders train, val, test, where no other one holds an image: below a folder that is no class, neither are
    they."""
    holding = _holding(place, len(SPLITS) + 1)
    return [name for name in SPLITS if name in holding] if len(holding) > 1 and set(holding) <= set(SPLITS) else []


def _descended(place: Place) -> Place:
    """The folder below, at any depth, that all images are in, if they are in folders of it; else the place itself."""
    inner, end = place, place
    for _ in range(DEEPEST):
        if _has_image(inner) or len(holding := _holding(inner, 2)) != 1:
            return end
        inner = inner.inside(holding[0])
        end = inner if _holding(inner, 2)[1:] and not _has_image(inner) else end
    return place


def _of_descent(place: Place, inner: Place) -> list[str]:
    if inner is place:
        return []
    between = inner.path.relative_to(place.path).as_posix()
    return [f"All images are in '{printable(between)}', which was taken for no class."]


def _holding(place: Place, most: int) -> list[str]:
    """The first folders of a place that hold an image, at any depth."""
    return list(itertools.islice((name for name in sorted(place.folders) if _holds(place.inside(name))), most))


def _holds(place: Place) -> bool:
    """Whether there is an image in a folder, at any depth."""
    if place.below is not None:
        return any(name.lower().endswith(EXTENSIONS) for name in place.below)
    waiting, seen = [place.path], set()
    while waiting:
        one = waiting.pop()
        with suppress(OSError):  # the scan says so
            real = one.resolve()
            if real in seen:
                continue
            seen.add(real)
            if _has_image(Place(str(one), one)):
                return True
            waiting += [one / name for name in sorted(Place(str(one), one).folders, reverse=True)]
    return False


def _has_image(place: Place) -> bool:
    """Whether there is an image directly in a folder."""
    if place.below is not None:
        return any("/" not in name and name.lower().endswith(EXTENSIONS) for name in place.below)
    try:
        with os.scandir(place.path) as entries:
            return any(
                entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith(".") and not _is_folder(entry)
                for entry in entries
            )
    except OSError:
        return False


_Found = tuple[str, int, int]  # path, or name; bytes; time of the last change


def _listed(place: Place, rest: Rest) -> Iterator[_Found]:
    """All images below a folder elsewhere, as `_scan` has them."""
    found = False
    below = place.below or {}
    for name in {name.partition("/")[0] for name in below if "/" in name}:
        rest.open(name)
    for name in sorted(below):
        top, slash, _ = name.partition("/")
        if name.lower().endswith(EXTENSIONS):
            found = True
            yield name, below[name].size, version_of(below[name])
        else:
            rest.add(name.rpartition("/")[2], top if slash else "")
    if not found:
        raise _without_image(place.text, rest)


def _elsewhere(place: Place, paths: Sequence[str], sizes: np.ndarray) -> tuple[RemoteItems, bool]:
    """Who reads the images of a folder elsewhere, and whether the storage says what changes with their content."""
    entries = [(place.below or {})[path] for path in paths]
    folder = cast(RemoteFile, place.path)
    return RemoteItems(OfFolder(folder, paths, entries), sizes), all(entry.mark for entry in entries)


def _scan(root: Path, rest: Rest) -> Iterator[_Found]:
    """All images below a folder, sorted by path. Links are followed, but not into a folder above.

    One folder at a time is in memory. The names of folders sort as if with the slash that follows them in a path.
    """
    count = 0
    waiting: list[tuple[str, frozenset[tuple[int, int]]] | list[_Found]] = [("", frozenset())]
    while waiting:
        step = waiting.pop()
        if isinstance(step, list):
            count += len(step)
            yield from step
            continue
        prefix, above = step
        folder = str(root / prefix[:-1])
        try:
            status = os.stat(folder)  # noqa: PTH116 (a Path for each folder and file takes longer than the scan)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            found = list(_entries(folder, prefix, rest))
        except OSError as error:
            raise unreadable(folder, error) from error
        found.sort()
        run: list[_Found] = []
        steps: list[tuple[str, frozenset[tuple[int, int]]] | list[_Found]] = [run]
        for one in found:
            if one[0].endswith("/"):
                run = []
                steps += [(one[0], above | {identity}), run]
            else:
                run.append(one)
        waiting += [step for step in reversed(steps) if step]
    if not count:
        raise _without_image(root, rest)


def _without_image(root: Path | str, rest: Rest) -> PureError:
    return PureError(
        f"There is no image in '{root}': {rest.holds()}. Images end in {', '.join(EXTENSIONS)}.{rest.conversion()}"
    )


def _entries(folder: str, prefix: str, rest: Rest) -> Iterator[_Found]:
    """The images in a folder, and the folders, which end in a slash; what else is there is counted."""
    top, _, deeper = prefix.partition("/")
    if top and not deeper:
        rest.open(top)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                yield f"{prefix}{entry.name}/", 0, 0
            elif entry.name.lower().endswith(EXTENSIONS):
                status = _entry_status(entry)
                if status is not None:
                    yield prefix + entry.name, *status
            else:
                rest.add(entry.name, top)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _entry_status(entry: os.DirEntry[str]) -> tuple[int, int] | None:
    """Bytes and time of a file, -1 for a link that leads nowhere, None for what is no file (a pipe, a socket)."""
    try:
        status = entry.stat()
    except OSError:
        return MISSING_SIZE, NO_TIME
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


SOURCE = Folder()
