"""Where the pass over the images stands, kept in the workspace so that a killed one continues."""

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli.core.bands import without_bands
from pure_cli.core.references import TopImages
from pure_cli.errors import PureError
from pure_cli.files import NO_ARCHIVE, disk_errors, read_archive, write_whole
from pure_cli.workspace import PARTIAL, Store, read_texts, write_array, write_texts

COLLECT, STATE = "collect", "state"
TOP = ("value", "image", "position", "mean")
CONTENT = "content"  # file with a number for each image that was seen, which grows at its end
_PART = 1 << 18  # bytes of it that are read at a time
_DTYPE = np.dtype("<u4")


class Checkpoint:
    """State of an unfinished pass; empty where there is none for the same work.

    Parameters
    ----------
    store : the workspace
    key : fingerprint of the work
    name : of its folder among unfinished work

    Attributes
    ----------
    tops : layer to its best images so far, and to a sample of them where there are to be bands
    damaged : (index, path, reason) of images that could not be read
    next_chunk : chunks of images that are done
    broken : (b,) int64, data-set indices of images that gave activations that are not finite numbers, ascending
    batch_size : images to a chunk
    """

    def __init__(self, store: Store, key: str, name: str = COLLECT):
        self.tops: dict[str, TopImages] = {}
        self.damaged: list[tuple[int, str, str]] = []
        self.broken = np.zeros(0, np.int64)
        self.next_chunk = self.batch_size = 0
        self._key = key
        self._store = _place(store, name)
        self._content, self._content_size, self._content_crc = b"", 0, 0
        with suppress(PureError), self._store.read(STATE) as file:
            if file.attrs["key"] != key:
                return
            tops = {name: TopImages(*(group[part][:] for part in TOP)) for name, group in file["layers"].items()}
            damaged = [tuple(entry) for entry in json.loads(read_texts(file["damaged"])[0])]
            size, crc = (int(number) for number in file.attrs["content"])
            if _crc(self._parts(size)) != crc:
                return
            self._content_size, self._content_crc = size, crc
            self.next_chunk, self.broken = int(file.attrs["next_chunk"]), file["broken"][:]
            self.tops, self.damaged = tops, damaged

    @staticmethod
    def layers(store: Store) -> set[str]:
        """The layers of an unfinished pass, whatever it was made from."""
        with suppress(PureError), _place(store).read(STATE) as file:
            return set(without_bands(file["layers"]))
        return set()

    @staticmethod
    def batch_size_of(store: Store, name: str = COLLECT) -> int:
        """Images to a chunk of an unfinished pass, whatever it was made from; 0 where there is none."""
        with suppress(PureError), _place(store, name).read(STATE) as file:
            return int(file.attrs.get("batch_size", 0))
        return 0

    def add_content(self, content: np.ndarray) -> None:
        """What was in the images of the next chunk: (B,) uint32."""
        self._content += content.astype(_DTYPE).tobytes()

    def content(self) -> Iterator[np.ndarray]:
        """What was in all images so far: uint32, in parts that are the same however often the process was killed."""
        return in_even_parts(chain(self._parts(self._content_size), [self._content]))

    def _parts(self, size: int) -> Iterator[bytes]:
        """The beginning of the file."""
        if not size:
            return
        with self._content_path.open("rb") as file:
            for start in range(0, size, _PART):
                yield file.read(min(_PART, size - start))

    @property
    def _content_path(self) -> Path:
        return self._store.root / CONTENT

    def _save_content(self) -> None:
        """Before the state that says how much of it counts."""
        self._store.prepare()
        with disk_errors(self._content_path):
            self._content_path.touch()
            with self._content_path.open("r+b") as file:
                file.seek(self._content_size)
                file.write(self._content)
                file.flush()
                os.fsync(file.fileno())
        self._content_crc = zlib.crc32(self._content, self._content_crc)
        self._content_size += len(self._content)
        self._content = b""

    def save(self) -> None:
        self._save_content()
        with self._store.replace(STATE) as file:
            file.attrs["content"] = [self._content_size, self._content_crc]
            file.attrs["key"], file.attrs["next_chunk"] = self._key, self.next_chunk
            file.attrs["batch_size"] = self.batch_size
            write_array(file, "broken", self.broken)
            write_texts(file, "damaged", [json.dumps(self.damaged)])
            file.create_group("layers")
            for name, top in self.tops.items():
                for part in TOP:
                    write_array(file, f"layers/{name}/{part}", getattr(top, part))


def in_even_parts(blocks: Iterable[bytes]) -> Iterator[np.ndarray]:
    """What was in images, uint32, in parts that are the same however it comes."""
    waiting = b""
    for block in blocks:
        waiting += block
        while len(waiting) >= _PART:
            yield np.frombuffer(waiting[:_PART], _DTYPE)
            waiting = waiting[_PART:]
    if waiting:
        yield np.frombuffer(waiting, _DTYPE)


class ArrayCheckpoint:
    """Arrays of an unfinished pass, by name.

    Parameters
    ----------
    store : the workspace
    stage : whose pass it is
    key : fingerprint of the work
    """

    def __init__(self, store: Store, stage: str, key: str):
        self._store, self._stage, self._key = store, stage, key

    def read(self) -> dict[str, np.ndarray]:
        """What was saved last; nothing where there is none of the same work."""
        with suppress(*NO_ARCHIVE):
            arrays = read_archive(self._path)
            if str(arrays.pop("key")) == self._key:
                return arrays
        return {}

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        buffer = BytesIO()
        named: dict[str, Any] = {**arrays, "key": np.array(self._key)}
        np.savez(buffer, **named)
        self._store.partial(self._stage)
        write_whole(self._path, buffer.getvalue())

    def drop(self) -> None:
        self._store.drop_partial(self._stage)

    @property
    def _path(self) -> Path:
        return self._store.root / PARTIAL / self._stage / f"{STATE}.npz"


def _crc(parts: Iterator[bytes]) -> int:
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def _place(store: Store, name: str = COLLECT) -> Store:
    return Store(store.root / PARTIAL / name)
