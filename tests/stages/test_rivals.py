"""pure evaluate --metric rivals: all that a layer is read by, in one table."""

import h5py
import numpy as np
import pytest
import torch

from pure_cli import Workspace
from pure_cli.artifacts import read_activations
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.runtime.images import read_images
from pure_cli.stages.runtime.network import open_network

N = 8


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, images, model_file, tiny_weights):
    """Neurons, virtual neurons by activations, four principal components and twenty random directions of layer3."""
    workspace = Workspace(tmp_path_factory.mktemp("rivals") / "w")
    workspace.collect(layer="layer3", model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=N, workers=0)
    workspace.attribute(layer="layer3", workers=0)
    for how, m in (("random", 20), ("pca", 5)):
        outcome = workspace.directions(how, m=m, workers=0)
        workspace.collect(layer="layer3", directions=outcome.details["files"]["layer3"], workers=0)
    return workspace


def table(workspace, **options):
    outcome = workspace.evaluate(metric="rivals", layer="layer3", features="activation-mean", k=2, **options)
    return outcome, outcome.details["tables"][0]


def labels_of(workspace, layer):
    """The labels of each neuron's references, and which excite it."""
    references = workspace.references(layer)
    with h5py.File(workspace.path / "collect.h5") as file:
        label = dict(zip(file["images/index"][:].tolist(), file["images/label"][:].tolist(), strict=True))
    for image, value in zip(references["image"], references["value"], strict=True):
        yield np.array([label[int(i)] for i in image]), value > 0


def test_rows_have_the_purity_of_a_plain_loop_over_as_many_units(workspace):
    outcome, found = table(workspace)
    rows = {row["units"]: row for row in found["rows"]}
    assert list(rows) == ["neurons", "pca-5@layer3", "random-20@layer3", "virtual neurons (activation-mean, k = 2)",
                          "neurons dealt at random (k = 2)"]  # fmt: skip
    assert "5 units of each" in found["title"] and found["columns"][4:] == [
        "above chance",
        "entropy",
        "stability",
        "specificity",
    ]
    classes = labels_of(workspace, "pca-5@layer3")
    expected = [np.bincount(row[excited]).max() / excited.sum() for row, excited in classes]
    assert rows["pca-5@layer3"]["purity"][0] == pytest.approx(np.mean(expected))
    assert rows["pca-5@layer3"]["purity"][1] == pytest.approx(np.std(expected, ddof=1) / 5**0.5)
    for row in rows.values():
        assert row["above chance"][0] == pytest.approx(row["purity"][0] - row["chance"])
    assert outcome.computed == 1


def test_up_to_date_until_other_directions_are_there(workspace):
    table(workspace)
    assert table(workspace)[0].up_to_date
    outcome = workspace.directions("kmeans", m=4, workers=0)
    workspace.collect(layer="layer3", directions=outcome.details["files"]["layer3"], workers=0)
    outcome, found = table(workspace)
    assert not outcome.up_to_date and "4 units of each" in found["title"]
    assert "kmeans-4@layer3" in [row["units"] for row in found["rows"]]


def test_relevances_of_directions_give_them_a_specificity(workspace):
    def specificity():
        outcome, found = table(workspace)
        return outcome.up_to_date, {row["units"]: row["specificity"][0] for row in found["rows"]}

    assert specificity()[1]["random-20@layer3"] is None
    workspace.attribute(layer="random-20@layer3", workers=0)
    fresh, found = specificity()
    assert not fresh and found["random-20@layer3"] is not None
    assert specificity()[0]
    assert "It is cut at layer2; – has no relevances there" in table(workspace)[1]["note"]


def test_embeddings_that_are_there_judge_too(workspace):
    workspace.embed(layer="layer3", embedder="pixels", crop="none", workers=0)
    _, found = table(workspace)
    by = {row["units"]: row["ms"] for row in found["rows"]}
    assert -1 <= {row["units"]: row["clarity"] for row in found["rows"]}["neurons"][0] <= 1
    assert by["neurons"][0] is not None and by["pca-5@layer3"][0] is None
    before = workspace.evaluate(metric="ms", layer="layer3", features="activation-mean", k=2).details["tables"][0][
        "rows"
    ][0]
    assert by["neurons"][0] == pytest.approx(before["references"][0], abs=0.2)  # of the units drawn


@pytest.mark.parametrize(("other", "near"), [((0.5, 0.1), ["b"]), ((0.1, 0.1), []), ((None, None), [])])
def test_units_within_two_errors_are_not_told_apart(other, near):
    from pure_cli.stages.evaluation.rivals import _near

    rows = [{"units": "a", "above chance": (0.6, 0.05)}, {"units": "b", "above chance": other}]
    assert _near(rows, 0) == near


