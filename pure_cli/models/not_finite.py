"""Where in a network the numbers break off: the first module that makes NaN or infinity of finite input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from pure_cli.core.forward import run


def where_not_finite(model: nn.Module, images: torch.Tensor) -> str | None:
    """In a sentence, where activations that are not finite begin; None where all are.

    Parameters
    ----------
    model : in eval mode
    images : (B, 3, H, W) float
    """
    found: list[str] = []
    given_finite: list[bool] = []  # of the modules that have begun and not ended

    def before(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        given_finite.append(_finite((inputs, named)))

    def after(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        if given_finite.pop() and not found and not _finite(output):
            found.append(names[module])

    names = {module: name for name, module in model.named_modules()}
    handles: list[Any] = [module.register_forward_pre_hook(before, with_kwargs=True) for module in names]
    handles += [module.register_forward_hook(after, with_kwargs=True) for module in names]
    try:
        with torch.no_grad():
            run(model, images)
    finally:
        for handle in handles:
            handle.remove()
    return _sentence(found[0], model.get_submodule(found[0])) if found else None


def _sentence(name: str, module: nn.Module) -> str:
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    broken = [key for key, values in own if not _finite(values)]
    where = f"'{name}' ({type(module).__name__})" if name else f"the end of the model ({type(module).__name__})"
    if broken:
        return f"They begin at {where}, with some in its {' and '.join(broken)} already: the weights are broken."
    return f"They begin at {where}, whose own weights are sound."


def _finite(content: Any) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors(content))


def tensors(content: Any) -> Iterator[torch.Tensor]:
    """The tensors of floats in tuples, lists and tables."""
    if isinstance(content, torch.Tensor):
        if content.is_floating_point() or content.is_complex():
            yield content
    elif isinstance(content, Mapping):
        yield from tensors(list(content.values()))
    elif isinstance(content, tuple | list):
        for part in content:
            yield from tensors(part)
