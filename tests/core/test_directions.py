"""Directions as neurons: with a single one they are the channel, and any other is what autograd says it is."""

import numpy as np
import pytest
import torch

from pure_cli.core.circuits import Circuits, Heatmaps, activations
from pure_cli.core.directions import CHANNELS, Directions, module_of
from pure_cli.core.layout import channels_first
from pure_cli.models.rules import composite_for


@pytest.fixture
def pixels():
    return torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def axes(channels):
    return Directions(np.eye(channels, dtype=np.float32), np.zeros(channels, np.float32))


def random_directions(channels, relu=False, seed=0):
    generator = np.random.default_rng(seed)
    weight, bias = generator.normal(size=(4, channels)), generator.normal(size=4) * 0.1
    return Directions(weight.astype(np.float32), bias.astype(np.float32), relu)


@pytest.mark.parametrize("layer", ["layer3", "hidden", "fc"])
def test_a_direction_with_a_single_one_is_its_channel(tiny, pixels, layer):
    plain = Circuits(tiny, pixels, layer, ["layer2"])
    ours = Circuits(tiny, pixels, layer, ["layer2"], neurons=axes(plain.firing.shape[1]))
    torch.testing.assert_close(ours.firing, plain.firing, rtol=0, atol=0)
    for neuron in range(plain.firing.shape[1]):
        which = torch.full((len(pixels),), neuron)
        torch.testing.assert_close(ours.relevance(which)["layer2"], plain.relevance(which)["layer2"], rtol=0, atol=0)


def test_its_heatmap_and_lrp_relevance_are_those_of_the_channel(tiny, pixels):
    with composite_for("epsilon-plus-flat", tiny).context(tiny):
        plain, plain_maps = Circuits(tiny, pixels, "layer3", ["layer2"], lrp=True), Heatmaps(tiny, pixels, "layer3")
        own = axes(plain.firing.shape[1])
        ours = Circuits(tiny, pixels, "layer3", ["layer2"], lrp=True, neurons=own)
        maps = Heatmaps(tiny, pixels, "layer3", own)
        for neuron in range(plain.firing.shape[1]):
            which = torch.full((len(pixels),), neuron)
            torch.testing.assert_close(ours.relevance(which)["layer2"], plain.relevance(which)["layer2"])
            where = plain.firing[:, neuron].argmax(dim=-1)
            torch.testing.assert_close(maps.at(which, where), plain_maps.at(which, where))


@pytest.mark.parametrize("relu", [False, True])
def test_relevance_of_any_direction_is_gradient_times_activation(tiny, pixels, relu):
    own = random_directions(12, relu)
    circuits = Circuits(tiny, pixels, "layer3", ["layer2"], neurons=own)
    lower = activations(tiny, pixels, ["layer2"])["layer2"].clone()
    for neuron in range(4):
        found = circuits.summed(torch.full((len(pixels),), neuron))["layer2"]
        for image in range(len(pixels)):
            h = lower[image : image + 1].detach().requires_grad_()
            output = tiny.layer3(h)
            value = torch.einsum("c,bchw->bhw", torch.from_numpy(own.weight[neuron]), output) + float(own.bias[neuron])
            value = value.clamp(min=0)  # max(a, 0) · da is half the gradient of max(a, 0)²
            (gradient,) = torch.autograd.grad((value**2).sum() / 2, h)
            torch.testing.assert_close(found[image], (gradient * h).sum((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_under_lrp_the_channels_get_what_each_adds():
    own = Directions(np.array([[1, 2, -1]], np.float32), np.array([0.5], np.float32))
    activation = torch.tensor([[[[2.0]], [[1.0]], [[3.0]]]])
    value = channels_first(own.read(activation))
    assert value.item() == 2 + 2 - 3 + 0.5
    start = own.start(activation, torch.tensor([0]), value[:, 0], lrp=True)
    np.testing.assert_allclose(start.flatten().tolist(), [2, 2, -3])  # the bias keeps 0.5
    nothing = own.start(torch.zeros(1, 3, 1, 1), torch.tensor([0]), torch.zeros(1, 1), lrp=True)
    assert not nothing.any()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 2, 2)])
def test_directions_read_every_layout(shape):
    own = random_directions(3)
    activation = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = channels_first(own.read(activation))
    flat = channels_first(activation)
    for image in range(2):
        expected = torch.from_numpy(own.weight) @ flat[image] + torch.from_numpy(own.bias)[:, None]
        torch.testing.assert_close(found[image], expected)
    start = own.start(activation, torch.tensor([2]), torch.ones(1, flat.shape[2]))
    assert start.shape == activation.shape
    torch.testing.assert_close(channels_first(start)[0], torch.from_numpy(own.weight[2])[:, None].expand(flat[0].shape))
    assert not start[1:].any()


def test_relevance_at_one_position_is_that_of_the_others_left_out(tiny, pixels):
    circuits = Circuits(tiny, pixels, "layer3", ["layer2"])
    which = torch.arange(5)
    whole = circuits.summed(which)["layer2"]
    parts = [circuits.summed(which, positions=torch.full((5,), p))["layer2"] for p in range(circuits.firing.shape[2])]
    torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-5)


def test_the_module_of_a_layer_of_directions():
    assert module_of("units@layer3") == "layer3" == module_of("layer3")
    assert CHANNELS.read(torch.ones(1)).item() == 1


def test_there_are_as_many_as_rows_of_weights():
    assert len(random_directions(3)) == 4
