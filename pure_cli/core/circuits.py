"""Relevance of lower channels for a neuron, with one forward pass for all neurons of an image.

The network runs to the lowest of the lower layers without a graph and from there to the layer with one; each backward
pass then serves one neuron of every image in the batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch
from torch import nn
from zennit.core import Composite

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
    with torch.no_grad(), _hooks([(modules[name], keep(name)) for name in layers]), suppress(_Reached):
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
        self._start = channels_first(self.activation).clamp(min=0)

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
        start = torch.zeros_like(self._start)
        start[rows, channels] = self._start[rows, channels]
        gradients = torch.autograd.grad(
            self._output,
            [self._lower[name] for name in self.lower_layers],
            like_activation(start, self.activation),
            retain_graph=not last,
        )
        found = {}
        for name, gradient in zip(self.lower_layers, gradients, strict=True):
            gradient = gradient[: len(channels)]
            if not self.lrp:
                gradient = gradient * self._lower[name].detach()[: len(channels)]
            summed = channels_first(gradient).sum(dim=-1)
            found[name] = summed / (summed.abs().sum(dim=-1, keepdim=True) + L1_EPSILON)
        return found


def heatmaps(
    model: nn.Module, composite: Composite, images: torch.Tensor, layer: str, wanted: Sequence[tuple[int, int, int]]
) -> torch.Tensor:
    """CRP heatmaps: relevance of the pixels for neurons at one position each, the forward pass shared by all.

    Parameters
    ----------
    model : in eval mode, parameters without gradients
    composite : LRP rules with the canonizers that the network needs
    images : (B, 3, H, W) float
    layer : whose neurons are asked about
    wanted : for each heatmap the row in `images`, the channel, and the flat position in space (-1: no space)

    Returns
    -------
    (len(wanted), H, W) float, summed over colours, signed

    Notes
    -----
    Equal to zennit-crp's ``FeatureVisualization.get_max_reference`` with ``rf=True``: relevance starts as the
    activation at the position.
    """
    found = torch.zeros(len(wanted), *images.shape[-2:], dtype=images.dtype, device=images.device)
    with composite.context(model) as modified:
        images = images.detach().requires_grad_()
        output, _ = forward_to(modified, images, layer)
        flat = channels_first(output.detach())
        for chosen in _rounds([row for row, _, _ in wanted]):
            start = torch.zeros_like(flat)
            for i in chosen:
                row, channel, position = wanted[i]
                start[row, channel, max(position, 0)] = flat[row, channel, max(position, 0)]
            (gradient,) = torch.autograd.grad(output, images, like_activation(start, output), retain_graph=True)
            rows = [wanted[i][0] for i in chosen]
            found[chosen] = gradient[rows].sum(dim=1)
    return found


def _rounds(rows: Sequence[int]) -> Iterator[list[int]]:
    """Deal entries into rounds in which each row occurs at most once."""
    left = list(range(len(rows)))
    while left:
        seen: set[int] = set()
        chosen = [i for i in left if not (rows[i] in seen or seen.add(rows[i]))]  # type: ignore[func-returns-value]
        taken = set(chosen)
        left = [i for i in left if i not in taken]
        yield chosen
