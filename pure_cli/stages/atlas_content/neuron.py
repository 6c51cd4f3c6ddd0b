"""What the pane of a neuron shows, but for its images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from pure_cli.artifacts import Circuit
from pure_cli.stages.assignment.tables import carried
from pure_cli.stages.atlas_content.inputs import LayerInputs
from pure_cli.stages.atlas_content.layer import judgement, numbers, short
from pure_cli.stages.atlas_content.measures import NEURON, UNIT
from pure_cli.stages.atlas_content.near import Unit
from pure_cli.stages.atlas_content.tiles import SIZES, TileJob
from pure_cli.stages.cluster import chosen_by, classes_of
from pure_cli.stages.inputs.units import address
from pure_cli.views.verdicts import verdict

CONCEPTS = 5  # of a label
DRIVEN = 3  # classes of each sign
OUTLIERS = 3  # of each virtual neuron
FAR = 2.0  # times the median distance of its references from the centroid: farther ones are outliers
NODES = 8  # of each layer of a graph


class NeuronContent:
    """The content of neurons of a layer, as the page takes it.

    Parameters
    ----------
    inputs : the layer
    nearest : virtual neuron to those it is most similar to
    """

    def __init__(self, inputs: LayerInputs, nearest: Mapping[Unit, list[tuple[Unit, float]]]):
        self._inputs, self._nearest = inputs, nearest
        self._top = inputs.sources.collected.layers[inputs.layer].top

    def content(self, neuron: int, box: np.ndarray | None) -> tuple[dict[str, Any], TileJob]:
        """JSON-like, without sheets; and the images that these have tiles of.

        Parameters
        ----------
        box : (n, 4) what it saw of its references; None where whole images are shown
        """
        inputs = self._inputs
        row = int(np.searchsorted(inputs.clustering.neuron, neuron))
        slots = np.flatnonzero(inputs.sources.excites(inputs.layer, neuron))
        label = inputs.clustering.label[row][slots]
        most = SIZES[inputs.settings.size].first
        shown = _shown(label, most)
        if most:  # what has no tile is left out
            slots, label, shown = slots[shown], label[shown], np.arange(len(shown))
        count = int(inputs.clustering.counts(np.array([neuron]))[0])
        boxes = None if box is None else np.array([self._box(one) for one in box[slots]]).reshape(-1, 4)
        content = {
            "neuron": neuron,
            "name": inputs.sources.collected.layers[inputs.layer].name_of(neuron),
            "label": inputs.names.text(neuron) if inputs.names else "",
            "verdict": verdict(
                float(inputs.clustering.silhouette[row]),
                count > 0,
                inputs.clustering.provenance.settings["k"],
                chosen_by(inputs.clustering, row),
            ),
            "facts": self._facts(neuron, row),
            "sentences": self._sentences(neuron),
            "references": self._references(neuron, slots, label, boxes),
            "shown": shown.tolist(),
            "parts": self._parts(neuron, row, count, slots),
            "histogram": self._histogram(neuron, count),
            "commands": self._commands(neuron, count),
        }
        return content, TileJob(neuron, self._top.image[neuron][slots[shown]], None if boxes is None else boxes[shown])

    def _box(self, box: np.ndarray) -> np.ndarray:
        """Of a token, which may have seen no more than a patch, with what is around it."""
        if len(self._inputs.sources.collected.layers[self._inputs.layer].shape) != 2:
            return box
        from pure_cli.core.crops import Box, with_context

        height, width = self._inputs.pixels
        return np.array(with_context(Box(*map(int, box)), height, width))

    def _facts(self, neuron: int, row: int) -> list[list[str]]:
        clustering, layer = self._inputs.clustering, self._inputs.sources.collected.layers[self._inputs.layer]
        own = clustering.provenance.settings
        found = [["k", f"{int(clustering.k[row])}, chosen" if clustering.chosen else str(own["k"])]]
        if np.isfinite(clustering.silhouette[row]):
            found.append(["silhouette", f"{clustering.silhouette[row]:.2f}"])
        if clustering.chosen:
            found.append(["polysemanticity", f"{clustering.polysemanticity[row]:.2f}"])
            found.append(["p", f"{clustering.p[row]:.2g}"])
        found += self._measured(NEURON, neuron)
        if tied := int(layer.tied[neuron]):
            found.append(["tied references", str(tied)])
        return found

    def _sentences(self, neuron: int) -> list[str]:
        inputs, found = self._inputs, []
        if inputs.sources.collected.layers[inputs.layer].tied[neuron]:
            found.append("The order of references whose score another has too says nothing.")
        if inputs.channels.source is None or neuron not in inputs.channels.source.neuron:
            found.append("There are no relevances of these references, so no lower channels are shown.")
        if inputs.assignment is not None and neuron not in inputs.assignment.neuron:
            found.append(f"`pure assign --neurons {neuron}` shares its activation out on images beyond the references.")
        return found

    def _references(
        self, neuron: int, slots: np.ndarray, label: np.ndarray, boxes: np.ndarray | None
    ) -> dict[str, list[Any]]:
        collected, image = self._inputs.sources.collected, self._top.image[neuron][slots].tolist()
        height, width = self._inputs.pixels
        sides = np.array([height, height, width, width])
        return {
            "index": image,
            "path": [collected.path_of[one] for one in image],
            "class": [collected.label_of.get(one, -1) for one in image],
            "score": [short(float(one)) for one in self._top.value[neuron][slots]],
            "part": label.tolist(),
            "box": [None] * len(image) if boxes is None else np.round(boxes / sides, 3).tolist(),
        }

    def _parts(self, neuron: int, row: int, count: int, slots: np.ndarray) -> list[dict[str, Any]]:
        inputs = self._inputs
        apart, graphs = inputs.channels.setting_apart(neuron) if count else None, inputs.circuit(neuron)
        far = self._outliers(neuron, row, slots) if count else {}
        found = []
        for part in range(count):
            members = inputs.members(neuron, part)
            classes = classes_of(members, inputs.sources.collected)
            effect = inputs.measures.effect.get((neuron, part))
            found.append({
                "part": part,
                "size": len(members),
                "label": inputs.names.text(neuron, part) if inputs.names else "",
                **judgement(inputs.names, neuron, part),
                "concepts": self._concepts(neuron, part),
                "classes": [[*named, None if lift is None else short(lift)]
                            for named, lift in zip(classes["classes"], classes["lift"], strict=True)],
                "channels": None if apart is None else [
                    {"layer": one.layer, "channel": one.channel, "share": short(one.share)} for one in apart[part]
                ],
                "nearest": self._near((neuron, part)),
                "drives": self._driven(effect, 1),
                "holds": self._driven(effect, -1),
                "facts": self._measured(UNIT, (neuron, part)),
                "outliers": far.get(part, []),
                "circuit": _graph(graphs.circuits[part]) if graphs and part < len(graphs.circuits) else None,
            })  # fmt: skip
        return found

    def _concepts(self, neuron: int, part: int) -> list[dict[str, Any]]:
        names = self._inputs.names
        row = names.row_of(neuron, part) if names else None
        if names is None or row is None:
            return []
        columns = (names.score[row], names.auprc[row], names.chance[row])
        return [
            {"name": names.names[concept], "score": score, "auprc": auprc, "chance": chance}
            for concept, score, auprc, chance in zip(names.concept[row].tolist(), *map(numbers, columns), strict=True)
            if concept >= 0
        ][:CONCEPTS]

    def _near(self, unit: Unit) -> list[dict[str, Any]]:
        inputs, names = self._inputs, self._inputs.names
        return [
            {
                "address": address(inputs.layer, neuron, part),
                "score": round(score, 3),
                "label": names.text(neuron, part) if names else "",
            }
            for (neuron, part), score in self._nearest.get(unit, [])
        ]

    def _driven(self, effect: np.ndarray | None, sign: int) -> list[list[Any]] | None:
        if effect is None or not np.isfinite(effect).all():
            return None
        order = np.argsort(-sign * effect, kind="stable")[:DRIVEN]
        return [[self._inputs.output(i), short(float(effect[i]))] for i in order.tolist() if sign * effect[i] > 0]

    def _measured(self, of: str, key: Any) -> list[list[str]]:
        """What evaluate found of a neuron, or of a virtual neuron."""
        measures = self._inputs.measures
        values = {one.title: measures.values[one.title].get(key, np.nan) for one in measures.columns if one.of == of}
        return [[title, f"{value:.2f}"] for title, value in values.items() if np.isfinite(value)]

    def _outliers(self, neuron: int, row: int, slots: np.ndarray) -> dict[int, list[int]]:
        """By virtual neuron, places among `slots` of references far from the centroid in the features of the split."""
        clustering = self._inputs.clustering
        (points,) = self._inputs.source.rows(np.array([neuron]))
        label = clustering.label[row][slots]
        found: dict[int, list[int]] = {}
        own = clustering.virtual_neuron == neuron
        for part, centroid in zip(clustering.cluster[own].tolist(), clustering.centroid[own], strict=True):
            members = np.flatnonzero(label == part)
            distance = np.linalg.norm(points[slots[members]] - centroid, axis=1)
            order = np.argsort(-distance, kind="stable")[:OUTLIERS]
            far = order[distance[order] > FAR * np.median(distance)] if len(members) else order
            found[part] = members[far].tolist()
        return found

    def _histogram(self, neuron: int, count: int) -> dict[str, Any] | None:
        assignment = self._inputs.assignment
        if assignment is None or neuron not in assignment.neuron:
            return None
        place = int(np.searchsorted(assignment.neuron, neuron))
        shares, quantile = carried(assignment, place)[0], assignment.quantile[place][assignment.image[place] >= 0]
        parts = [[*numbers(one[:count]), *numbers(one[-1:])] if np.isfinite(one).all() else None for one in shares]
        return {
            "data": PurePath(str(assignment.provenance.settings["data"])).name,
            "edges": numbers(assignment.edge[place]),
            "count": assignment.count[place].tolist(),
            "drawn": [int((quantile == part).sum()) for part in range(assignment.count.shape[1])],
            "shares": parts,
        }

    def _commands(self, neuron: int, count: int) -> list[str]:
        layer = self._inputs.layer
        found = [f"pure render --neurons {layer}/{neuron}"]
        if count and not self._inputs.sources.collected.layers[layer].directions:
            found += [f"pure render --circuit {layer}/{neuron}.1", f"pure edit --silence {layer}/{neuron}.1"]
        return found


def _shown(label: np.ndarray, most: int) -> np.ndarray:
    """Places of the references (m,) that get tiles: all, or the first `most` of each virtual neuron, in their order."""
    if not most:
        return np.arange(len(label))
    return np.sort(np.concatenate([np.flatnonzero(label == one)[:most] for one in np.unique(label)] or [label[:0]]))


def _graph(circuit: Circuit) -> dict[str, Any]:
    """A circuit, with the most relevant nodes of each layer."""
    nodes = [node for layer in circuit.layers for node in circuit.of_layer(layer.layer)[:NODES]]
    place = {node.address: number for number, node in enumerate(nodes)} | {circuit.address: -1}
    return {
        "layers": [layer.layer for layer in circuit.layers],
        "nodes": [
            {"layer": one.layer, "channel": one.channel, "share": short(one.share), "shared": one.shared}
            for one in nodes
        ],
        "edges": [
            [place[edge.source], place[edge.target], short(edge.share), 1 if edge.relevance >= 0 else -1]
            for edge in circuit.edges
            if edge.source in place and edge.target in place
        ],
        "kept": len(circuit.nodes),
        "explained": numbers([circuit.explained.left, circuit.explained.random, circuit.explained.nothing]),
    }
