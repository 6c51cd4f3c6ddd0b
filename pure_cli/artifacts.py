"""What is in the files of a workspace: names and shapes of the data sets, read and written as whole things."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import h5py
import numpy as np

from pure_cli.config import PURE_FEATURES
from pure_cli.core.references import NO_IMAGE, TopImages
from pure_cli.errors import PureError, unknown
from pure_cli.workspace import Store, empty_rows, made_from, settings_of, stamp, write_array

ODD_NAMES = "surrogateescape"  # file names that are no UTF-8 keep their bytes


@dataclass(frozen=True)
class CollectedLayer:
    """The reference images of all neurons of one layer.

    Attributes
    ----------
    top : (C, n) image, value, position
    lower_layers : where its neurons' activations are attributed to when the user names nothing
    shape : of the layer's output for one image
    settings, made_from : what the result depends on
    """

    top: TopImages
    lower_layers: list[str]
    shape: tuple[int, ...]
    settings: dict[str, Any]
    made_from: dict[str, Any]
    fingerprint: str = ""

    @property
    def neurons(self) -> int:
        return len(self.top.image)


@dataclass(frozen=True)
class Collected:
    """The file ``collect.h5``.

    Attributes
    ----------
    origin : model, weights, seed, data, limit, preprocessing, requested preprocessing, default layer, state (hash of
        the weights in memory), images (how many were seen)
    layers : by name
    image_index, image_path, image_label : the images that are a reference of some neuron
    label_names : class names
    damaged : (index, path, reason) of images that could not be read
    """

    origin: dict[str, Any]
    layers: dict[str, CollectedLayer]
    image_index: np.ndarray
    image_path: list[str]
    image_label: np.ndarray
    label_names: list[str]
    damaged: list[tuple[int, str, str]]

    def layer(self, name: str) -> CollectedLayer:
        if name not in self.layers:
            hint = "Run `pure collect --layer` with it to add it." if self.layers else ""
            raise unknown("layer in this workspace", name, self.layers, hint)
        return self.layers[name]

    @cached_property
    def label_of(self) -> dict[int, int]:
        return dict(zip(self.image_index.tolist(), self.image_label.tolist(), strict=True))


def read_collected(store: Store) -> Collected:
    with store.read("collect") as file:
        layers = {}
        for name, group in file["layers"].items():
            layers[name] = CollectedLayer(
                TopImages(group["value"][:], group["image"][:], group["position"][:]),
                _texts(group["lower_layers"]),
                tuple(int(size) for size in group.attrs["shape"]),
                settings_of(group),
                made_from(group),
                group.attrs["fingerprint"],
            )
        images, damaged = file["images"], file["damaged"]
        return Collected(
            settings_of(file),
            layers,
            images["index"][:],
            _texts(images["path"]),
            images["label"][:],
            _texts(file["labels/name"]),
            list(zip(damaged["index"][:].tolist(), _texts(damaged["path"]), _texts(damaged["reason"]), strict=True)),
        )


def write_collected(store: Store, collected: Collected) -> None:
    with store.replace("collect") as file:
        prints = {}
        for name, layer in collected.layers.items():
            group = file.create_group(f"layers/{name}")
            write_array(group, "image", layer.top.image)
            write_array(group, "value", np.where(layer.top.image == NO_IMAGE, 0, layer.top.value))
            write_array(group, "position", layer.top.position)
            _write_texts(group, "lower_layers", layer.lower_layers)
            group.attrs["shape"] = layer.shape
            prints[name] = stamp(group, layer.settings, layer.made_from)
        write_array(file, "images/index", collected.image_index)
        _write_texts(file, "images/path", collected.image_path)
        write_array(file, "images/label", collected.image_label)
        _write_texts(file, "labels/name", collected.label_names)
        file.create_dataset("damaged/index", data=np.array([d[0] for d in collected.damaged], dtype=np.int64))
        _write_texts(file, "damaged/path", [d[1] for d in collected.damaged])
        _write_texts(file, "damaged/reason", [d[2] for d in collected.damaged])
        stamp(file, collected.origin, prints)


def _texts(dataset: h5py.Dataset) -> list[str]:
    return [value.decode("utf-8", ODD_NAMES) for value in dataset[:]]


def _write_texts(group: h5py.Group, name: str, values: list[str]) -> None:
    encoded = [value.encode("utf-8", ODD_NAMES) for value in values]
    group.create_dataset(name, data=np.array(encoded, dtype=object), shape=(len(values),), dtype=h5py.string_dtype())


@dataclass(frozen=True)
class AttributedLayer:
    """What ``attribute.h5`` holds for one layer, without the large arrays.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    image : (N, n) int64
    lower_layers : in the order in which they were asked for; the first is what ``pure`` features mean
    done : lower layer to (N,) bool, whether the neuron's relevances are there
    activation_image : (U,) int64, ascending
    """

    neuron: np.ndarray
    image: np.ndarray
    lower_layers: list[str]
    done: dict[str, np.ndarray]
    activation_image: np.ndarray
    settings: dict[str, Any]
    made_from: dict[str, Any]
    fingerprint: str

    def missing(self, lower: str, neurons: np.ndarray) -> np.ndarray:
        """Those of `neurons` whose relevances at `lower` are not there."""
        there = self.neuron[self.done[lower]] if lower in self.done else np.empty(0, np.int64)
        return np.setdiff1d(neurons, there)


def read_attributed(store: Store) -> dict[str, AttributedLayer]:
    with store.read("attribute") as file:
        return {name: _attributed(group) for name, group in file["layers"].items()}


def _attributed(group: h5py.Group) -> AttributedLayer:
    lower = _texts(group["lower_layers"])
    return AttributedLayer(
        group["neuron"][:],
        group["image"][:],
        lower,
        {name: group["done"][name][:] for name in lower},
        group["activations/image"][:],
        settings_of(group),
        made_from(group),
        group.attrs["fingerprint"],
    )


@dataclass(frozen=True)
class NewRelevances:
    """Relevances that were just computed, to be added to ``attribute.h5``.

    Attributes
    ----------
    layer : name
    neuron : (N,) int64, ascending
    relevance : lower layer to a function from the row of a neuron to its (n, D) float32
    widths : lower layer to D
    activation_image : (U,) int64 images that were not in the file
    activation : "max" and "mean" to (U, C) float32
    """

    layer: str
    neuron: np.ndarray
    relevance: Mapping[str, Callable[[int], np.ndarray]]
    widths: Mapping[str, int]
    activation_image: np.ndarray
    activation: Mapping[str, np.ndarray] = field(default_factory=dict)


def add_relevances(
    store: Store,
    new: NewRelevances,
    references: np.ndarray,
    settings: dict[str, Any],
    lineage: dict[str, Any],
    anew: bool = False,
) -> None:
    """Write ``attribute.h5`` again with `new` in it; what is there for the same settings and inputs stays.

    Parameters
    ----------
    references : (C, n) int64, the reference images of all neurons of the layer
    settings, lineage : what the result depends on
    anew : leave out everything that the file held
    """
    with store.replace("attribute") as file, ExitStack() as stack:
        old_layers: Any = {}
        if store.has("attribute") and not anew:
            old_layers = stack.enter_context(store.read("attribute"))["layers"]
        for name in old_layers:
            if name != new.layer:
                old_layers.copy(name, file.require_group("layers"))
        group = file.create_group(f"layers/{new.layer}")
        stamp(group, settings, lineage)
        old = old_layers.get(new.layer)
        if old is not None and old.attrs["fingerprint"] != group.attrs["fingerprint"]:
            old = None
        _fill(group, old, new, references)
        stamp(file, settings, {name: layer.attrs["fingerprint"] for name, layer in file["layers"].items()})


def _fill(group: h5py.Group, old: h5py.Group | None, new: NewRelevances, references: np.ndarray) -> None:
    before = _attributed(old) if old is not None else None
    neuron = np.union1d(before.neuron, new.neuron) if before else new.neuron
    write_array(group, "neuron", neuron)
    write_array(group, "image", references[neuron])
    lower_layers = [*(before.lower_layers if before else []), *new.relevance]
    lower_layers = list(dict.fromkeys(lower_layers))
    _write_texts(group, "lower_layers", lower_layers)
    for lower in lower_layers:
        old_row = dict(zip(before.neuron.tolist(), range(len(before.neuron)), strict=True)) if before else {}
        old_done = before.done.get(lower) if before else None
        new_row = {int(c): row for row, c in enumerate(new.neuron)} if lower in new.relevance else {}
        width = new.widths[lower] if lower in new.widths else old["relevance"][lower].shape[-1]  # type: ignore[index]
        rows = empty_rows(group, f"relevance/{lower}", (len(neuron), references.shape[1], width), "float32")
        done = np.zeros(len(neuron), bool)
        for i, c in enumerate(neuron.tolist()):
            if c in new_row:
                rows[i], done[i] = new.relevance[lower](new_row[c]), True
            elif old_done is not None and c in old_row and old_done[old_row[c]]:
                rows[i], done[i] = old["relevance"][lower][old_row[c]], True  # type: ignore[index]
            else:
                rows[i] = np.nan
        write_array(group, f"done/{lower}", done)
    image = np.concatenate([before.activation_image, new.activation_image]) if before else new.activation_image
    order = np.argsort(image)
    write_array(group, "activations/image", image[order])
    for kind, values in new.activation.items():
        if before:
            values = np.concatenate([old["activations"][kind][:], values])  # type: ignore[index]
        write_array(group, f"activations/{kind}", values[order])


def split_features(features: str, attributed: AttributedLayer) -> tuple[str, str]:
    """A kind of features as (kind, lower layer): ``pure`` means the first lower layer, ``pure@K`` the layer K."""
    kind, _, lower = features.partition("@")
    if kind != PURE_FEATURES:
        return features, ""
    lower = lower or attributed.lower_layers[0]
    if lower not in attributed.lower_layers:
        hint = f"Run `pure attribute --lower-layer {lower}` to add it."
        raise unknown("lower layer in this workspace", lower, attributed.lower_layers, hint)
    return kind, lower


def feature_rows(
    store: Store, layer: str, attributed: AttributedLayer, features: str, neurons: np.ndarray
) -> Iterable[np.ndarray]:
    """Features of the references of each neuron, one neuron at a time.

    Parameters
    ----------
    features : ``pure``, ``pure@K``, ``activation-max`` or ``activation-mean``
    neurons : (N,) int64, all of them in `attributed`

    Yields
    ------
    (n, D) float32; rows without an image are zero
    """
    kind, lower = split_features(features, attributed)
    rows = np.searchsorted(attributed.neuron, neurons)
    if kind == PURE_FEATURES:
        for row in rows:
            with store.read("attribute") as file:
                values = file[f"layers/{layer}/relevance/{lower}"][int(row)]
            yield values
        return
    with store.read("attribute") as file:
        values = file[f"layers/{layer}/activations/{kind.removeprefix('activation-')}"][:]
    for row in rows:
        image = attributed.image[row]
        found = values[np.searchsorted(attributed.activation_image, image).clip(max=len(values) - 1)]
        yield np.where((image != NO_IMAGE)[:, None], found, 0).astype(np.float32)


@dataclass(frozen=True)
class Clustering:
    """Virtual neurons of one layer for one kind of features and one k.

    Attributes
    ----------
    neuron : (N,) int64, ascending
    label : (N, n) int16, -1 where the reference belongs to none
    virtual_neuron, cluster, size : (V,) int64, a row for each virtual neuron
    centroid : (V, D) float32
    silhouette, distance : (N,) float32, NaN where there are not two virtual neurons
    """

    neuron: np.ndarray
    label: np.ndarray
    virtual_neuron: np.ndarray
    cluster: np.ndarray
    size: np.ndarray
    centroid: np.ndarray
    silhouette: np.ndarray
    distance: np.ndarray
    settings: dict[str, Any]
    made_from: dict[str, Any]
    fingerprint: str = ""

    def joined(self, other: Clustering) -> Clustering:
        """Both, where `other`'s neurons are none of these; ascending."""
        neuron = np.concatenate([self.neuron, other.neuron])
        virtual = np.concatenate([self.virtual_neuron, other.virtual_neuron])
        order, virtual_order = np.argsort(neuron), np.argsort(virtual, kind="stable")

        def both(name: str, by: np.ndarray) -> np.ndarray:
            return np.concatenate([getattr(self, name), getattr(other, name)])[by]

        return Clustering(
            neuron[order],
            both("label", order),
            virtual[virtual_order],
            both("cluster", virtual_order),
            both("size", virtual_order),
            both("centroid", virtual_order),
            both("silhouette", order),
            both("distance", order),
            other.settings,
            other.made_from,
        )


