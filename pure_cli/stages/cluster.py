"""cluster: the virtual neurons of each neuron, by k-means on features of its references."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pure_cli.artifacts import (
    Clustering,
    Collected,
    Labels,
    clustering_path,
    read_clusterings,
    write_clusterings,
)
from pure_cli.errors import PureError
from pure_cli.settings.cluster import ClusterSettings
from pure_cli.settings.shared import AUTO
from pure_cli.stages.inputs.features import NULLS, RULE, FeatureSource, Sources
from pure_cli.stages.inputs.freshness import read_earlier
from pure_cli.stages.inputs.lower_channels import CHANNELS, ChannelReader
from pure_cli.stages.labelling.names import names_of
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.waiting import waiting_for
from pure_cli.words import computed_in, counted
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.core.clusters import VirtualNeurons
    from pure_cli.core.meanings import Meanings

CLASSES = 2  # named for each virtual neuron
TOGETHER = 256  # neurons whose features are held at a time


def cluster(store: Store, settings: ClusterSettings, progress: Progress = silent) -> Outcome:
    """Find the virtual neurons that are not there yet, and write ``cluster.h5``.

    Raises
    ------
    PureError
        No relevances, stale ones, unknown layer, neuron or features, k larger than the number of references.
    """
    return add_clusterings(Sources(store), settings, progress)


def add_clusterings(sources: Sources, settings: ClusterSettings, progress: Progress = silent) -> Outcome:
    """As `cluster`, for what is read of a workspace."""
    begin, store = time.perf_counter(), sources.store
    clusterings = read_earlier(read_clusterings, store, settings.force)
    jobs = []
    for features in settings.features:
        for layer in sources.layers(settings.layer, features):
            source = sources.features_of(layer, sources.named(layer, features))
            neurons = source.choose(settings.neurons, sources.collected.layers[layer].neurons)
            for k in settings.k:
                if isinstance(k, int):
                    _check_k(k, layer, sources.collected)
                jobs.append(_job(source, k, neurons, clusterings, settings))
    layers = list(dict.fromkeys(job.source.layer for job in jobs))
    todo = [job for job in jobs if len(job.missing)]
    total, done = sum(len(job.missing) for job in todo), 0
    outcome = Outcome("cluster", layers, total, "fits")
    if todo:
        waiting_for("reading the features")
    for alike in _alike(todo):
        found: list[list[Found]] = []
        for splits in _splits(alike, sources):
            found.append(splits)
            progress(done := done + len(alike), total)
        for job, of_job in zip(alike, zip(*found, strict=True), strict=True):
            if job.valid is None and job.path in clusterings:
                outcome.notes.append(
                    f"The earlier virtual neurons of '{job.source.layer}' ({job.what}) were stale and were replaced."
                )
            new = _as_clustering(job, list(of_job))
            clusterings[job.path] = job.valid.joined(new) if job.valid else new
    used = {
        (job.source.layer, computed_in(sources.precisions(job.source.layer, job.source.features))): None for job in todo
    }
    outcome.notes += [f"Virtual neurons of '{layer}' are of {rough}." for layer, rough in used if rough]
    if todo:
        write_clusterings(store, clusterings)
    outcome.seconds = time.perf_counter() - begin
    return outcome


@dataclass(frozen=True)
class ClusteringJob:
    """One clustering of a layer.

    Attributes
    ----------
    threshold : polysemanticity up to which a neuron is not split, where k is chosen
    missing : (N,) neurons that it lacks
    valid : what of it is there and was made from the same things
    """

    source: FeatureSource
    k: int | str
    threshold: float
    seed: int
    missing: np.ndarray
    valid: Clustering | None

    @property
    def path(self) -> str:
        return clustering_path(self.source.layer, self.source.features, self.k)

    @property
    def what(self) -> str:
        return f"{self.source.features} features, k = {self.k}"


class Found(NamedTuple):
    """The virtual neurons of a neuron, and what says how many there are where k was chosen."""

    virtual: VirtualNeurons
    meanings: Meanings | None = None


def _check_k(k: int, layer: str, collected: Collected) -> None:
    references = collected.layers[layer].most_references
    if k > references:
        raise PureError(f"--k {k} is more than the {counted(references, 'reference')} that a neuron of '{layer}' has.")


def _job(
    source: FeatureSource, k: int | str, neurons: np.ndarray, there: Mapping[str, Clustering], settings: ClusterSettings
) -> ClusteringJob:
    """One clustering, and the neurons that it lacks."""
    valid = there.get(clustering_path(source.layer, source.features, k))
    if valid is not None and valid.provenance != source.clustering_provenance(k, settings.seed):
        valid = None
    if valid is not None and settings.force:
        valid = valid.without(neurons)
    missing = np.setdiff1d(neurons, valid.neuron) if valid else neurons
    return ClusteringJob(source, k, source.threshold() if k == AUTO else 0.0, settings.seed, missing, valid)


def _alike(jobs: list[ClusteringJob]) -> list[list[ClusteringJob]]:
    """Jobs that differ in k alone: their points are read, and the distances among them computed, once."""
    groups: dict[tuple[Any, ...], list[ClusteringJob]] = {}
    for job in jobs:
        key = (job.source.layer, job.source.features, tuple(job.missing.tolist()))
        groups.setdefault(key, []).append(job)
    return list(groups.values())


def _splits(alike: list[ClusteringJob], sources: Sources) -> Iterator[list[Found]]:
    """The virtual neurons of each missing neuron, for each of the jobs."""
    from pure_cli.core.clusters import split_all
    from pure_cli.core.meanings import KS, meanings

    source, missing, seed = alike[0].source, alike[0].missing, alike[0].seed
    choosing = any(job.k == AUTO for job in alike)
    ks = sorted({job.k for job in alike if isinstance(job.k, int)} | ({1, *KS} if choosing else set()))
    rows = source.rows(missing)
    for start in range(0, len(missing), TOGETHER):
        block = missing[start : start + TOGETHER].tolist()
        present = [sources.excites(source.layer, neuron) for neuron in block]
        features = [next(rows) for _ in block]
        judged = meanings(features, present, seed, NULLS, [RULE]) if choosing else repeat(None)
        for of_neuron, verdict in zip(split_all(features, present, ks, seed), judged, strict=False):
            by_k = dict(zip(ks, of_neuron, strict=True))
            found = []
            for job in alike:
                if isinstance(job.k, int):
                    found.append(Found(by_k[job.k]))
                    continue
                assert verdict is not None
                k = verdict.k[RULE] if verdict.polysemanticity > job.threshold else 1
                found.append(Found(by_k[k], verdict))
            yield found


def _as_clustering(job: ClusteringJob, found: list[Found]) -> Clustering:
    splits = [one.virtual for one in found]
    judged = [one.meanings for one in found if one.meanings]
    sizes = [split.sizes for split in splits]
    return Clustering(
        job.missing,
        np.stack([split.labels for split in splits]),
        np.repeat(job.missing, [len(s) for s in sizes]),
        np.concatenate([np.arange(len(s)) for s in sizes]),
        np.concatenate(sizes),
        np.concatenate([split.centroids for split in splits]),
        np.array([split.silhouette for split in splits], np.float32),
        np.array([split.distance for split in splits], np.float32),
        job.source.clustering_provenance(job.k, job.seed),
        k=np.array([len(s) for s in sizes] if judged else [], np.int64),
        polysemanticity=np.array([one.polysemanticity for one in judged], np.float32),
        p=np.array([one.p for one in judged], np.float32),
    )


def tables(store: Store, settings: ClusterSettings, members: bool = False) -> list[dict[str, Any]]:
    """The clusterings that settings name, as tables: the most clearly split neurons first.

    Parameters
    ----------
    members : with the images and the lower channels of each virtual neuron, and those that set it apart

    Returns
    -------
    list of dicts with "layer", "features", "k", and "neurons": dicts with "neuron", "name" (of a direction, else ""),
    "tied" (how many references share their score with another, so that their order says nothing), "silhouette",
    "distance" (None where there are not two virtual neurons) and "virtual_neurons": dicts with "name", "size",
    "classes", the names of the classes that stand out with their counts, and "lift", how many times more frequent each
    of them is than among all images, both with "label" where `pure label` named them; and where k is auto
    "polysemanticity" and "p", of
    `pure_cli.core.meanings.Meanings`, "threshold" of polysemanticity, and "refused_by": "p", "threshold" or "gap", why
    there is one virtual neuron, None where there are more; with `members`, virtual neurons have "images", dicts with
    "index", "path" and "score", the highest first, "lower_channels", dicts with "layer", "channel" and "value" in
    the centroid, the largest first, none where the features are not of the channels of lower layers, and "channels",
    of `pure_cli.stages.inputs.lower_channels.LowerChannel`, that set it apart, None where no relevances tell
    """
    sources, clusterings = Sources(store), read_clusterings(store)
    collected, found = sources.collected, []
    for features in settings.features:
        for layer in sources.layers(settings.layer, features):
            kind = sources.named(layer, features)
            source = sources.features_of(layer, kind, check=False)
            neurons = source.choose(settings.neurons, collected.layers[layer].neurons)
            channels = source.lower_channels() if members else []
            for k in settings.k:
                clustering = clusterings[clustering_path(layer, kind, k)]
                ordered = in_order(clustering, neurons, settings.sort)
                rows = [_row(int(c), layer, clustering, collected) for c in ordered]
                _add_names(rows, names_of(store, layer, clustering))
                if members:
                    _add_members(rows, layer, clustering, collected, channels)
                    _add_channels(rows, ChannelReader(sources, layer, clustering))
                found.append({"layer": layer, "features": kind, "k": k, "neurons": rows})
    return found


def in_order(clustering: Clustering, neurons: np.ndarray, sort: str) -> np.ndarray:
    """Neurons as a table has them.

    Parameters
    ----------
    sort : "neuron", ascending; "silhouette", or "polysemantic", which is the silhouette where k was not chosen for each
        neuron: the highest first, neurons without one last
    """
    if sort == "neuron":
        return np.sort(neurons)
    polysemantic = sort == "polysemantic" and clustering.chosen
    value = clustering.polysemanticity if polysemantic else clustering.silhouette
    own = value[np.searchsorted(clustering.neuron, neurons)].astype(float)
    return neurons[np.lexsort([neurons, -own, np.isnan(own)])]


def _row(neuron: int, layer: str, clustering: Clustering, collected: Collected) -> dict[str, Any]:
    row = int(np.searchsorted(clustering.neuron, neuron))
    images, labels = collected.layers[layer].top.image[neuron], clustering.label[row]
    return {
        **chosen_by(clustering, row),
        "neuron": neuron,
        "name": collected.layers[layer].name_of(neuron),
        "tied": int(collected.layers[layer].tied[neuron]),
        "silhouette": _finite(clustering.silhouette[row]),
        "distance": _finite(clustering.distance[row]),
        "virtual_neurons": [
            {
                "name": f"{neuron}.{virtual + 1}",
                "size": int((labels == virtual).sum()),
                **classes_of(images[labels == virtual], collected),
            }
            for virtual in range(int(labels.max(initial=-1)) + 1)
        ],
    }


def _add_names(rows: list[dict[str, Any]], names: Labels | None) -> None:
    """What neurons and virtual neurons are called; nothing where they were not labelled."""
    for row in rows if names else ():
        assert names is not None
        row["label"] = names.text(row["neuron"])
        for part, virtual in enumerate(row["virtual_neurons"]):
            virtual["label"] = names.text(row["neuron"], part)


def _add_members(
    rows: list[dict[str, Any]],
    layer: str,
    clustering: Clustering,
    collected: Collected,
    channels: list[tuple[str, int]],
) -> None:
    """The images of each virtual neuron with their scores, and the lower channels that its centroid is largest at."""
    top = collected.layers[layer].top
    for row in rows:
        neuron = row["neuron"]
        labels = clustering.label[np.searchsorted(clustering.neuron, neuron)]
        centroids = clustering.centroid[clustering.virtual_neuron == neuron]
        for number, virtual in enumerate(row["virtual_neurons"]):
            own = np.flatnonzero(labels == number)
            images, scores = top.image[neuron][own].tolist(), top.value[neuron][own].tolist()
            virtual["images"] = [
                {"index": image, "path": collected.path_of[image], "score": score}
                for image, score in zip(images, scores, strict=True)
            ]
            largest = np.argsort(-np.abs(centroids[number]), kind="stable")[: CHANNELS if channels else 0]
            virtual["lower_channels"] = [
                {"layer": channels[i][0], "channel": channels[i][1], "value": float(centroids[number][i])}
                for i in largest.tolist()
            ]


def _add_channels(rows: list[dict[str, Any]], reader: ChannelReader) -> None:
    """The lower channels that set each virtual neuron apart from its siblings."""
    for row in rows:
        apart = reader.setting_apart(row["neuron"])
        for number, virtual in enumerate(row["virtual_neurons"]):
            virtual["channels"] = None if apart is None else [one.as_dict() for one in apart[number]]


def chosen_by(clustering: Clustering, row: int) -> dict[str, Any]:
    """By what k was chosen for a neuron, as of `tables`; nothing where it was not."""
    if not clustering.chosen:
        return {}
    polysemanticity, p = float(clustering.polysemanticity[row]), float(clustering.p[row])
    threshold = float(clustering.provenance.settings["threshold"])
    one = int(clustering.k[row]) == 1
    return {
        "polysemanticity": polysemanticity,
        "p": p,
        "threshold": threshold,
        "refused_by": _refused_by(polysemanticity, p, threshold) if one else None,
    }


def _refused_by(polysemanticity: float, p: float, threshold: float) -> str:
    """The first criterion by which a neuron has one meaning."""
    from pure_cli.core.meanings import ALPHA

    if p > ALPHA:
        return "p"
    return "threshold" if polysemanticity <= threshold else RULE


def classes_of(images: np.ndarray, collected: Collected) -> dict[str, list[Any]]:
    """Of the classes that stand out among images, names and counts, and the lift of each; nothing without labels.

    The lift is the share among the images over the share among all that were seen. Those above 1 stand out, and the
    more the larger count · log(lift) is, what the class adds to the divergence (Kullback and Leibler 1951) of the
    images from the data set: neither a class that is everywhere nor a rare one with an image or two. Where all classes
    are equally frequent, this is the order of the counts. Where no one counted, the most frequent are taken, with None
    for the lift.
    """
    if (collected.image_label < 0).all():
        return {"classes": [], "lift": []}
    names = dict(enumerate(collected.label_names))
    counts = Counter(collected.label_of[int(image)] for image in images).most_common()
    everywhere, seen = collected.images_of_label, collected.origin["images"]
    lift = {label: count * seen / (len(images) * everywhere[label]) for label, count in counts} if everywhere else {}
    if lift:
        counts = [(label, count) for label, count in counts if lift[label] > 1]
        counts.sort(key=lambda one: -one[1] * math.log(lift[one[0]]))
    return {
        "classes": [[names.get(k, str(k)) if k >= 0 else "no label", count] for k, count in counts[:CLASSES]],
        "lift": [lift.get(label) for label, _ in counts[:CLASSES]],
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
