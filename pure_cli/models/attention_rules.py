"""AttnLRP: rules for attention, layer norm and gates, as changed gradients (Achtibat et al. 2024, arXiv 2402.05602).

Relevance is input × gradient throughout, so that no module has to be hooked, and any may run as often as it likes:

- linear layers, sums, pools, concatenation: the gradient itself, which is the epsilon rule without its epsilon
- softmax: the gradient itself, ``R_i = x_i (R_i - s_i Σ_j R_j)`` (deep Taylor; the term of order zero keeps its part)
- products of two activations, as in ``Q Kᵀ`` and ``A V``: half of the gradient for each factor
- layer norm, group norm, RMS norm, unit vectors: the standard deviation or length is a constant, the rest is linear
- elementwise non-linear functions: relevance passes, the gradient is ``f(x) / x``
- gates of squeeze-and-excitation: constants, as in `pure_cli.models.function_rules`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from pure_cli.models.function_rules import (
    ACTIVATIONS,
    GATES,
    Backward,
    Flow,
    FunctionRule,
    as_gate,
    in_place,
    is_data,
    signals_of,
)


class _Half(torch.autograd.Function):
    """A tensor of which only half the gradient is handed on."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient / 2


class _Times(torch.autograd.Function):
    """A function of a tensor, whose gradient is that of a product of the tensor with constants."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, compute: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        values, silent = compute(x.clone()), x == 0  # it may work in place
        ctx.ratio = torch.where(silent, torch.zeros_like(x), values / torch.where(silent, torch.ones_like(x), x))
        return values

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * ctx.ratio, None


def halved(*factors: torch.Tensor) -> list[torch.Tensor]:
    """The factors of a product: where it has two with gradients, each gets half."""
    both = sum(factor.requires_grad for factor in factors) > 1
    return [_Half.apply(factor) for factor in factors] if both else list(factors)


def with_gradient_of(linear: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Exactly `values`, with the gradient of `linear`."""
    return values.detach() + (linear - linear.detach())