def test_directions_found_again_with_another_seed_have_a_stability(workspace):
    before = {row["units"]: row["stability"][0] for row in table(workspace)[1]["rows"]}
    assert before["neurons"] is None and before["random-20@layer3"] is None
    assert 0 < before["virtual neurons (activation-mean, k = 2)"] <= 1
    path = workspace.path / "random-again.safetensors"
    workspace.directions("random", m=20, seed=1, out=path, workers=0)
    workspace.collect(layer="layer3", directions=path, workers=0)
    after = {row["units"]: row["stability"][0] for row in table(workspace)[1]["rows"]}
    assert 0 < after["random-20@layer3"] < 1 and after["neurons"] is None


def test_specificity_is_what_a_plain_loop_loses_of_own_images_and_not_of_others(workspace, tiny):
    """Half of the positive relevance is cut, by every second reference; the others' images tell what it costs."""
    from pure_cli.core.metrics.causal import circuit_channels
    from pure_cli.stages.evaluation.unit_scores import IMAGES, OTHERS

    table(workspace)
    with h5py.File(workspace.path / "evaluate.h5") as file:
        (group,) = (file[name] for name in names_in(file) if name.endswith("units/layer3"))
        units, expected = group["unit"][:], group["specificity"][:]
    references, source = workspace.references("layer3"), Sources(workspace.store)
    (lower,) = source.attributed["layer3"].lower_layers
    relevance = dict(zip(source.attributed["layer3"].neuron.tolist(),
                         source.features_of("layer3", "pure").rows(np.arange(12)), strict=True))  # fmt: skip
    network, listing = open_network(source.collected, "cpu"), source.listing(["layer3"])
    mean = torch.from_numpy(read_activations(workspace.store, "layer3", f"lower/{lower}").mean(axis=0))

    def scores(images, cut=None):
        def silence(module, inputs, output):
            output = output.clone()
            output[:, cut] = mean[cut][:, None, None]
            return output

        hooks = [tiny.layer3.register_forward_hook(lambda module, inputs, output: seen.append(output))]
        hooks += [] if cut is None else [tiny.get_submodule(lower).register_forward_hook(silence)]
        seen = []
        with torch.no_grad():
            tiny(network.inputs(read_images(network, listing, images, 0)))
        for hook in hooks:
            hook.remove()
        return seen[0].amax(dim=(2, 3)).clamp(min=0).numpy()

    own = {c: np.flatnonzero(references["value"][c] > 0) for c in units.tolist()}
    image = {c: references["image"][c][own[c][1::2][:IMAGES]] for c in own}
    found = []
    for place, c in enumerate(units.tolist()):
        cut = torch.from_numpy(circuit_channels(relevance[c][own[c][::2]].mean(axis=0), 0.5))
        steps = [turn * len(units) // (OTHERS + 1) for turn in range(OTHERS + 1)]
        lost = []
        for other in (int(units[(place + step) % len(units)]) for step in steps):
            before, after = scores(image[other])[:, other], scores(image[other], cut)[:, other]
            lost.append(np.mean(1 - after / before))
        found.append(lost[0] - np.mean(lost[1:]))
    np.testing.assert_allclose(expected, found, rtol=1e-3, atol=1e-5)
    assert np.ptp(expected) > 0.01


def names_in(group):
    names = []
    group.visit(names.append)
    return names


def test_one_table_for_each_module_and_rows_say_what_they_are(workspace):
    workspace.attribute(layer=["pca-5@layer3", "random-20@layer3"], workers=0)
    how = {"metric": "rivals", "features": "activation-mean", "k": 2}
    (found,) = workspace.evaluate(**how).details["tables"]
    assert found["layer"] == "layer3" and found["title"].startswith("layer3: neurons, virtual neurons and directions")
    (found,) = workspace.evaluate(**how, layer="pca-5@layer3").details["tables"]
    units = [row["units"] for row in found["rows"]]
    assert units[0] == "pca-5@layer3" and "neurons" in units
    assert units[-2:] == ["parts of pca-5@layer3 (activation-mean, k = 2)", "pca-5@layer3 dealt at random (k = 2)"]
    assert found["verdict"].startswith("Of 'pca-5@layer3', its parts and what else 'layer3' is read by, ")
    assert "virtual neurons" not in found["title"] + found["verdict"] + "".join(units)


def test_the_plain_layer_stands_for_its_module_and_another_where_it_is_not_there():
    from pure_cli.stages.evaluate import _one_each_module

    assert _one_each_module(["b#0-50", "sae-8@a", "a", "a#0-50", "b#50-100", "sae-8@c#0-50", "sae-8@c"]) == [
        "a", "sae-8@c", "b#0-50",
    ]  # fmt: skip


def test_units_of_bands_are_called_neurons_and_directions():
    from pure_cli.stages.evaluation.rivals import _called

    assert [_called(name) for name in ("a", "a#80-100", "sae-8@a", "sae-8@a#80-100")] == [
        "neurons", "neurons", "sae-8@a", "sae-8@a",
    ]  # fmt: skip
