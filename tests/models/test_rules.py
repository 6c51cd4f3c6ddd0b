"""The canonizer for timm's ResNets, held against zennit's for torchvision's: the same network by two libraries."""

import pytest
import timm
import torch
import torchvision

from pure_cli.core.circuits import Circuits, Heatmaps
from pure_cli.models.rules import composite_for


def pair(name: str):
    """The same seeded network from timm and from torchvision."""
    torch.manual_seed(0)
    ours = timm.create_model(name, pretrained=False).eval().requires_grad_(False)
    for module in ours.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)
            module.running_mean.normal_(0, 0.1)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    theirs = getattr(torchvision.models, name)(weights=None).eval().requires_grad_(False)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_timm_and_torchvision_give_the_same_lrp(name):
    ours, theirs = pair(name)
    images = torch.randn(2, 3, 64, 64)
    found = []
    for model in (ours, theirs):
        with composite_for("epsilon-plus-flat", model).context(model):
            relevance = Circuits(model, images, "layer4", ["layer3"], lrp=True).relevance(torch.tensor([3, 70]))
            maps = Heatmaps(model, images, "layer4").at(torch.tensor([3, 70]), torch.tensor([1, 0]))
        found.append((relevance["layer3"], maps / maps.abs().amax(dim=(1, 2), keepdim=True)))
    (our_relevance, our_maps), (their_relevance, their_maps) = found
    assert our_relevance.abs().sum() > 0.5
    torch.testing.assert_close(our_relevance, their_relevance, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(our_maps, their_maps, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_canonizers_do_not_change_what_the_network_computes(name):
    model, _ = pair(name)
    images = torch.randn(2, 3, 64, 64)
    expected = model(images)
    with composite_for("epsilon-plus-flat", model).context(model) as modified:
        torch.testing.assert_close(modified(images), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model(images), expected, rtol=0, atol=0)
