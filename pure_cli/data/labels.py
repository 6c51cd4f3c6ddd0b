"""Class labels as numbers, from names or from text."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from pure_cli.errors import PureError

UNKNOWN_LABEL = -1

BY_NAME = "by name"  # how class names were numbered, where the data does not say it: in the order of the alphabet
BY_NUMBER = "by number"  # names that are numbers are their own labels, though the alphabet has them in another order

_TOO_LARGE = 2.0**63  # for 64 bits
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")  # "3.0" is what pandas writes for 3 in a column with gaps
_NUMBER = re.compile(r"[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_GAPS = frozenset(("nan", "none", "null", "na", "n/a", "<na>"))  # what stands for a gap among whole numbers


class Classes(NamedTuple):
    """Labels, and what they mean.

    Attributes
    ----------
    labels : N numbers, `UNKNOWN_LABEL` where unknown
    names : class names, ``names[label]``; empty where the numbers are all there is
    order : `BY_NAME` or `BY_NUMBER` where the numbers are pure's own, "" where the data numbers its classes
    """

    labels: Sequence[int] | np.ndarray
    names: tuple[str, ...] = ()
    order: str = ""


def numbering(names: Collection[str]) -> tuple[dict[str, int], tuple[str, ...], str]:
    """The number of each class name, and `names` and `order` of `Classes`.

    Names that are whole numbers are numbered by what they say, so that a folder 10 is class 10 whatever else is there;
    others in the order of the alphabet.

    Parameters
    ----------
    names : different from each other
    """
    alphabet = sorted(names)
    values = [int(name) if _NUMBER.fullmatch(name) else UNKNOWN_LABEL for name in alphabet]
    if UNKNOWN_LABEL in values or len(set(values)) < len(values):
        return {name: i for i, name in enumerate(alphabet)}, tuple(alphabet), BY_NAME if alphabet else ""
    own = dict(zip(alphabet, values, strict=True))
    every = sorted(values) == list(range(len(values)))
    order = "" if values == list(range(len(values))) else BY_NUMBER
    return own, tuple(sorted(alphabet, key=own.__getitem__)) if every else (), order


def number(classes: Sequence[str], names: Sequence[str] = ()) -> Classes:
    """Number class names by their order in `names` where that has them all, else by `numbering`; "" is no class."""
    if names and len(set(names)) == len(names) and set(classes) - {""} <= set(names):
        place = {name: i for i, name in enumerate(names)}
        return Classes([place.get(c, UNKNOWN_LABEL) for c in classes], tuple(names))
    position, own, order = numbering(set(classes) - {""})
    return Classes([position.get(c, UNKNOWN_LABEL) for c in classes], own, order)


def from_texts(texts: Sequence[str], names: Sequence[str] = ()) -> Classes:
    """Labels as they are where all are whole numbers (below 0: unknown), else class names, numbered by `number`."""
    value = {t: int(t.partition(".")[0]) for t in set(texts) if _INTEGER.fullmatch(t)}
    words = set(texts) - value.keys() - {""}
    if words and not (value and all(word.lower() in _GAPS for word in words)):
        return number(texts, names)
    return Classes([max(value.get(t, UNKNOWN_LABEL), UNKNOWN_LABEL) for t in texts])


def fraction(texts: Collection[str]) -> str:
    """The first text that is a fractional number, where all of them are numbers or gaps; else ""."""
    every = {text: None for text in texts if text and text.lower() not in _GAPS}
    if not all(map(_DECIMAL.fullmatch, every)):
        return ""
    return next((text for text in every if not float(text).is_integer()), "")


def misnumbered(names: Sequence[str]) -> int:
    """The first class whose name is another number than its own, where all names are numbers; else -1."""
    if not all(_NUMBER.fullmatch(name) for name in names):
        return -1
    return next((i for i, name in enumerate(names) if int(name) != i), -1)


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
