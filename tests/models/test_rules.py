"""Rules by name, against zennit-crp; the same network by two libraries; which rule is for which network."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from crp.attribution import CondAttribution
from zennit.torchvision import ResNetCanonizer, VGGCanonizer

from pure_cli.config import make
from pure_cli.core.circuits import Circuits, Heatmaps
from pure_cli.errors import PureError
from pure_cli.models.rules import RULES, circuits_for, composite_for, heatmap_rule, in_force
from pure_cli.settings.attribute import AttributeSettings


def pair(name: str):
    """The same seeded network from timm and from torchvision."""
    torch.manual_seed(0)
    ours = timm.create_model(name, pretrained=False).eval().requires_grad_(False)
    for module in ours.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)
            module.running_mean.normal_(0, 0.1)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    theirs = getattr(torchvision.models, name)(weights=None).eval().requires_grad_(False)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_timm_and_torchvision_give_the_same_lrp(name):
    ours, theirs = pair(name)
    images = torch.randn(2, 3, 64, 64)
    found = []
    for model in (ours, theirs):
        with composite_for("epsilon-plus-flat", model).context(model):
            relevance = Circuits(model, images, "layer4", ["layer3"], lrp=True).relevance(torch.tensor([3, 70]))
            maps = Heatmaps(model, images, "layer4").at(torch.tensor([3, 70]), torch.tensor([1, 0]))
        found.append((relevance["layer3"], maps / maps.abs().amax(dim=(1, 2), keepdim=True)))
    (our_relevance, our_maps), (their_relevance, their_maps) = found
    assert our_relevance.abs().sum() > 0.5
    torch.testing.assert_close(our_relevance, their_relevance, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(our_maps, their_maps, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_canonizers_do_not_change_what_the_network_computes(name):
    model, _ = pair(name)
    images = torch.randn(2, 3, 64, 64)
    expected = model(images)
    with composite_for("epsilon-plus-flat", model).context(model) as modified:
        torch.testing.assert_close(modified(images), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model(images), expected, rtol=0, atol=0)


@pytest.mark.parametrize("rule", [name for name in RULES if RULES[name].hooks])
@pytest.mark.parametrize(
    ("name", "canonizer", "layer", "lower"),
    [
        ("resnet18", ResNetCanonizer, "layer3", "layer2"),
        ("resnet18", ResNetCanonizer, "layer2.1", "layer2.0.bn1"),
        ("alexnet", VGGCanonizer, "features.8", "features.2"),
    ],
)
def test_relevances_are_those_of_crp(name, canonizer, layer, lower, rule):
    """zennit-crp with zennit's canonizers, its composite and its own hooks, one pass for each neuron."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).eval().requires_grad_(False)
    images = torch.randn(3, 3, 64, 64)
    with in_force(rule, model):
        circuits = circuits_for(rule, model, images, layer, [lower])
        found = {neuron: circuits.summed(torch.full((3,), neuron))[lower] for neuron in (0, 5, 17)}
    for neuron, ours in found.items():
        theirs = (
            CondAttribution(model)(
                images.clone().requires_grad_(),
                [{layer: [neuron]}],
                RULES[rule].composite(canonizers=[canonizer()]),
                record_layer=[lower],
                start_layer=layer,
                init_rel=lambda activation: activation.clamp(min=0),
            )
            .relevances[lower]
            .sum(dim=(2, 3))
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_the_rules_are_those_of_the_settings_and_the_help(cli):
    text = " ".join(cli("attribute", "--help").out.replace("│", " ").split())
    for rule in RULES:
        assert AttributeSettings(rule=rule).rule == rule
        assert f"{rule} ({RULES.summary(rule)})" in text
    with pytest.raises(PureError, match=r"--rule: input should be '.*', .* or '.*', not 'lrp'"):
        make("attribute", {"rule": "lrp"})


def test_the_page_on_rules_shows_what_is_claimed():
    """A row for each family, a column for each rule, a tick where it conserves."""
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    lines = page.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    head = next(row for row in rows if row[0] == "conserves on")
    shown = {row[0]: row[1:] for row in rows if len(row) == len(head)}
    rules = [cell.strip("`") for cell in head[1:]]
    assert sorted(rules) == [rule for rule in RULES if RULES[rule].conserves]
    assert all(f"| `{rule}` |" in page for rule in rules)
    for family in {family for rule in rules for family in RULES[rule].conserves}:
        assert shown[family] == ["✓" if family in RULES[rule].conserves else "" for rule in rules]


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: torchvision.models.resnet18(weights=None), "epsilon-plus-flat"),
        (lambda: timm.create_model("efficientnet_b0"), "epsilon-plus-flat"),
        (lambda: timm.create_model("vit_tiny_patch16_224"), "attn-lrp"),
        (lambda: timm.create_model("mixer_s32_224"), "attn-lrp"),
        (lambda: timm.create_model("convnext_atto"), "attn-lrp"),
        (lambda: torchvision.models.swin_t(weights=None), "attn-lrp"),
    ],
)
def test_heatmaps_are_by_the_papers_rule_where_that_fits(make, rule):
    assert heatmap_rule(make()) == rule


def test_relevances_by_other_canonizers_are_other_results():
    assert AttributeSettings().how == {"rule": "gradient-x-input"}
    assert "canonizers" in AttributeSettings(rule="epsilon-plus").how
