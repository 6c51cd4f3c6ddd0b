"""Class labels as numbers, from names or from text."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from pure_cli.errors import PureError

UNKNOWN_LABEL = -1

_TOO_LARGE = 2.0**63  # for 64 bits
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")  # "3.0" is what pandas writes for 3 in a column with gaps


def number(classes: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """Number class names in the order of the alphabet; "" is no class."""
    names = tuple(sorted(set(classes) - {""}))
    position = {name: i for i, name in enumerate(names)}
    return [position.get(c, UNKNOWN_LABEL) for c in classes], names


def from_texts(texts: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """Labels as they are where all are whole numbers (below 0: unknown), else class names, numbered."""
    if not all(_INTEGER.fullmatch(t) for t in texts if t):
        return number(texts)
    numbers = [int(t.partition(".")[0]) if t else UNKNOWN_LABEL for t in texts]
    return [n if n >= 0 else UNKNOWN_LABEL for n in numbers], ()


def from_numbers(values: np.ndarray, place: Callable[[int], str]) -> np.ndarray:
    """Labels as they are (below 0: unknown); NaN, which pandas writes where there is a gap, is unknown too.

    Parameters
    ----------
    values : (N,) bool, integer or float
    place : where value i is, in words for the user

    Returns
    -------
    (N,) int64

    Raises
    ------
    PureError
        One is no whole number of 64 bits.
    """
    values = values.astype(np.float64) if values.dtype.kind == "f" else values
    odd = ~np.isnan(values) & ((values != np.floor(values)) | (np.abs(values) >= _TOO_LARGE))
    if odd.any():
        i = int(np.argmax(odd))
        raise PureError(f"The label of {place(i)} is {values[i]}. Labels are whole numbers below 2^63, or names.")
    labels = np.full(values.shape, UNKNOWN_LABEL, np.int64)
    known = values >= 0
    labels[known] = values[known]
    return labels
