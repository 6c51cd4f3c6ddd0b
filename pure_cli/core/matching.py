"""Which units of two sets match: how alike they are, the best partner of each, and what chance would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pure_cli.core.metrics.semantics import unit_vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEVEL = 0.05  # share of units without a counterpart that are taken to have one
ASSIGNED = 20  # shuffles at most in which units are paired one to one, which takes the cube of their number


@dataclass(frozen=True, eq=False)
class Members:
    """Which items, such as images by number, belong to which units.

    Attributes
    ----------
    unit, item : (K,) int64, a place among the units and an item that belongs to it
    count : of the units
    """

    unit: np.ndarray
    item: np.ndarray
    count: int

    @property
    def sizes(self) -> np.ndarray:
        """(N,) float32, items of each unit."""
        return np.bincount(self.unit, minlength=self.count).astype(np.float32)

    def among(self, columns: np.ndarray) -> Members:
        """The same with items by their places among some (Q,), ascending, which have all of them."""
        return Members(self.unit, np.searchsorted(columns, self.item), self.count)

    def indicators(self, columns: np.ndarray) -> csr_matrix:
        """(N, Q) float32, sparse, 1 where an item (Q,), ascending, belongs to a unit."""
        from scipy.sparse import csr_matrix

        known = np.isin(self.item, columns)
        places = np.searchsorted(columns, self.item[known])
        ones = np.ones(len(places), np.float32)
        return csr_matrix((ones, (self.unit[known], places)), (self.count, len(columns)))


class Likeness(Protocol):
    """How alike units of A and B are, over columns that are images, or references of units of B."""

    @property
    def columns(self) -> np.ndarray:
        """(Q,) int64, which image each of B's columns is of."""
        ...

    def matrix(self, order: np.ndarray | None = None) -> np.ndarray:
        """(N, M) float32 of all units of A and B; with `order` (Q,), B's columns are dealt out anew in this order."""
        ...


@dataclass(frozen=True, eq=False)
class Overlap:
    """The Jaccard index of sets of images: those that both have, as a share of those that either has.

    Attributes
    ----------
    columns : (Q,) int64, ascending, the images of any of B's units
    a, b : (N, Q) and (M, Q) sparse, 1 for the images of each unit
    size_a, size_b : (N,) and (M,) how many images each unit has, those of A beyond B's included
    """

    columns: np.ndarray
    a: Any
    b: Any
    size_a: np.ndarray
    size_b: np.ndarray

    @classmethod
    def of(cls, a: Members, b: Members) -> Overlap:
        """Of the images of each unit, by number, each once."""
        columns = np.unique(b.item)
        return cls(columns, a.indicators(columns), b.indicators(columns), a.sizes, b.sizes)

    def matrix(self, order: np.ndarray | None = None) -> np.ndarray:
        """As of `Likeness`."""
        b = self.b if order is None else _dealt(self.b, order)
        both = np.asarray((self.a @ b.T).todense(), np.float32)
        either = self.size_a[:, None] + self.size_b[None] - both
        return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def _dealt(rows: Any, order: np.ndarray) -> Any:
    """Sparse rows whose columns go where `order` says."""
    from scipy.sparse import csr_matrix

    return csr_matrix((rows.data, order[rows.indices], rows.indptr), rows.shape)


@dataclass(frozen=True, eq=False)
class Cosine:
    """The cosine of mean vectors.

    Attributes
    ----------
    columns : (Q,) int64, the image of each of B's vectors
    a : (N, E) float32, means of A's units, at length 1
    weights : (M, Q) sparse, 1 for the vectors of each unit of B
    vectors : (Q, E) float32, at length 1
    """

    columns: np.ndarray
    a: np.ndarray
    weights: Any
    vectors: np.ndarray

    @classmethod
    def of(cls, a: Members, a_vectors: np.ndarray, b: Members, vectors: np.ndarray, columns: np.ndarray) -> Cosine:
        """Of vectors of any length, each of which counts the same.

        Parameters
        ----------
        a, b : the numbers of each unit's vectors
        a_vectors, vectors : (P, E) and (Q, E) float
        columns : as of the class
        """
        of_a, of_b = (unit_vectors(one).astype(np.float32) for one in (a_vectors, vectors))
        means = unit_vectors(a.indicators(np.arange(len(of_a))) @ of_a).astype(np.float32)
        return cls(columns, means, b.indicators(np.arange(len(of_b))), of_b)

    def matrix(self, order: np.ndarray | None = None) -> np.ndarray:
        """As of `Likeness`."""
        weights = self.weights if order is None else _dealt(self.weights, order)
        return (self.a @ unit_vectors(weights @ self.vectors).astype(np.float32).T).clip(-1, 1)


