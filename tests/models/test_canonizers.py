"""One canonizer for all families, held against zennit's own for those that it knows."""

import copy
from functools import cache

import pytest
import small_families as families
import timm
import torch
import torchvision
from torch import nn
from zennit.torchvision import ResNetCanonizer, VGGCanonizer

from pure_cli.core.circuits import Circuits, Heatmaps, activations, forward_to
from pure_cli.models.canonizers import canonizers_for
from pure_cli.models.rule_coverage import CONVOLUTIONAL
from pure_cli.models.rules import RULES, composite_for, in_force, missing_canonizer

NEURONS = torch.tensor([3, 40])


ABOVE = {
    "resnet18": (("layer4",), "fc"),
    "resnet50": (("layer3", "layer4"), "fc"),
    "vgg11_bn": (("features[:15]",), "classifier"),
}  # where no test looks: most of the weights


@cache
def seeded(name):
    """A network of torchvision whose batch norms do something: the same for all tests, which leave it as it is."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)
            module.running_mean.normal_(0, 0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return model


@cache
def below(name):
    """Its part up to the layer that the tests look at."""
    return families.without(copy.deepcopy(seeded(name)), *ABOVE[name], torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("rule", [name for name in RULES if RULES[name].hooks])
@pytest.mark.parametrize(
    ("name", "canonizer", "layer", "lower"),
    [
        ("resnet18", ResNetCanonizer, "layer3", "layer2"),
        ("resnet50", ResNetCanonizer, "layer2", "layer1.1"),
        ("vgg11_bn", VGGCanonizer, "features.14", "features.7"),
    ],
)
def test_relevances_are_those_of_zennits_own_canonizers_to_the_bit(name, canonizer, layer, lower, rule):
    model, images = below(name), torch.randn(2, 3, 32, 32)
    found = []
    for composite in (composite_for(rule, model), RULES[rule].composite(canonizers=[canonizer()])):
        with composite.context(model):
            relevance = Circuits(model, images, layer, [lower], lrp=True).summed(NEURONS)[lower]
            found.append((relevance, Heatmaps(model, images, layer).at(NEURONS, torch.tensor([1, 0]))))
    assert found[1][0].abs().sum() > 0
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("family", CONVOLUTIONAL)
def test_the_network_computes_the_same_and_is_left_as_it_was(family):
    model, layer, _, images = families.make(family)
    expected = activations(model, images, [layer])[layer]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with in_force("epsilon-plus", model):
        activation, _ = forward_to(model, images.clone().requires_grad_(), layer)
        torch.testing.assert_close(activation.detach(), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert not any("forward" in vars(module) for module in model.modules())


def merged(model):
    """How many batch norms do nothing while canonizers are in force."""
    with in_force("epsilon", model):
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        return sum(not norm.running_mean.any() and bool((norm.weight == 1).all()) for norm in norms), len(norms)


@pytest.mark.parametrize("make", [torchvision.models.densenet121, lambda: timm.create_model("densenet121")])
def test_batch_norm_before_a_relu_is_merged_into_no_convolution(make):
    """In DenseNets half of them follow a concatenation; going by the order of definition would merge these too."""
    model = make().eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            nn.init.uniform_(module.weight, 0.5, 0.9)
    behind_convolutions = 1 + 58  # the stem's, and the second of each dense layer
    assert merged(model) == (behind_convolutions, 121)


class Shared(nn.Module):
    """What lies between a convolution and its batch norm is used elsewhere, and must stay what it is."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.top = nn.Conv2d(4, 4, 1)
        self.top_norm = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.conv(x)
        return self.top_norm(self.top(torch.relu(self.norm(x)) + x))


def test_batch_norm_whose_input_is_used_elsewhere_is_not_merged():
    torch.manual_seed(0)
    model = Shared().eval().requires_grad_(False)
    for norm in (model.norm, model.top_norm):
        norm.running_mean.normal_()
        nn.init.uniform_(norm.weight, 0.5, 0.9)
    assert merged(model) == (1, 2)


class WeightUsedTwice(nn.Module):
    """The weight of a convolution with batch norm behind it is that of another layer too, or is made anew by a hook."""

    def __init__(self, how):
        super().__init__()
        self.conv, self.norm, self.top = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3)
        self.how = how
        if how == "tied":
            self.top.weight = self.conv.weight
        if how == "made anew":
            self.conv = nn.utils.weight_norm(self.conv)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return nn.functional.conv2d(x, self.conv.weight) if self.how == "by function" else self.top(x)


