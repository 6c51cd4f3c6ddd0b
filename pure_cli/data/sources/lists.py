"""A list of files: ``.txt``, ``.lst`` (a path to a line, a label after it if there is one), ``.csv``, ``.tsv`` (path
and label, by the names in the header or by place); paths are relative to the folder of the list."""

import codecs
import csv
import io
import itertools
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from pure_cli.data.cache import Cache
from pure_cli.data.labels import from_texts
from pure_cli.data.place import Place, unreadable
from pure_cli.data.source import EXTENSIONS, MISSING_SIZE, NO_TIME, Files, Items
from pure_cli.errors import PureError

LIST_EXTENSIONS = (".txt", ".lst", ".csv", ".tsv")
PATH_COLUMNS = (
    *("path", "paths", "filepath", "filepaths", "file_path", "file", "files", "filename", "filenames", "file_name"),
    *("image", "images", "image_path", "img", "img_path"),
)
LABEL_COLUMNS = ("label", "labels", "class", "classes", "class_name", "target", "targets", "category")

_ENDING = "|".join(re.escape(e) for e in EXTENSIONS)
_PATH_AND_LABEL = re.compile(rf"(.*(?:{_ENDING}))\s+(\S.*)", re.IGNORECASE)
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_LINE_END = re.compile(r"\r?\n|\r(?!\n)")  # and no other ones, which names of files may have in them
_HEAD = 1 << 16  # bytes of a list that are looked at to see whether it is text
_END = "\x1e"  # behind the last line, so that a quote which swallows it is found
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_Row = tuple[str, str]  # path, label ("" where there is none)


class ListOfFiles:
    """Paths, and labels where there are any."""

    name = "a list of files"
    has_splits = False

    def claims(self, place: Place) -> bool:
        return len(place.files) == 1

    def list(self, place: Place, cache: Cache) -> Items:
        (file,) = place.files
        root = file.parent
        rows = _read_list(file)
        paths = tuple(p for p, _ in rows)
        labels, names = from_texts([label for _, label in rows])
        sizes, times = zip(*(_status(root, p) for p in paths), strict=True)
        return Items(root, paths, Files(root, paths), labels, names, sizes, times=times)


def _read_list(file: Path) -> list[_Row]:
    """Path and label of every line of a list, the paths relative to its folder where they lie in it."""
    suffix = file.suffix.lower()
    if suffix in EXTENSIONS:
        raise PureError(f"'{file}' is a single image. Pass the folder that it is in, or a list of files (.txt, .csv).")
    if suffix == ".npy":
        raise PureError(
            f"'{file}' is a single array. Save it in an archive: np.savez('images.npz', images=…, labels=…)."
        )
    if suffix not in LIST_EXTENSIONS:
        raise PureError(
            f"'{file}' is neither a folder nor a list of files, which ends in {', '.join(LIST_EXTENSIONS)}, nor .tar, "
            ".npz or .parquet. Pass one of these with --data."
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
    found = [(_relative(path, inside), label) for path, label in rows]
    beyond = next((path for path, _ in found if ".." in path and os.path.normpath(path).split("/")[0] == ".."), None)
    if beyond is not None:
        raise PureError(
            f"The list '{file}' names '{beyond}', which leads out of its folder. Write the whole path (/…), or put the "
            "list into a folder above its images."
        )
    return found


def _read_text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise unreadable(file, error) from error
    try:
        if data.startswith(_UTF16) and "\0" not in (text := data.decode("utf-16")):
            return text
        if not _NOT_TEXT.search(data[:_HEAD]) and b"\0" not in data:
            return data.decode("utf-8-sig", errors="surrogateescape")  # the way in which Python names files
    except UnicodeDecodeError:
        pass
    raise PureError(f"'{file}' is not text, so it is no list of files. Pass a folder, or a .txt or .csv file of paths.")


def _lines(text: str, root: Path) -> Iterator[_Row]:
    """The rows of a plain list: the whole line where that is a file or ends like an image, else path and label."""
    for raw in _LINE_END.split(text):
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
    cells: list[str] = []
    for cells in csv.reader(itertools.chain(io.StringIO(text, newline=""), [_END]), delimiter=delimiter):
        if cells == [_END] or not any(map(str.strip, cells)):
            continue
        if cells[0].lstrip().startswith("#") and not _names_image(cells):
            continue
        if header_possible and not _names_image(cells) and (columns := _columns(cells)):
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
    if cells != [_END]:
        raise csv.Error("a quote is opened and not closed")


def _names_image(cells: list[str]) -> bool:
    return any(cell.strip().lower().endswith(EXTENSIONS) for cell in cells)


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


def _status(root: Path, path: str) -> tuple[int, int]:
    """Bytes and time of the last change of a file, -1 where there is none."""
    try:
        status = os.stat(f"{root}/{path}" if path[:1] != "/" else path)  # noqa: PTH116 (as above)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return MISSING_SIZE, NO_TIME
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (MISSING_SIZE, NO_TIME)


def _exists(root: Path, path: str) -> bool:
    return _status(root, path)[0] != MISSING_SIZE
