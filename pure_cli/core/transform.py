"""What a file of `pure_cli.core.transforms` declares."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Transform:
    """How relevances become features.

    Attributes
    ----------
    of : of relevances (n, D) float, signed, L1 norm 1 or 0, and of the L1 norms (n,) that they were divided by, to
        features (n, E) float32

    Notes
    -----
    Results are kept by the name: what comes to compute something else gets another one.
    """

    of: Callable[[np.ndarray, np.ndarray], np.ndarray]