CLUSTERING_ARRAYS = {
    "neuron": "neuron",
    "label": "label",
    "silhouette": "silhouette",
    "distance": "distance",
    "virtual/neuron": "virtual_neuron",
    "virtual/cluster": "cluster",
    "virtual/size": "size",
    "virtual/centroid": "centroid",
}


def clustering_path(layer: str, features: str, k: int) -> str:
    return f"layers/{layer}/{features}/k{k}"


def read_clusterings(store: Store) -> dict[str, Clustering]:
    """All clusterings by their path in the file; none where there is no file."""
    found: dict[str, Clustering] = {}
    if not store.has("cluster"):
        return found
    with store.read("cluster") as file:
        for layer, kinds in file["layers"].items():
            for features, ks in kinds.items():
                for name, group in ks.items():
                    arrays = {attribute: group[path][:] for path, attribute in CLUSTERING_ARRAYS.items()}
                    found[f"layers/{layer}/{features}/{name}"] = Clustering(
                        **arrays,
                        settings=settings_of(group),
                        made_from=made_from(group),
                        fingerprint=group.attrs["fingerprint"],
                    )
    return found


def write_clusterings(store: Store, clusterings: Mapping[str, Clustering]) -> None:
    with store.replace("cluster") as file:
        prints = {}
        for path, clustering in clusterings.items():
            group = file.create_group(path)
            for name, attribute in CLUSTERING_ARRAYS.items():
                write_array(group, name, getattr(clustering, attribute))
            prints[path] = stamp(group, clustering.settings, clustering.made_from)
        stamp(file, {}, prints)


def need_layers(asked: list[str] | None, there: Mapping[str, Any], command: str) -> list[str]:
    """The layers that were asked for, all that are there where none was.

    Raises
    ------
    PureError
        One of them is not there, or nothing is there.
    """
    if not there:
        raise PureError(f"The workspace holds no layer yet. Run `pure {command}` first.")
    for name in asked or ():
        if name not in there:
            raise unknown("layer in this workspace", name, there, f"Run `pure {command} --layer {name}` to add it.")
    return list(asked or there)
