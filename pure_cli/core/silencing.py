"""The outputs of a network without parts of channels: one whole pass, and one from the layer on for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from pure_cli.core.editing import channels_scaled
from pure_cli.core.forward import run
from pure_cli.core.hooks import Hook, hooked
from pure_cli.core.layout import channels_first, channels_second
from pure_cli.core.prefix import Prefix, prefixes
from pure_cli.core.structure import ends_dense, learn

SAME = 1e-5  # of the largest output, by which a pass that begins at a layer may differ from the whole one


class Silencing:
    """A network on some images, with parts of channels silenced one time after the other.

    A pass begins at the layer, where that is one and the network gives the same that way, and is a whole one elsewhere.

    Parameters
    ----------
    model : in eval mode
    images : (B, 3, H, W) float
    layers : modules or functions whose channels are to be silenced

    Attributes
    ----------
    outputs : (B, K) float32, of the network as it is; None where it gives something else
    highest : by layer, (B, C) float32, the highest activation over space, at least 0
    """

    def __init__(self, model: nn.Module, images: torch.Tensor, layers: Sequence[str]):
        learn(model, images)
        self._model, self._images = model, images
        self.highest: dict[str, torch.Tensor] = {}
        layers = list(dict.fromkeys(layers))
        with (
            torch.no_grad(),
            prefixes(model, layers) as before,
            hooked(model, {one: self._note(one) for one in layers}),
        ):
            outputs = run(model, images)
        is_one = isinstance(outputs, torch.Tensor) and outputs.ndim == 2
        self.outputs: torch.Tensor | None = outputs.float() if is_one else None
        self._before = {layer: before[layer] if self._is_enough(before[layer]) else Prefix() for layer in layers}

    def without(self, parts: Mapping[str, Mapping[int, torch.Tensor]]) -> torch.Tensor:
        """(B, K) float32, the outputs without parts of some channels.

        Parameters
        ----------
        parts : by layer and channel, (B,) from 0, nothing of it, to 1, all of it
        """
        factors = {
            layer: {channel: 1 - part.to(self._images.device) for channel, part in own.items()}
            for layer, own in parts.items()
        }
        before = self._before[next(iter(parts))] if len(parts) == 1 else Prefix()
        with torch.no_grad(), before.given(self._model), channels_scaled(self._model, self._images, factors):
            output: torch.Tensor = run(self._model, self._images)
        return output.float()

    def _note(self, layer: str) -> Hook:
        size = (self._images.shape[-2], self._images.shape[-1])

        def hook(output: torch.Tensor) -> None:
            values = channels_first(channels_second(output, size, ends_dense(self._model, layer)))
            self.highest[layer] = values.amax(dim=-1).clamp(min=0).float()

        return hook

    def _is_enough(self, before: Prefix) -> bool:
        """Whether a pass from there gives what the whole one does."""
        if self.outputs is None or not before.outputs:
            return False
        with torch.no_grad(), before.given(self._model):
            found = run(self._model, self._images).float()
        largest = self.outputs.abs().max()
        return bool(((found - self.outputs).abs() <= SAME * largest).all())  # not so of NaN
