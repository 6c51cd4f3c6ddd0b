"""WebDataset: tar shards whose members with one key make up an item (``0001.jpg``, ``0001.cls``).

Random access: a tar is read through once for where each image begins and how long it is, which the cache keeps beside
the workspace; an item is then one seek and one read. A compressed tar has no such thing and is refused.

The label is in the member ``.cls``, else in a field of ``.json``, else it is the folder in the key, below those that
all keys have in common. A file ``classnames.txt`` or ``classes.txt`` beside the shards names the classes 0, 1, … line
by line.
"""

import json
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pure_cli.data.cache import Cache, Part, pack, unpack
from pure_cli.data.handles import Handles
from pure_cli.data.labels import Classes, from_texts, number
from pure_cli.data.place import Place, unreadable
from pure_cli.data.remote_reading import RemoteItems, is_versioned, remote, unversioned_notes
from pure_cli.data.rest import Rest, meant_as_image
from pure_cli.data.source import EXTENSIONS, DamagedImage, Items
from pure_cli.errors import PureError, first_line
from pure_cli.words import printable

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
LABEL_FIELDS = ("label", "labels", "class", "cls", "class_name", "class_id", "target", "category")  # of .json
NAME_FILES = ("classnames.txt", "classes.txt")
VIEWS = 8  # of an image, at most, that members of one key are
LONGEST_LABEL = 1 << 16  # bytes of a member that may hold one

SPARSE, NOWHERE, SYMBOLIC = -1, -2, -3  # instead of where an image begins
UNREADABLE = {
    SPARSE: "a sparse file in its tar (make the tar without --sparse)",
    NOWHERE: "a link that leads nowhere in its tar",
    SYMBOLIC: "a symbolic link in its tar (make the tar with --dereference)",
}

_BLANK = " \t\r\n\0"  # around labels
_BLOCK = 512  # bytes, of which a tar is made
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # how compressed files begin


class WebDataset:
    """A shard, a folder of shards, or a pattern of them."""

    name = "tar shards"
    has_splits = False
    by_url = True
    order = 20

    def claims(self, place: Place) -> bool:
        return place.holds(".tar", *COMPRESSED) and not place.endings & set(EXTENSIONS)

    def list(self, place: Place, cache: Cache) -> Items:
        files = place.files_ending(".tar") or place.files_ending(*COMPRESSED)
        packed = next((file for file in files if not file.name.lower().endswith(".tar")), None)
        if packed is not None:
            raise _compressed(packed)
        shards = cache.parts("tar members", files, _index)
        rest = Rest()
        for shard in shards:
            rest.merge(dict(zip(unpack(shard["rest"]), shard["rest_count"].tolist(), strict=True)))
        shards, notes = _read_as(shards)
        paths = [f"{place.relative(f)}:{key}" for f, s in zip(files, shards, strict=True) for key in unpack(s["name"])]
        if not paths:
            raise PureError(f"There is no image in '{place.text}'. Images end in {', '.join(EXTENSIONS)}.")
        notes += rest.notes()
        sizes, starts = (np.concatenate([shard[part] for shard in shards]) for part in ("size", "start"))
        labels, names, order = _labels(shards, place)
        counts = [len(shard["size"]) for shard in shards]
        times = np.repeat([file.stat().st_mtime_ns for file in files], counts)
        firsts = np.cumsum([0, *counts])
        read = _Members(files, firsts, starts, sizes)
        return Items(
            place.folder, paths, _elsewhere(files, read) or read, labels, names, sizes, times=times, order=order,
            versioned=is_versioned(files), notes=[*notes, *unversioned_notes(files)], starts=np.unique(firsts[:-1]),
        )  # fmt: skip


@dataclass
class _Item:
    """Members of one key."""

    name: str = ""  # of the image
    rank: tuple[bool, int, str] = (True, len(EXTENSIONS), "")  # the lowest one is the image
    start: int = 0
    size: int = 0
    cls: str | None = None
    json: str | None = None
    more: dict[str, tuple[int, int]] | None = None  # other images of the key, and where they are
    has_field: bool = False  # a member that is called as the key and is no image
    others: tuple[str, ...] = ()  # kinds of what could be meant as an image and is none

    @property
    def label(self) -> str:
        return self.cls if self.cls is not None else self.json or ""

    def images(self) -> dict[str, tuple[int, int]]:
        return {self.name: (self.start, self.size), **(self.more or {})}


