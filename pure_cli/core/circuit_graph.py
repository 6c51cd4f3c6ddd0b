"""The graph of a neuron's circuit over several layers: which channels and which flows between them stay."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pure_cli.core.metrics.causal import circuit_channels

NODES, EDGES = 0.8, 0.98  # shares of the influence that channels and edges keep: the defaults of circuit-tracer


def channels_to_follow(relevance: np.ndarray, share: float = NODES, most: int | None = None) -> np.ndarray:
    """The channels of a layer that carry a share of its relevance, the most relevant first.

    Parameters
    ----------
    relevance : (D,) signed
    share : between 0 and 1, of the sum of magnitudes
    most : how many at most, whatever they carry

    Returns
    -------
    (K,) int64
        As few as do it; none where nothing is relevant.
    """
    size = np.abs(relevance)
    kept = circuit_channels(size, share)
    order = np.argsort(-size, kind="stable")
    return order[kept[order]][:most].astype(np.int64)


def influences(edges: Sequence[np.ndarray]) -> list[np.ndarray]:
    """How much of the neuron goes through each node, layer after layer: what arrives at a node is shared out among the
    nodes below it by the magnitudes of its edges.

    Parameters
    ----------
    edges : (1, K_1), (K_1, K_2), … the relevance that goes from each node of a layer to each of the next lower one

    Returns
    -------
    list of (1,), (K_1,), (K_2,), …
        Each adds up to 1, or less where nodes have no edges.
    """
    found = [np.ones(1)]
    for matrix in edges:
        found.append(found[-1] @ _shares(matrix))
    return found


def prune(edges: Sequence[np.ndarray], share: float = EDGES) -> list[np.ndarray]:
    """The edges that carry a share of the influence of all, and lie on a way from the neuron to the lowest layer.

    Parameters
    ----------
    edges : as of `influences`
    share : between 0 and 1

    Returns
    -------
    list of bool arrays as `edges`
        A node without an edge is not part of the graph.

    Notes
    -----
    As in circuit-tracer (Ameisen et al. 2025): an edge's influence is that of the node it begins at, times its share
    among that node's edges; the largest stay; then nodes that nothing leads to, or that lead nowhere, go with theirs.
    """
    through = influences(edges)
    scores = [_shares(matrix) * above[:, None] for matrix, above in zip(edges, through, strict=False)]
    chosen = circuit_channels(np.concatenate([one.ravel() for one in scores]), share)
    ends = np.cumsum([one.size for one in scores])[:-1]
    kept = [part.reshape(one.shape) for part, one in zip(np.split(chosen, ends), scores, strict=True)]
    return _connected(kept)


def _connected(kept: list[np.ndarray]) -> list[np.ndarray]:
    """Edges on ways from the top to the bottom: one sweep in each direction finds them all."""
    kept = [mask.copy() for mask in kept]
    for above, below in pairwise(kept):
        below[~above.any(axis=0)] = False
    for below, above in zip(kept[:0:-1], kept[-2::-1], strict=True):
        above[:, ~below.any(axis=1)] = False
    return kept


def _shares(matrix: np.ndarray) -> np.ndarray:
    """Magnitudes with rows that add up to 1; rows of zeros stay zero."""
    size = np.abs(matrix.astype(np.float64))
    total = size.sum(axis=1, keepdims=True)
    return np.divide(size, total, out=np.zeros_like(size), where=total > 0)
