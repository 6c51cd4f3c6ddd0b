"""Rules by name: how relevance is computed, what has to be in force while the network runs, and where a rule fits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from zennit.core import Composite
from zennit.types import Linear

from pure_cli.core.circuits import Circuits, Heatmaps, forward_to
from pure_cli.core.directions import CHANNELS, Channels
from pure_cli.core.gradient_relevance import GradientHeatmaps
from pure_cli.core.saturation import Bound
from pure_cli.models.attention_rules import ATTENTION_RULES
from pure_cli.models.canonizers import MergeSeenBatchNorm, RuleFunctions, canonizers_for, plain_linear
from pure_cli.models.function_rules import RELEVANCE_RULES
from pure_cli.models.missing_rules import unruled
from pure_cli.models.shared_rules import SharedRules
from pure_cli.registry import RULES

HEATMAPS, ATTENTION = "epsilon-plus-flat", "attn-lrp"
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.MultiheadAttention)  # what zennit's rules do not fit


def composite_for(rule: str, model: nn.Module) -> Composite:
    """The composite of a rule with the canonizers of a network; register it with ``composite.context(model)``.

    Its work on an image is shared by all backward passes over it. For rules that are none of zennit's, it holds no more
    than what has to be in force while the network runs.
    """
    if RULES[rule].hooks:
        return SharedRules(zennit_composite(rule, model))
    return Composite(canonizers=[RuleFunctions(ATTENTION_RULES)] if RULES[rule].functions else [])


def zennit_composite(rule: str, model: nn.Module) -> Composite:
    """The same as zennit has it."""
    return _zennit(rule, canonizers_for(model))


def _zennit(rule: str, canonizers: list[Any]) -> Composite:
    composite = RULES[rule].composite
    assert composite is not None, "a rule of zennit's"
    return composite(canonizers=canonizers)


def in_force(rule: str, model: nn.Module) -> AbstractContextManager[Any]:
    """A context in which circuits and heatmaps by a rule can be computed."""
    return composite_for(rule, model).context(model) if RULES[rule].canonized else nullcontext()


def circuits_for(
    rule: str,
    model: nn.Module,
    images: torch.Tensor,
    layer: str,
    lower_layers: Sequence[str],
    neurons: Channels = CHANNELS,
    bound: Bound | None = None,
) -> Circuits:
    """Circuits by a rule, inside of `in_force`; parameters as of `pure_cli.core.circuits.Circuits`."""
    return RULES[rule].circuits_of(model, images, layer, lower_layers, RULES[rule].hooks, neurons, bound)


def heatmaps_for(
    rule: str,
    model: nn.Module,
    images: torch.Tensor,
    layer: str,
    neurons: Channels = CHANNELS,
    bound: Bound | None = None,
) -> Heatmaps:
    """Heatmaps by a rule of LRP, inside of `in_force`; parameters as of `pure_cli.core.circuits.Heatmaps`."""
    return (Heatmaps if RULES[rule].hooks else GradientHeatmaps)(model, images, layer, neurons, bound)


def heatmap_rule(model: nn.Module, repeats: bool = False) -> str:
    """The rule for heatmaps of a network: PURE's, or AttnLRP where there is attention or a norm over channels, or where
    modules run more than once (`repeats`)."""
    parts = list(model.modules())
    special = any(isinstance(part, NORMS) or "attention" in type(part).__name__.lower() for part in parts)
    return ATTENTION if special or repeats else HEATMAPS


def missing_canonizer(rule: str, model: nn.Module, image: torch.Tensor, layer: str, instead: str = "") -> str | None:
    """What of a network a rule does not fit, in one sentence; None where it fits.

    Parameters
    ----------
    rule : of `RULES`
    model : in eval mode, parameters without gradients
    image : (1, 3, H, W) float
    layer : what lies above it does not matter
    instead : what to use; other rules, where nothing is said
    """
    found = _unruled(rule, model, image, layer)
    if not found:
        return None
    others = instead or ("gradient-x-input" if rule == ATTENTION else "attn-lrp or gradient-x-input")
    functions = f"{', '.join(found[:4])}{' and more' if len(found) > 4 else ''}"
    return (
        f"{rule}: no canonizer for {type(model).__name__}: it has no rule for {functions}, and their relevance is no "
        f"more than a gradient, which is not conserved. Use {others}."
    )


def _unruled(rule: str, model: nn.Module, image: torch.Tensor, layer: str) -> list[str]:
    """Names of what runs below a layer and a rule of LRP does not fit, in that order: functions, and linear layers that
    change their weights before they use them."""
    chosen = RULES[rule]
    if not chosen.canonized:
        return []
    found: dict[str, None] = {}

    def note(name: str) -> None:
        if unruled(name, chosen.functions):
            found[name] = None

    def note_class(module: nn.Module, _: Any) -> None:
        note(type(module).__name__)

    composite, odd = Composite(canonizers=[RuleFunctions(ATTENTION_RULES, note)]), []
    if chosen.hooks:
        composite = SharedRules(_zennit(rule, [MergeSeenBatchNorm(), RuleFunctions(RELEVANCE_RULES, note)]))
        odd = [module for module in model.modules() if isinstance(module, Linear) and not plain_linear(module)]
    handles = [module.register_forward_pre_hook(note_class) for module in odd]
    try:
        with composite.context(model):
            forward_to(model, image.detach().clone().requires_grad_(), layer)
    finally:
        for handle in handles:
            handle.remove()
    return list(found)
