"""Which circuits stand in where nothing is named: through the hidden layer, or the paper's."""

import h5py
import numpy as np
import pytest

WHOLE = """

def whole():
    model = tiny()
    nn.init.ones_(model.layer3[0].conv2.weight[ODD])
    return model
"""


@pytest.fixture
def whole(study):
    """A workspace with references of a network all of whose neurons come from a hidden layer."""
    study.model_file.write_text(study.model_file.read_text() + WHOLE)
    inputs = ["--model", f"{study.model_file}:whole", "--weights", "none", "--data", study.data, "-n", 8]
    assert study.pure("collect", *inputs, "--layer", "layer3", "--workers", 0).code == 0
    return study


def clusterings(study):
    with h5py.File(study.file("cluster")) as file:
        return {name: group["k2/label"][:] for name, group in file["layers/layer3"].items()}


def test_the_hidden_layer_stands_in_where_no_preset_speaks(whole):
    attributed = whole.pure("attribute", "--json")
    assert attributed.code == 0, attributed.err
    with h5py.File(whole.file("attribute")) as file:
        assert list(file["layers/layer3/relevance"]) == ["layer3.0.relu1"]
    assert whole.pure("cluster").code == 0
    assert whole.pure("cluster", "--features", "pure-sqrt-l2@layer3.0.relu1").code == 0
    found = clusterings(whole)
    assert set(found) == {"pure-sqrt-l2", "pure-sqrt-l2@layer3.0.relu1"}
    assert np.array_equal(*found.values())
    shown = whole.pure("info").out
    assert "layer3/NEURON.NUMBER: pure-sqrt-l2 features, k = 2 (by default)" in shown
    rows = whole.pure("evaluate", "--metric", "labels", "--k", 2, "--json").json["tables"][0]["rows"]
    assert [row["features"] for row in rows][:1] == ["pure-sqrt-l2"]


def test_recipes_by_name(whole):
    assert whole.pure("attribute").code == 0
    assert whole.pure("cluster", "--transform", "l1").code == 0
    assert set(clusterings(whole)) == {"pure"}
    assert "pure attribute --lower-layer layer2" in whole.pure("cluster", "--recipe", "paper").err
    assert whole.pure("attribute", "--recipe", "paper").code == 0
    assert whole.pure("cluster", "--recipe", "paper").code == 0
    assert whole.pure("cluster", "--recipe", "hidden").code == 0
    assert set(clusterings(whole)) == {"pure", "pure@layer2", "pure-sqrt-l2"}


def test_the_paper_s_layer_first_is_the_paper_s_recipe_throughout(whole):
    assert whole.pure("attribute", "--recipe", "paper").code == 0
    assert whole.pure("attribute").code == 0  # goes on with what is there
    assert whole.pure("cluster").code == 0
    assert set(clusterings(whole)) == {"pure"}


def test_the_layer_that_stands_in_is_shown(whole):
    listed = whole.pure("collect", "--list-layers", "--model", f"{whole.model_file}:whole", "--json").json
    assert listed["default"] == "layer3"
    assert listed["default_lower"] == "layer3.0.relu1"


def test_a_layer_without_a_hidden_one_has_the_paper_s_recipe(study, refused):
    study.to("collect")
    refused(study.pure("attribute", "--recipe", "hidden"), "no hidden layer", "--lower-layer")
    assert study.pure("attribute").code == 0
    with h5py.File(study.file("attribute")) as file:
        assert list(file["layers/layer3/relevance"]) == ["layer2"]
