"""Merge batch norm into the convolution before it: the same function, fewer passes over the maps.

Which batch norm follows which convolution is seen in a pass over an image, so that any network can be merged, however
its code is written. That nothing else uses what lies between is seen in a pass in which only the batch norm gets it.
"""

import math
from collections.abc import Callable, Collection
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pure_cli.core.circuits import activations
from pure_cli.core.forward import run
from pure_cli.core.memory import is_out_of_memory

Maker = TypeVar("Maker", bound=nn.Module)
Follower = TypeVar("Follower", bound=nn.Module)
TOLERANCE = 1e-3  # of the largest output; a wrong merge changes much more, rounding much less


def fuse_batch_norm(model: nn.Module, image: torch.Tensor, keep: Collection[str]) -> int:
    """Merge what can be merged, in place.

    Parameters
    ----------
    model : in eval mode
    image : (1, 3, H, W) float, that it takes
    keep : names of modules whose outputs stay what they were

    Returns
    -------
    int
        Batch norms merged; 0 where the merged network would not be the same.
    """
    pairs = _pairs(model, image, keep)
    if not pairs:
        return 0
    before = activations(model, image, list(keep))
    undo = [(conv, conv.weight, conv.bias, norm) for conv, norm in pairs]
    names = {module: name for name, module in model.named_modules()}
    for conv, norm in pairs:
        _merge(conv, norm)
        _put(model, names[norm], nn.Identity())
    after = activations(model, image, list(keep))
    if all(near(after[name], before[name]) for name in keep):
        return len(pairs)
    for conv, weight, bias, norm in undo:
        conv.weight, conv.bias = weight, bias
        _put(model, names[norm], norm)
    return 0


def _pairs(model: nn.Module, image: torch.Tensor, keep: Collection[str]) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and the batch norms that take their outputs, each used once, where nobody looks between."""
    seen = pairs_seen(
        model,
        image,
        lambda module: type(module) is nn.Conv2d,
        lambda module: type(module) is nn.BatchNorm2d and module.running_mean is not None,
    )
    kept = {module for name, module in model.named_modules() if name in keep}
    alone = [
        (conv, norm)
        for conv, norm in seen
        if isinstance(conv, nn.Conv2d)
        and isinstance(norm, nn.BatchNorm2d)
        and conv not in kept
        and conv._parameters.keys() == {"weight", "bias"}  # not made anew by a hook at each pass
        and not conv._forward_hooks
        and not norm._forward_pre_hooks
    ]
    return unseen_by_others(alone, lambda: list(activations(model, image, list(keep)).values()))


def pairs_seen(
    model: nn.Module,
    image: torch.Tensor,
    linear: Callable[[nn.Module], bool],
    norm: Callable[[nn.Module], bool],
) -> list[tuple[nn.Module, nn.Module]]:
    """Linear layers and the batch norms that take their outputs, each used once in a pass.

    Parameters
    ----------
    model : in eval mode
    image : (1, 3, H, W) float, that it takes
    linear, norm : which modules count as what
    """
    made: dict[int, tuple[nn.Module, torch.Tensor]] = {}  # the tensors too, so that their ids stay theirs
    taken: dict[nn.Module, nn.Module | None] = {}
    calls: dict[nn.Module, int] = {}

    def make(module: nn.Module, _: object, output: torch.Tensor) -> None:
        calls[module] = calls.get(module, 0) + 1
        made[id(output)] = (module, output)

    def take(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        calls[module] = calls.get(module, 0) + 1
        taken[module] = made[id(inputs[0])][0] if id(inputs[0]) in made else None

    handles = []
    for module in model.modules():
        if linear(module):
            handles.append(module.register_forward_hook(make))
        elif norm(module):
            handles.append(module.register_forward_pre_hook(take))
    try:
        with torch.no_grad():
            run(model, image)
    finally:
        for handle in handles:
            handle.remove()
    makers = [maker for maker in taken.values() if maker is not None]
    return [
        (maker, follower)
        for follower, maker in taken.items()
        if maker is not None and calls[maker] == calls[follower] == 1 and makers.count(maker) == 1
    ]


def unseen_by_others(
    pairs: list[tuple[Maker, Follower]], look: Callable[[], list[torch.Tensor]]
) -> list[tuple[Maker, Follower]]:
    """The pairs of a linear layer and a batch norm where nothing but the batch norm uses what lies between.

    A merged network's outputs would not tell: the batch norms of an untrained one change next to nothing.

    Parameters
    ----------
    pairs : from `pairs_seen`
    look : runs the network over an image and gives all outputs that count
    """
    with torch.no_grad():
        return _all_hidden(pairs, look, look())


def _all_hidden(
    pairs: list[tuple[Maker, Follower]], look: Callable[[], list[torch.Tensor]], expected: list[torch.Tensor]
) -> list[tuple[Maker, Follower]]:
    """Those that are `_hidden`; where not all are, each half is looked at for itself: no pair
    hides what another one shows."""
    if not pairs or _hidden(pairs, look, expected):
        return pairs
    half = len(pairs) // 2
    return [pair for part in (pairs[:half], pairs[half:]) if half for pair in _all_hidden(part, look, expected)]


def _hidden(
    pairs: Collection[tuple[nn.Module, nn.Module]], look: Callable[[], list[torch.Tensor]], expected: list[torch.Tensor]
) -> bool:
    """Whether outputs stay what they are when all but the batch norms get NaN for what lies between."""
    between: dict[nn.Module, torch.Tensor] = {}

    def hide(linear: nn.Module, _: object, output: torch.Tensor) -> torch.Tensor:
        between[linear] = output
        return torch.full_like(output, math.nan)

    def show(linear: nn.Module) -> Callable[..., tuple[torch.Tensor, ...]]:
        return lambda norm, inputs: (between.pop(linear), *inputs[1:])

    handles = []
    for linear, norm in pairs:
        handles += [linear.register_forward_hook(hide), norm.register_forward_pre_hook(show(linear))]
    try:
        found = look()
    except Exception as error:  # the network's own code may refuse NaN in any way
        if is_out_of_memory(error):
            raise
        return False
    finally:
        for handle in handles:
            handle.remove()
    return all(
        torch.equal(one.isnan(), other.isnan()) and near(one.nan_to_num(), other.nan_to_num())
        for one, other in zip(found, expected, strict=True)
    )


def _merge(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    kind = conv.weight.dtype
    weight, bias, scale, shift = (
        None if values is None else values.double() for values in (conv.weight, conv.bias, norm.weight, norm.bias)
    )
    assert weight is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    merged = fuse_conv_bn_weights(weight, bias, mean, variance, norm.eps, scale, shift)
    conv.weight, conv.bias = (nn.Parameter(values.detach().to(kind), requires_grad=False) for values in merged)


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


def gives_the_same(model: nn.Module, plain: nn.Module, image: torch.Tensor, layers: Collection[str]) -> bool:
    """Whether layers of a changed copy of a network give what those of the network give.

    Parameters
    ----------
    model, plain : the copy, and the network, in eval mode
    image : (1, 3, H, W) float
    layers : names of modules or functions
    """
    expected = activations(plain, image.contiguous(), list(layers))
    try:
        found = activations(model, image, list(layers))
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return False
    return all(near(found[name], expected[name]) for name in layers)


def near(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether a merge may have made two outputs of one: they differ by no more than `TOLERANCE`."""
    return bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max())
