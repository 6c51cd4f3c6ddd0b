"""Rules for functions that a network's own code calls, so that no block has to be written again with modules in it.

A mode watches every function of torch during a forward pass, and puts one with a rule's backward pass in its place. The
values stay those of the network, in every bit. Here are the rules for passes on which zennit's hooks hand on relevance
in place of gradients; `pure_cli.models.attention_rules` has those for passes on which gradients stay gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function

from pure_cli.models.denominators import stabilized

FunctionRule = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]  # function, its arguments, those by name -> output
Backward = Callable[[torch.Tensor], Sequence[torch.Tensor]]
NEARLY_ONE = 0.01  # what may be away from one in batch norm that does nothing
GATE = "is_gate"  # set on what comes out of sigmoids
GATES = ("sigmoid", "hardsigmoid")
ACTIVATIONS = ("silu", "gelu", "hardswish", "mish", "elu", "celu", "selu", "leaky_relu", "relu6", "hardtanh", "tanh",
               "softplus", "softsign", "prelu", "clamp", "logsigmoid", "hardshrink", "softshrink")  # fmt: skip


def name_of(function: Any) -> str:
    """Name of a function, the same for one that works in place and for operators."""
    return getattr(function, "__name__", "").strip("_")


class Ruled(TorchFunctionMode):
    """A mode in which functions have rules.

    Parameters
    ----------
    rules : by name of the function
    note : is told the name of every other function that works on a tensor with a gradient
    """

    def __init__(self, rules: Mapping[str, FunctionRule], note: Callable[[str], None] | None = None):
        super().__init__()
        self._rules, self._note = rules, note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = name_of(func)
        rule = self._rules.get(name)
        if not torch.is_grad_enabled() or (rule is None and self._note is None):
            return func(*args, **kwargs)
        if not any(tensor.requires_grad for tensor in _tensors((*args, *kwargs.values()))):
            output = func(*args, **kwargs)
            return as_gate(output) if name in GATES else output
        if rule is None:
            assert self._note is not None
            self._note(name)
            return func(*args, **kwargs)
        return _shown(rule, func, args, kwargs)


def _shown(rule: FunctionRule, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the rule makes of a call; modes around this one see a call of the function and not what the rule does."""

    @functools.wraps(func)
    def ruled(*args: Any, **kwargs: Any) -> Any:
        return rule(func, args, kwargs)

    if has_torch_function(tuple(_tensors((*args, *kwargs.values())))):
        return handle_torch_function(ruled, (), *args, **kwargs)
    return ruled(*args, **kwargs)


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def as_gate(output: Any) -> Any:
    """Mark what comes out of a sigmoid."""
    setattr(output, GATE, True)
    return output


class Flow(torch.autograd.Function):
    """A function of some tensors with another backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        compute: Callable[..., torch.Tensor],
        prepare: Callable[[list[torch.Tensor], torch.Tensor], Backward],
        in_place: bool,
        *inputs: torch.Tensor,
    ) -> torch.Tensor:
        """`prepare` makes the backward pass of the inputs and the output; it may keep them."""
        kept = [x.detach().clone() for x in inputs]  # what follows may change them in place
        output = compute(*inputs)
        if in_place:
            ctx.mark_dirty(inputs[0])
        ctx.shapes, ctx.back = [x.shape for x in inputs], prepare(kept, output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        parts = ctx.back(gradient)
        return (None, None, None, *(part.sum_to_size(shape) for part, shape in zip(parts, ctx.shapes, strict=True)))


def in_place(function: Any) -> bool:
    """Whether a function changes its first argument, as ``+=`` does."""
    name = getattr(function, "__name__", "")
    return name.endswith("_") and not name.endswith("__")


def is_data(value: Any) -> bool:
    """A tensor of numbers that can take relevance, and no single number."""
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 0


def share_sum(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Relevance is shared among terms in proportion to them, as zennit's canonizers do it with `zennit.layer.Sum`."""
    if kwargs or len(args) != 2 or not all(is_data(value) for value in args):
        return function(*args, **kwargs)

    def prepare(terms: list[torch.Tensor], output: torch.Tensor) -> Backward:
        denominator = stabilized(output)
        return lambda relevance: [term * (relevance / denominator) for term in terms]

    return Flow.apply(function, prepare, in_place(function), *args)


