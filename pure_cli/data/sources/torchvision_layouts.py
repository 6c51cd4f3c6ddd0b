"""The folders that torchvision's CIFAR10, CIFAR100, MNIST and FashionMNIST leave on disk. (That of its ImageNet is one
of class folders.) The splits are ``DIR#train`` and ``DIR#test``.

Random access: a CIFAR batch, 10,000 images in a pickle, is read as a whole, and each process keeps the last one;
MNIST's files are mapped into memory, the compressed ones after they were unpacked into the cache beside the workspace.
"""

import gzip
import io
import math
import pickle
import shutil
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pure_cli.data.cache import Cache, Part
from pure_cli.data.handles import Handles
from pure_cli.data.place import Place, pick_split, unreadable
from pure_cli.data.plain_pickle import load_plain
from pure_cli.data.source import DamagedImage, Items
from pure_cli.data.sources.arrays import Pixels
from pure_cli.errors import PureError, first_line

# --- CIFAR


@dataclass(frozen=True)
class _Layout:
    """Files of a CIFAR data set, and the keys in their pickles."""

    splits: dict[str, tuple[str, ...]]
    meta: str
    labels: str
    names: str


CIFAR = {
    "cifar-10-batches-py": _Layout(
        {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        *("batches.meta", "labels", "label_names"),
    ),
    "cifar-100-python": _Layout({"train": ("train",), "test": ("test",)}, "meta", "fine_labels", "fine_label_names"),
}


class Cifar:
    """CIFAR-10 and CIFAR-100."""

    name = "a folder of torchvision's CIFAR"
    has_splits = True
    order = 50

    def claims(self, place: Place) -> bool:
        return place.is_folder and bool(_cifar_folders(place))

    def list(self, place: Place, cache: Cache) -> Items:
        folder, layout = _only(place, _cifar_folders(place))
        there = {name: files for name, files in layout.splits.items() if (folder / files[0]).is_file()}
        if not there:
            raise PureError(f"'{folder}' has none of the batches of CIFAR. Fetch the data set again.")
        files = [folder / name for name in there[pick_split(place, list(there))]]
        parts = cache.parts(layout.labels, files, lambda file: _look(file, layout.labels))
        names = _unpickled(folder / layout.meta).get(layout.names, ())
        counts = [len(part["label"]) for part in parts]
        return Items(
            folder,
            [f"{file.name}:{i:05d}" for file, n in zip(files, counts, strict=True) for i in range(n)],
            _Batches(files, np.cumsum([0, *counts])),
            np.concatenate([part["label"] for part in parts]),
            tuple(map(str, names)),
            identity=" ".join(f"{part['crc'][0]:08x}" for part in parts),
        )


def _cifar_folders(place: Place) -> dict[Path, _Layout]:
    """The folder itself by its files, or those of the usual names in it."""
    for layout in CIFAR.values():
        files = {file for split in layout.splits.values() for file in split}
        if (place.path / layout.meta).is_file() and any((place.path / file).is_file() for file in files):
            return {place.path: layout}
    return {place.path / name: layout for name, layout in CIFAR.items() if name in place.folders}


def _unpickled(file: Path) -> dict[str, Any]:
    try:
        return _batch_of(file.read_bytes())
    except OSError as error:
        raise unreadable(file, error) from error
    except Exception as error:  # a broken pickle raises anything
        raise PureError(f"'{file}' is no batch of CIFAR ({first_line(error)}). Fetch the data set again.") from error


def _batch_of(content: bytes) -> dict[str, Any]:
    found = load_plain(io.BytesIO(content))
    if not isinstance(found, dict):
        raise pickle.UnpicklingError("it holds no table")
    return {key.decode() if isinstance(key, bytes) else key: value for key, value in found.items()}


def _look(file: Path, key: str) -> Part:
    """The labels of a batch, and what tells that it changed."""
    batch = _unpickled(file)
    try:
        labels = np.asarray(batch[key], np.int64)
        _images(batch, len(labels))
    except (KeyError, ValueError, TypeError) as error:
        raise PureError(f"'{file}' is no batch of CIFAR. Fetch the data set again.") from error
    return {"label": labels, "crc": np.array([_crc(batch["data"])], np.int64)}


def _images(batch: dict[str, Any], count: int) -> np.ndarray:
    data = batch["data"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        raise ValueError("no pixels")
    return data.reshape(count, 3, 32, 32).transpose(0, 2, 3, 1)


def _pixels(file: Path) -> np.ndarray:
    try:
        batch = _batch_of(file.read_bytes())
        return _images(batch, len(batch["data"]))
    except Exception as error:
        raise DamagedImage("the batch that it is in is damaged or gone") from error


class _Batches:
    """Reads images out of the batches."""

    def __init__(self, files: list[Path], first: np.ndarray) -> None:
        self._files, self._first = files, first
        self._batch = Handles(_pixels, most=1)

    def __call__(self, i: int) -> np.ndarray:
        batch = int(np.searchsorted(self._first, i, side="right")) - 1
        image: np.ndarray = self._batch(self._files[batch])[i - int(self._first[batch])]
        return image


# --- MNIST

MNIST_NAMES = {
    "MNIST": tuple("0123456789"),
    "FashionMNIST": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "KMNIST": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}
MNIST_SPLITS = {"train": "train", "test": "t10k"}  # and how their files begin

_UINT8 = 8  # the type of numbers in an IDX file


class Mnist:
    """MNIST, FashionMNIST, KMNIST."""

    name = "a folder of torchvision's MNIST"
    has_splits = True
    order = 51

    def claims(self, place: Place) -> bool:
        return place.is_folder and bool(_mnist_folders(place))

    def list(self, place: Place, cache: Cache) -> Items:
        folder, name = _only(place, _mnist_folders(place))
        there = [split for split, start in MNIST_SPLITS.items() if _idx(folder, f"{start}-images-idx3-ubyte")]
        split = pick_split(place, there)
        images, labels = (
            _idx(folder, f"{MNIST_SPLITS[split]}-{what}-ubyte") for what in ("images-idx3", "labels-idx1")
        )
        assert images is not None
        array = _read_idx(images, cache, 3)
        own = None if labels is None else np.array(_read_idx(labels, cache, 1), np.int64)
        return Items(
            folder,
            [f"{images.name}:{i:05d}" for i in range(len(array))],
            Pixels(_Idx(images, cache)),
            own,
            MNIST_NAMES.get(name, ()) if own is not None else (),
            identity=f"{_crc(array):08x}",
        )


def _mnist_folders(place: Place) -> dict[Path, str]:
    """Folders with the raw files, and the names of their data sets."""
    path = place.path
    if _has_raw(path):
        return {path: path.parent.name if path.name == "raw" else path.name}
    if "raw" in place.folders and _has_raw(path / "raw"):
        return {path / "raw": path.name}
    return {
        path / name / "raw": name for name in MNIST_NAMES if name in place.folders and _has_raw(path / name / "raw")
    }


def _has_raw(folder: Path) -> bool:
    return any(_idx(folder, f"{start}-images-idx3-ubyte") for start in MNIST_SPLITS.values())


def _idx(folder: Path, name: str) -> Path | None:
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


@dataclass(frozen=True)
class _Idx:
    """Maps the images of an IDX file."""

    file: Path
    cache: Cache

    def __call__(self) -> np.ndarray:
        try:
            return _read_idx(self.file, self.cache, 3)
        except PureError as error:
            raise DamagedImage("the file that it is in is damaged or gone") from error


def _read_idx(file: Path, cache: Cache, axes: int) -> np.ndarray:
    """The array (uint8) of an IDX file.

    Raises
    ------
    PureError
        It is none, or is cut short.
    """
    try:
        mapped: Any = file
        if file.suffix == ".gz":
            mapped = cache.unpacked(file, file.name, "", lambda out: _gunzip(file, out))
            mapped = mapped or gzip.decompress(file.read_bytes())
        content = np.frombuffer(mapped, np.uint8) if isinstance(mapped, bytes) else np.memmap(mapped, np.uint8, "r")
        zero, kind, depth, *shape = struct.unpack(f">HBB{axes}I", content[: 4 + 4 * axes].tobytes())
        if (zero, kind, depth) != (0, _UINT8, axes) or math.prod(shape) > len(content) - 4 - 4 * axes:
            raise ValueError("cut short, or another kind of file")
        return content[4 + 4 * axes :][: math.prod(shape)].reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise PureError(f"'{file}' is damaged ({first_line(error)}). Fetch the data set again.") from error


def _gunzip(file: Path, out: BinaryIO) -> None:
    with gzip.open(file) as packed:
        shutil.copyfileobj(packed, out, 1 << 20)


def _crc(array: np.ndarray) -> int:
    return zlib.crc32(array.tobytes())


def _only(place: Place, found: dict[Path, Any]) -> tuple[Path, Any]:
    if len(found) > 1:
        ways = " or ".join(f"'{path}'" for path in found)
        raise PureError(f"'{place.path}' holds several data sets. Pass {ways} with --data.")
    return next(iter(found.items()))


SOURCE = (Cifar(), Mnist())
