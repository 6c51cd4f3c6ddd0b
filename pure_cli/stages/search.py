"""search: the neurons and virtual neurons for a text, or for what images have in common."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Labels
from pure_cli.core.metrics.semantics import unit_vectors
from pure_cli.errors import PureError
from pure_cli.settings.search import SearchSettings
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.labelling.embeddings import layers_with_texts, virtual_of_layer, with_texts
from pure_cli.stages.labelling.index import UnitIndex, unit_index
from pure_cli.stages.labelling.names import names_of
from pure_cli.stages.labelling.sheet import draw_sheet
from pure_cli.stages.labelling.tables import address
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.runtime.images import DATA_CACHE
from pure_cli.waiting import waiting_for
from pure_cli.words import counted, listed
from pure_cli.workspace import Store

if TYPE_CHECKING:
    import torch

FOLDER = "search"
NOT_IN_NAMES = re.compile(r"[^\w.=-]+")
CONTROL = "imagenet"  # words that a text is held against
NAMED = 3  # images in a title
CLEAR = 0.05  # share of these that may fit a unit better than what is searched for


@dataclass(frozen=True, eq=False)
class SearchedLayer:
    """A layer, and all its units.

    Attributes
    ----------
    labels : what they are called; None where they were not labelled
    """

    layer: str
    embeddings: FeatureSource
    index: UnitIndex
    labels: Labels | None

    def name(self, row: int) -> str:
        """The label of a unit; "" where it has none."""
        neuron, part = self.index.unit[row].tolist()
        return self.labels.text(neuron, part) if self.labels else ""


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
    query = _Query.of(sources, searched[0], settings, outcome.notes, progress)
    found = _ranked(searched, query, settings.count)
    outcome.computed = sum(len(one.index.unit) for one in searched)
    every = np.concatenate([one.index.scores(query.vector) for one in searched])
    outcome.details = {"tables": [_table(found, query, every)], "files": []}
    if settings.sheet:
        file = settings.out or store.root / FOLDER / f"{query.file_name}.png"
        draw_sheet(sources, [(own.embeddings, *own.index.unit[row].tolist()) for own, row in found],
               [_caption(one) for one in outcome.details["tables"][0]["rows"]], query.title, file)  # fmt: skip
        outcome.details["files"] = [str(file)]
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _searched(sources: Sources, outcome: Outcome, settings: SearchSettings) -> Iterator[SearchedLayer]:
    """The layers with embeddings by one embedder, that of the first."""
    kind = ""
    left = []
    for layer in outcome.layers:
        embeddings = with_texts(sources, layer, settings.embedder)
        kind = kind or embeddings.features
        if embeddings.features != kind:
            if kind not in sources.embeddings(layer):
                left.append(layer)
                continue
            embeddings = sources.features_of(layer, kind)
        _, clustering, kinds = virtual_of_layer(sources, layer, settings.units)
        waiting_for("reading the embeddings")
        index = unit_index(sources, layer, embeddings, clustering, kinds)
        labels = names_of(sources.store, layer, clustering) if clustering else None
        yield SearchedLayer(layer, embeddings, index, labels)
    if left:
        outcome.notes.append(f"{listed(left)} left out: no {kind} embeddings, and scores of others do not compare.")


@dataclass(frozen=True, eq=False)
class _Query:
    """What is searched for.

    Attributes
    ----------
    vector : (E,), of length one
    others : (E, W) of other words, of length one; None for images
    title : in tables and on the sheet
    """

    vector: np.ndarray
    others: np.ndarray | None
    title: str

    @property
    def file_name(self) -> str:
        """Of the sheet, without its ending."""
        return NOT_IN_NAMES.sub("-", self.title).strip("-")[:60] or "search"

    @classmethod
    def of(
        cls, sources: Sources, first: SearchedLayer, settings: SearchSettings, notes: list[str], progress: Progress
    ) -> _Query:
        from pure_cli.stages.runtime.arithmetic import open_devices

        device, kind = open_devices(settings.device)[0], first.embeddings.features
        if not settings.image:
            return cls._of_text(sources, first.layer, kind, device, settings, notes, progress)
        files = [*settings.image, *map(Path, settings.text or ())]  # as a shell gives them for --image *.jpg
        vector = _of_images(sources, first.layer, kind, device, files)
        names = [file.name for file in files]
        return cls(vector, None, listed(names) if len(names) <= NAMED else counted(len(names), "image"))

    @classmethod
    def _of_text(
        cls,
        sources: Sources,
        layer: str,
        kind: str,
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
        tower, cache = open_texts(sources, layer, kind, device), sources.store.root / DATA_CACHE
        if told := cut_texts(tower, [[text]], templates):
            notes.append(told)
        own = concept_vectors(tower, [[text]], templates, less_template=True)
        words = read_concepts(CONTROL)[0].texts
        others = concept_vectors(tower, words, templates, less_template=True, cache=cache, progress=progress)
        return cls(own[0], others.T, text)


def _of_images(sources: Sources, layer: str, kind: str, device: torch.device, files: list[Path]) -> np.ndarray:
    """(E,) of length one: the mean of the vectors of image files."""
    import torch

    from pure_cli.data.decode import DamagedImage, decode
    from pure_cli.stages.embeddings.judges import open_images

    pixels = []
    for file in files:
        try:
            pixels.append(np.asarray(decode(file.expanduser())))
        except DamagedImage as error:
            raise PureError(f"{file} cannot be read as an image ({error.reason}).") from None
    waiting_for("loading the image tower")
    tower = open_images(sources, layer, kind, device)
    vectors = tower.embed(torch.stack([tower.preprocess(one) for one in pixels])).cpu().numpy()
    return unit_vectors(vectors.mean(axis=0)[None])[0]


def _ranked(searched: list[SearchedLayer], query: _Query, count: int) -> list[tuple[SearchedLayer, int]]:
    """The units most like what is searched for, the most like first."""
    scores = [one.index.scores(query.vector) for one in searched]
    every = np.concatenate(scores)
    which = np.concatenate([np.full(len(one), number) for number, one in enumerate(scores)])
    row = np.concatenate([np.arange(len(one)) for one in scores])
    best = np.argsort(-every, kind="stable")[:count]
    return [(searched[which[place]], int(row[place])) for place in best.tolist()]


def _table(found: list[tuple[SearchedLayer, int]], query: _Query, every: np.ndarray) -> dict[str, Any]:
    """A row for each unit; `every` has the scores of all."""
    rows = []
    spread = float(every.std()) or 1.0
    for own, row in found:
        index = UnitIndex(own.index.unit[[row]], own.index.mean[[row]])
        score = float(index.scores(query.vector)[0])
        one = {"unit": address(own.layer, *own.index.unit[row].tolist()), "score": score, "label": own.name(row)}
        if query.others is not None:
            one["better words"] = int((index.scores(query.others)[0] > score).sum())
        one["z"] = (score - float(every.mean())) / spread
        rows.append(one)
    words = query.others.shape[1] if query.others is not None else 0
    labelled = ["label"] if any(row["label"] for row in rows) else []
    note = "score: cosine with the mean embedding of the unit's references; z: the same in standard deviations above "
    note += "the mean of all units."
    if words:
        note += f" better words: how many of {words:,} other words ({CONTROL}) fit the unit better; few is good."
    return {
        "name": "search",
        "title": f"{query.title}: {counted(len(every), 'unit')} looked at",
        "columns": ["unit", "score", "z", *(["better words"] if words else []), *labelled],
        "rows": rows,
        "note": note,
        "verdict": _verdict(rows, words),
    }


def _verdict(rows: list[dict[str, Any]], words: int) -> str:
    first = rows[0]
    told = f"The most like it is {first['unit']} ({first['score']:.3f})"
    if not words:
        return f"{told}."
    if first["better words"] > CLEAR * words:
        return (
            f"No unit is clearly about it: even of {first['unit']}, the most like it ({first['score']:.3f}), "
            f"{first['better words']:,} of {words:,} other words fit better."
        )
    return f"{told}: {first['better words']:,} of {words:,} other words fit it better."


def _caption(row: dict[str, Any]) -> tuple[str, str]:
    """Name and detail of a row of the sheet."""
    label = f" · “{row['label']}”" if row["label"] else ""
    return row["unit"], f"{row['score']:.3f}{label}"
