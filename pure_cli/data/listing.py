"""From ``--data`` to the images that it names, by index.

Light on purpose: no torch and no PIL, so that ``pure info`` and an up-to-date stage can check a data set at once.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from pure_cli.data.cache import Cache
from pure_cli.data.labels import UNKNOWN_LABEL
from pure_cli.data.long_lists import ROWS, in_parts, joined_numbers
from pure_cli.data.place import Place, find_place, no_splits
from pure_cli.data.registry import source_of
from pure_cli.data.source import NO_TIME, Items, Raw, Source
from pure_cli.errors import PureError

TEXTS = 100_000  # that are hashed at a time
NO_SIZE = 0  # of all items of a source that tells a change in another way


@dataclass(frozen=True, eq=False)
class Listing:
    """The images of a data set, and which of them are in use.

    Attributes
    ----------
    root : absolute folder that the paths are relative to
    paths : N POSIX paths, relative to `root`; those that a list names outside of it are absolute. Of items that are no
        files, names that begin with the file that they are in.
    labels : (N,) int64, -1 where unknown
    names : class names, ``names[label]``; empty where there are none (integer labels of a list, flat folder)
    sizes : (N,) int64, in bytes; -1 for a listed file that is not there
    times : (N,) int64, of the last change, in nanoseconds; -1 for a listed file that is not there, and for items that
        are no files
    index : (M,) int64, ascending: the data-set indices in use. An index means the same image whatever the limit.
    read : gives the raw image of a data-set index; `pure_cli.data.decode` makes pixels of it
    data : what ``--data`` said, absolute, or a name that goes on to mean the same images
    identity : tells a change that sizes do not
    codes : of the classes, where the names stand for codes
    order : how class names were numbered, where the data does not say it (`pure_cli.data.labels`)
    versioned : whether the times are numbers that change with the content alone: another one is another image
    notes : sentences on what was left out, and on what was guessed
    starts : as of `pure_cli.data.source.Items`
    """

    root: Path
    paths: Sequence[str]
    labels: np.ndarray
    names: tuple[str, ...]
    sizes: np.ndarray
    times: np.ndarray
    index: np.ndarray
    read: Callable[[int], Raw]
    data: str = ""
    identity: str = ""
    codes: tuple[str, ...] = ()
    order: str = ""
    versioned: bool = False
    notes: tuple[str, ...] = ()
    starts: Sequence[int] | np.ndarray = ()

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of paths, sizes, labels, classes, index and identity; not of `root`: a data set may move."""
        parts: list[Callable[[], Iterable[bytes]]] = [
            lambda: _blocks(self.paths),
            lambda: _bytes(self.sizes),
            lambda: _bytes(self.labels),
            lambda: _blocks(self.codes or self.names),
            lambda: _bytes(self.index),
        ]
        digest = sha256()
        for part in [*parts, lambda: [self.identity.encode()]] if self.identity else parts:
            digest.update(sum(map(len, part())).to_bytes(8, "little"))
            for block in part():
                digest.update(block)
        return digest.hexdigest()

    @cached_property
    def times_fingerprint(self) -> str:
        """SHA-256 (hex) of the times."""
        digest = sha256()
        for block in _bytes(self.times):
            digest.update(block)
        return digest.hexdigest()

    def path(self, i: int) -> Path:
        """The file of data-set index `i`, in a data set of files."""
        return self.root / self.paths[i]

    def place(self, i: int) -> str:
        """Where data-set index `i` is, in words for the user."""
        return str(self.path(i))


def list_images(path: str | os.PathLike[str], limit: int | None = None, cache: Path | None = None) -> Listing:
    """List the images that `path` names.

    Parameters
    ----------
    path
        A folder, a list of files, tar shards, …: whatever one of the sources reads (`pure_cli.data.registry`). A split
        of it may follow after ``#``.
    limit
        Use this many images only, spread evenly over the listing, so that every class has its share.
    cache
        Folder for what takes long to find out (where the images in a tar begin), so that the next call need not.

    Raises
    ------
    PureError
        No such path, nothing to read in it, no permission, a list that is no list, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise PureError(f"--limit is a number of images, 1 or more, and not {limit}.")
    place = find_place(path)
    source = source_of(place)
    if place.split is not None and not source.has_splits:
        raise no_splits(place)
    items = source.list(place, Cache(cache))
    _check(items, source, place)
    count = len(items.paths)
    chosen = min(limit or count, count)
    labels = _numbers(items.labels, count, UNKNOWN_LABEL)
    return Listing(
        root=items.root,
        paths=tuple(items.paths) if isinstance(items.paths, list) else items.paths,
        labels=labels,
        names=tuple(items.names),
        sizes=_numbers(items.sizes, count, NO_SIZE),
        times=_numbers(items.times, count, NO_TIME),
        index=joined_numbers((at * count // chosen for at in _ranges(chosen)), cache),
        read=items.read,
        data=items.data or place.text,
        identity=items.identity,
        codes=tuple(items.codes),
        order=items.order,
        versioned=items.versioned,
        notes=(*items.notes, *_of_unlabelled(labels, items)),
        starts=items.starts,
    )


def _numbers(values: Sequence[int] | np.ndarray | None, count: int, usual: int) -> np.ndarray:
    """(N,) int64; what is the same for all of them takes no memory."""
    return np.broadcast_to(np.int64(usual), count) if values is None else np.asanyarray(values, dtype=np.int64)


def _of_unlabelled(labels: np.ndarray, items: Items) -> list[str]:
    """A sentence on the images without a label, where others have one."""
    if items.labels is None:
        return []
    without = sum(int((part == UNKNOWN_LABEL).sum()) for part in in_parts(labels))
    return [f"{without:,} of the {len(labels):,} images {items.unlabelled}."] if 0 < without < len(labels) else []


def _ranges(count: int) -> Iterator[np.ndarray]:
    return (np.arange(start, min(start + ROWS, count), dtype=np.int64) for start in range(0, count, ROWS))


def _check(items: Items, source: Source, place: Place) -> None:
    """What a source of one's own may have got wrong.

    Raises
    ------
    PureError
        No items, or labels or sizes that do not fit them.
    """
    count = len(items.paths)
    if not count:
        raise PureError(f"There is no image in '{place.text}', read as {source.name}.")
    for what, values in (("labels", items.labels), ("sizes", items.sizes), ("times", items.times)):
        if values is not None and len(values) != count:
            raise PureError(f"'{place.text}', read as {source.name}, has {count} images and {len(values)} {what}.")
    if items.labels is None:
        return
    labels = np.asanyarray(items.labels)
    if labels.dtype.kind not in "iub" or min(part.min() for part in in_parts(labels)) < UNKNOWN_LABEL:
        raise PureError(f"'{place.text}', read as {source.name}, has labels that are no whole numbers from -1 up.")
    top = max(int(part.max()) for part in in_parts(labels))
    if items.names and top >= len(items.names):
        raise PureError(f"'{place.text}' has a label {top}, and names for the classes 0 to {len(items.names) - 1}.")


def _bytes(values: np.ndarray) -> Iterator[bytes]:
    return (part.astype("<i8").tobytes() for part in in_parts(values))


def _blocks(texts: Sequence[str]) -> Iterator[bytes]:
    """Texts with a zero between any two, in blocks: the whole of them would take half a gigabyte for ten million."""
    for start in range(0, len(texts), TEXTS):
        text = "\0".join(texts[start : start + TEXTS])
        if start:
            text = f"\0{text}"
        yield text.encode("utf-8", errors="surrogatepass")  # a file's name need not be valid Unicode
