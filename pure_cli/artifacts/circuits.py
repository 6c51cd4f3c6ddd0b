"""Graphs of circuits over several lower layers: a JSON file for each neuron, beside its figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pure_cli.config import fingerprint
from pure_cli.files import disk_errors, write_whole
from pure_cli.provenance import Provenance
from pure_cli.words import counted

SCHEMA = 1
DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True)
class ChannelImage:
    """An image that a channel responds to.

    Attributes
    ----------
    index, path : in the data
    position : of its maximum there, flat over space; -1 without space
    """

    index: int
    path: str
    position: int


@dataclass(frozen=True)
class CircuitNode:
    """A channel of a lower layer.

    Attributes
    ----------
    relevance : for the virtual neuron, where that of all channels of the first lower layer has an L1 norm of 1
    share : of its layer's relevance, by magnitude
    shared : it is in the graph of a sibling too
    images : what it responds to most, the strongest first
    own_references : these are its own; else they are references of the virtual neuron
    """

    layer: str
    channel: int
    relevance: float
    share: float
    shared: bool
    images: tuple[ChannelImage, ...]
    own_references: bool

    @property
    def address(self) -> str:
        return f"{self.layer}/{self.channel}"


@dataclass(frozen=True)
class CircuitEdge:
    """Relevance that goes from a node to a channel of the next lower layer.

    Attributes
    ----------
    source, target : addresses; the source is the upper one
    relevance : as of nodes; all that leave a node for any channel add up to its relevance, where the rule conserves it
    share : of the lower layer's relevance, by magnitude
    shared : it is in the graph of a sibling too
    """

    source: str
    target: str
    relevance: float
    share: float
    shared: bool


@dataclass(frozen=True)
class CircuitLayer:
    """A lower layer of a graph.

    Attributes
    ----------
    channels : that it has
    relevance : of all of them, added up
    past : how much of that came past the layer above, and through none of its channels
    followed : how many of them were followed, as they carry the share that is asked for
    kept : how many are nodes of the graph
    share : of the layer's relevance that these carry, by magnitude
    """

    layer: str
    channels: int
    relevance: float
    past: float
    followed: int
    kept: int
    share: float


@dataclass(frozen=True)
class Explained:
    """What is left of the activation where all channels that are not in the graph have their means over references.

    Attributes
    ----------
    left : of 1, mean over the virtual neuron's references
    random : with as many channels of each layer, drawn at random, in place of the graph's
    nothing : with no channel at all
    """

    left: float
    random: float
    nothing: float


@dataclass(frozen=True)
class Circuit:
    """The graph of one virtual neuron.

    Attributes
    ----------
    address : of the virtual neuron
    images, paths : of the references that it is a mean over, the strongest, as indices of the data and as it has them
    layers : the highest first
    nodes : layer by layer, the most relevant first
    edges : the highest first; those of the first lower layer begin at the virtual neuron
    explained : by ablation
    """

    address: str
    images: tuple[int, ...]
    paths: tuple[str, ...]
    layers: tuple[CircuitLayer, ...]
    nodes: tuple[CircuitNode, ...]
    edges: tuple[CircuitEdge, ...]
    explained: Explained

    def __repr__(self) -> str:
        lines = [f"<Circuit {self.address}: {self.explained.left:.0%} of its activation is left by the graph alone, "
                 f"{self.explained.random:.0%} by as many channels at random>"]  # fmt: skip
        for layer in self.layers:
            own = [node for node in self.nodes if node.layer == layer.layer]
            first = ", ".join(f"{node.channel} ({node.share:.0%})" for node in own[:6])
            more = ", …" if len(own) > 6 else ""
            lines.append(f"  {layer.layer}: {layer.kept} of {counted(layer.channels, 'channel')}, {first}{more}")
        return "\n".join(lines)

    def of_layer(self, layer: str) -> list[CircuitNode]:
        """The nodes of a layer, the most relevant first."""
        return [node for node in self.nodes if node.layer == layer]

    def as_dict(self) -> dict[str, Any]:
        """JSON-like, as in the file; nodes with their addresses."""
        nodes = [{"address": node.address, **asdict(node)} for node in self.nodes]
        return {**asdict(self), "nodes": nodes}


@dataclass(frozen=True)
class NeuronCircuits:
    """The graphs of all virtual neurons of a neuron.

    Attributes
    ----------
    rule : of the relevances
    circuits : by number, the first one first
    passes : how many forward and backward passes of a batch it took
    notes : sentences that the user should read
    """

    layer: str
    neuron: int
    rule: str
    circuits: tuple[Circuit, ...]
    passes: dict[str, int]
    notes: tuple[str, ...]
    provenance: Provenance

    def __iter__(self) -> Iterator[Circuit]:
        return iter(self.circuits)


def write_circuits(path: Path, found: NeuronCircuits) -> None:
    """Write the file of a neuron; its folder is made."""
    content = {
        "schema": SCHEMA,
        "layer": found.layer,
        "neuron": found.neuron,
        "rule": found.rule,
        "circuits": [circuit.as_dict() for circuit in found],
        "passes": found.passes,
        "notes": list(found.notes),
        "settings": found.provenance.settings,
        "made_from": found.provenance.made_from,
    }
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(json.dumps(content, allow_nan=False))
    write_whole(path, json.dumps({**content, "checksum": fingerprint(content)}, indent=1) + "\n")


def read_circuits(path: Path) -> NeuronCircuits | None:
    """The file of a neuron; None where there is none, or one that is damaged, which is made anew."""
    with suppress(*DAMAGED):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("checksum") != fingerprint(content) or content["schema"] != SCHEMA:
            return None
        return NeuronCircuits(
            content["layer"],
            content["neuron"],
            content["rule"],
            tuple(_circuit(one) for one in content["circuits"]),
            content["passes"],
            tuple(content["notes"]),
            Provenance(content["settings"], content["made_from"]),
        )
    return None


def _circuit(content: dict[str, Any]) -> Circuit:
    return Circuit(
        content["address"],
        tuple(content["images"]),
        tuple(content["paths"]),
        tuple(CircuitLayer(**layer) for layer in content["layers"]),
        tuple(_node(**node) for node in content["nodes"]),
        tuple(CircuitEdge(**edge) for edge in content["edges"]),
        Explained(**content["explained"]),
    )


def _node(address: str, images: list[dict[str, Any]], **content: Any) -> CircuitNode:
    return CircuitNode(**content, images=tuple(ChannelImage(**image) for image in images))
