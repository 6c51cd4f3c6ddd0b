"""Class labels as numbers, from names or from text."""

import re
from collections.abc import Sequence

UNKNOWN_LABEL = -1

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
