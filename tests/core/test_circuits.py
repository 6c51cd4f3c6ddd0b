"""Relevances and heatmaps against zennit-crp, and against one plain pass for each pair, on a tiny network."""

import numpy as np
import pytest
import torch
from crp.attribution import CondAttribution
from crp.concepts import ChannelConcept
from torch import nn
from zennit.composites import EpsilonPlusFlat
from zennit.core import Composite

from pure_cli.core.circuits import (
    Circuits,
    Heatmaps,
    activation_maps,
    activations,
    forward_through,
    forward_to,
    normalised_arrays,
)
from pure_cli.core.structure import learn
from pure_cli.models.rules import RULES, canonizers_for, composite_for, zennit_composite


@pytest.fixture
def pixels():
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def crp_relevance(model, images, layer, lower, neuron, composite):
    """One full pass for each pair, as the paper's scripts do it."""
    attribution = CondAttribution(model)
    result = attribution(
        images.clone().requires_grad_(),
        [{layer: [neuron]}],
        composite,
        record_layer=[layer, lower],
        start_layer=layer,
        init_rel=lambda a: a.clamp(min=0),
    )
    return result.relevances[lower].detach(), result.activations[lower].detach()


@pytest.mark.parametrize(
    ("layer", "lower"),
    [
        ("layer3", "layer2"),
        ("layer3", "layer1"),
        ("layer3", "layer3.0.relu1"),
        ("layer2.0.bn2", "layer1.0.conv1"),
        ("hidden", "layer3"),
        ("act", "layer2"),
        ("fc", "hidden"),
    ],
)
def test_relevance_of_a_shared_forward_equals_one_crp_pass_per_pair(tiny, pixels, layer, lower):
    circuits = Circuits(tiny, pixels, layer, [lower])
    count = circuits.activation.shape[1]
    for neuron in range(count):
        ours = circuits.relevance(torch.full((len(pixels),), neuron), last=neuron == count - 1)[lower]
        gradient, activation = crp_relevance(tiny, pixels, layer, lower, neuron, Composite())
        theirs = ChannelConcept().attribute(gradient * activation, abs_norm=True)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_each_image_may_ask_for_its_own_neuron(tiny, pixels):
    circuits = Circuits(tiny, pixels, "layer3", ["layer2"])
    wanted = torch.tensor([3, 5, 0, 7, 4, 6])
    mixed = circuits.relevance(wanted)["layer2"]
    for row, neuron in enumerate(wanted):
        alone = circuits.relevance(torch.full((len(pixels),), int(neuron)))["layer2"]
        torch.testing.assert_close(mixed[row], alone[row], rtol=0, atol=0)


def test_a_round_for_the_first_images_only_gives_their_rows(tiny, pixels):
    circuits = Circuits(tiny, pixels, "layer3", ["layer2"])
    whole = circuits.relevance(torch.full((len(pixels),), 5))["layer2"]
    part = circuits.relevance(torch.full((2,), 5))["layer2"]
    torch.testing.assert_close(part, whole[:2], rtol=0, atol=0)


def test_several_lower_layers_at_once_equal_each_alone(tiny, pixels):
    lower_layers = ["layer1", "layer2", "layer3.0.conv1"]
    neurons = torch.tensor([3, 4, 5, 6, 7, 3])
    together = Circuits(tiny, pixels, "layer3", lower_layers).relevance(neurons)
    for lower in lower_layers:
        alone = Circuits(tiny, pixels, "layer3", [lower]).relevance(neurons)[lower]
        torch.testing.assert_close(together[lower], alone, rtol=1e-5, atol=1e-7)


def test_relevance_equals_a_loop_over_gradients_written_out(tiny, pixels):
    """Nothing of the tool, nothing of zennit-crp: the definition with two halves of the network by hand."""
    h = tiny.layer2(tiny.layer1(tiny.relu(tiny.bn1(tiny.conv1(pixels))))).detach().requires_grad_()
    a = tiny.layer3(h)
    for neuron in (3, 4, 5):
        start = torch.zeros_like(a)
        start[:, neuron] = a[:, neuron].detach().clamp(min=0)
        (gradient,) = torch.autograd.grad(a, h, start, retain_graph=True)
        summed = (gradient * h.detach()).sum(dim=(2, 3))
        expected = summed / (summed.abs().sum(dim=1, keepdim=True) + 1e-10)
        ours = Circuits(tiny, pixels, "layer3", ["layer2"]).relevance(torch.full((6,), neuron))["layer2"]
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rule", [name for name in RULES if RULES[name].hooks])
def test_lrp_relevance_equals_crp(tiny, pixels, rule):
    with composite_for(rule, tiny).context(tiny):
        circuits = Circuits(tiny, pixels, "layer3", ["layer2"], lrp=True)
        ours = {neuron: circuits.relevance(torch.full((len(pixels),), neuron))["layer2"] for neuron in range(12)}
    for neuron, values in ours.items():
        relevance, _ = crp_relevance(tiny, pixels, "layer3", "layer2", neuron, zennit_composite(rule, tiny))
        theirs = ChannelConcept().attribute(relevance, abs_norm=True)
        torch.testing.assert_close(values, theirs, rtol=1e-4, atol=1e-6)


