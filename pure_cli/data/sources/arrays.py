"""NumPy arrays: an ``.npz`` file with images, and with labels and class names where it has them.

Random access: an array that is stored as it is (``np.savez``) is mapped into memory where it lies in the file. One that
is compressed (``np.savez_compressed``) is unpacked once into the cache beside the workspace, and mapped from there.
Pickled objects are never read.
"""

import math
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from pure_cli.data.cache import Cache
from pure_cli.data.handles import Handles
from pure_cli.data.labels import Classes, from_numbers, from_texts
from pure_cli.data.place import Place, no_splits, pick_split
from pure_cli.data.source import DamagedImage, Items
from pure_cli.errors import PureError, first_line
from pure_cli.words import printable

IMAGE_KEYS = ("images", "image", "x", "X", "data", "imgs", "pixels")
LABEL_KEYS = ("labels", "label", "y", "Y", "targets", "target")
NAME_KEYS = ("names", "class_names", "classes", "label_names")
SPLITS = ("train", "val", "valid", "validation", "test")
CHANNELS = (1, 3, 4)
DEFLATED_MOST = 1032  # bytes that one of a deflated member can become (zlib's technical details); more is a lie

_MEMBER = ".npy"  # how the names of the arrays end in the archive
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip's member: lengths of its name and of its extra field
_SPLIT = re.compile(rf"(?:({'|'.join(SPLITS)})_(\w+)|(\w+)_({'|'.join(SPLITS)}))")


class NumpyArchive:
    """An ``.npz`` file."""

    name = "a NumPy archive"
    has_splits = True
    order = 40

    def claims(self, place: Place) -> bool:
        return len(place.files) == 1 and place.endings == {".npz"}

    def list(self, place: Place, cache: Cache) -> Items:
        (file,) = place.files
        with _opened(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(_MEMBER)]
            headers = {name.removesuffix(_MEMBER): _header(archive, name, file) for name in names}
            split, image_key, header = _image_key(place, file, headers)
            count = _check_images(file, image_key, header)
            label_key = _label_key(headers, image_key, split, count, file)
            name_key = _name_key(headers) if label_key else None
            classes = _labels(archive, file, label_key, name_key, count) if label_key else None
        read = Pixels(_Stored(file, image_key, header, cache))
        beginning = f"{file.name}:{f'{split}:' if split else ''}"
        paths = [f"{beginning}{i:05d}" for i in range(count)]
        notes = _notes(file, headers, split, image_key, label_key, name_key)
        identity = f"{header.crc:08x}"
        if classes is None:
            return Items(file.parent, paths, read, identity=identity, notes=notes)
        labels, own, order = classes
        return Items(file.parent, paths, read, labels, own, identity=identity, order=order, notes=notes)


