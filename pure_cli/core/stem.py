"""What comes before a place in a network, in a form that can be kept for each image, for passes that begin there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import nn

from pure_cli.core.circuits import activations
from pure_cli.core.hooks import Hook
from pure_cli.core.memory import is_out_of_memory
from pure_cli.core.prefix import Prefix, is_without_values, prefixes

TOLERANCE = 1e-3  # of the layer's largest output, by which it may differ where the pass begins at the place


@dataclass(frozen=True)
class Stem:
    """What comes before a place.

    Attributes
    ----------
    kept : module to the shape of its output for one image, of those whose values passes from there need
    others : the same of modules that need not be computed, and whose values nothing uses
    channels_last : modules of `kept` whose outputs lie so in memory
    size : (H, W) of the images
    in_place : what follows may change outputs in place whose values nothing uses
    """

    kept: Mapping[str, tuple[int, ...]]
    others: Mapping[str, tuple[int, ...]]
    channels_last: frozenset[str]
    size: tuple[int, int]
    in_place: bool = False

    @property
    def width(self) -> int:
        """Numbers to an image."""
        return sum(map(prod, self.kept.values()))

    def without(self, name: str) -> Stem:
        """The same without the values of a module."""
        kept = {other: shape for other, shape in self.kept.items() if other != name}
        return replace(self, kept=kept, others={**self.others, name: self.kept[name]})

    def hooks(self, found: dict[str, torch.Tensor]) -> dict[str, Hook]:
        """Hooks that note what is kept, for `pure_cli.core.hooks.hooked`; what follows may change it in place."""

        def keep(name: str) -> Hook:
            def hook(output: torch.Tensor) -> None:
                found[name] = output.detach().clone()

            return hook

        return {name: keep(name) for name in self.kept}

    def rows(self, found: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(B, W) what is kept of images, from the outputs of the modules."""
        return torch.cat([found[name].flatten(1) for name in self.kept], dim=1)

    @contextmanager
    def given(self, model: nn.Module, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        """A context in which passes of the network begin behind the place.

        Parameters
        ----------
        rows : (B, W) float, of `rows`, on the network's device

        Yields
        ------
        (B, 3, H, W)
            Images without values to run the network on.
        """
        nothing = rows.new_full((1, 1, 1, 1), torch.nan)
        outputs = {name: nothing.reshape((1,) * (1 + len(shape))).expand(len(rows), *shape)
                   for name, shape in self.others.items()}  # fmt: skip
        parts = torch.split(rows, [prod(shape) for shape in self.kept.values()], dim=1)
        for (name, shape), part in zip(self.kept.items(), parts, strict=True):
            output = part.reshape(len(rows), *shape)
            is_last = name in self.channels_last
            outputs[name] = output.contiguous(memory_format=torch.channels_last) if is_last else output
        with Prefix(outputs).given(model, self.in_place):
            yield nothing.expand(len(rows), 3, *self.size)


def stem_of(model: nn.Module, images: torch.Tensor, places: Sequence[str], layer: str) -> Stem | None:
    """What comes before the first of some places that a pass reaches.

    Parameters
    ----------
    model : in eval mode
    images : (B, 3, H, W) float, two or more, on which the network is run
    places : modules or functions
    layer : whose output has to be the same where passes begin at the place

    Returns
    -------
    Stem or None
        None where passes cannot begin there: what the network computes before it is used in other ways too.
    """
    order: list[str] = []
    activations(model, images, places, lambda name, _: order.append(name))
    with prefixes(model, order[:1]) as before:
        expected = activations(model, images, [layer])[layer]
    outputs = before[order[0]].outputs
    if not outputs or any(len(one) != len(images) or one.dtype != torch.float32 for one in outputs.values()):
        return None

    def is_enough(stem: Stem) -> bool:
        return _is_enough(stem, model, stem.rows(outputs), layer, expected)

    stem = _of_outputs(outputs, (images.shape[-2], images.shape[-1]))
    enough = next((one for one in (stem, replace(stem, in_place=True)) if is_enough(one)), None)
    for name in list(stem.kept):
        if enough and len(enough.kept) > 1 and is_enough(less := enough.without(name)):
            enough = less
    return enough


def _of_outputs(outputs: Mapping[str, torch.Tensor], size: tuple[int, int]) -> Stem:
    """All outputs that have values are kept."""
    kept = {name: one for name, one in outputs.items() if not is_without_values(one)}
    return Stem(
        {name: tuple(one.shape[1:]) for name, one in kept.items()},
        {name: tuple(one.shape[1:]) for name, one in outputs.items() if name not in kept},
        frozenset(name for name, one in kept.items() if _is_channels_last(one)),
        size,
    )


def _is_channels_last(output: torch.Tensor) -> bool:
    return output.ndim == 4 and output.is_contiguous(memory_format=torch.channels_last)


def _is_enough(stem: Stem, model: nn.Module, rows: torch.Tensor, layer: str, expected: torch.Tensor) -> bool:
    """Whether a pass from there gives what the whole one does."""
    try:
        with stem.given(model, rows) as unknown:
            found = activations(model, unknown, [layer])[layer]
    except RuntimeError as error:  # what has no values is changed in place
        if is_out_of_memory(error):
            raise
        return False
    return found.shape == expected.shape and bool(
        ((found - expected).abs() <= TOLERANCE * expected.abs().max()).all()  # not so of NaN
    )