def _index(file: Path) -> Part:
    """Where the images of a shard are, and what is said of them: start (or why there is none), size, name, label."""
    try:
        items, dotted, linked = _scan(file, frozenset())
        if linked:  # rare, so that the places of all other members need not be kept
            items, dotted, _ = _scan(file, frozenset(linked))
    except PureError:  # of a storage
        raise
    except OSError as error:
        raise unreadable(file, error) from error
    except Exception as error:  # of a damaged tar, tarfile raises many things
        if _is_compressed(file):
            raise _compressed(file) from error
        raise PureError(f"The shard '{file}' is damaged ({first_line(error)}). Fetch it again.") from error
    found = [item for item in items.values() if item.name]
    own = [(name, *place, item) for item in found for name, place in item.images().items()]
    own = own if len(own) > len(found) else []
    rest = Counter(kind for item in items.values() if not item.name for kind in item.others)
    return {
        "start": np.array([item.start for item in found], np.int64),
        "size": np.array([item.size for item in found], np.int64),
        "name": pack([item.name for item in found]),
        "label": pack([item.label or dotted.get(_stem(item.name), "") for item in found]),
        "own_start": np.array([start for _, start, _, _ in own], np.int64),  # with all images of all keys
        "own_size": np.array([size for _, _, size, _ in own], np.int64),
        "own_name": pack([name for name, _, _, _ in own]),
        "own_label": pack([dotted.get(_stem(name), "") if _middle(name) else item.label for name, _, _, item in own]),
        "own_field": np.array([item.has_field for _, _, _, item in own], bool),
        "rest": pack(list(rest)),
        "rest_count": np.array(list(rest.values()), np.int64),
    }


def _read_as(shards: list[Part]) -> tuple[list[Part], list[str]]:
    """The items, with one for each key, or for each image where their names have dots, and what to say of it."""
    if not any(len(shard["own_size"]) for shard in shards):
        return shards, []
    every = [_own(shard) if len(shard["own_size"]) else shard for shard in shards]
    left_out = sum(len(own["size"]) - len(shard["size"]) for own, shard in zip(every, shards, strict=True))
    groups: dict[tuple[int, str], list[str]] = {}
    fields: set[tuple[int, str]] = set()
    for i, shard in enumerate(shards):
        for name, has_field in zip(unpack(shard["own_name"]), shard["own_field"].tolist(), strict=True):
            groups.setdefault((i, _key(name)), []).append(name)
            if has_field:
                fields.add((i, _key(name)))
    shared = {key: names for key, names in groups.items() if len(names) > 1}
    first, second = (printable(name) for name in next(iter(shared.values()))[:2])
    if not (fields & shared.keys()) and _are_names([[_middle(name) for name in names] for names in shared.values()]):
        return every, [
            f"The names in the tar have dots, and each image is an item of its own, though '{first}' and '{second}' "
            "are the same up to the first dot, which is the key of a WebDataset."
        ]
    images = "image shares its key" if left_out == 1 else "images share their keys"
    was = "was" if left_out == 1 else "were"
    return shards, [f"{left_out:,} {images} with another one and {was} left out, as '{second}' beside '{first}'."]


def _own(shard: Part) -> Part:
    return {name.removeprefix("own_"): array for name, array in shard.items() if name.startswith("own_")}


def _are_names(middles: list[list[str]]) -> bool:
    """Whether what stands between the first and the last dot tells images apart, and not views of an image.

    Views are a few words, which come back from key to key: left, right, mask.

    Parameters
    ----------
    middles : those of each key that several images have
    """
    keys = Counter(middle for of_key in middles for middle in set(of_key) if middle)
    words = len(keys) <= VIEWS and all(any(map(str.isalpha, middle)) for middle in keys)
    return bool(keys) and not (words and (len(middles) == 1 or max(keys.values()) > 1))


