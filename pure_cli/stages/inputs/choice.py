"""Which clustering an address of a virtual neuron means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy as np

from pure_cli.artifacts import (
    Choice,
    Clustering,
    Collected,
    clustering_path,
    read_calibrations,
    read_choices,
    read_collected,
)
from pure_cli.core.bands import without_bands
from pure_cli.core.directions import module_of
from pure_cli.core.features import HIDDEN_KIND, PURE, Kind
from pure_cli.core.neurons import parse_addresses, parse_virtual, virtual_of
from pure_cli.errors import PureError, unknown
from pure_cli.models.spec import short_names
from pure_cli.settings.shared import AUTO, HIDDEN, PAPER
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.workspace import Store

K = 2  # where no number is named
BY_RECIPE = {PAPER: Choice(PURE, K), HIDDEN: Choice(HIDDEN_KIND, K)}


def there_are(clusterings: Iterable[Clustering]) -> dict[str, list[Choice]]:
    """What there is to choose from, by layer."""
    found: dict[str, list[Choice]] = {}
    for one in clusterings:
        own = one.provenance.settings
        found.setdefault(own["layer"], []).append(Choice(own["features"], own["k"]))
    return found


def chosen(store: Store, layer: str, clusterings: Mapping[str, Clustering]) -> Choice:
    """The clustering that addresses of a layer mean: the one that was chosen; else that of the calibrated recipe, or
    the paper's, or what comes nearest to it.

    Raises
    ------
    PureError
        The layer has no virtual neurons, or no longer those that were chosen.
    """
    there = there_are(clusterings.values()).get(layer, [])
    if not there:
        raise PureError(
            f"'{layer}' has no virtual neurons in this workspace. Run `pure cluster --layer {layer}` first."
        )
    made = read_choices(store).get(layer)
    if made is None:
        found = calibrated(store, layer)
        return found if found in there else min(there, key=_nearness(store, layer))
    if made not in there:
        raise PureError(
            f"The virtual neurons of '{layer}' that were chosen, {made}, are not there any more. "
            f"Run `pure cluster` with these, or `pure choose` of: {in_words(there)}."
        )
    return made


def in_words(there: Iterable[Choice]) -> str:
    """What there is to choose from, in a sentence."""
    return "; ".join(f"{one.features}, k = {one.k}" for one in there)


def how_chosen(store: Store, layer: str, meant: Choice) -> str:
    """Why addresses of a layer mean what they do."""
    if layer in read_choices(store):
        return "chosen"
    return "the calibrated recipe" if calibrated(store, layer) == meant else "by default"


def meant_features(
    sources: Sources, layer: str, clusterings: Mapping[str, Clustering]
) -> tuple[FeatureSource, Clustering]:
    """The clustering that addresses of a layer mean, and its features, which can be computed of any image.

    Raises
    ------
    PureError
        As of `chosen`; it is stale, or of features that need crops.
    """
    choice = chosen(sources.store, layer, clusterings)
    if Kind.of(choice.features).is_embedding:
        raise PureError(
            f"The virtual neurons of '{layer}' are by {choice.features} embeddings, which say nothing of other images. "
            "Choose others with `pure choose --features`."
        )
    return chosen_features(sources, layer, clusterings)


def chosen_features(
    sources: Sources, layer: str, clusterings: Mapping[str, Clustering]
) -> tuple[FeatureSource, Clustering]:
    """The clustering that addresses of a layer mean, and its features.

    Raises
    ------
    PureError
        As of `chosen`; it is stale.
    """
    choice = chosen(sources.store, layer, clusterings)
    clustering = clusterings[clustering_path(layer, choice.features, choice.k)]
    sources.layers([layer], choice.features)
    source = sources.features_of(layer, choice.features)
    source.require_current(clustering)
    return source, clustering


def usual_choice(store: Store, layer: str) -> Choice:
    """By the recipe that stands in where none is named."""
    own = read_collected(store).layers.get(layer) if store.has("collect") else None
    return BY_RECIPE[own.recipe if own else PAPER]


def _nearness(store: Store, layer: str) -> Callable[[Choice], tuple[bool, bool, bool, bool, int]]:
    """What comes first: the features of the usual recipe, the paper's, and the smallest number that splits."""
    usual = usual_choice(store, layer).features

    def order(choice: Choice) -> tuple[bool, bool, bool, bool, int]:
        number = choice.k if isinstance(choice.k, int) else 0
        return choice.features != usual, choice.features != PURE, not number, number == 1, number

    return order


def calibrated(store: Store, layer: str) -> Choice | None:
    """By the recipe that was found best on a layer; None where it was not calibrated."""
    found = read_calibrations(store).get(module_of(layer))
    return Choice(found.features, AUTO) if found else None


def require_virtual(clustering: Clustering, text: str | None, count: int, layer: str) -> None:
    """Make sure that the virtual neurons which addresses name are there.

    Parameters
    ----------
    text, count, layer : as of `pure_cli.core.neurons.parse_virtual`

    Raises
    ------
    PureError
        One is not.
    """
    for neuron, numbers in parse_virtual(text, count, layer).items() if text else ():
        place = int(np.searchsorted(clustering.neuron, neuron))
        if numbers and place < len(clustering.neuron) and clustering.neuron[place] == neuron:
            virtual_of(neuron, numbers, int(clustering.counts(np.array([neuron]))[0]), layer)


def require_model(collected: Collected, text: str | None) -> None:
    """Make sure that addresses which name a model name that of the workspace.

    Parameters
    ----------
    text : as of ``--neurons``

    Raises
    ------
    PureError
        They name another.
    """
    known = short_names(collected.origin["model"])
    for address in parse_addresses(text or ""):
        if address.model and address.model not in known:
            raise PureError(
                f"The address {address} is of a model {address.model}, and this workspace is about "
                f"{collected.origin['model']}. Name another with --workspace."
            )


def named_neurons(
    collected: Collected, text: str, meant: Collection[str] = ()
) -> Iterator[tuple[str, int, frozenset[int]]]:
    """Layer, neuron and numbers of virtual neurons that addresses name; no numbers where a whole neuron is meant.

    Parameters
    ----------
    meant : the layers one of which is meant where none is named; those that were collected where nothing is said

    Raises
    ------
    PureError
        One is of another model, names no layer where there are several, or a neuron that the layer does not have.
    """
    require_model(collected, text)
    meant = without_bands(meant or collected.layers) or meant or collected.layers
    layers = {address.layer for address in parse_addresses(text)} or {""}
    if layers == {""} and len(meant) == 1:
        layers = set(meant)
    for layer in sorted(layers):
        if layer and layer not in collected.layers:
            raise unknown("layer", layer, collected.layers)
        if not layer:
            known = ", ".join(meant)
            raise PureError(f"'{text}' has to name its layer, as in {next(iter(meant))}/201.2 (of {known}).")
        for neuron, numbers in parse_virtual(text, collected.layers[layer].neurons, layer).items():
            yield layer, neuron, numbers
