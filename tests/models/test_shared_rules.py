"""Rules that share their work, held against zennit's own: the same to the bit, and the model is left as it was."""

import pytest
import torch
from torch import nn

from pure_cli.core.circuits import Circuits, Heatmaps
from pure_cli.models.rules import RULES, composite_for, zennit_composite


class Signed(nn.Module):
    """Inputs of convolutions that are negative too, an average pool, a linear layer, and ReLUs that work in place."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.second = nn.Conv2d(6, 8, 3, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.third = nn.Conv2d(8, 8, 3)
        self.pool = nn.AvgPool2d(2)
        self.hidden = nn.Linear(8, 5)

    def forward(self, x):
        x = self.pool(self.third(self.act(self.second(self.first(x)))))
        return self.hidden(x.mean(dim=(2, 3)))


@pytest.fixture(params=["residual", "signed"])
def network(request, tiny):
    if request.param == "residual":
        return tiny, "layer3", "layer1"
    torch.manual_seed(0)
    return Signed().eval().requires_grad_(False), "hidden", "second"


@pytest.fixture
def pixels():
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("rule", [name for name in RULES if RULES[name].hooks])
def test_every_backward_pass_equals_zennits_to_the_bit(network, pixels, rule):
    model, layer, lower = network
    found = []
    for composite in (composite_for(rule, model), zennit_composite(rule, model)):
        with composite.context(model):
            circuits, maps = Circuits(model, pixels, layer, [lower], lrp=True), Heatmaps(model, pixels, layer)
            parts = []
            for neuron in (3, 4, 3):
                which = torch.full((4,), neuron)
                parts += [circuits.relevance(which)[lower], maps.at(which, torch.zeros(4, dtype=torch.long))]
        found.append(parts)
    for ours, theirs in zip(*found, strict=True):
        assert torch.isfinite(ours).all()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert any(part.abs().sum() > 0 for part in found[0])


def test_the_rules_are_gone_afterwards(network, pixels):
    model, _, _ = network
    expected = model(pixels)
    with composite_for("epsilon-plus-flat", model).context(model):
        assert any("forward" in vars(module) for module in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())
    torch.testing.assert_close(model(pixels), expected, rtol=0, atol=0)


def test_what_is_changed_in_place_later_does_not_change_the_relevance(pixels):
    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.top = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = x * 1.0
            y = self.conv(x)
            x.mul_(100)  # an input that the rule needs
            return self.top(torch.relu(y))

    torch.manual_seed(0)
    model = Overwrites().eval().requires_grad_(False)
    found = []
    for composite in (composite_for("epsilon-plus", model), zennit_composite("epsilon-plus", model)):
        with composite.context(model):
            found.append(Heatmaps(model, pixels, "top").at(torch.arange(4), torch.full((4,), 7)))
    torch.testing.assert_close(*found, rtol=0, atol=0)
