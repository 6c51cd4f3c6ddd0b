"""Which columns of an Arrow table hold images and labels, and what their values mean."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.data.labels import UNKNOWN_LABEL, Classes, from_numbers, from_texts
from pure_cli.data.source import DamagedImage
from pure_cli.errors import PureError

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("image", "img", "images", "picture", "jpg", "png")
LABEL_COLUMNS = ("label", "labels", "y", "targets", "fine_label", "class", "class_name", "target", "category", "cls")
BYTES, PATH = "bytes", "path"  # fields of an image in the way of Hugging Face
NUMBERS, TEXTS, GAPS = "numbers", "texts", "gaps"  # kinds of labels


def features_of(schema: "pa.Schema") -> dict[str, Any]:
    """What Hugging Face says about the columns, from the metadata of a schema."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def image_column(schema: "pa.Schema", features: Mapping[str, Any], where: str) -> str:
    """The column with the images.

    Raises
    ------
    PureError
        There is none, or there is no telling which.
    """
    said = [name for name, feature in features.items() if _is(feature, "Image") and name in schema.names]
    able = [name for name in said if holds_images(schema, name)]
    able = able or [f.name for f in schema if _can_hold_images(f.type) and holds_images(schema, f.name)]
    usual = [name for name in IMAGE_COLUMNS if name in able]
    if len(able) == 1 or usual:
        return (usual or able)[0]
    what = f"has several columns that may hold images: {', '.join(able)}" if able else "has no column of images"
    raise PureError(
        f"{where} {what}. Name the column of images 'image'; its columns are {', '.join(schema.names) or 'none'}."
    )


def holds_images(schema: "pa.Schema", column: str) -> bool:
    """Whether a column may hold images, or the names of their files."""
    at = schema.get_field_index(column)  # -1 where there are two of that name
    return at >= 0 and (_can_hold_images(schema.field(at).type) or _is_text(schema.field(at).type))


def label_column(schema: "pa.Schema", features: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...], list[str]]:
    """The column with the labels, None where there is none, the class names that the metadata has, and the columns
    that could be meant as well."""
    classes = {
        name: f.get("names", ()) for name, f in features.items() if _is(f, "ClassLabel") and name in schema.names
    }
    held = [field.name for field in schema if kind_of_labels(field.type) in (NUMBERS, TEXTS)]
    classes = {name: names for name, names in classes.items() if name in held}
    column = next((name for name in LABEL_COLUMNS if name in held), next(iter(classes), None))
    names = classes.get(column or "", ())
    others = [name for name in held if name != column and (name in LABEL_COLUMNS or name in classes)]
    return column, tuple(map(str, names)) if isinstance(names, list) else (), others


def kind_of_labels(kind: "pa.DataType") -> str | None:
    """What labels of an Arrow type are: numbers, texts, nothing but gaps; None where it holds none."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):  # of pandas' categories
        return kind_of_labels(kind.value_type)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return NUMBERS
    if _is_text(kind):
        return TEXTS
    return GAPS if pa.types.is_null(kind) else None


def labels_in(chunks: "Sequence[pa.Array]", names: tuple[str, ...], place: Callable[[int], str]) -> Classes:
    """The labels, and class names: those of the metadata, or the texts themselves.

    Parameters
    ----------
    chunks : of one kind of labels, and gaps
    names : those of the metadata
    place : where a row is, in words for the user

    Raises
    ------
    PureError
        A label is no whole number.
    """
    if any(kind_of_labels(chunk.type) == TEXTS for chunk in chunks):
        return from_texts([text for chunk in chunks for text in _texts(chunk)])
    first = np.cumsum([0, *map(len, chunks)]).tolist()
    numbers = [_numbers(chunk, start, place) for chunk, start in zip(chunks, first, strict=False)]
    return Classes(np.concatenate([np.empty(0, np.int64), *numbers]), names)


def _texts(chunk: "pa.Array") -> list[str]:
    """The texts of a chunk, "" where there is a gap."""
    import pyarrow as pa

    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    contents = chunk.cast(pa.large_binary()).to_pylist()  # what others wrote need not be valid Unicode
    return [content.decode("utf-8", "replace") if content else "" for content in contents]


def _numbers(chunk: "pa.Array", start: int, place: Callable[[int], str]) -> np.ndarray:
    """The labels of a chunk of which `start` is the number of the first row."""
    import pyarrow as pa

    if pa.types.is_null(chunk.type):
        return np.full(len(chunk), UNKNOWN_LABEL)
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    known = chunk.is_valid().to_numpy(zero_copy_only=False)
    labels = np.full(len(chunk), UNKNOWN_LABEL)
    rows = np.flatnonzero(known)
    labels[rows] = from_numbers(chunk.drop_null().to_numpy(zero_copy_only=False), lambda i: place(start + int(rows[i])))
    return labels


def image_in(value: Any, folder: Path) -> bytes | Path:
    """The image in a cell: its bytes, or the file that it names, relative to the folder of the data set.

    Raises
    ------
    DamagedImage
        The cell is empty, or names a file outside of that folder: what others wrote has no business there.
    """
    content, path = (value.get(BYTES), value.get(PATH)) if isinstance(value, dict) else (value, value)
    if isinstance(content, bytes):
        return content
    if not isinstance(path, str) or not path:
        raise DamagedImage("no image in its row")
    file = os.path.normpath(folder / path)
    if not Path(file).is_relative_to(os.path.normpath(folder)):
        raise DamagedImage("its row names a file outside of the data set's folder")
    return Path(file)


def _is(feature: Any, kind: str) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == kind


def _can_hold_images(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index(BYTES) >= 0 and _is_bytes(kind.field(BYTES).type)
    return _is_bytes(kind)


def _is_bytes(kind: "pa.DataType") -> bool:
    return str(kind) in ("binary", "large_binary", "binary_view")


def _is_text(kind: "pa.DataType") -> bool:
    return str(kind) in ("string", "large_string", "string_view")
