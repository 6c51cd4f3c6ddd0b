"""A list of files: ``.txt``, ``.lst`` (a path to a line, a label after it if there is one), ``.csv``, ``.tsv`` (path
and label, by the names in the header or by place); paths are relative to the folder of the list."""

import codecs
import csv
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from pure_cli.data.cache import Cache
from pure_cli.data.labels import fraction, from_texts
from pure_cli.data.place import Place, unreadable
from pure_cli.data.rest import chosen_labels, conversion
from pure_cli.data.source import EXTENSIONS, MISSING_SIZE, Files, Items
from pure_cli.data.sources.beside import NO_FILE, Beside, status_of
from pure_cli.data.sources.urls_in_lists import items_elsewhere
from pure_cli.errors import PureError
from pure_cli.remote.urls import is_url
from pure_cli.words import counted, printable

LIST_EXTENSIONS = (".txt", ".lst", ".csv", ".tsv")
PATH_COLUMNS = (
    *("path", "paths", "filepath", "filepaths", "file_path", "file", "files", "filename", "filenames", "file_name"),
    *("image", "images", "image_path", "img", "img_path"),
)
LABEL_COLUMNS = (
    *("label", "labels", "class", "classes", "class_name", "target", "targets", "category"),
    *("class_id", "label_id", "category_id", "label_name", "category_name", "cls"),
)

_ID = re.compile(r"(.*[_ -])?(id|uuid)|(image|img|photo|picture|file)[_ -]?(id|name|key)")  # columns of names, too
_ENDING = "|".join(re.escape(e) for e in EXTENSIONS)
_PATH_AND_LABEL = re.compile(rf"(.*(?:{_ENDING}))\s+(\S.*)", re.IGNORECASE)
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_LINE_END = re.compile(r"\r?\n|\r(?!\n)")  # and no other ones, which names of files may have in them
_HEAD = 1 << 16  # bytes of a list that are looked at to see whether it is text
_END = "\x1e"  # behind the last line, so that a quote which swallows it is found
_ODD_BYTES = re.compile(r"[\udc80-\udcff]")  # as ``surrogateescape`` keeps them
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

SIZE, TIME, INODE = range(3)  # of a file's status

_Row = tuple[str, str]  # path, label ("" where there is none)


class ListOfFiles:
    """Paths, and labels where there are any."""

    name = "a list of files"
    has_splits = False
    by_url = True
    order = 90  # it claims every file

    def claims(self, place: Place) -> bool:
        (file, *others) = place.files or (None,)
        return file is not None and not others and (not place.url or file.suffix.lower() in LIST_EXTENSIONS)

    def list(self, place: Place, cache: Cache) -> Items:
        (file,) = place.files
        text, rows, notes = read_rows(file)
        _refuse_fractions(file, rows)
        if place.url or any(is_url(path) for path, _ in rows):
            return items_elsewhere(place, file.name, text, rows, notes)
        root = file.parent
        rows, notes = _in_folder(file, text, rows, notes)
        paths, status, found = _found(file, [path for path, _ in rows])
        first, again = _without_twins(root, paths, status[:, INODE], [label for _, label in rows])
        paths = [paths[i] for i in first]
        labels, names, order = from_texts([rows[i][1] for i in first])
        sizes, times = status[first, SIZE], status[first, TIME]
        return Items(
            root, tuple(paths), Files(root, tuple(paths)), labels, names, sizes, times=times, order=order,
            notes=[*notes, *found, *again],
        )  # fmt: skip


def _refuse_fractions(file: Path, rows: list[_Row]) -> None:
    """Raises `PureError` where labels are fractional numbers, each of which would be a class of its own."""
    label = fraction([label for _, label in rows])
    if label:
        path = next(path for path, own in rows if own == label)
        raise PureError(
            f"The label of '{printable(path)}' in the list '{file}' is {label}. Labels are whole numbers, or names: "
            "of fractional numbers, every value would be a class of its own. Take this column out of the list."
        )


def _found(file: Path, paths: list[str]) -> tuple[list[str], np.ndarray, list[str]]:
    """Where the files are, their status as (N, 3) int64, and what to say of it.

    Raises
    ------
    PureError
        There is none, and the list does not even name images by their endings.
    """
    beside, root = Beside(file), file.parent
    status = np.empty((len(paths), 3), np.int64)
    for i, path in enumerate(paths):
        one = status_of(root, path)
        if one is NO_FILE and (elsewhere := beside.find(path)):
            paths[i], one = elsewhere
        status[i] = one
    if (status[:, SIZE] == MISSING_SIZE).all() and not _names_image(paths):
        raise PureError(
            f"The list '{file}' names '{paths[0]}', and there is no such file beside it or in a folder beside it, with "
            "or without the ending of an image. Write the paths of the images into the list."
        )
    return paths, status, beside.notes()


