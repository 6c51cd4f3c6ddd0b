"""The figure of circuits: few edges cross, and the same panels give the same file."""

from itertools import permutations, product

import numpy as np
import pytest

from pure_cli.views.circuit import Edge, Node, Panel, Rank, crossings, draw, sorted_nodes
from pure_cli.views.style import save

IMAGE = np.full((5, 8, 3), 90, np.uint8)


def panel(edges, layers, number=0):
    ranks = [
        Rank(name, [Node(f"{name}/{c}", str(c), 0.2, c == 0, [IMAGE]) for c in range(count)], 30, 0.4)
        for name, count in layers
    ]
    told = [Edge(source, target, share, share < 0.1, False) for source, target, share in edges]
    return Panel(f"top/3.{number + 1}", f"3.{number + 1}", number, [IMAGE] * 3, ranks, told, "2 channels leave 90%")


def random_panel(seed, widths=(4, 4)):
    random = np.random.default_rng(seed)
    layers = [(f"l{i}", width) for i, width in enumerate(widths)]
    edges = [
        (f"l0/{a}", f"l1/{b}", random.random())
        for a, b in product(range(widths[0]), range(widths[1]))
        if random.random() < 0.4
    ]
    return panel([*(("top/3.1", f"l0/{a}", 0.2) for a in range(widths[0])), *edges], layers)


def test_crossings_are_those_of_lines_that_swap_sides():
    one = panel([("a/0", "b/1", 0.5), ("a/1", "b/0", 0.2), ("a/1", "b/1", 0.9)], [("a", 2), ("b", 2)])
    above, below = (list(rank.nodes) for rank in one.ranks)
    assert crossings(one.edges, [above, below]) == pytest.approx(0.2)
    assert crossings(one.edges, [above, below[::-1]]) == 0
    assert crossings(one.edges, [above[::-1], below[::-1]]) == pytest.approx(0.2)


@pytest.mark.parametrize("seed", range(6))
def test_sorting_crosses_nearly_as_little_as_the_best_of_all_orders(seed):
    one = random_panel(seed)
    found = sorted_nodes(one)
    assert [sorted(node.address for node in nodes) for nodes in found] == [
        [node.address for node in rank.nodes] for rank in one.ranks
    ]
    first = [list(rank.nodes) for rank in one.ranks]
    best = min(crossings(one.edges, order) for order in product(*(map(list, permutations(nodes)) for nodes in first)))
    now, before = crossings(one.edges, found), crossings(one.edges, first)
    assert now <= before
    assert now - best <= 0.35 * max(before - best, 0.5)


def test_two_disjoint_ways_do_not_cross():
    ways = [("a/0", "b/3", 1), ("a/1", "b/2", 1), ("a/2", "b/1", 1), ("a/3", "b/0", 1)]
    one = panel([*(("top/3.1", f"a/{c}", 0.2) for c in range(4)), *ways], [("a", 4), ("b", 4)])
    assert crossings(one.edges, sorted_nodes(one)) == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_figure_is_two_columns_wide_and_its_bytes_are_the_same_each_time(tmp_path, count):
    panels = [random_panel(seed, (8, 3)) for seed in range(count)]
    for ending in ("png", "pdf", "svg"):
        for name in ("a", "b"):
            figure = draw("layer3 · circuit of 3.1", "a $network$", panels)
            assert figure.get_figwidth() == 7
            save(figure, tmp_path / f"{name}.{ending}")
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
