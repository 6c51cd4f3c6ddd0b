"""Features of references, of whatever kind, neuron by neuron; and whether what they were made from is up to date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pure_cli.artifacts import (
    AttributedLayer,
    Clustering,
    Collected,
    NeuronRows,
    lower_width,
    need_calibration,
    need_layers,
    read_activations,
    read_attributed,
    read_calibrations,
    read_collected,
    read_norms,
    read_relevances,
    read_rows,
    read_rows_index,
)
from pure_cli.core.assignment import Assigner
from pure_cli.core.directions import module_of
from pure_cli.core.features import AT, HIDDEN_KIND, KINDS, LOWER_ACTIVATION, PURE, Kind, joined, transformed
from pure_cli.core.neurons import choose_neurons
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError, unknown
from pure_cli.models.spec import parse_model
from pure_cli.provenance import Provenance, Status
from pure_cli.settings.shared import AUTO, FLOAT32, HIDDEN, RECIPES, USUAL
from pure_cli.stages.inputs.freshness import Inputs, attribute_provenance, inputs_now, read_earlier
from pure_cli.stages.runtime.images import images_of
from pure_cli.workspace import Store

GONE = Status("its references are gone")
RULE, NULLS = "gap", 100  # by which k is chosen; see pure_cli.core.meanings
EMBEDDING = "embedding"  # the data set of embed.h5 with the rows


@dataclass(frozen=True)
class FeatureSource:
    """One kind of features of the references of a layer.

    Attributes
    ----------
    layer, features : which
    neuron : (N,) int64, the neurons that have them
    lower_layers : where relevances or activations are taken, none for other features
    made_from : what anything made of them is made from
    command : that adds neurons
    """

    store: Store
    layer: str
    features: str
    neuron: np.ndarray
    lower_layers: list[str]
    made_from: dict[str, Any]
    command: str
    attributed: AttributedLayer | None = field(default=None, repr=False)

    def rows(self, neurons: np.ndarray) -> Iterator[np.ndarray]:
        """Features (n, D) float32 of each of some neurons; rows without an image are zero."""
        kind = Kind.of(self.features)
        if kind.is_embedding:
            places = np.searchsorted(self.neuron, neurons)
            yield from read_rows(self.store, "embed", self.layer, self.features, EMBEDDING, places)
        elif kind.transform:
            yield from self._relevances(neurons, kind.transform)
        else:
            yield from self._activations(neurons, kind.base)

    def _relevances(self, neurons: np.ndarray, transform: str) -> Iterator[np.ndarray]:
        assert self.attributed is not None
        places = np.searchsorted(self.attributed.neuron, neurons)
        norms = [read_norms(self.store, self.layer, lower, places) for lower in self.lower_layers]
        read = [read_relevances(self.store, self.layer, lower, places) for lower in self.lower_layers]
        for of_neuron in zip(*read, *norms, strict=True):
            parts, norm = of_neuron[: len(read)], of_neuron[len(read) :]
            yield joined([transformed(one, length, transform) for one, length in zip(parts, norm, strict=True)])

    def _activations(self, neurons: np.ndarray, base: str) -> Iterator[np.ndarray]:
        """Of the layer, or of its lower layers."""
        assert self.attributed is not None
        kinds = [base.removeprefix("activation-")]
        if base == LOWER_ACTIVATION:
            kinds = [f"lower/{lower}" for lower in self.lower_layers]
        values = joined([read_activations(self.store, self.layer, kind) for kind in kinds])
        for place in np.searchsorted(self.attributed.neuron, neurons):
            image = self.attributed.image[place]
            found = values[np.searchsorted(self.attributed.activation_image, image).clip(max=len(values) - 1)]
            yield np.where((image != NO_IMAGE)[:, None], found, 0).astype(np.float32)

    def lower_channels(self) -> list[tuple[str, int]]:
        """Lower layer and channel that each of the features is of; none for other features."""
        widths = [lower_width(self.store, self.layer, lower) for lower in self.lower_layers]
        return [(lower, c) for lower, width in zip(self.lower_layers, widths, strict=True) for c in range(width)]

    def threshold(self) -> float:
        """Polysemanticity up to which a neuron is taken for one meaning; 0 where calibrate did not look at these."""
        found = read_calibrations(self.store).get(module_of(self.layer))
        fits = found is not None and found.features == self.features and found.is_of(self.made_from)
        return found.threshold if found and fits else 0.0

    def clustering_provenance(self, k: int | str, seed: int) -> Provenance:
        """What a clustering of these depends on that is computed now."""
        chosen = {"rule": RULE, "nulls": NULLS, "threshold": self.threshold()} if k == AUTO else {}
        settings = {
            **chosen,
            "layer": self.layer,
            "features": self.features,
            "lower_layer": "+".join(self.lower_layers),
            "k": k,
            "seed": seed,
        }
        return Provenance(settings, self.made_from)

    def require_current(self, clustering: Clustering) -> None:
        """Make sure that a clustering of these is the one that would be computed now.

        Raises
        ------
        PureError
            It is stale.
        """
        own = clustering.provenance.settings
        if clustering.provenance != self.clustering_provenance(own["k"], own["seed"]):
            raise PureError(
                f"The virtual neurons of '{self.layer}' are stale: what they were made from changed. "
                "Run `pure cluster` again."
            )

    def assigner(self, clustering: Clustering, neuron: int) -> Assigner | None:
        """What gives circuits to the virtual neurons of a neuron, by a clustering of these; None where no reference has
        a virtual neuron."""
        labels = clustering.label[np.searchsorted(clustering.neuron, neuron)]
        if (labels < 0).all():
            return None
        (points,) = self.rows(np.array([neuron]))
        return Assigner.of(points, labels)

    def choose(self, text: str | None, count: int) -> np.ndarray:
        """The neurons that were asked for, all that have these features where none was.

        Parameters
        ----------
        text : as of ``--neurons``
        count : neurons of the layer

        Raises
        ------
        PureError
            A neuron that the layer does not have, or that has no such features yet.
        """
        return choose_neurons(text, self.neuron, count, self.layer, f"{self.features} features", self.command)


class Sources:
    """All that a workspace has features of.

    Parameters
    ----------
    store : the workspace
    anew : embeddings that cannot be read are to be made anew
    """

    def __init__(self, store: Store, anew: bool = False):
        self.store, self._anew = store, anew
        self.collected: Collected = read_collected(store)

    @cached_property
    def attributed(self) -> dict[str, AttributedLayer]:
        return read_attributed(self.store)

    @cached_property
    def embedded(self) -> dict[tuple[str, str], NeuronRows]:
        return read_earlier(lambda store: read_rows_index(store, "embed", EMBEDDING), self.store, self._anew)

    def embeddings(self, layer: str) -> dict[str, NeuronRows]:
        """The embeddings of a layer by kind."""
        return {kind: rows for (where, kind), rows in self.embedded.items() if where == layer}

    def layers(self, requested: list[str] | None, features: str) -> list[str]:
        """The layers that were asked for, all that have such features where none was.

        Raises
        ------
        PureError
            Features of an unknown kind, or a layer that does not have them.
        """
        if features in RECIPES or not Kind.of(features).is_embedding:
            return need_layers(requested, self.attributed, "attribute")
        there = {layer: None for layer, name in self.embedded if name == features}
        if not there:
            known = [*KINDS, *dict.fromkeys(name for _, name in self.embedded)]
            hint = (
                f"pure@LAYER is the relevance at that lower layer; `pure embed --embedder {features}` adds embeddings."
            )
            raise unknown("kind of features", features, known, hint)
        return need_layers(requested, there, f"embed --embedder {features}")

    def named(self, layer: str, features: str) -> str:
        """The kind of features of a layer; in place of the word for a recipe (`RECIPES`) that of the recipe.

        Raises
        ------
        PureError
            The layer is not calibrated, or has no hidden layer.
        """
        if features not in RECIPES:
            return features
        if features != AUTO:
            return self._by_recipe(layer, features)
        return need_calibration(
            self.store, module_of(layer), self.collected.layers[layer].provenance.made_from
        ).features

    def _by_recipe(self, layer: str, recipe: str) -> str:
        """By the paper's recipe, by the hidden layer, or by the one of them that the first lower layer is of."""
        own, (first, *_) = self.collected.layers[layer], self.attributed[layer].lower_layers
        if recipe == USUAL:
            return HIDDEN_KIND if own.recipe == HIDDEN and first == own.hidden else PURE
        paper = next(iter(own.lower_layers), first)
        base, lower = (HIDDEN_KIND, own.require_hidden(layer)) if recipe == HIDDEN else (PURE, paper)
        return base if lower == first else f"{base}{AT}{lower}"

    def features_of(self, layer: str, features: str, check: bool = True) -> FeatureSource:
        """One kind of features of a layer that `layers` has named.

        Parameters
        ----------
        check : make sure that they are up to date

        Raises
        ------
        PureError
            They are stale, or there is no such lower layer.
        """
        kind = Kind.of(features)
        if kind.is_embedding:
            rows = self.embedded[layer, features]
            command = f"embed --embedder {features}"
            if check:
                self._require(layer, self.status_of_embeddings(layer, features), f"{features} embeddings", command)
            made_from = rows.provenance.passed_on("embed")
            return FeatureSource(self.store, layer, features, rows.neuron, [], made_from, f"pure {command}")
        attributed = self.attributed[layer]
        if check:
            self._require(layer, self.status_of_relevances(layer), "relevances", "attribute")
        neuron, command = attributed.neuron, "pure attribute"
        if AT in features and (not kind.has_lower_layer or features.removeprefix(kind.base) != kind.where):
            raise PureError(f"'{features}' names no lower layers. Write {kind.base}@LAYER, or {kind.base}@A+B for two.")
        lower_layers = list(kind.lower_layers or attributed.lower_layers[:1]) if kind.has_lower_layer else []
        for lower in lower_layers:
            if lower not in attributed.lower_layers:
                hint = f"Run `pure attribute --lower-layer {lower}` to add it."
                raise unknown("lower layer in this workspace", lower, attributed.lower_layers, hint)
            neuron = np.intersect1d(neuron, attributed.neuron[attributed.done[lower]])
            command += f" --lower-layer {lower}"
        made_from = attributed.provenance.passed_on("attribute")
        return FeatureSource(self.store, layer, features, neuron, lower_layers, made_from, command, attributed)

    def excites(self, layer: str, neuron: int) -> np.ndarray:
        """Which references (n,) of a neuron excite it at all."""
        source = self.collected.layers[layer]
        return (source.top.image[neuron] != NO_IMAGE) & (source.top.value[neuron] > source.fires_above)

    def pairs(self, layer: str, neurons: np.ndarray) -> int:
        """Pairs of one of some neurons and a reference of it."""
        return int((self.collected.layers[layer].top.image[neurons] != NO_IMAGE).sum())

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """Of the images, as the references were collected with."""
        from pure_cli.models.load import remembered_preprocessing

        origin = self.collected.origin
        return remembered_preprocessing(parse_model(origin["model"]), origin["preprocessing"])

    def listing(self, layers: list[str]) -> Listing:
        """The images of the data set, once it is clear that the references are up to date."""
        self._inputs.require(self.collected, layers)
        return self._inputs.listing

    def images(self, layers: list[str], data: str | None, limit: int | None) -> Listing:
        """The images that are named, or those of the data set, once it is clear that the references are up to date."""
        own = self.listing(layers)
        if data is None and limit is None:
            return own
        return images_of(self.store, data or self.collected.origin["data"], limit)

    @cached_property
    def _inputs(self) -> Inputs:
        return inputs_now(self.store, self.collected)

    def forget_embeddings(self) -> None:
        """Read them again when they are asked for: others were added."""
        self.__dict__.pop("embedded", None)

    def status_of_relevances(self, layer: str) -> Status:
        """Whether they are of the references that are there, whatever became of the images since."""
        if layer not in self.collected.layers:
            return GONE
        there = self.attributed[layer].provenance
        return there.status(attribute_provenance(self.collected, layer, there.settings))

    def status_of_embeddings(self, layer: str, kind: str) -> Status:
        """As of `status_of_relevances`."""
        if layer not in self.collected.layers:
            return GONE
        there = self.embedded[layer, kind].provenance
        return there.status(Provenance(there.settings, self.collected.layers[layer].passed_on))

    def precisions(self, layer: str, features: str, **own: str) -> dict[str, str]:
        """What was not computed in float32, and in what: references, features, and what a stage makes itself.

        Parameters
        ----------
        own : what the stage makes, and in what
        """
        used = {"references": self.collected.layers[layer].provenance.precision}
        if Kind.of(features).is_embedding:
            used["embeddings"] = self.embedded[layer, features].provenance.precision
        else:
            used["relevances"] = self.attributed[layer].provenance.precision
        return {what: precision for what, precision in {**used, **own}.items() if precision != FLOAT32}

    def _require(self, layer: str, status: Status, what: str, command: str) -> None:
        if not status.up_to_date:
            raise PureError(
                f"The {what} of '{layer}' are stale: the references were collected again since. "
                f"Run `pure {command}` again."
            )
        self.listing([layer])
