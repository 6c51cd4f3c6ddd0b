"""label: words for neurons and virtual neurons, and how good they are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Clustering, Labels, read_labels, write_labels
from pure_cli.artifacts.labels import BY_UNIT, RARE, UNJUDGED
from pure_cli.config import fingerprint
from pure_cli.core.neurons import choose_neurons
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.provenance import Provenance
from pure_cli.settings.label import SOFT_WPMI, LabelSettings
from pure_cli.stages.embeddings.judges import require_embedder, warnings
from pure_cli.stages.inputs.choice import require_virtual
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.inputs.freshness import read_earlier
from pure_cli.stages.inputs.units import Units, units_of
from pure_cli.stages.labelling.embeddings import layers_with_texts, virtual_of_layer, with_texts
from pure_cli.stages.labelling.words import Words, key_of, read_words
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.resume.unfinished_work import drop_unneeded
from pure_cli.stages.runtime.images import DATA_CACHE
from pure_cli.waiting import waiting_for
from pure_cli.words import counted
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.stages.labelling.images import Seen

FEW = 10  # concepts, among which the presence of one says little


def label(store: Store, settings: LabelSettings, progress: Progress = silent) -> Outcome:
    """Find the labels that are not there yet, and write ``labels.h5``.

    Raises
    ------
    PureError
        No embeddings that words can be compared with, stale ones, no virtual neurons where they are asked for, a list
        of concepts or images that cannot be read.
    """
    begin, sources = time.perf_counter(), Sources(store, settings.force)
    layers = layers_with_texts(sources, settings.layer, settings.embedder)
    there = read_earlier(read_labels, store, settings.force)
    tasks = [_task(layer, sources, there.get(layer), settings) for layer in layers]
    outcome = Outcome("label", layers, sum(len(task.missing) for task in tasks), "neurons")
    for task in tasks:
        if len(task.missing):
            new = _computed(task, outcome.notes, progress)
            there[task.layer] = task.valid.joined(new) if task.valid else new
            write_labels(store, there)
            if task.replaced:
                outcome.notes.append(_lost(task.replaced, task))
    drop_unneeded(store, "label", lambda work: False)
    outcome.details["tables"] = [_table(task, there[task.layer]) for task in tasks]
    outcome.notes = list(dict.fromkeys(outcome.notes))
    outcome.seconds = time.perf_counter() - begin
    return outcome


@dataclass(frozen=True, eq=False)
class LabelTask:
    """What is to be labelled of a layer.

    Attributes
    ----------
    embeddings : of the references, that words can be compared with
    source, clustering : of the virtual neurons; None where none are labelled
    kinds : of units
    listing : the images that judge
    neurons : that are asked for
    missing : those of them without labels
    valid : what is there and was made from the same things
    replaced : what is there and was made from others
    """

    layer: str
    sources: Sources
    embeddings: FeatureSource
    source: FeatureSource | None
    clustering: Clustering | None
    kinds: list[str]
    listing: Listing
    neurons: np.ndarray
    missing: np.ndarray
    valid: Labels | None
    replaced: Labels | None
    settings: LabelSettings
    provenance: Provenance

    def units(self, neurons: np.ndarray) -> Units:
        """Of some neurons."""
        return units_of(self.sources.collected.layers[self.layer], self.clustering, neurons, self.kinds)

    @cached_property
    def words(self) -> Words:
        """Concepts to choose from."""
        return read_words(self.settings.concepts, self.listing)

    @property
    def recipe(self) -> dict[str, Any]:
        """Of the embedder."""
        return self.sources.embedded[self.layer, self.embeddings.features].recipe

    @property
    def own_images(self) -> bool:
        """The images that judge are those that references are among."""
        return self.listing.fingerprint == self.sources.listing([self.layer]).fingerprint


def _task(layer: str, sources: Sources, there: Labels | None, settings: LabelSettings) -> LabelTask:
    listing = sources.images([layer], settings.data, None)
    embeddings = with_texts(sources, layer, settings.embedder)
    require_embedder(sources, layer, embeddings.features)
    source, clustering, kinds = virtual_of_layer(sources, layer, settings.units)
    count = sources.collected.layers[layer].neurons
    neurons = choose_neurons(
        settings.neurons, embeddings.neuron, count, layer, f"{embeddings.features} embeddings", embeddings.command, True
    )
    if clustering is not None:
        require_virtual(clustering, settings.neurons, count, layer)
    how = settings.model_dump(mode="json", include={"by", "template", "top", "sample", "shuffles", "seed"})
    how |= {"layer": layer, "concepts": settings.concepts, "units": kinds, "embedder": embeddings.features}
    how |= settings.arithmetic
    if settings.by == SOFT_WPMI:  # a concept's prior is over the units
        neurons = np.union1d(neurons, there.neurons) if there is not None else neurons
        how["neurons"] = neurons.tolist()
    made_from = {
        **embeddings.made_from,
        "cluster": clustering.provenance.fingerprint if clustering is not None else "",
        "images": listing.fingerprint if settings.sample else "",
        "words": fingerprint(key_of(settings.concepts, listing)),
    }
    provenance = Provenance(how, made_from)
    valid = there if there is not None and there.provenance == provenance else None
    if valid is not None and settings.force:
        valid = valid.without(neurons)
    missing = np.setdiff1d(neurons, valid.neurons) if valid else neurons
    replaced = there if valid is None else None
    return LabelTask(
        layer, sources, embeddings, source, clustering, kinds, listing, neurons, missing, valid, replaced, settings,
        provenance,
    )  # fmt: skip


def _lost(before: Labels, task: LabelTask) -> str:
    """What was there with other options and is not any more, in a sentence."""
    lost = len(np.setdiff1d(before.neurons, task.neurons))
    told = f"This replaced the labels of '{task.layer}' that were made with other options: a layer has those of one run"
    if not lost:
        return f"{told}."
    return f"{told}; {counted(lost, 'neuron')} had some and {'has' if lost == 1 else 'have'} none now."


def _computed(task: LabelTask, notes: list[str], progress: Progress) -> Labels:
    """First the words, then images that judge, then the units one by one."""
    words = task.words
    notes += words.notes
    notes += warnings(task.embeddings.features, task.recipe, task.sources.collected.origin)
    if task.listing.names and not (words.label >= 0).any():
        notes.append("None of the words names a class of the data; --concepts classes takes the names of these.")
    units = task.units(task.missing)
    vectors = _Vectors.of(task, words, notes, progress)
    seen = _look(task, units, notes, progress) if task.settings.sample else None
    total, finished = 2 * len(units), 0

    def done(steps: int) -> None:
        nonlocal finished
        finished += steps
        progress(finished, total)

    concept, score = _chosen(task, units, vectors, seen, done)
    arrays = {"unit": units.identity, "concept": concept, "score": score.astype(np.float32)}
    if seen is None or len(words) < 2:
        if seen is not None:
            notes.append("A single concept cannot be judged: its presence is measured against other concepts.")
        arrays |= _unjudged(concept)
    else:
        arrays |= _judged(task, units, words, vectors, seen, concept, score, done, notes)
    return _with_names(arrays, words, task.provenance)


@dataclass(frozen=True, eq=False)
class _Vectors:
    """Of concepts, (C, E) of length one.

    Attributes
    ----------
    plain : as CLIP's zero-shot classifiers have them
    apart : without what the template says by itself
    scale : of `pure_cli.embedders.texts.TextTower`
    """

    plain: np.ndarray
    apart: np.ndarray
    scale: float

    @classmethod
    def of(cls, task: LabelTask, words: Words, notes: list[str], progress: Progress) -> _Vectors:
        from pure_cli.concepts import read_templates
        from pure_cli.embedders.texts import both_vectors, cut_texts
        from pure_cli.stages.embeddings.judges import open_texts
        from pure_cli.stages.runtime.arithmetic import open_devices

        templates = read_templates(task.settings.template)
        waiting_for("loading the text tower")
        device = open_devices(task.settings.device)[0]
        tower = open_texts(task.sources, task.layer, task.embeddings.features, device)
        texts, cache = words.concepts.texts, task.sources.store.root / DATA_CACHE
        if told := cut_texts(tower, texts, templates):
            notes.append(told)
        plain, apart = both_vectors(tower, texts, templates, cache=cache, progress=progress)
        return cls(plain, apart, tower.scale)


def _look(task: LabelTask, units: Units, notes: list[str], progress: Progress) -> Seen:
    from pure_cli.stages.assignment.unit_activations import ActivationPass
    from pure_cli.stages.labelling.images import look

    run = ActivationPass(task.sources, task.layer, units, task.source, task.clustering, task.listing, task.settings)
    how = task.settings
    return look(run, task.embeddings.features, how.sample, how.seed, task.provenance, notes, progress)


def _chosen(
    task: LabelTask, units: Units, vectors: _Vectors, seen: Seen | None, done: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(U, T) concepts and their scores, without the images that judge."""
    from pure_cli.stages.labelling.choosing import best_by_similarity, best_by_wpmi, mean_embeddings

    if task.settings.by == SOFT_WPMI:
        if seen is None:
            raise PureError("soft-wpmi chooses by the images that are looked at. Leave --sample 0 out.")
        concept, score = best_by_wpmi(seen, vectors.plain, task.settings.top, done)
        return concept, score
    judging = seen.index[seen.judges] if seen is not None and task.own_images else None
    means = mean_embeddings(units, task.embeddings, judging)
    concept, score = best_by_similarity(means, vectors.apart, task.settings.top)
    done(len(units))
    return concept, score


