"""What one pass over a network shows of its layers, and where the channels of each are.

What was found out about a network is kept with it, and goes into its copies, so that every stage reads the same axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from pure_cli.core.hooks import functions, main_tensor
from pure_cli.core.memory import is_out_of_memory
from pure_cli.core.roles import Roles, followed, roles_of

FOUND, DECLARED = (
    "_pure_channels_found",
    "_pure_channels_said",
)  # attributes of a model: name of a layer to `ends_dense`
FUNCTION_KIND = "function"
LAST = "last"


@dataclass(frozen=True)
class Seen:
    """A module or a function of torch that ran.

    Attributes
    ----------
    kind : class of the module, or "function"
    shape : of its output, images first; None where it is no single tensor with a row for each image
    calls : how often it ran
    roles : of the axes of its output
    """

    kind: str
    shape: tuple[int, ...] | None
    calls: int
    roles: Roles


@dataclass
class Observed:
    """A pass over a network.

    Attributes
    ----------
    layers : by name, in the order in which they finished
    grids : (rows, columns) of the maps that were laid out as tokens
    """

    layers: dict[str, Seen] = field(default_factory=dict)
    grids: set[tuple[int, int]] = field(default_factory=set)


def observe(model: nn.Module, images: torch.Tensor) -> Observed:
    """Run a network and look at all that gives a tensor; what it shows of the channels is kept with the model.

    Parameters
    ----------
    model : in eval mode
    images : (B, 3, H, W) float; that windows or heads take the place of images is seen with two
    """
    names = {module: name for name, module in model.named_modules() if name}
    seen = Observed()

    def note(name: str, kind: str, output: object) -> None:
        tensor, calls = main_tensor(output), 1
        if name in seen.layers:
            calls += seen.layers.pop(name).calls
        whole = tensor is not None and 2 <= tensor.ndim <= 4 and len(tensor) == len(images)
        whole = whole and tensor is not None and not tensor.is_complex()
        shape = tuple(tensor.shape) if tensor is not None and whole else None
        seen.layers[name] = Seen(kind, shape, calls, roles_of(tensor) if tensor is not None else Roles([]))

    def of_module(module: nn.Module, _: object, output: object) -> None:
        note(names[module], type(module).__name__, output)

    def of_function(name: str, output: torch.Tensor, _: object) -> None:
        note(name, FUNCTION_KIND, output)

    images = images.detach().clone()
    handles = [module.register_forward_hook(of_module) for module in names]
    try:
        with torch.no_grad(), followed(images) as passed, functions(model, of_function):
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    seen.grids = passed.grids
    model.__dict__[FOUND] = {name: _dense(layer.roles) for name, layer in seen.layers.items()}
    return seen


def _dense(roles: Roles) -> bool | None:
    axis, last = roles.channels, len(roles.axes) - 1
    return None if axis is None or not 0 < axis in (1, last) else axis == last


def learn(model: nn.Module, images: torch.Tensor) -> None:
    """Make sure that the model's channels were looked for."""
    if FOUND not in model.__dict__:
        try:
            observe(model, images[:1].expand(2, -1, -1, -1))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            observe(model, images[:1])  # a last resort


def declare_channel_axes(model: nn.Module, axes: Mapping[str, str], layers: Iterable[str]) -> None:
    """Declare where the channels of some layers are; that counts more than what is seen.

    Parameters
    ----------
    axes : name of a layer to "first" or "last"; "" for all of `layers`
    """
    whole = {**dict.fromkeys(layers, axes[""]), **axes} if "" in axes else axes
    model.__dict__[DECLARED] = {layer: axis == LAST for layer, axis in whole.items() if layer}


def declared_channel_axes(model: nn.Module) -> Mapping[str, bool]:
    """Layer to whether its channels were declared to be the last axis."""
    return model.__dict__.get(DECLARED, {})


def same_channels(copy: nn.Module, model: nn.Module) -> None:
    """Keep with the copy of a model what is known of the model."""
    copy.__dict__.update({key: model.__dict__[key] for key in (FOUND, DECLARED) if key in model.__dict__})


def ends_dense(model: nn.Module, name: str) -> bool | None:
    """Whether the channels of a layer's output are its last axis, as linear layers and layer norms have them, or its
    first, as convolutions and batch norms do; None where neither is known.

    Parameters
    ----------
    model : after `learn`
    name : of a module or function, as in `pure_cli.core.hooks`
    """
    found: bool | None = declared_channel_axes(model).get(name, model.__dict__.get(FOUND, {}).get(name))
    return found