def test_a_neuron_that_does_not_fire_has_no_relevance(tiny, pixels):
    circuits = Circuits(tiny, pixels, "layer2.0.bn2", ["layer1"])
    silent = (circuits.activation.flatten(2).amax(-1) <= 0).nonzero()
    for row, neuron in silent.tolist():
        found = circuits.relevance(torch.full((len(pixels),), neuron))["layer1"]
        assert not found[row].any()
    zero = Circuits(tiny, torch.zeros(2, 3, 16, 16) - 100, "layer3", ["layer2"]).relevance(torch.tensor([0, 1]))
    assert torch.isfinite(zero["layer2"]).all()


def test_the_network_runs_no_further_than_the_layer(tiny, pixels):
    ran = []
    learn(tiny, pixels)
    tiny.hidden.register_forward_hook(lambda *_: ran.append("hidden"))
    tiny.layer3.register_forward_hook(lambda *_: ran.append("layer3"))
    activations(tiny, pixels, ["layer1", "layer2"])
    forward_to(tiny, pixels, "layer2", ["layer1"])
    assert ran == []


def test_the_model_is_left_as_it_was(tiny, pixels):
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    expected, hooks = tiny(pixels), [(list(m._forward_hooks), list(m._forward_pre_hooks)) for m in tiny.modules()]
    Circuits(tiny, pixels, "layer3", ["layer2"]).relevance(torch.zeros(6, dtype=torch.long))
    heatmaps(tiny, pixels, "layer3", [4, 5], [1, 0])
    assert all(torch.equal(before[name], value) for name, value in tiny.state_dict().items())
    assert [(list(m._forward_hooks), list(m._forward_pre_hooks)) for m in tiny.modules()] == hooks
    torch.testing.assert_close(tiny(pixels), expected, rtol=0, atol=0)
    assert torch.is_grad_enabled()


def test_activations_equal_those_of_the_whole_pass(tiny, pixels):
    seen = {}
    handles = [
        getattr(tiny, name).register_forward_hook(lambda m, i, o, name=name: seen.setdefault(name, o.clone()))
        for name in ("layer1", "layer3", "hidden")
    ]
    tiny(pixels)
    for handle in handles:
        handle.remove()
    for name, value in activations(tiny, pixels, ["hidden", "layer1", "layer3"]).items():
        torch.testing.assert_close(value, seen[name], rtol=0, atol=0)


def heatmaps(model, images, layer, channels, positions):
    with composite_for("epsilon-plus-flat", model).context(model):
        return Heatmaps(model, images, layer).at(torch.tensor(channels), torch.tensor(positions), last=True)


def test_heatmaps_equal_crp_at_one_position(tiny, pixels):
    position = 5
    with composite_for("epsilon-plus-flat", tiny).context(tiny):
        batch = Heatmaps(tiny, pixels, "layer3")
        ours = {n: batch.at(torch.full((6,), n), torch.full((6,), position)) for n in (3, 4, 5, 7)}
    attribution = CondAttribution(tiny)
    for neuron, found in ours.items():
        for row in range(len(pixels)):
            theirs = attribution(
                pixels[row : row + 1].clone().requires_grad_(),
                [{"layer3": {neuron: [position]}}],
                EpsilonPlusFlat(canonizers_for(tiny)),
                mask_map=ChannelConcept.mask_rf,
                start_layer="layer3",
                exclude_parallel=False,
            ).heatmap[0]
            scale = theirs.abs().max() + 1e-12
            torch.testing.assert_close(found[row] / scale, theirs / scale, rtol=1e-4, atol=1e-5)


def test_each_image_may_ask_for_its_own_heatmap(tiny, pixels):
    channels, positions = [4, 5, 4, 7], [2, 2, 3, 0]
    found = heatmaps(tiny, pixels, "layer3", channels, positions)
    for row, (channel, position) in enumerate(zip(channels, positions, strict=True)):
        alone = heatmaps(tiny, pixels, "layer3", [channel] * 6, [position] * 6)[row]
        torch.testing.assert_close(found[row], alone, rtol=0, atol=0)


def test_heatmap_of_a_linear_layer(tiny, pixels):
    found = heatmaps(tiny, pixels, "act", [1], [-1])
    assert found.shape == (1, 16, 16)
    assert np.isfinite(found.numpy()).all()


def test_activation_maps_are_enlarged_activations():
    activation = torch.tensor([[[[-1.0, 0.0], [2.0, 4.0]]]])
    found = activation_maps(activation, torch.tensor([0]), (4, 4))
    assert found[0, 0, 0] == 0  # what is negative does not excite
    assert found[0, 3, 3] == 4
    assert found[0, 3, 1] == pytest.approx(2.5)


