"""From a path to the images that it names, by index: folders of images, class folders, lists of files.

Light on purpose: no torch and no PIL, so that ``pure info`` and an up-to-date stage can check a data set at once.
"""

import codecs
import csv
import hashlib
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli.errors import PureError

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm"),
)
LIST_EXTENSIONS = (".txt", ".lst", ".csv", ".tsv")
PATH_COLUMNS = (
    *("path", "paths", "filepath", "filepaths", "file_path", "file", "files", "filename", "filenames", "file_name"),
    *("image", "images", "image_path", "img", "img_path"),
)
LABEL_COLUMNS = ("label", "labels", "class", "classes", "class_name", "target", "targets", "category")
UNKNOWN_LABEL = -1
MISSING_SIZE = -1  # of a file that is listed and is not there

_NAMED = 4  # kinds of other files that an error counts
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")  # "3.0" is what pandas writes for 3 in a column with gaps
_ENDING = "|".join(re.escape(e) for e in EXTENSIONS)
_PATH_AND_LABEL = re.compile(rf"(.*(?:{_ENDING}))\s+(\S.*)", re.IGNORECASE)
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_HEAD = 1 << 16  # bytes of a list that are looked at to see whether it is text
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_Row = tuple[str, str]  # path, label ("" where there is none)


@dataclass(frozen=True, eq=False)
class Listing:
    """The images of a data set, and which of them are in use.

    Attributes
    ----------
    root : absolute folder that the paths are relative to
    paths : N POSIX paths, relative to `root`; those that a list names outside of it are absolute
    labels : (N,) int64, -1 where unknown
    names : class names, ``names[label]``; empty where there are none (integer labels of a list, flat folder)
    sizes : (N,) int64, in bytes; -1 for a listed file that is not there
    index : (M,) int64, ascending: the data-set indices in use. An index means the same image whatever the limit.
    """

    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    names: tuple[str, ...]
    sizes: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of paths, sizes, labels, names and index; not of `root`: a data set may move."""
        digest = hashlib.sha256()
        for part in (
            _bytes(self.paths),
            self.sizes.astype("<i8").tobytes(),
            self.labels.astype("<i8").tobytes(),
            _bytes(self.names),
            self.index.astype("<i8").tobytes(),
        ):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.hexdigest()

    def path(self, i: int) -> Path:
        """The file of data-set index `i`."""
        return self.root / self.paths[i]


def list_images(path: str | os.PathLike[str], limit: int | None = None) -> Listing:
    """List the images that `path` names.

    Parameters
    ----------
    path
        A folder: each folder in it that holds an image, at any depth, is a class; images directly in it have no
        label. Or a list of files: ``.txt``, ``.lst`` (a path to a line, a label after it if there is one), ``.csv``,
        ``.tsv`` (path and label, by the names in the header or by place), relative to the folder of the list.
    limit
        Use this many images only, spread evenly over the listing, so that every class has its share.

    Raises
    ------
    PureError
        No such path, nothing to read in it, no permission, a list that is no list, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise PureError(f"--limit is a number of images, 1 or more, and not {limit}.")
    source = Path(path).expanduser().absolute()
    try:
        mode = source.stat().st_mode
    except PermissionError as error:
        raise _unreadable(source, error) from error
    except (OSError, ValueError) as error:
        raise PureError(
            f"There is no folder or file '{path}'. Pass a folder of images or a list of files (.txt, .csv) with --data."
        ) from error

    if stat.S_ISDIR(mode):
        root = source
        paths, sizes = _scan(root)
        classes = [p.partition("/")[0] if "/" in p else "" for p in paths]
        labels, names = _number(classes)
    else:
        root = source.parent
        rows = _read_list(source)
        paths = [p for p, _ in rows]
        sizes = [_size(root, p) for p in paths]
        labels, names = _labels([label for _, label in rows])

    count = len(paths)
    chosen = np.arange(count) if limit is None or limit >= count else np.arange(limit) * count // limit
    return Listing(
        root=root,
        paths=tuple(paths),
        labels=np.array(labels, dtype=np.int64),
        names=names,
        sizes=np.array(sizes, dtype=np.int64),
        index=chosen.astype(np.int64),
    )


