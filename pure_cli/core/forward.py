"""One pass of a network whose code may do anything: it works on a copy of the images, and cannot turn gradients off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import torch
import torch.utils.checkpoint
from torch import nn

from pure_cli.core.hooks import hooked
from pure_cli.errors import PureError

LOGITS = "logits"  # what transformers calls the outputs for classes


class NotReached(PureError):
    """A layer has no output for some image, or not one row for each.

    Attributes
    ----------
    layer : its name
    row : of the first image that does not reach it; None where each of them does, alone
    """

    def __init__(self, layer: str, row: int | None, image: str | None = None):
        self.layer, self.row = layer, row
        which = f"for {image}" if image else "for some images"
        if row is None:
            which = "with one row for each image of a batch, as it does for single images"
        super().__init__(
            f"The layer '{layer}' does not run {which}: what the network computes depends on its input. Choose a layer "
            "that every image goes through."
        )

    def with_image(self, image: str) -> NotReached:
        """The same, with a name for the image."""
        return NotReached(self.layer, self.row, image)


class _Enough(Exception):
    """No more of the network is needed."""


def run(model: nn.Module, images: torch.Tensor) -> Any:
    """The output of a network, which may change its input in place: `images` stay what they are.

    Of a network that gives several things by name, as those of transformers do, its logits where there are some.
    """
    return outputs_of(model(images.clone()))


def outputs_of(given: Any) -> Any:
    """What a network says of its classes: the tensor that it gave, or the one called logits among several."""
    if isinstance(given, torch.Tensor):
        return given
    logits = given.get(LOGITS) if isinstance(given, Mapping) else getattr(given, LOGITS, None)
    return logits if isinstance(logits, torch.Tensor) else given


def with_graph(model: nn.Module, images: torch.Tensor) -> Any:
    """As `run`, with a graph wherever something requires gradients, also where the network's own code turns them off.

    A backbone under ``no_grad`` says that nobody trained it, and not that what follows is no function of it.
    """
    with torch.enable_grad(), _gradients_kept():
        return run(model, images)


def rows_of(output: Any) -> int | None:
    """Rows of what a layer gave: 0 of nothing at all, None of what is no tensor with rows."""
    if output is None:
        return 0
    return len(output) if isinstance(output, torch.Tensor) and output.ndim else None


def require_rows(model: nn.Module, images: torch.Tensor, layer: str, rows: int | None) -> None:
    """Make sure that a layer gave a row for each image.

    Parameters
    ----------
    rows : that there are, by `rows_of`

    Raises
    ------
    NotReached
        There are others.
    """
    if rows in (None, len(images)):
        return
    for row in range(len(images)):
        found: list[int | None] = []

        def count(output: torch.Tensor, found: list[int | None] = found) -> None:
            found.append(rows_of(output))
            raise _Enough

        with torch.no_grad(), hooked(model, {layer: count}), suppress(_Enough):
            run(model, images[row : row + 1])
        if found != [1]:
            raise NotReached(layer, row)
    raise NotReached(layer, None)


@contextmanager
def _gradients_kept() -> Iterator[None]:
    """A context in which this thread cannot turn gradients off, nor compute without keeping what they need.

    ``no_grad``, ``set_grad_enabled(False)`` and ``inference_mode`` do nothing; checkpointing keeps activations in place
    of computing them again, when the hooks of a pass are gone. Custom functions do as they do.
    """
    checkpointing: Any = torch.utils.checkpoint
    with ExitStack() as stack:
        for owner, name, make in (
            (torch.no_grad, "__enter__", _enter_and_change_nothing),
            (torch.set_grad_enabled, "__init__", _turn_on_only),
            (torch.set_grad_enabled, "__enter__", _enter_turned_on_only),
            (torch.inference_mode, "__enter__", _enter_without_inference),
            (checkpointing.CheckpointFunction, "apply", _compute_plainly),
            (checkpointing._checkpoint_hook, "__enter__", _do_nothing),
            (checkpointing._checkpoint_hook, "__exit__", _do_nothing),
        ):
            stack.enter_context(_replaced_here(owner, name, make))
        yield


@contextmanager
def _replaced_here(owner: type, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """A context in which a method of a class is another one in this thread.

    Parameters
    ----------
    make : gives it, from the method as it is
    """
    here, before = threading.get_ident(), owner.__dict__.get(name)
    original = getattr(owner, name)
    new = make(original)

    def either(*args: Any, **kwargs: Any) -> Any:
        return (new if threading.get_ident() == here else original)(*args, **kwargs)

    setattr(owner, name, staticmethod(either) if name == "apply" else either)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _enter_and_change_nothing(original: Callable[..., None]) -> Callable[..., None]:
    def enter(self: Any) -> None:
        self.prev = torch.is_grad_enabled()

    return enter


def _turn_on_only(original: Callable[..., None]) -> Callable[..., None]:
    def begin(self: Any, mode: bool) -> None:
        original(self, bool(mode) or torch.is_grad_enabled())

    return begin


def _enter_turned_on_only(original: Callable[..., None]) -> Callable[..., None]:
    def enter(self: Any) -> None:
        if self.mode:
            original(self)

    return enter


def _enter_without_inference(original: Callable[..., None]) -> Callable[..., None]:
    def enter(self: Any) -> None:
        self._inference_mode_context = nullcontext()

    return enter


def _compute_plainly(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda function, preserve, *args: function(*args)


def _do_nothing(original: Callable[..., None]) -> Callable[..., None]:
    return lambda self, *error: None
