"""Outputs of modules and of the functions that they call, by name."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pure_cli.core.circuits import Circuits, activations, forward_to
from pure_cli.core.hooks import functions, hooked
from pure_cli.models.ends import pre_activation
from pure_cli.models.layers import candidates, check_layer, list_layers


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.shared = nn.ReLU(inplace=True)

    def forward(self, x):
        hidden = F.relu(self.first(x))
        out = F.relu(self.second(hidden)) * 1
        out += x
        return self.shared(self.shared(out) - 0.1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 4, 1), Block()

    def forward(self, x):
        return self.block(torch.relu(self.stem(x)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval().requires_grad_(False)


@pytest.fixture
def pixels():
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def test_functions_go_by_the_module_that_calls_them(net, pixels):
    seen = []
    with functions(net, lambda name, output, _: seen.append(name)):
        net(pixels)
    assert [name for name in seen if "relu" in name] == [
        ":relu", "block:relu", "block:relu.1", "block.shared:relu", "block.shared:relu.1",
    ]  # fmt: skip
    assert "block:add" in seen


def test_their_outputs_are_what_the_network_computes(net, pixels):
    stem = torch.relu(net.stem(pixels))
    hidden = F.relu(net.block.first(stem))
    found = activations(net, pixels, ["block:relu", ":relu"])
    torch.testing.assert_close(found["block:relu"], hidden, rtol=0, atol=0)
    torch.testing.assert_close(found[":relu"], stem, rtol=0, atol=0)


def test_a_function_can_be_the_lower_layer_and_the_layer(net, pixels):
    circuits = Circuits(net, pixels, "block.shared:relu.1", ["block:relu"])
    hidden = F.relu(net.block.first(torch.relu(net.stem(pixels)))).requires_grad_()
    stem = torch.relu(net.stem(pixels))
    out = F.relu(F.relu(F.relu(net.block.second(hidden)) + stem) - 0.1)
    torch.testing.assert_close(circuits.activation, out.detach())
    (gradient,) = torch.autograd.grad((out[:, 1].clamp(min=0) ** 2).sum() / 2, hidden)
    found = circuits.summed(torch.tensor([1, 1]))["block:relu"]
    torch.testing.assert_close(found, (gradient * hidden).sum((2, 3)).detach())


def test_a_hook_may_replace_an_output(net, pixels):
    with hooked(net, {"block:relu": torch.zeros_like}):
        changed = net(pixels)
    stem = torch.relu(net.stem(pixels))
    expected = F.relu(F.relu(F.relu(net.block.second(torch.zeros_like(stem))) + stem) - 0.1)
    torch.testing.assert_close(changed, expected)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_the_network_is_left_as_it_was_when_the_pass_stops_early(net, pixels):
    forward_to(net, pixels, "block:relu", [":relu"])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_functions_are_listed_and_those_inside_of_torch_modules_only_where_these_run_twice(net, pixels):
    listed = {layer.name: layer for layer in list_layers(net, pixels[:1])}
    assert {":relu", "block:relu", "block:relu.1", "block:add", "block.shared:relu", "block.shared:relu.1"} <= set(
        listed
    )
    assert listed["block:relu"].kind == "function"
    assert check_layer("block.shared:relu.1", list(listed.values())).shape == (4, 4, 4)

    class Plain(nn.Sequential):
        pass

    plain = list_layers(Plain(nn.Conv2d(3, 2, 1), nn.ReLU()), pixels[:1])
    assert [layer.name for layer in plain] == ["0", "1"]


def test_what_goes_into_the_last_relu_is_found(net, pixels):
    assert pre_activation(net, pixels[:1], "block") == "block:sub"
    plain = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))).eval()
    assert pre_activation(plain, pixels[:1], "0") == "0.1"
    assert pre_activation(net, pixels[:1], "stem") is None


def test_candidates_lead_to_the_layer_and_are_not_the_layer_itself(net, pixels):
    net.requires_grad_(False)
    found = candidates(net, pixels[:1], "block", "stem")
    assert {"block:relu", "block:relu.1", "stem"} <= set(found)
    assert "block.shared:relu.1" not in found  # the layer's own output
    assert found[-1] == "stem"


def test_functions_are_shown_with_their_first_argument(net, pixels):
    shown = {}
    with functions(net, lambda name, output, call: shown.update({name: call.first})):
        net(pixels)
    stem = torch.relu(net.stem(pixels))
    second = F.relu(net.block.second(F.relu(net.block.first(stem))))
    torch.testing.assert_close(shown["block:mul"], second, rtol=0, atol=0)  # and not the 1
