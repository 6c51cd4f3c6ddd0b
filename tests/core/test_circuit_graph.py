"""Which channels and edges of a circuit's graph stay, held against plain loops over all ways."""

import itertools

import numpy as np
import pytest

from pure_cli.core.circuit_graph import channels_to_follow, influences, prune


def test_followed_are_the_fewest_channels_that_carry_the_share():
    relevance = np.array([0.1, -0.5, 0.0, 0.3, 0.1])
    assert channels_to_follow(relevance, 0.8).tolist() == [1, 3]
    assert channels_to_follow(relevance, 0.81).tolist() == [1, 3, 0]
    assert channels_to_follow(relevance, 1).tolist() == [1, 3, 0, 4]
    assert channels_to_follow(relevance, 1, most=2).tolist() == [1, 3]
    assert channels_to_follow(np.zeros(3)).tolist() == []


def random_edges(seed, widths=(1, 4, 5, 3)):
    random = np.random.default_rng(seed)
    found = [random.normal(size=shape) * (random.random(shape) < 0.7) for shape in itertools.pairwise(widths)]
    found[0][:] = random.normal(size=found[0].shape)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_influence_is_the_sum_over_all_ways(seed):
    edges = random_edges(seed)
    shares = [np.abs(one) / np.maximum(np.abs(one).sum(axis=1, keepdims=True), 1e-300) for one in edges]
    found = influences(edges)
    for depth in (1, 2, 3):
        expected = np.zeros(edges[depth - 1].shape[1])
        for way in itertools.product(*(range(one.shape[1]) for one in edges[:depth])):
            steps = zip(shares, (0, *way), way, strict=False)
            expected[way[-1]] += np.prod([share[above, below] for share, above, below in steps])
        np.testing.assert_allclose(found[depth], expected)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_pruned_edges_are_those_of_a_plain_loop(seed, share):
    edges = random_edges(seed)
    through = influences(edges)
    scored = []
    for level, matrix in enumerate(edges):
        for above, row in enumerate(np.abs(matrix)):
            scored += [
                (through[level][above] * size / row.sum(), level, above, below)
                for below, size in enumerate(row)
                if size > 0
            ]
    scored.sort(reverse=True)
    total, carried, kept = sum(score for score, *_ in scored), 0.0, set()
    for score, *edge in scored:
        if carried >= share * total * (1 - 1e-9):
            break
        kept.add(tuple(edge))
        carried += score
    while True:
        ends = {(level + 1, below) for level, _, below in kept} | {(0, 0)}
        begins = {(level, above) for level, above, _ in kept}
        dead = {
            (level, above, below)
            for level, above, below in kept
            if (level, above) not in ends or (level + 1 < len(edges) and (level + 1, below) not in begins)
        }
        if not dead:
            break
        kept -= dead
    found = {(level, *where) for level, mask in enumerate(prune(edges, share)) for where in np.argwhere(mask).tolist()}
    assert found == kept


def test_two_disjoint_ways_stay_two_ways():
    edges = [np.array([[1.0, 2.0]]), np.array([[0.5, 0.0], [0.0, -3.0]])]
    assert [mask.tolist() for mask in prune(edges, 1)] == [[[True, True]], [[True, False], [False, True]]]
    assert [mask.tolist() for mask in prune(edges, 0.5)] == [[[False, True]], [[False, False], [False, True]]]
