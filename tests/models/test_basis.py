"""Whether something acts on a layer's channels one by one, on small networks where the answer is plain."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pure_cli import Workspace
from pure_cli.models.basis import without_basis

IMAGE = torch.rand(1, 3, 8, 8)


class Bottlenecks(nn.Module):
    """A stream of sums, with hidden layers beside it that are gated, and a head that reads it."""

    def __init__(self, before: nn.Module, act: nn.Module):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 1)
        self.widen, self.act, self.narrow = nn.Conv2d(6, 12, 1), act, nn.Conv2d(12, 6, 1)
        self.depth, self.gate = nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Conv2d(12, 12, 1)
        self.block, self.norm, self.before = nn.Identity(), nn.BatchNorm2d(6), before
        self.head, self.fc = nn.Conv2d(6, 9, 1), nn.Linear(9, 4)

    def forward(self, x):
        x = self.stem(x)
        hidden = self.depth(self.act(self.widen(x)))
        hidden = hidden * torch.sigmoid(self.gate(hidden.mean(dim=(2, 3), keepdim=True)))
        x = self.block(x + self.narrow(hidden))
        return self.fc(F.gelu(self.head(self.before(self.norm(x)))).mean(dim=(2, 3)))


@pytest.mark.parametrize("act", [nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(), nn.SiLU(), nn.Hardswish()])
def test_a_bottleneck_has_no_basis_and_its_hidden_layer_has_one(act):
    model = Bottlenecks(nn.Identity(), act).eval()
    names = [name for name, _ in model.named_modules() if name]
    assert without_basis(model, IMAGE, names) == ["stem", "narrow", "block", "norm", "before"]


def test_a_stream_that_is_read_by_a_norm_and_a_nonlinearity_has_a_basis():
    model = Bottlenecks(nn.ReLU(), nn.ReLU()).eval()
    assert without_basis(model, IMAGE, ["stem", "narrow", "block", "norm", "fc", "act"]) == ["stem", "narrow"]


class Residual(nn.Module):
    """Blocks as of ResNets, with one ReLU for all, and concatenated ones as of DenseNets."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(i, 4, 1) for i in (3, 4, 4))
        self.relu, self.layer1, self.joined = nn.ReLU(inplace=True), nn.Identity(), nn.Identity()
        self.norm, self.out = nn.BatchNorm2d(8), nn.Conv2d(8, 5, 1)

    def forward(self, x):
        x = self.stem(x)
        x = self.layer1(self.relu(x + self.one(x)))
        x = self.joined(torch.cat([x, self.two(x)], dim=1))
        return self.out(torch.relu_(self.norm(x))).flatten(2).mean(dim=2)


def test_blocks_that_end_with_a_relu_have_a_basis_and_so_has_what_is_joined():
    assert without_basis(Residual().eval(), IMAGE, ["stem", "one", "layer1", "two", "joined", "norm", "out"]) == [
        "stem",
        "one",
    ]


def test_what_the_functions_of_a_network_give_is_told_too():
    model = Bottlenecks(nn.Identity(), nn.ReLU()).eval()
    assert without_basis(model, IMAGE, [":add", ":mul", ":gelu"]) == [":add"]


def test_collect_says_where_neurons_are_no_privileged_basis(tmp_path, images):
    workspace = Workspace(tmp_path, model=Bottlenecks(nn.Identity(), nn.ReLU()).eval())
    options = {"data": images, "n": 4, "workers": 0, "device": "cpu"}
    (note,) = [note for note in workspace.collect(layer="block", **options).notes if "basis" in note]
    assert "'block'" in note and "pure collect --layer act" in note
    page = re.search(r"see (docs/\w+\.md)", note)[1]
    assert "privileged basis" in (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    assert not [note for note in workspace.collect(layer="act", **options).notes if "basis" in note]