def _unjudged(concept: np.ndarray) -> dict[str, np.ndarray]:
    nan = np.full(concept.shape, np.nan, np.float32)
    return {
        "present": np.zeros(concept.shape, np.int8),
        **dict.fromkeys(("auprc", "chance", "pearson", "f1"), nan),
        "limit": nan[:, 0],
        "label": concept[:, :1],
        "verdict": np.where(concept[:, 0] >= 0, UNJUDGED, RARE).astype(np.int8),
    }


def _judged(
    task: LabelTask,
    units: Units,
    words: Words,
    vectors: _Vectors,
    seen: Seen,
    concept: np.ndarray,
    score: np.ndarray,
    done: Any,
    notes: list[str],
) -> dict[str, np.ndarray]:
    from pure_cli.core.labelling import Presence
    from pure_cli.stages.labelling.judging import Presences, first_places, judged

    presences = Presences(seen, Presence.among(seen.vector, vectors.plain, vectors.scale), words.label)
    if len(words) < FEW:
        notes.append(
            f"Where the classes of images say nothing, presence is a probability among the {len(words)} concepts of "
            "the list: with so few, images of other things count for one of them. Add others (--concepts imagenet)."
        )
    order = first_places(seen.activation, concept, presences, task.settings.seed)
    concept, score = (np.take_along_axis(one, order, axis=1) for one in (concept, score))
    own = judged(units, concept, presences, task.settings.shuffles, task.settings.seed, done)
    return own | {"concept": concept, "score": score.astype(np.float32)}