def _without_twins(root: Path, paths: list[str], inodes: np.ndarray, labels: list[str]) -> tuple[list[int], list[str]]:
    """The lines that name an image for the first time, and what to say of the others."""
    _, group, sizes = np.unique(inodes, return_inverse=True, return_counts=True)
    if sizes.max(initial=0) < 2:
        return list(range(len(paths))), []
    real = cache(os.path.realpath)

    def where(path: str) -> str:
        """The file itself, whatever links lead to it; hard links are files of their own."""
        full = os.path.normpath(root / path)
        if os.path.islink(full):  # noqa: PTH114 (a Path each takes longer)
            return os.path.realpath(full)
        folder, _, name = full.rpartition(os.sep)
        return f"{real(folder)}{os.sep}{name}"

    first, seen, other = [], dict[str, int](), 0
    for i, path in enumerate(paths):
        before = i if sizes[group[i]] == 1 else seen.setdefault(where(path), i)
        if before == i:
            first.append(i)
        other += labels[before] != labels[i]
    again = len(paths) - len(first)
    if not again:
        return first, []
    lines = "1 line names" if again == 1 else f"{again:,} lines name"
    differ = f"; {other:,} of them with another label than the first one, which counts" if other else ""
    return first, [f"{lines} an image again and {'was' if again == 1 else 'were'} left out{differ}."]


def read_rows(file: Path) -> tuple[str, list[_Row], list[str]]:
    """The text of a list, path and label as its lines have them, and guesses.

    Raises
    ------
    PureError
        It is no list, or names nothing.
    """
    _require_list(file)
    text = _read_text(file)
    rows, notes = _rows(text, file)
    if not rows:
        raise PureError(
            f"The list '{file}' names no image. It should hold a path to a line, and a label after it if there is one."
        )
    return text, rows, notes


def _in_folder(file: Path, text: str, rows: list[_Row], notes: list[str]) -> tuple[list[_Row], list[str]]:
    """Path and label of every line, the paths relative to the folder of the list where they lie in it; guesses."""
    root = file.parent
    if _ODD_BYTES.search(text) is not None:
        notes = [*map(_decoded, notes), f"'{file.name}' is not UTF-8: it was read as Windows-1252."]
        rows = [(path if _exists(root, path) else _decoded(path), _decoded(label)) for path, label in rows]
    if any("\\" in path for path, _ in rows):
        slashed = [(path if _exists(root, path) else path.replace("\\", "/"), label) for path, label in rows]
        notes += [f"The backslashes in the paths of '{file.name}' were read as slashes."] if slashed != rows else []
        rows = slashed
    inside = f"{root.as_posix().rstrip('/')}/"
    found = [(_relative(path, inside), label) for path, label in rows]
    beyond = next((path for path, _ in found if ".." in path and os.path.normpath(path).split("/")[0] == ".."), None)
    if beyond is not None:
        raise PureError(
            f"The list '{file}' names '{beyond}', which leads out of its folder. Write the whole path (/…), or put the "
            "list into a folder above its images."
        )
    return found, notes


def _require_list(file: Path) -> None:
    """Make sure that a file is named like a list.

    Raises
    ------
    PureError
        It is something else.
    """
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
            f".npz or .parquet. Pass one of these with --data.{conversion([suffix])}"
        )


def _rows(text: str, file: Path) -> tuple[list[_Row], list[str]]:
    """Path and label as the lines have them, and what was guessed of their columns."""
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".tsv"):
        return list(_lines(text, file.parent)), []
    try:
        return _table(text, "\t" if suffix == ".tsv" else _delimiter(text), file)
    except csv.Error as error:
        raise PureError(f"The list '{file}' cannot be read as a table ({error}). Check its quotes.") from error


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


def _decoded(text: str) -> str:
    """Text whose odd bytes are letters of Windows-1252, or of Latin-1 where that has none."""
    if not _ODD_BYTES.search(text):
        return text
    data = text.encode("utf-8", "surrogateescape")
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


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