@dataclass(frozen=True)
class _Header:
    """What an array is, and where in the file; `start` is None where it is compressed."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    crc: int
    start: int | None


def _opened(file: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except Exception as error:  # of a damaged file, zipfile raises many things
        raise PureError(f"The archive '{file}' cannot be read ({first_line(error)}). Save it again.") from error


def _header(archive: zipfile.ZipFile, name: str, file: Path) -> _Header | None:
    """The header of a member; None where that is no array of numbers or texts, or not as long as it says."""
    info = archive.getinfo(name)
    try:
        with archive.open(name) as member:
            shape, fortran, dtype = _read_header(member)  # type: ignore[arg-type]
            length = member.tell()
        whole = not dtype.hasobject and length + math.prod(shape) * dtype.itemsize == info.file_size
        start = _start(info, file) if info.compress_type == zipfile.ZIP_STORED else None
    except Exception:  # of a damaged member, zipfile and NumPy raise many things
        return None
    if not whole or info.file_size > info.compress_size * (DEFLATED_MOST if start is None else 1):
        return None
    return _Header(shape, dtype, fortran, info.CRC, None if start is None else start + length)


def _start(info: zipfile.ZipInfo, file: Path) -> int:
    """Where in the file a member begins that is stored as it is."""
    with file.open("rb") as content:
        content.seek(info.header_offset)
        start = info.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(content.read(_LOCAL_HEADER.size)))
        if start + info.file_size > file.stat().st_size:
            raise ValueError("cut short")
        return start


def _read_header(member: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(member)


def _image_key(place: Place, file: Path, headers: Mapping[str, _Header | None]) -> tuple[str, str, _Header]:
    """The split that is meant ("" for none), and the name and the header of the array with the images."""
    usable = {key: header for key, header in headers.items() if header is not None}
    plain = next((key for key in IMAGE_KEYS if key in usable), None)
    by_split = {}
    for key in usable:
        match = _SPLIT.fullmatch(key)
        if match and (match[2] or match[3]) in IMAGE_KEYS:
            by_split[match[1] or match[4]] = key
    if by_split and (plain is None or place.split is not None):
        split = pick_split(place, [name for name in SPLITS if name in by_split])
        return split, by_split[split], usable[by_split[split]]
    if place.split is not None:
        raise no_splits(place)
    if plain is None:
        like = [key for key, h in usable.items() if h.dtype == np.uint8 and len(h.shape) in (3, 4)]
        if len(like) != 1 or any(key in headers for key in IMAGE_KEYS):  # there, and not usable
            objects = [key for key, header in headers.items() if header is None]
            what = f" ({', '.join(objects)}: pickled objects or damaged, which are not read)" if objects else ""
            raise PureError(
                f"'{file}' has no array 'images': it holds {', '.join(headers) or 'nothing'}{what}. "
                "Save it with np.savez(file, images=…, labels=…)."
            )
        plain = like[0]
    return "", plain, usable[plain]


def _check_images(file: Path, key: str, header: _Header) -> int:
    kind, shape = header.dtype, header.shape
    if kind != np.uint8 and kind.kind not in "bf":
        raise PureError(f"'{key}' in '{file}' is {kind}. Images are uint8, or floats from 0 to 1.")
    if (
        len(shape) not in (3, 4)
        or 0 in shape[1:]
        or (len(shape) == 4 and shape[3] not in CHANNELS and shape[1] not in CHANNELS)
    ):
        raise PureError(
            f"'{key}' in '{file}' has the shape {shape}. Images are (N, H, W), (N, H, W, 3) or (N, 3, H, W)."
        )
    return shape[0]


def _label_key(headers: Mapping[str, _Header | None], image_key: str, split: str, count: int, file: Path) -> str | None:
    """The array with as many labels as there are images, of the same split.

    Raises
    ------
    PureError
        There are labels, and they are not one for each image.
    """
    wanted = [form for key in LABEL_KEYS for form in ((f"{key}_{split}", f"{split}_{key}") if split else (key,))]
    for key in wanted:
        header = headers.get(key)
        if header is not None and header.shape in ((count,), (count, 1)):
            return key
    if odd := next((key for key in wanted if key in headers), None):
        header = headers[odd]
        if header is None:
            raise PureError(
                f"'{odd}' in '{file}' are pickled objects, which are not read, or damaged. "
                "Save them as numbers or as texts (.astype(str))."
            )
        shape = f"{' × '.join(map(str, header.shape))} values" if header.shape else "a single value"
        raise PureError(
            f"'{odd}' in '{file}' has {shape}, and one label for each of {count} images is needed."
            + (" Of one number for each class, save .argmax(axis=1)." if header.shape[:1] == (count,) else "")
        )
    return None


def _name_key(headers: Mapping[str, _Header | None]) -> str | None:
    for key in NAME_KEYS:
        header = headers.get(key)
        if header is not None and len(header.shape) == 1 and header.dtype.kind in "US":
            return key
    return None


def _notes(file: Path, headers: Mapping[str, _Header | None], split: str, *used: str | None) -> list[str]:
    """A sentence on the arrays that are not used; those of other splits are not meant."""
    matches = {key: _SPLIT.fullmatch(key) for key in headers} if split else {}
    elsewhere = {key for key, match in matches.items() if match and (match[1] or match[4]) != split}
    rest = [key for key in headers if key not in used and key not in elsewhere]
    if not rest:
        return []
    named = ", ".join(f"'{printable(key)}'" for key in rest)
    return [f"Of the arrays in '{file.name}', {named} {'was' if len(rest) == 1 else 'were'} not used."]


def _labels(archive: zipfile.ZipFile, file: Path, label_key: str, name_key: str | None, count: int) -> Classes:
    names = tuple(_texts(_array(archive, file, name_key))) if name_key else ()
    labels = _array(archive, file, label_key).reshape(count)
    if labels.dtype.kind in "US":
        return from_texts(_texts(labels), names)
    if labels.dtype.kind not in "iubf":
        raise PureError(f"'{label_key}' in '{file}' is {labels.dtype}. Labels are whole numbers, or names.")
    return Classes(from_numbers(labels, lambda i: f"image {i} in '{label_key}' of '{file}'"), names)


def _texts(array: np.ndarray) -> list[str]:
    return [t.decode("utf-8", "replace") if isinstance(t, bytes) else str(t) for t in array.tolist()]


def _array(archive: zipfile.ZipFile, file: Path, key: str) -> np.ndarray:
    try:
        with archive.open(f"{key}{_MEMBER}") as member:
            return np.asarray(npy.read_array(member, allow_pickle=False))
    except Exception as error:  # of a damaged member, zipfile and NumPy raise many things
        raise PureError(f"'{key}' in '{file}' is damaged ({first_line(error)}). Save it again.") from error


class _Stored:
    """The array of images, mapped into memory by the process that asks."""

    def __init__(self, file: Path, key: str, header: _Header, cache: Cache) -> None:
        self._file, self._key, self._header, self._cache = file, key, header, cache

    def __call__(self) -> np.ndarray:
        header = self._header
        order = "F" if header.fortran else "C"
        try:
            if header.start is not None:
                return np.memmap(self._file, header.dtype, "r", header.start, header.shape, order)  # type: ignore[call-overload]
            unpacked = self._cache.unpacked(self._file, self._key, ".npy", self._unpack)
            if unpacked is not None:
                array = np.load(unpacked, mmap_mode="r", allow_pickle=False)
            else:
                with zipfile.ZipFile(self._file) as archive:
                    array = _array(archive, self._file, self._key)
            if (array.shape, array.dtype) != (header.shape, header.dtype):
                raise ValueError("the archive changed since it was listed")
            return array
        except Exception as error:  # as above
            raise DamagedImage("the archive that it is in is damaged or gone") from error

    def _unpack(self, out: BinaryIO) -> None:
        with zipfile.ZipFile(self._file) as archive, archive.open(f"{self._key}{_MEMBER}") as member:
            shutil.copyfileobj(member, out, 1 << 20)


def _call(load: Callable[[], np.ndarray]) -> np.ndarray:
    return load()


class Pixels:
    """Reads images out of an array (N, H, W), (N, H, W, C) or (N, C, H, W).

    Parameters
    ----------
    load : gives the array; called once in each process, and what it gives is kept
    """

    def __init__(self, load: Callable[[], np.ndarray]) -> None:
        self._load = load
        self._array = Handles(_call, most=1)

    def __call__(self, i: int) -> np.ndarray:
        array = self._array(self._load)
        pixels = np.asarray(array[i])
        if pixels.ndim == 3 and array.shape[3] not in CHANNELS:
            pixels = pixels.transpose(1, 2, 0)
        if pixels.dtype == np.uint8:
            return pixels
        values = pixels.astype(np.float32)
        if not (values >= 0).all() or not (values <= 1).all():  # so that NaN is no number either
            raise DamagedImage("numbers outside of 0 to 1 (save images as uint8, or divide floats by 255)")
        return np.rint(values * 255).astype(np.uint8)


SOURCE = NumpyArchive()