def _with_names(arrays: dict[str, np.ndarray], words: Words, provenance: Provenance) -> Labels:
    """With the names of those concepts alone that are some unit's."""
    used = np.unique(np.concatenate([arrays["concept"].ravel(), arrays["label"].ravel()]))
    used = used[used >= 0]
    for name in ("concept", "label"):
        there = arrays[name] >= 0
        arrays[name] = np.where(there, np.searchsorted(used, arrays[name]), -1)
    names = [words.concepts.names[place] for place in used.tolist()]
    order = np.lexsort(arrays["unit"].T[::-1])  # a neuron, then its virtual neurons
    return Labels(**{name: arrays[name][order] for name in BY_UNIT}, names=names, provenance=provenance)


def _table(task: LabelTask, labels: Labels) -> dict[str, Any]:
    from pure_cli.stages.labelling.tables import ClassesOfUnits, table_of

    rows = np.flatnonzero(np.isin(labels.unit[:, 0], task.neurons))
    words, classes = task.words, None
    if (words.label >= 0).any():
        units = task.units(labels.neurons)
        image = np.full((len(labels.unit), units.image.shape[1]), -1, np.int64)
        for row, (neuron, part) in enumerate(labels.unit.tolist()):
            place = int(np.searchsorted(units.neuron, neuron))
            image[row] = np.where(part < 0 or units.label[place] == part, units.image[place], -1)
        classes = ClassesOfUnits(task.sources.collected, image, words.label, words.concepts.names)
    return table_of(labels, task.layer, rows, classes)
