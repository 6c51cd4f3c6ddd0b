"""WebDataset: tar shards whose members with one key make up an item (``0001.jpg``, ``0001.cls``).

Random access: a tar is read through once for where each image begins and how long it is, which the cache keeps beside
the workspace; an item is then one seek and one read. A compressed tar has no such thing and is refused.

The label is in the member ``.cls``, else in a field of ``.json``, else ``.txt``, else it is the folder in the key. A
file ``classnames.txt`` or ``classes.txt`` beside the shards names the classes 0, 1, … line by line.
"""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pure_cli.data.cache import Cache, Part, pack, unpack
from pure_cli.data.handles import Handles
from pure_cli.data.labels import from_texts, number
from pure_cli.data.place import Place, unreadable
from pure_cli.data.source import EXTENSIONS, DamagedImage, Items
from pure_cli.errors import PureError, first_line

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
LABEL_FIELDS = ("label", "labels", "class", "cls", "class_name", "class_id", "target", "category")  # of .json
NAME_FILES = ("classnames.txt", "classes.txt")
LONGEST_LABEL = 1 << 16  # bytes of a member that may hold one

_BLOCK = 512  # bytes, of which a tar is made


class WebDataset:
    """A shard, a folder of shards, or a pattern of them."""

    name = "tar shards"
    has_splits = False

    def claims(self, place: Place) -> bool:
        return place.holds(".tar", *COMPRESSED) and not place.endings & set(EXTENSIONS)

    def list(self, place: Place, cache: Cache) -> Items:
        files = place.files_ending(".tar") or place.files_ending(*COMPRESSED)
        packed = next((file for file in files if not file.name.lower().endswith(".tar")), None)
        if packed is not None:
            raise PureError(
                f"'{packed}' is compressed, so that no image in it can be read without all before it. Unpack it to a "
                ".tar (gunzip, unxz, …): images hardly get smaller anyway."
            )
        shards = cache.parts("tar", files, _index)
        paths = [f"{place.relative(f)}:{key}" for f, s in zip(files, shards, strict=True) for key in unpack(s["name"])]
        if not paths:
            raise PureError(f"There is no image in '{place.text}'. Images end in {', '.join(EXTENSIONS)}.")
        sizes, starts = (np.concatenate([shard[part] for shard in shards]) for part in ("size", "start"))
        labels, names = _labels(shards, place)
        read = _Members(files, np.cumsum([0, *(len(shard["size"]) for shard in shards)]), starts, sizes)
        return Items(place.folder, paths, read, labels, names, sizes)


@dataclass
class _Item:
    """Members of one key."""

    name: str = ""  # of the image
    start: int = 0
    size: int = 0
    whole: bool = False  # the ending of the image is all that follows the key ("jpg", not "left.jpg")
    cls: str | None = None
    json: str | None = None
    txt: str | None = None


def _index(file: Path) -> Part:
    """Where the images of a shard are, and what is said of them: start, size, and texts name, label, caption."""
    items: dict[str, _Item] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            while (member := tar.next()) is not None:
                if member.isfile():
                    _note(items, member, tar)
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them, for a look by name
            _require_end(tar, file)
    except tarfile.TarError as error:
        raise PureError(f"The shard '{file}' is damaged ({first_line(error)}). Fetch it again.") from error
    except OSError as error:
        raise unreadable(file, error) from error
    found = [item for item in items.values() if item.name]
    return {
        "start": np.array([item.start for item in found], np.int64),
        "size": np.array([item.size for item in found], np.int64),
        "name": pack([item.name for item in found]),
        "label": pack([item.cls if item.cls is not None else item.json or "" for item in found]),
        "caption": pack([item.txt or "" for item in found]),
    }


def _note(items: dict[str, _Item], member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    """Put a member to those of its key: all of its path before the first dot of the name."""
    folder, slash, name = _clean(member.name).rpartition("/")
    key, _, ending = name.partition(".")
    ending = ending.lower()
    if not key:  # hidden
        return
    item = items.setdefault(folder + slash + key, _Item())
    if f".{ending}".endswith(EXTENSIONS):
        whole = f".{ending}" in EXTENSIONS
        if whole >= item.whole:  # of two alike, the later one counts, as in any tar
            item.name, item.start, item.size = _clean(member.name), member.offset_data, member.size
            item.whole = whole
    elif ending in ("cls", "json", "txt") and member.size <= LONGEST_LABEL:
        content = tar.extractfile(member)
        text = content.read().decode("utf-8", "replace").strip() if content else ""
        setattr(item, ending, _field(text) if ending == "json" else text)


def _field(text: str) -> str:
    """The label in a JSON text; "" where there is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if isinstance(content, dict):
        content = next((content[name] for name in LABEL_FIELDS if name in content), None)
    return str(content) if isinstance(content, int | str) and not isinstance(content, bool) else ""


def _require_end(tar: tarfile.TarFile, file: Path) -> None:
    """A tar ends with zeros or with its file; Python takes a broken header for the end, too."""
    with file.open("rb") as content:
        content.seek(tar.offset)
        if any(content.read(_BLOCK)):
            raise tarfile.ReadError(f"what lies at byte {tar.offset:,} is no member")


def _clean(name: str) -> str:
    return name.removeprefix("./")


def _labels(shards: list[Part], place: Place) -> tuple[list[int], tuple[str, ...]]:
    """Labels of all items, and class names."""
    texts = [text for shard in shards for text in unpack(shard["label"])]
    if not any(texts):
        texts = [text for shard in shards for text in unpack(shard["caption"])]
        known = [text for text in texts if text]
        if len(set(known)) == len(known) and len(known) > 1:  # each says something else: they are captions
            texts = []
    if not any(texts):
        keys = [text for shard in shards for text in unpack(shard["name"])]
        return number([key.partition("/")[0] if "/" in key else "" for key in keys])
    labels, names = from_texts(texts)
    return labels, names or _names_beside(place.folder, max(labels))


def _names_beside(folder: Path, top: int) -> tuple[str, ...]:
    """The class names that a file beside the shards gives to the labels 0 to `top`; none where they do not reach."""
    for name in NAME_FILES:
        try:
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        names = tuple(line.strip() for line in lines if line.strip())
        if top < len(names):
            return names
    return ()


def _open(file: Path) -> BinaryIO:
    return file.open("rb")


class _Members:
    """Reads the bytes of a member out of its shard."""

    def __init__(self, files: list[Path], first: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> None:
        self._files, self._first, self._starts, self._sizes = files, first, starts, sizes
        self._open = Handles(_open)

    def __call__(self, i: int) -> bytes:
        shard = int(np.searchsorted(self._first, i, side="right")) - 1
        size = int(self._sizes[i])
        try:
            file = self._open(self._files[shard])
            file.seek(int(self._starts[i]))
            content = file.read(size)
        except OSError as error:
            raise DamagedImage(f"its shard cannot be read: {(error.strerror or str(error)).lower()}") from error
        if len(content) < size:
            raise DamagedImage("cut short")
        return content
