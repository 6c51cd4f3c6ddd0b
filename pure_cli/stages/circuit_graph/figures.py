"""Figures of circuits: a panel for each virtual neuron of a neuron, with what its channels saw."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import ChannelImage, Circuit, Labels, NeuronCircuits, clustering_path
from pure_cli.core.directions import module_of
from pure_cli.errors import PureError
from pure_cli.models.spec import parse_model
from pure_cli.settings.render import RenderSettings
from pure_cli.stages.circuit_graph.compute import CircuitTask, Grapher, find_tasks
from pure_cli.stages.embeddings.crops import WHOLE, HeatmapReader
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.labelling.names import names_of
from pure_cli.stages.neuron_figures.index import CIRCUITS, FigureIndex, figure_file
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, read_images
from pure_cli.words import computed_in
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.views.circuit import Panel

VIEW = 1  # raised when figures come to look different
Seen = tuple[int, ChannelImage]  # a channel and an image that it sees


@dataclass(frozen=True)
class CircuitFigure:
    """The figure of one neuron, the virtual neuron that is asked for first.

    Attributes
    ----------
    number : of that, counted from 1; None for the neuron
    names : of the neuron and its virtual neurons; None where they were not labelled
    """

    task: CircuitTask
    number: int | None
    settings: RenderSettings
    names: Labels | None = None

    @property
    def file(self) -> Path:
        address = f"{self.task.neuron}.{self.number}" if self.number else self.task.neuron
        return figure_file(self.task.folder, self.task.clustering, address, self.settings.format)

    @property
    def entry(self) -> dict[str, Any]:
        """What the figure is made from."""
        own = self.task.clustering.provenance
        path = clustering_path(self.task.layer, own.settings["features"], own.settings["k"])
        look = {"crop": self.settings.crop, "graph": self.task.provenance.fingerprint, "view": VIEW}
        shown = self.names.shown_for(self.task.neuron) if self.names else {}
        return {"clustering": path, "fingerprint": own.fingerprint, "look": look, **shown}


def render_circuits(store: Store, settings: RenderSettings, progress: Progress = silent) -> Outcome:
    """Compute the graphs and draw the figures that are not there yet.

    Raises
    ------
    PureError
        There is no such virtual neuron, it is stale, or its relevances cannot be followed through these layers.
    """
    begin = time.perf_counter()
    sources = Sources(store)
    folder = settings.out or store.root / CIRCUITS
    if folder.exists() and not folder.is_dir():
        raise PureError(f"{folder} is a file. Choose a folder for the figures with --out.")
    grapher, index = Grapher(sources, settings), FigureIndex(folder)
    tasks = find_tasks(sources, settings, folder)
    figures = [
        CircuitFigure(task, number, settings, names)
        for task in tasks
        for names in [names_of(store, task.layer, task.clustering)]
        for number in task.wanted
    ]
    wanted = [one for one in figures if settings.force or grapher.earlier(one.task) is None or not index.has(one)]
    for one in wanted:
        found = grapher.graphs(one.task, progress)
        _draw(one, found, grapher)
        index.add(one)
    outcome = Outcome("render", list(dict.fromkeys(task.layer for task in tasks)), len(wanted), "figures")
    outcome.notes = list(dict.fromkeys(grapher.notes))
    outcome.details = {
        "folder": str(folder),
        "files": [str(one.file) for one in figures],
        "circuits": list(dict.fromkeys(str(task.file) for task in tasks)),
    }
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _draw(figure: CircuitFigure, found: NeuronCircuits, grapher: Grapher) -> None:
    from pure_cli.views.circuit import draw
    from pure_cli.views.style import save

    task = figure.task
    collected = grapher.sources.collected
    order = sorted(range(len(found.circuits)), key=lambda i: i + 1 != figure.number)
    pictures = _Pictures(grapher, task, figure.settings.crop)
    names = figure.names.of_neuron(task.neuron) if figure.names else {}
    panels = [_panel(found.circuits[i], i, pictures, names.get(i, "")) for i in order]
    own = task.clustering.provenance.settings
    name = collected.layers[task.layer].name_of(task.neuron)
    title = " · ".join(
        filter(None, [task.layer, f"circuit of {panels[0].name if figure.number else task.neuron}", name])
    )
    model, used = parse_model(collected.origin["model"]).short, found.provenance.precision
    rough = computed_in(grapher.sources.precisions(task.layer, own["features"], graph=used))
    subtitle = " · ".join(filter(None, [model, f"{own['features']} features", found.rule, rough]))
    save(draw(title, subtitle, panels), figure.file)


def _panel(circuit: Circuit, virtual: int, pictures: _Pictures, called: str) -> Panel:
    from pure_cli.views.circuit import NEURON_IMAGES, NODE_IMAGES, NODES, Edge, Node, Panel, Rank

    ranks, shown = [], set()
    for layer in circuit.layers:
        own = circuit.of_layer(layer.layer)[:NODES]
        shown |= {node.address for node in own}
        images = pictures.of(
            layer.layer, [(node.channel, image) for node in own for image in node.images[:NODE_IMAGES]]
        )
        nodes = []
        for node in own:
            mine = [next(images) for _ in node.images[:NODE_IMAGES]]
            nodes.append(Node(node.address, str(node.channel), node.share, node.shared, mine))
        rest = 1 - sum(node.share for node in own)
        ranks.append(Rank(layer.layer, nodes, layer.channels - len(own), rest))
    edges = [
        Edge(edge.source, edge.target, edge.share, edge.relevance < 0, edge.shared)
        for edge in circuit.edges
        if edge.target in shown and edge.source in {*shown, circuit.address}
    ]
    explained = circuit.explained
    told = (
        f"{len(circuit.nodes)} channels leave {explained.left:.0%} of its activation; random {explained.random:.0%}, "
        f"none {explained.nothing:.0%}"
    )
    neuron = int(circuit.address.rpartition("/")[2].partition(".")[0])
    top = list(pictures.of_neuron(neuron, circuit.images[:NEURON_IMAGES]))
    name = circuit.address.rpartition("/")[2]
    return Panel(circuit.address, f"{name} “{called}”" if called else name, virtual, top, ranks, edges, told)


class _Pictures:
    """What neurons and channels saw of images, as crops.

    Parameters
    ----------
    crop : as of ``--crop``
    """

    def __init__(self, grapher: Grapher, task: CircuitTask, crop: str):
        self._grapher, self._task, self._crop = grapher, task, crop
        self._listing, self._network = grapher.listing(task), grapher.network
        self._adaptive_batches = AdaptiveBatches(grapher.notes)

    def of_neuron(self, neuron: int, index: Sequence[int]) -> Iterator[np.ndarray]:
        """For some of its references; what does not fit the heatmaps of its layer is noted."""
        top = self._grapher.sources.collected.layers[self._task.layer].top
        position = dict(zip(top.image[neuron].tolist(), top.position[neuron].tolist(), strict=True))
        return self.of(self._task.layer, [(neuron, ChannelImage(i, "", position[i])) for i in index])

    def of(self, layer: str, seen: Sequence[Seen]) -> Iterator[np.ndarray]:
        """(h, w, 3) uint8 for each channel and image."""
        from pure_cli.core import crops as cut
        from pure_cli.models.layers import check_layer, list_layers

        if not seen:
            return iter(())
        network = self._network
        images = read_images(network, self._listing, np.array([image.index for _, image in seen]))
        if self._crop == WHOLE:
            return iter([image.permute(1, 2, 0).numpy() for image in images])
        example = first_image(self._listing, network)
        layers = list_layers(network.model, network.inputs(example))
        tokens = len(check_layer(module_of(layer), layers).extent) == 1
        found: list[np.ndarray] = []
        heatmaps = HeatmapReader(network, layer, self._crop, example)
        if layer == self._task.layer:  # all others lie below
            self._grapher.notes += heatmaps.misfits()
        with heatmaps as reader:

            def compute(begin: int, end: int) -> None:
                reader.look_at(images[begin:end])
                channels = np.array([channel for channel, _ in seen[begin:end]])
                positions = np.array([image.position for _, image in seen[begin:end]])
                masks = cut.seen(cut.blurred(reader.maps(channels, positions, last=True))).cpu()
                boxes = [cut.with_context(cut.box(one), *one.shape) if tokens else cut.box(one) for one in masks]
                found.extend(cut.cropped(*both) for both in zip(images[begin:end], boxes, strict=True))

            self._adaptive_batches.each(len(images), compute)
        return iter(found)
