"""Graphs of circuits: on networks made by hand, and what flows from channel to channel against a plain loop."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from test_assign import paint, to_tensor
from torch import nn

from pure_cli import PureError, Workspace
from pure_cli.artifacts import read_attributed, read_collected, read_norms, read_relevances
from pure_cli.artifacts.circuits import Explained
from pure_cli.stages.circuit_graph.ablation import Ablation

RULES = ["gradient-x-input", "epsilon-plus", "attn-lrp"]


class TwoWays(nn.Module):
    """Neuron 0 of the top fires for red by channels 2, 1 and 0 of the layers below, for blue by 1, 0 and 2."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 1, bias=False) for _ in range(3))
        self.top = nn.Conv2d(3, 2, 1, bias=False)
        self.first.weight.data = torch.eye(3)[:, :, None, None]
        self.second.weight.data = torch.eye(3)[[2, 0, 1]][:, :, None, None]  # blue, red, green
        self.third.weight.data = torch.eye(3)[[2, 0, 1]][:, :, None, None]  # green, blue, red
        self.top.weight.data = torch.tensor([[0, 2.0, 1.0], [-1, -1, -1]])[:, :, None, None]

    def below(self, images):
        found = [images]
        for layer in (self.first, self.second, self.third):
            found.append(torch.relu(layer(found[-1])))
        return found[1:]

    def forward(self, images):
        return torch.relu(self.top(self.below(images)[-1])).mean(dim=(-1, -2))


BELOW = ["third", "second", "first"]
WAYS = {"red": [2, 1, 0], "blue": [1, 0, 2]}


