"""Whether the channels of a layer are a privileged basis: whether something acts on them one by one.

An element-wise nonlinearity gives each of its channels a meaning that no other direction has. What is a sum or a linear
map, and is read by linear maps alone, as the residual stream of a transformer or the bottleneck of an inverted residual
block, could be turned in any way without a change of the network (Elhage et al. 2023, Privileged Bases in the
Transformer Residual Stream).
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import prod

import torch
from torch import nn

from pure_cli.core.forward import run
from pure_cli.core.hooks import Call, function_of, functions, hooked
from pure_cli.errors import PureError
from pure_cli.models.layers import ACTIVATION_FUNCTIONS, Layer, check_leads_to, is_activation

ONE_BY_ONE = {
    "batch_norm", "instance_norm", "group_norm", "layer_norm", "dropout", "dropout2d", "feature_dropout",
    "alpha_dropout", "avg_pool2d", "max_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate", "pad",
    "flatten", "reshape", "view", "unflatten", "permute", "transpose", "movedim", "squeeze", "unsqueeze", "getitem",
    "mean", "amax", "sum", "roll", "clone", "contiguous", "float", "to", "type_as", "expand", "neg", "abs", "sub",
    "div",
}  # fmt: skip
CONVOLUTIONS = {"conv1d", "conv2d", "conv3d"}
PRODUCTS = {"mul", "multiply"}  # a gate scales channels
JOINED = {"cat", "concat", "stack", "add"}  # have a basis where all parts have one


@dataclass
class _Followed:
    """Tensors of a pass by their ids.

    Attributes
    ----------
    own : come out of something that acts on channels one by one
    read : go into something that does
    before : what the channels of each were in, one by one, before
    alive : all of them, so that no id is given again
    """

    own: set[int] = field(default_factory=set)
    read: set[int] = field(default_factory=set)
    before: dict[int, list[int]] = field(default_factory=dict)
    alive: list[object] = field(default_factory=list)

    def note(self, name: str, output: torch.Tensor, call: Call) -> None:
        """What a function of torch made."""
        function, parts = function_of(name), _tensors(call)
        self.alive += [output, *parts]
        ids = [id(part) for part in parts]
        if function in ACTIVATION_FUNCTIONS:
            self.mark_read(ids[:1])
            self.own.add(id(output))
        elif not _one_by_one(function, call):
            if function not in JOINED or not ids:
                return
            if all(part in self.own for part in ids):
                self.own.add(id(output))
            if function != "add":
                self.before.setdefault(id(output), []).extend(part for part in ids if part != id(output))
        else:
            used = ids if function in PRODUCTS else ids[:1]
            self.before.setdefault(id(output), []).extend(part for part in used if part != id(output))
            if any(part in self.own for part in used):
                self.own.add(id(output))

    def mark_read(self, ids: list[int]) -> None:
        """Something acts on the channels of these, and of what they were in before."""
        while ids:
            one = ids.pop()
            if one not in self.read:
                self.read.add(one)
                ids += self.before.get(one, [])


def _tensors(call: Call) -> list[torch.Tensor]:
    """The tensors that a function works on, those of its weights aside."""
    given = [call.first, *call.arguments[1:], *call.named.values()]
    flat = [part for value in given for part in (value if isinstance(value, list | tuple) else [value])]
    return [part for part in flat if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter)]


def _one_by_one(function: str, call: Call) -> bool:
    if function in CONVOLUTIONS:
        weight = call.arguments[1] if len(call.arguments) > 1 else call.named.get("weight")
        return isinstance(weight, torch.Tensor) and weight.shape[1] == 1 < weight.shape[0]
    if function == "add":
        return len(_tensors(call)) == 1
    return function in ONE_BY_ONE or function in PRODUCTS


def without_basis(model: nn.Module, image: torch.Tensor, names: Iterable[str]) -> list[str]:
    """Those of some layers of which the channels are no privileged basis.

    Parameters
    ----------
    model : in eval mode
    image : (1, 3, H, W) float
    names : of modules and functions that run once

    Returns
    -------
    list of str
        In the order of `names`. What the network itself gives has a basis: its classes.
    """
    wanted, seen, followed = list(dict.fromkeys(names)), dict[str, torch.Tensor](), _Followed()

    hooks = {name: partial(seen.__setitem__, name) for name in wanted}
    with torch.no_grad(), hooked(model, hooks), functions(model, followed.note):
        given = run(model, image)
    followed.mark_read([id(part) for part in (given if isinstance(given, list | tuple) else [given])])
    has_one = followed.own | followed.read
    return [name for name in wanted if name in seen and id(seen[name]) not in has_one]


def nearest_basis(model: nn.Module, image: torch.Tensor, layer: str, layers: list[Layer]) -> str:
    """What comes out of the last activation function before the end of a layer; "" where there is none to collect.

    Parameters
    ----------
    layers : of the model, as `models.layers.list_layers` has them
    """
    order = [other.name for other in layers]
    own = layers[order.index(layer)]
    for found in reversed(layers[: order.index(layer)]):
        usable = found.calls == 1 and found.shape and prod(found.extent) >= prod(own.extent)  # a gate has one position
        if usable and is_activation(found):
            with suppress(PureError):
                check_leads_to(model, image, layer, [found.name])
                return found.name
    return ""
