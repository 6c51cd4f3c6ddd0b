"""What ``--data`` points at: a folder, a file, the files of a pattern; and the split of it that is meant."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast

from pure_cli.errors import PureError
from pure_cli.hub.names import MARK
from pure_cli.remote.files import RemoteFile
from pure_cli.remote.storage import Entry
from pure_cli.remote.urls import is_url, without_secrets

SPLIT_MARK = "#"
MOST_FILES = 1_000_000  # of a pattern

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
_RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")
_GLOB = re.compile(r"[*?]")


@dataclass(frozen=True)
class Place:
    """Where the images are.

    Attributes
    ----------
    text : as it was given, absolute
    path : the folder or file; of a pattern, the folder that all its files lie in
    files : the file, or the files of the pattern, in order; none for a folder
    split : what stands behind ``#``
    url : of what is not on this machine's disks
    below : of a folder there, its files at any depth, by their names; `path` and `files` are `RemoteFile` then
    """

    text: str
    path: Path
    files: tuple[Path, ...] = ()
    split: str | None = None
    url: str = ""
    below: Mapping[str, Entry] | None = field(default=None, repr=False, compare=False)

    @property
    def is_folder(self) -> bool:
        return not self.files and (not self.url or self.below is not None)

    def inside(self, name: str) -> "Place":
        """A folder that is directly in a folder."""
        if not self.url:
            return Place(f"{self.text}/{name}", self.path / name)
        url, below = f"{self.url}/{name}", self._grouped[1].get(name, {})
        folder = RemoteFile(url, None, below, cast(RemoteFile, self.path))
        return Place(url, cast(Path, folder), url=url, below=below)

    @property
    def folder(self) -> Path:
        """The folder itself, or the one that the file or files are in."""
        return self.path.parent if self.files == (self.path,) else self.path

    @cached_property
    def endings(self) -> frozenset[str]:
        """How the names of the files end, of a folder those that are directly in it (".tar", ".tar.gz")."""
        names = [file.name for file in self.files] if self.files else self._entries[0]
        return frozenset(ending(name) for name in names)

    @cached_property
    def folders(self) -> frozenset[str]:
        """The folders that are directly in a folder."""
        return frozenset() if self.files else frozenset(self._entries[1])

    def holds(self, *endings: str) -> bool:
        """Whether all files of a pattern end so; of a folder, whether some do and there is no folder in it."""
        if self.files:
            return self.endings <= set(endings)
        return bool(self.endings & set(endings)) and not self.folders

    def files_ending(self, *endings: str) -> list[Path]:
        """The files of the pattern, or those in the folder that end so, by name."""
        if self.files:
            return list(self.files)
        return [self.path / name for name in sorted(self._entries[0]) if ending(name) in endings]

    def relative(self, file: Path) -> str:
        """A file's name below the folder, in POSIX form."""
        return file.relative_to(self.folder).as_posix()

    @cached_property
    def _grouped(self) -> tuple[dict[str, Entry], dict[str, dict[str, Entry]]]:
        """Of a folder elsewhere: the files that are directly in it, and those of each folder in it."""
        files: dict[str, Entry] = {}
        folders: dict[str, dict[str, Entry]] = {}
        for name, entry in (self.below or {}).items():
            first, slash, rest = name.partition("/")
            if slash:
                folders.setdefault(first, {})[rest] = entry
            else:
                files[name] = entry
        return files, folders

    @cached_property
    def _entries(self) -> tuple[list[str], list[str]]:
        """Names of what is directly in a folder and not hidden: files, folders. Nothing where it cannot be read."""
        if self.url:
            return list(self._grouped[0]), list(self._grouped[1])
        files: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        (folders if _is_folder(entry) else files).append(entry.name)
        except OSError:  # the source says so, when it lists
            pass
        return files, folders


def place_text(path: str | os.PathLike[str]) -> str:
    """What ``--data`` says, as it is remembered: of a path the absolute one, of a URL what is no secret."""
    text = os.fspath(path)
    return without_secrets(text) if is_url(text) else os.fspath(Path(text).expanduser().absolute())