def test_means_over_space_of_the_lower_layers(tiny, pixels):
    found = Circuits(tiny, pixels, "fc", ["layer2", "hidden"]).lower_mean()
    plain = activations(tiny, pixels, ["layer2", "hidden"], lambda _, output: output.clone())
    torch.testing.assert_close(found["layer2"], plain["layer2"].mean(dim=(2, 3)))
    torch.testing.assert_close(found["hidden"], plain["hidden"])


def test_relevance_is_kept_with_its_l1_norm(tiny, pixels):
    summed = torch.tensor([[3.0, -1, 0], [0, 0, 0]])
    relevance, norm = normalised_arrays(summed)
    np.testing.assert_allclose(relevance, [[0.75, -0.25, 0], [0, 0, 0]])
    np.testing.assert_allclose(norm, [4, 1e-10])


def test_a_whole_pass_has_a_graph_from_its_layers_on(tiny, pixels):
    expected = tiny(pixels)
    output, found = forward_through(tiny, pixels, ["layer2", "hidden"])
    torch.testing.assert_close(output, expected, rtol=0, atol=0)
    (whole,) = torch.autograd.grad(output.sum(), found["layer2"], retain_graph=True)
    (part,) = torch.autograd.grad(output.sum(), found["hidden"])
    torch.testing.assert_close(part, (tiny.fc.weight.sum(dim=0) * (found["hidden"] > 0)).detach())
    assert whole.shape == found["layer2"].shape and whole.any()
    assert found["layer2"].is_leaf and not pixels.requires_grad


def test_changed_lower_activations_are_what_the_layer_is_computed_of(tiny, pixels):
    doubled, lower = forward_to(tiny, pixels, "layer3", ["layer2"], lambda output: output * 2)
    plain = activations(tiny, pixels, ["layer2"], lambda _, output: output.clone())["layer2"]
    torch.testing.assert_close(lower["layer2"].detach(), plain * 2)
    torch.testing.assert_close(doubled.detach(), tiny.layer3(plain * 2).detach())


class ChannelsLast(nn.Module):
    """Maps (B, h, w, C), or the same as tokens (B, T, C), of images that are wider than high."""

    def __init__(self, tokens):
        super().__init__()
        torch.manual_seed(0)
        self.tokens = tokens
        self.patches = nn.Conv2d(3, 5, 4, 4)
        self.lower, self.layer = nn.Sequential(nn.Linear(5, 5), nn.Tanh()), nn.Linear(5, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        maps = self.patches(x).permute(0, 2, 3, 1)
        return self.head(self.layer(self.lower(maps.flatten(1, 2) if self.tokens else maps)).flatten(1, -2).mean(dim=1))


@pytest.mark.parametrize("tokens", [False, True])
def test_channels_that_come_last_are_found_in_images_of_any_proportions(tokens):
    model = ChannelsLast(tokens).eval().requires_grad_(False)
    images = torch.randn(3, 3, 16, 32, generator=torch.Generator().manual_seed(1))
    maps = model.patches(images).permute(0, 2, 3, 1)
    h = model.lower(maps.flatten(1, 2) if tokens else maps).requires_grad_()
    a = model.layer(h)
    circuits = Circuits(model, images, "layer", ["lower"])
    for neuron in range(5):
        (gradient,) = torch.autograd.grad((a[..., neuron].clamp(min=0) ** 2).sum() / 2, h, retain_graph=True)
        expected = (gradient * h.detach()).flatten(1, -2).sum(dim=1)
        found = circuits.summed(torch.full((3,), neuron))["lower"]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    means = h.detach().flatten(1, -2).mean(dim=1)
    torch.testing.assert_close(circuits.lower_mean()["lower"], means)
    seen = activations(model, images, ["lower"], lambda _, output: output.clone())["lower"]
    _, found = forward_through(model, images, ["lower"])
    for other in (seen, found["lower"].detach()):
        torch.testing.assert_close(other.flatten(2).mean(dim=2), means)


def test_relevance_at_one_position_is_that_of_the_others_left_out(tiny, pixels):
    circuits = Circuits(tiny, pixels, "layer3", ["layer2"])
    which = torch.tensor([3, 5, 4])
    parts = [circuits.summed(which, positions=torch.full((3,), p))["layer2"] for p in range(circuits.firing.shape[2])]
    torch.testing.assert_close(sum(parts), circuits.summed(which)["layer2"], rtol=1e-4, atol=1e-5)
    flat = Circuits(tiny, pixels, "hidden", ["layer2"])
    nowhere = flat.summed(which, positions=torch.full((3,), -1))["layer2"]
    torch.testing.assert_close(nowhere, flat.summed(which)["layer2"], rtol=0, atol=0)
