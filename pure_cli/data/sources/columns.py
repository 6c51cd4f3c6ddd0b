"""Which columns of an Arrow table hold images and labels, and what their values mean."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.data.labels import UNKNOWN_LABEL, from_texts
from pure_cli.data.source import DamagedImage
from pure_cli.errors import PureError

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("image", "img", "images", "picture", "jpg", "png")
LABEL_COLUMNS = ("label", "labels", "y", "targets", "fine_label", "class", "class_name", "target", "category", "cls")
BYTES, PATH = "bytes", "path"  # fields of an image in the way of Hugging Face


def features_of(schema: "pa.Schema") -> dict[str, Any]:
    """What Hugging Face says about the columns, from the metadata of a schema."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
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
    able = said or [field.name for field in schema if _can_hold_images(field.type)]
    usual = [name for name in IMAGE_COLUMNS if name in able]
    if len(able) == 1 or usual:
        return (usual or able)[0]
    what = f"has several columns that may hold images: {', '.join(able)}" if able else "has no column of images"
    raise PureError(
        f"{where} {what}. Name the column of images 'image'; its columns are {', '.join(schema.names) or 'none'}."
    )


def label_column(schema: "pa.Schema", features: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The column with the labels, None where there is none, and the class names that the metadata has."""
    classes = {
        name: f.get("names", ()) for name, f in features.items() if _is(f, "ClassLabel") and name in schema.names
    }
    able = [*classes, *(field.name for field in schema if _can_hold_labels(field.type) and field.name not in classes)]
    column = next((name for name in LABEL_COLUMNS if name in able), next(iter(classes), None))
    return column, tuple(map(str, classes.get(column or "", ())))


def labels_in(column: "pa.ChunkedArray", names: tuple[str, ...]) -> tuple[np.ndarray | list[int], tuple[str, ...]]:
    """The labels, and class names: those of the metadata, or the texts themselves."""
    values = column.to_pylist()
    if any(isinstance(value, str) for value in values):
        return from_texts(["" if value is None else str(value) for value in values])
    values = [None if value != value else value for value in values]  # NaN, where pandas had a gap
    if odd := next((value for value in values if value is not None and value != int(value)), None):
        raise PureError(f"A label is {odd}. Labels are whole numbers, or names.")
    known = [UNKNOWN_LABEL if value is None or value < 0 else int(value) for value in values]
    return np.array(known, np.int64), names


def image_in(value: Any, folder: Path) -> bytes | Path:
    """The image in a cell: its bytes, or the file that it names, relative to the folder of the data set.

    Raises
    ------
    DamagedImage
        The cell is empty.
    """
    content, path = (value.get(BYTES), value.get(PATH)) if isinstance(value, dict) else (value, None)
    if content is not None:
        return bytes(content)
    if path:
        return folder / path
    raise DamagedImage("no image in its row")


def _is(feature: Any, kind: str) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == kind


def _can_hold_images(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index(BYTES) >= 0 and _can_hold_images(kind.field(BYTES).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == pa.binary_view())


def _can_hold_labels(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):  # of pandas' categories
        return _can_hold_labels(kind.value_type)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return bool(number or pa.types.is_string(kind) or pa.types.is_large_string(kind))