@pytest.mark.filterwarnings("ignore")  # of the weight norm, which is deprecated
@pytest.mark.parametrize(("how", "batch_norms"), [("", 1), ("tied", 0), ("by function", 0), ("made anew", 0)])
def test_batch_norm_is_not_merged_into_a_weight_that_is_used_elsewhere_or_made_anew(how, batch_norms):
    torch.manual_seed(0)
    model = WeightUsedTwice(how).eval().requires_grad_(False)
    model.norm.running_mean.normal_()
    nn.init.uniform_(model.norm.weight, 0.5, 0.9)
    assert merged(model) == (batch_norms, 1)


class Functional(nn.Module):
    """Sums, gates and pools without modules."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.gate = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        x += torch.nn.functional.silu(x) * 0.5
        return torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)


def test_a_sum_is_shared_in_proportion_a_gate_gets_nothing_and_a_pool_is_a_sum():
    """Written out by hand: all relevance of a channel ends at its own convolution's output, in proportion to it."""
    torch.manual_seed(0)
    model = Functional().eval().requires_grad_(False)
    images = torch.randn(2, 3, 6, 6)
    with in_force("epsilon", model):
        conv = []
        handle = model.conv.register_forward_hook(lambda module, inputs, output: conv.append(output.requires_grad_()))
        output = model(images.clone().requires_grad_())
        handle.remove()
        (relevance,) = torch.autograd.grad(output, conv[0], torch.ones_like(output))
    h = torch.relu(conv[0].detach())
    signal = h * torch.sigmoid(model.gate(h.mean((2, 3), keepdim=True)))
    share = signal + 0.5 * torch.nn.functional.silu(signal)
    expected = share / share.sum((2, 3), keepdim=True)
    torch.testing.assert_close(relevance, expected, rtol=1e-4, atol=1e-5)


def test_names_of_functions_are_seen_through_the_rules():
    """A layer may be a function that has a rule: the sum of the block, seen with its graph."""
    model = seeded("resnet18")
    images = torch.randn(1, 3, 32, 32)
    with in_force("epsilon-plus", model):
        circuits = Circuits(model, images, "layer2.1:add", ["layer2.0:add"], lrp=True)
        found = circuits.summed(torch.tensor([3]))["layer2.0:add"]
    expected = activations(model, images, ["layer2.1:add"])["layer2.1:add"]
    torch.testing.assert_close(circuits.activation, expected, rtol=1e-3, atol=1e-3)
    assert found.abs().sum() > 0


def test_canonizers_are_needed_for_functions_alone_without_batch_norm():
    assert len(canonizers_for(torchvision.models.alexnet(weights=None))) == 1
    assert len(canonizers_for(torchvision.models.resnet18(weights=None))) == 2


class Standardised(nn.Conv2d):
    """A weight that is not used as it is."""

    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


@pytest.mark.parametrize("odd", [Standardised(3, 4, 3), nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))])
def test_linear_layers_that_change_their_weights_are_named(odd):
    model = nn.Sequential(odd, nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1)).eval().requires_grad_(False)
    nn.init.uniform_(model[1].weight, 0.5, 0.9)
    image = torch.randn(1, 3, 16, 16)
    assert type(odd).__name__ in missing_canonizer("epsilon-plus", model, image, "3")
    assert missing_canonizer("attn-lrp", model, image, "3") is None
    assert merged(model) == (0, 1)


class InPlace(nn.Module):
    """Works in place, and goes on with the tensor that it changed."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.top = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        y = x * 2
        y.add_(x)
        y.mul_(torch.sigmoid(x))
        y.relu_()
        return self.top(y)


@pytest.mark.parametrize("rule", ["epsilon", "attn-lrp"])
def test_functions_that_work_in_place_still_do(rule):
    torch.manual_seed(0)
    model, images = InPlace().eval().requires_grad_(False), torch.randn(2, 3, 4, 4)
    expected = model(images)
    with in_force(rule, model):
        activation, lower = forward_to(model, images, "top", ["conv"])
        (gradient,) = torch.autograd.grad(activation, lower["conv"], torch.ones_like(activation))
    torch.testing.assert_close(activation.detach(), expected, rtol=0, atol=0)
    assert gradient.any()
