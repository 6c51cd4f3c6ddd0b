"""Networks whose output for an image depends on chance or on the batch are refused, by the name of the module."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pure_cli.core.circuits import activations
from pure_cli.errors import PureError
from pure_cli.models.one_image import require_one_image


class Net(nn.Module):
    def __init__(self, between=None):
        super().__init__()
        self.a, self.between, self.b = nn.Conv2d(3, 6, 3, 2, 1), between or nn.Identity(), nn.Conv2d(6, 8, 3, 2, 1)

    def forward(self, x):
        return self.b(self.between(F.relu(self.a(x))))


class Code(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Dropping(Net):
    def forward(self, x):
        return self.b(F.dropout(F.relu(self.a(x)), 0.5))


class Training(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(True)


def attention_over_the_batch():
    attention = nn.MultiheadAttention(6, 2)  # takes (T, B, C), and gets (B, T, C)

    def attend(x):
        tokens = x.flatten(2).transpose(1, 2)
        return x + attention(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)

    block = Code(attend)
    block.attention = attention
    return block


def skipped(x):
    return x if torch.rand(()) < 0.2 else 2 * x


CHANCE = {
    "dropout": (Dropping(), "dropout() in the forward() of Dropping"),
    "dropout in training mode": (Net(Code(F.dropout)), "dropout() in 'between' (Code)"),
    "noise": (Net(Code(lambda x: x + torch.rand(x.shape))), "rand() in 'between' (Code)"),
    "stochastic depth": (Net(Code(skipped)), "'between' (Code)"),
    "another generator": (Net(Code(lambda x: x * random.random())), "'between' (Code)"),
}
BATCH = {
    "norm without statistics": (Net(nn.BatchNorm2d(6, track_running_stats=False)), "(BatchNorm2d), which keeps"),
    "norm in training mode": (Net(Training(6)), "in spite of eval()"),
    "mean over the batch": (Net(Code(lambda x: x - x.mean(0, keepdim=True))), "mean() in 'between' (Code)"),
    "the first image": (Net(Code(lambda x: x - x[:1])), "'between' (Code)"),
    "attention over the batch": (Net(attention_over_the_batch()), "'between"),
    "sorted rows": (Net(Code(lambda x: x[x.mean((1, 2, 3)).argsort()])), "'between' (Code)"),
}  # fmt: skip


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, 16, 16, generator=generator) + 1, torch.randn(1, 3, 16, 16, generator=generator) * 0.3


@pytest.mark.parametrize("case", CHANCE)
def test_chance_is_refused(case, pair):
    model, where = CHANCE[case]
    with pytest.raises(PureError, match="another output for the same image each time") as error:
        require_one_image(model.eval(), *pair, ["b"])
    assert where in str(error.value)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("case", BATCH)
def test_a_batch_whose_images_see_each_other_is_refused(case, turned, pair):
    model, where = BATCH[case]
    images = pair[::-1] if turned else pair
    if case == "sorted rows" and torch.allclose(model(torch.cat(images))[:1], model(images[0]), atol=1e-4):
        return  # in order already
    with pytest.raises(PureError, match="depends on the other images of its batch") as error:
        require_one_image(model.eval(), *images, ["b"])
    assert where in str(error.value)


class Rounding(nn.Module):
    """Gives another output beside other images by rounding alone, in float32 and not in float64."""

    def forward(self, x):
        return x + 1e-2 * torch.finfo(x.dtype).eps / torch.finfo(torch.float32).eps * (len(x) - 1)


@pytest.mark.parametrize(
    "between", [nn.BatchNorm2d(6), nn.Dropout(0.5), nn.InstanceNorm2d(6), Rounding(), nn.Sigmoid()]
)
def test_functions_of_one_image_pass(between, pair):
    assert require_one_image(Net(between).eval(), *pair, ["a", "b"]) is None


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_numbers_of_few_bits_pass(kind, pair):
    model = Net(nn.BatchNorm2d(6)).eval().to(kind)
    assert require_one_image(model, *(image.to(kind) for image in pair), ["b"]) is None


def test_chance_above_the_layers_does_not_matter(pair):
    model = Dropping().eval()
    assert require_one_image(model, *pair, ["a"]) is None


def test_random_numbers_without_an_effect_are_told(pair):
    told = require_one_image(Net(Code(lambda x: x + 0 * torch.rand(()))).eval(), *pair, ["b"])
    assert "draws random numbers" in told


def test_it_is_the_function_that_is_looked_at_and_not_its_state(pair):
    """The check leaves no hooks, and images as they were."""
    model, before = Net(Code(lambda x: x.mul_(2))).eval(), pair[0].clone()
    require_one_image(model, *pair, ["b"])
    assert torch.equal(pair[0], before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert set(activations(model, pair[0], ["a"])) == {"a"}
