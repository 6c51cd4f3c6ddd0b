"""Every rule through the files: relevances, warnings by name, and heatmaps of a transformer."""

import h5py
import numpy as np
import pytest

from pure_cli.models.rules import RULES

N = 6
VIT = """
import torchvision


def vit():
    model = torchvision.models.VisionTransformer(32, 8, 3, 2, 16, 24)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.3)
    return model
"""


@pytest.fixture(scope="module")
def collected(tmp_path_factory, images, model_file, tiny_weights):
    from pure_cli import Workspace

    workspace = Workspace(tmp_path_factory.mktemp("rules") / "w")
    workspace.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=N, workers=0, layer="layer3")
    return workspace.path


@pytest.fixture(scope="module")
def transformer(tmp_path_factory, images):
    from pure_cli import Workspace

    folder = tmp_path_factory.mktemp("vit")
    (folder / "vit.py").write_text(VIT)
    workspace = Workspace(folder / "w")
    layer = "encoder.layers.encoder_layer_2"
    workspace.collect(model=f"{folder / 'vit.py'}:vit", data=images, n=N, workers=0, layer=layer)
    return workspace.path


def attribute(cli, path, rule, *options):
    return cli("attribute", "-w", path, "--rule", rule, "--neurons", "0-3", "--workers", 0, "--json", *options)


def relevance(path, layer, lower):
    with h5py.File(path / "attribute.h5") as file:
        return file[f"layers/{layer}/relevance/{lower}"][:]


def test_every_rule_gives_relevances_of_its_own_without_a_warning(collected, cli):
    found = {}
    for rule in RULES:
        answer = attribute(cli, collected, rule, "--lower-layer", "layer2")
        assert answer.code == 0, answer.err
        assert not any("canonizer" in note for note in answer.json["notes"])
        found[rule] = relevance(collected, "layer3", "layer2")
        norm = np.abs(found[rule]).sum(axis=-1)
        assert ((np.abs(norm - 1) < 1e-4) | (norm == 0)).all() and norm.any()
        assert attribute(cli, collected, rule, "--lower-layer", "layer2").json["up_to_date"]
    assert np.allclose(found["epsilon-plus"], found["epsilon-plus-flat"])  # the first layer lies below
    assert not np.allclose(found["epsilon-plus"], found["epsilon"], atol=1e-3)
    assert not np.allclose(found["gamma"], found["epsilon"], atol=1e-3)
    assert not np.allclose(found["integrated-gradients"], found["gradient-x-input"], atol=1e-3)


def test_a_rule_that_does_not_fit_says_so_once_and_by_name(transformer, cli):
    lower = "encoder.layers.encoder_layer_0"
    fitting = attribute(cli, transformer, "attn-lrp", "--lower-layer", lower)
    assert fitting.code == 0, fitting.err
    assert not any("canonizer" in note for note in fitting.json["notes"])
    answer = attribute(cli, transformer, "epsilon-plus", "--lower-layer", lower)
    assert answer.code == 0, answer.err
    (note,) = [note for note in answer.json["notes"] if "canonizer" in note]
    assert note.startswith("epsilon-plus: no canonizer for VisionTransformer: it has no rule for layer_norm")
    assert relevance(transformer, "encoder.layers.encoder_layer_2", lower).any()


def test_heatmaps_of_a_transformer_are_by_attn_lrp(transformer, cli):
    assert attribute(cli, transformer, "attn-lrp", "--lower-layer", "encoder.layers.encoder_layer_0").code == 0
    assert cli("cluster", "-w", transformer, "--json").code == 0
    answer = cli("render", "-w", transformer, "--neurons", 1, "--json")
    assert answer.code == 0, answer.err
    assert not any("canonizer" in note for note in answer.json["notes"])
