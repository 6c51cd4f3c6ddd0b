"""Input × gradient that starts with relevance, against the same written out with two halves of the network."""

import numpy as np
import pytest
import torch

from pure_cli.core.directions import Directions
from pure_cli.core.gradient_relevance import GradientCircuits, GradientHeatmaps, as_gradient


@pytest.fixture
def pixels():
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def below(model, pixels):
    """The network up to the lower layer, written out."""
    return model.layer2(model.layer1(model.relu(model.bn1(model.conv1(pixels)))))


def test_the_gradient_times_the_activation_is_the_relevance():
    relevance, activation = torch.tensor([5.0, -6, 5, 0]), torch.tensor([2.0, 3, 0, -1])
    assert as_gradient(relevance, activation).tolist() == [2.5, -2, 0, 0]


@pytest.mark.parametrize("neuron", [3, 4, 5])
def test_relevance_starts_as_the_activation_and_not_as_its_square(tiny, pixels, neuron):
    h = below(tiny, pixels).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(tiny.layer3(h)[:, neuron].clamp(min=0).sum(), h)
    found = GradientCircuits(tiny, pixels, "layer3", ["layer2"]).summed(torch.full((4,), neuron))["layer2"]
    torch.testing.assert_close(found, (gradient * h.detach()).sum(dim=(2, 3)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("position", [0, 5])
def test_a_heatmap_is_pixel_times_gradient_of_one_position(tiny, pixels, position):
    images = pixels.clone().requires_grad_()
    for neuron in (3, 4, 5):
        fired = tiny.layer3(below(tiny, images))[:, neuron].flatten(1)[:, position].clamp(min=0)
        (gradient,) = torch.autograd.grad(fired.sum(), images)
        found = GradientHeatmaps(tiny, pixels, "layer3").at(torch.full((4,), neuron), torch.full((4,), position))
        torch.testing.assert_close(found, (gradient * images.detach()).sum(dim=1), rtol=1e-4, atol=1e-6)


def test_a_direction_starts_with_what_each_channel_adds(tiny, pixels):
    weight = np.random.default_rng(0).normal(size=(1, 12)).astype(np.float32)
    block = tiny.layer3[0]
    h = below(tiny, pixels).detach().requires_grad_()
    output = block.bn2(block.conv2(block.relu1(block.bn1(block.conv1(h)))))
    fired = torch.einsum("c,bchw->bhw", torch.from_numpy(weight[0]), output).clamp(min=0)
    (gradient,) = torch.autograd.grad(fired.sum(), h)
    own = Directions(weight, np.zeros(1, np.float32))
    found = GradientCircuits(tiny, pixels, "layer3.0.bn2", ["layer2"], neurons=own).summed(torch.zeros(4).long())
    torch.testing.assert_close(found["layer2"], (gradient * h.detach()).sum(dim=(2, 3)), rtol=1e-4, atol=1e-5)
