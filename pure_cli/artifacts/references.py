"""References: the file ``collect.h5``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import h5py
import numpy as np

from pure_cli.core.bands import BAND, Edges, without_band, without_bands
from pure_cli.core.directions import Directions
from pure_cli.core.references import NO_IMAGE, TopImages
from pure_cli.errors import PureError, unknown
from pure_cli.provenance import Provenance
from pure_cli.settings.shared import HIDDEN, PAPER
from pure_cli.workspace import (
    Store,
    grow_array,
    read_provenance,
    read_texts,
    write_array,
    write_provenance,
    write_texts,
)

SEEN = "seen"
_SEEN_ROWS = 1 << 16  # that are read at a time


@dataclass(frozen=True)
class CollectedLayer:
    """The reference images of all neurons of one layer.

    Attributes
    ----------
    top : (C, n) image, value, position
    lower_layers : where its neurons' activations are attributed to by the paper's recipe
    shape : of the layer's output for one image, its channels first
    directions : what its neurons are, where they are no channels
    fires_above : scores above it are of images that excite a neuron
    twins : (T, 2) int64, data-set indices of references with equal scores that are one picture
    device : the kind of device that found them; "" where that is not known. They count on every device
    hidden : the hidden layer of its last block; "" where none is known
    of_preset : the lower layers are those of a preset, whose recipe stands in where none is named
    edges : of a band, where it lies; None where the references are those that excite a neuron most
    """

    top: TopImages
    lower_layers: list[str]
    shape: tuple[int, ...]
    provenance: Provenance
    directions: Directions | None = None
    fires_above: float = 0.0
    twins: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    device: str = ""
    hidden: str = ""
    of_preset: bool = False
    edges: Edges | None = None

    @cached_property
    def tied(self) -> np.ndarray:
        """(C,) how many of the references that excite a neuron share their score with another picture."""
        return self.top.tied(self.fires_above, self.twins)

    @property
    def neurons(self) -> int:
        return len(self.top.image)

    @property
    def recipe(self) -> str:
        """The one that stands in where none is named."""
        return HIDDEN if self.hidden and not self.of_preset else PAPER

    @property
    def usual_lower_layers(self) -> list[str]:
        """Where activations are attributed to by it."""
        return [self.hidden] if self.recipe == HIDDEN else self.lower_layers

    def require_hidden(self, layer: str) -> str:
        """The hidden layer of this layer's last block.

        Raises
        ------
        PureError
            None is known.
        """
        if not self.hidden:
            raise PureError(
                f"In '{layer}' pure finds no activation function that all of its neurons are made from, so there is no "
                "hidden layer for --recipe hidden. Name a lower layer with --lower-layer, or take --recipe paper."
            )
        return self.hidden

    @property
    def n(self) -> int:
        """References of a neuron that were asked for."""
        return int(self.provenance.settings["n"])

    @property
    def passed_on(self) -> dict[str, Any]:
        """What relevances and embeddings of the references are made from."""
        return self.provenance.passed_on("collect", n=self.n)

    def name_of(self, neuron: int) -> str:
        """The name of a direction; "" where neurons have none."""
        names = self.directions.names if self.directions else ()
        return names[neuron] if names else ""

    @property
    def most_references(self) -> int:
        """How many references a neuron has at most: n, or fewer where there are fewer images."""
        return int((self.top.image != NO_IMAGE).sum(axis=1).max(initial=0))


@dataclass(frozen=True)
class Seen:
    """What some of the images in use were when they were collected, or all of them.

    Attributes
    ----------
    size : (M,) int64, in bytes, as of a listing
    time : (M,) int64, of the last change, as of a listing; -1 where there is none
    content : (M,) uint32, as of `pure_cli.data.content`; 0 of those that could not be read
    """

    size: np.ndarray
    time: np.ndarray
    content: np.ndarray


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
    images_of_label : how many of all images that were seen have a label, for each label of the references; empty in
        files of earlier versions
    """

    origin: dict[str, Any]
    layers: dict[str, CollectedLayer]
    image_index: np.ndarray
    image_path: list[str]
    image_label: np.ndarray
    label_names: list[str]
    damaged: list[tuple[int, str, str]]
    images_of_label: dict[int, int] = field(default_factory=dict)

    def layer(self, name: str) -> CollectedLayer:
        if name not in self.layers:
            _need_band(name, self.layers)
            hint = "Run `pure collect --layer` with it to add it." if self.layers else ""
            raise unknown("layer in this workspace", name, self.layers, hint)
        return self.layers[name]

    @cached_property
    def channel_layers(self) -> dict[str, CollectedLayer]:
        """Those whose neurons are channels, and which are no bands."""
        return {name: self.layers[name] for name in without_bands(self.layers) if self.layers[name].directions is None}

    @cached_property
    def label_of(self) -> dict[int, int]:
        return dict(zip(self.image_index.tolist(), self.image_label.tolist(), strict=True))

    @cached_property
    def path_of(self) -> dict[int, str]:
        return dict(zip(self.image_index.tolist(), self.image_path, strict=True))