def _key(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _middle(name: str) -> str:
    """``.left`` of ``0001.left.jpg``"""
    return _stem(name)[len(_key(name)) :]


def _scan(file: Path, linked: frozenset[str]) -> tuple[dict[str, _Item], dict[str, str], set[str]]:
    """The items of a tar by their keys, labels of names with dots, and the names that its hard links lead to.

    Parameters
    ----------
    linked : names whose places are kept for the hard links that follow; other links lead nowhere
    """
    items: dict[str, _Item] = {}
    dotted: dict[str, str] = {}
    places: dict[str, tuple[int, int]] = {}
    leads_to: set[str] = set()
    with file.open("rb") as content, tarfile.open(fileobj=content, mode="r:") as tar:
        end = file.stat().st_size
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them, for a look by name
            if member.size < 0 or not member.offset < tar.offset <= end:
                raise tarfile.ReadError(f"the member at byte {member.offset:,} is cut short or broken")
            if member.islnk():
                leads_to.add(_clean(member.linkname))
                place = places.get(_clean(member.linkname), (NOWHERE, 0))
            elif member.issym():
                place = (SYMBOLIC, 0)
            elif member.isfile():
                place = (SPARSE, 0) if member.issparse() else (member.offset_data, member.size)
            else:
                continue
            name = _clean(member.name)
            if name in linked:
                places[name] = place
            _note(items, dotted, name, place, content)
        _require_end(tar, content)
    return items, dotted, leads_to


def _note(
    items: dict[str, _Item], dotted: dict[str, str], name: str, place: tuple[int, int], content: BinaryIO
) -> None:
    """Put a member to those of its key: all of its path before the first dot of the name."""
    folder, slash, last = name.rpartition("/")
    key, _, ending = last.partition(".")
    ending = ending.lower()
    if not key:  # hidden
        return
    item = items.setdefault(folder + slash + key, _Item())
    start, size = place
    if f".{ending}".endswith(EXTENSIONS):
        order = next(i for i, extension in enumerate(EXTENSIONS) if f".{ending}".endswith(extension))
        rank = (f".{ending}" not in EXTENSIONS, order, name)
        if rank <= item.rank:  # of two of one name, the later one counts, as in any tar
            if item.name not in ("", name):
                item.more = {} if item.more is None else item.more
                item.more[item.name] = (item.start, item.size)
            item.name, item.rank, item.start, item.size = name, rank, start, size
        else:
            item.more = {} if item.more is None else item.more
            item.more[name] = place
        return
    middle, _, ending = ending.rpartition(".")
    item.has_field |= not middle
    if ending in ("cls", "json") and start >= 0 and size <= LONGEST_LABEL:
        content.seek(start)
        text = content.read(size).decode("utf-8", "replace").strip(_BLANK)
        label = _field(text) if ending == "json" else text
        if middle:
            dotted[_stem(name)] = label
        else:
            setattr(item, ending, label)
    elif kind := meant_as_image(last):
        item.others += (kind,)


def _field(text: str) -> str:
    """The label in a JSON text; "" where there is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if isinstance(content, dict):
        content = next((content[name] for name in LABEL_FIELDS if name in content), None)
    if isinstance(content, float) and content.is_integer():
        content = int(content)
    label = str(content) if isinstance(content, int | str) and not isinstance(content, bool) else ""
    return label.encode("utf-8", "replace").decode()  # half of an emoji is no text


def _require_end(tar: tarfile.TarFile, content: BinaryIO) -> None:
    """A tar ends with zeros or with its file; Python takes a broken header for the end, too."""
    content.seek(tar.offset)
    if any(content.read(_BLOCK)):
        raise tarfile.ReadError(f"what lies at byte {tar.offset:,} is no member")


def _clean(name: str) -> str:
    return name.removeprefix("./")


def _is_compressed(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(_BLOCK).startswith(_MAGIC)


def _compressed(file: Path) -> PureError:
    return PureError(
        f"'{file}' is compressed, so that no image in it can be read without all before it. Unpack it to a "
        ".tar (gunzip, unxz, …): images hardly get smaller anyway."
    )


def _labels(shards: list[Part], place: Place) -> Classes:
    """Labels of all items, and class names."""
    texts = [text for shard in shards for text in unpack(shard["label"])]
    known = _names_beside(place.folder)
    if not any(texts):
        return number(_class_folders([name for shard in shards for name in unpack(shard["name"])]), known)
    found = from_texts(texts, known)
    reach = not found.names and max(found.labels) < len(known)
    return found._replace(names=known) if reach else found


def _class_folders(names: list[str]) -> list[str]:
    """The first folder in each name that is not the same in all of them; "" where there is none."""
    folders = [[part for part in name.split("/")[:-1] if part not in ("", ".", "..")] for name in names]
    first, last = min(folders), max(folders)  # what these two have in common, all have
    common = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return [parts[common] if len(parts) > common else "" for parts in folders]


def _names_beside(folder: Path) -> tuple[str, ...]:
    """The class names that a file beside the shards gives to the labels 0, 1, …; none where there is none."""
    for name in NAME_FILES:
        try:
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        return tuple(line.strip() for line in lines if line.strip())
    return ()


def _open(file: Path) -> BinaryIO:
    return file.open("rb")


class _Members:
    """Reads the bytes of a member out of its shard."""

    def __init__(self, files: list[Path], first: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> None:
        self._files, self.first, self.starts, self.sizes = files, first, starts, sizes
        self._open = Handles(_open)

    def __call__(self, i: int) -> bytes:
        shard = int(np.searchsorted(self.first, i, side="right")) - 1
        start, size = int(self.starts[i]), int(self.sizes[i])
        if start in UNREADABLE:
            raise DamagedImage(UNREADABLE[start])
        try:
            file = self._open(self._files[shard])
            file.seek(start)
            content = file.read(size)
        except OSError as error:
            raise DamagedImage(f"its shard cannot be read: {(error.strerror or str(error)).lower()}") from error
        if len(content) < size:
            raise DamagedImage("cut short")
        return content


class _RemoteMembers(RemoteItems):
    """Reads the bytes of a member out of its shard, which lies elsewhere."""

    def __call__(self, i: int) -> bytes:
        assert self._starts is not None
        if (start := int(self._starts[i])) in UNREADABLE:
            raise DamagedImage(UNREADABLE[start])
        return super().__call__(i)


def _elsewhere(files: list[Path], members: _Members) -> _RemoteMembers | None:
    """Who reads the members of shards that lie elsewhere."""
    there = remote(files)
    if not there:
        return None
    number = np.repeat(np.arange(len(files)), np.diff(members.first))
    return _RemoteMembers(there.__getitem__, members.sizes, number, members.starts)


SOURCE = WebDataset()