def share_difference(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same with what is taken away as a negative term."""
    if kwargs or len(args) != 2 or not all(is_data(value) for value in args):
        return function(*args, **kwargs)

    def prepare(terms: list[torch.Tensor], output: torch.Tensor) -> Backward:
        denominator = stabilized(output)
        return lambda relevance: [terms[0] * (relevance / denominator), -terms[1] * (relevance / denominator)]

    return Flow.apply(function, prepare, in_place(function), *args)


def pass_on(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Relevance passes through a function of one tensor."""
    x, *others = args

    def compute(x: torch.Tensor) -> torch.Tensor:
        return function(x.clone(), *others, **kwargs)  # it may work in place

    output = Flow.apply(compute, lambda inputs, output: lambda relevance: [relevance], False, x)
    return as_gate(output) if name_of(function) in GATES else output


def share_linear(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Relevance of a linear function of the first argument, in proportion to what each input adds (epsilon rule)."""
    x, *others = args

    def compute(x: torch.Tensor) -> torch.Tensor:
        return function(x, *others, **kwargs)

    def prepare(inputs: list[torch.Tensor], output: torch.Tensor) -> Backward:
        def back(relevance: torch.Tensor) -> list[torch.Tensor]:
            with torch.enable_grad():
                own = inputs[0].detach().requires_grad_()
                total = compute(own)
            return [inputs[0] * torch.autograd.grad(total, own, relevance / stabilized(total.detach()))[0]]

        return back

    return Flow.apply(compute, prepare, False, x)


def share_norm(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Batch norm that is merged already hands on what it gets, as in zennit; any other goes by the epsilon rule."""
    names = ("input", "running_mean", "running_var", "weight", "bias")
    arguments = dict(zip(names, args, strict=False)) | kwargs
    mean, variance, weight, bias = (arguments.get(name) for name in names[1:])
    merged = all(value is None or not value.any() for value in (mean, bias)) and all(
        value is None or bool(((value - 1).abs() < NEARLY_ONE).all()) for value in (variance, weight)
    )
    return function(*args, **kwargs) if merged else share_linear(function, args, kwargs)


def pass_product(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """All relevance goes to the signal and none to what gates it; of two signals each gets half.

    A gate is a number or a constant, what comes out of a sigmoid, or the factor with fewer elements, as of
    squeeze-and-excitation.
    """
    signals = signals_of(args)
    if len(signals) == 2:

        def halves(inputs: list[torch.Tensor], output: torch.Tensor) -> Backward:
            return lambda relevance: [relevance / 2, relevance / 2]

        return Flow.apply(lambda *factors: function(*factors, **kwargs), halves, in_place(function), *args)
    (own,) = signals
    others = [value.detach() if isinstance(value, torch.Tensor) else value for value in args]

    def compute(x: torch.Tensor) -> torch.Tensor:
        return function(*others[:own], x, *others[own + 1 :], **kwargs)

    changed = in_place(function) and own == 0
    return Flow.apply(compute, lambda inputs, output: lambda relevance: [relevance], changed, args[own])


def signals_of(factors: Sequence[Any]) -> list[int]:
    """Which of two factors are signals, and not gates."""
    own = [i for i, value in enumerate(factors[:2]) if isinstance(value, torch.Tensor) and value.requires_grad]
    if len(own) == 2:
        gates = [i for i in own if getattr(factors[i], GATE, False)]
        if len(gates) != 1:
            fewest = min(factors[i].numel() for i in own)
            gates = [i for i in own if factors[i].numel() == fewest]
        own = own if len(gates) == 2 else [i for i in own if i not in gates]
    return own


def pass_quotient(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Relevance of what is divided by a number or a constant; any other quotient has no rule."""
    if isinstance(args[1], torch.Tensor) and args[1].requires_grad:
        return function(*args, **kwargs)
    return pass_product(function, args, kwargs)


RELEVANCE_RULES: dict[str, FunctionRule] = {
    "add": share_sum,
    "radd": share_sum,
    **dict.fromkeys(("sub", "subtract"), share_difference),
    "neg": pass_on,
    "mul": pass_product,
    "multiply": pass_product,
    "rmul": pass_product,
    "div": pass_quotient,
    "truediv": pass_quotient,
    "batch_norm": share_norm,
    **dict.fromkeys((*GATES, *ACTIVATIONS), pass_on),
    **dict.fromkeys(("avg_pool2d", "adaptive_avg_pool2d", "mean", "sum"), share_linear),
}
