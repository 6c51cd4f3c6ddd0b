"""What the code of a network does to gradients and to its input, and layers that not every image gets to."""

import copy
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from pure_cli.core.circuits import Circuits, activations, forward_to
from pure_cli.core.forward import NotReached, outputs_of, run, with_graph
from pure_cli.core.output_relevance import output_relevance


class Frozen(nn.Module):
    """A backbone that runs in some context, or by some function, and a neck and head that do not."""

    def __init__(self, context=nullcontext, call=lambda module, x: module(x)):
        super().__init__()
        torch.manual_seed(2)  # with which some of the neurons that are looked at fire
        self.context, self.call = context, call
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
        self.neck, self.head = nn.Sequential(nn.Conv2d(8, 7, 3, 2, 1), nn.ReLU()), nn.Linear(7, 4)

    def forward(self, x):
        with self.context():
            x = self.call(self.backbone, x)
        return self.head(self.call(self.neck, x).mean((2, 3)))


def whole(kind):
    @kind
    def call(module, x):
        return module(x)

    return call


WAYS = {
    "no_grad": Frozen(torch.no_grad),
    "inference_mode": Frozen(torch.inference_mode),
    "set_grad_enabled": Frozen(lambda: torch.set_grad_enabled(False)),
    "decorated no_grad": Frozen(call=whole(torch.no_grad())),
    "decorated inference_mode": Frozen(call=whole(torch.inference_mode())),
    "decorated set_grad_enabled": Frozen(call=whole(torch.set_grad_enabled(False))),
    "enable_grad": Frozen(torch.enable_grad),
    "checkpoint, reentrant": Frozen(call=lambda module, x: checkpoint(module, x, use_reentrant=True)),
    "checkpoint": Frozen(call=lambda module, x: checkpoint(module, x, use_reentrant=False)),
}


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def plain(model):
    """The same network, without what turns gradients off."""
    torch.manual_seed(1)
    other = Frozen()
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    return other.eval().requires_grad_(False)


@pytest.mark.parametrize("lower", ["backbone", "backbone.1"])
@pytest.mark.parametrize("way", WAYS)
def test_relevances_are_those_of_the_network_without_no_grad(way, lower, images):
    model = WAYS[way].eval().requires_grad_(False)
    which = torch.tensor([0, 3, 6])
    part = plain(model)
    hidden = part.backbone[:2](images) if lower == "backbone.1" else part.backbone(images)
    hidden = hidden.detach().requires_grad_()
    neck = part.neck(part.backbone[2:](hidden) if lower == "backbone.1" else hidden)
    start = torch.zeros_like(neck)
    for row, channel in enumerate(which):
        start[row, channel] = neck[row, channel].detach().clamp(min=0)
    (gradient,) = torch.autograd.grad(neck, hidden, start)
    expected = (gradient * hidden.detach()).sum((2, 3))
    circuits = Circuits(model, images, "neck", [lower])
    for last in (False, True):  # twice, as one pass serves many neurons
        torch.testing.assert_close(circuits.summed(which, last)[lower], expected)
    assert expected.abs().sum() > 0


@pytest.mark.parametrize("way", WAYS)
def test_relevance_for_the_output_too(way, images):
    model = WAYS[way].eval().requires_grad_(False)
    found = output_relevance(model, images, ["backbone", "neck"], None, lrp=False)
    expected = output_relevance(plain(model), images, ["backbone", "neck"], None, lrp=False)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_gradients_can_be_turned_off_again_afterwards(images):
    model = Frozen(torch.no_grad)
    with pytest.raises(RuntimeError):
        with_graph(model, images[:, :2])
    for context in (torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False)):
        with context():
            assert not torch.is_grad_enabled()
        assert torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.is_inference_mode_enabled()
    x = images.clone().requires_grad_()
    checkpoint(model.backbone, x, use_reentrant=True).sum().backward()
    assert x.grad.abs().sum() > 0


class InPlace(Frozen):
    def forward(self, x):
        x -= 0.5
        F.relu_(x)
        return super().forward(x)


def test_a_network_may_change_its_input(images):
    model, before = InPlace().eval().requires_grad_(False), images.clone()
    first = run(model, images)
    assert torch.equal(run(model, images), first)
    forward_to(model, images.requires_grad_(), "neck", ["backbone"])
    assert torch.equal(images, before)


def test_layers_looked_at_together_give_what_each_gives_alone(images):
    """The second changes the output of the first in place."""
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 5, 3)).eval()
    together = activations(model, images, ["0", "1", "2"])
    for name, found in together.items():
        torch.testing.assert_close(found, activations(model, images, [name])[name])


class Experts(nn.Module):
    """Each image goes to one of two experts; `whole` batches where both are needed, or the rows that each is for."""

    def __init__(self, parts):
        super().__init__()
        self.stem, self.bright, self.dark, self.parts = (
            nn.Conv2d(3, 6, 3),
            nn.Conv2d(6, 5, 3),
            nn.Conv2d(6, 5, 3),
            parts,
        )

    def forward(self, x):
        bright = x.mean((1, 2, 3)) > 0
        x = self.stem(x)
        y = x.new_zeros(len(x), 5, x.shape[2] - 2, x.shape[3] - 2)
        for expert, rows in ((self.bright, bright), (self.dark, ~bright)):
            if self.parts and rows.any():
                y[rows] = expert(x[rows])
            elif rows.all():
                y = expert(x)
        return y


@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("layer", ["bright", "dark"])
def test_an_image_that_does_not_get_to_a_layer_is_told(parts, layer, images):
    model = Experts(parts).eval().requires_grad_(False)
    images = images - images.mean((1, 2, 3), keepdim=True) + torch.tensor([1.0, -1, 1]).view(3, 1, 1, 1)
    row = 1 if layer == "bright" else 0
    for look in (lambda: activations(model, images, [layer]), lambda: forward_to(model, images, layer, ["stem"])):
        with pytest.raises(NotReached, match=f"'{layer}' does not run for some images") as error:
            look()
        assert error.value.row == row
        assert "for cat.jpg:" in str(error.value.with_image("cat.jpg"))


class Named(nn.Module):
    """A network that gives several things by name."""

    def forward(self, x):
        return {"hidden": x, "logits": x.mean((2, 3))}


def test_outputs_are_the_tensor_itself_or_the_logits_among_several_things():
    x, logits = torch.rand(2, 3, 4, 4), torch.rand(2, 5)
    assert outputs_of(logits) is logits
    assert outputs_of({"hidden": x, "logits": logits}) is logits
    assert outputs_of(type("Output", (), {"logits": logits})()) is logits
    assert outputs_of((x, logits)) == (x, logits)
    only = {"last_hidden_state": x, "logits": None}
    assert outputs_of(only) is only
    torch.testing.assert_close(run(Named(), x), x.mean((2, 3)))
