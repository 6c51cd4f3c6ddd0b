"""Looking at, and changing, what modules and functions give during a pass.

A module goes by its name in ``model.named_modules()``. A function that a module's own code calls goes by the module's
name, a colon, and the function's name, with a number from the second call on: ``layer4.1:relu``, ``layer4.1:relu.1``.
So one call of a module that runs several times has a name too: ``layer4.1.relu:relu.1``. What goes into a module or a
function as its first argument goes by that name and ``<``: ``layer4.1.relu<``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

FUNCTION = ":"  # between a module's name and that of a function
INPUT = "<"  # after a name: what goes in, and not what comes out


class Call(NamedTuple):
    """What a function of torch is called with."""

    arguments: tuple[Any, ...]
    named: Mapping[str, Any]

    @property
    def first(self) -> Any:
        """The first argument, by its place or by the name that torch gives it."""
        return self.arguments[0] if self.arguments else self.named.get("input", self.named.get("self"))


Hook = Callable[[torch.Tensor], torch.Tensor | None]
Show = Callable[[str, torch.Tensor, Call], torch.Tensor | None]
Before = Callable[[str, torch.Tensor], None]
SAME = {"iadd": "add"}  # functions by another name


def is_function(name: str) -> bool:
    """Whether a name is that of a function's call, and not of a module."""
    return FUNCTION in name


def function_of(name: str) -> str:
    """The function that is called, without its module and number; "" for a module."""
    return name.partition(FUNCTION)[2].partition(".")[0]


@contextmanager
def hooked(model: nn.Module, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """A context in which every output named by `hooks` is shown to its hook, and replaced by what that returns, if any.
    An input is shown before it is used, and stays as it is.

    Raises
    ------
    KeyError
        There is no such module.
    """
    modules = dict(model.named_modules())
    called = {name: hook for name, hook in hooks.items() if is_function(name)}
    with ExitStack() as stack:
        for name, hook in hooks.items():
            if name in called:
                continue
            if name.endswith(INPUT):
                stack.callback(modules[name[:-1]].register_forward_pre_hook(_of_input(hook)).remove)
            else:
                stack.callback(modules[name].register_forward_hook(_of_module(hook)).remove)
        if called:
            within = {name.partition(FUNCTION)[0] for name in called}

            def show(name: str, output: torch.Tensor, _: Call) -> torch.Tensor | None:
                return called[name](output) if name in called else None

            def before(name: str, first: torch.Tensor) -> None:
                if name + INPUT in called:
                    called[name + INPUT](first)

            stack.enter_context(functions(model, show, within, before))
        yield


def _of_input(hook: Hook) -> Callable[[nn.Module, Any], None]:
    def show(module: nn.Module, inputs: Any) -> None:
        hook(inputs[0])

    return show


def main_tensor(output: Any) -> torch.Tensor | None:
    """The tensor that a module gives, or the first of a tuple: what goes on, with attention and the like behind it.

    None where that is no tensor, or where there is no telling which goes on: another has the same shape, or several are
    activations.
    """
    if isinstance(output, torch.Tensor):
        return output
    first = output[0] if isinstance(output, tuple) and output else None
    if not isinstance(first, torch.Tensor):
        return None
    others = [part for part in output[1:] if isinstance(part, torch.Tensor) and part is not first]
    alike = any(part.shape == first.shape for part in others) or sum(part.ndim > 2 for part in others) > 1
    return None if alike else first


def _of_module(hook: Hook) -> Callable[[nn.Module, Any, Any], Any]:
    def shown(module: nn.Module, inputs: Any, output: Any) -> Any:
        tensor = main_tensor(output)
        if tensor is None or tensor is output:
            return hook(output)
        changed = hook(tensor)
        if changed is None:
            return None
        parts = (changed, *(changed if part is tensor else part for part in output[1:]))
        return type(output)(*parts) if hasattr(output, "_fields") else parts

    return shown


@contextmanager
def functions(
    model: nn.Module, show: Show, within: Collection[str] | None = None, before: Before | None = None
) -> Iterator[None]:
    """A context in which the output of every function that modules call is shown, with its name, and may be replaced.

    Parameters
    ----------
    show : takes name, output and call; what it returns, if anything, takes the output's place
    within : names of the modules whose own calls matter; all where none is given
    before : takes name and first argument, before the function is called
    """
    modules = dict(model.named_modules())
    tracked = dict(modules)
    if within is not None:
        names = set(within) & modules.keys()
        tracked = {
            name: module for name, module in modules.items() if name in names or name.rpartition(".")[0] in names
        }
    running: list[str] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda module, inputs: running.append(name)

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        running.pop()

    with ExitStack() as stack:
        for name, module in tracked.items():
            stack.callback(module.register_forward_pre_hook(enter(name)).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        stack.enter_context(_Calls(running, show, within, before))
        yield


class _Calls(TorchFunctionMode):
    """Sees every function of torch that is called, and knows in which module that was."""

    def __init__(self, running: list[str], show: Show, within: Collection[str] | None, before: Before | None):
        super().__init__()
        self._running, self._show, self._within, self._before = running, show, within, before
        self._calls: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = Call(args, kwargs or {})
        module = self._running[-1] if self._running else None
        if module is None or (self._within is not None and module not in self._within):
            return func(*args, **call.named)
        function = getattr(func, "__name__", "").strip("_")
        name = f"{module}{FUNCTION}{SAME.get(function, function)}"
        earlier = self._calls[name]
        own = f"{name}.{earlier}" if earlier else name
        if self._before is not None and isinstance(call.first, torch.Tensor):
            self._before(own, call.first)
        output = func(*args, **call.named)
        if not isinstance(output, torch.Tensor):
            return output
        self._calls[name] += 1
        replaced = self._show(own, output, call)
        return output if replaced is None else replaced
