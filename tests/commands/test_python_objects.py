"""What the Python API gives shows itself, and says the same as files and figures."""

import math

import numpy as np
import pytest

from pure_cli import PureError, Workspace


@pytest.fixture
def workspace(finished):
    return Workspace(finished.workspace)


def test_virtual_neurons_go_by_their_addresses(workspace):
    found = workspace.virtual_neurons("layer3")
    arrays = found.clustering
    assert [one.address for one in found] == [
        f"layer3/{neuron}.{cluster + 1}"
        for neuron, cluster in zip(arrays.virtual_neuron.tolist(), arrays.cluster.tolist(), strict=True)
    ]
    one = found["3.2"]
    assert one is found["layer3/3.2"] and one in found[3] and (one.neuron, one.number) == (3, 2)
    own = arrays.label[arrays.neuron.tolist().index(3)] == 1
    top = workspace.references("layer3")
    np.testing.assert_array_equal(one.images, top["image"][3][own])
    np.testing.assert_array_equal(one.scores, top["value"][3][own])
    np.testing.assert_array_equal(
        one.centroid, arrays.centroid[(arrays.virtual_neuron == 3) & (arrays.cluster == 1)][0]
    )
    assert [channel for _, channel, _ in one.lower_channels] == np.argsort(-np.abs(one.centroid))[:10].tolist()
    for neuron in {virtual.neuron for virtual in found}:
        assert math.isclose(sum(virtual.share for virtual in found[neuron]), 1)
    assert len(list(found)) == len(found) and found[5] == []
    with pytest.raises(PureError, match=r"Neuron 3 of 'layer3' has no virtual neuron '3\.9'\. It has 3\.1, 3\.2\."):
        found["3.9"]
    for wrong in (99, "99.1", None, "x"):
        with pytest.raises(PureError, match=r"no virtual neuron of 'layer3'\. Write NEURON\.NUMBER, as in layer3/0\.1"):
            found[wrong]


def test_the_table_of_virtual_neurons_is_a_dataframe_too(workspace):
    found = workspace.virtual_neurons("layer3")
    frame = found.dataframe()
    assert frame["path"].tolist() == found.table()["path"]
    for one in found:
        rows = frame[frame["address"] == one.address]
        assert tuple(rows["path"]) == one.paths and set(rows["share"]) == {one.share}


def test_stale_virtual_neurons_are_refused(finished, workspace):
    finished.change_weights()
    assert finished.collect().code == 0
    with pytest.raises(PureError, match="stale"):
        workspace.virtual_neurons("layer3")
    with pytest.raises(PureError, match="no clustering of 'layer3' by pure with k = 7"):
        workspace.virtual_neurons("layer3", k=7)


def test_objects_show_themselves_in_a_terminal_and_a_notebook(workspace, tmp_path):
    info = repr(workspace)
    assert "Workspace" in info and "all is up to date" in info and "12 neurons × 6 references" in info
    assert "nothing is there yet" in repr(Workspace(tmp_path / "none"))
    found = workspace.virtual_neurons("layer3")
    assert "neurons of 'layer3' are split" in repr(found) and "silhouette" in repr(found)
    assert repr(found["0.1"]).startswith("<VirtualNeuron layer3/0.1: ")
    outcome = workspace.cluster(k=[2])
    assert repr(outcome) == "✓ cluster: up to date (layer3)"
    for one in (workspace, found, outcome):
        html = one._repr_html_()
        assert html.startswith("<pre>") and "layer3" in html
    table = workspace.evaluate(metric="labels")
    assert "✓ evaluate: 1 metric in" in repr(table) and "adjusted Rand index" in repr(table)


def test_what_users_call_their_classes_is_text_in_a_notebook(workspace):
    outcome = workspace.cluster(k=[2])
    outcome.notes.append("<img src=x onerror=alert(1)> [bold]x[/]")
    assert "<img" not in outcome._repr_html_() and "[bold]x[/]" in outcome._repr_html_()
