"""cluster: the virtual neurons of each neuron, by k-means on features of its references."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import (
    AttributedLayer,
    Clustering,
    Collected,
    clustering_path,
    feature_rows,
    need_layers,
    read_attributed,
    read_clusterings,
    read_collected,
    split_features,
    write_clusterings,
)
from pure_cli.config import ACTIVATION_FEATURES, PURE_FEATURES, ClusterSettings, fingerprint
from pure_cli.core.neurons import parse_neurons
from pure_cli.core.references import NO_IMAGE
from pure_cli.errors import PureError, unknown
from pure_cli.stages.attribute import attribute_fingerprint
from pure_cli.stages.common import Outcome, Progress, lineage, require_unchanged, silent
from pure_cli.workspace import SCHEMA, Store

if TYPE_CHECKING:
    from pure_cli.core.clusters import VirtualNeurons

CLASSES = 2  # named for each virtual neuron


def cluster(store: Store, settings: ClusterSettings, progress: Progress = silent) -> Outcome:
    """Find the virtual neurons that are not there yet, and write ``cluster.h5``.

    Raises
    ------
    PureError
        No relevances, stale ones, unknown layer, neuron or features, k larger than the number of references.
    """
    begin = time.perf_counter()
    collected, attributed = fresh_relevances(store, settings.layer)
    layers = need_layers(settings.layer, attributed, "attribute")
    clusterings = {} if settings.force else read_clusterings(store)
    jobs = []
    for layer in layers:
        neurons = attributed_neurons(settings.neurons, layer, attributed[layer], collected)
        for features in settings.features:
            check_features(features)
            _require_relevances(features, layer, attributed[layer], neurons)
            for k in settings.k:
                _check_k(k, layer, attributed[layer])
                jobs.append(_job(layer, features, k, neurons, attributed[layer], settings.seed, clusterings))
    todo = [job for job in jobs if len(job.missing)]
    total, done = sum(len(job.missing) for job in todo), 0
    outcome = Outcome("cluster", layers, total, "fits")
    for job in todo:
        found = []
        for split in _splits(store, job, collected, attributed[job.layer]):
            found.append(split)
            progress(done := done + 1, total)
        if job.valid is None and job.path in clusterings:
            outcome.notes.append(
                f"The earlier virtual neurons of '{job.layer}' ({job.what}) were stale and were replaced."
            )
        new = _as_clustering(job, found, attributed[job.layer])
        clusterings[job.path] = job.valid.joined(new) if job.valid else new
    if todo:
        write_clusterings(store, clusterings)
    outcome.seconds = time.perf_counter() - begin
    return outcome


@dataclass(frozen=True)
class Job:
    """One clustering of a layer.

    Attributes
    ----------
    missing : (N,) neurons that it lacks
    valid : what of it is there and was made from the same things
    """

    layer: str
    features: str
    k: int
    seed: int
    missing: np.ndarray
    valid: Clustering | None

    @property
    def path(self) -> str:
        return clustering_path(self.layer, self.features, self.k)

    @property
    def what(self) -> str:
        return f"{self.features} features, k = {self.k}"


def _splits(store: Store, job: Job, collected: Collected, attributed: AttributedLayer) -> Iterator["VirtualNeurons"]:
    """The virtual neurons of each missing neuron."""
    from pure_cli.core.clusters import one_thread, virtual_neurons

    top = collected.layers[job.layer].top
    with one_thread():
        rows = feature_rows(store, job.layer, attributed, job.features, job.missing)
        for neuron, points in zip(job.missing.tolist(), rows, strict=True):
            excites = (top.image[neuron] != NO_IMAGE) & (top.value[neuron] > 0)
            yield virtual_neurons(points, excites, job.k, job.seed)


def fresh_relevances(store: Store, layers: list[str] | None) -> tuple[Collected, dict[str, AttributedLayer]]:
    """References and relevances, once it is clear that both are up to date.

    Raises
    ------
    PureError
        One of them is missing or stale.
    """
    collected, attributed = read_collected(store), read_attributed(store)
    names = need_layers(layers, attributed, "attribute")
    for name in names:
        if name not in collected.layers or attributed[name].fingerprint != attribute_fingerprint(
            collected, name, attributed[name].settings["rule"]
        ):
            raise PureError(
                f"The relevances of '{name}' are stale: the references were collected again since. "
                "Run `pure attribute` again."
            )
    require_unchanged(collected, names)
    return collected, attributed


def attributed_neurons(text: str | None, layer: str, attributed: AttributedLayer, collected: Collected) -> np.ndarray:
    """The neurons that were asked for, all that have relevances where none was.

    Raises
    ------
    PureError
        A neuron that the layer does not have, or that has no relevances yet.
    """
    if text is None:
        return attributed.neuron
    neurons = parse_neurons(text, collected.layers[layer].neurons, layer)
    if text.strip() == "all":
        return np.intersect1d(neurons, attributed.neuron)
    missing = np.setdiff1d(neurons, attributed.neuron)
    if len(missing):
        listed = ",".join(map(str, missing[:8].tolist()))
        raise PureError(
            f"{len(missing)} of the neurons of '{layer}' have no relevances yet. "
            f"Run `pure attribute --layer {layer} --neurons {listed}{',…' if len(missing) > 8 else ''}` first."
        )
    return neurons


def check_features(features: str) -> None:
    """Make sure that `features` is a kind that can be clustered.

    Raises
    ------
    PureError
        It is not.
    """
    kind, at, lower = features.partition("@")
    if kind == PURE_FEATURES and (lower or not at):
        return
    if features not in ACTIVATION_FEATURES:
        known = [PURE_FEATURES, *ACTIVATION_FEATURES]
        raise unknown("kind of features", features, known, "pure@LAYER means the relevances at that lower layer.")


def _require_relevances(features: str, layer: str, attributed: AttributedLayer, neurons: np.ndarray) -> None:
    kind, lower = split_features(features, attributed)
    if kind == PURE_FEATURES and len(missing := attributed.missing(lower, neurons)):
        raise PureError(
            f"{len(missing)} of the neurons of '{layer}' have no relevances at '{lower}' yet. "
            f"Run `pure attribute --layer {layer} --lower-layer {lower}` first."
        )


def _check_k(k: int, layer: str, attributed: AttributedLayer) -> None:
    references = int((attributed.image != NO_IMAGE).sum(axis=1).max(initial=0))
    if k > references:
        raise PureError(f"--k {k} is more than the {references} references that a neuron of '{layer}' has.")


def cluster_depends_on(layer: str, features: str, k: int, seed: int, attributed: AttributedLayer) -> tuple[dict, dict]:
    """Settings of a clustering, and what it is made from."""
    lower = split_features(features, attributed)[1]
    settings = {"layer": layer, "features": features, "lower_layer": lower, "k": k, "seed": seed}
    return settings, lineage(attributed, "attribute")


def cluster_fingerprint(layer: str, features: str, k: int, seed: int, attributed: AttributedLayer) -> str:
    """The fingerprint that a clustering computed now would have."""
    settings, made_from = cluster_depends_on(layer, features, k, seed, attributed)
    return fingerprint({"settings": settings, "made_from": made_from, "schema": SCHEMA})


def _job(
    layer: str,
    features: str,
    k: int,
    neurons: np.ndarray,
    attributed: AttributedLayer,
    seed: int,
    there: Mapping[str, Clustering],
) -> Job:
    """One clustering, and the neurons that it lacks."""
    valid = there.get(clustering_path(layer, features, k))
    if valid is not None and valid.fingerprint != cluster_fingerprint(layer, features, k, seed, attributed):
        valid = None
    missing = np.setdiff1d(neurons, valid.neuron) if valid else neurons
    return Job(layer, features, k, seed, missing, valid)


def _as_clustering(job: Job, found: list["VirtualNeurons"], attributed: AttributedLayer) -> Clustering:
    sizes = [split.sizes for split in found]
    settings, made_from = cluster_depends_on(job.layer, job.features, job.k, job.seed, attributed)
    return Clustering(
        job.missing,
        np.stack([split.labels for split in found]),
        np.repeat(job.missing, [len(s) for s in sizes]),
        np.concatenate([np.arange(len(s)) for s in sizes]),
        np.concatenate(sizes),
        np.concatenate([split.centroids for split in found]),
        np.array([split.silhouette for split in found], np.float32),
        np.array([split.distance for split in found], np.float32),
        settings,
        made_from,
    )


def tables(store: Store, settings: ClusterSettings) -> list[dict[str, Any]]:
    """The clusterings that settings name, as tables: the most clearly split neurons first.

    Returns
    -------
    list of dicts with "layer", "features", "k", and "neurons": dicts with "neuron", "silhouette", "distance" (None
    where there are not two virtual neurons) and "virtual_neurons": dicts with "name", "size", and "classes", the most
    frequent class names with their counts
    """
    collected, attributed, clusterings = read_collected(store), read_attributed(store), read_clusterings(store)
    found = []
    for layer in need_layers(settings.layer, attributed, "attribute"):
        neurons = attributed_neurons(settings.neurons, layer, attributed[layer], collected)
        for features in settings.features:
            for k in settings.k:
                clustering = clusterings[clustering_path(layer, features, k)]
                rows = [_row(int(c), layer, clustering, collected) for c in neurons]
                rows.sort(key=lambda row: (row["silhouette"] is None, -(row["silhouette"] or 0), row["neuron"]))
                found.append({"layer": layer, "features": features, "k": k, "neurons": rows})
    return found


def _row(neuron: int, layer: str, clustering: Clustering, collected: Collected) -> dict[str, Any]:
    row = int(np.searchsorted(clustering.neuron, neuron))
    images, labels = collected.layers[layer].top.image[neuron], clustering.label[row]
    return {
        "neuron": neuron,
        "silhouette": _finite(clustering.silhouette[row]),
        "distance": _finite(clustering.distance[row]),
        "virtual_neurons": [
            {
                "name": f"{neuron}.{virtual + 1}",
                "size": int((labels == virtual).sum()),
                "classes": _classes(images[labels == virtual], collected),
            }
            for virtual in range(int(labels.max(initial=-1)) + 1)
        ],
    }


def _classes(images: np.ndarray, collected: Collected) -> list[list[Any]]:
    """The most frequent class names among images, with counts; nothing where no image has a label."""
    if (collected.image_label < 0).all():
        return []
    names = dict(enumerate(collected.label_names))
    counts = Counter(collected.label_of[int(image)] for image in images)
    return [
        [names.get(label, str(label)) if label >= 0 else "no label", count]
        for label, count in counts.most_common(CLASSES)
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
