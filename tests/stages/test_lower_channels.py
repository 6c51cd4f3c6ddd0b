"""Which lower channels set virtual neurons apart, and what the figures show of them."""

from collections import Counter

import h5py
import numpy as np
import pytest

from pure_cli import PureError, Workspace
from pure_cli.artifacts import need_clusterings, read_relevances
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.inputs.lower_channels import ChannelReader, LowerChannel
from pure_cli.stages.neuron_figures.painter import Painter

LAYER, LOWER = "layer3", "layer2"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, images, model_file, tiny_weights):
    workspace = Workspace(tmp_path_factory.mktemp("channels") / "w")
    workspace.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=8, workers=0, layer=LAYER)
    workspace.attribute(lower_layer=[LOWER], workers=0)
    workspace.cluster(k=[2, 3], features=["pure", "activation-max", "pure-sqrt-l2"])
    workspace.cluster(k="auto", neurons="0-5")
    return workspace


def by_a_loop(workspace, clustering, neuron, number):
    """Channel to difference of mean relevance, of those that the virtual neuron has more of."""
    (relevance,) = read_relevances(workspace.store, LAYER, LOWER, np.array([neuron]))
    labels = clustering.label[clustering.neuron.tolist().index(neuron)]
    differences = {}
    for channel in range(relevance.shape[1]):
        own = [float(row[channel]) for row, label in zip(relevance, labels, strict=True) if label == number]
        rest = [float(row[channel]) for row, label in zip(relevance, labels, strict=True) if label not in (number, -1)]
        differences[channel] = sum(own) / len(own) - sum(rest) / len(rest)
    return differences


@pytest.mark.parametrize("features", ["pure", "activation-max", "pure-sqrt-l2"])
def test_channels_are_the_largest_differences_of_mean_relevance(workspace, features):
    virtual = workspace.virtual_neurons(LAYER, features, 3)
    several = [one for one in virtual if len(virtual[one.neuron]) > 1]
    assert several
    for one in several:
        expected = by_a_loop(workspace, virtual.clustering, one.neuron, one.number - 1)
        more = sorted((c for c in expected if expected[c] > 1e-6), key=lambda c: -expected[c])[:10]
        assert [address for address, _ in one.channels[: len(more)]] == [f"{LOWER}/{c}" for c in more]
        np.testing.assert_allclose([v for _, v in one.channels[: len(more)]], [expected[c] for c in more], rtol=1e-3)


def test_tables_json_and_info_carry_them(workspace, cli):
    (table,) = cli("cluster", "-w", workspace.path, "--json").json["tables"]
    told = cli("info", "-w", workspace.path, "--json").json["channels"][LAYER]
    for row in table["neurons"]:
        for one in row["virtual_neurons"]:
            assert one["channels"] == told[one["name"]]
            assert [f"{c['layer']}/{c['channel']}" for c in one["channels"]] == [c["address"] for c in one["channels"]]
            assert 0 <= sum(c["share"] for c in one["channels"]) <= 1 + 1e-6
    shown = cli("cluster", "-w", workspace.path, "-v").out
    assert "more" in shown and LOWER in shown and "More: lower channels" in shown
    assert LOWER not in cli("cluster", "-w", workspace.path).out


def test_without_relevances_they_are_left_out(workspace):
    clustering = next(iter(need_clusterings(workspace.store).values()))
    sources = Sources(workspace.store)
    sources.__dict__["attributed"] = {}
    assert ChannelReader(sources, LAYER, clustering).setting_apart(0) is None


