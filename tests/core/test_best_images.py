"""The best images of each neuron, against sorting everything by (-value, -mean, hash of the index)."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pure_cli.core.best_images import BestImages, with_hashes
from pure_cli.core.merging import ARRAYS, ByScore, MergedImages
from pure_cli.core.references import NO_IMAGE, NO_POSITION, TopImages, scrambled

CPU = torch.device("cpu")
MEANS = [-1.0, -0.0, 0.0, 0.0, 2.0]
SCORES = [-np.inf, -2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 1.0, 3.0, np.inf, np.nan]  # few, so that there are ties
WAYS = st.sampled_from([True, False])  # that of a CPU, and that of a GPU


@st.composite
def studies(draw):
    """Scores (N, C), positions (N, C), data-set indices in some order, means (N, C), n, and where to cut the order into
    batches."""
    count, channels = draw(st.integers(0, 24)), draw(st.integers(1, 4))
    flat = draw(st.lists(st.sampled_from(SCORES), min_size=count * channels, max_size=count * channels))
    values = np.array(flat, np.float32).reshape(count, channels)
    positions = np.arange(count * channels, dtype=np.int64).reshape(count, channels)  # tells image and channel
    indices = np.array(draw(st.permutations(range(100, 100 + 3 * count, 3))), dtype=np.int64)
    means = draw(st.lists(st.sampled_from(MEANS), min_size=count * channels, max_size=count * channels))
    means = np.array(means, np.float32).reshape(count, channels)
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=5)))
    return values, positions, indices, means, draw(st.integers(1, 8)), [0, *cuts, count]


def by_sorting(values, positions, indices, means, n):
    """All images of each neuron sorted, in plain Python."""
    expected = TopImages.empty(values.shape[1], n)
    hashed = scrambled(indices).tolist()
    for channel in range(values.shape[1]):
        entries = [
            (-float(values[i, channel]), -means[i, channel], hashed[i], i)
            for i in range(len(values))
            if not np.isnan(values[i, channel]) and values[i, channel] > -np.inf
        ]
        for place, (*_, i) in enumerate(sorted(entries)[:n]):
            expected.value[channel, place] = values[i, channel]
            expected.image[channel, place] = indices[i]
            expected.position[channel, place] = positions[i, channel]
            expected.mean[channel, place] = means[i, channel]
    return expected


def add(best, values, positions, indices, means):
    values, positions, means = (torch.from_numpy(np.asarray(part)) for part in (values, positions, means))
    best.add(values, positions, with_hashes(indices, CPU), means)


def empty(channels, n, may_look=True):
    return BestImages(TopImages.empty(channels, n), CPU, may_look)


def shard(values, positions, indices, means, n, may_look=True):
    best = empty(values.shape[1], n, may_look)
    add(best, values, positions, indices, means)
    return best


def found(best):
    return best if isinstance(best, TopImages) else best.top()


def merged(*shards):
    first = found(shards[0])
    result = MergedImages(*first.image.shape, ByScore())
    for other in shards:
        result.add(found(other))
    return result.top


def assert_same(best, expected):
    for name in ("value", "image", "position", "mean"):
        ours, theirs = getattr(found(best), name), getattr(found(expected), name)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
        assert (ours.dtype, ours.tobytes()) == (theirs.dtype, theirs.tobytes()), name  # and the sign of a zero


@given(studies(), WAYS)
def test_batches_of_any_size_in_any_order_equal_sorting_everything(study, may_look):
    values, positions, indices, means, n, cuts = study
    best = empty(values.shape[1], n, may_look)
    for start, stop in pairwise(cuts):
        add(best, *(part[start:stop] for part in (values, positions, indices, means)))
    assert_same(best, by_sorting(values, positions, indices, means, n))


@given(studies(), st.randoms(use_true_random=False), WAYS)
def test_shards_merged_in_any_order_equal_sorting_everything(study, random, may_look):
    values, positions, indices, means, n, cuts = study
    shards = [
        shard(values[start:stop], positions[start:stop], indices[start:stop], means[start:stop], n, may_look)
        for start, stop in pairwise(cuts)
    ]
    random.shuffle(shards)
    expected = by_sorting(values, positions, indices, means, n)
    assert_same(merged(*shards), expected)
    while len(shards) > 1:  # in any grouping
        shards.append(merged(shards.pop(random.randrange(len(shards))), shards.pop(random.randrange(len(shards)))))
    assert_same(shards[0], expected)


@given(studies(), st.data())
def test_merge_is_associative_and_commutative_and_empty_is_its_neutral_element(study, data):
    values, positions, indices, means, n, _ = study
    first, second = sorted(data.draw(st.lists(st.integers(0, len(values)), min_size=2, max_size=2)))
    a, b, c = (
        shard(values[part], positions[part], indices[part], means[part], n)
        for part in (slice(0, first), slice(first, second), slice(second, None))
    )
    assert_same(merged(merged(a, b), c), merged(a, merged(b, c)))
    assert_same(merged(a, b), merged(b, a))
    nothing = empty(values.shape[1], n)
    assert_same(merged(a, nothing), a)
    assert_same(merged(nothing, a), a)


@given(studies(), st.data())
def test_parts_that_overlap_or_come_again_count_once(study, data):
    values, positions, indices, means, n, _ = study
    result = MergedImages(values.shape[1], n, ByScore())
    pieces = [(0, len(values)), *data.draw(st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=4))]
    for start, stop in data.draw(st.permutations(pieces)):
        own = slice(start, stop)
        result.add(shard(values[own], positions[own], indices[own], means[own], n).top(), disjoint=False)
    assert_same(result.top, by_sorting(values, positions, indices, means, n))


def test_no_more_is_read_of_a_part_than_can_be_among_the_best():
    generator = np.random.default_rng(0)
    tops = []
    for part in range(40):
        values = generator.normal(size=(200, 3)).astype(np.float32)
        tops.append(shard(values, np.zeros(values.shape, int), np.arange(200) + 200 * part, values, 20).top())
    result, places = MergedImages(3, 20, ByScore()), []
    for top in tops:

        def read(start, stop, top=top):
            places.append(stop - start)
            return TopImages(*(getattr(top, name)[:, start:stop] for name in ARRAYS))

        result.add_from(read, top.image.shape)
    assert places[:3] == [8, 8, 4] and sum(places[3:]) < 39 * 12  # of 39 * 20
    assert_same(result.top, merged(*tops))


@pytest.mark.parametrize("may_look", [True, False])
def test_more_images_than_places_at_real_sizes_equal_sorting_everything(may_look):
    generator = np.random.default_rng(0)
    values = np.round(generator.normal(size=(2000, 16)), 2).astype(np.float32)  # rounded: many ties
    values[:, :3] = values[:, :3].clip(0)
    positions = generator.integers(0, 49, values.shape)
    indices = generator.permutation(2000)
    means = np.round(generator.normal(size=values.shape), 1).astype(np.float32)
    best = empty(16, 100, may_look)
    for start in range(0, 2000, 77):
        add(best, *(part[start : start + 77] for part in (values, positions, indices, means)))
    assert_same(best, by_sorting(values, positions, indices, means, 100))


def test_what_goes_on_from_what_was_found_before_is_as_if_it_had_not_stopped():
    generator = np.random.default_rng(0)
    values, means = generator.normal(size=(2, 60, 5)).astype(np.float32)
    study = values, generator.integers(0, 49, values.shape), generator.permutation(60), means
    before = shard(*(part[:31] for part in study), 10).top()
    kept = before.value.copy()
    after = BestImages(before, CPU)
    add(after, *(part[31:] for part in study))
    assert_same(after, by_sorting(*study, 10))
    np.testing.assert_array_equal(before.value, kept)


def test_equal_scores_go_by_the_mean_over_space_whichever_came_first():
    best = empty(1, 2)
    add(best, [[1.0]], [[4]], np.array([9]), [[0.2]])
    add(best, [[1.0], [1.0]], [[5], [6]], np.array([3, 7]), [[0.1], [0.3]])
    assert best.top().image.tolist() == [[7, 9]]
    assert best.top().position.tolist() == [[6, 4]]


def test_equal_scores_and_means_are_spread_over_a_listing_that_is_sorted_by_class():
    best = empty(1, 100)
    for start in range(0, 1000, 50):
        index = np.arange(start, start + 50)
        add(best, np.full((50, 1), 6.0), np.zeros((50, 1), int), index, np.ones((50, 1)))
    image = best.top().image
    assert 300 < np.median(image) < 700
    assert np.bincount(image[0] // 100, minlength=10).min() >= 3  # of each class of a hundred images


def test_neuron_that_never_fires_has_references_and_they_are_those_nearest_to_firing():
    best = empty(1, 2)
    add(best, [[-5.0], [-1.0], [-3.0]], [[0], [1], [2]], np.array([0, 1, 2]), np.zeros((3, 1)))
    assert best.top().image.tolist() == [[1, 2]]
    assert best.top().value.tolist() == [[-1.0, -3.0]]


@pytest.mark.parametrize("may_look", [True, False])
def test_numbers_that_are_none_never_win_a_place(may_look):
    best = empty(2, 3, may_look)
    add(best, [[np.nan, 1.0], [-np.inf, np.nan]], [[1, 2], [3, 4]], np.array([0, 1]), np.full((2, 2), np.nan))
    top = best.top()
    assert top.image.tolist() == [[NO_IMAGE] * 3, [0, NO_IMAGE, NO_IMAGE]]
    assert top.position.tolist() == [[NO_POSITION] * 3, [2, NO_POSITION, NO_POSITION]]
    assert np.isneginf(top.value[0]).all() and (top.mean == 0).all()


def test_double_precision_scores_compete_as_they_are_stored():
    """Two scores that are one in single precision are a tie."""
    best = empty(1, 1)
    add(best, [[1.0 + 1e-12], [1.0]], np.zeros((2, 1), int), np.array([8, 2]), [[0.0], [1]])
    add(best, [[1.0 + 2e-12]], np.zeros((1, 1), int), np.array([5]), np.zeros((1, 1)))
    assert best.top().image.tolist() == [[2]]


def test_shards_of_other_shapes_are_refused():
    for shape in ((3, 4), (1, 4)):
        with pytest.raises(ValueError, match="cannot be merged"):
            MergedImages(2, 4, ByScore()).add(TopImages.empty(*shape))


def test_the_way_of_a_gpu_asks_the_device_for_nothing():
    """On the meta device there is nothing to look at: whatever waits for a number fails there."""
    meta = torch.device("meta")
    best = BestImages(TopImages.empty(6, 4), meta)
    scores = torch.empty(5, 6, device=meta)
    best.add(scores, torch.empty(5, 6, dtype=torch.int64, device=meta), with_hashes(np.arange(5), meta), scores)
    assert [tuple(part.shape) for part in best._parts] == [(6, 4)] * 6
