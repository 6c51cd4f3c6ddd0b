"""A few of many."""

from __future__ import annotations

import numpy as np


def evenly_spread(values: np.ndarray, most: int) -> np.ndarray:
    """Up to `most` of some values (n,), the first and the last among them, at even distances."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))]
