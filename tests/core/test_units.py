"""Units with known meanings, and relevances that should know nothing of them."""

import numpy as np
import pytest
import torch

from pure_cli.core.circuits import Circuits
from pure_cli.core.directions import Directions
from pure_cli.core.replay import Replay, constant, mean_map, shuffled
from pure_cli.core.stem import stem_of
from pure_cli.core.units import (
    correlated_with,
    has_its_meanings,
    learned_unions,
    main_channels,
    pairs_of_channels,
    stacked,
)


def test_learned_unions_fire_for_their_classes():
    generator = np.random.default_rng(0)
    labels = np.arange(400) % 4
    features = generator.normal(size=(400, 6)) * 7 + 30 * np.eye(6)[labels]
    found = learned_unions(features, labels, [(0,), (1, 2)])
    assert found.weight.shape == (2, 6) and not found.relu
    values = features @ found.weight.T + found.bias
    assert ((values[:, 0] > 0) == (labels == 0)).mean() > 0.97
    assert ((values[:, 1] > 0) == np.isin(labels, [1, 2])).mean() > 0.97
    scaled = learned_unions(features * 1000, labels, [(0,)])
    np.testing.assert_allclose(scaled.weight[0] * 1000, found.weight[0], rtol=1e-3, atol=1e-4)


def test_pairs_are_scaled_by_how_far_each_channel_goes():
    found = pairs_of_channels([(0, 2), (1, 2)], np.array([2.0, 4.0, 5.0]), relu=True)
    np.testing.assert_allclose(found.weight, [[0.5, 0, 0.2], [0, 0.25, 0.2]])
    assert found.relu and not found.bias.any()


@pytest.mark.parametrize("correlation", [0.0, 0.25, 0.75])
def test_concepts_correlate_as_much_as_is_wanted(correlation):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(500, 6)) @ generator.normal(size=(6, 6)) + 5
    probes = Directions(generator.normal(size=(4, 6)), generator.normal(size=4))
    pairs = [(0, 1), (2, 3), (0, 3)]
    both, first, second = correlated_with(features, probes, pairs, correlation, 20)
    one, other, total = (features @ each.weight.T + each.bias for each in (first, second, both))
    for row, (a, b) in enumerate(pairs):
        assert np.corrcoef(one[:, row], other[:, row])[0, 1] == pytest.approx(correlation, abs=1e-5)
        assert np.corrcoef(one[:, row], features @ probes.weight[a])[0, 1] == pytest.approx(1)
        assert np.corrcoef(other[:, row], features @ probes.weight[b])[0, 1] > 0
    np.testing.assert_allclose(total, one + other, rtol=1e-4, atol=1e-4)
    for values in (one, other):
        np.testing.assert_allclose(np.sort(values, axis=0)[-20:].mean(axis=0), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("truth", "parts", "good"),
    [
        ([0] * 8 + [1] * 2, (0, 1), True),
        ([0] * 9 + [1], (0, 1), False),
        ([0] * 9 + [1], (0,), True),
        ([0] * 8 + [1] * 2, (0,), False),
        ([0] * 6 + [1] * 2 + [2] * 2, (0, 1, 2), True),
        ([0] * 8 + [1] * 1 + [2] * 1, (0, 1, 2), False),
    ],
)
def test_every_meaning_needs_its_share(truth, parts, good):
    assert has_its_meanings(np.array(truth), parts) is good


def test_main_channels_hold_half_of_the_weight():
    assert main_channels(np.array([0.1, -4, 2, 1, 0.5])).tolist() == [1]
    assert main_channels(np.array([1.0, -1, 1, 1])).tolist() == [0, 1]
    assert main_channels(np.array([0, 0.2, 0, 5])).tolist() == [1, 3]
    assert main_channels(np.array([1, 3, 2, 2.5])).tolist() == [1, 3]  # 3 of 8.5 are less than half


@pytest.fixture
def pixels():
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def test_unchanged_replay_is_the_relevance(tiny, pixels):
    own = Directions(np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32), np.zeros(2, np.float32))
    expected = Circuits(tiny, pixels, "layer3", ["layer2"], neurons=own).summed(torch.full((6,), 1))["layer2"]
    found = Replay(tiny, pixels, "layer3", ["layer2"], own, 1).relevance(lambda activation: activation)["layer2"]
    torch.testing.assert_close(found, expected)


def spread(rows):
    """How far the directions of rows (B, D) are apart."""
    return float(np.ptp(torch.nn.functional.normalize(rows, dim=1).numpy(), axis=0).max())


