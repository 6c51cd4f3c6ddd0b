"""Bounded nonlinearities at the end of a layer: what images are ranked by, and where relevance begins."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pure_cli.core.circuits import Circuits, Firing, activations
from pure_cli.core.directions import Directions
from pure_cli.core.gradient_relevance import GradientCircuits
from pure_cli.core.integrated import IntegratedCircuits
from pure_cli.core.saturation import Bound
from pure_cli.models.ends import upper_bound

INF = float("inf")
BOUNDS = {
    "relu6": (F.relu6, Bound("z<", "relu6", low=0.0, high=6.0), 0.0),
    "hardtanh": (lambda z: F.hardtanh(z, -2, 3), Bound("z<", "hardtanh", low=-2.0, high=3.0), 0.0),
    "clamp above zero": (lambda z: z.clamp(1, 2), Bound("z<", "clamp", low=1.0, high=2.0), -INF),
    "clamp at the top alone": (lambda z: z.clamp(max=2), Bound("z<", "clamp", high=2.0), 0.0),
    "never above zero": (lambda z: z.clamp(max=-1), Bound("z<", "clamp", high=-1.0), INF),
    "hardsigmoid": (F.hardsigmoid, Bound("z<", "hardsigmoid", 1 / 6, 0.5, 0.0, 1.0), -3.0),
    "sigmoid": (torch.sigmoid, Bound("z<", "sigmoid"), -INF),
    "tanh": (torch.tanh, Bound("z<", "tanh"), 0.0),
    "softsign": (F.softsign, Bound("z<", "softsign"), 0.0),
    "scaled": (lambda z: F.relu6(z) / 3 - 1, Bound("z<", "relu6", low=0.0, high=6.0).then(1 / 3, -1.0), 3.0),
    "erf": (torch.erf, Bound("z<", "erf"), 0.0),
    "atan": (torch.atan, Bound("z<", "atan"), 0.0),
    "scaled tanh": (lambda z: torch.tanh(z) * 2 + 1, Bound("z<", "tanh").then(2.0, 1.0), -0.5493061443),
}
TURNED = {
    "1 - sigmoid": (lambda z: 1 - torch.sigmoid(z), Bound("z<", "sigmoid").then(-1.0, 1.0)),
    "-tanh": (lambda z: -torch.tanh(z), Bound("z<", "tanh").then(-1.0, 0.0)),
    "6 - relu6": (lambda z: 6 - F.relu6(z), Bound("z<", "relu6", low=0.0, high=6.0).then(-1.0, 6.0)),
    "-2 hardsigmoid + 3": (
        lambda z: F.hardsigmoid(z) * -2 + 3,
        Bound("z<", "hardsigmoid", 1 / 6, 0.5, 0.0, 1.0).then(-2.0, 0.0).then(1.0, 3.0),
    ),
    "turned twice": (lambda z: -(1 - torch.sigmoid(z)), Bound("z<", "sigmoid").then(-1.0, 1.0).then(-1.0, 0.0)),
}
HEADS = {
    "module": nn.ReLU6,
    "in place": lambda: nn.ReLU6(inplace=True),
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.7),
    "hardsigmoid": nn.Hardsigmoid,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softsign": nn.Softsign,
}


class Small(nn.Module):
    """Two convolutions and a nonlinearity, all of a layer of their own."""

    def __init__(self, end):
        super().__init__()
        self.low = nn.Conv2d(3, 5, 3, padding=1)
        self.top = nn.Sequential(nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1), end)
        self.after = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.after(self.top(self.low(x)))


def small(head, scale=40.0):
    torch.manual_seed(0)
    model = Small(HEADS[head]()).eval().requires_grad_(False)
    model.top[1].weight.mul_(scale)
    return model


def pixels(count=3):
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def before_the_end(model, images):
    """What goes into the nonlinearity, and the lower layer, with a graph between them."""
    lower = model.low(images).requires_grad_()
    return model.top[1](model.top[0](lower)), lower


@pytest.mark.parametrize("name", BOUNDS)
def test_without_its_bound_a_function_is_the_same_up_to_where_its_slope_falls_and_straight_from_there(name):
    function, bound, fires_above = BOUNDS[name]
    z = torch.linspace(-9, 9, 1801, dtype=torch.float64)
    torch.testing.assert_close(bound.output(z), function(z))
    lifted = bound.lifted(z)
    steps = lifted.diff()
    assert (steps >= -1e-12).all()
    slopes = function(z).diff()
    steepest = int(slopes.argmax())
    torch.testing.assert_close(lifted[: steepest + 1], function(z)[: steepest + 1])
    assert torch.allclose(steps[steepest:], steps[-1])  # straight
    fires = function(z) > 1e-12
    assert bound.fires_above == pytest.approx(fires_above)
    assert ((z > fires_above + 1e-9) == fires).float().mean() > 0.999


@pytest.mark.parametrize("name", TURNED)
def test_what_falls_with_its_input_is_ranked_by_the_negative(name):
    function, bound = TURNED[name]
    z = torch.linspace(-9, 9, 1801, dtype=torch.float64)
    torch.testing.assert_close(bound.output(z), function(z))
    ranked, lifted = bound.ranked(z), bound.lifted(z)
    order = ranked.argsort()
    assert (function(z)[order].diff() >= -1e-12).all() and (lifted[order].diff() >= -1e-12).all()
    assert ((ranked > bound.fires_above + 1e-9) == (function(z) > 1e-12)).float().mean() > 0.999
    assert bound.highest == pytest.approx(float(function(torch.tensor([-1e4, 1e4])).max()))


@pytest.mark.parametrize("head", HEADS)
def test_images_are_ranked_by_what_goes_into_the_nonlinearity(head):
    model, images = small(head), pixels()
    bound = upper_bound(model, images[:1], "top")
    found = activations(model, images, ["top"], bounds={"top": bound})["top"]
    torch.testing.assert_close(found, before_the_end(model, images)[0].detach())
    firing = Firing.of(found, bound=bound)
    torch.testing.assert_close(firing.activation, model.top(model.low(images)))
    torch.testing.assert_close(firing.ranked, found, rtol=0, atol=0)


@pytest.mark.parametrize("head", HEADS)
def test_relevances_are_those_of_plain_autograd_without_the_bound(head):
    model, images = small(head), pixels()
    bound = upper_bound(model, images[:1], "top")
    circuits = Circuits(model, images, "top", ["low"], bound=bound)
    for neuron in range(4):
        z, lower = before_the_end(model, images)
        lifted = bound.lifted(z)[:, neuron]
        (gradient,) = torch.autograd.grad((lifted * lifted.detach().clamp(min=0)).sum(), lower)
        expected = (gradient * lower).sum(dim=(2, 3))
        found = circuits.summed(torch.full((len(images),), neuron))["low"]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (model.top(model.low(images)).amax(dim=(2, 3)) > 0.9 * bound.highest).any()  # it does saturate


def test_of_relu6_they_are_those_of_what_goes_in():
    model, images = small("module"), pixels()
    circuits = Circuits(model, images, "top", ["low"], bound=upper_bound(model, images[:1], "top"))
    z, lower = before_the_end(model, images)
    (gradient,) = torch.autograd.grad(z[:, 1], lower, z[:, 1].detach().clamp(min=0))
    torch.testing.assert_close(circuits.summed(torch.ones(3, dtype=torch.int64))["low"], (gradient * lower).sum((2, 3)))


@pytest.mark.parametrize("kind", [Circuits, IntegratedCircuits, GradientCircuits])
@pytest.mark.parametrize("head", ["module", "in place", "hardtanh"])
def test_where_nothing_saturates_all_numbers_are_those_of_the_layer_as_it_is(kind, head):
    model, images = small(head, scale=0.2), pixels()
    bound = upper_bound(model, images[:1], "top")
    assert model.top(model.low(images)).amax() < 0.9 * bound.highest
    which = torch.tensor([0, 3, 1])
    with_bound, without = (kind(model, images, "top", ["low"], bound=one) for one in (bound, None))
    torch.testing.assert_close(with_bound.activation, without.activation, rtol=0, atol=0)
    torch.testing.assert_close(with_bound.summed(which)["low"], without.summed(which)["low"], rtol=1e-6, atol=1e-8)


def test_a_sigmoid_below_its_middle_keeps_its_numbers():
    model, images = small("sigmoid", scale=1.0), pixels()
    model.top[1].bias.fill_(-6)
    bound = upper_bound(model, images[:1], "top")
    which = torch.tensor([0, 3, 1])
    found, expected = (Circuits(model, images, "top", ["low"], bound=one).summed(which) for one in (bound, None))
    torch.testing.assert_close(found["low"], expected["low"])
    assert expected["low"].abs().min() > 0


def test_positions_that_saturate_count():
    """The only position at which a neuron fires is saturated: by the layer's own gradient there is no relevance."""
    model = small("module")
    images = pixels(1) * 100
    plain = Circuits(model, images, "top", ["low"]).relevance(torch.tensor([2]))["low"]
    bound = upper_bound(model, images, "top")
    found = Circuits(model, images, "top", ["low"], bound=bound).relevance(torch.tensor([2]))["low"]
    assert found.abs().sum() == pytest.approx(1, abs=1e-5)
    assert torch.nn.functional.cosine_similarity(found, plain).item() < 0.9


def test_directions_are_read_from_the_layer_and_their_gradient_goes_through_its_bound():
    model, images = small("module"), pixels()
    one = Directions(torch.eye(4)[2:3].numpy(), torch.zeros(1).numpy())
    bound = upper_bound(model, images[:1], "top")
    circuits = Circuits(model, images, "top", ["low"], neurons=one, bound=bound)
    output = model.top(model.low(images))
    torch.testing.assert_close(circuits.firing[:, 0], output[:, 2].flatten(1))
    z, lower = before_the_end(model, images)
    (gradient,) = torch.autograd.grad(z[:, 2].clamp(min=0), lower, output[:, 2])
    found = circuits.summed(torch.zeros(3, dtype=torch.int64))["low"]
    torch.testing.assert_close(found, (gradient * lower).sum((2, 3)), rtol=1e-4, atol=1e-5)
