"""One worker for each device of a cluster."""

import pytest

from pure_cli.engines.devices import Device, devices_of
from pure_cli.errors import PureError


def node(name: str, alive: bool = True, **resources: float) -> dict:
    return {"NodeID": name, "NodeManagerHostname": f"host-{name}", "Alive": alive, "Resources": resources}


def test_a_node_without_gpus_has_one_worker_with_all_its_cores():
    found = devices_of([node("a", CPU=8.0), node("b", CPU=2.0), node("head", memory=1e9)], "auto")
    assert found == [Device("a", "host-a", 0, "cpu", 8), Device("b", "host-b", 0, "cpu", 2)]


def test_every_gpu_has_a_worker_with_its_share_of_the_cores():
    found = devices_of([node("a", CPU=16.0, GPU=2.0), node("b", CPU=8.0)], "auto")
    assert [(one.node, one.number, one.kind, one.cpus, one.gpus) for one in found] == [
        ("a", 0, "cuda", 8, 1),
        ("a", 1, "cuda", 8, 1),
    ]


def test_cpus_are_used_where_they_are_wanted():
    found = devices_of([node("a", CPU=16.0, GPU=2.0), node("b", CPU=8.0)], "cpu")
    assert [(one.node, one.kind, one.gpus) for one in found] == [("a", "cpu", 0), ("b", "cpu", 0)]


def test_dead_nodes_have_none_and_gpus_that_are_wanted_must_be_there():
    assert devices_of([node("a", alive=False, CPU=4.0)], "auto") == []
    with pytest.raises(PureError, match="GPU"):
        devices_of([node("a", CPU=4.0)], "cuda")