def test_a_channels_images_are_its_own_references_or_else_this_layers(tmp_path, images, model_file, tiny_weights, cli):
    own = Workspace(tmp_path / "w")
    given = {"model": f"{model_file}:tiny", "weights": tiny_weights, "data": images, "n": 8, "workers": 0}
    own.collect(**given, layer=LAYER)
    own.attribute(lower_layer=[LOWER], workers=0)
    own.cluster(k=2)
    clustering = need_clusterings(own.store)[f"layers/{LAYER}/pure/k2"]

    def found():
        reader = ChannelReader(Sources(own.store), LAYER, clustering)
        return [reader.images_of(LowerChannel(LOWER, channel, 0, 0), 5).tolist() for channel in range(3)]

    with h5py.File(own.path / "attribute.h5") as file:
        group = file[f"layers/{LAYER}/activations"]
        index, values = group["image"][:], group[f"lower/{LOWER}"][:]
    for channel, shown in enumerate(found()):
        pairs = sorted(zip(values[:, channel].tolist(), index.tolist(), strict=True), key=lambda pair: -pair[0])
        assert shown == [image for _, image in pairs[:5]]
    first = own.render(neurons=0, crop="none")
    own.collect(**given, layer=LOWER)
    assert found() == [row[:5].tolist() for row in own.references(LOWER)["image"][:3]]
    again = own.render(neurons=0, crop="none")
    assert (first.computed, again.computed, own.render(neurons=0, crop="none").computed) == (1, 1, 0)


@pytest.mark.parametrize(("k", "key"), [(2, "silhouette"), ("auto", "polysemanticity")])
def test_the_most_clearly_split_are_drawn(workspace, monkeypatch, tmp_path, k, key):
    def paint(self, job):
        job.file.parent.mkdir(parents=True, exist_ok=True)
        job.file.write_bytes(b"")

    monkeypatch.setattr(Painter, "paint", paint)
    rows = workspace.virtual_neuron_tables(k=k, neurons="0-5", sort="neuron")[0]["neurons"]
    order = sorted(rows, key=lambda row: -np.inf if row[key] is None else row[key], reverse=True)
    names = [f"neuron-{row['neuron']:04d}" for row in order]
    among = [row["neuron"] for row in order[1:4]]
    for neurons, top, expected in (("0-5", 2, names[:2]), (among, 1, names[1:2]), (among, 9, names[1:4])):
        drawn = workspace.render(features="pure", k=k, neurons=neurons, top=top, out=tmp_path).details["files"]
        assert [file.rsplit("/", 1)[1][:11] for file in drawn] == expected


def test_the_row_of_all_shows_each_virtual_neuron_and_classes_have_their_lift(workspace, monkeypatch, tmp_path):
    from pure_cli.views import neuron as view

    pictures, draw = [], view.draw
    monkeypatch.setattr(view, "draw", lambda picture: [pictures.append(picture), draw(picture)][1])
    workspace.render(top=4, k=3, features="pure", crop="none", images=4, out=tmp_path / "f")
    assert len(pictures) == 4
    for picture in pictures:
        everything, *rows = picture.rows
        virtual = [row for row in rows if len(row.images)]
        for row in virtual:
            assert any((one == other).all() for one in row.images for other in everything.images)
        assert sum(Counter(row.label for row in virtual).values()) == 3
        assert f"k-means silhouette {picture.silhouette:.2f}" in picture.sentences[0]
        assert any("the references of layer3" in sentence for sentence in picture.sentences)


@pytest.mark.parametrize("bad", [0, -1, "two"])
def test_a_bad_number_of_figures_is_refused(workspace, bad):
    with pytest.raises(PureError, match="top"):
        workspace.render(top=bad)


def test_one_virtual_neuron_is_drawn_once_and_the_figure_says_why_it_is_one(workspace, monkeypatch, tmp_path):
    from pure_cli.views import neuron as view

    pictures, draw = {}, view.draw
    monkeypatch.setattr(view, "draw", lambda picture: [pictures.update({picture.title: picture}), draw(picture)][1])
    rows = workspace.virtual_neuron_tables(k="auto", neurons="0-5", sort="neuron")[0]["neurons"]
    single = [row for row in rows if len(row["virtual_neurons"]) == 1][:3]
    workspace.render(neurons=[row["neuron"] for row in single], k="auto", features="pure", crop="none", out=tmp_path)
    for row in single:
        picture = pictures[f"{LAYER} · neuron {row['neuron']}"]
        assert [one.name for one in picture.rows] == [f"{row['neuron']}.1"]
        why = {"p": "above 0.05", "threshold": "too little", "gap": "gap statistic"}[row["refused_by"]]
        assert why in picture.sentences[0] and f"p = {row['p']:.2g}" in picture.sentences[0]
    assert pictures
