"""Passes over the same images that leave out what comes before a place in the network, where nothing is changed; and
passes that begin at a place, with what it gives in place of images.

What the modules gave that end before the place stands in for computing it again. All but the last two of each part of
the network (one may run again later, and is computed then) are taken to be used up by then: stand-ins without values
take their place, and where something uses them all the same, the result is no finite number and tells it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pure_cli.core.hooks import FUNCTION, hooked, is_function


@dataclass
class Prefix:
    """What the modules that end before a place gave for some images.

    Attributes
    ----------
    outputs : of each, by name
    """

    outputs: dict[str, torch.Tensor] = field(default_factory=dict)

    @contextmanager
    def given(self, model: nn.Module, in_place: bool = True) -> Iterator[None]:
        """A context in which these modules give that without computing it; for passes over the same images.

        Parameters
        ----------
        in_place : what follows may change stand-ins without values in place, which takes memory for all their numbers;
            it is a RuntimeError otherwise
        """
        modules = dict(model.named_modules())
        with ExitStack() as stack:
            for name, output in self.outputs.items():
                own = modules[name].__dict__
                stack.callback(_put_back, own, own.get("forward"))
                own["forward"] = _giving(output, in_place)
            yield


def _giving(output: torch.Tensor, in_place: bool) -> Callable[..., torch.Tensor]:
    if not in_place and is_without_values(output):
        return lambda *_, **__: output
    return lambda *_, **__: output.clone()  # what follows may change it in place


def _put_back(own: dict[str, Any], forward: Any) -> None:
    if forward is None:
        del own["forward"]
    else:
        own["forward"] = forward


@contextmanager
def prefixes(model: nn.Module, places: Sequence[str]) -> Iterator[dict[str, Prefix]]:
    """A context in which one pass shows what comes before some modules or functions; a module's own output belongs to
    it.

    Yields
    ------
    dict of place to Prefix, filled when the context ends; empty ones where the pass did not get there
    """
    found, seen = {place: Prefix() for place in places}, _Seen(set(places))
    modules = {name: module for name, module in model.named_modules() if name and _can_stand_in(module)}
    with ExitStack() as stack:
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(seen.leaving(name)).remove)
        calls = {place: seen.reaching(place) for place in places if is_function(place)}
        stack.enter_context(hooked(model, calls))
        yield found
    for place, outputs in seen.before.items():
        found[place].outputs = {name: output for name, output in outputs.items() if seen.calls[name] == 1}


@contextmanager
def begun_at(model: nn.Module, place: str, given: torch.Tensor, size: tuple[int, int]) -> Iterator[torch.Tensor]:
    """A context in which a module or function gives other activations, whatever the network runs on.

    Parameters
    ----------
    given : (B, …) in the layout of what the module gives
    size : (H, W) of the images that it would come from

    Yields
    ------
    (B, 3, H, W)
        Images without values to run the network on: what uses them around the place is no finite number and tells it.
    """
    with hooked(model, {place: lambda _: given.clone()}):  # what follows may change it in place
        yield given.detach().new_full((len(given), 3, *size), torch.nan)


def _can_stand_in(module: nn.Module) -> bool:
    return not isinstance(module, torch.jit.ScriptModule)


class _Seen:
    """The modules that have ended, each without those in it, while a pass runs.

    Attributes
    ----------
    before : by place, what had ended there
    calls : of each module, in the whole pass
    """

    def __init__(self, places: set[str]):
        self._places = places
        self._ended: dict[str, torch.Tensor] = {}
        self.before: dict[str, dict[str, torch.Tensor]] = {}
        self.calls: Counter[str] = Counter()

    def leaving(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        owner = name.rpartition(".")[0]

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self.calls[name] += 1
            if len(self.before) == len(self._places) or not isinstance(output, torch.Tensor):
                return
            for other in [other for other in self._ended if other.startswith(f"{name}.")]:
                del self._ended[other]
            self._ended.pop(name, None)
            beside = [other for other in self._ended if other.rpartition(".")[0] == owner]
            for other in beside[:-1]:
                self._ended[other] = _without_values(self._ended[other])
            self._ended[name] = output if is_without_values(output) else output.detach().clone()
            if name in self._places:
                self.before[name] = dict(self._ended)

        return hook

    def reaching(self, place: str) -> Callable[[torch.Tensor], None]:
        def hook(_: torch.Tensor) -> None:
            inside = place.partition(FUNCTION)[0]
            self.before[place] = {name: output for name, output in self._ended.items() if name != inside}

        return hook


def _without_values(output: torch.Tensor) -> torch.Tensor:
    """Of the same shape, in the memory of a single number, which is none."""
    if not output.is_floating_point():
        return output
    return output.new_full((1,) * output.ndim, torch.nan).expand(output.shape)


def is_without_values(output: torch.Tensor) -> bool:
    """Whether an output is a stand-in, all of whose numbers are one in memory."""
    return output.numel() > 1 and output.untyped_storage().nbytes() == output.element_size()
