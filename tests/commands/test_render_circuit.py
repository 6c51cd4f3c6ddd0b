"""pure render --circuit: figures and JSON beside them, and what cannot be drawn in one sentence."""

import json
from pathlib import Path


def test_a_circuit_is_drawn_with_its_json_and_once(finished):
    answer = finished.pure("render", "--circuit", "3.1", "--depth", 2, "--crop", "none", "--json")
    assert answer.code == 0, answer.err
    (figure,), (content,) = answer.json["files"], answer.json["circuits"]
    assert figure.endswith("circuits/layer3/neuron-0003.1-pure-k2.png") and answer.json["computed"] == 1
    found = json.loads(Path(content).read_text())
    assert found["circuits"][0]["layers"][0]["layer"] == "layer2" and len(found["circuits"][0]["layers"]) == 2
    assert [one["address"] for one in found["circuits"]] == ["layer3/3.1", "layer3/3.2"]
    again = finished.pure("render", "--circuit", "layer3/3.1", "--depth", 2, "--crop", "none", "--json")
    assert again.json["up_to_date"]
    other = finished.pure(
        "render", "--circuit", "3.2", "--depth", 2, "--crop", "activation", "--format", "svg", "--json"
    )
    assert other.code == 0, other.err
    assert (
        other.json["files"][0].endswith("neuron-0003.2-pure-k2.svg") and json.loads(Path(content).read_text()) == found
    )
    info = finished.pure("info", "--json").json
    assert [one["what"] for one in info["results"] if "circuits" in one["what"]] == [
        "2 figures of circuits, pure features, k = 2"
    ]
    assert not info["problems"]


def test_circuits_of_two_clusterings_lie_beside_each_other(finished):
    how = ("render", "--circuit", "3.1", "--depth", 1, "--crop", "none", "--json")
    first = finished.pure(*how).json
    files = [Path(file) for file in (*first["files"], *first["circuits"])]
    before = [file.read_bytes() for file in files]
    assert finished.pure("cluster", "--k", 3).code == 0 and finished.pure("choose", "--k", 3).code == 0
    second = finished.pure(*how).json
    names = [Path(file).name for file in (*second["files"], *second["circuits"])]
    assert names == ["neuron-0003.1-pure-k3.png", "neuron-0003-pure-k3.json"]
    assert [file.read_bytes() for file in files] == before
    assert finished.pure("choose", "--k", 2).code == 0 and finished.pure(*how).json["up_to_date"]


def test_what_has_no_graph_is_said(finished, refused):
    for options, words in (
        (("--circuit", "3.9"), "no virtual neuron 3.9"),
        (("--circuit", "99.1"), "no neuron 99"),
        (("--circuit", "5.1"), "never fires"),
        (("--circuit", "layer1/3.1"), "Unknown layer"),
        (("--circuit", "other/layer3/3.1"), "of a model other"),
        (("--circuit", "3.1", "--depth", 99), "--depth 99 asks for more"),
        (("--circuit", "3.1", "--depth", 0), "--depth"),
        (("--circuit", "3.1", "--through", "layer2,hidden"), "'hidden' does not lead to 'layer2'"),
        (("--circuit", "3.1", "--through", "layer3"), "'layer3' does not lead to 'layer3'"),
        (("--circuit", "3.1", "--through", "layer2", "--depth", 1), "Give one of them"),
        (("--circuit", "3.1", "--k", 2), "leave out --k"),
        (("--circuit", "3.1", "--neurons", 3), "leave out --neurons"),
        (("--depth", 2), "--circuit 201.2"),
    ):
        refused(finished.pure("render", *options), words)


def test_stale_virtual_neurons_have_no_graph(finished, refused):
    assert finished.collect("-n", 5, "--force").code == 0
    refused(finished.pure("render", "--circuit", "3.1"), "stale")
