"""The graphs of a neuron's virtual neurons: computed where they are not there yet, and kept as a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli.artifacts import (
    ChannelImage,
    Circuit,
    CircuitEdge,
    CircuitLayer,
    CircuitNode,
    Clustering,
    NeuronCircuits,
    need_clusterings,
    need_layers,
    read_circuits,
    write_circuits,
)
from pure_cli.core.circuit_graph import EDGES, NODES, channels_to_follow, prune
from pure_cli.core.neurons import choose_neurons, virtual_of
from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.provenance import Provenance
from pure_cli.settings.render import RenderSettings
from pure_cli.stages.circuit_graph.ablation import Ablation
from pure_cli.stages.circuit_graph.flow import Flow, References, Relevances, read_references
from pure_cli.stages.inputs.choice import chosen_features, named_neurons, there_are
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.neuron_figures.index import CIRCUITS, figure_file
from pure_cli.stages.outcome import Progress, silent
from pure_cli.stages.relevances.lower_layers import chain_below, require_lower_layers
from pure_cli.stages.runtime.images import first_image
from pure_cli.stages.runtime.network import Network, open_network
from pure_cli.stages.runtime.soundness import require_sound
from pure_cli.words import listed
from pure_cli.workspace import Store

VERSION = 1  # raised when graphs come to be computed otherwise
MOST_REFERENCES = 32  # of a virtual neuron, the strongest
MOST_FOLLOWED = 64  # channels of a layer, each of which takes a backward pass of every batch
IMAGES = 4  # of each node


@dataclass(frozen=True)
class CircuitTask:
    """The graphs of one neuron.

    Attributes
    ----------
    numbers : of its virtual neurons that are asked for, counted from 1; none where all are
    first : the lower layer that comes first where none is named
    rule, at_maximum : of its relevances
    folder : of the files and figures of circuits
    """

    layer: str
    neuron: int
    numbers: frozenset[int]
    clustering: Clustering
    first: str
    rule: str
    at_maximum: bool
    provenance: Provenance
    folder: Path

    @property
    def file(self) -> Path:
        """Where they are kept."""
        return figure_file(self.folder, self.clustering, self.neuron, "json")

    @property
    def labels(self) -> np.ndarray:
        """(n,) of the references."""
        return self.clustering.label[np.searchsorted(self.clustering.neuron, self.neuron)]

    @property
    def wanted(self) -> list[int | None]:
        """The numbers in their order; None where all are asked for."""
        return [*sorted(self.numbers)] or [None]

    @property
    def count(self) -> int:
        """Virtual neurons that it has."""
        return int(self.labels.max(initial=-1)) + 1


def find_tasks(sources: Sources, settings: RenderSettings, folder: Path) -> list[CircuitTask]:
    """What is asked for, by the virtual neurons that addresses mean.

    Raises
    ------
    PureError
        There is no such virtual neuron, it is stale, or has no relevances.
    """
    clusterings = need_clusterings(sources.store)
    there = there_are(clusterings.values())
    found = []
    for layer, neuron, numbers in named_neurons(sources.collected, settings.circuit_text, there):
        need_layers([layer], there, "cluster")
        source, clustering = chosen_features(sources, layer, clusterings)
        count = sources.collected.layers[layer].neurons
        choose_neurons(str(neuron), clustering.neuron, count, layer, "virtual neurons", "pure cluster")
        need_layers([layer], sources.attributed, "attribute")
        attributed = sources.attributed[layer]
        first = (source.lower_layers or attributed.lower_layers)[0]
        provenance = _provenance(sources, layer, neuron, clustering, first, settings)
        task = CircuitTask(
            layer, neuron, numbers, clustering, first, attributed.rule, attributed.at_maximum, provenance, folder
        )
        virtual_of(neuron, numbers, task.count, layer)
        if not task.count:
            raise PureError(f"Neuron {neuron} of '{layer}' has no virtual neurons: it never fires on these images.")
        found.append(task)
    return found


def _provenance(
    sources: Sources, layer: str, neuron: int, clustering: Clustering, first: str, settings: RenderSettings
) -> Provenance:
    how = {
        "layer": layer,
        "neuron": neuron,
        "first": first,
        "depth": settings.depth,
        "through": settings.through,
        "references": MOST_REFERENCES,
        "nodes": NODES,
        "edges": EDGES,
        "version": VERSION,
        **settings.arithmetic,
    }
    made_from = {
        "cluster": clustering.provenance.fingerprint,
        "attribute": sources.attributed[layer].provenance.fingerprint,
        "references": {name: own.provenance.fingerprint for name, own in sources.collected.layers.items()},
    }
    return Provenance(how, made_from)


def circuits_of(store: Store, settings: RenderSettings, progress: Progress = silent) -> Circuit | list[Circuit]:
    """The graph of a virtual neuron, or those of all of a neuron's, where a neuron is named.

    Raises
    ------
    PureError
        There is none, or more than one neuron is named.
    """
    grapher = Grapher(Sources(store), settings)
    tasks = find_tasks(grapher.sources, settings, store.root / CIRCUITS)
    if len(tasks) != 1 or len(tasks[0].numbers) > 1:
        raise PureError("Name one virtual neuron, as in layer4/201.2, or one neuron.")
    found = grapher.graphs(tasks[0], progress)
    return found.circuits[min(tasks[0].numbers) - 1] if tasks[0].numbers else list(found)


class Grapher:
    """Computes graphs that are not there, with one network for all.

    Attributes
    ----------
    notes : sentences that the user should read
    """

    def __init__(self, sources: Sources, settings: RenderSettings):
        self.sources, self._settings = sources, settings
        self.notes: list[str] = []
        self._made: dict[Path, NeuronCircuits] = {}

    @cached_property
    def network(self) -> Network:
        return open_network(self.sources.collected, self._settings.device)

    def listing(self, task: CircuitTask) -> Listing:
        return self.sources.listing([task.layer])

    def earlier(self, task: CircuitTask) -> NeuronCircuits | None:
        """The graphs that are there and were made from the same things; with ``--force`` those that are new."""
        found = self._made.get(task.file) if self._settings.force else read_circuits(task.file)
        return found if found is not None and found.provenance == task.provenance else None

    def graphs(self, task: CircuitTask, progress: Progress) -> NeuronCircuits:
        """The graphs that are there, or new ones, which are written."""
        found = self.earlier(task)
        if found is None:
            found = self._computed(task, progress)
            write_circuits(task.file, found)
            self._made[task.file] = found
        self.notes += [*found.notes, *_outdone(found)]
        return found

    def _computed(self, task: CircuitTask, progress: Progress) -> NeuronCircuits:
        network, listing, settings = self.network, self.listing(task), self._settings
        lower_layers = chain_below(network, task.layer, task.first, settings.depth, settings.through, listing)
        require_lower_layers(network, task.layer, lower_layers, listing, task.rule)
        network.bound_of(task.layer, first_image(listing, network))
        notes = require_sound(network, listing, [task.layer, *lower_layers])
        flow = Flow(
            network, listing, task.layer, lower_layers, task.rule, task.at_maximum, settings.batch_size, notes
        )  # fmt: skip
        references = list(self._references(task))
        with flow.in_force():
            drafts = self._drafts(task, flow, references, progress)
        source = self.sources.collected.layers[task.layer]
        ablation = Ablation(network, listing, task.layer, lower_layers, source, settings.batch_size, notes)
        circuits = [draft.circuit(ablation) for draft in drafts]
        notes += _unfollowed(drafts) + self._borrowed(lower_layers)
        kept = tuple(dict.fromkeys(notes))
        return NeuronCircuits(
            task.layer, task.neuron, task.rule, tuple(_with_shared(circuits)), flow.passes, kept, task.provenance
        )

    def _references(self, task: CircuitTask) -> Iterator[References]:
        """Of each virtual neuron."""
        top = self.sources.collected.layers[task.layer].top
        for virtual in range(task.count):
            slots = np.flatnonzero(task.labels == virtual)[:MOST_REFERENCES]
            index, position = top.image[task.neuron, slots], top.position[task.neuron, slots]
            yield read_references(self.network, self.listing(task), task.neuron, index, position)

    def _drafts(
        self, task: CircuitTask, flow: Flow, references: Sequence[References], progress: Progress
    ) -> list[_Draft]:
        """Relevances of all first, so that it is known how many passes their edges take."""
        relevances = [flow.relevances(own) for own in references]
        followed = [[channels_to_follow(mean, NODES, MOST_FOLLOWED) for mean in one.mean] for one in relevances]
        both = list(zip(references, followed, strict=True))
        done, total = 0, sum(flow.steps(len(own), channels[:-1]) for own, channels in both)
        if total:
            progress(0, total)

        def step() -> None:
            nonlocal done
            done += 1
            progress(min(done, total), total)

        drafts = []
        for virtual, (own, channels) in enumerate(both):
            found = relevances[virtual]
            edges, through = flow.edges(own, found.norm, channels[:-1], step)
            address = f"{task.layer}/{task.neuron}.{virtual + 1}"
            drafts.append(_Draft(self.sources, address, flow.lower_layers, own, found, channels, edges, through))
        return drafts

    def _borrowed(self, lower_layers: Sequence[str]) -> list[str]:
        without = [name for name in lower_layers if name not in self.sources.collected.layers]
        if not without:
            return []
        more = " ".join(f"--layer {name}" for name in without)
        return [
            f"The images of channels of {', '.join(without)} are references of the virtual neuron on which they are "
            f"strongest. `pure collect {more}` finds their own."
        ]


@dataclass(frozen=True)
class _Draft:
    """All that is known of one virtual neuron's graph before it is pruned.

    Attributes
    ----------
    followed : (K,) channels of each lower layer
    edges, through : as of `Flow.edges`
    """

    sources: Sources
    address: str
    lower_layers: Sequence[str]
    references: References
    relevances: Relevances
    followed: list[np.ndarray]
    edges: list[np.ndarray]
    through: list[np.ndarray]

    def circuit(self, ablation: Ablation) -> Circuit:
        matrices = self._matrices()
        kept = prune(matrices)
        nodes = {
            name: channels[mask.any(axis=0)]
            for name, channels, mask in zip(self.lower_layers, self.followed, kept, strict=True)
        }
        paths = self.sources.collected.path_of
        index = self.references.index.tolist()
        return Circuit(
            self.address,
            tuple(index),
            tuple(paths[i] for i in index),
            tuple(self._layers(nodes)),
            tuple(self._nodes(nodes)),
            tuple(self._edges(matrices, kept)),
            ablation.explained(self.references, nodes, seed=0),
        )

    def _matrices(self) -> list[np.ndarray]:
        """Edges among the channels that are followed; those of the first layer begin at the neuron."""
        first = self.relevances.mean[0][self.followed[0]][None]
        return [first, *(one[:, below] for one, below in zip(self.edges, self.followed[1:], strict=True))]

    @cached_property
    def _sizes(self) -> list[float]:
        return [float(np.abs(mean).sum()) or 1.0 for mean in self.relevances.mean]

    def _layers(self, nodes: dict[str, np.ndarray]) -> Iterator[CircuitLayer]:
        for i, (name, mean) in enumerate(zip(self.lower_layers, self.relevances.mean, strict=True)):
            whole = float(mean.sum())
            past = whole - float(self.through[i - 1].sum()) if i else 0.0
            share = float(np.abs(mean[nodes[name]]).sum()) / self._sizes[i]
            yield CircuitLayer(name, len(mean), whole, past, len(self.followed[i]), len(nodes[name]), share)

    def _nodes(self, nodes: dict[str, np.ndarray]) -> Iterator[CircuitNode]:
        for i, name in enumerate(self.lower_layers):
            for channel in nodes[name].tolist():
                relevance = float(self.relevances.mean[i][channel])
                images, own = self._images(i, name, channel)
                share = abs(relevance) / self._sizes[i]
                yield CircuitNode(name, channel, relevance, share, False, tuple(images), own)

    def _images(self, i: int, name: str, channel: int) -> tuple[list[ChannelImage], bool]:
        """What a channel responds to, and whether these are its own references."""
        collected, paths = self.sources.collected, self.sources.collected.path_of
        layer = collected.layers.get(name)
        if layer is not None and layer.directions is None:
            top = layer.top
            firing = (top.image[channel] != NO_IMAGE) & (top.value[channel] > layer.fires_above)
            slots = np.flatnonzero(firing)[:IMAGES]
            if len(slots):
                both = zip(top.image[channel, slots].tolist(), top.position[channel, slots].tolist(), strict=True)
                return [ChannelImage(index, paths[index], position) for index, position in both], True
        values, positions = self.relevances.value[i][:, channel], self.relevances.position[i][:, channel]
        index = self.references.index
        best = np.argsort(-values, kind="stable")[:IMAGES].tolist()
        return [ChannelImage(int(index[j]), paths[int(index[j])], int(positions[j])) for j in best], False

    def _edges(self, matrices: list[np.ndarray], kept: list[np.ndarray]) -> Iterator[CircuitEdge]:
        above = [self.address]
        for i, (name, matrix, mask) in enumerate(zip(self.lower_layers, matrices, kept, strict=True)):
            below = [f"{name}/{channel}" for channel in self.followed[i].tolist()]
            for source, target in np.argwhere(mask).tolist():
                relevance = float(matrix[source, target])
                share = abs(relevance) / self._sizes[i]
                yield CircuitEdge(above[source], below[target], relevance, share, False)
            above = below


def _with_shared(circuits: Sequence[Circuit]) -> Iterator[Circuit]:
    """The same, which know of what they have that siblings have too."""
    seen = Counter(node.address for circuit in circuits for node in circuit.nodes)
    ways = Counter(_way(circuit, edge) for circuit in circuits for edge in circuit.edges)
    for circuit in circuits:
        nodes = tuple(replace(node, shared=seen[node.address] > 1) for node in circuit.nodes)
        edges = tuple(replace(edge, shared=ways[_way(circuit, edge)] > 1) for edge in circuit.edges)
        yield replace(circuit, nodes=nodes, edges=edges)


def _way(circuit: Circuit, edge: CircuitEdge) -> tuple[str, str]:
    """An edge, by whichever virtual neuron it may begin at."""
    return "" if edge.source == circuit.address else edge.source, edge.target


def _outdone(found: NeuronCircuits) -> list[str]:
    """A sentence where no channel at all leaves more of a virtual neuron than its graph does."""
    names = [
        f"{one.address} ({one.explained.nothing:.0%}; its graph {one.explained.left:.0%})"
        for one in found
        if one.explained.nothing > one.explained.left
    ]
    if not names:
        return []
    return [
        f"With every channel at its mean over references, and none kept, more is left of the activation of "
        f"{listed(names)}: what the graph explains cannot be told from that."
    ]


def _unfollowed(drafts: Sequence[_Draft]) -> list[str]:
    """A sentence where the channels that were followed carry less than they should."""
    short: dict[str, Any] = {}
    for draft in drafts:
        for name, channels, mean in zip(draft.lower_layers, draft.followed, draft.relevances.mean, strict=True):
            share = float(np.abs(mean[channels]).sum() / (np.abs(mean).sum() or 1.0))
            if len(channels) == MOST_FOLLOWED and share < NODES:
                short[name] = min(share, short.get(name, 1.0))
    return [
        f"{MOST_FOLLOWED} channels of '{name}' were followed; they carry {share:.0%} of its relevance, not {NODES:.0%}."
        for name, share in short.items()
    ]