# --- folders


def _scan(root: Path) -> tuple[list[str], list[int]]:
    """All images below a folder, sorted by path, and their sizes. Links are followed, but not into a folder above."""
    found: list[tuple[str, int]] = []
    others: Counter[str] = Counter()
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(str(root), "", frozenset())]
    while waiting:
        folder, prefix, above = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 (a Path for each folder and file takes longer than the scan)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            with os.scandir(folder) as entries:
                visible = [e for e in entries if not e.name.startswith(".")]
        except OSError as error:
            raise _unreadable(folder, error) from error
        for entry in visible:
            if _is_folder(entry):
                waiting.append((entry.path, f"{prefix}{entry.name}/", above | {identity}))
            elif entry.name.lower().endswith(EXTENSIONS):
                size = _entry_size(entry)
                if size is not None:
                    found.append((prefix + entry.name, size))
            else:
                others[Path(entry.name).suffix.lower() or "without an ending"] += 1
    if not found:
        raise PureError(f"There is no image in '{root}': {_holds(others)}. Images end in {', '.join(EXTENSIONS)}.")
    found.sort()
    return [p for p, _ in found], [size for _, size in found]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _entry_size(entry: os.DirEntry[str]) -> int | None:
    """Bytes of a file, -1 for a link that leads nowhere, None for what is no file (a pipe, a socket)."""
    try:
        status = entry.stat()
    except OSError:
        return MISSING_SIZE
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _holds(others: Counter[str]) -> str:
    if not others:
        return "it is empty"
    counts = [f"{n} {kind}" for kind, n in others.most_common(_NAMED)]
    more = len(others) - len(counts)
    kinds = f" and {more} more kind{'s' if more > 1 else ''} of file" if more else ""
    return f"it holds {', '.join(counts)}{kinds}"


def _unreadable(path: Any, error: OSError) -> PureError:
    why = error.strerror or str(error)
    return PureError(f"'{path}' cannot be read ({why}). Change its permissions, or pass another path with --data.")


# --- lists of files


def _read_list(file: Path) -> list[_Row]:
    """Path and label of every line of a list, the paths relative to its folder where they lie in it."""
    suffix = file.suffix.lower()
    if suffix in EXTENSIONS:
        raise PureError(f"'{file}' is a single image. Pass the folder that it is in, or a list of files (.txt, .csv).")
    if suffix not in LIST_EXTENSIONS:
        raise PureError(
            f"'{file}' is neither a folder nor a list of files, which ends in {', '.join(LIST_EXTENSIONS)}."
        )
    text = _read_text(file)
    root = file.parent
    if suffix in (".csv", ".tsv"):
        try:
            rows = list(_table(text, "\t" if suffix == ".tsv" else _delimiter(text), root))
        except csv.Error as error:
            raise PureError(f"The list '{file}' cannot be read as a table ({error}). Check its quotes.") from error
    else:
        rows = list(_lines(text, root))
    if not rows:
        raise PureError(
            f"The list '{file}' names no image. It should hold a path to a line, and a label after it if there is one."
        )
    inside = f"{root.as_posix().rstrip('/')}/"
    return [(_relative(path, inside), label) for path, label in rows]


def _read_text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error
    try:
        if data.startswith(_UTF16):
            return data.decode("utf-16")
        if not _NOT_TEXT.search(data[:_HEAD]):
            return data.decode("utf-8-sig", errors="surrogateescape")  # the way in which Python names files
    except UnicodeDecodeError:
        pass
    raise PureError(f"'{file}' is not text, so it is no list of files. Pass a folder, or a .txt or .csv file of paths.")


