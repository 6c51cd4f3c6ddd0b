"""Hugging Face: `datasets` saved on disk (``save_to_disk``), and Parquet files with a column of images.

Read with pyarrow alone, the extra ``parquet``. Random access: a saved data set is mapped into memory. Of a Parquet
file, the smallest thing that can be read is the images of one row group; each process keeps the last one, so that going
through the images in order reads each row group once in every process.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.data.cache import Cache
from pure_cli.data.handles import Handles
from pure_cli.data.place import Place, no_splits, pick_split
from pure_cli.data.remote_reading import remote
from pure_cli.data.rest import chosen_labels
from pure_cli.data.source import EXTENSIONS, DamagedImage, Items
from pure_cli.data.sources.columns import (
    GAPS,
    features_of,
    holds_images,
    image_column,
    image_in,
    kind_of_labels,
    label_column,
    labels_in,
)
from pure_cli.errors import PureError, PureFailure, first_line
from pure_cli.remote.files import RemoteFile, plan_pass

if TYPE_CHECKING:
    import pyarrow as pa

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"  # that save_to_disk writes

_OF_SPLIT = re.compile(r"(.+)-[0-9]+-of-[0-9]+\.parquet")  # how the hub names files: train-00000-of-00002.parquet
_FOOTER = 8  # last bytes of a Parquet file: the length of what is before them (4), PAR1


# --- data sets saved on disk


class SavedDataset:
    """The folder of a `Dataset`, or of a `DatasetDict` and the split."""

    name = "a saved Hugging Face data set"
    has_splits = True
    order = 30

    def claims(self, place: Place) -> bool:
        if (place.path / SPLITS).is_file():
            return True
        return place.is_folder and ".arrow" in place.endings and (place.path / STATE).is_file()

    def list(self, place: Place, cache: Cache) -> Items:
        _require_pyarrow()
        folder = place.path
        if (folder / SPLITS).is_file():
            folder = folder / pick_split(place, _names(folder / SPLITS, "splits"))
        elif place.split is not None:
            raise no_splits(place)
        state = _json(folder / STATE)
        if state.get("_indices_data_files") or state.get("_indices_files"):
            raise PureError(f"'{folder}' is a selection of rows. Save it again after dataset.flatten_indices().")
        files = [folder / name for name in _names(folder / STATE, "_data_files")]
        tables = [_guarded(_mapped, file) for file in files]
        sizes = " ".join(str(file.stat().st_size) for file in files)
        features = _json(folder / INFO).get("features") if (folder / INFO).is_file() else None
        identity = f"{state.get('_fingerprint')} {sizes}"
        read = _Rows(files, np.cumsum([0, *(table.num_rows for table in tables)]), folder)
        return _items(folder, files, read, [table.schema for table in tables], features, identity, _Mapped(files))


def _mapped(file: Path) -> "pa.Table":
    import pyarrow as pa

    source = pa.memory_map(str(file))
    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(source).read_all()


def _cells(file: Path, column: str) -> "pa.ChunkedArray":
    """A column of a file that is mapped into memory; a damaged one could point outside of the memory."""
    cells = _mapped(file)[column]
    cells.validate(full=True)
    return cells


@dataclass(frozen=True)
class _Mapped:
    """Columns of saved data sets."""

    files: list[Path]

    def __call__(self, column: str) -> "list[pa.Array]":
        return [chunk for file in self.files for chunk in _guarded(lambda path: _cells(path, column), file).chunks]


# --- Parquet


class ParquetFiles:
    """A Parquet file, a folder of them, or a pattern."""

    name = "Parquet files"
    has_splits = True
    by_url = True
    order = 31

    def claims(self, place: Place) -> bool:
        return place.holds(".parquet") and not place.endings & set(EXTENSIONS)

    def list(self, place: Place, cache: Cache) -> Items:
        _require_pyarrow()
        files = _of_split(place)
        openings = [_guarded(_parquet, file) for file in files]
        groups, first = [], [0]
        for file, opened in zip(files, openings, strict=True):
            for group in range(opened.metadata.num_row_groups):
                groups.append((file, group))
                first.append(first[-1] + opened.metadata.row_group(group).num_rows)
        identity = sha256(b"".join(_guarded(_footer, file) for file in files)).hexdigest()
        read = _Rows(groups, np.array(first), place.folder)
        schemas = [opened.schema_arrow for opened in openings]
        return _items(place.folder, files, read, schemas, None, identity, _Columns(files))


def _of_split(place: Place) -> list[Path]:
    """The files of the split that is meant, where their names say that there are several."""
    files = place.files_ending(".parquet")
    if not place.is_folder:
        if place.split is not None:
            raise no_splits(place)
        return files
    splits: dict[str, list[Path]] = {}
    for file in files:
        match = _OF_SPLIT.fullmatch(file.name)
        splits.setdefault(match[1] if match else "", []).append(file)
    if len(splits) == 1 and place.split is None:
        return files
    if "" in splits:
        if place.split is not None:
            raise no_splits(place)
        return files
    return splits[pick_split(place, list(splits))]


def _parquet(file: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file.open("rb", keep=True) if isinstance(file, RemoteFile) else file)


@dataclass(frozen=True)
class _Columns:
    """Columns of Parquet files."""

    files: list[Path]

    def __call__(self, column: str) -> "list[pa.Array]":
        tables = [_guarded(lambda path: _parquet(path).read([column], use_threads=False), file) for file in self.files]
        return [chunk for table in tables for chunk in table[column].chunks]


def _footer(file: Path) -> bytes:
    """What a Parquet file says of itself: sizes, places and extremes of all its columns."""
    size = file.stat().st_size
    with file.open("rb", keep=True) if isinstance(file, RemoteFile) else file.open("rb") as content:
        content.seek(size - _FOOTER)
        length = int.from_bytes(content.read(4), "little")
        content.seek(max(0, size - _FOOTER - length))
        return size.to_bytes(8, "little") + content.read(length)


# --- both


def _items(
    root: Path,
    files: list[Path],
    read: "_Rows",
    schemas: "list[pa.Schema]",
    features: dict[str, Any] | None,
    identity: str,
    column: Callable[[str], "list[pa.Array]"],
) -> Items:
    """The items of tables of one kind.

    Parameters
    ----------
    schemas : of each file
    features : what is known of the columns; where it is nothing, what the schema says
    column : gives the values of a column of all files
    """
    if not files:
        raise PureError(f"There is no row in '{root}'. Save the data set again.")
    schema = schemas[0]
    features = features if isinstance(features, dict) else features_of(schema)
    read.column = image_column(schema, features, f"'{files[0]}'")
    odd = next((f for f, s in zip(files, schemas, strict=True) if not holds_images(s, read.column)), None)
    if odd is not None:
        raise PureError(
            f"'{odd}' has no column '{read.column}' of images, as '{files[0]}' has. Pass files of one kind."
        )
    where, names, others = next((found for s in schemas if (found := label_column(s, features))[0]), (None, (), []))
    rows = read.names(root)
    if where is None:
        return Items(root, rows, read, identity=identity, starts=read.starts)
    _require_one_kind(files, schemas, where)
    labels, names, order = labels_in(column(where), names, lambda i: f"'{root / rows[i]}'")
    notes = chosen_labels("column", where, others)
    return Items(root, rows, read, labels, names, identity=identity, order=order, notes=notes, starts=read.starts)


def _require_one_kind(files: list[Path], schemas: "list[pa.Schema]", column: str) -> None:
    """Files may differ in how they store labels, and not in whether they are numbers or texts."""
    twice = next((file for file, s in zip(files, schemas, strict=True) if s.names.count(column) > 1), None)
    if twice is not None:
        raise PureError(f"'{twice}' has several columns '{column}'. Leave one of them.")
    at = [s.get_field_index(column) for s in schemas]  # -1 where it is not there
    kinds = [kind_of_labels(s.field(i).type) if i >= 0 else None for s, i in zip(schemas, at, strict=True)]
    like = next((i for i, kind in enumerate(kinds) if kind not in (GAPS, None)), 0)
    odd = next((file for file, kind in zip(files, kinds, strict=True) if kind not in (GAPS, kinds[like])), None)
    if odd is not None:
        raise PureError(f"The column '{column}' of '{odd}' is not as in '{files[like]}'. Pass files of one kind.")


class _Rows:
    """Reads the image of a row.

    Parameters
    ----------
    parts : files, or file and row group
    first : number of the first row of each part, and of one more
    folder : that paths in the cells are relative to
    """

    column = ""

    def __init__(self, parts: "list[Any]", first: np.ndarray, folder: Path) -> None:
        self._parts, self._first, self._folder = parts, first, folder
        self._images = Handles(_images, most=1 if parts and isinstance(parts[0], tuple) else 64)

    def __call__(self, i: int) -> bytes | Path:
        part = int(np.searchsorted(self._first, i, side="right")) - 1
        cells = self._images((self._parts[part], self.column))
        try:
            cell = cells[i - int(self._first[part])].as_py()
        except (LookupError, ValueError) as error:  # fewer rows than the file says, a path that is no text
            raise DamagedImage("its row is damaged") from error
        return image_in(cell, self._folder)

    @property
    def starts(self) -> np.ndarray:
        """The first row of each part that has any."""
        return np.unique(self._first[:-1])

    def expect(self, index: np.ndarray) -> None:
        """Have files that lie elsewhere fetched for a pass over some rows, in this order."""
        files = remote([part[0] if isinstance(part, tuple) else part for part in self._parts])
        if files and len(index):
            part = np.searchsorted(self._first, index, side="right") - 1
            shares = np.bincount(part, minlength=len(files)) / np.maximum(1, np.diff(self._first))
            wanted: dict[RemoteFile, list[float]] = {}
            for one in dict.fromkeys(part.tolist()):
                wanted.setdefault(files[one], []).append(shares[one])
            counts = [int(sum(own) / files.count(file) * file.known.size) for file, own in wanted.items()]
            plan_pass(list(wanted), counts)

    def names(self, root: Path) -> list[str]:
        """``train.parquet:00017`` for the row 17 of a file."""
        found: list[str] = []
        counted: dict[Path, int] = {}
        for part, count in zip(self._parts, np.diff(self._first).tolist(), strict=True):
            file = part[0] if isinstance(part, tuple) else part
            start = counted.get(file, 0)
            name = file.relative_to(root).as_posix()
            found += [f"{name}:{row:05d}" for row in range(start, start + count)]
            counted[file] = start + count
        return found


def _images(key: "tuple[Any, str]") -> "pa.ChunkedArray":
    """The images of a file that is mapped, or of a row group."""
    part, column = key
    try:
        if isinstance(part, tuple):
            file, group = part
            return _parquet(file).read_row_group(group, columns=[column], use_threads=False)[column]
        return _cells(part, column)
    except PureError as error:  # of a storage
        raise PureFailure(str(error)) from None
    except Exception as error:  # of a damaged file, pyarrow raises many things
        what = "row group" if isinstance(part, tuple) else "file"
        raise DamagedImage(f"the {what} that it is in is damaged or gone") from error


def _guarded(read: Callable[[Path], Any], file: Path) -> Any:
    """What `read` gives, its errors in a sentence."""
    try:
        return read(file)
    except PureError:  # of a storage
        raise
    except Exception as error:  # as above
        raise PureError(f"'{file}' is damaged or cannot be read ({first_line(error)}). Fetch it again.") from error


def _json(file: Path) -> dict[str, Any]:
    found = _guarded(lambda path: json.loads(path.read_text(encoding="utf-8")), file)
    if not isinstance(found, dict):
        raise PureError(f"'{file}' is damaged. Save the data set again.")
    return found


def _names(file: Path, key: str) -> list[str]:
    """A list of names in a JSON file, or of objects with a file's name; of what lies beside it."""
    try:
        names = [str(entry["filename"] if isinstance(entry, dict) else entry) for entry in _json(file)[key]]
    except (KeyError, TypeError) as error:
        raise PureError(f"'{file}' is damaged: it has no '{key}'. Save the data set again.") from error
    if not names:
        raise PureError(f"'{file}' is damaged: its '{key}' are none. Save the data set again.")
    odd = next((name for name in names if name != Path(name).name or name in ("", "..")), None)
    if odd is not None:
        raise PureError(f"'{file}' names '{odd}', which does not lie beside it. Save the data set again.")
    return names


def _require_pyarrow() -> None:
    if find_spec("pyarrow") is None:
        raise PureError("Parquet and saved Hugging Face data sets need pyarrow: pip install 'pure-cli[parquet]'.")


SOURCE = (SavedDataset(), ParquetFiles())
