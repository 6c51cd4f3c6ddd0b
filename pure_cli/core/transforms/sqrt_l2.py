"""Signed square root, with an L2 norm of one."""

import numpy as np

from pure_cli.core.transform import Transform


def sqrt_l2(relevance: np.ndarray, norm: np.ndarray) -> np.ndarray:
    """Signed square roots divided by their L2 norm.

    Notes
    -----
    The Euclidean distance between signed square roots is the Hellinger distance between the shares of relevance: a
    large share counts less than in the L1 space, and many small ones more.
    """
    roots = np.sign(relevance) * np.sqrt(np.abs(relevance))
    length = np.linalg.norm(roots, axis=1, keepdims=True)
    return (roots / np.where(length == 0, 1, length)).astype(np.float32)


TRANSFORM = Transform(sqrt_l2)