def test_constant_activations_leave_only_what_the_beginning_knows(tiny, pixels):
    """Two images on which the neuron fires alike have the same relevance, whatever they show."""
    own = Directions(np.zeros((1, 12), np.float32), np.ones(1, np.float32))  # fires alike everywhere
    found = Replay(tiny, pixels, "layer3", ["layer2"], own, 0).relevance(constant)["layer2"]
    torch.testing.assert_close(found, found[:1].expand_as(found))
    weights = Directions(np.random.default_rng(0).normal(size=(1, 12)).astype(np.float32), np.ones(1, np.float32) * 5)
    placed = Replay(tiny, pixels, "layer3", ["layer2"], weights, 0).relevance(constant)["layer2"]
    unplaced = Replay(tiny, pixels, "layer3", ["layer2"], weights, 0).relevance(constant, everywhere=True)["layer2"]
    assert spread(placed) > 1e-4 and spread(unplaced) < 1e-6  # zeros around maps tell places apart
    order = np.array([3, 1, 0, 2, 5, 4])
    mixed = Replay(tiny, pixels, "layer3", ["layer2"], weights, 0).relevance(shuffled(order))["layer2"]
    plain = Replay(tiny, pixels, "layer3", ["layer2"], weights, 0).relevance(lambda activation: activation)["layer2"]
    torch.testing.assert_close(mixed[1], plain[1])  # its own image took its place
    assert not torch.allclose(mixed[0], plain[0])


def test_gradient_alone_is_relevance_at_the_mean_activation(tiny, pixels):
    same = pixels[:1].expand(4, -1, -1, -1)
    own = Directions(np.random.default_rng(0).normal(size=(1, 12)).astype(np.float32), np.zeros(1, np.float32))
    expected = Circuits(tiny, same, "layer3", ["layer2"], neurons=own).summed(torch.zeros(4, dtype=torch.long))[
        "layer2"
    ]
    found = Replay(tiny, same, "layer3", ["layer2"], own, 0).gradient_alone["layer2"]
    torch.testing.assert_close(found, expected)


def test_constant_activations_are_the_mean_over_images_and_places_and_mean_maps_that_at_each_place():
    activation = torch.randn(3, 4, 2, 5, generator=torch.Generator().manual_seed(0))
    found, maps = constant(activation), mean_map(activation)
    assert found.shape == maps.shape == activation.shape
    for image in range(3):
        torch.testing.assert_close(maps[image], sum(activation) / 3)
        for channel in range(4):
            torch.testing.assert_close(found[image, channel], activation[:, channel].mean().expand(2, 5))
    torch.testing.assert_close(
        constant(activation[..., 0, 0]), mean_map(activation[..., 0, 0])
    )  # vectors have no place


def test_probes_are_scikit_learns_on_features_of_variance_one():
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(1)
    labels = np.arange(120) % 3
    features = generator.normal(size=(120, 4)) * [1, 2, 3, 9] + np.eye(4)[labels] + 5
    scale = np.sqrt(np.mean([np.var(column) for column in features.T]))
    theirs = LogisticRegression(max_iter=1000).fit(features / scale, labels == 2)
    found = learned_unions(features, labels, [(2,)])
    np.testing.assert_allclose(found.weight[0], theirs.coef_[0] / scale, rtol=1e-4)
    np.testing.assert_allclose(found.bias[0], theirs.intercept_[0], rtol=1e-4)


def test_a_probe_that_stops_early_warns_nobody(monkeypatch):
    import warnings

    from pure_cli.core import units

    monkeypatch.setattr(units, "STEPS", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = learned_unions(np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 4, [(0,), (1, 2)])
    assert np.isfinite(found.weight).all()


def test_replay_is_the_same_where_what_comes_before_is_computed_anew(tiny, pixels):
    own = Directions(np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32), np.zeros(2, np.float32))
    order, lowers = np.array([3, 1, 0, 2, 5, 4]), ["layer1", "layer2"]
    stems = {lower: stem_of(tiny, pixels[:2], [lower], "layer3") for lower in lowers}
    assert all(stems.values())
    replays = [Replay(tiny, pixels, "layer3", lowers, own, 1, stems=given) for given in (stems, None)]
    found, anew = ([replay.relevance(change) for change in (constant, shuffled(order))] for replay in replays)
    for one, other in zip(found, anew, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in lowers)


def test_stacked_directions_read_what_each_set_reads(pixels):
    generator = np.random.default_rng(0)
    sets = [Directions(generator.normal(size=(m, 3)).astype(np.float32), np.full(m, m, np.float32)) for m in (2, 3)]
    expected = torch.cat([one.read(pixels) for one in sets], dim=1)
    torch.testing.assert_close(stacked(sets).read(pixels), expected)
