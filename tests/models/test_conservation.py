"""Every rule conserves relevance on the families that it claims: biases are zero, numbers are double."""

import pytest
import small_families as families
import torch

from pure_cli.models.rule_coverage import ATTENTION, CONVOLUTIONAL, NORMALISED
from pure_cli.models.rules import RULES, circuits_for, in_force, missing_canonizer

CONVOLUTIONAL_RULES = [rule for rule in RULES if RULES[rule].hooks]
STABILISED = 1e-3  # zennit's epsilon of 1e-6 in every denominator, and 1 / sqrt(1 + eps) at every merged batch norm
ROUNDING = 1e-6  # sums are handed on in single precision
STEPS = 1e-2  # of integrated gradients, at the corners of ReLU6 and hard-swish


class Ledger:
    """What softmax keeps for its term of order zero in a backward pass, for each image."""

    def __init__(self, monkeypatch, images):
        self.kept, self._images = torch.zeros(images, dtype=torch.float64), images
        softmax = torch.Tensor.softmax

        def watched(logits, *args, **kwargs):
            shares = softmax(logits, *args, **kwargs)
            if shares.requires_grad:
                shares.register_hook(lambda gradient: self._add((shares * gradient).detach()))
                logits.register_hook(lambda gradient: self._add(-(logits * gradient).detach()))
            return shares

        monkeypatch.setattr(torch.Tensor, "softmax", watched)

    def _add(self, relevance):
        self.kept += relevance.reshape(self._images, -1).sum(dim=-1)  # windows of an image lie together


def totals(rule, family):
    """Relevance at the layer and at the lower layer, (B,) each."""
    model, layer, lower, images = families.make(family)
    with in_force(rule, model):
        circuits = circuits_for(rule, model, images, layer, [lower])
        which = circuits.firing.clamp(min=0).sum(dim=-1).argmax(dim=-1)
        fired = circuits.firing[torch.arange(len(images)), which].clamp(min=0)
        squared = rule in ("gradient-x-input", "integrated-gradients")  # the start is a gradient there
        start = (fired * fired if squared else fired).sum(dim=-1)
        return start, circuits.summed(which, last=True)[lower].double().sum(dim=-1)


def claimed(*rules):
    return [(rule, family) for rule in rules for family in RULES[rule].conserves]


@pytest.mark.parametrize(("rule", "family"), claimed(*CONVOLUTIONAL_RULES))
def test_zennits_rules_conserve(rule, family):
    start, found = totals(rule, family)
    assert ((found - start).abs() / start).max() < STABILISED


@pytest.mark.parametrize(("rule", "family"), claimed("gradient-x-input"))
def test_gradient_x_input_conserves_where_the_network_is_linear_by_pieces(rule, family):
    start, found = totals(rule, family)
    assert ((found - start).abs() / start).max() < ROUNDING


@pytest.mark.parametrize(("rule", "family"), claimed("integrated-gradients"))
def test_integrated_gradients_add_up(rule, family):
    start, found = totals(rule, family)
    assert ((found - start).abs() / start).max() < STEPS


@pytest.mark.parametrize("family", [*CONVOLUTIONAL, *NORMALISED])
def test_attn_lrp_conserves_without_attention(family):
    start, found = totals("attn-lrp", family)
    assert ((found - start).abs() / start).max() < ROUNDING


@pytest.mark.parametrize("family", ATTENTION)
def test_attn_lrp_conserves_but_for_what_softmax_keeps(family, monkeypatch):
    ledger = Ledger(monkeypatch, 2)
    start, found = totals("attn-lrp", family)
    assert ledger.kept.abs().max() > 0
    assert ((found + ledger.kept - start).abs() / start).max() < ROUNDING


def test_every_family_and_rule_is_known():
    assert {family for rule in RULES for family in RULES[rule].conserves} <= families.ALL.keys()
    assert {*CONVOLUTIONAL, *NORMALISED, *ATTENTION} == families.ALL.keys()


@pytest.mark.parametrize("family", CONVOLUTIONAL)
def test_convolutional_networks_have_canonizers(family):
    model, layer, _, images = families.make(family)
    assert missing_canonizer("epsilon-plus", model, images[:1], layer) is None


@pytest.mark.parametrize("family", [*NORMALISED, *ATTENTION])
def test_networks_with_layer_norm_are_named_where_their_canonizer_is_missing(family):
    model, layer, _, images = families.make(family)
    found = missing_canonizer("epsilon-plus", model, images[:1], layer)
    assert found.startswith(f"epsilon-plus: no canonizer for {type(model).__name__}: ")
    assert "layer_norm" in found and "attn-lrp" in found
    assert missing_canonizer("attn-lrp", model, images[:1], layer) is None
    assert missing_canonizer("gradient-x-input", model, images[:1], layer) is None
