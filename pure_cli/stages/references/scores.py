"""How collect ranks the images of a neuron: by its activation, or by its relevance for the model's output."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.core.directions import AT, module_of
from pure_cli.data.labels import BY_NAME, BY_NUMBER, misnumbered
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.settings.collect import CollectSettings
from pure_cli.stages.embeddings.crops import HEATMAPS_SHARE
from pure_cli.stages.references.given import GivenOutputs
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, named_images
from pure_cli.stages.runtime.network import Network
from pure_cli.words import counted, printable

if TYPE_CHECKING:
    import torch

    from pure_cli.core.saturation import Bound
    from pure_cli.data.loader import Batch

Scored = dict[str, "tuple[torch.Tensor, torch.Tensor, torch.Tensor]"]
"""Layer to values (B, C) float32, positions (B, C) int, and means over space (B, C) float32, where the network is."""


class LayerScores:
    """Scores of all neurons of some layers in batches of images; a context in which rules are in force.

    Parameters
    ----------
    network : as it was loaded
    layers : names of layers
    settings : of collect
    listing : the images
    given : what the layers' modules give, where that is known; batches are of these then, and not of images

    Attributes
    ----------
    notes : what the user should know
    share : how much more memory an image takes than in a plain forward pass
    outputs : as given, or None
    bounds : by layer, the bounded nonlinearity that it ends with and by whose input its channels are ranked

    Raises
    ------
    PureError
        Relevance cannot be computed for these layers, or the images have no labels that could be targets.
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[str],
        settings: CollectSettings,
        listing: Listing,
        given: GivenOutputs | None = None,
    ):
        self._layers, self._settings, self._listing, self.outputs = layers, settings, listing, given
        self._modules = list(dict.fromkeys(module_of(name) for name in layers))
        self.notes: list[str] = []
        self._adaptive_batches = AdaptiveBatches(self.notes)
        self.share = 1 if settings.by == "activation" else HEATMAPS_SHARE
        self._rules: AbstractContextManager = nullcontext()
        example = first_image(listing, network)
        self.bounds: dict[str, Bound] = {}
        if settings.by == "activation":
            self._of_activations(network, example)
        else:
            self._of_relevance(network, example)

    def _of_relevance(self, network: Network, example: torch.Tensor) -> None:
        """Scores are relevances for an output of each image."""
        if any(AT in name for name in self._layers):
            raise PureError("Directions have no relevance of their own. Leave out --by relevance, or the directions.")
        self._network, self._by_label = network, self._settings.target == "label"
        self._rule = self._chosen(example)
        outputs, labels = self._outputs(example), self._listing.labels[self._listing.index]
        if self._settings.target is None:
            reason = why_no_outputs(self._listing, labels, outputs)
            self._by_label = not reason
            told = "labels (--target)" if self._by_label else f"predicted classes (--target): {reason}"
            self.notes.append(f"Relevance is that for the images' {told}.")
        elif self._by_label and self._listing.order == BY_NAME and len(self._listing.names) != outputs:
            raise PureError(
                f"The {counted(len(self._listing.names), 'class name')} of the images do not say which of the model's "
                f"{outputs:,} outputs they are. Pass a list of images with these numbers, or use --target predicted."
            )
        elif self._by_label and labels.min(initial=0) < 0:
            raise PureError(f"{_unlabelled(labels).capitalize()}. Use --target predicted.")
        elif self._by_label and labels.max(initial=0) >= outputs:
            raise PureError(
                f"There are labels up to {labels.max()}, and the model has {outputs} outputs, from 0 on. "
                "Use --target predicted, or pass a list of the images with other labels."
            )
        if self._by_label:
            self.notes += order_notes(self._listing)

    def _of_activations(self, network: Network, example: torch.Tensor) -> None:
        """Scores are activations; those of channels behind a bound are what goes into it."""
        ends = self._modules if self.outputs is None else []  # outputs are behind what a module ends with
        self._bounds = {module: bound for module in ends if (bound := network.bound_of(module, example))}
        by_input = [name for name in self._layers if AT not in name and module_of(name) in self._bounds]
        self.bounds = {name: self._bounds[name] for name in by_input if self._settings.pooled == "max"}
        self.notes += [_told(name, bound) for name, bound in self.bounds.items()]
        self._network = network.ready(example, self._modules) if self.outputs is None else network

    def replicas(self) -> list[LayerScores]:
        """These, and the same on each of the other devices of the network."""
        if self.outputs is not None:
            return [self]
        found = [self]
        for network in self._network.replicas()[1:]:
            other = copy(self)
            other._network, other._rules = network, nullcontext()
            found.append(other)
        return found

    @property
    def device(self) -> torch.device:
        """Where they are computed."""
        return self._network.device

    def __enter__(self) -> LayerScores:
        if self._settings.by == "relevance":
            from pure_cli.models.rules import in_force

            self._rules = in_force(self._rule, self._network.model)
        self._rules.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._rules.__exit__(*error)

    def score(self, batch: Batch) -> Scored:
        """Scores of the images of a batch; nothing here waits for the device."""
        import torch

        parts: list[Scored] = []
        self._adaptive_batches.each(
            len(batch.index),
            lambda start, stop: parts.append(self._named(batch.images[start:stop], batch.index[start:stop])),
        )
        if len(parts) == 1:
            return parts[0]
        joined = {name: zip(*(part[name] for part in parts), strict=True) for name in parts[0]}
        return {name: tuple(map(torch.cat, each)) for name, each in joined.items()}  # type: ignore[misc]

    def _named(self, images: torch.Tensor, index: np.ndarray) -> Scored:
        with named_images(self._listing, index):
            return self._of(images, index)

    def _of(self, images: torch.Tensor, index: np.ndarray) -> Scored:
        from pure_cli.core.circuits import activations

        if self.outputs is not None:
            given = self.outputs.of_modules(images.to(self._network.device))
            read = {module: self._read(module, given[module]) for module in self._modules}
            return {name: read[module_of(name)][name] for name in self._layers}
        inputs = self._network.inputs(images)
        if self._settings.by == "relevance":
            return self._relevance(inputs, index)
        found = activations(self._network.model, inputs, self._modules, self._read, self._bounds)
        return {name: found[module_of(name)][name] for name in self._layers}

    def _read(self, module: str, end: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Scores of all neurons in a module, by their layer, from its output or what goes into its bound."""
        from pure_cli.core.circuits import Firing

        scored = {}
        for name in self._layers:
            if module_of(name) == module:
                firing = Firing.of(end, self._network.neurons(name), self._bounds.get(module))
                scored[name] = firing.scores(self._settings.pooled)
        return scored

    def _relevance(self, inputs: torch.Tensor, images: np.ndarray) -> Scored:
        import torch

        from pure_cli.core.output_relevance import output_relevance, relevance_score
        from pure_cli.models.rules import RULES

        targets = torch.from_numpy(self._listing.labels[images]).to(inputs.device) if self._by_label else None
        try:
            found = output_relevance(self._network.model, inputs, self._layers, targets, RULES[self._rule].hooks)
        except ValueError as error:
            raise PureError(f"Relevance cannot be computed: {error}. Use --by activation.") from None
        return {name: relevance_score(*parts, self._settings.pooled) for name, parts in found.items()}

    def _chosen(self, example: torch.Tensor) -> str:
        """The rule; what of the network it does not fit is noted."""
        from pure_cli.models.layers import check_rules, list_layers, repeated
        from pure_cli.models.rules import RULES, heatmap_rule, missing_canonizer

        model, image = self._network.model, self._network.inputs(example)
        ran = list_layers(model, image)
        rule = self._settings.rule or heatmap_rule(model, repeated(model, ran, ran[-1].name) is not None)
        if not RULES[rule].of_outputs:
            raise PureError(f"--by relevance knows no {rule}. Choose another --rule.")
        if RULES[rule].hooks:
            check_rules(model, ran, ran[-1].name)
        if misfit := missing_canonizer(rule, model, image, ran[-1].name):
            self.notes.append(misfit)
        return rule

    def _outputs(self, example: torch.Tensor) -> int:
        """How many outputs the model has."""
        import torch

        from pure_cli.core.forward import run

        with torch.no_grad():
            output = run(self._network.model, self._network.inputs(example))
        if not isinstance(output, torch.Tensor) or output.ndim != 2:
            raise PureError("The model gives no outputs (B, K) that relevance could be for. Use --by activation.")
        return output.shape[1]


def why_no_outputs(listing: Listing, labels: np.ndarray, outputs: int) -> str:
    """Why the labels do not say which of the outputs they are; "" where they do."""
    if labels.min(initial=0) < 0:
        return _unlabelled(labels)
    if labels.max(initial=0) >= outputs:
        return f"there are labels up to {labels.max()}, and the model has {outputs:,} outputs, from 0 on"
    if len(listing.names) in (0, outputs):
        return ""
    there = f"there are {counted(len(listing.names), 'class name')} for the model's {outputs:,} outputs"
    if listing.order == BY_NAME:
        return f"{there}, and nothing says which of them they are"
    return f"{there}; where class n is output n, use --target label"


def _unlabelled(labels: np.ndarray) -> str:
    return "not every image has a label" if labels.max(initial=-1) >= 0 else "no image has a label"


def order_notes(listing: Listing) -> list[str]:
    """Sentences on which class each output is taken for, where the images alone do not say it."""
    names = listing.names
    if listing.order == BY_NUMBER:
        return [
            "The names of the classes are numbers, and output 2 is taken for the class '2' (torchvision's ImageFolder "
            "would put '10' before it)."
        ]
    if listing.order == BY_NAME and len(names) > 1:
        codes = listing.codes or names
        return [
            "The model's outputs are taken for the classes in the order of their names, as torchvision's ImageFolder "
            f"has them: '{printable(codes[0])}' is output 0, '{printable(codes[-1])}' output {len(codes) - 1}."
        ]
    odd = misnumbered(names)
    if odd < 0:
        return []
    return [f"Output {odd} is taken for the class '{names[odd]}', which has this number in the data."]


def _told(layer: str, bound: Bound) -> str:
    return (
        f"'{layer}' ends with {bound.name}, which gives {bound.highest:g} at most: its neurons are ranked by what "
        "goes into it."
    )
