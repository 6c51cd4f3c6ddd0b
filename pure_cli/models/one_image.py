"""Whether a network is a function of one image: the same each time, and whatever else is in the batch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pure_cli.core.circuits import activations
from pure_cli.core.forward import run
from pure_cli.core.hooks import FUNCTION, Call, function_of, functions
from pure_cli.core.memory import is_out_of_memory
from pure_cli.core.structure import learn
from pure_cli.errors import PureError
from pure_cli.models.not_finite import tensors
from pure_cli.models.plain import copied

TOLERANCE = 1e-4  # of a layer's largest output; kernels for other batch sizes differ by 1e-5 at most
ULPS = 16  # the same in numbers of few bits
TRIES = 16  # passes that look for chance, where random numbers are drawn and two passes agree
SAMPLE = 4096  # numbers of each tensor that are held against each other to find where a difference begins
JUNK = ("empty", "empty_like", "new_empty")  # whatever was in the memory


def require_one_image(
    model: nn.Module, one: torch.Tensor, other: torch.Tensor | None, layers: Sequence[str]
) -> str | None:
    """Make sure that layers give for an image what they give for it each time, and beside another.

    Parameters
    ----------
    model : in eval mode
    one, other : (1, 3, H, W) float; None where there is no other
    layers : names of modules or functions

    Returns
    -------
    str or None
        A sentence for the user, where random numbers are drawn that made no difference so far.

    Raises
    ------
    PureError
        They do not; it names the module where the difference begins.
    NotReached
        One of the images does not get to a layer.

    Notes
    -----
    A difference in float32 counts where it is there in float64 too: rounding is not, however a network amplifies it.
    """
    learn(model, one)  # which runs the whole network
    drawn = _Drawn()
    differs = _differs(model, one, other, layers)
    by_chance = bool(drawn)
    if differs is None and by_chance:
        differs = _repeats_differ(model, one, layers)
    if differs is None:
        told = f"{type(model).__name__} draws random numbers in eval mode too; no output differed by that so far."
        return told if by_chance else None
    with suppress(RuntimeError, TypeError, NotImplementedError):  # a network may have its own mind on its precision
        precise = copied(model).double()
        again = _differs(precise, one.double(), None if other is None else other.double(), layers)
        if again is None and not by_chance:
            return None
        model, one, other = precise, one.double(), None if other is None else other.double()
    raise PureError(_sentence(model, one, other, differs, by_chance))


def _differs(model: nn.Module, one: torch.Tensor, other: torch.Tensor | None, layers: Sequence[str]) -> int | None:
    """Which of the two images, 0 or 1, has another output beside the other than alone; None where neither has."""
    images = [one] if other is None else [one, other]
    try:
        together = activations(model, torch.cat(images), layers)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return _differs(model, one, None, layers) if len(images) == 2 else None
    for row, image in enumerate(images):
        alone = activations(model, image, layers)
        for name in layers:
            if _apart(alone[name], together[name][row : row + 1]):
                return row
    return None


def _repeats_differ(model: nn.Module, one: torch.Tensor, layers: Sequence[str]) -> int | None:
    """0 where some pass over an image gives another output; None where none does."""
    first = activations(model, one, layers)
    for _ in range(TRIES):
        again = activations(model, one, layers)
        if any(_apart(first[name], again[name]) for name in layers):
            return 0
    return None


def _apart(found: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> bool:
    """Whether two outputs differ by more than rounding."""
    if found.shape != expected.shape:
        return True
    found, expected = found.detach(), expected.detach()
    if found.is_floating_point():
        tolerance = max(tolerance, ULPS * torch.finfo(found.dtype).eps)
    found, expected = found.double().nan_to_num(), expected.double().nan_to_num()
    if not found.numel():
        return False
    return bool((found - expected).abs().max() > tolerance * torch.maximum(found.abs().max(), expected.abs().max()))


class _Drawn:
    """True once random numbers were drawn since it was made."""

    def __init__(self) -> None:
        self._before = self._states()

    def __bool__(self) -> bool:
        return self._states() != self._before

    @staticmethod
    def _states() -> tuple[Any, ...]:
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - what networks may draw from
        own = (random.getstate(), str(kind), np.asarray(keys).tobytes(), *rest, torch.get_rng_state().numpy().tobytes())
        there = torch.cuda.is_available() and torch.cuda.is_initialized()
        return (*own, torch.cuda.get_rng_state().numpy().tobytes() if there else b"")


@dataclass
class _Step:
    """A module or function that ran.

    Attributes
    ----------
    name : as in `pure_cli.core.hooks`
    inputs, outputs : shape and sample of each tensor
    """

    name: str
    inputs: list[tuple[tuple[int, ...], torch.Tensor]]
    outputs: list[tuple[tuple[int, ...], torch.Tensor]]


def _trace(model: nn.Module, images: torch.Tensor, like: list[_Step] | None = None, row: int = 0) -> list[_Step]:
    """All steps of a pass, in the order in which they ended.

    Parameters
    ----------
    like : of one of the images alone, where there are two
    row : of that image
    """
    steps: list[_Step] = []
    begun: list[Any] = []

    def samples(content: Any, part: str) -> list[tuple[tuple[int, ...], torch.Tensor]]:
        known = getattr(like[len(steps)], part) if like is not None and len(steps) < len(like) else []
        found = []
        with torch._C.DisableTorchFunction():  # which is no function of the network's
            for i, tensor in enumerate(tensors(content)):
                shape = known[i][0] if i < len(known) else tuple(tensor.shape)
                own = _of_row(tensor, shape, row)
                found.append((tuple(own.shape), own.detach().reshape(-1)[:: max(1, own.numel() // SAMPLE)].clone()))
        return found

    def before(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        with torch._C.DisableTorchFunction():
            begun.append([tensor.detach().clone() for tensor in tensors((inputs, named))])

    def after(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        steps.append(_Step(names[module], samples(begun.pop(), "inputs"), samples(output, "outputs")))

    def note(name: str, output: torch.Tensor, call: Call) -> None:
        if function_of(name) not in JUNK:
            steps.append(_Step(name, samples(call.first, "inputs"), samples(output, "outputs")))

    names = {module: name for name, module in model.named_modules()}
    with ExitStack() as stack, torch.no_grad():
        for module in names:
            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(after, with_kwargs=True).remove)
        stack.enter_context(functions(model, note))
        run(model, images)
    return steps


def _of_row(tensor: torch.Tensor, shape: tuple[int, ...], row: int) -> torch.Tensor:
    """The part of a tensor that belongs to one of two images, whose tensor alone has this shape."""
    if len(shape) == tensor.ndim and tuple(tensor.shape) != shape:
        longer = [axis for axis in range(tensor.ndim) if tensor.shape[axis] != shape[axis]]
        if len(longer) == 1 and tensor.shape[longer[0]] == 2 * shape[longer[0]]:
            return tensor.narrow(longer[0], row * shape[longer[0]], shape[longer[0]])
    return tensor


def _first_apart(found: list[_Step], expected: list[_Step]) -> str:
    """The first step that was given the same and gave something else; "" stands for the model as a whole."""

    def apart(
        some: list[tuple[tuple[int, ...], torch.Tensor]], others: list[tuple[tuple[int, ...], torch.Tensor]]
    ) -> bool:
        if len(some) != len(others):
            return True
        return any(_apart(one, other, TOLERANCE) for (_, one), (_, other) in zip(some, others, strict=True))

    for one, other in zip(found, expected, strict=False):
        if one.name != other.name:
            return one.name.partition(FUNCTION)[0]
        if apart(one.outputs, other.outputs) and not apart(one.inputs, other.inputs):
            return one.name
    return ""


def _sentence(model: nn.Module, one: torch.Tensor, other: torch.Tensor | None, row: int, by_chance: bool) -> str:
    """What is wrong, where it begins, and what to do."""
    image = one if row == 0 or other is None else other
    alone = _trace(model, image)
    again = _trace(model, image)
    name = _first_apart(alone, again)
    repeats = not any(_apart(a, b) for x, y in zip(alone, again, strict=False)
                      for (_, a), (_, b) in zip(x.outputs, y.outputs, strict=False))  # fmt: skip
    if repeats and other is not None and not by_chance:
        name = _first_apart(_trace(model, torch.cat([one, other]), alone, row), alone)
        what = f"What {type(model).__name__} gives for an image depends on the other images of its batch"
    else:
        what = f"{type(model).__name__} gives another output for the same image each time"
    return f"{what}: that begins at {_where(model, name)}{_why(model, name, by_chance)}"


def _where(model: nn.Module, name: str) -> str:
    owner, function = name.partition(FUNCTION)[0], function_of(name)
    module = model.get_submodule(owner)
    own = type(module).__module__.startswith("torch.nn.")
    place = f"'{owner}' ({type(module).__name__})" if owner else f"the forward() of {type(module).__name__}"
    return f"{function}() in {place}" if function and not own else place


def _why(model: nn.Module, name: str, by_chance: bool) -> str:
    module = model.get_submodule(name.partition(FUNCTION)[0])
    if module.training:
        return ", which is in training mode in spite of eval(). Return a network that eval() reaches as a whole."
    if getattr(module, "running_mean", 0) is None:
        return (
            ", which keeps no running statistics and takes those of the batch. Return a network with "
            "track_running_stats=True and trained statistics, or with another norm."
        )
    if "dropout" in function_of(name):
        return ", which drops at random in eval mode too. Pass training=self.training to it."
    if by_chance:
        return ", which draws at random in eval mode too. Return a network that draws nothing."
    return ". Return a network that computes each image on its own, and the same each time."
