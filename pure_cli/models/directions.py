"""Directions over the channels of a layer, from a file."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.directions import Directions
from pure_cli.errors import PureError, first_line
from pure_cli.models.dictionaries import NAMES, Found, Part, directions_among
from pure_cli.models.repos import here
from pure_cli.words import is_number

if TYPE_CHECKING:
    import torch

NAME, BIAS = "name", "bias"  # columns of a table that are no channels
CHECKPOINTS = (".pt", ".pth", ".th", ".bin", ".ckpt")
FORMATS = (".npy", ".npz", ".csv", ".safetensors", *CHECKPOINTS)
NO_NAME = re.compile(r"[^\w.+-]+")


def read_directions(path: Path, relu: bool = False, part: Part | None = None) -> Directions:
    """Directions (M, C) of a file.

    Parameters
    ----------
    path : on this machine, or ``hf:OWNER/NAME/FILE`` of the hub. ``.npy``: (M, C) numbers. ``.csv``: a row for each,
        one column for each channel; a first column of texts, or one called name, has names, and one called bias the
        bias. ``.npz``, ``.safetensors`` and torch checkpoints: named tensors as of `pure_cli.models.dictionaries`, and
        names as ``names``, one to a line in the metadata of ``.safetensors``. No file can make code run
    relu : negative activations count as zero
    part : of a sparse autoencoder; its decoder where nothing is said

    Raises
    ------
    PureError
        No such file, another format, not a table of finite numbers.
    """
    path = here(path)
    if not path.is_file():
        raise PureError(f"There is no file of directions {path}.")
    if path.suffix not in FORMATS:
        raise PureError(f"{path} is no file of directions. Give a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file.")
    try:
        found = _read(path, part)
    except PureError:
        raise
    except Exception as error:
        raise PureError(f"{path} cannot be read as directions: {first_line(error)}.") from None
    return _checked(path, found, relu)


def _read(path: Path, part: Part | None) -> Found:
    if path.suffix in (".npy", ".csv"):
        if part is not None:
            raise PureError(f"{path} is no sparse autoencoder with parts. Leave out --directions-part.")
        return _npy(path) if path.suffix == ".npy" else _csv(path)
    read = {".npz": _npz, ".safetensors": _safetensors}.get(path.suffix, _checkpoint)
    tensors, names = read(path)
    try:
        return directions_among(tensors, part, names)
    except PureError as error:
        raise PureError(f"{path} {error}") from None


def _checked(path: Path, found: Found, relu: bool) -> Directions:
    weight, bias, names = found.weight, found.bias, list(found.names)
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


def set_name(path: Path, part: Part | None = None) -> str:
    """What a set of directions is called: the name of its file, in letters that names of layers may have."""
    stem = path.stem if part != "encoder" else f"{path.stem}-{part}"
    return NO_NAME.sub("-", stem) or "directions"


def _npy(path: Path) -> Found:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise PureError(f"{path} cannot be read as directions: it is no .npy file of numbers.") from None
    return Found(values if np.iscomplexobj(values) else np.asarray(values, dtype=np.float64))


def _npz(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    arrays, names = {}, []
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            try:
                value = file[key]
            except ValueError:
                raise PureError(
                    f"{path} holds Python objects as {key}, which are not loaded. Save texts as np.array(…, dtype=str)."
                ) from None
            if key in NAMES:
                names = [str(name) for name in np.ravel(value).tolist()]
            elif np.issubdtype(value.dtype, np.number):
                arrays[key] = value if np.iscomplexobj(value) else value.astype(np.float64)
    return arrays, names


def _safetensors(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        names = ((file.metadata() or {}).get("names") or "").splitlines()
        return {key: _array(file.get_tensor(key)) for key in file.keys()}, names  # noqa: SIM118 (it is no dict)


def _checkpoint(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    import torch

    from pure_cli.models.weights import read_checkpoint, unwrapped

    content = unwrapped(read_checkpoint(path))
    if isinstance(content, torch.Tensor):
        return {"weight": _array(content)}, []
    if not isinstance(content, Mapping):
        raise PureError(
            f"{path} holds no tensors by name. Save a state_dict(), or a dict of tensors, and pass that file."
        )
    names = next((content[key] for key in NAMES if isinstance(content.get(key), list | tuple)), ())
    tensors = {str(key): _array(value) for key, value in content.items() if isinstance(value, torch.Tensor)}
    return tensors, [str(name) for name in names]


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().to_dense() if tensor.is_sparse else tensor.detach()
    return (tensor if tensor.is_complex() else tensor.double()).numpy()


def _csv(path: Path) -> Found:
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
    elif not is_number(rows[0][0]) and (len(rows[0]) < 2 or not is_number(rows[0][1])):
        raise PureError(f"The first line of {path} is no direction. Call its columns name, bias, and 0, 1, … .")
    first_is_name = indexed or (bool(rows) and not biased and not is_number(rows[0][0]))
    name_at = header.index(NAME) if named else 0 if first_is_name else None
    bias_at = header.index(BIAS) if biased else None
    channels = [i for i in range(len(header)) if i not in (name_at, bias_at)]
    if uneven := next((i for i, row in enumerate(rows, 1) if len(row) != len(header)), None):
        raise PureError(f"Row {uneven} of {path} has {len(rows[uneven - 1])} columns, and the first {len(header)}.")
    weight = np.array([[float(row[i]) for i in channels] for row in rows], dtype=np.float64)
    bias = np.array([float(row[bias_at]) for row in rows]) if bias_at is not None else None
    return Found(weight, bias, [row[name_at].strip() for row in rows] if name_at is not None else [])