def read_collected(store: Store) -> Collected:
    with store.read("collect") as file:
        layers = {}
        for name, group in file["layers"].items():
            if name in (".", ".."):  # it would lead figures and tables out of their folders
                raise ValueError(f"'{name}' is no layer")
            layers[name] = CollectedLayer(
                _top(group),
                read_texts(group["lower_layers"]),
                tuple(int(size) for size in group.attrs["shape"]),
                read_provenance(group),
                _directions(group),
                float(group.attrs.get("fires_above", 0.0)),
                group["twins"][:] if "twins" in group else np.zeros((0, 2), np.int64),
                str(group.attrs.get("device", "")),
                str(group.attrs.get("hidden", "")),
                bool(group.attrs.get("of_preset", False)),
                _edges(group),
            )
        images, damaged = file["images"], file["damaged"]
        return Collected(
            read_provenance(file).settings,
            layers,
            images["index"][:],
            read_texts(images["path"]),
            images["label"][:],
            read_texts(file["labels/name"]),
            list(
                zip(
                    damaged["index"][:].tolist(),
                    read_texts(damaged["path"]),
                    read_texts(damaged["reason"]),
                    strict=True,
                )
            ),
            _images_of_label(file["labels"]),
        )


def _images_of_label(group: h5py.Group) -> dict[int, int]:
    if "count" not in group:
        return {}
    return dict(zip(group["number"][:].tolist(), group["count"][:].tolist(), strict=True))


def _top(group: h5py.Group) -> TopImages:
    value, image = group["value"][:], group["image"][:]
    mean = group["mean"][:] if "mean" in group else np.full(value.shape, np.nan, np.float32)
    return TopImages(value, image, group["position"][:], mean)


def _edges(group: h5py.Group) -> Edges | None:
    if "band" not in group:
        return None
    own = group["band"]
    return Edges(own["edge"][:], own["sampled"][:], int(own.attrs["sample"]))


def _directions(group: h5py.Group) -> Directions | None:
    if "directions" not in group:
        return None
    own = group["directions"]
    return Directions(own["weight"][:], own["bias"][:], bool(own.attrs["relu"]), read_texts(own["name"]))


def read_seen(store: Store) -> Iterator[Seen]:
    """What the images in use were, part by part, in the order of the listing's index."""
    with store.read("collect") as file:
        size, time, content = (file[f"{SEEN}/{name}"] for name in ("size", "time", "content"))
        for start in range(0, len(size), _SEEN_ROWS):
            rows = slice(start, start + _SEEN_ROWS)
            yield Seen(size[rows], time[rows], content[rows])


