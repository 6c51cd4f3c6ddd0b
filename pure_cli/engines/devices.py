"""Which workers a cluster has room for: one for each device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pure_cli.errors import PureError
from pure_cli.settings.shared import AUTO

CPU, CUDA = "cpu", "cuda"


@dataclass(frozen=True)
class Device:
    """A device of a node, for one worker.

    Attributes
    ----------
    node : its id
    host : its name, for messages
    number : of the device among those of the node
    kind : of `--device`, for the worker
    cpus : cores that the worker has
    """

    node: str
    host: str
    number: int
    kind: str
    cpus: int

    @property
    def gpus(self) -> int:
        return int(self.kind == CUDA)


def devices_of(nodes: Iterable[Mapping[str, Any]], wanted: str) -> list[Device]:
    """The devices that work, one worker each: every GPU; where no node has any, or CPUs are wanted, every node.

    A worker on a node without GPUs has all its cores, as a process of its own would have. One on a GPU has its share of
    them. GPUs and CPUs round differently, so they are not mixed.

    Parameters
    ----------
    nodes : as ``ray.nodes()`` lists them
    wanted : of `--device`

    Raises
    ------
    PureError
        GPUs are wanted, and no node has any.
    """
    alive = [node for node in nodes if node.get("Alive")]
    gpus = [node for node in alive if _count(node, "GPU")]
    if wanted == CUDA and alive and not gpus:
        raise PureError("No node of the cluster has a GPU that Ray knows of: leave out --device cuda.")
    if gpus and wanted in (AUTO, CUDA):
        return [
            Device(*_named(node), number, CUDA, _count(node, "CPU") // _count(node, "GPU"))
            for node in gpus
            for number in range(_count(node, "GPU"))
        ]
    kind = CPU if wanted == AUTO else wanted
    return [Device(*_named(node), 0, kind, _count(node, "CPU")) for node in alive if _count(node, "CPU")]


def _count(node: Mapping[str, Any], resource: str) -> int:
    return int(node.get("Resources", {}).get(resource, 0))


def _named(node: Mapping[str, Any]) -> tuple[str, str]:
    return str(node["NodeID"]), str(node.get("NodeManagerHostname", ""))
