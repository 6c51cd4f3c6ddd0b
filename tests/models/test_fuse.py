"""Batch norm merged into convolutions: the same network, only where that is so."""

import pytest
import torch
from torch import nn

from pure_cli.core.circuits import activations
from pure_cli.models.canonizers import canonizers_for
from pure_cli.models.fuse import fuse_batch_norm


def seeded(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return model.eval().requires_grad_(False)


class Branches(nn.Module):
    """A convolution whose output is used beside its batch norm too, and one whose is not."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.next = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.next_norm = nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.next_norm(self.next(self.norm(y) + y))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(self.conv(x)))


@pytest.fixture
def image():
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_the_merged_network_is_the_same(tiny, image):
    layers = ["layer1", "layer2.0.relu1", "layer3.0.bn2"]
    before = activations(tiny, image, layers)
    assert fuse_batch_norm(tiny, image, layers) == 7  # one behind the first convolution, two in each of three blocks
    for name, value in activations(tiny, image, layers).items():
        torch.testing.assert_close(value, before[name], rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in tiny.modules())


def test_a_convolution_that_is_looked_at_is_left_alone(tiny, image):
    before = activations(tiny, image, ["layer2.0.conv1"])["layer2.0.conv1"]
    assert fuse_batch_norm(tiny, image, ["layer2.0.conv1", "layer3"]) == 6
    torch.testing.assert_close(activations(tiny, image, ["layer2.0.conv1"])["layer2.0.conv1"], before)


@pytest.mark.parametrize("prepare", [seeded, lambda model: model.eval().requires_grad_(False)])
def test_a_convolution_whose_output_something_else_uses_is_left_alone(image, prepare):
    """Also where the batch norm is untrained, and so changes next to nothing."""
    model = prepare(Branches())
    expected, weight = model(image), model.conv.weight
    assert fuse_batch_norm(model, image, ["next_norm"]) == 1
    assert model.conv.weight is weight and isinstance(model.norm, nn.BatchNorm2d)
    assert isinstance(model.next_norm, nn.Identity)
    torch.testing.assert_close(model(image), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prepare", [seeded, lambda model: model.eval().requires_grad_(False)])
def test_canonizers_leave_it_alone_too(prepare):
    model = prepare(Branches())
    merged = canonizers_for(model)[0].apply(model)
    assert [merge.linears for merge in merged] == [(model.next,)]
    for merge in merged:
        merge.remove()


def test_a_convolution_that_runs_twice_is_left_alone(image):
    model = seeded(Twice())
    expected = model(image)
    assert fuse_batch_norm(model, image, ["norm"]) == 0
    torch.testing.assert_close(model(image), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "top", "norms"),
    [("resnet18", "layer4", 20), ("densenet121", "features", 59), ("mobilenet_v2", "features", 52)],
)
def test_real_networks(name, top, norms):
    """In DenseNet, only every second batch norm follows a convolution."""
    import torchvision

    model = seeded(torchvision.models.get_model(name, weights=None))
    image = torch.randn(1, 3, 64, 64)
    before = activations(model, image, [top])[top]
    assert fuse_batch_norm(model, image, [top]) >= norms
    after = activations(model, image, [top])[top]
    assert (after - before).abs().max() <= 1e-3 * before.abs().max()