def write_collected(store: Store, collected: Collected, seen: Iterable[Seen] | None = None) -> None:
    """Write the file.

    Parameters
    ----------
    seen : of all images in use, part by part; None: what the file said before
    """
    with store.replace("collect") as file:
        _write_seen(file, read_seen(store) if seen is None and store.has("collect") else seen or ())
        for name, layer in collected.layers.items():
            group = file.create_group(f"layers/{name}")
            write_array(group, "image", layer.top.image)
            write_array(group, "value", np.where(layer.top.image == NO_IMAGE, 0, layer.top.value))
            write_array(group, "position", layer.top.position)
            write_array(group, "mean", layer.top.mean)
            write_array(group, "twins", layer.twins)
            group.attrs["fires_above"] = layer.fires_above
            if layer.device:
                group.attrs["device"] = layer.device
            write_texts(group, "lower_layers", layer.lower_layers)
            group.attrs.update({"hidden": layer.hidden, "of_preset": layer.of_preset})
            group.attrs["shape"] = layer.shape
            if layer.directions:
                write_array(group, "directions/weight", layer.directions.weight)
                write_array(group, "directions/bias", layer.directions.bias)
                write_texts(group, "directions/name", list(layer.directions.names))
                group["directions"].attrs["relu"] = layer.directions.relu
            if layer.edges:
                write_array(group, "band/edge", layer.edges.value)
                write_array(group, "band/sampled", layer.edges.sampled)
                group["band"].attrs["sample"] = layer.edges.sample
            write_provenance(group, layer.provenance)
        write_array(file, "images/index", collected.image_index)
        write_texts(file, "images/path", collected.image_path)
        write_array(file, "images/label", collected.image_label)
        write_texts(file, "labels/name", collected.label_names)
        if counts := collected.images_of_label:
            write_array(file, "labels/number", np.array(list(counts), dtype=np.int64))
            write_array(file, "labels/count", np.array(list(counts.values()), dtype=np.int64))
        write_array(file, "damaged/index", np.array([d[0] for d in collected.damaged], dtype=np.int64))
        write_texts(file, "damaged/path", [d[1] for d in collected.damaged])
        write_texts(file, "damaged/reason", [d[2] for d in collected.damaged])
        prints = {name: layer.provenance.fingerprint for name, layer in collected.layers.items()}
        write_provenance(file, Provenance(collected.origin, prints))


def _write_seen(file: h5py.File, parts: Iterable[Seen]) -> None:
    names = {"size": "i8", "time": "i8", "content": "u4"}
    whole = {name: grow_array(file, f"{SEEN}/{name}", dtype) for name, dtype in names.items()}
    for part in parts:
        for name, append in whole.items():
            append(getattr(part, name))


def need_layers(
    requested: list[str] | None, there: Mapping[str, Any], command: str, bands_too: bool = True
) -> list[str]:
    """The layers that were asked for, all that are there where none was; ``layer4#`` asks for all bands of layer4.

    Parameters
    ----------
    bands_too : where none was asked for

    Raises
    ------
    PureError
        One of them is not there, or nothing is there.
    """
    if not there:
        raise PureError(f"The workspace holds no layer yet. Run `pure {command}` first.")
    bands: dict[str, list[str]] = {}
    for name in there:
        if BAND in name:
            bands.setdefault(without_band(name) + BAND, []).append(name)
    requested = [one for name in requested or () for one in bands.get(name, [name])]
    for name in requested:
        if name not in there:
            _need_band(name, there)
            raise unknown("layer in this workspace", name, there, f"Run `pure {command} --layer {name}` to add it.")
    return list(dict.fromkeys(requested)) or (list(there) if bands_too else without_bands(there)) or list(there)


def _need_band(name: str, there: Iterable[str]) -> None:
    """
    Raises
    ------
    PureError
        It is the name of a band, and there is no such band.
    """
    if BAND not in name:
        return
    own = [other for other in there if BAND in other and without_band(other) == without_band(name)]
    if own:
        raise unknown("band", name, own)
    raise PureError(
        f"There are no bands of '{without_band(name)}' here, and '{name}' is none of them. "
        "`pure collect --quantiles 5` makes five, and `pure attribute --layer` with their names goes on from them."
    )
