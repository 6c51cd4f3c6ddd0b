"""Passes that leave out what comes before a place, against passes that compute all of it."""

import pytest
import torch
from torch import nn

from pure_cli.core.circuits import activations
from pure_cli.core.prefix import begun_at, prefixes
from pure_cli.core.structure import learn


def convolution():
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = convolution(), convolution()

    def forward(self, x):
        return x + self.second(self.first(x))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.block, self.last = nn.Conv2d(3, 4, 3, padding=1), Block(), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)  # runs twice

    def forward(self, x):
        return self.last(self.relu(self.block(self.relu(self.stem(x)))))


class Concatenating(Residual):
    """What comes first is used again behind all others."""

    def forward(self, x):
        begin = self.stem(x)
        return self.last(self.relu(self.block(begin)) + begin)


@pytest.fixture
def pixels():
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def counted(model):
    """Modules of a network, and how often each computes from here on."""
    counts = {}
    for name, module in model.named_modules():
        if not list(module.children()):
            own, counts[name] = module.forward, 0

            def forward(*inputs, own=own, name=name):
                counts[name] += 1
                return own(*inputs)

            module.forward = forward
    return counts


@pytest.mark.parametrize("place", ["block", "block.second", "block.second.0", "block.first.1", "relu:relu"])
def test_what_follows_is_the_same_and_what_comes_before_is_not_computed(pixels, place):
    torch.manual_seed(0)
    model = Residual().eval()
    learn(model, pixels)
    with prefixes(model, [place]) as before:
        whole = activations(model, pixels, ["last"])["last"]
    counts = counted(model)
    with before[place].given(model):
        again = activations(model, pixels, ["last"])["last"]
    assert torch.equal(again, whole)
    assert counts["stem"] == 0 and counts["last"] == 1
    assert counts["block.first.0"] == (place == "relu:relu")
    model(pixels)
    assert counts["stem"] == 1, "the network is as it was"


def test_what_is_used_later_all_the_same_shows_as_no_number(pixels):
    model = Concatenating().eval()
    learn(model, pixels)
    with prefixes(model, ["relu"]) as before:
        activations(model, pixels, ["last"])
    with before["relu"].given(model):
        assert activations(model, pixels, ["last"])["last"].isnan().all()


def test_a_place_that_is_not_reached_has_nothing_before_it(pixels):
    model = Residual().eval()
    learn(model, pixels)
    with prefixes(model, ["last", "block"]) as before:
        activations(model, pixels, ["stem"])
    assert not before["last"].outputs and not before["block"].outputs


@pytest.mark.parametrize("place", ["block", "block.second"])
def test_a_network_begins_at_a_place_that_all_goes_through(pixels, place):
    model, seen = Residual().eval().requires_grad_(False), []
    handle = model.get_submodule(place).register_forward_hook(lambda *call: seen.append(call[-1].clone()))
    expected = model(pixels)
    handle.remove()
    with begun_at(model, place, seen[0], (8, 8)) as unknown:
        found = model(unknown)
    if place == "block":
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    else:
        assert found.isnan().all(), "x + … goes around it"
