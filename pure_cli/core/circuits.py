"""Relevance of lower channels for a neuron, with one forward pass for all neurons of an image.

The network runs to the lowest of the lower layers without a graph and from there to the layer with one; each backward
pass then serves one neuron of every image in the batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch
from torch import nn

from pure_cli.core.layout import channels_first, like_activation

L1_EPSILON = 1e-10  # added to the norm, as in PURE


class _Reached(Exception):
    """The layer has been computed; the rest of the network is not needed."""


@contextmanager
def _hooks(pairs: Sequence[tuple[nn.Module, object]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in pairs]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def forward_to(
    model: nn.Module, images: torch.Tensor, layer: str, lower_layers: Sequence[str] = ()
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Run a network until `layer`, with a graph from the first of `lower_layers` on.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    images : (B, 3, H, W) float; where they require a gradient, the graph begins at the images
    layer : name of the module at which to stop
    lower_layers : names of modules whose outputs are wanted too

    Returns
    -------
    activation : the output of `layer`
    lower : the outputs of the lower layers that ran before it, each part of the graph
    """
    found: dict[str, torch.Tensor] = {}
    lower: dict[str, torch.Tensor] = {}

    def begin(name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
            torch.set_grad_enabled(True)
            lower[name] = output if output.requires_grad else output.detach().requires_grad_()
            return lower[name].clone()  # what follows may change its input in place

        return hook

    def stop(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        found[layer] = output
        raise _Reached

    modules = dict(model.named_modules())
    pairs = [(modules[name], begin(name)) for name in lower_layers] + [(modules[layer], stop)]
    with torch.set_grad_enabled(images.requires_grad), _hooks(pairs), suppress(_Reached):
        model(images)
    return found[layer], lower


def activations(model: nn.Module, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
    """Outputs of several layers, running the network no further than the last of them needs.

    Parameters
    ----------
    model : in eval mode
    images : (B, 3, H, W) float
    layers : names of modules, each of which runs once

    Returns
    -------
    dict of name to activation
    """
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            found[name] = output
            if len(found) == len(layers):
                raise _Reached

        return hook

    modules = dict(model.named_modules())
    with torch.inference_mode(), _hooks([(modules[name], keep(name)) for name in layers]), suppress(_Reached):
        model(images)
    return found


@dataclass
class Circuits:
    """The circuits of one batch of images: one forward pass, then relevances of any neuron for each image.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    images : (B, 3, H, W) float
    layer : whose neurons are asked about
    lower_layers : to whose channels their activation is attributed
    lrp : the gradients are relevances already, since a composite of LRP rules is registered with the model;
        otherwise they are multiplied with the activations of the lower layer

    Attributes
    ----------
    activation : the output of `layer`, detached

    Notes
    -----
    Dreyer et al. 2024 (arXiv 2404.06453), section 3; equal to zennit-crp's ``CondAttribution`` with
    ``init_rel=lambda a: a.clamp(min=0)``.
    """

    model: nn.Module
    images: torch.Tensor
    layer: str
    lower_layers: Sequence[str]
    lrp: bool = False
    activation: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._output, self._lower = forward_to(self.model, self.images, self.layer, self.lower_layers)
        self.activation = self._output.detach()

    def relevance(self, channels: torch.Tensor, last: bool = False) -> dict[str, torch.Tensor]:
        """Relevance of every lower channel for one neuron of each image.

        Parameters
        ----------
        channels : (m,) int64 with m <= B: the neuron for each of the first m images
        last : no further call will follow, the graph may be freed

        Returns
        -------
        dict of lower layer to (m, D) float: summed over space, divided by the L1 norm + 1e-10; zeros where the
        neuron does not fire
        """
        rows = torch.arange(len(channels), device=self.activation.device)
        own = (rows, slice(None), channels) if self.activation.ndim == 3 else (rows, channels)
        start = torch.zeros_like(self.activation)  # in the same layout in memory
        start[own] = self.activation[own].clamp(min=0)
        lower = [self._lower[name] for name in self.lower_layers]
        gradients = torch.autograd.grad(self._output, lower, start, retain_graph=not last)
        found = {}
        for name, gradient in zip(self.lower_layers, gradients, strict=True):
            summed = self._summed(gradient[: len(channels)], self._lower[name].detach()[: len(channels)])
            found[name] = summed / (summed.abs().sum(dim=-1, keepdim=True) + L1_EPSILON)
        return found

    def _summed(self, gradient: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
        """Relevance (m, D) float32 of channels, over space."""
        if self.lrp:
            return channels_first(gradient).float().sum(dim=-1)
        if gradient.ndim == 4:  # by pixel, without a copy where channels are last in memory
            return torch.einsum("bchw,bchw->bc", gradient.float(), activation.float())
        return (channels_first(gradient).float() * channels_first(activation).float()).sum(dim=-1)


@dataclass
class Heatmaps:
    """CRP heatmaps for one batch of images: one forward pass, then the heatmap of any neuron for each image.

    Parameters
    ----------
    model : in eval mode, parameters without gradients, with a composite of LRP rules registered
    images : (B, 3, H, W) float
    layer : whose neurons are asked about

    Notes
    -----
    Equal to zennit-crp's ``FeatureVisualization.get_max_reference`` with ``rf=True``: relevance starts as the
    activation at one position.
    """

    model: nn.Module
    images: torch.Tensor
    layer: str

    def __post_init__(self) -> None:
        self._pixels = self.images.detach().requires_grad_()
        self._output, _ = forward_to(self.model, self._pixels, self.layer)
        self._activation = channels_first(self._output.detach())

    def at(self, channels: torch.Tensor, positions: torch.Tensor, last: bool = False) -> torch.Tensor:
        """Relevance of the pixels for one neuron of each image, at one position.

        Parameters
        ----------
        channels : (m,) int64 with m <= B: the neuron for each of the first m images
        positions : (m,) int64, flat over space; -1 where the layer has no space
        last : no further call will follow, the graph may be freed

        Returns
        -------
        (m, H, W) float, summed over colours, signed
        """
        rows, positions = torch.arange(len(channels), device=channels.device), positions.clamp(min=0)
        start = torch.zeros_like(self._activation)
        start[rows, channels, positions] = self._activation[rows, channels, positions]
        (gradient,) = torch.autograd.grad(
            self._output, self._pixels, like_activation(start, self._output), retain_graph=not last
        )
        return gradient[: len(channels)].sum(dim=1)


def activation_maps(activation: torch.Tensor, channels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Where one neuron of each image fires, enlarged to the image: far cheaper than a heatmap, and coarser.

    Parameters
    ----------
    activation : (B, C, h, w) of a layer
    channels : (m,) int64 with m <= B
    size : (H, W) of the images

    Returns
    -------
    (m, H, W) float, not negative, bilinear between the positions
    """
    chosen = activation[torch.arange(len(channels), device=channels.device), channels].clamp(min=0)
    return torch.nn.functional.interpolate(chosen[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
