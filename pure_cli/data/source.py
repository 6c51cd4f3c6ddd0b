"""What a source of images is: the protocol that each file of `pure_cli.data.sources` meets, and that yours can.

Light on purpose: no torch and no PIL, so that ``pure info`` and an up-to-date stage can check a data set at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pure_cli.data.cache import Cache
from pure_cli.data.place import Place

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".hif"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".mpo", ".apng", ".qoi"),
    *(".tga", ".pcx", ".sgi", ".ico", ".dds", ".ras"),
)
MISSING_SIZE = -1  # of a file that is listed and is not there
NO_TIME = -1  # of the last change of such a file, or of what is no file

Raw = Path | bytes | np.ndarray
"""An image before it is decoded: an image file, its content, or pixels (H, W) or (H, W, 1, 3 or 4) uint8."""


def expecting(read: Callable[[int], Any], index: np.ndarray) -> None:
    """Tell who reads items which of them a pass is over, in this order."""
    if hasattr(read, "expect"):
        read.expect(index)


def reading_ahead(read: Callable[[int], Any], index: Sequence[int] | np.ndarray) -> None:
    """Tell who reads items which few of them are read next."""
    if hasattr(read, "ahead"):
        read.ahead(index)


class DamagedImage(Exception):
    """An item that gives no image; `reason` says why in a few words ("cut short", "no such file")."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Items:
    """What a source found: N items, in an order that stays the same.

    Attributes
    ----------
    root : absolute folder that the names are relative to
    paths : N names, which say where below `root` an item is ("cat/1.jpg", "shard-0.tar:1.jpg", "digits.npz:1")
    read : gives item i, raw; called in several processes, so that it must not share an open file with another one
        (`pure_cli.data.handles`); raises `DamagedImage` where there is no image. It may have methods ``expect(index)``,
        called before a pass over some items, and ``ahead(index)``, called before those few are read
    labels : N numbers, -1 where unknown; None where there are none
    names : class names, ``names[label]``; empty where there are none
    sizes : N sizes in bytes, so that a change is noticed; None where `identity` does that
    identity : changes when the content does
    codes : for class names that stand for codes (WordNet ids), the codes
    times : N times of the last change in nanoseconds, for items that are files, -1 where one is not there; None where
        there are none
    order : how class names were numbered, where the data does not say it (`pure_cli.data.labels`)
    versioned : whether the times are no times but numbers that change with the content alone, as an ETag does
    notes : sentences on what was left out, and on what was guessed
    unlabelled : what the images without a label do, in words
    starts : ascending, the items with which files of several begin, or else what is read at once; none where each item
        is by itself
    data : a name of exactly these, which goes on to mean them; "" for that which ``--data`` said
    """

    root: Path
    paths: Sequence[str]
    read: Callable[[int], Raw]
    labels: Sequence[int] | np.ndarray | None = None
    names: Sequence[str] = ()
    sizes: Sequence[int] | np.ndarray | None = None
    identity: str = ""
    codes: Sequence[str] = ()
    times: Sequence[int] | np.ndarray | None = None
    order: str = ""
    versioned: bool = False
    notes: Sequence[str] = ()
    unlabelled: str = "have no label"
    starts: Sequence[int] | np.ndarray = ()
    data: str = ""


@runtime_checkable
class Source(Protocol):
    """A kind of data set.

    Those with a smaller `order`, if they have one, are asked first; without one, a source is asked before all that have
    one.

    Attributes
    ----------
    name : for messages, in the words of the user ("a folder of images")
    has_splits : whether ``--data PLACE#SPLIT`` means something to it

    With an attribute `by_url` that is true, it is asked about URLs, too: what it is given then is `RemoteFile`.
    """

    name: str
    has_splits: bool

    def claims(self, place: Place) -> bool:
        """Whether this source reads what lies there; at a glance, for every source may be asked."""

    def list(self, place: Place, cache: Cache) -> Items:
        """The items there.

        Parameters
        ----------
        place : one that `claims` said yes to
        cache : keeps what took long to find out beside the workspace

        Raises
        ------
        PureError
            It cannot be read: what is wrong, and what to do.
        """


@dataclass(frozen=True)
class Files:
    """Reads items that are files."""

    root: Path
    paths: Sequence[str]

    def __call__(self, i: int) -> Path:
        return self.root / self.paths[i]
