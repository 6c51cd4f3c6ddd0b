"""Relevance for the output of a network, against gradients of the whole network written out."""

import pytest
import torch
from torch import nn

from pure_cli.core.output_relevance import output_relevance, relevance_score


@pytest.fixture
def pixels():
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def written_out(model, pixels, targets):
    """Outputs, activations of layer2 and the gradient of each image's target there, times that target."""
    base = model.layer1(model.relu(model.bn1(model.conv1(pixels)))).detach()
    h = model.layer2(base).detach().requires_grad_()
    pooled = model.pool(model.layer3(h)).flatten(1) + model.side_pool(model.side(base)).flatten(1)
    outputs = model.fc(model.act(model.hidden(pooled)))
    targets = outputs.argmax(dim=1) if targets is None else targets
    chosen = outputs[torch.arange(len(pixels)), targets]
    (gradient,) = torch.autograd.grad((chosen**2).sum() / 2, h)
    return h.detach(), gradient


@pytest.mark.parametrize("targets", [None, torch.tensor([2, 0, 1, 1])])
def test_relevance_is_gradient_times_activation_and_under_lrp_the_gradient(tiny, pixels, targets):
    activation, gradient = written_out(tiny, pixels, targets)
    for lrp, expected in ((False, gradient * activation), (True, gradient)):
        found = output_relevance(tiny, pixels, ["layer2", "layer3"], targets, lrp)
        assert list(found) == ["layer2", "layer3"]
        torch.testing.assert_close(found["layer2"][0], activation, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found["layer2"][1], expected, rtol=1e-4, atol=1e-6)


class Aside(nn.Module):
    """A layer whose output is dropped, one that leads to the outputs, and outputs as they are or in another shape."""

    def __init__(self, give):
        super().__init__()
        self.dropped, self.kept, self.give = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1), give

    def forward(self, x):
        self.dropped(x)
        return self.give(self.kept(x).mean(dim=(2, 3)))


@pytest.mark.parametrize("give", [lambda out: [out], lambda out: out[:, 0], lambda out: out.detach()])
def test_a_model_without_outputs_that_depend_on_the_layers_is_told(pixels, give):
    with pytest.raises(ValueError, match="gives no outputs"):
        output_relevance(Aside(give), pixels, ["kept"], None, False)


def test_a_layer_that_does_not_lead_to_the_outputs_is_told(pixels):
    with pytest.raises(ValueError, match="'dropped' does not lead"):
        output_relevance(Aside(lambda out: out), pixels, ["kept", "dropped"], None, False)


def test_scores_are_shares_of_the_layer_and_those_of_silent_channels_not_above_zero():
    activation = torch.tensor([[[1.0, 0], [-1, -2], [0, 0]]])  # (B, C, S): fires, negative, silent
    relevance = torch.tensor([[[3.0, -1], [4, 1], [-3, -5]]])
    values, positions, _ = relevance_score(activation, relevance, "max")
    torch.testing.assert_close(values, torch.tensor([[0.3, 0.0, -0.3]]))
    assert positions.tolist() == [[0, 0, 0]]
    values, *_ = relevance_score(activation, relevance, "sum")
    torch.testing.assert_close(values, torch.tensor([[2 / 15, 0.0, -8 / 15]]))
    nothing, *_ = relevance_score(activation, torch.zeros_like(relevance), "max")
    assert not nothing.any()
