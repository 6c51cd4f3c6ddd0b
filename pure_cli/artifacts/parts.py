"""Parts of a stage's work: the files in ``parts/``, one for each part, which `merge` puts together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike

from pure_cli.config import fingerprint
from pure_cli.core.merging import ARRAYS, AT_ONCE
from pure_cli.core.parts import Part
from pure_cli.core.references import TopImages
from pure_cli.errors import UnreadableFile
from pure_cli.files import TEMPORARY, write_whole
from pure_cli.workspace import PARTS, Store, read_texts, write_array, write_texts

HEADER = "header"
LAYERS = "layers"
ROWS = "rows"
BLOCK = 1 << 16  # bytes of rows that are written together
_BEST = np.dtype([("value", "f4"), ("image", "i8"), ("position", "i4"), ("mean", "f4")])
_headers: dict[tuple[str, int, int, int], PartHeader] = {}
OWN = ("stage", "start", "stop", "total", "batch_size", "threads", "what", "more")  # of a header, as it is written
_KEY = 8  # letters of it in the name of a file


class PartStore(Store):
    """The folder of a workspace's parts."""

    def __init__(self, workspace: Store):
        super().__init__(workspace.root / PARTS)

    def remake(self, name: str) -> str:
        return "Run its --part again."


@dataclass(frozen=True)
class PartHeader:
    """What is known of a part without its arrays.

    Attributes
    ----------
    stage : whose work it is
    part : which one
    start, stop : its places among `total`, of images
    batch_size : images that were computed at once
    threads : of torch, that an operation was shared among on a CPU; 0 on other devices
    what : what the work is, the same for all parts of it; JSON-like
    more : what only this part knows; JSON-like
    """

    stage: str
    part: Part
    start: int
    stop: int
    total: int
    batch_size: int
    threads: int
    what: dict[str, Any]
    more: dict[str, Any]

    @cached_property
    def key(self) -> str:
        """The same for parts of the same work."""
        return fingerprint(self.what)

    @property
    def name(self) -> str:
        """Of its file, without the ending."""
        return f"{self.stage}-{self.key[:_KEY]}-{self.part.file_name}"

    @property
    def range(self) -> tuple[int, int]:
        return self.start, self.stop


def write_part(store: Store, header: PartHeader, write: Callable[[h5py.File], None]) -> None:
    """Write a part; one that is there is replaced, and what a killed process left of it goes.

    Parameters
    ----------
    store : the workspace
    write : puts the arrays into the file
    """
    for left in (store.root / PARTS).glob(f".{header.name}.h5-*{TEMPORARY}"):
        left.unlink(missing_ok=True)
    own = {name: getattr(header, name) for name in OWN}
    with PartStore(store).replace(header.name) as file:
        write(file)
        text = json.dumps({**own, "part": [header.part.count, header.part.number]}, default=str)
        write_texts(file, HEADER, [text])


def _header(parts: PartStore, path: Path) -> PartHeader:
    """Of a file, read once as it is on the disk: a thousand of them are looked at more than once."""
    status = path.stat()
    state = str(path.absolute()), status.st_ino, status.st_size, status.st_mtime_ns
    if state not in _headers:
        with parts.read(path.stem) as file:
            own = json.loads(read_texts(file[HEADER])[0])
        count, number = own.pop("part")
        _headers[state] = PartHeader(part=Part(count, number), **own)
    return _headers[state]


def read_headers(store: Store, stage: str, whole_ones: bool = False) -> list[PartHeader]:
    """Of all parts of a stage, in the order of the images.

    Parameters
    ----------
    whole_ones : leave out those that are damaged, which are to be made again

    Raises
    ------
    PureError
        One of them is damaged.
    """
    found = []
    for path in _files(store, stage):
        with suppress(UnreadableFile) if whole_ones else nullcontext():
            found.append(_header(PartStore(store), path))
    return sorted(found, key=lambda header: (header.start, header.stop, header.part))


def find_part(store: Store, stage: str, part: Part) -> PartHeader | None:
    """A part of a stage, if it is there and can be read; of several the last by name."""
    found = None
    for path in _files(store, stage):
        if path.stem.endswith(f"-{part.file_name}"):
            with suppress(UnreadableFile):
                found = _header(PartStore(store), path)
    return found


def has_parts(store: Store, stage: str) -> bool:
    return bool(_files(store, stage))


@contextmanager
def open_part(store: Store, header: PartHeader) -> Iterator[h5py.File]:
    with PartStore(store).read(header.name) as file:
        yield file


def drop_parts(store: Store, stage: str, key: str = "") -> None:
    """Remove what is together now, or is to be made anew.

    Parameters
    ----------
    key : of the work; "" for all of the stage
    """
    beginning = f"{stage}-{key[:_KEY]}"
    for path in _files(store, beginning):
        path.unlink(missing_ok=True)
    for left in (store.root / PARTS).glob(f".{beginning}*{TEMPORARY}"):
        left.unlink(missing_ok=True)
    with suppress(OSError):
        (store.root / PARTS).rmdir()


def part_files(store: Store, stages: Sequence[str]) -> list[Path]:
    """The files of the parts of some stages."""
    return [path for stage in stages for path in _files(store, f"{stage}-")]


def keep_part(store: Store, name: str, content: bytes) -> None:
    """Put a part that was made in another workspace into this one, as a whole.

    Parameters
    ----------
    name : of its file
    """
    parts = PartStore(store)
    parts.prepare()
    write_whole(parts.root / name, content)


def write_best(file: h5py.File, layer: str, top: TopImages) -> None:
    """The best images of a layer, of which the first places of all rows are read without the others."""
    neurons, places = top.image.shape
    content = np.empty((neurons, places), _BEST)
    for name in ARRAYS:
        content[name] = getattr(top, name)
    if content.size == 0:
        write_array(file, f"{LAYERS}/{layer}", content)
        return
    chunks = neurons, min(AT_ONCE, places)
    file.create_dataset(f"{LAYERS}/{layer}", data=content, chunks=chunks, fletcher32=True)


def read_best(dataset: h5py.Dataset, start: int, stop: int) -> TopImages:
    """The places ``start:stop`` of what `write_best` wrote."""
    content = dataset[:, start:stop]
    return TopImages(*(np.ascontiguousarray(content[name]) for name in ARRAYS))


def write_rows(
    file: h5py.File, name: str, rows: Iterator[np.ndarray], shape: tuple[int, ...], dtype: DTypeLike
) -> None:
    """Rows of a part that come in pieces."""
    empty = 0 in shape
    dataset = file.create_dataset(f"{ROWS}/{name}", shape, dtype, **({} if empty else _in_blocks(shape, dtype)))
    start = 0
    for piece in rows:
        dataset[start : start + len(piece)] = piece
        start += len(piece)


def _in_blocks(shape: tuple[int, ...], dtype: DTypeLike) -> dict[str, Any]:
    """How a data set is laid out that is written and read row after row."""
    width = int(np.prod(shape[1:], dtype=np.int64)) * np.dtype(dtype).itemsize
    return {"chunks": (max(1, min(shape[0], BLOCK // width)), *shape[1:]), "fletcher32": True}


def _files(store: Store, beginning: str) -> list[Path]:
    return sorted((store.root / PARTS).glob(f"{beginning}*-of-*.h5"))
