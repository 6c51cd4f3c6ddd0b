"""Outputs without parts of channels, from the layer on, are those of whole passes; so are gradients of one output."""

import pytest
import torch
from torch import nn

from pure_cli.core.editing import channels_scaled
from pure_cli.core.forward import run
from pure_cli.core.output_effects import relevances_for_class
from pure_cli.core.silencing import Silencing


class Plain(nn.Module):
    """Two blocks, the second with a shortcut around its layer, and outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
        self.relu, self.last, self.head = nn.ReLU(inplace=True), nn.ReLU(inplace=True), nn.Linear(5, 4)

    def forward(self, images):
        below = self.relu(self.first(images))
        return self.head((self.last(self.second(below)) + below).mean(dim=(-1, -2)))


class AroundEarly(Plain):
    """The images themselves go around the layer, too."""

    def forward(self, images):
        return super().forward(images) * (1 + images.mean(dim=(1, 2, 3))[:, None])


@pytest.mark.parametrize("network", [Plain, AroundEarly])
@pytest.mark.parametrize("layer", ["first", "second"])
def test_without_a_part_of_a_channel(network, layer):
    model, images = network().eval(), torch.rand(6, 3, 8, 8)
    silencing = Silencing(model, images, ["first", "second"])
    torch.testing.assert_close(silencing.outputs, model(images))
    part = torch.linspace(0, 1, 6)
    for channel in range(5):
        with torch.no_grad(), channels_scaled(model, images, {layer: {channel: 1 - part}}):
            expected = run(model, images)
        torch.testing.assert_close(silencing.without({layer: {channel: part}}), expected, rtol=1e-5, atol=1e-6)


def test_without_channels_of_several_layers():
    model, images, part = Plain().eval(), torch.rand(6, 3, 8, 8), torch.linspace(0, 1, 6)
    parts = {"first": {2: part}, "second": {0: part.flip(0), 3: part}}
    with (
        torch.no_grad(),
        channels_scaled(model, images, {layer: {c: 1 - p for c, p in own.items()} for layer, own in parts.items()}),
    ):
        expected = run(model, images)
    torch.testing.assert_close(Silencing(model, images, ["first", "second"]).without(parts), expected)


def test_a_pass_without_a_part_begins_at_the_layer(monkeypatch):
    model, images = Plain().eval(), torch.rand(6, 3, 8, 8)
    silencing = Silencing(model, images, ["second"])
    monkeypatch.setattr(nn.Conv2d, "_conv_forward", lambda *_: pytest.fail("a convolution is computed"))
    silencing.without({"second": {0: torch.ones(6)}})


def test_what_comes_before_is_computed_where_it_is_used_in_other_ways():
    class Twice(Plain):
        def forward(self, images):
            return super().forward(images) + self.head(
                nn.functional.conv2d(images, self.first.weight).mean(dim=(-1, -2))
            )

    model, images = Twice().eval(), torch.rand(6, 3, 8, 8)
    silencing = Silencing(model, images, ["second"])
    with torch.no_grad(), channels_scaled(model, images, {"second": {1: torch.zeros(6)}}):
        expected = run(model, images)
    torch.testing.assert_close(silencing.without({"second": {1: torch.ones(6)}}), expected)


def test_highest_activations():
    model, images = Plain().eval(), torch.rand(6, 3, 8, 8)
    expected = model.second(torch.relu(model.first(images))).clamp(min=0).amax(dim=(-1, -2))
    torch.testing.assert_close(Silencing(model, images, ["second"]).highest["second"], expected)


def test_a_network_without_outputs_has_none():
    assert Silencing(nn.Sequential(nn.Conv2d(3, 2, 1)).eval(), torch.rand(2, 3, 4, 4), ["0"]).outputs is None


def test_relevances_for_a_class_are_those_of_a_plain_loop():
    model, images = Plain().eval(), torch.rand(4, 3, 8, 8)
    target = torch.tensor([2, 0, 3, 2])
    found = relevances_for_class(model.requires_grad_(False), images, ["first", "second"], target)
    for layer in ("first", "second"):
        for row in range(4):
            for channel in range(5):
                scale = torch.ones(1, requires_grad=True)
                with channels_scaled(model, images[row : row + 1], {layer: {channel: scale}}):
                    output = model(images[row : row + 1].clone())[0]
                (expected,) = torch.autograd.grad(output[target[row]] - output.mean(), scale)
                torch.testing.assert_close(found[layer][row, channel], expected[0], rtol=1e-4, atol=1e-6)


def test_a_layer_that_no_output_uses_has_no_relevance():
    class Beside(Plain):
        def forward(self, images):
            self.second(self.first(images))
            return self.head(images.mean(dim=(-1, -2)).repeat(1, 2)[:, :5])

    found = relevances_for_class(Beside().eval(), torch.rand(2, 3, 8, 8), ["second"], torch.tensor([0, 1]))
    assert found["second"].shape == (2, 5) and not found["second"].any()
