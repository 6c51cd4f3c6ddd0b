"""Relevance of lower channels for a neuron, with one forward pass for all neurons of an image.

The network runs to the lowest of the lower layers without a graph and from there to the layer with one; each backward
pass then serves one neuron of every image in the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from pure_cli.core.directions import CHANNELS, Channels
from pure_cli.core.forward import require_rows, rows_of, run, with_graph
from pure_cli.core.hooks import Hook, hooked
from pure_cli.core.layout import Patches, as_map, axis_of, channels_first, channels_second
from pure_cli.core.references import spatial_score
from pure_cli.core.saturation import Bound
from pure_cli.core.structure import ends_dense, learn
from pure_cli.errors import PureError

L1_EPSILON = 1e-10  # added to the norm, as in PURE


class _Reached(Exception):
    """The layer has been computed; the rest of the network is not needed."""


def forward_to(
    model: nn.Module,
    images: torch.Tensor,
    layer: str,
    lower_layers: Sequence[str] = (),
    change: Callable[[torch.Tensor], torch.Tensor] | None = None,
    bound: Bound | None = None,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Run a network until `layer`, with a graph from the first of `lower_layers` on.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    images : (B, 3, H, W) float; where they require a gradient, the graph begins at the images
    layer : name of the module or function at which to stop; names as in `pure_cli.core.hooks`
    lower_layers : names of those whose outputs are wanted too
    change : what the layer is computed of in place of each of these outputs
    bound : a nonlinearity that the layer ends with, to stop before

    Returns
    -------
    activation : the output of `layer`, or what goes into its `bound`, its channels on axis 1
    lower : the outputs of the lower layers, each part of the graph, their channels on axis 1

    Raises
    ------
    NotReached
        An image does not get to one of them, or a lower layer runs after `layer`.
    """
    found: dict[str, torch.Tensor] = {}
    lower: dict[str, torch.Tensor] = {}
    size = (images.shape[-2], images.shape[-1])
    learn(model, images)

    def stop(output: torch.Tensor) -> None:
        found[layer] = channels_second(output, size, ends_dense(model, layer))
        raise _Reached

    begins = {name: _begins_at(name, size, ends_dense(model, name), lower, change) for name in lower_layers}
    hooks = {**begins, bound.source if bound else layer: stop}
    with hooked(model, hooks), suppress(_Reached):
        with_graph(model, images)
    for name in [layer, *lower_layers]:
        require_rows(model, images, name, rows_of((found if name == layer else lower).get(name)))
    return found[layer], lower


def forward_through(
    model: nn.Module, images: torch.Tensor, layers: Sequence[str]
) -> tuple[Any, dict[str, torch.Tensor]]:
    """Run a whole network, with a graph from the first of `layers` on; parameters as of `forward_to`.

    Returns
    -------
    output : what the model gives
    found : the outputs of the layers, each part of the graph, their channels on axis 1

    Raises
    ------
    NotReached
        An image does not get to one of them.
    """
    found: dict[str, torch.Tensor] = {}
    size = (images.shape[-2], images.shape[-1])
    learn(model, images)
    hooks = {name: _begins_at(name, size, ends_dense(model, name), found) for name in layers}
    with hooked(model, hooks):
        output = with_graph(model, images)
    for name in layers:
        require_rows(model, images, name, rows_of(found.get(name)))
    return output, found


