"""What a network needs before LRP rules fit: batch norm merged, sums and gates with rules of their own.

One mechanism for all families. Which batch norm follows which linear layer is seen in a pass over an image, and sums,
gates and pools that a network's own code computes are ruled as they are called (`pure_cli.models.function_rules`). On
torchvision's ResNets and VGGs the relevances are those of zennit's own canonizers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
import zennit.types
from torch import nn
from zennit.canonizers import Canonizer, MergeBatchNorm

from pure_cli.core.forward import run
from pure_cli.models.function_rules import RELEVANCE_RULES, FunctionRule, Ruled
from pure_cli.models.fuse import near, pairs_seen, unseen_by_others

PROBE_SIZES = (64, 224, 32, 256, 384, 16)  # pixels; the first that the network takes, a small one if it may be
PLAIN_IN_TIMM = ("Conv2dSame", "Linear")  # one pads, one looks after the precision, and no more
USUAL_EPS = 1e-5  # of batch norm
_SEEN: WeakKeyDictionary[nn.Module, list[tuple[str, str]]] = WeakKeyDictionary()


class RuleFunctions(Canonizer):
    """Rules for the functions that a network's code calls, in force while the network runs.

    Parameters
    ----------
    rules : by name of the function
    note : as of `pure_cli.models.function_rules.Ruled`
    """

    def __init__(
        self, rules: Mapping[str, FunctionRule] = RELEVANCE_RULES, note: Callable[[str], None] | None = None
    ) -> None:
        self._rules, self._note = rules, note

    def apply(self, root_module: nn.Module) -> list[Canonizer]:
        instance = self.copy()
        instance.register(root_module)
        return [instance]

    def register(self, module: nn.Module) -> None:
        self._module, self._before = module, vars(module).get("forward")
        forward = module.forward

        def ruled(*args: Any, **kwargs: Any) -> Any:
            with Ruled(self._rules, self._note):
                return forward(*args, **kwargs)

        module.forward = ruled

    def remove(self) -> None:
        if self._before is None:
            vars(self._module).pop("forward", None)
        else:
            self._module.forward = self._before

    def copy(self) -> RuleFunctions:
        return RuleFunctions(self._rules, self._note)


class MergeSeenBatchNorm(MergeBatchNorm):
    """Batch norm is merged into the linear layer whose output it takes, wherever the two are in the network.

    zennit's own canonizer goes by the order in which modules are defined, which is another one in DenseNets.
    """

    def apply(self, root_module: nn.Module) -> list[Canonizer]:
        modules = dict(root_module.named_modules())
        instances: list[Canonizer] = []
        for linear, norm in _pairs_of(root_module):
            instance = self.copy()
            instance.register((modules[linear],), modules[norm])
            instances.append(instance)
        return instances

    @staticmethod
    def merge_batch_norm(modules: Any, batch_norm: Any) -> None:
        """As zennit does it, which leaves a factor of ``1 / sqrt(1 + eps)``; none is left where that would matter."""
        MergeBatchNorm.merge_batch_norm(modules, batch_norm)
        if batch_norm.eps > USUAL_EPS:
            batch_norm.running_var.data -= batch_norm.eps


def canonizers_for(model: nn.Module) -> list[Canonizer]:
    """The canonizers that a network needs."""
    functions: list[Canonizer] = [RuleFunctions()]
    if not any(map(_is_norm, model.modules())):
        return functions
    _pairs_of(model)  # seen now: hooks of others, as zennit-crp's masks, may be on when they are applied
    return [MergeSeenBatchNorm(), *functions]


def _pairs_of(model: nn.Module) -> list[tuple[str, str]]:
    if model not in _SEEN:
        _SEEN[model] = _names_of_pairs(model)
    return _SEEN[model]


def _names_of_pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Names of linear layers and the batch norms to merge into each, where that does not change what comes out."""
    if not any(_is_norm(module) for module in model.modules()):
        return []
    image = _probe(model)
    if image is None:
        return []
    names = {module: name for name, module in model.named_modules()}
    pairs = pairs_seen(model, image, plain_linear, _is_norm)
    pairs = unseen_by_others(pairs, lambda: [_first(run(model, image))])
    if not _same_when_merged(model, image, pairs):  # a weight is another layer's too, say, or made anew by a hook
        pairs = [pair for pair in pairs if _same_when_merged(model, image, [pair])]
    return [(names[linear], names[norm]) for linear, norm in pairs]


def _same_when_merged(model: nn.Module, image: torch.Tensor, pairs: list[tuple[nn.Module, nn.Module]]) -> bool:
    """Whether merging some pairs leaves the network's output what it was."""
    merges = []
    with torch.no_grad():
        before = _first(run(model, image))
        for linear, norm in pairs:
            merge = MergeSeenBatchNorm()
            merge.register((linear,), norm)
            merges.append(merge)
        after = _first(run(model, image))
    for merge in merges:
        merge.remove()
    return near(after, before)


def _probe(model: nn.Module) -> torch.Tensor | None:
    """An image (1, 3, H, W) that the network takes, the same each time."""
    parameter = next(model.parameters())
    for size in PROBE_SIZES:
        image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(parameter)
        try:
            with torch.no_grad():
                run(model, image)
        except Exception:  # a network may refuse a size in any way
            continue
        return image
    return None


def _first(output: Any) -> torch.Tensor:
    """The first tensor of an output."""
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values() if isinstance(output, Mapping) else output))
    return output


def plain_linear(module: nn.Module) -> bool:
    """A linear layer that uses its weight as it is; one that standardises it first is not."""
    if not isinstance(module, zennit.types.Linear) or hasattr(module, "parametrizations"):
        return False
    bases = [base for base in type(module).__mro__ if base.__module__.startswith("torch.nn.") and base is not nn.Module]
    own = any(type(module).forward is getattr(base, "forward", None) for base in bases)
    timm = type(module).__module__.startswith("timm.layers.") and type(module).__name__ in PLAIN_IN_TIMM
    return own or timm


def _is_norm(module: nn.Module) -> bool:
    kind = nn.BatchNorm1d | nn.BatchNorm2d
    return isinstance(module, kind) and module.running_mean is not None and module.weight is not None