def pass_elementwise(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """An elementwise function, or a unit vector, as a factor of each input; zero stays without relevance."""
    x, *others = args
    return _Times.apply(x, lambda x: function(x, *others, **kwargs))


def half_product(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """A matrix product."""
    x, y, *others = args
    return function(*halved(x, y), *others, **kwargs)


def half_einsum(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """A matrix product in Einstein's notation."""
    equation, *operands = args
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = list(operands[0])
    return function(equation, *halved(*operands))


def gated_product(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """An elementwise product: a gate is a constant; two signals get half each."""
    if not all(is_data(value) and value.requires_grad for value in args[:2]):
        return function(*args, **kwargs)
    signals = signals_of(args)
    if len(signals) == 2:

        def halves(inputs: list[torch.Tensor], output: torch.Tensor) -> Backward:
            return lambda gradient: [gradient * inputs[1] / 2, gradient * inputs[0] / 2]

        return Flow.apply(function, halves, in_place(function), *args)
    factors = [value if i in signals else value.detach() for i, value in enumerate(args)]
    return function(*factors, **kwargs)


def gate(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """A sigmoid, which the products know again."""
    return as_gate(function(*args, **kwargs))


def constant_divisor(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """A quotient by a constant."""
    x, divisor, *others = args
    divisor = divisor.detach() if isinstance(divisor, torch.Tensor) else divisor
    return function(x, divisor, *others, **kwargs)


def constant(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """A length: what is divided by it or multiplied with it takes it for a constant."""
    return function(args[0].detach(), *args[1:], **kwargs)


def constant_spread(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """Layer norm: less the mean, which is linear, over a standard deviation that is a constant."""
    arguments = dict(zip(("input", "normalized_shape", "weight", "bias", "eps"), args, strict=False)) | kwargs
    x, shape, eps = arguments["input"], arguments["normalized_shape"], arguments.get("eps", 1e-5)
    axes = tuple(range(-len(shape), 0))
    deviation = torch.sqrt(x.detach().var(axes, unbiased=False, keepdim=True) + eps)
    linear = _scaled((x - x.mean(axes, keepdim=True)) / deviation, arguments.get("weight"))
    return with_gradient_of(linear, function(*args, **kwargs))


def constant_root(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """RMS norm."""
    arguments = dict(zip(("input", "normalized_shape", "weight", "eps"), args, strict=False)) | kwargs
    x, shape = arguments["input"], arguments["normalized_shape"]
    eps = torch.finfo(x.dtype).eps if arguments.get("eps") is None else arguments["eps"]
    root = torch.sqrt((x.detach() ** 2).mean(tuple(range(-len(shape), 0)), keepdim=True) + eps)
    return with_gradient_of(_scaled(x / root, arguments.get("weight")), function(*args, **kwargs))


def constant_spread_of_groups(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """Group norm."""
    arguments = dict(zip(("input", "num_groups", "weight", "bias", "eps"), args, strict=False)) | kwargs
    x, weight = arguments["input"], arguments.get("weight")
    groups = x.reshape(len(x), arguments["num_groups"], -1)
    deviation = torch.sqrt(groups.detach().var(-1, unbiased=False, keepdim=True) + arguments.get("eps", 1e-5))
    linear = ((groups - groups.mean(-1, keepdim=True)) / deviation).reshape(x.shape)
    weight = None if weight is None else weight.reshape(-1, *[1] * (x.ndim - 2))
    return with_gradient_of(_scaled(linear, weight), function(*args, **kwargs))


def _scaled(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    return x if weight is None else x * weight


def attention(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """`torch.nn.functional.scaled_dot_product_attention`, taken apart."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
    arguments = dict(zip(names, args, strict=False)) | kwargs
    query, key, value = arguments["query"], arguments["key"], arguments["value"]
    if arguments.get("enable_gqa"):
        repeats = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    scale = query.shape[-1] ** -0.5 if arguments.get("scale") is None else arguments["scale"]
    query, key = halved(query * scale, key)
    logits = query @ key.transpose(-2, -1)
    mask = arguments.get("attn_mask")
    if arguments.get("is_causal"):
        mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else logits + mask
    weights, value = halved(logits.softmax(dim=-1), value)
    return with_gradient_of(weights @ value, function(*args, **kwargs))


def multi_head_attention(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The function of `torch.nn.MultiheadAttention`, taken apart; as it is with what image networks do not use."""
    names = ("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k",
             "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias")  # fmt: skip
    arguments = dict(zip(names, args, strict=False)) | kwargs
    rare = ("bias_k", "bias_v", "key_padding_mask", "static_k", "static_v")
    batched = arguments["query"].ndim == 3
    if not batched or arguments["add_zero_attn"] or any(arguments.get(name) is not None for name in rare):
        return function(*args, **kwargs)
    heads = arguments["num_heads"]
    if arguments.get("use_separate_proj_weight"):
        weights = [arguments[f"{part}_proj_weight"] for part in "qkv"]
    else:
        weights = arguments["in_proj_weight"].chunk(3)
    biases = [None] * 3 if arguments["in_proj_bias"] is None else arguments["in_proj_bias"].chunk(3)
    parts = [
        F.linear(arguments[name], weight, bias).unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)  # (B, heads, T, width)
        for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True)
    ]
    mixed = attention(F.scaled_dot_product_attention, tuple(parts), {"attn_mask": _mask(arguments, heads)})
    joined = mixed.permute(2, 0, 1, 3).flatten(-2)
    linear = F.linear(joined, arguments["out_proj_weight"], arguments["out_proj_bias"])
    values, shown = function(*args, **kwargs)
    return with_gradient_of(linear, values), shown


def _mask(arguments: dict[str, Any], heads: int) -> torch.Tensor | None:
    """The mask of `torch.nn.MultiheadAttention`, where True is what is left out, as that of dot-product attention."""
    mask = arguments.get("attn_mask")
    if mask is None:
        return None
    mask = mask.unflatten(0, (-1, heads)) if mask.ndim == 3 else mask
    return ~mask if mask.dtype == torch.bool else mask


ATTENTION_RULES: dict[str, FunctionRule] = {
    **dict.fromkeys(ACTIVATIONS, pass_elementwise),
    **dict.fromkeys(GATES, gate),
    **dict.fromkeys(("matmul", "rmatmul", "bmm", "mm"), half_product),
    "einsum": half_einsum,
    **dict.fromkeys(("mul", "multiply", "rmul"), gated_product),
    **dict.fromkeys(("div", "truediv", "true_divide"), constant_divisor),
    "normalize": pass_elementwise,
    **dict.fromkeys(("norm", "vector_norm", "linalg_vector_norm", "linalg_norm"), constant),
    "layer_norm": constant_spread,
    "rms_norm": constant_root,
    "group_norm": constant_spread_of_groups,
    "scaled_dot_product_attention": attention,
    "multi_head_attention_forward": multi_head_attention,
}
