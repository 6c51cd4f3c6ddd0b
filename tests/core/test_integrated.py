"""Integrated gradients: they add up, and equal a long sum written out with two halves of the network."""

import pytest
import torch

from pure_cli.core.circuits import forward_to
from pure_cli.core.integrated import IntegratedCircuits, points

NEURONS = torch.tensor([3, 5, 4, 7, 3, 6])


@pytest.fixture
def pixels():
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def test_relevances_add_up_to_what_the_lower_layer_makes_of_the_neuron(tiny, pixels):
    tiny, pixels = tiny.double(), pixels.double()
    circuits = IntegratedCircuits(tiny, pixels, "layer3", ["layer2"])
    found = circuits.summed(NEURONS)["layer2"].sum(dim=-1).double()
    nothing, _ = forward_to(tiny, pixels, "layer3", ["layer2"], torch.zeros_like)
    rows = torch.arange(6)
    now, then = circuits.activation[rows, NEURONS], nothing[rows, NEURONS].detach()
    expected = (now.clamp(min=0) * (now - then)).sum(dim=(1, 2))
    assert expected.abs().max() > 1
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)


def test_relevances_equal_a_long_sum_written_out(tiny, pixels):
    h = tiny.layer2(tiny.layer1(tiny.relu(tiny.bn1(tiny.conv1(pixels))))).detach()
    now, rows, total, steps = tiny.layer3(h), torch.arange(6), torch.zeros_like(h), 400
    for step in range(steps):
        part = (h * (step + 0.5) / steps).requires_grad_()
        a = tiny.layer3(part)[rows, NEURONS]
        total += torch.autograd.grad((a * now[rows, NEURONS].clamp(min=0)).sum(), part)[0] / steps
    found = IntegratedCircuits(tiny, pixels, "layer3", ["layer2"]).summed(NEURONS)["layer2"]
    expected = (total * h).sum(dim=(2, 3))
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2 * float(expected.abs().max()))


def test_of_a_linear_layer_they_are_gradient_times_input(tiny, pixels):
    tiny.hidden.bias.data.zero_()
    found = IntegratedCircuits(tiny, pixels, "hidden", ["pool"]).summed(torch.full((6,), 2))["pool"]
    h = tiny.pool(tiny.layer3(tiny.layer2(tiny.layer1(tiny.relu(tiny.bn1(tiny.conv1(pixels))))))).flatten(1)
    side = tiny.side_pool(tiny.side(tiny.layer1(tiny.relu(tiny.bn1(tiny.conv1(pixels)))))).flatten(1)
    neuron = ((h + side) @ tiny.hidden.weight[2]).clamp(min=0)
    torch.testing.assert_close(found, neuron[:, None] * tiny.hidden.weight[2] * h, rtol=1e-4, atol=1e-6)


def test_several_lower_layers_have_lines_of_their_own(tiny, pixels):
    together = IntegratedCircuits(tiny, pixels, "layer3", ["layer1", "layer2"]).relevance(NEURONS)
    for lower in ("layer1", "layer2"):
        alone = IntegratedCircuits(tiny, pixels, "layer3", [lower]).relevance(NEURONS)[lower]
        torch.testing.assert_close(together[lower], alone)
        torch.testing.assert_close(alone.abs().sum(-1)[alone.any(-1)].mean(), torch.tensor(1.0))


def test_positions_and_fewer_images(tiny, pixels):
    circuits = IntegratedCircuits(tiny, pixels, "layer3", ["layer2"])
    each = [circuits.summed(NEURONS[:2], positions=torch.full((2,), p))["layer2"] for p in range(16)]
    torch.testing.assert_close(sum(each), circuits.summed(NEURONS)["layer2"][:2], rtol=1e-4, atol=1e-5)


def test_points_are_exact_for_a_polynomial():
    assert sum(weight * at**9 for at, weight in points(5)) == pytest.approx(1 / 10)


def test_a_layer_without_space_has_one_position(tiny, pixels):
    circuits = IntegratedCircuits(tiny, pixels, "hidden", ["layer2"])
    nowhere = circuits.summed(NEURONS, positions=torch.full((6,), -1))["layer2"]
    torch.testing.assert_close(nowhere, circuits.summed(NEURONS)["layer2"], rtol=0, atol=0)
