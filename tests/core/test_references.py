"""The best images of each neuron, against sorting everything by (-value, -mean, hash of the index)."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pure_cli.core.references import NO_IMAGE, NO_POSITION, TopImages, scrambled, spatial_score

MEANS = [-1.0, 0.0, 0.0, 2.0]
SCORES = [-np.inf, -2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 1.0, 3.0, np.inf, np.nan]  # few, so that there are ties


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


def by_hash(index):
    """SplitMix64's finaliser, with Python's integers."""
    mixed = (index + 0x9E3779B97F4A7C15) % 2**64
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
    return mixed ^ (mixed >> 31)


def by_sorting(values, positions, indices, means, n):
    """All images of each neuron sorted, in plain Python."""
    expected = TopImages.empty(values.shape[1], n)
    for channel in range(values.shape[1]):
        entries = [
            (-float(values[i, channel]), -means[i, channel], by_hash(int(indices[i])), i)
            for i in range(len(values))
            if not np.isnan(values[i, channel]) and values[i, channel] > -np.inf
        ]
        for place, (*_, i) in enumerate(sorted(entries)[:n]):
            expected.value[channel, place] = values[i, channel]
            expected.image[channel, place] = indices[i]
            expected.position[channel, place] = positions[i, channel]
            expected.mean[channel, place] = means[i, channel]
    return expected


def shard(values, positions, indices, means, n):
    top = TopImages.empty(values.shape[1], n)
    if len(values):
        top.add(values, positions, indices, means)
    return top


def copy(top):
    return TopImages(top.value.copy(), top.image.copy(), top.position.copy(), top.mean.copy())


def merged(*tops):
    result = copy(tops[0])
    for other in tops[1:]:
        result.merge(copy(other))
    return result


def assert_same(found, expected):
    for name in ("value", "image", "position", "mean"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


@given(studies())
def test_batches_of_any_size_in_any_order_equal_sorting_everything(study):
    values, positions, indices, means, n, cuts = study
    top = TopImages.empty(values.shape[1], n)
    for start, stop in pairwise(cuts):
        if stop > start:
            top.add(values[start:stop], positions[start:stop], indices[start:stop], means[start:stop])
    assert_same(top, by_sorting(values, positions, indices, means, n))


@given(studies(), st.randoms(use_true_random=False))
def test_shards_merged_in_any_order_equal_sorting_everything(study, random):
    values, positions, indices, means, n, cuts = study
    shards = [
        shard(values[start:stop], positions[start:stop], indices[start:stop], means[start:stop], n)
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
    empty = TopImages.empty(values.shape[1], n)
    assert_same(merged(a, empty), a)
    assert_same(merged(empty, a), a)


def test_more_images_than_places_at_real_sizes_equal_sorting_everything():
    generator = np.random.default_rng(0)
    values = np.round(generator.normal(size=(2000, 16)), 2).astype(np.float32)  # rounded: many ties
    positions = generator.integers(0, 49, values.shape)
    indices = generator.permutation(2000)
    means = np.round(generator.normal(size=values.shape), 1).astype(np.float32)
    top = TopImages.empty(16, 100)
    for start in range(0, 2000, 77):
        part = slice(start, start + 77)
        top.add(values[part], positions[part], indices[part], means[part])
    assert_same(top, by_sorting(values, positions, indices, means, 100))


def test_equal_scores_go_by_the_mean_over_space_whichever_came_first():
    top = TopImages.empty(1, 2)
    top.add(np.array([[1.0]]), np.array([[4]]), np.array([9]), np.array([[0.2]]))
    top.add(np.array([[1.0], [1.0]]), np.array([[5], [6]]), np.array([3, 7]), np.array([[0.1], [0.3]]))
    assert top.image.tolist() == [[7, 9]]
    assert top.position.tolist() == [[6, 4]]


def test_equal_scores_and_means_are_spread_over_a_listing_that_is_sorted_by_class():
    top = TopImages.empty(1, 100)
    for start in range(0, 1000, 50):
        index = np.arange(start, start + 50)
        top.add(np.full((50, 1), 6.0), np.zeros((50, 1), int), index, np.ones((50, 1)))
    assert 300 < np.median(top.image) < 700
    assert np.bincount(top.image[0] // 100, minlength=10).min() >= 3  # of each class of a hundred images


def test_references_that_share_their_score_are_counted_where_they_excite():
    top = TopImages.empty(4, 4)
    scores = np.array([[6, 1, 0, 5], [6, 2, 0, 6], [6, 3, 0, 6], [5, 4, 0, 7]], float)
    top.add(scores, np.zeros((4, 4), int), np.arange(4), np.zeros((4, 4)))
    assert top.tied().tolist() == [3, 0, 0, 2]
    assert top.tied(above=6).tolist() == [0, 0, 0, 0]
    assert top.tied(above=-np.inf).tolist() == [3, 0, 4, 2]
    assert top.tied(twins=np.array([[1, 2]])).tolist()[1:] == [0, 0, 0]  # these two are one picture
    assert top.tied(twins=np.array([[1, 2], [0, 1]])).tolist() == [0, 0, 0, 0]
    assert TopImages.empty(1, 3).tied(-np.inf).tolist() == [0]


def test_a_hash_of_numbers_is_one_to_one():
    index = np.arange(10_000)
    assert scrambled(index).tolist() == [by_hash(i) for i in range(10_000)]
    assert len(set(scrambled(index).tolist())) == 10_000


def test_neuron_that_never_fires_has_references_and_they_are_those_nearest_to_firing():
    top = TopImages.empty(1, 2)
    top.add(np.array([[-5.0], [-1.0], [-3.0]]), np.array([[0], [1], [2]]), np.array([0, 1, 2]), np.zeros((3, 1)))
    assert top.image.tolist() == [[1, 2]]
    assert top.value.tolist() == [[-1.0, -3.0]]


def test_numbers_that_are_none_never_win_a_place():
    top = TopImages.empty(2, 3)
    top.add(
        np.array([[np.nan, 1.0], [-np.inf, np.nan]]), np.array([[1, 2], [3, 4]]), np.array([0, 1]), np.zeros((2, 2))
    )
    assert top.image.tolist() == [[NO_IMAGE] * 3, [0, NO_IMAGE, NO_IMAGE]]
    assert top.position.tolist() == [[NO_POSITION] * 3, [2, NO_POSITION, NO_POSITION]]
    assert np.isneginf(top.value[0]).all()


def test_double_precision_scores_compete_as_they_are_stored():
    """Two scores that are one in single precision are a tie."""
    top = TopImages.empty(1, 1)
    top.add(np.array([[1.0 + 1e-12], [1.0]]), np.zeros((2, 1), int), np.array([8, 2]), np.array([[0.0], [1]]))
    top.add(np.array([[1.0 + 2e-12]]), np.zeros((1, 1), int), np.array([5]), np.zeros((1, 1)))
    assert top.image.tolist() == [[2]]


def test_shards_of_other_shapes_are_refused():
    for shape in ((3, 4), (2, 5)):
        with pytest.raises(ValueError, match="cannot be merged"):
            TopImages.empty(2, 4).merge(TopImages.empty(*shape))


def by_loop(activation):
    """Maximum over space and its first place, one number after the other; channels where each layout has them."""
    array = activation.numpy()
    if array.ndim == 2:
        array = array[:, :, None]
    array = array.reshape(*array.shape[:2], -1)
    values, positions = np.empty(array.shape[:2], np.float32), np.empty(array.shape[:2], np.int64)
    for b in range(array.shape[0]):
        for c in range(array.shape[1]):
            best = 0
            for place, value in enumerate(array[b, c]):
                if value > array[b, c, best]:
                    best = place
            values[b, c], positions[b, c] = array[b, c, best], best
    return values, positions


@given(st.integers(0, 2**32 - 1), st.sampled_from([(3, 5), (2, 7, 4), (3, 2, 1), (2, 4, 3, 5), (1, 3, 7, 7)]))
def test_spatial_score_is_the_first_of_the_highest_in_every_layout(seed, shape):
    generator = torch.Generator().manual_seed(seed)
    activation = torch.randint(-2, 3, shape, generator=generator).float()  # few values: ties everywhere
    values, positions, means = spatial_score(activation)
    expected_values, expected_positions = by_loop(activation)
    assert values.dtype == torch.float32
    np.testing.assert_array_equal(values.numpy(), expected_values)
    np.testing.assert_allclose(means.numpy(), activation.reshape(*shape[:2], -1).numpy().mean(axis=-1), atol=1e-6)
    if len(shape) == 2:
        assert (positions == NO_POSITION).all()
    else:
        np.testing.assert_array_equal(positions.numpy(), expected_positions)


@pytest.mark.parametrize("size", [(2, 3), (7, 7), (14, 14), (28, 28)])
def test_first_position_also_on_strided_memory(size):
    """Vectorised kernels treat layouts differently; a tie must not be broken by one."""
    activation = torch.zeros(4, 5, *size)
    activation[:, :, 1, 1] = activation[:, :, 0, 2] = 1.0
    for version in (
        activation,
        activation.to(memory_format=torch.channels_last),
        activation.double(),
        activation[:, 1:],
    ):
        assert (spatial_score(version)[1] == 2).all()
    tokens = torch.zeros(4, 5, 50)
    tokens[:, :, 30] = tokens[:, :, 7] = 1.0
    for version in (tokens, tokens.transpose(1, 2).contiguous().transpose(1, 2)):
        assert (spatial_score(version)[1] == 7).all()


def test_signs_are_kept_and_not_a_number_stays():
    activation = torch.tensor([[[[-3.0, -1.0]], [[float("nan"), 1.0]]]])
    values, *_ = spatial_score(activation)
    assert values[0, 0] == -1.0
    assert torch.isnan(values[0, 1])


def test_scores_pooled_over_space_and_where_they_are_highest():
    maps = torch.tensor([[[[1.0, 4], [4, -3]], [[-2, -1], [-5, -4]]]])  # (B, C, H, W)
    for pool, expected in (("max", [4, -1]), ("mean", [1.5, -3]), ("sum", [6, -12])):
        values, positions, means = spatial_score(maps, pool)
        assert means.tolist() == [[1.5, -3]]
        assert values.tolist() == [expected] and values.dtype == torch.float32
        assert positions.tolist() == [[1, 1]]
        half, *_ = spatial_score(maps.half(), pool)
        assert half.tolist() == [expected] and half.dtype == torch.float32
    values, positions, _ = spatial_score(torch.tensor([[1.0, -2]]), "sum")
    assert (values.tolist(), positions.tolist()) == ([[1, -2]], [[NO_POSITION] * 2])


def test_places_without_an_image_are_as_the_files_have_them():
    empty = TopImages.empty(2, 3)
    assert (empty.image == -1).all() and (empty.position == -1).all() and (empty.value == -np.inf).all()
