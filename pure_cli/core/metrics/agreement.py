"""Whether virtual neurons follow the classes of the images."""

from dataclasses import dataclass

import numpy as np

from pure_cli.core.clusters import LEFT_OUT

NO_CLASS = -1
PERMUTATIONS = 200
TIE = 1e-12  # scores nearer than this are equal but for rounding


@dataclass(frozen=True)
class Agreement:
    """How well two groupings of the same references agree; also holds a p-value of each score.

    Attributes
    ----------
    purity : share of references whose class is the most frequent one of their virtual neuron, above 0 to 1
    nmi : mutual information / arithmetic mean of the entropies, 0 to 1
    ari : adjusted Rand index, -0.5 to 1, 0 by chance
    """

    purity: float
    nmi: float
    ari: float


def contingency(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How many references are of each label and each class, for one or many labellings.

    Parameters
    ----------
    labels : (…, n) int, of any values
    classes : (n,) int, of any values

    Returns
    -------
    (…, K, C) int64, for the K different labels in all labellings and the C different classes, ascending
    """
    names, label = np.unique(labels, return_inverse=True)
    kinds, kind = np.unique(classes, return_inverse=True)
    label = label.reshape(-1, len(classes))
    cells = len(names) * len(kinds)
    cell = label * len(kinds) + kind.ravel() + np.arange(len(label))[:, None] * cells
    counts = np.bincount(cell.ravel(), minlength=len(label) * cells)
    return counts.reshape(*np.shape(labels)[:-1], len(names), len(kinds))


def agreement(labels: np.ndarray, classes: np.ndarray) -> Agreement:
    """Agreement of virtual neurons with classes.

    Parameters
    ----------
    labels : (n,) int, the virtual neuron of each reference; -1 leaves the reference out
    classes : (n,) int, the class of each reference's image; -1 leaves it out too

    Returns
    -------
    Agreement
        All NaN where no reference is left. A single reference, and one virtual neuron of one class, score 1 in all;
        one virtual neuron of many classes, or many of one class, 0 in `nmi` and `ari`, as in scikit-learn.

    Notes
    -----
    Purity: Manning et al. 2008, Introduction to Information Retrieval, 16.3. The other two are scikit-learn's
    ``normalized_mutual_info_score`` and ``adjusted_rand_score`` (Hubert and Arabie 1985).
    """
    labels, classes = _kept(labels, classes)
    if not len(labels):
        return Agreement(np.nan, np.nan, np.nan)
    return Agreement(*(float(score[0]) for score in _scores(contingency(labels[None], classes))))


def adjusted_rand(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Adjusted Rand index of many labellings with another one.

    Parameters
    ----------
    labels : (P, n) int, of any values
    others : (n,) int, of any values

    Returns
    -------
    (P,) float64, as `agreement` gives it
    """
    tables = contingency(labels, others).astype(np.float64)
    return _ari(tables, tables.sum(axis=2), tables.sum(axis=1), float(len(others)))


def chance(
    labels: np.ndarray, classes: np.ndarray, seed: int, permutations: int = PERMUTATIONS
) -> tuple[Agreement, Agreement]:
    """Agreement where the virtual neurons, at their sizes, know nothing of the classes.

    Parameters
    ----------
    labels, classes : (n,) int, as in `agreement`
    seed : of the permutations
    permutations : of the labels among the references, at least 1

    Returns
    -------
    mean : Agreement
        Over the permutations.
    p : Agreement
        For each score, (1 + permutations that score at least as high as the labels do) / (1 + permutations), above 0
        to 1. Both all NaN where no reference is left.

    Notes
    -----
    One-sided permutation test; Phipson and Smyth 2010 for the ones.
    """
    if permutations < 1:
        raise ValueError(f"expected at least one permutation, got {permutations}")
    labels, classes = _kept(labels, classes)
    if not len(labels):
        nothing = Agreement(np.nan, np.nan, np.nan)
        return nothing, nothing
    shuffled = np.random.default_rng(seed).permuted(np.tile(labels, (permutations, 1)), axis=1)
    found = _scores(contingency(np.concatenate([labels[None], shuffled]), classes))
    means = [float(score[1:].mean()) for score in found]
    p = [float((score >= score[0] - TIE).mean()) for score in found]
    return Agreement(*means), Agreement(*p)


def _kept(labels: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, classes = np.asarray(labels), np.asarray(classes)
    if labels.shape != classes.shape or labels.ndim != 1:
        raise ValueError(f"expected a label and a class of each reference, got {labels.shape} and {classes.shape}")
    kept = (labels != LEFT_OUT) & (classes != NO_CLASS)
    return labels[kept], classes[kept]


def _scores(tables: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Purity, NMI and ARI, each (P,) float64, of contingency tables (P, K, C) without empty rows or columns."""
    tables = tables.astype(np.float64)
    rows, columns, n = tables.sum(axis=2), tables.sum(axis=1), tables[0].sum()
    purity = tables.max(axis=2).sum(axis=1) / n
    return purity, _nmi(tables, rows, columns, n), _ari(tables, rows, columns, n)


def _nmi(tables: np.ndarray, rows: np.ndarray, columns: np.ndarray, n: float) -> np.ndarray:
    single = [groups.shape[1] == 1 for groups in (rows, columns)]
    if any(single):  # an entropy is zero, and with it what the two share
        return np.full(len(tables), float(all(single)))
    joint = _entropy(tables.reshape(len(tables), -1), n)
    ours, theirs = _entropy(rows, n), _entropy(columns, n)
    return np.clip(2 * (ours + theirs - joint) / (ours + theirs), 0, 1)


def _entropy(counts: np.ndarray, n: float) -> np.ndarray:
    """Entropy in nats (P,) of counts (P, groups)."""
    from scipy.special import xlogy  # takes a quarter of a second to import

    return np.log(n) - xlogy(counts, counts).sum(axis=1) / n


def _ari(tables: np.ndarray, rows: np.ndarray, columns: np.ndarray, n: float) -> np.ndarray:
    together, ours, theirs = (
        np.square(counts).sum(axis=axis) for counts, axis in ((tables, (1, 2)), (rows, 1), (columns, 1))
    )
    both, only_ours, only_theirs = together - n, ours - together, theirs - together  # ordered pairs
    neither = n * n - ours - theirs + together
    same = (only_ours == 0) & (only_theirs == 0)
    over = (both + only_ours) * (only_ours + neither) + (both + only_theirs) * (only_theirs + neither)
    return np.where(same, 1.0, 2 * (both * neither - only_ours * only_theirs) / np.where(same, 1.0, over))
