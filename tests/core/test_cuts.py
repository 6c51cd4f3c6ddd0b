"""How a list is cut into parts, against plain loops over its places."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pure_cli.core.parts import Part, cuts, gaps, overlap

RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: tuple(sorted(pair))), max_size=6)


@given(st.integers(0, 400), st.integers(1, 40), st.integers(1, 20))
def test_parts_follow_each_other_and_begin_at_batches(total, count, step):
    places = cuts(total, count, step)
    assert (len(places), places[0], places[-1]) == (count + 1, 0, total)
    assert all(start <= stop for start, stop in itertools.pairwise(places))
    assert all(place % step == 0 for place in places[:-1] if place < total)


def test_parts_are_as_large_as_each_other_but_for_a_batch():
    sizes = np.diff(cuts(10_000, 64, 16))
    assert sizes.max() - sizes.min() <= 16


def test_parts_that_cost_differently_cost_the_same():
    cost = np.linspace(40, 1, 1000)
    places = cuts(1000, 8, 1, cost=cost)
    assert np.allclose([cost[a:b].sum() for a, b in itertools.pairwise(places)], cost.sum() / 8, rtol=0.05)


def test_parts_begin_where_files_begin_as_near_as_batches_allow():
    shards = np.array([0, 100, 210, 330, 430, 540, 650, 760])
    places = cuts(860, 4, 10, shards)
    assert places == [0, 210, 430, 650, 860]
    assert cuts(860, 4, 16, shards) == [0, 208, 432, 656, 860]  # within half a batch
    assert cuts(860, 16, 10, shards) == cuts(860, 16, 10)  # fewer files than parts


@given(RANGES, st.integers(0, 30))
def test_gaps_are_the_places_that_no_range_covers(ranges, total):
    covered = {place for start, stop in ranges for place in range(start, stop)}
    missing = [place for start, stop in gaps(ranges, total) for place in range(start, stop)]
    assert missing == [place for place in range(total) if place not in covered]


@given(RANGES)
def test_ranges_overlap_where_a_place_is_in_two(ranges):
    places = [place for start, stop in ranges for place in range(start, stop)]
    assert overlap(ranges) == (len(places) != len(set(places)))


@pytest.mark.parametrize(("part", "name"), [(Part(4, 2), "2-of-4"), (Part(1000, 7), "0007-of-1000")])
def test_files_of_parts_are_in_the_order_of_their_numbers(part, name):
    assert part.file_name == name