def find_place(path: str | os.PathLike[str]) -> Place:
    """Look where ``--data`` points.

    Raises
    ------
    PureError
        There is nothing, or no permission to look.
    """
    text = place_text(path)
    if text.startswith(MARK) and "://" not in text:
        return Place(text, Path(os.devnull), url=text)
    if is_url(text):
        from pure_cli.data.elsewhere import place_elsewhere

        return place_elsewhere(text)
    found = _look(text, None)
    if found is None and SPLIT_MARK in text:
        before, _, split = text.rpartition(SPLIT_MARK)
        found = _look(before.rstrip("/") or "/", split)
    if found is None:
        raise PureError(
            f"There is no folder or file '{os.fspath(path)}'. Pass a folder of images, a list of files (.txt, .csv) "
            "or another data set (.tar, .npz, .parquet, …) with --data."
        )
    return found


def _look(text: str, split: str | None) -> Place | None:
    whole = text if split is None else f"{text}{SPLIT_MARK}{split}"
    path = Path(text)
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (OSError, ValueError):
        if not (BRACES.search(text) or _GLOB.search(text)):
            return None
        files = tuple(_pattern(text))
        return Place(whole, Path(os.path.commonpath([file.parent for file in files])), files, split)
    return Place(whole, path, () if stat.S_ISDIR(mode) else (path,), split)


def _pattern(text: str) -> list[Path]:
    """The files that a pattern names, in order; those of braces must all be there."""
    found: list[Path] = []
    missing: list[str] = []
    names = list(islice(expanded(text), MOST_FILES + 1))
    for name in names if len(names) <= MOST_FILES else ():
        path = Path(name)
        if _GLOB.search(name):
            fit = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
            found += sorted(file for file in fit if file.is_file())
        elif path.is_file():
            found.append(path)
        else:
            missing.append(name)
    if max(len(names), len(found)) > MOST_FILES:
        raise PureError(f"The pattern '{text}' names more than {MOST_FILES:,} files. Mend its braces.")
    if missing and found:
        raise PureError(
            f"{len(missing)} of the files that '{text}' names are not there, the first of them '{missing[0]}'. "
            "Mend the pattern, or fetch the missing files."
        )
    if not found:
        raise PureError(f"There is no file that fits the pattern '{text}'. Mend the pattern given with --data.")
    return found


def expanded(text: str) -> Iterator[str]:
    """``a-{0..2}.tar`` and ``{a,b}.tar``, as a shell would expand them."""
    match = BRACES.search(text)
    if match is None:
        yield text
        return
    numbers = _RANGE.fullmatch(match[1])
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        step = 1 if first <= last else -1
        middles: Iterator[str] = (f"{n:0{len(numbers[1])}d}" for n in range(first, last + step, step))
    elif "," in match[1]:
        middles = iter(match[1].split(","))
    else:
        raise PureError(f"'{match[0]}' is no range of numbers. Write {{000..012}} or {{a,b}}.")
    for middle in middles:
        yield from expanded(f"{text[: match.start()]}{middle}{text[match.end() :]}")


def ending(name: str) -> str:
    """The ending of a file's name in lower case; that before it too where it was compressed (".tar.gz")."""
    base, dot, last = name.lower().rpartition(".")
    if not base:
        return ""
    if dot + last in _COMPRESSED and "." in base:
        return f".{base.rpartition('.')[2]}.{last}"
    return dot + last


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def unreadable(path: Any, error: OSError) -> PureError:
    """The error for what there is no permission to read."""
    why = error.strerror or str(error)
    return PureError(f"'{path}' cannot be read ({why}). Change its permissions, or pass another path with --data.")


def no_splits(place: Place) -> PureError:
    """The error for a split that was asked for where there is none."""
    base = place.text.removesuffix(f"{SPLIT_MARK}{place.split}")
    return PureError(f"'{base}' has no splits: leave out '{SPLIT_MARK}{place.split}'.")


def pick_split(place: Place, there: list[str]) -> str:
    """The split that was asked for, or the only one.

    Raises
    ------
    PureError
        There are several, or not that one; the message lists them.
    """
    if place.split is None and len(there) == 1:
        return there[0]
    if place.split in there:
        return str(place.split)
    base = place.text if place.split is None else place.text.removesuffix(f"{SPLIT_MARK}{place.split}")
    ways = " or ".join(f"--data '{base}{SPLIT_MARK}{name}'" for name in there)
    if place.split is None:
        raise PureError(f"'{base}' has several splits: {', '.join(there)}. Name one: {ways}.")
    raise PureError(f"'{base}' has no split '{place.split}'. Pass {ways}.")