def _table(text: str, delimiter: str, file: Path) -> tuple[list[_Row], list[str]]:
    """The rows of a table, and what was guessed: columns by the names of its header, else by place."""
    lines = _cells(text, delimiter)
    two = [cells for cells in (next(lines, None), next(lines, None)) if cells is not None]
    if not two:
        return [], []
    header = _is_header(two[0], two[1:], file.parent)
    at_path, at_label, notes = _by_name(two[0], two[1:], file) if header else _by_place(two[0], file)
    rows, without = [], 0
    for cells in itertools.chain(two[header:], lines):
        path = cells[at_path] if at_path < len(cells) else ""
        label = cells[at_label] if 0 <= at_label < len(cells) else ""
        stripped = path.strip()
        if path != stripped and _exists(file.parent, path):
            stripped = path
        if stripped:
            rows.append((stripped, label.strip()))
        else:
            without += 1
    if without:
        notes.append(f"{counted(without, 'line')} of '{file.name}' name{'s' if without == 1 else ''} no image.")
    return rows, notes


def _cells(text: str, delimiter: str) -> Iterator[list[str]]:
    """The lines of a table that are neither empty nor comments."""
    cells: list[str] = []
    for cells in csv.reader(itertools.chain(io.StringIO(text, newline=""), [_END]), delimiter=delimiter):
        comment = cells[:1] and cells[0].lstrip().startswith("#") and not _names_image(cells)
        if cells != [_END] and any(map(str.strip, cells)) and not comment:
            yield cells
    if cells != [_END]:
        raise csv.Error("a quote is opened and not closed")


def _names_image(cells: Iterable[str]) -> bool:
    return any(cell.strip().lower().endswith(EXTENSIONS) for cell in cells)


def _image_columns(cells: list[str]) -> list[int]:
    return [i for i, cell in enumerate(cells) if _names_image([cell])]


def _is_header(cells: list[str], following: list[list[str]], root: Path) -> bool:
    """Whether a line names columns: by the usual names, or since the next line names an image and it does not."""
    if _names_image(cells):
        return False
    if any(_is_path(name) or _is_label(name) or _ID.fullmatch(name.strip().lower()) for name in cells):
        return True
    columns = [i for line in following for i in _image_columns(line) if i < len(cells)]
    return bool(columns) and not any(_exists(root, cells[i]) for i in columns)


def _by_name(header: list[str], following: list[list[str]], file: Path) -> tuple[int, int, list[str]]:
    """Where a header puts path and label (-1: no label), and what was guessed."""
    images = [i for line in following for i in _image_columns(line)]
    paths = [i for i, name in enumerate(header) if _is_path(name)]
    labels = [i for i, name in enumerate(header) if _is_label(name)]
    ids = [i for i, name in enumerate(header) if i not in labels and _ID.fullmatch(name.strip().lower())]
    path = next((i for i in paths if i in images), None)
    path = next(iter([*paths, *(images if len(images) == 1 else []), *ids]), None) if path is None else path
    path = int(labels[:1] == [0]) if path is None else path
    labels = [i for i in labels if i != path]
    names = [printable(name.strip()) for name in header]
    if labels:
        return path, labels[0], chosen_labels("column", names[labels[0]], [names[i] for i in labels[1:]])
    if len(header) == 2:  # the other one is it
        return path, 1 - path, [f"The labels are those of the column '{names[1 - path]}'."]
    if len(header) < 2:
        return path, -1, []
    every = ", ".join(f"'{name}'" for name in names)
    note = (
        f"The images of '{file.name}' have no labels, since none of its columns {every} is called 'label' or 'class'."
    )
    return path, -1, [note]


def _by_place(cells: list[str], file: Path) -> tuple[int, int, list[str]]:
    """Path and label of a table without a header: the column that names an image, and the next one."""
    images = _image_columns(cells)
    path = images[0] if len(images) == 1 else 0
    label = path + 1 if path + 1 < len(cells) or path == 0 else path - 1
    if len(cells) <= 2:
        return path, label, []
    return path, label, [
        f"'{file.name}' has no header: column {path + 1} was taken for the paths, column {label + 1} for the labels."
    ]  # fmt: skip


def _is_path(name: str) -> bool:
    return name.strip().lower() in PATH_COLUMNS


def _is_label(name: str) -> bool:
    return name.strip().lower() in LABEL_COLUMNS


def _relative(path: str, inside: str) -> str:
    """A path of a list in POSIX form; relative where it begins with `inside`, the folder of the list."""
    if os.sep != "/":
        path = path.replace(os.sep, "/")
    path = path.removeprefix(inside)
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path


def _exists(root: Path, path: str) -> bool:
    return status_of(root, path) is not NO_FILE


SOURCE = ListOfFiles()
