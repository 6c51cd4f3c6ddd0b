"""AttnLRP against its rules written out as sums over matrices, and on networks that compute the same in other ways."""

import copy

import pytest
import small_families as families
import timm
import torch
import torch.nn.functional as F
from torch import nn

from pure_cli.core.circuits import activations
from pure_cli.models.attention_rules import ATTENTION_RULES
from pure_cli.models.function_rules import Ruled
from pure_cli.models.rule_coverage import ATTENTION, NORMALISED
from pure_cli.models.rules import circuits_for, heatmap_rule, heatmaps_for, in_force

RULE = "attn-lrp"


def relevances(function, *inputs, start=None):
    """Relevances of the inputs of a function by the rules, and its output."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    with Ruled(ATTENTION_RULES):
        output = function(*inputs)
    start = output.detach() if start is None else start
    gradients = torch.autograd.grad(output, inputs, start / output.detach())
    return [x.detach() * gradient for x, gradient in zip(inputs, gradients, strict=True)], output.detach()


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))


def test_attention_follows_the_papers_rules_written_out():
    query, key, value = normal(4, 3), normal(5, 3), normal(5, 2)
    logits = query @ key.T / 3**0.5
    weights = logits.softmax(-1)
    output = weights @ value
    start = normal(4, 2) ** 2
    of_weights, of_value = torch.zeros(4, 5).double(), torch.zeros(5, 2).double()
    for j in range(4):
        for p in range(2):
            for i in range(5):
                part = weights[j, i] * value[i, p] / output[j, p] * start[j, p] / 2
                of_weights[j, i] += part
                of_value[i, p] += part
    of_logits = logits * (of_weights - weights * of_weights.sum(-1, keepdim=True))
    of_query, of_key = torch.zeros(4, 3).double(), torch.zeros(5, 3).double()
    for j in range(4):
        for i in range(5):
            for d in range(3):
                part = query[j, d] * key[i, d] / 3**0.5 / logits[j, i] * of_logits[j, i] / 2
                of_query[j, d] += part
                of_key[i, d] += part

    def by_hand(q, k, v):
        return (q @ k.transpose(-2, -1) * 3**-0.5).softmax(dim=-1) @ v

    def einsum(q, k, v):
        weights = F.softmax(torch.einsum("jd,id->ji", q, k) / 3**0.5, dim=-1)
        return torch.einsum("ji,ip->jp", weights, v)

    def fused(q, k, v):
        return F.scaled_dot_product_attention(q[None], k[None], v[None])[0]

    for function in (by_hand, einsum, fused):
        found, values = relevances(function, query, key, value, start=start)
        torch.testing.assert_close(values, output)
        for ours, expected in zip(found, (of_query, of_key, of_value), strict=True):
            torch.testing.assert_close(ours, expected)


def test_layer_norm_is_linear_with_the_deviation_as_a_constant():
    x, weight = normal(3, 6), normal(6)
    (found,), output = relevances(lambda x: F.layer_norm(x, (6,), weight, None, 0.0), x)
    deviation = x.std(-1, unbiased=False)
    expected = torch.zeros_like(x)
    for row in range(3):
        for j in range(6):
            for i in range(6):
                expected[row, i] += weight[j] / deviation[row] * ((i == j) - 1 / 6) * x[row, i]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(), output.sum())


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.rms_norm(x, (6,), torch.full((6,), 1.5).double()),
        lambda x: F.group_norm(x, 2, torch.linspace(1, 2, 6).double()),
        lambda x: F.normalize(x, dim=-1),
        F.gelu,
        F.silu,
        F.hardswish,
        F.relu,
        torch.tanh,
        lambda x: x * torch.sigmoid(1.7 * x),
        lambda x: (x.T @ x)[:3],
        lambda x: x / x.norm(dim=-1, keepdim=True),
        lambda x: x * x.norm(dim=-1, keepdim=True),
        lambda x: x * (x[:, :1] * 2).sigmoid(),
        lambda x: x.clone().mul_(x.sigmoid()),
    ],
)
def test_what_is_no_linear_layer_conserves(function):
    x = normal(3, 6)
    (found,), output = relevances(function, x, start=torch.where(function(x) == 0, 0, function(x)))
    found, output = found.nan_to_num(), output
    torch.testing.assert_close(found.sum(), output.sum())


@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_multi_head_attention_is_what_its_parts_are(mask):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True).double().eval().requires_grad_(False)
    nn.init.normal_(layer.in_proj_bias)
    x = normal(3, 5, 8)
    left_out = torch.ones(5, 5, dtype=torch.bool).triu(1)
    own = {None: None, "bool": left_out, "float": torch.zeros(5, 5).double().masked_fill(left_out, float("-inf"))}[mask]

    def parts(x):
        q, k, v = F.linear(x, layer.in_proj_weight, layer.in_proj_bias).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=mask is not None)
        return layer.out_proj(mixed.transpose(1, 2).flatten(-2))

    (ours,), values = relevances(lambda x: layer(x, x, x, attn_mask=own)[0], x)
    (expected,), expected_values = relevances(parts, x)
    torch.testing.assert_close(values, expected_values)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("family", [*NORMALISED, *ATTENTION])
def test_values_stay_those_of_the_network(family):
    model, layer, lower, images = families.make(family)
    expected = activations(model, images, [layer])[layer]
    with in_force(RULE, model):
        circuits = circuits_for(RULE, model, images, layer, [lower])
    torch.testing.assert_close(circuits.activation, expected, rtol=1e-9, atol=1e-9)
    assert heatmap_rule(model) == RULE
    assert not any("forward" in vars(module) for module in model.modules())


def test_fused_attention_makes_no_difference():
    found = []
    for fused in (True, False):
        model, layer, lower, images = families.make("timm ViT")
        model = copy.deepcopy(model)
        for module in model.modules():
            if isinstance(module, timm.layers.Attention):
                module.fused_attn = fused
        with in_force(RULE, model):
            found.append(circuits_for(RULE, model, images, layer, [lower]).summed(torch.tensor([3, 4]))[lower])
    torch.testing.assert_close(*found)


def test_heatmaps_add_up_to_the_activation_at_the_position():
    model, layer, _, images = families.make("MLP-Mixer")
    which, where = torch.tensor([2, 5]), torch.tensor([1, 3])
    with in_force(RULE, model):
        heatmaps = heatmaps_for(RULE, model, images, layer)
        found = heatmaps.at(which, where)
        circuits = circuits_for(RULE, model, images, layer, ["stem"])
    expected = circuits.firing[torch.arange(2), which, where]
    assert found.shape == (2, *images.shape[-2:])
    torch.testing.assert_close(found.sum((1, 2)), expected)


def test_modules_may_run_more_than_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1, bias=False), nn.LayerNorm(8, elementwise_affine=False)
            self.top = nn.Identity()

        def forward(self, x):
            return self.top(self.norm(self.conv(self.norm(self.conv(x)))))

    torch.manual_seed(0)
    model = Twice().double().eval().requires_grad_(False)
    images, which, where = normal(2, 3, 8, 8), torch.tensor([0, 2]), torch.tensor([5, 9])
    with in_force(RULE, model):
        found = heatmaps_for(RULE, model, images, "top").at(which, where)
    expected = model(images).flatten(2)[torch.arange(2), which, where]
    torch.testing.assert_close(found.sum((1, 2)), expected)
