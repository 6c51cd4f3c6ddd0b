"""How much of one class the images of a unit are."""

import numpy as np


def counts(classes: np.ndarray) -> np.ndarray:
    """(V, K) int64, how many images of each of V units are of each class.

    Parameters
    ----------
    classes : (V, n) int; -1 for none
    """
    kinds = int(classes.max(initial=0)) + 1
    rows, columns = np.nonzero(classes >= 0)
    flat = np.bincount(rows * kinds + classes[rows, columns], minlength=len(classes) * kinds)
    return flat.reshape(len(classes), kinds)


def purities(classes: np.ndarray) -> np.ndarray:
    """(V,) float64 in (0, 1], the share of the commonest class among (V, n) classes; -1 for none, NaN where all are."""
    found = counts(classes)
    total = found.sum(axis=1)
    return np.where(total > 0, found.max(axis=1) / np.maximum(total, 1), np.nan)


def entropies(classes: np.ndarray) -> np.ndarray:
    """(V,) float64 in bits, of the shares of the classes among (V, n) classes; -1 for none, NaN where all are."""
    found = counts(classes)
    total = found.sum(axis=1, keepdims=True)
    share = found / np.maximum(total, 1)
    bits = -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1)
    return np.where(total[:, 0] > 0, bits, np.nan)


def by_chance(classes: np.ndarray, shuffles: int, seed: int) -> np.ndarray:
    """(V,) float64, the mean purity of units of these sizes where the classes are shuffled among all their images."""
    known = classes >= 0
    shuffled = classes.copy()
    found = np.zeros(len(classes))
    for turn in range(shuffles):
        shuffled[known] = np.random.default_rng([seed, turn]).permutation(classes[known])
        found += purities(shuffled)
    return found / shuffles
