"""What a layer ends with, as a pass shows it."""

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn import functional as F

from pure_cli.core.circuits import activations
from pure_cli.errors import PureError
from pure_cli.models.ends import check_before, upper_bound


class By(nn.Module):
    """A convolution and a function after it, in one module."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3), function

    def forward(self, x):
        return self.function(self.conv(x) * 5)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.act = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.ReLU6(inplace=True)

    def forward(self, x):
        return self.act(self.second(self.act(self.first(x)) * 9))


def by_hand(x):
    return x.add_(3.0).clamp_(0.0, 6.0).div_(6.0)


def zeroed(x):
    out = F.relu6(x)
    out[:, 0] = -7
    return out


BOUNDED = {
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, -1, 1, inplace=True),
    "clamp": lambda x: torch.clamp(x, min=0, max=6),
    "clip": lambda x: x.clip(max=1),
    "clamp_max": lambda x: F.relu(x).clamp_max(2),
    "by name": lambda x: torch.clamp(input=x, max=3.0),
    "hard sigmoid": lambda x: F.relu6(x + 3) / 6,
    "hard sigmoid in place": by_hand,
    "sigmoid": torch.sigmoid,
    "method": lambda x: x.tanh_(),
    "expit": torch.special.expit,
    "erf": torch.erf,
    "atan": torch.atan,
    "turned round": lambda x: -F.relu6(x),
    "turned round by a number": lambda x: 1 - torch.sigmoid(x),
    "dropout after it": lambda x: F.dropout(F.relu6(x), 0.5, False),
}
UNBOUNDED = {
    "relu": F.relu,
    "gelu": F.gelu,
    "hardswish": F.hardswish,
    "clamp below": lambda x: x.clamp(min=0),
    "times another": lambda x: torch.sigmoid(x) * x,
    "softmax": lambda x: x.softmax(1),
    "changed behind its back": zeroed,
    "of another shape": lambda x: F.relu6(x).flatten(2),
    "a tensor for its bound": lambda x: x.clamp(max=torch.ones(4, 1, 1)),
}


def pixels(count=2):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize("name", BOUNDED)
def test_functions_with_an_upper_bound_are_found_and_what_goes_in_is_read(name):
    torch.manual_seed(0)
    model = nn.Sequential(By(BOUNDED[name])).eval().requires_grad_(False)
    bound = upper_bound(model, pixels(1), "0")
    assert bound is not None
    found = activations(model, pixels(), ["0"], bounds={"0": bound})["0"]
    torch.testing.assert_close(bound.output(found), model(pixels()))
    fine = found.flatten()[bound.lifted(found).flatten() > bound.highest]
    assert len(fine) > 1 and fine.unique().numel() == fine.numel()  # told apart where the function is flat


@pytest.mark.parametrize("name", UNBOUNDED)
def test_others_are_none(name):
    model = nn.Sequential(By(UNBOUNDED[name])).eval().requires_grad_(False)
    assert upper_bound(model, pixels(1), "0") is None


def test_inside_of_a_fused_module_it_is_found_too():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), BatchNormAct2d(6, act_layer=nn.ReLU6)).eval().requires_grad_(False)
    bound = upper_bound(model, pixels(1), "1")
    assert (bound.source, bound.name, bound.highest) == ("1.act<", "ReLU6", 6)
    norm = model[1]
    expected = F.batch_norm(model[0](pixels()), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5)
    torch.testing.assert_close(activations(model, pixels(), ["1"], bounds={"1": bound})["1"], expected)


def test_a_module_that_runs_twice_is_read_at_its_last_call():
    torch.manual_seed(0)
    model = nn.Sequential(Twice()).eval().requires_grad_(False)
    bound = upper_bound(model, pixels(1), "0")
    assert bound.source == "0.act:hardtanh.1<"
    own = model[0]
    expected = own.second(F.relu6(own.first(pixels())) * 9)
    torch.testing.assert_close(activations(model, pixels(), ["0"], bounds={"0": bound})["0"], expected)


def test_a_lower_layer_behind_the_bound_is_refused():
    model = (
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU6())).eval().requires_grad_(False)
    )
    bound = upper_bound(model, pixels(1), "1")
    check_before(model, pixels(1), "1", ["0", "1.0"], bound)
    with pytest.raises(PureError, match=r"'1\.1' is the ReLU6 that '1' ends with"):
        check_before(model, pixels(1), "1", ["0", "1.1"], bound)