def _lines(text: str, root: Path) -> Iterator[_Row]:
    """The rows of a plain list: the whole line where that is a file or ends like an image, else path and label."""
    for raw in text.replace("\r\n", "\n").split("\n"):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.lower().endswith(EXTENSIONS) or len(line.split(None, 1)) == 1 or _exists(root, line):
            yield line, ""
        elif match := _PATH_AND_LABEL.fullmatch(line):
            yield match[1], match[2]
        else:
            path, label = line.split("\t", 1) if "\t" in line else line.rsplit(None, 1)
            yield path.strip(), label.strip()


def _delimiter(text: str) -> str:
    """Comma, unless the first line has none and has another one (spreadsheets of many countries write ``;``)."""
    first = text.lstrip().split("\n", 1)[0]
    return next((d for d in (",", ";", "\t") if d in first), ",")


def _table(text: str, delimiter: str, root: Path) -> Iterator[_Row]:
    """The rows of a table: columns by the names of its header, else the first and the second."""
    at_path, at_label = 0, 1
    header_possible = True
    for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        if not any(cell.strip() for cell in cells):
            continue
        is_image = any(cell.strip().lower().endswith(EXTENSIONS) for cell in cells)
        if cells[0].lstrip().startswith("#") and not is_image:
            continue
        if header_possible and not is_image and (columns := _columns(cells)):
            at_path, at_label = columns
        else:
            path = cells[at_path] if at_path < len(cells) else ""
            label = cells[at_label] if 0 <= at_label < len(cells) else ""
            stripped = path.strip()
            if path != stripped and _exists(root, path):
                stripped = path
            if stripped:
                yield stripped, label.strip()
        header_possible = False


def _columns(cells: list[str]) -> tuple[int, int] | None:
    """Where a header puts path and label (-1: no label), or None where the row is no header."""
    names = [cell.strip().lower() for cell in cells]
    path = next((i for i, name in enumerate(names) if name in PATH_COLUMNS), None)
    label = next((i for i, name in enumerate(names) if name in LABEL_COLUMNS and i != path), None)
    if path is None and label is None:
        return None
    if path is None:
        path = 1 if label == 0 else 0
    if label is None:  # of two columns, the other one is it; of more, there is no telling
        label = 1 - path if len(names) == 2 else -1
    return path, label


def _relative(path: str, inside: str) -> str:
    """A path of a list in POSIX form; relative where it begins with `inside`, the folder of the list."""
    if os.sep != "/":
        path = path.replace(os.sep, "/")
    path = path.removeprefix(inside)
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path


def _size(root: Path, path: str) -> int:
    try:
        status = os.stat(f"{root}/{path}" if path[:1] != "/" else path)  # noqa: PTH116 (as above)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return MISSING_SIZE
    return status.st_size if stat.S_ISREG(status.st_mode) else MISSING_SIZE


def _exists(root: Path, path: str) -> bool:
    return _size(root, path) != MISSING_SIZE


# --- labels


def _number(classes: list[str]) -> tuple[list[int], tuple[str, ...]]:
    """Number class names in the order of the alphabet; "" is no class."""
    names = tuple(sorted(set(classes) - {""}))
    position = {name: i for i, name in enumerate(names)}
    return [position.get(c, UNKNOWN_LABEL) for c in classes], names


def _labels(texts: list[str]) -> tuple[list[int], tuple[str, ...]]:
    """Labels of a list: as they are where all are whole numbers (below 0: unknown), else class names."""
    if not all(_INTEGER.fullmatch(t) for t in texts if t):
        return _number(texts)
    numbers = [int(t.partition(".")[0]) if t else UNKNOWN_LABEL for t in texts]
    return [n if n >= 0 else UNKNOWN_LABEL for n in numbers], ()


def _bytes(texts: Iterable[str]) -> bytes:
    return "\0".join(texts).encode("utf-8", errors="surrogatepass")  # a file's name need not be valid Unicode