def _begins_at(
    name: str,
    size: tuple[int, int],
    dense: bool | None,
    found: dict[str, torch.Tensor],
    change: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Hook:
    """A hook that notes an output, with its channels on axis 1, and lets the graph begin there unless it has begun."""

    def hook(output: torch.Tensor) -> torch.Tensor | None:
        axis = 1 + axis_of(output, size, dense)
        begin = output.movedim(axis, 1)
        if change is not None:
            begin = change(begin).detach()
        if change is None and output.requires_grad:
            found[name] = begin
        else:
            found[name] = begin.detach().clone().requires_grad_()
            if not output.requires_grad and not output._is_view():
                with suppress(RuntimeError):  # of memory that several places share
                    output.copy_(found[name].movedim(1, axis))
                    return None  # whoever kept the output has the graph too
        return found[name].movedim(1, axis).clone()  # what follows may change its input in place

    return hook


@dataclass(frozen=True)
class Firing:
    """What a layer gives and how its neurons fire.

    Attributes
    ----------
    activation : what the layer gives
    firing : activations of its neurons; of channels behind a bound, what they would be without it
    ranked : what images are ranked by: firing; of channels behind a bound, what goes into it
    """

    activation: torch.Tensor
    firing: torch.Tensor
    ranked: torch.Tensor

    @classmethod
    def of(cls, end: torch.Tensor, neurons: Channels = CHANNELS, bound: Bound | None = None) -> "Firing":
        """Parameters: the layer's output, or what goes into its bound; what its neurons are; the bound."""
        end = end.detach()
        activation = bound.output(end) if bound else end
        if bound and neurons is CHANNELS:
            return cls(activation, bound.lifted(end), bound.ranked(end))
        read = neurons.read(activation)
        return cls(activation, read, read)

    def scores(self, pool: str = "max") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What images are ranked by, as of `references.spatial_score`; a mean or sum over space is of what the layer
        gives, also behind a bound."""
        values, positions, means = spatial_score(self.ranked, pool)
        if pool != "max" and self.ranked is not self.firing:
            values, *_ = spatial_score(self.activation, pool)
        return values, positions, means


def activations(
    model: nn.Module,
    images: torch.Tensor,
    layers: Sequence[str],
    read: Callable[[str, torch.Tensor], Any] | None = None,
    bounds: Mapping[str, Bound] | None = None,
) -> dict[str, Any]:
    """Outputs of several layers, running the network no further than the last of them needs.

    Parameters
    ----------
    model : in eval mode
    images : (B, 3, H, W) float
    layers : names of modules or functions, each of which runs once
    read : what is made of each layer's name and output, its channels on axis 1, as soon as it is there; what follows
        may change it in place
    bounds : of the layers that end with one: what goes in is read in place of their outputs

    Returns
    -------
    dict of name to activation, or what was made of it

    Raises
    ------
    NotReached
        An image does not get to one of the layers.
    """
    found: dict[str, Any] = {}
    rows: dict[str, int | None] = {}
    size = (images.shape[-2], images.shape[-1])
    learn(model, images)

    def keep(name: str) -> Hook:
        def hook(output: torch.Tensor) -> None:
            rows[name] = rows_of(output)
            activation, last = channels_second(output, size, ends_dense(model, name)), len(rows) == len(layers)
            if read is not None:
                found[name] = read(name, activation)
            else:  # what follows may change it in place
                found[name] = activation if last or not isinstance(activation, torch.Tensor) else activation.clone()
            if last:
                raise _Reached

        return hook

    hooks = {bounds[name].source if bounds and name in bounds else name: keep(name) for name in layers}
    with torch.inference_mode(), hooked(model, hooks), suppress(_Reached):
        run(model, images)
    for name in layers:
        require_rows(model, images, name, rows.get(name, 0))
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
    neurons : what the neurons of the layer are
    bound : a nonlinearity that the layer ends with

    Attributes
    ----------
    activation : the output of `layer`, detached
    firing : (B, C, S) activations of its neurons; of channels behind a bound, what they would be without it

    Notes
    -----
    Dreyer et al. 2024 (arXiv 2404.06453), section 3; equal to zennit-crp's ``CondAttribution`` with
    ``init_rel=lambda a: a.clamp(min=0)``. Behind a bound the backward pass begins without it, at
    `saturation.Bound.lifted`: where the layer is not saturated, that is the layer.
    """

    model: nn.Module
    images: torch.Tensor
    layer: str
    lower_layers: Sequence[str]
    lrp: bool = False
    neurons: Channels = CHANNELS
    bound: Bound | None = None
    activation: torch.Tensor = field(init=False)
    firing: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        end, self._lower = self._run(self.images, self.lower_layers)
        self._seen = Firing.of(end, self.neurons, self.bound)
        self.activation, self.firing = self._seen.activation, channels_first(self._seen.firing)
        self._output = self._begin(end)

    def scores(self, pool: str = "max") -> torch.Tensor:
        """(B, C) float32, what collect ranks the images by."""
        return self._seen.scores(pool)[0]

    def _run(
        self,
        images: torch.Tensor,
        lower_layers: Sequence[str],
        change: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """As `forward_to`, up to the layer or its bound."""
        return forward_to(self.model, images, self.layer, lower_layers, change, self.bound)

    def _begin(self, end: torch.Tensor) -> torch.Tensor:
        """Of what goes into the bound, where the backward pass begins: relevance goes through a nonlinearity as it is,
        gradients as if it had no upper bound."""
        return end if self.bound is None or self.lrp else self.bound.lifted(end)

    def maxima(self, which: torch.Tensor) -> torch.Tensor:
        """(m,) int64, flat over space: where neurons (m,) of the first images fire most."""
        return self.firing[torch.arange(len(which), device=which.device), which].argmax(dim=-1)

    def relevance(
        self, which: torch.Tensor, last: bool = False, positions: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Relevance of every lower channel for one neuron of each image, divided by its L1 norm.

        Parameters and shapes as of `summed`.
        """
        return {name: l1_normalised(values)[0] for name, values in self.summed(which, last, positions).items()}

    def summed(
        self, which: torch.Tensor, last: bool = False, positions: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Relevance of every lower channel for one neuron of each image, summed over space.

        Parameters
        ----------
        which : (m,) int64 with m <= B: the neuron for each of the first m images
        last : no further call will follow, the graph may be freed
        positions : (m,) int64, flat over space: the only ones at which the neuron counts; all do where it is None

        Returns
        -------
        dict of lower layer to (m, D) float32; zeros where the neuron does not fire
        """
        arrived = self.arriving(which, last, positions)
        return {name: self.relevance_of(name, gradient, len(which)) for name, gradient in arrived.items()}

    def arriving(
        self, which: torch.Tensor, last: bool = False, positions: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """What a backward pass from one neuron of each image brings to every lower layer, in the layer's own shape: a
        gradient, or relevance where that is handed on; parameters as of `summed`."""
        fired = self.firing[torch.arange(len(which), device=which.device), which].clamp(min=0)
        if positions is not None:
            fired = fired * nn.functional.one_hot(positions.clamp(min=0), fired.shape[1])
        start = self._start(which, fired)
        lower = [self._lower[name] for name in self.lower_layers]
        gradients = torch.autograd.grad(self._output, lower, start, retain_graph=not last)
        return dict(zip(self.lower_layers, gradients, strict=True))

    def handed_on(self, upper: str, arrived: torch.Tensor, lower: str) -> torch.Tensor:
        """What arrives at a lower layer of what arrived at another one above it, as `arriving` gives both.

        With all channels of `arrived` but one at zero, it is what flows through that channel (Achtibat et al. 2023,
        arXiv 2206.03208: concept-conditional relevance).
        """
        (found,) = torch.autograd.grad(self._lower[upper], self._lower[lower], arrived, retain_graph=True)
        return found

    def relevance_of(self, name: str, arrived: torch.Tensor, m: int) -> torch.Tensor:
        """Relevance (m, D) float32 of a lower layer's channels over space, by what arrived there."""
        return self._summed(arrived[:m], self._lower[name].detach()[:m])

    def lower(self, name: str) -> torch.Tensor:
        """The output of a lower layer, (B, D, …), detached."""
        return self._lower[name].detach()

    def _start(self, which: torch.Tensor, fired: torch.Tensor) -> torch.Tensor:
        """Where the backward pass begins, for relevances `fired` (m, S) of neurons `which`."""
        return self.neurons.start(self.activation, which, fired, self.lrp)

    def lower_mean(self) -> dict[str, torch.Tensor]:
        """(B, D) float32 activations of every lower layer, their means over space."""
        return {name: channels_first(lower.detach()).float().mean(dim=-1) for name, lower in self._lower.items()}

    def _summed(self, gradient: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
        """Relevance (m, D) float32 of channels, over space."""
        if self.lrp:
            return channels_first(gradient).float().sum(dim=-1)
        if gradient.ndim == 4:  # by pixel, without a copy where channels are last in memory
            return torch.einsum("bchw,bchw->bc", gradient.float(), activation.float())
        return (channels_first(gradient).float() * channels_first(activation).float()).sum(dim=-1)


def l1_normalised(summed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Relevances (m, D) divided by their L1 norm + 1e-10, as PURE has them, and these (m,)."""
    norm = summed.abs().sum(dim=-1, keepdim=True) + L1_EPSILON
    return summed / norm, norm[:, 0]


def normalised_arrays(summed: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """`l1_normalised` as arrays."""
    relevance, norm = l1_normalised(summed)
    return relevance.cpu().numpy(), norm.cpu().numpy()


@dataclass
class Heatmaps:
    """CRP heatmaps for one batch of images: one forward pass, then the heatmap of any neuron for each image.

    Parameters
    ----------
    model : in eval mode, parameters without gradients, with a composite of LRP rules registered
    images : (B, 3, H, W) float
    layer : whose neurons are asked about
    neurons : what they are
    bound : a nonlinearity that the layer ends with: relevance goes through it as it is

    Notes
    -----
    Equal to zennit-crp's ``FeatureVisualization.get_max_reference`` with ``rf=True``: relevance starts as the
    activation at one position.
    """

    model: nn.Module
    images: torch.Tensor
    layer: str
    neurons: Channels = CHANNELS
    bound: Bound | None = None

    def __post_init__(self) -> None:
        self._pixels = self.images.detach().requires_grad_()
        self._output, _ = forward_to(self.model, self._pixels, self.layer, bound=self.bound)
        if not self._output.requires_grad:
            raise PureError(
                f"What {type(self.model).__name__} computes between the image and '{self.layer}' has no gradient, and "
                "so no heatmap. Use --crop activation or --crop none."
            )
        seen = Firing.of(self._output, self.neurons, self.bound)
        self._activation, self._firing = seen.activation, channels_first(seen.firing)

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
        fired = torch.zeros_like(self._firing[: len(channels), 0])
        fired[rows, positions] = self._firing[rows, channels, positions]
        start = self._start(channels, fired)
        (gradient,) = torch.autograd.grad(self._output, self._pixels, start, retain_graph=not last)
        return self._relevance(gradient)[: len(channels)].sum(dim=1)

    def _start(self, which: torch.Tensor, fired: torch.Tensor) -> torch.Tensor:
        """As of `Circuits`."""
        return self.neurons.start(self._activation, which, fired, lrp=True)

    def _relevance(self, gradient: torch.Tensor) -> torch.Tensor:
        """Relevance (B, 3, H, W) of the pixels."""
        return gradient


def activation_maps(
    activation: torch.Tensor, channels: torch.Tensor, size: tuple[int, int], grid: Patches | None = None
) -> torch.Tensor:
    """Where one neuron of each image fires, enlarged to the image: far cheaper than a heatmap, and coarser.

    Parameters
    ----------
    activation : (B, C, h, w) or (B, C, T) of a layer's neurons
    channels : (m,) int64 with m <= B
    size : (H, W) of the images
    grid : where tokens lie on the image

    Returns
    -------
    (m, H, W) float, not negative, bilinear between the positions; tokens that stand for no place are left out

    Raises
    ------
    ValueError
        The positions are no grid over the image.
    """
    chosen = as_map(activation[torch.arange(len(channels), device=channels.device), channels].clamp(min=0), grid)
    if chosen is None:
        raise ValueError(f"activations of shape {tuple(activation.shape)} are no map over the image")
    return torch.nn.functional.interpolate(chosen[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
