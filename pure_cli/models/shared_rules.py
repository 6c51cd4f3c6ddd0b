"""LRP rules whose work on an image is done once for all backward passes over it.

zennit's rule of a module runs, in every backward pass, the module's own gradient (which it then throws away), the
module again with changed inputs and parameters, and the gradient of that. But the changed outputs, which are the
denominators of the rule, depend on the image alone. Here they are computed in the first backward pass and kept, the
module's own gradient is not computed, and inputs that are zero everywhere are left out: behind a ReLU, half of ZPlus.
The operations that remain are zennit's own, in its order, so that the relevances are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import nn
from zennit.core import BasicHook, Composite, Hook, RemovableHandleList, mod_params
from zennit.rules import Flat, Norm, Pass, WSquare, ZPlus

from pure_cli.models.denominators import stabilized

ONE_DENOMINATOR = (ZPlus, Flat, Norm, WSquare)  # rules that divide by the sum of their outputs


class SharedRules(Composite):
    """A composite whose rules share their work among backward passes.

    Parameters
    ----------
    composite : of zennit; hooks that are neither `BasicHook` nor `Pass` are registered as they are
    """

    def __init__(self, composite: Composite):
        super().__init__(module_map=self._map, canonizers=composite.canonizers)
        self._composite = composite

    def _map(self, context: dict[str, Any], name: str, module: nn.Module) -> Any:
        if isinstance(module, nn.MultiheadAttention):  # zennit counts it as an activation function
            return None
        hook = self._composite.module_map(context, name, module)
        return _Shared(hook) if isinstance(hook, BasicHook | Pass) else hook


def _has_any(values: torch.Tensor) -> bool:
    """Whether one of them is not zero, several times as fast as `torch.any`."""
    lowest, highest = torch.aminmax(values)
    return bool((lowest != 0) | (highest != 0))


class _Shared:
    """What `Composite.register` takes for a hook: it puts another forward pass in the place of the module's."""

    def __init__(self, hook: Hook):
        self._hook = hook

    def copy(self) -> _Shared:
        return self

    def register(self, module: nn.Module) -> RemovableHandleList:
        before = vars(module).get("forward")
        forward, hook = module.forward, self._hook

        def shared(x: torch.Tensor) -> torch.Tensor:
            if not (torch.is_grad_enabled() and x.requires_grad):
                return forward(x)
            if isinstance(hook, Pass):
                return _Pass.apply(x, forward)
            return _Rule.apply(x, forward, module, hook)

        module.forward = shared
        return RemovableHandleList([_Restore(module, before)])


class _Restore:
    def __init__(self, module: nn.Module, forward: Callable[..., torch.Tensor] | None):
        self._module, self._forward = module, forward

    def remove(self) -> None:
        if self._forward is None:
            vars(self._module).pop("forward", None)
        else:
            self._module.forward = self._forward


class _Pass(torch.autograd.Function):
    """The relevance passes through."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, forward: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        return forward(x.clone())  # it may work in place

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


class _Rule(torch.autograd.Function):
    """The output of a module, and the relevance of its input by a rule."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, forward: Callable[[torch.Tensor], torch.Tensor], module: nn.Module, hook: BasicHook
    ) -> torch.Tensor:
        ctx.parts = _Parts(x.detach().clone(), forward, module, hook)  # what follows may change x in place
        return forward(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return ctx.parts.relevance(gradient), None, None, None


class _Parts:
    """What a rule makes of one input of a module: changed inputs, and the outputs of the changed module for them."""

    def __init__(
        self, x: torch.Tensor, forward: Callable[[torch.Tensor], torch.Tensor], module: nn.Module, hook: BasicHook
    ):
        self._x, self._forward, self._module, self._hook = x, forward, module, hook
        self._inputs: list[torch.Tensor] = []
        self._outputs: list[torch.Tensor] = []
        self._denominator: torch.Tensor | None = None

    def relevance(self, gradient: torch.Tensor) -> torch.Tensor:
        """Relevance of the input, from that of the output."""
        if not self._inputs:
            self._begin()
        if self._denominator is None:
            mapped = self._hook.gradient_mapper(gradient, self._outputs)
        else:
            mapped = gradient / self._denominator
        mapped = [mapped] * len(self._outputs) if isinstance(mapped, torch.Tensor) else list(mapped)
        used = [i for i, x in enumerate(self._inputs) if x.requires_grad]
        if not used:
            return torch.zeros_like(self._inputs[0])
        found = torch.autograd.grad(
            [self._outputs[i] for i in used],
            [self._inputs[i] for i in used],
            [mapped[i] for i in used],
            retain_graph=True,
        )
        inputs = [x.detach() for x in self._inputs]
        if len(used) == 1 and isinstance(self._hook, ZPlus):
            return inputs[used[0]] * found[0]
        gradients: list[Any] = [0.0] * len(inputs)
        for i, one in zip(used, found, strict=True):
            gradients[i] = one
        return self._hook.reducer(inputs, gradients)

    def _begin(self) -> None:
        hook = self._hook
        options = {"param_keys": hook.param_keys, "require_params": hook.require_params}
        for change_input, change_parameters, change_output in zip(
            hook.input_modifiers, hook.param_modifiers, hook.output_modifiers, strict=True
        ):
            x = change_input(self._x).detach()
            something = _has_any(x)  # else it has no relevance, and the same output for all images
            with mod_params(self._module, change_parameters, **options), torch.set_grad_enabled(something):
                x = x.requires_grad_() if something else x
                self._inputs.append(x)
                self._outputs.append(change_output(self._forward(x if something else x[:1])))
        if type(hook) in ONE_DENOMINATOR:
            self._denominator = stabilized(reduce(torch.add, [output.detach() for output in self._outputs]))
        del self._x
