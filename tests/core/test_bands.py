"""Bands of activation and the sample that they are cut from, against all scores kept and sorted."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pure_cli.core.bands import Band, bands, cut, sample_hash, sample_size, without_band, without_bands
from pure_cli.core.best_images import SampledImages, with_sample_hashes
from pure_cli.core.directions import module_of
from pure_cli.core.merging import BySampleHash, MergedImages
from pure_cli.core.references import NO_IMAGE, TopImages

CPU = torch.device("cpu")
SCORES = [-1.0, -0.0, 0.0, 0.5, 0.5, 1.0, 2.0, np.nan]  # few, so that there are ties


def some(count, channels, seed, scores=SCORES):
    """Scores (N, C), positions (N, C), means (N, C), indices (N,) of images in some order."""
    generator = np.random.default_rng(seed)
    values = generator.choice(np.array(scores, np.float32), (count, channels))
    positions = np.arange(count * channels).reshape(count, channels)
    means = generator.choice(np.array([-1.0, 0.0, 3.0], np.float32), (count, channels))
    return values, positions, means, generator.permutation(count).astype(np.int64) * 3


def sampled(parts, m, seed=0, above=0.0, cuts=(), may_look=True):
    values, positions, means, index = parts
    found = SampledImages(TopImages.empty(values.shape[1], m), CPU, seed, above, may_look)
    for own in np.split(np.arange(len(index)), cuts):
        images = with_sample_hashes(index[own], seed, CPU)
        found.add(*(torch.from_numpy(part[own]) for part in (values, positions)), images, torch.from_numpy(means[own]))
    return found


def by_sorting(parts, m, seed, above):
    """The images of each neuron that excite it, the m with the highest hashes: (image, value, mean, position)."""
    values, positions, means, index = parts
    hashed = sample_hash(index, seed).tolist()
    found = []
    for channel in range(values.shape[1]):
        there = [i for i in range(len(index)) if values[i, channel] > above]
        there.sort(key=lambda i: -hashed[i])
        rows = [(index[i], values[i, channel], means[i, channel], positions[i, channel]) for i in there]
        found.append(rows[:m])
    return found


def as_rows(top, channel):
    known = top.image[channel] != NO_IMAGE
    parts = (getattr(top, name)[channel][known].tolist() for name in ("image", "value", "mean", "position"))
    return list(zip(*parts, strict=True))


@given(st.integers(0, 40), st.integers(1, 12), st.integers(0, 5), st.sampled_from([0.0, 0.5]), st.booleans())
def test_the_sample_is_that_of_sorting_all_by_their_hashes(count, m, seed, above, may_look):
    parts = some(count, 3, seed)
    cuts = sorted(random.Random(seed).choices(range(count + 1), k=4))
    found = sampled(parts, m, seed, above, cuts, may_look).top()
    for channel, expected in enumerate(by_sorting(parts, m, seed, above)):
        assert as_rows(found, channel) == [tuple(map(float, row)) for row in expected]


def test_samples_merge_in_any_order_and_go_on_from_what_was_saved():
    parts, m = some(300, 4, 1), 20
    whole = sampled(parts, m).top()
    shards = [tuple(part[own] for part in parts) for own in np.array_split(np.arange(300), 5)]
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        merged = MergedImages(4, m, BySampleHash(0))
        for place in order:
            merged.add(sampled(shards[place], m).top())
        merged.add(sampled(shards[2], m).top(), disjoint=False)
        for name in ("value", "image", "position", "mean"):
            np.testing.assert_array_equal(getattr(merged.top, name), getattr(whole, name), err_msg=name)


@pytest.mark.parametrize("edges", [[0, 20, 40, 60, 80, 100], [0, 50, 90, 99, 100]])
def test_bands_of_all_images_are_those_of_sorting_all_scores(edges):
    """Where the sample holds all images that excite a neuron, edges and members are exact."""
    values, _, means, index = parts = some(500, 2, 2, np.random.default_rng(0).normal(size=400))
    top = sampled(parts, 600).top()
    for channel in range(2):
        there = np.flatnonzero(values[:, channel] > 0)
        there = there[np.lexsort((means[there, channel], values[there, channel]))]  # the faintest first
        seen = []
        for band in bands(edges):
            found, own = cut(top, band, 600)
            first, last = (round(len(there) * edge / 100) for edge in (band.low, band.high))
            members = there[first:last]
            images = found.image[channel][found.image[channel] != NO_IMAGE]
            assert sorted(images.tolist()) == sorted(index[members].tolist())
            assert (np.diff(found.value[channel, : len(images)]) <= 0).all()
            np.testing.assert_array_equal(own.value[channel], values[members[[0, -1]], channel])
            assert own.sampled[channel] == len(there)
            seen += images.tolist()
            few, _ = cut(top, band, 7)
            first_ones = sorted(images.tolist(), key=lambda image: -sample_hash(np.array([image]), 0)[0])[:7]
            assert sorted(few.image[channel][few.image[channel] != NO_IMAGE].tolist()) == sorted(first_ones)
        assert sorted(seen) == sorted(index[there].tolist())  # each image is in one band


def test_edges_of_a_sample_are_as_far_off_as_is_said():
    """The rank of an edge, over all images, within three of the standard errors that `cut` states."""
    generator = np.random.default_rng(3)
    count, m = 20_000, 2_000
    values = generator.exponential(size=(count, 6)).astype(np.float32)
    parts = values, np.zeros((count, 6), np.int64), values, np.arange(count)
    top = sampled(parts, m).top()
    for percentile in (20, 50, 80):
        _, edges = cut(top, Band(percentile, 100), 10)
        rank = 100 * (values < edges.value[:, 0]).mean(axis=0)
        error = np.sqrt(percentile * (100 - percentile) / m)
        assert (np.abs(rank - percentile) < 3 * error).all()


def test_a_neuron_that_nothing_excites_has_no_references_and_no_edges():
    parts = some(30, 1, 0, [-1.0, 0.0])
    found, edges = cut(sampled(parts, 10).top(), Band(0, 100), 5)
    assert (found.image == NO_IMAGE).all()
    assert np.isnan(edges.value).all()


def test_neurons_share_the_images_of_their_samples_and_another_seed_draws_others():
    values = np.ones((200, 2), np.float32)
    parts = values, np.zeros((200, 2), np.int64), values, np.arange(200)
    one, other = (sampled(parts, 20, seed).top().image for seed in (0, 1))
    np.testing.assert_array_equal(one[0], one[1])
    assert len(np.intersect1d(one[0], other[0])) < 15


@pytest.mark.parametrize(("n", "edges", "size"), [(100, [0, 20, 100], 2_000), (100, [0, 98, 100], 10_000),
                                                  (500, [0, 99, 100], 20_000)])  # fmt: skip
def test_the_sample_grows_with_what_the_narrowest_band_needs(n, edges, size):
    assert sample_size(n, edges) == size


def test_names_of_bands():
    assert [band.of("layer4") for band in bands([0, 50, 99.5, 100])] == [
        "layer4#0-50", "layer4#50-99.5", "layer4#99.5-100"]  # fmt: skip
    assert without_band("probes@layer4#0-50") == "probes@layer4"
    assert without_bands(["a", "a#0-50", "b"]) == ["a", "b"]
    assert module_of("probes@layer4#0-50") == "layer4"
