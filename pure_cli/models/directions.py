"""Directions over the channels of a layer, from a file."""

import csv
import re
from pathlib import Path

import numpy as np

from pure_cli.core.directions import Directions
from pure_cli.errors import PureError, first_line

NAME, BIAS = "name", "bias"  # columns of a table that are no channels
FORMATS = (".npy", ".safetensors", ".csv")
NO_NAME = re.compile(r"[^\w.+-]+")


def read_directions(path: Path, relu: bool = False) -> Directions:
    """Directions (M, C) of a ``.npy``, ``.safetensors`` or ``.csv`` file.

    Parameters
    ----------
    path : ``.npy``: (M, C) numbers. ``.safetensors``: ``weight`` (M, C) or the only tensor, perhaps ``bias`` (M,), and
        names as the metadata ``names``, one to a line. ``.csv``: a row for each, one column for each channel; a first
        column of texts, or one called name, has names, and one called bias the bias
    relu : negative activations count as zero

    Raises
    ------
    PureError
        No such file, another format, not a table of finite numbers.
    """
    if not path.is_file():
        raise PureError(f"There is no file of directions {path}.")
    if path.suffix not in FORMATS:
        raise PureError(f"{path} is no file of directions. Give a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file.")
    read = {".npy": _npy, ".safetensors": _safetensors, ".csv": _csv}[path.suffix]
    try:
        weight, bias, names = read(path)
    except PureError:
        raise
    except Exception as error:
        raise PureError(f"{path} cannot be read as directions: {first_line(error)}.") from None
    if np.iscomplexobj(weight):
        raise PureError(f"{path} holds complex numbers; directions are real.")
    if weight.ndim != 2 or 0 in weight.shape:
        shape = " × ".join(map(str, weight.shape))
        raise PureError(f"{path} must hold one row for each direction and one column for each channel, not {shape}.")
    if bias is None:
        bias = np.zeros(len(weight), np.float32)
    if bias.shape != weight.shape[:1]:
        shape = " × ".join(map(str, bias.shape))
        raise PureError(f"{path} has {len(weight)} directions and a bias of shape {shape}; each needs one number.")
    with np.errstate(over="ignore"):  # said below
        weight, bias = weight.astype(np.float32), bias.astype(np.float32)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise PureError(f"{path} holds values that are not finite numbers.")
    if names and len(names) != len(weight):
        raise PureError(f"{path} has {len(weight)} directions and {len(names)} names.")
    return Directions(weight, bias, relu, names)


def set_name(path: Path) -> str:
    """What a set of directions is called: the name of its file, in letters that names of layers may have."""
    return NO_NAME.sub("-", path.stem) or "directions"


def _npy(path: Path) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise PureError(f"{path} cannot be read as directions: it is no .npy file of numbers.") from None
    return values if np.iscomplexobj(values) else np.asarray(values, dtype=np.float64), None, []


def _safetensors(path: Path) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        there = list(file.keys())
        own = "weight" if "weight" in there else next(iter(key for key in there if key != BIAS), None)
        if own is None or (own != "weight" and len([key for key in there if key != BIAS]) > 1):
            raise PureError(f"{path} needs a tensor called weight; it has {', '.join(there) or 'none'}.")
        weight = file.get_tensor(own).double().numpy()
        bias = file.get_tensor(BIAS).double().numpy() if BIAS in there else None
        names = ((file.metadata() or {}).get("names") or "").splitlines()
    return weight, bias, names


def _csv(path: Path) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    if not rows:
        raise PureError(f"{path} is empty.")
    header = [cell.strip().lower() for cell in rows[0]]
    named, biased = NAME in header, BIAS in header
    counted = [str(i) for i in range(len(header))]
    indexed = header == ["", *counted[:-1]]
    if header == counted or indexed or named or biased:  # as pandas numbers columns, without and with an index
        rows = rows[1:]
    elif not _number(rows[0][0]) and (len(rows[0]) < 2 or not _number(rows[0][1])):
        raise PureError(f"The first line of {path} is no direction. Call its columns name, bias, and 0, 1, … .")
    first_is_name = indexed or (bool(rows) and not biased and not _number(rows[0][0]))
    name_at = header.index(NAME) if named else 0 if first_is_name else None
    bias_at = header.index(BIAS) if biased else None
    channels = [i for i in range(len(header)) if i not in (name_at, bias_at)]
    if uneven := next((i for i, row in enumerate(rows, 1) if len(row) != len(header)), None):
        raise PureError(f"Row {uneven} of {path} has {len(rows[uneven - 1])} columns, and the first {len(header)}.")
    weight = np.array([[float(row[i]) for i in channels] for row in rows], dtype=np.float64)
    bias = np.array([float(row[bias_at]) for row in rows]) if bias_at is not None else None
    return weight, bias, [row[name_at].strip() for row in rows] if name_at is not None else []


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
