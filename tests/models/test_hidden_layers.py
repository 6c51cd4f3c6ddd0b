"""The hidden layer of a layer's last block, which circuits go through where no preset speaks."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pure_cli.models.defaults import default_layers, hidden_layer_of
from pure_cli.models.layers import list_layers

IMAGE = torch.zeros(1, 3, 32, 32)


def hidden(model: nn.Module, layer: str = "", image: torch.Tensor = IMAGE) -> str:
    model = model.eval().requires_grad_(False)
    layers = list_layers(model, image)
    return hidden_layer_of(model, image, layer or default_layers(model, image, layers)[0], layers)


def convolution(wide_in: int, wide: int, act: bool = True, size: int = 3) -> nn.Sequential:
    parts = [nn.Conv2d(wide_in, wide, size, padding=size // 2), nn.BatchNorm2d(wide), *([nn.ReLU()] if act else [])]
    return nn.Sequential(*parts)


class Branches(nn.Module):
    """Half of the neurons from either branch: no activation in it leads to all."""

    def __init__(self):
        super().__init__()
        self.one, self.two = (nn.Sequential(convolution(8, 6), convolution(6, 4)) for _ in range(2))

    def forward(self, x):
        return torch.cat([self.one(x), self.two(x)], dim=1)


class Gated(nn.Module):
    """Squeeze and excitation: a gate has no positions."""

    def __init__(self):
        super().__init__()
        self.expand, self.project = convolution(8, 16), convolution(16, 8, act=False)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 1))
        self.squash = nn.Sigmoid()

    def forward(self, x):
        wide = self.expand(x)
        return self.project(wide * self.squash(self.gate(wide)))


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (nn.Sequential(convolution(8, 16), convolution(16, 8, act=False)), "last.0.2"),  # a linear bottleneck
        (nn.Sequential(convolution(8, 16), convolution(16, 8)), "last.0.2"),  # not the layer's own end
        (convolution(8, 8), ""),  # one convolution: nothing is hidden in it
        (Branches(), ""),
        (Gated(), "last.expand.2"),
        (nn.Sequential(convolution(8, 16), nn.MaxPool2d(2), convolution(16, 8)), "last.0.2"),
    ],
    ids=["bottleneck", "relu-at-the-end", "one-convolution", "branches", "gated", "pooled"],
)
def test_the_last_activation_that_all_neurons_are_made_from(last, expected):
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("first", convolution(3, 8))
    model.add_module("last", last)
    assert hidden(model, "last") == expected


def test_which_layer_it_is_depends_on_no_image():
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("first", convolution(3, 8))
    model.add_module("last", nn.Sequential(convolution(8, 16), convolution(16, 8)))
    found = {hidden(model, "last", image) for image in (IMAGE, IMAGE - 100, torch.randn_like(IMAGE))}
    assert found == {"last.0.2"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm:tf_efficientnet_lite0", "blocks.6.0.bn2.act"),
        ("torchvision:resnet18", "layer4.1.relu:relu"),
        ("timm:convnext_atto", "stages.3.blocks.1.mlp.act"),
        ("timm:vit_tiny_patch16_224", ""),
    ],
)
def test_of_networks_that_people_have(name, expected):
    from pure_cli.models.load import load_model
    from pure_cli.models.spec import NO_WEIGHTS, parse_model

    side = 224 if "vit" in name else 64
    assert hidden(load_model(parse_model(name), Path(NO_WEIGHTS), 0), image=torch.zeros(1, 3, side, side)) == expected
