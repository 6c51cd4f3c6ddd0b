"""What evaluate measured of the virtual neurons that an atlas shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pure_cli.artifacts import Clustering, clustering_path, read_evaluation_values, read_evaluations
from pure_cli.provenance import Provenance
from pure_cli.stages.evaluation.causal import SHARES, SHOWN
from pure_cli.workspace import Store

UNIT, NEURON = "unit", "neuron"


class Column(NamedTuple):
    """A measure that an atlas shows.

    Attributes
    ----------
    metric : of evaluate
    array : its name below a clustering in ``evaluate.h5``
    of : `UNIT`, a value for each virtual neuron, or `NEURON`
    place : of the last axis, where there are several values
    """

    metric: str
    array: str
    title: str
    help: str
    of: str
    place: int | None = None


COLUMNS = (
    Column(
        "causal",
        "specificity",
        "specificity",
        f"How much more of the activation is lost on a virtual neuron's own images than on its siblings', without "
        f"{SHOWN:.0%} of its circuit; mean over the virtual neurons of the neuron.",
        NEURON,
        SHARES.index(SHOWN),
    ),
    Column(
        "stability",
        "bootstrap",
        "stability",
        "Adjusted Rand index between the clustering and those of bootstrap samples of the references; 1 is the same.",
        NEURON,
    ),
    Column("ms", "ms", "monosemanticity", "How alike its images are to the judge, from 0 to 1.", UNIT),
    Column("semantics", "clarity", "clarity", "Mean cosine similarity of its images to the judge, up to 1.", UNIT),
    Column("labels", "ari", "agreement with classes", "Adjusted Rand index of the split with the images' classes.",
           NEURON),
)  # fmt: skip
DRIVES = "outputs"


@dataclass
class Measures:
    """Values by measure, for the neurons and virtual neurons that have some.

    Attributes
    ----------
    values : title of a column to values by neuron, or by (neuron, virtual neuron counted from 0)
    effect : (neuron, virtual neuron) to what it does to each output (K,)
    used : fingerprints of what the values were made from
    """

    values: dict[str, dict[Any, float]] = field(default_factory=dict)
    effect: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[Column]:
        return [column for column in COLUMNS if self.values.get(column.title)]


def read_measures(store: Store, layer: str, clustering: Clustering, there: Mapping[str, Clustering]) -> Measures:
    """What was measured of the virtual neurons of a clustering, or of the same ones by a clustering with a given k.

    Parameters
    ----------
    there : all clusterings by their path
    """
    found = Measures()
    for key, provenance in read_evaluations(store).items():
        metric, _, rest = key.partition("/")
        columns = [column for column in COLUMNS if metric.partition("-by-")[0] == column.metric]
        if not rest.startswith(f"{layer}/") or not (columns or metric == DRIVES):
            continue
        same = list(_same(layer, clustering, there, provenance))
        arrays = read_evaluation_values(store, key) if same else {}
        for path, neurons in same:
            for column in columns:
                _add(found.values.setdefault(column.title, {}), arrays, path, column, neurons)
            if metric == DRIVES and f"{path}/virtual/effect" in arrays:
                found.effect |= dict(_by_unit(arrays, path, "effect", neurons))
        if same:
            found.used.append(f"{key} {provenance.fingerprint}")
    return found


def _same(
    layer: str, clustering: Clustering, there: Mapping[str, Clustering], measured: Provenance
) -> Iterator[tuple[str, set[int]]]:
    """Where values of a metric stand, and the neurons whose virtual neurons are those of the clustering."""
    features = clustering.provenance.settings["features"]
    for k in measured.settings["k"]:
        other = there.get(clustering_path(layer, features, k))
        made: Mapping[str, str] = measured.made_from.get("cluster", {})
        if other is None or made.get(f"{features} k{k}") != other.provenance.fingerprint:
            continue
        both, mine, theirs = np.intersect1d(clustering.neuron, other.neuron, return_indices=True)
        alike = (clustering.label[mine] == other.label[theirs]).all(axis=1)
        if alike.any():
            yield f"{features}/k{k}", set(both[alike].tolist())


def _add(
    values: dict[Any, float], arrays: Mapping[str, np.ndarray], path: str, column: Column, neurons: set[int]
) -> None:
    if column.of == UNIT:
        if f"{path}/virtual/{column.array}" in arrays:
            values |= {key: float(value) for key, value in _by_unit(arrays, path, column.array, neurons)}
        return
    if f"{path}/{column.array}" not in arrays:
        return
    own = arrays[f"{path}/{column.array}"]
    own = own if column.place is None else own[..., column.place]
    values |= {c: float(v) for c, v in zip(arrays["neuron"].tolist(), own, strict=True) if c in neurons}


def _by_unit(
    arrays: Mapping[str, np.ndarray], path: str, name: str, neurons: set[int]
) -> Iterator[tuple[tuple[int, int], Any]]:
    own = (arrays[f"{path}/virtual/{array}"] for array in ("neuron", "cluster", name))
    for neuron, part, value in zip(*own, strict=True):
        if int(neuron) in neurons:
            yield (int(neuron), int(part)), value
