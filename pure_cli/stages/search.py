"""search: the neurons and virtual neurons for a text, or for what images have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Clustering, Labels, NeuronRows
from pure_cli.core.metrics.semantics import unit_vectors
from pure_cli.errors import PureError
from pure_cli.settings.search import SearchSettings
from pure_cli.stages.embeddings.judges import of_same_embedder, warnings
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.inputs.units import address
from pure_cli.stages.labelling.embeddings import layers_with_texts, virtual_of_layer, with_texts
from pure_cli.stages.labelling.index import UnitIndex, best_of_words, unit_index
from pure_cli.stages.labelling.names import names_of
from pure_cli.stages.labelling.sheet import draw_sheet
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.runtime.images import DATA_CACHE
from pure_cli.waiting import waiting_for
from pure_cli.words import counted, in_file_names, listed
from pure_cli.workspace import Store

if TYPE_CHECKING:
    import torch

FOLDER = "search"
CONTROL = "imagenet"  # words that a text is held against
UNCLEAR = 0.5  # share of these that find a unit more like them
NAMED = 3  # images in a title


@dataclass(frozen=True, eq=False)
class SearchedLayer:
    """A layer, and all its units.

    Attributes
    ----------
    clustering : of the virtual neurons; None where neurons alone are looked at
    labels : what they are called; None where they were not labelled
    """

    embeddings: FeatureSource
    clustering: Clustering | None
    index: UnitIndex
    labels: Labels | None

    @property
    def layer(self) -> str:
        return self.embeddings.layer

    def name(self, row: int) -> str:
        """The label of a unit; "" where it has none."""
        neuron, part = self.index.unit[row].tolist()
        return self.labels.text(neuron, part) if self.labels else ""


Found = tuple[SearchedLayer, int, float]
"""A layer, the row of one of its units in the index, and its score."""


def search(store: Store, settings: SearchSettings, progress: Progress = silent) -> Outcome:
    """Rank all units, and draw a contact sheet of the first ones.

    Raises
    ------
    PureError
        Neither a text nor images, no embeddings that words can be compared with, stale ones, an image that
        cannot be read.
    """
    begin, sources = time.perf_counter(), Sources(store)
    outcome = Outcome("search", layers_with_texts(sources, settings.layer, settings.embedder), 0, "units")
    searched = list(_searched(sources, outcome, settings))
    first = sources.embedded[searched[0].layer, searched[0].embeddings.features]
    outcome.notes += warnings(searched[0].embeddings.features, first.recipe, sources.collected.origin)
    query = _Query.of(sources, searched, settings, outcome.notes, progress)
    scores = [one.index.scores(query.vector) for one in searched]
    found, every = _best(searched, scores, settings.count), np.concatenate(scores)
    outcome.computed = len(every)
    table = _table(found, query, every)
    outcome.details = {"tables": [table], "files": []}
    if settings.sheet:
        file = settings.out or store.root / FOLDER / f"{query.file_name}.png"
        draw_sheet(sources, [(own.embeddings, own.clustering, *own.index.unit[row].tolist()) for own, row, _ in found],
               [_caption(one) for one in table["rows"]], query.title, table["verdict"], file)  # fmt: skip
        outcome.details["files"] = [str(file)]
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _searched(sources: Sources, outcome: Outcome, settings: SearchSettings) -> Iterator[SearchedLayer]:
    """The layers with embeddings by one embedder, that of the first."""
    first: NeuronRows | None = None
    for layer in outcome.layers:
        there = sources.embeddings(layer)
        first = first or there[with_texts(sources, layer, settings.embedder).features]
        kind = next((name for name, rows in there.items() if of_same_embedder(rows, first)), "")
        if not kind:
            outcome.notes.append(
                f"'{layer}' is left out: its embeddings are by another network or of other crops than those of "
                f"'{outcome.layers[0]}', and scores do not compare."
            )
            continue
        embeddings = sources.features_of(layer, kind)
        _, clustering, kinds = virtual_of_layer(sources, layer, settings.units)
        waiting_for("reading the embeddings")
        index = unit_index(sources, layer, embeddings, clustering, kinds)
        yield SearchedLayer(embeddings, clustering, index, names_of(sources.store, layer, clustering))


@dataclass(frozen=True, eq=False)
class _Query:
    """What is searched for.

    Attributes
    ----------
    vector : (E,), of length one
    others : (W,) the highest scores of other words with any unit; None for images
    title : in tables and on the sheet
    """

    vector: np.ndarray
    others: np.ndarray | None
    title: str

    @property
    def file_name(self) -> str:
        """Of the sheet, without its ending."""
        return in_file_names(self.title)[:60] or "search"

    @classmethod
    def of(
        cls,
        sources: Sources,
        searched: Sequence[SearchedLayer],
        settings: SearchSettings,
        notes: list[str],
        progress: Progress,
    ) -> _Query:
        from pure_cli.stages.runtime.arithmetic import open_devices

        device = open_devices(settings.device)[0]
        if not settings.image:
            return cls._of_text(sources, searched, device, settings, notes, progress)
        files = [*settings.image, *map(Path, settings.text or ())]  # as a shell gives them for --image *.jpg
        vector = _of_images(sources, searched[0], device, files)
        names = [file.stem for file in files]
        return cls(vector, None, listed(names) if len(names) <= NAMED else counted(len(names), "image"))

    @classmethod
    def _of_text(
        cls,
        sources: Sources,
        searched: Sequence[SearchedLayer],
        device: torch.device,
        settings: SearchSettings,
        notes: list[str],
        progress: Progress,
    ) -> _Query:
        from pure_cli.concepts import read_concepts, read_templates
        from pure_cli.embedders.texts import concept_vectors, cut_texts
        from pure_cli.stages.embeddings.judges import open_texts

        text, templates = " ".join(" ".join(settings.text or ()).split()), read_templates(settings.template)
        if not text:
            raise PureError('Say what is searched for: a text, as in pure search "dog nose", or --image FILE.')
        waiting_for("loading the text tower")
        tower = open_texts(sources, searched[0].layer, searched[0].embeddings.features, device)
        cache = sources.store.root / DATA_CACHE
        if told := cut_texts(tower, [[text]], templates):
            notes.append(told)
        own = concept_vectors(tower, [[text]], templates, less_template=True)
        words = read_concepts(CONTROL)[0].texts
        others = concept_vectors(tower, words, templates, less_template=True, cache=cache, progress=progress)
        return cls(own[0], best_of_words(sources.store, [one.index for one in searched], others.T), text)


def _of_images(sources: Sources, first: SearchedLayer, device: torch.device, files: list[Path]) -> np.ndarray:
    """(E,) of length one: the mean of the vectors of image files."""
    import torch

    from pure_cli.data.decode import DamagedImage, decode
    from pure_cli.stages.embeddings.judges import open_images

    pixels = []
    for file in files:
        try:
            pixels.append(np.asarray(decode(file.expanduser())))
        except DamagedImage as error:
            raise PureError(
                f"{file} cannot be read as an image ({error.reason}). Give images or a text, and not both."
            ) from None
    waiting_for("loading the image tower")
    tower = open_images(sources, first.layer, first.embeddings.features, device)
    vectors = tower.embed(torch.stack([tower.preprocess(one) for one in pixels])).cpu().numpy()
    return unit_vectors(vectors.mean(axis=0)[None])[0]


def _best(searched: Sequence[SearchedLayer], scores: Sequence[np.ndarray], count: int) -> list[Found]:
    """The units with the highest scores, the highest first."""
    every = np.concatenate(scores)
    ends = np.cumsum([len(one) for one in scores])
    best = np.argsort(-every, kind="stable")[:count]
    layers = np.searchsorted(ends, best, side="right").tolist()
    return [
        (searched[layer], place - int(ends[layer] - len(scores[layer])), float(every[place]))
        for layer, place in zip(layers, best.tolist(), strict=True)
    ]


def _table(found: list[Found], query: _Query, every: np.ndarray) -> dict[str, Any]:
    """A row for each unit; `every` has the scores of all."""
    rows, spread = [], float(every.std()) or 1.0
    for own, row, score in found:
        unit = address(own.layer, *own.index.unit[row].tolist())
        rows.append({"unit": unit, "score": score, "z": (score - float(every.mean())) / spread, "label": own.name(row)})
    return {
        "name": "search",
        "title": f"{query.title}: {counted(len(every), 'unit')} looked at",
        "columns": ["unit", "score", "z", *(["label"] if any(row["label"] for row in rows) else [])],
        "rows": rows,
        "note": (
            "score: cosine with the mean embedding of the unit's references; z: the same in standard deviations above "
            "the mean of all units."
        ),
        "verdict": _verdict(rows[0], query),
    }


def _verdict(first: dict[str, Any], query: _Query) -> str:
    told = f"The most like it is {first['unit']} ({first['score']:.3f})."
    if query.others is None:
        return told
    better, count = int((query.others > first["score"]).sum()), len(query.others)
    told += f" Of {count:,} other words ({CONTROL}), {better:,} find a unit that is more like them"
    return f"{told}: no unit is clearly about this." if better > UNCLEAR * count else f"{told}."


def _caption(row: dict[str, Any]) -> tuple[str, str]:
    """Name and detail of a row of the sheet."""
    label = f" · “{row['label']}”" if row["label"] else ""
    return row["unit"], f"{row['score']:.3f}{label}"