@pytest.fixture(scope="module", params=RULES)
def ways(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ways")
    study = Workspace(folder / "w", model=TwoWays(), transform=to_tensor)
    study.collect(data=paint(folder / "seen", 0), layer="top", references=30, workers=0, device="cpu")
    study.attribute(lower_layer="third", workers=0, device="cpu", rule=request.param)
    study.cluster(k=[2])
    return study


def test_disjoint_paths_are_one_way_each_and_what_they_leave_is_known(ways):
    model, collected = TwoWays(), read_collected(ways.store)
    data, everything = collected.origin["data"], np.unique(ways.references("top")["image"]).tolist()

    def load(index):
        files = [f"{data}/{collected.path_of[i]}" for i in index]
        return torch.stack([to_tensor(Image.open(file).convert("RGB")) for file in files])

    with torch.no_grad():
        means = [values.mean(dim=(0, 2, 3)) for values in model.below(load(everything))]
    for circuit in ways.circuit("top/0", through=BELOW, device="cpu", progress=False):
        way = WAYS[circuit.paths[0].partition("/")[0]]
        assert [node.address for node in circuit.nodes] == [f"{name}/{c}" for name, c in zip(BELOW, way, strict=True)]
        steps = [circuit.address, *(node.address for node in circuit.nodes)]
        assert [(edge.source, edge.target) for edge in circuit.edges] == list(pairwise(steps))
        for thing in (*circuit.nodes, *circuit.edges):
            assert thing.relevance == pytest.approx(1, abs=1e-4) and thing.share == pytest.approx(1)
            assert not thing.shared
        for layer in circuit.layers:
            assert (layer.followed, layer.kept) == (1, 1) and layer.past == pytest.approx(0, abs=1e-6)
        left, nothing = [], []
        for image in load(circuit.images):
            with torch.no_grad():
                before = model.top(model.below(image[None])[-1])[0, 0].max()
                for kept, found in ((way, left), ([None] * 3, nothing)):
                    values = image[None]
                    for layer, own, mean in zip(
                        (model.first, model.second, model.third), kept[::-1], means, strict=True
                    ):
                        values = torch.relu(layer(values))
                        for channel in set(range(3)) - {own}:
                            values[:, channel] = mean[channel]
                    found.append(float(model.top(values)[0, 0].max() / before))
        assert circuit.explained.left == pytest.approx(np.mean(left), rel=1e-4)
        assert circuit.explained.nothing == pytest.approx(np.mean(nothing), rel=1e-4)


@pytest.mark.parametrize(("left", "nothing", "told"), [(0.3, 0.5, True), (0.5, 0.3, False)])
def test_a_graph_that_leaves_less_than_no_channel_at_all_is_told(ways, monkeypatch, left, nothing, told):
    monkeypatch.setattr(Ablation, "explained", lambda *_, **__: Explained(left, 0.2, nothing))
    for kind, force in (("png", True), ("svg", False)):  # the second of the graphs that are there
        how = {"through": BELOW, "device": "cpu", "format": kind, "force": force}
        outcome = ways.render(circuit="top/0.1", **how, progress=False)
        notes = [note for note in outcome.notes if "none kept" in note]
        assert len(notes) == told and all("top/0.1 (50%; its graph 30%)" in note for note in notes)
    for file in ways.store.root.glob("circuits/top/*.json"):  # with what is not so
        file.unlink()


class Random(nn.Module):
    """Three layers of one pixel each, without biases."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.low, self.mid, self.top = (nn.Conv2d(a, b, 1, bias=False) for a, b in ((3, 5), (5, 6), (6, 4)))
        for layer in (self.low, self.mid, self.top):
            layer.weight.data.uniform_(-0.4, 1)

    def forward(self, images):
        return torch.relu(self.top(torch.relu(self.mid(torch.relu(self.low(images))))))


@pytest.fixture(scope="module")
def random(tmp_path_factory):
    folder, noise = tmp_path_factory.mktemp("random"), np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(40):
        Image.fromarray(noise.integers(0, 255, (2, 3, 3), np.uint8)).save(folder / "images" / f"{number:02d}.png")
    study = Workspace(folder / "w", model=Random(), transform=to_tensor)
    study.collect(data=folder / "images", layer=["top", "low"], references=12, workers=0, device="cpu")
    study.attribute(layer="top", lower_layer="mid", workers=0, device="cpu")
    study.cluster(k=[2])
    return study


def test_nodes_and_edges_are_those_of_a_plain_loop_over_positions(random, monkeypatch):
    """By gradient × activation, at every position: a² for the start, times weights where the ReLU let it through."""
    from pure_cli.stages.circuit_graph import compute

    monkeypatch.setattr(compute, "NODES", 1.0)
    monkeypatch.setattr(compute, "prune", lambda edges: [np.ones(one.shape, bool) for one in edges])
    found = random.circuit("top/3", through=["mid", "low"], device="cpu", progress=False, force=True)
    model, data = Random(), read_collected(random.store).origin["data"]
    weights = [layer.weight.data[:, :, 0, 0].double() for layer in (model.low, model.mid, model.top)]
    for circuit in found:
        mid, low, flow = torch.zeros(6), torch.zeros(5), torch.zeros(6, 5)
        for path in circuit.paths:
            own_mid, own_low, own_flow = torch.zeros(6), torch.zeros(5), torch.zeros(6, 5)
            for pixel in to_tensor(Image.open(f"{data}/{path}")).flatten(1).T.double():
                h = torch.relu(weights[0] @ pixel)
                g = torch.relu(weights[1] @ h)
                a = float(torch.relu(weights[2] @ g)[3])
                for c in range(6):
                    start = a * weights[2][3, c]
                    own_mid[c] += start * g[c]
                    for d in range(5) if g[c] > 0 else ():
                        own_flow[c, d] += start * weights[1][c, d] * h[d]
                        own_low[d] += start * weights[1][c, d] * h[d]
            norm = own_mid.abs().sum() * len(circuit.paths)
            mid, low, flow = mid + own_mid / norm, low + own_low / norm, flow + own_flow / norm
        relevance = {node.address: node.relevance for node in circuit.nodes}
        for name, expected in (("mid", mid), ("low", low)):
            values = [relevance.get(f"{name}/{c}", 0) for c in range(len(expected))]
            np.testing.assert_allclose(values, expected, atol=1e-5)
        edges = {(edge.source, edge.target): edge.relevance for edge in circuit.edges if edge.source != circuit.address}
        for (c, d), expected in np.ndenumerate(flow.numpy()):
            assert edges.get((f"mid/{c}", f"low/{d}"), 0) == pytest.approx(expected, abs=1e-5)
        for edge in circuit.edges:
            assert edge.source != circuit.address or edge.relevance == relevance[edge.target]


@pytest.mark.parametrize("rule", [*RULES, "epsilon", "gamma"])
def test_what_flows_through_all_channels_adds_up_to_a_pass_without_masks(
    tmp_path, model_file, tiny_weights, images, rule
):
    from pure_cli.stages.circuit_graph.compute import Grapher, find_tasks
    from pure_cli.stages.circuit_graph.flow import Flow
    from pure_cli.stages.inputs.features import Sources
    from pure_cli.stages.runtime.images import first_image

    study = Workspace(tmp_path)
    study.collect(
        model=f"{model_file}:tiny", weights=tiny_weights, data=images, references=12, workers=0, layer="layer3"
    )
    study.attribute(workers=0, neurons="3-5", rule=rule, device="cpu")
    study.cluster(k=[1, 2])
    sources = Sources(study.store)
    from pure_cli.config import make

    settings = make("render", {"circuit": "layer3/4.1", "batch_size": 5, "device": "cpu"})
    (task,) = find_tasks(sources, settings, tmp_path)
    grapher = Grapher(sources, settings)
    listing = grapher.listing(task)
    grapher.network.bound_of("layer3", first_image(listing, grapher.network))
    flow = Flow(grapher.network, listing, "layer3", ["layer2", "layer1"], rule, False, 5, [])
    references = next(iter(grapher._references(task)))
    with flow.in_force():
        relevances = flow.relevances(references)
        edges, through = flow.edges(references, relevances.norm, [np.arange(10)], lambda: None)
    assert edges[0].shape == (10, 8) and np.abs(edges[0]).sum() > 0.1
    np.testing.assert_allclose(edges[0].sum(axis=0), relevances.mean[1], atol=1e-5)
    np.testing.assert_allclose(through[0], relevances.mean[1], atol=1e-5)
    where = np.flatnonzero(task.labels == 0)[: len(references)]
    place = np.searchsorted(read_attributed(study.store)["layer3"].neuron, [4])
    (stored,), (norm,) = (list(read(study.store, "layer3", "layer2", place)) for read in (read_relevances, read_norms))
    np.testing.assert_allclose(relevances.mean[0], stored[where].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(relevances.norm, norm[where], rtol=1e-4)
    batches = -(-len(references) // 5)
    assert flow.passes == {"forward": 2 * batches, "backward": batches * (2 + 1 + 10)}


def test_the_file_says_what_the_graph_is_and_is_made_once(random):
    first = random.circuit("top/2.1", through=["mid", "low"], device="cpu", progress=False)
    file = random.path / "circuits" / "top" / "neuron-0002-pure-k2.json"
    before, text = file.stat().st_mtime_ns, file.read_text()
    calls = []
    assert random.circuit("top/2.1", through=["mid", "low"], progress=lambda *step: calls.append(step)) == first
    assert file.stat().st_mtime_ns == before and not calls
    content = json.loads(text)
    assert {"schema", "layer", "neuron", "rule", "circuits", "passes", "notes", "settings", "made_from"} <= set(content)
    own = content["circuits"][0]
    assert own == json.loads(json.dumps(first.as_dict()))
    assert set(own) == {"address", "images", "paths", "layers", "nodes", "edges", "explained"}
    assert {name: len(layer) for name, layer in zip(("mid", "low"), own["layers"], strict=True)} == {"mid": 7, "low": 7}
    ends = {own["address"], *(node["address"] for node in own["nodes"])}
    assert all({edge["source"], edge["target"]} <= ends for edge in own["edges"])
    lowest = [node for node in own["nodes"] if node["layer"] == "low"]
    top = random.references("low")
    for node in lowest:
        assert node["own_references"]
        assert [image["index"] for image in node["images"]] == top["image"][node["channel"]][:4].tolist()
    assert not any(node["own_references"] for node in own["nodes"] if node["layer"] == "mid")
    assert "mid" in content["notes"][0] and "pure collect --layer mid" in content["notes"][0]
    file.write_text(text.replace('"relevance": 0', '"relevance": 1', 1))
    again = random.circuit("top/2.1", through=["mid", "low"], device="cpu", progress=lambda *step: calls.append(step))
    assert again == first and file.read_text() == text and calls, "a damaged file is made anew"


def test_siblings_know_what_they_share(random):
    found = random.circuit("top/3", through=["mid"], device="cpu", progress=False)
    nodes = [{node.address for node in circuit.nodes} for circuit in found]
    assert len(nodes) == 2 and nodes[0] & nodes[1]
    for circuit, other in zip(found, nodes[::-1], strict=True):
        assert all(node.shared == (node.address in other) for node in circuit.nodes)
        assert all(edge.shared == (edge.target in other) for edge in circuit.edges)


def test_integrated_gradients_and_layers_that_do_not_lead_on_are_refused(random, tmp_path):
    with pytest.raises(PureError, match="'mid' does not lead to 'low'"):
        random.circuit("top/3.1", through=["low", "mid"])
    with pytest.raises(PureError, match=r"pure finds . layers? below 'top'"):
        random.circuit("top/3.1", depth=9)
    study = Workspace(tmp_path / "w", model=Random(), transform=to_tensor)
    study.collect(data=read_collected(random.store).origin["data"], layer="top", references=12, workers=0, device="cpu")
    study.attribute(lower_layer="mid", workers=0, device="cpu", rule="integrated-gradients", neurons=3)
    study.cluster(k=[2])
    with pytest.raises(PureError, match="Integrated gradients do not say what flows"):
        study.circuit("top/3.1")