@dataclass(frozen=True, eq=False)
class Correlation:
    """Pearson's correlation of activations over images.

    Attributes
    ----------
    columns : (Q,) int64, the images
    a, b : (N, Q) and (M, Q) float32, rows of mean 0 and length 1; of zeros where a unit is constant
    """

    columns: np.ndarray
    a: np.ndarray
    b: np.ndarray

    @classmethod
    def of(cls, a: np.ndarray, b: np.ndarray, columns: np.ndarray, ranks: bool = False) -> Correlation:
        """Of activations (N, Q) and (M, Q); with `ranks` Spearman's, ties at their mean rank."""
        if ranks:
            from scipy.stats import rankdata

            a, b = (rankdata(one, axis=1) for one in (a, b))
        return cls(columns, _standardised(a), _standardised(b))

    def matrix(self, order: np.ndarray | None = None) -> np.ndarray:
        """As of `Likeness`."""
        return (self.a @ (self.b if order is None else self.b[:, order]).T).clip(-1, 1)


def _standardised(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    centred = rows - rows.mean(axis=1, keepdims=True)
    constant = np.ptp(rows, axis=1) == 0
    return np.where(constant[:, None], 0, unit_vectors(centred)).astype(np.float32)


def dealt_within(groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A random order of columns (Q,), each of which stays within its group."""
    order, placed = np.lexsort((random.random(len(groups)), groups)), np.argsort(groups, kind="stable")
    found = np.empty_like(order)
    found[placed] = order
    return found


@dataclass(frozen=True, eq=False)
class Matches:
    """The best partner of each unit of one side, among those of the other.

    Attributes
    ----------
    best : (N,) int64, its place
    similarity : (N,) float32, with it
    shuffled : (S, N) float32, the highest of as many similarities, in each shuffle
    """

    best: np.ndarray
    similarity: np.ndarray
    shuffled: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray, shuffled: np.ndarray) -> Matches:
        """Of similarities (N, M), M at least 1, and what shuffles give."""
        return cls(matrix.argmax(axis=1), matrix.max(axis=1), shuffled)

    @property
    def chance(self) -> np.ndarray:
        """(N,) the highest of as many similarities, on average over the shuffles."""
        return self.shuffled.mean(axis=0)

    @property
    def limit(self) -> np.ndarray:
        """(N,) what 1 - `LEVEL` of the shuffles do not exceed."""
        return np.quantile(self.shuffled, 1 - LEVEL, axis=0, method="higher")

    @property
    def p(self) -> np.ndarray:
        """(N,) share of the shuffles that give as much, itself counted among them."""
        return (1 + (self.shuffled >= self.similarity).sum(axis=0)) / (1 + len(self.shuffled))

    @property
    def found(self) -> np.ndarray:
        """(N,) bool, whether the best partner is a match: more alike than `limit`."""
        return self.similarity > self.limit


def one_to_one(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in A and B of the pairs that are most alike in sum, where each unit is in one pair at most.

    Parameters
    ----------
    matrix : (N, M) float, of similarities

    Notes
    -----
    The linear assignment problem, by scipy's variant of Jonker and Volgenant's algorithm.
    """
    from scipy.optimize import linear_sum_assignment  # takes a quarter of a second to import

    return linear_sum_assignment(matrix, maximize=True)


def contrasts(matrix: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """How clearly the virtual neurons of each neuron match different units.

    Of two virtual neurons v and w, whose best partners i and j are two: how much more alike v and i, and w and j are
    than v and j, and w and i. The most of all pairs counts; 0 where all have the same partner.

    Parameters
    ----------
    matrix : (V, M) float, similarities of virtual neurons with the other side's units
    owner : (V,) int64, the neuron of each, numbered from 0 on

    Returns
    -------
    (N,) float64, N being one more than the highest of `owner`
    """
    found, best = np.zeros(int(owner.max(initial=-1)) + 1), matrix.argmax(axis=1)
    top = matrix[np.arange(len(matrix)), best]
    first, second = _pairs(owner)
    different = best[first] != best[second]
    first, second = first[different], second[different]
    crossed = matrix[first, best[second]] + matrix[second, best[first]]
    np.maximum.at(found, owner[first], (top[first] + top[second] - crossed).astype(np.float64))
    return found


def _pairs(owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of virtual neurons of one neuron, which stand one after the other."""
    first, second, step = [], [], 1
    while (same := np.flatnonzero(owner[step:] == owner[:-step])).size:
        first.append(same)
        second.append(same + step)
        step += 1
    empty = np.zeros(0, np.int64)
    return np.concatenate([*first, empty]), np.concatenate([*second, empty])
