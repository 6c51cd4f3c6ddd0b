"""Only what is missing is computed, what is kept stays to the bit, and what changed is noticed: no more and no less."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from materials import make_images
from PIL import Image
from processes import contents

from pure_cli import Workspace
from pure_cli.artifacts import read_collected
from pure_cli.core.circuits import forward_to
from pure_cli.data.listing import list_images
from pure_cli.data.loader import decode_one
from pure_cli.errors import PureError
from pure_cli.models.load import load_model
from pure_cli.models.spec import parse_model
from pure_cli.stages.runtime.network import open_network

N = 8


@dataclass
class Study:
    """Inputs of its own, which a test may change, and a workspace."""

    folder: Path
    workspace: Workspace

    @property
    def options(self) -> dict:
        return {
            "model": f"{self.folder / 'model.py'}:tiny",
            "weights": self.folder / "weights.pth",
            "data": self.folder / "images",
            "n": N,
            "workers": 0,
        }

    def collect(self, **more):
        return self.workspace.collect(**{**self.options, **more})

    def attribute(self, **options):
        return self.workspace.attribute(workers=0, batch_size=4, **options)

    def file(self, name="attribute") -> h5py.File:
        return h5py.File(self.workspace.path / f"{name}.h5")

    def layer(self, name="layer3") -> dict:
        """What attribute.h5 has of a layer: neuron to relevances by lower layer, and which are done."""
        with self.file() as file:
            group = file[f"layers/{name}"]
            neurons = group["neuron"][:].tolist()
            return {
                "neurons": neurons,
                "done": {lower: dict(zip(neurons, values[:].tolist(), strict=True))
                         for lower, values in group["done"].items()},
                "relevance": {lower: dict(zip(neurons, values[:], strict=True))
                              for lower, values in group["relevance"].items()},
                "activations": {kind: dict(zip(group["activations/image"][:].tolist(),
                                               group[f"activations/{kind}"][:], strict=True))
                                for kind in ("max", "mean")},
            }  # fmt: skip

    def statuses(self) -> dict[str, str | None]:
        return {f"{r['stage']} {r['layer']}": r["stale"] for r in self.workspace.info()["results"]}

    def unfinished(self) -> bool:
        return (self.workspace.path / ".partial").exists()


@pytest.fixture(scope="session")
def inputs(tmp_path_factory, model_file, tiny_weights):
    folder = tmp_path_factory.mktemp("inputs")
    shutil.copy(model_file, folder / "model.py")
    state = torch.load(tiny_weights, weights_only=True)
    for bias in ("bn2.bias", "shortcut.bias"):  # so that neurons fire
        state[f"layer3.0.{bias}"] += 1.0
    torch.save(state, folder / "weights.pth")
    make_images(folder / "images", 30)
    return folder


@pytest.fixture
def study(tmp_path, inputs) -> Study:
    shutil.copytree(inputs, tmp_path / "inputs")
    return Study(tmp_path / "inputs", Workspace(tmp_path / "workspace"))


@pytest.fixture
def collected(study) -> Study:
    study.collect(layer=["layer3"])
    return study


def assert_kept(before, after, lower, neurons):
    for c in neurons:
        assert before["relevance"][lower][c].tobytes() == after["relevance"][lower][c].tobytes()


# --- attribute, bit by bit


def test_more_neurons_leave_those_that_are_there_to_the_bit(collected):
    assert collected.attribute(neurons=[5, 1, 9]).computed == 3
    before = collected.layer()
    outcome = collected.attribute(neurons="0-9")
    assert outcome.computed == 7
    after = collected.layer()
    assert after["neurons"] == list(range(10))
    assert_kept(before, after, "layer2", [1, 5, 9])
    for kind, images in before["activations"].items():
        for image, values in images.items():
            assert after["activations"][kind][image].tobytes() == values.tobytes()
    assert collected.attribute(neurons="3,7").up_to_date
    assert not collected.unfinished()


def test_any_order_of_neurons_gives_the_values_of_one_run(collected, tmp_path):
    collected.attribute(neurons="0-3")
    collected.attribute(neurons="8")
    collected.attribute()
    once = Study(collected.folder, Workspace(tmp_path / "once"))
    once.collect(layer=["layer3"])
    once.attribute()
    steps, whole = collected.layer(), once.layer()
    assert steps["neurons"] == whole["neurons"] == list(range(12))
    for c in range(12):
        np.testing.assert_allclose(
            steps["relevance"]["layer2"][c], whole["relevance"]["layer2"][c], rtol=1e-4, atol=1e-6
        )


def test_another_lower_layer_is_added_and_what_is_not_computed_is_no_number(collected):
    collected.attribute(neurons="0-4")
    before = collected.layer()
    assert collected.attribute(neurons="3-6", lower_layer="layer1").computed == 4
    after = collected.layer()
    assert after["neurons"] == list(range(7))
    assert after["done"] == {
        "layer2": {c: c <= 4 for c in range(7)},
        "layer1": {c: c >= 3 for c in range(7)},
    }
    assert_kept(before, after, "layer2", range(5))
    for lower, flags in after["done"].items():
        for c, done in flags.items():
            values = after["relevance"][lower][c]
            assert np.isfinite(values).all() if done else np.isnan(values).all()
    outcome = collected.attribute(neurons="0-6")  # both lower layers, where they are missing
    assert outcome.computed == 2 + 3
    final = collected.layer()
    assert all(all(flags.values()) for flags in final["done"].values())
    assert_kept(after, final, "layer1", range(3, 7))
    assert collected.attribute(neurons="0-6", lower_layer=["layer1", "layer2"]).up_to_date


def test_another_collected_layer_leaves_the_rest_as_it_is(collected):
    collected.attribute(neurons="0-3")
    references, before = contents(collected.workspace.path / "collect.h5"), collected.layer()
    collected.collect(layer=["layer2"])
    kept = contents(collected.workspace.path / "collect.h5")
    assert {k: v for k, v in references.items() if k.startswith("layers/layer3")} == {
        k: v for k, v in kept.items() if k.startswith("layers/layer3")
    }
    assert collected.statuses() == {"collect layer3": None, "collect layer2": None, "attribute layer3": None}
    assert collected.attribute(layer="layer3", neurons="0-3").up_to_date
    assert collected.attribute(layer="layer2", neurons="1").computed == 1
    assert_kept(before, collected.layer(), "layer2", range(4))


def test_force_computes_what_is_asked_for_and_keeps_the_rest(collected):
    collected.attribute(neurons="0-5", lower_layer=["layer2", "layer1"])
    before = collected.layer()
    outcome = collected.attribute(neurons="2,3", lower_layer="layer2", force=True)
    assert outcome.computed == 2
    after = collected.layer()
    assert_kept(before, after, "layer2", [0, 1, 4, 5])
    assert_kept(before, after, "layer1", range(6))
    for c in (2, 3):
        np.testing.assert_allclose(
            after["relevance"]["layer2"][c], before["relevance"]["layer2"][c], rtol=1e-4, atol=1e-6
        )
    assert list(after["activations"]["max"]) == list(before["activations"]["max"])
    assert not collected.unfinished()


def test_another_rule_takes_the_place_of_the_first(collected):
    collected.attribute(neurons="0-2")
    outcome = collected.attribute(neurons="1", rule="epsilon-plus")
    assert outcome.computed == 1
    assert "replaced" in " ".join(outcome.notes)
    assert collected.layer()["neurons"] == [1]


def test_activations_are_there_once_for_each_image_and_equal_a_direct_pass(collected):
    collected.attribute(neurons="0-2")
    collected.attribute(neurons="3-11")
    listing = list_images(collected.folder / "images")
    with collected.file("collect") as file:
        references = file["layers/layer3/image"][:]
    network = open_network(read_collected(collected.workspace.store), "cpu")
    found = collected.layer()["activations"]
    assert list(found["max"]) == sorted(set(references.ravel().tolist()))
    for image in found["max"]:
        pixels = torch.from_numpy(decode_one(listing, image, network.preprocessing))[None]
        activation = forward_to(network.model, network.inputs(pixels), "layer3")[0].clamp(min=0).flatten(2)[0]
        np.testing.assert_allclose(found["max"][image], activation.amax(-1).numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["mean"][image], activation.mean(-1).numpy(), rtol=1e-4, atol=1e-6)


def test_neuron_with_fewer_references_than_n_has_rows_of_zeros(study):
    study.collect(layer=["layer3"], n=40)  # 30 images
    study.attribute(neurons="4")
    with study.file() as file:
        assert (file["layers/layer3/image"][0, 30:] == -1).all()
        assert not file["layers/layer3/relevance/layer2"][0, 30:].any()
    study.workspace.cluster(neurons="4")
    with study.file("cluster") as file:
        assert (file["layers/layer3/pure/k2/label"][0, 30:] == -1).all()


@pytest.mark.parametrize("neurons", ["", [], "12", "1-", "many"])
def test_neurons_that_are_none_are_told(collected, neurons):
    with pytest.raises(PureError, match="neuron"):
        collected.attribute(neurons=neurons)


@pytest.mark.parametrize("neurons", [3, [3], (3,), np.array([3]), "3", np.int64(3)])
def test_neurons_may_be_given_in_any_form(collected, neurons):
    collected.attribute(neurons=neurons)
    assert collected.layer()["neurons"] == [3]


# --- the same references whatever the way


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (7, 0), (7, 2), (30, 0), (64, 1)])
def test_references_do_not_depend_on_batches_or_workers(collected, tmp_path, batch_size, workers):
    other = Study(collected.folder, Workspace(tmp_path / "other"))
    other.collect(layer=["layer3", "layer2", "act"], batch_size=batch_size, workers=workers)
    expected, found = (study.workspace.references("layer3") for study in (collected, other))
    np.testing.assert_array_equal(found["image"], expected["image"])
    np.testing.assert_array_equal(found["position"], expected["position"])
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-4, atol=1e-6)
    assert (other.workspace.references("act")["position"] == -1).all()


def test_references_equal_a_loop_over_all_images(collected):
    listing = list_images(collected.folder / "images")
    model = load_model(parse_model(collected.options["model"]), collected.options["weights"])
    from pure_cli.core.preprocessing import Preprocessing

    scores = []
    for i in range(30):
        pixels = torch.from_numpy(decode_one(listing, i, Preprocessing()))[None]
        scores.append(forward_to(model, Preprocessing().normalize(pixels), "layer3")[0].flatten(2).amax(-1)[0])
    scores = torch.stack(scores).numpy()
    for c, images in enumerate(collected.workspace.references("layer3")["image"]):
        np.testing.assert_allclose(scores[images, c], -np.sort(-scores[:, c])[:N], rtol=1e-4, atol=1e-6)


# --- what is noticed


@pytest.fixture(scope="module")
def whole_workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def whole(study, whole_workspace) -> Study:
    """Collected, attributed, clustered; the inputs at a place of their own."""
    if not (whole_workspace / "collect.h5").exists():
        study.collect(layer=["layer3"])
        study.attribute(neurons="0-3")
        study.workspace.cluster()
        shutil.copytree(study.workspace.path, whole_workspace, dirs_exist_ok=True)
        return study
    shutil.copytree(whole_workspace, study.workspace.path)
    assert study.collect(layer=["layer3"]).up_to_date  # and takes note of the new place
    return study


FRESH = {"collect layer3": None, "attribute layer3": None, "cluster layer3": None}


def test_nothing_changed_nothing_is_done(whole):
    before = {path: path.read_bytes() for path in whole.workspace.path.glob("*.h5")}
    assert whole.statuses() == FRESH
    assert whole.collect(layer="layer3").up_to_date
    assert whole.collect().up_to_date
    assert whole.workspace.collect().up_to_date
    assert whole.attribute().computed == 8  # the other neurons
    for name in ("collect", "cluster"):
        path = whole.workspace.path / f"{name}.h5"
        assert path.read_bytes() == before[path]
    assert whole.statuses() == FRESH
    assert whole.workspace.cluster(neurons="0-3").up_to_date


def weights_bytes(study):
    path = study.folder / "weights.pth"
    state = torch.load(path, weights_only=True)
    state["layer1.0.conv1.weight"][0, 0, 0, 0] += 1e-4
    torch.save(state, path)


def image_added(study):
    Image.new("RGB", (32, 32)).save(study.folder / "images" / "class0" / "another.png")


def image_removed(study):
    next((study.folder / "images").rglob("*.png")).unlink()


def image_of_another_size(study):
    path = next((study.folder / "images").rglob("*.png"))
    path.write_bytes(path.read_bytes() + b"\0")


def image_renamed(study):
    path = next((study.folder / "images").rglob("*.png"))
    path.rename(path.with_name("zzz.png"))


def class_renamed(study):
    (study.folder / "images" / "class0").rename(study.folder / "images" / "other")


def model_file(study):
    path = study.folder / "model.py"
    path.write_text(path.read_text() + "\n")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (weights_bytes, "the weights"),
        (image_added, "the images"),
        (image_removed, "the images"),
        (image_of_another_size, "the images"),
        (image_renamed, "the images"),
        (class_renamed, "the images"),
        (model_file, "the model"),
    ],
)
def test_changed_inputs_make_everything_stale_and_nothing_is_used(whole, change, what):
    change(whole)
    assert whole.statuses() == dict.fromkeys(FRESH, f"{what} changed")
    for stage in (whole.attribute, whole.workspace.cluster):
        with pytest.raises(PureError, match=f"{what} changed"):
            stage()
    outcome = whole.workspace.collect(workers=0)
    assert outcome.computed
    assert whole.statuses()["collect layer3"] is None
    with pytest.raises(PureError, match="stale"):
        whole.workspace.cluster()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"n": N + 1}, "the number of references (n)"),
        ({"mean": (0.4, 0.4, 0.4)}, "the preprocessing"),
        ({"resize": 16}, "the preprocessing"),
        ({"limit": 20}, "the images"),
        ({"weights": "none", "seed": 3}, "the weights"),
    ],
)
def test_other_options_are_collected_again_and_make_later_stages_stale(whole, options, what):
    outcome = whole.collect(**options)
    assert outcome.computed
    assert what in " ".join(outcome.notes)
    stale = whole.statuses()
    assert stale["collect layer3"] is None
    assert what in stale["attribute layer3"] and what in stale["cluster layer3"]
    assert whole.collect(**options).up_to_date


@pytest.mark.parametrize(
    "options",
    [
        {"n": float(N)},
        {"n": str(N)},
        {"n": np.int64(N)},
        {"batch_size": 3},
        {"workers": 1},
        {"device": "cpu"},
        {"seed": 5},  # nothing is random where there are weights
        {"limit": 30},  # as many as there are
        {"layer": "layer3"},
    ],
)
def test_options_that_change_nothing_are_no_change(whole, options):
    assert whole.collect(**options).up_to_date
    assert whole.statuses() == FRESH


def test_order_of_options_and_kind_of_numbers_do_not_matter(study):
    study.collect(mean=(0, 0, 0), std=(1, 1, 1), resize=16)
    again = dict(reversed({**study.options, "resize": 16.0, "std": "1.0,1,1", "mean": [0.0, 0, 0.0]}.items()))
    assert study.workspace.collect(**again).up_to_date


def test_only_what_depends_on_the_seed_of_cluster_is_computed_again(whole):
    kept = {name: (whole.workspace.path / f"{name}.h5").read_bytes() for name in ("collect", "attribute")}
    assert whole.workspace.cluster(k=[2, 3]).computed == 4
    assert whole.workspace.cluster(seed=1, k=2).computed == 4
    assert whole.workspace.cluster(k=3).up_to_date
    assert whole.workspace.cluster(k=2).computed == 4  # seed 0 again
    assert whole.workspace.cluster(k=2, features="activation-max").computed == 4
    assert whole.workspace.cluster(k=[2, 3]).up_to_date
    assert {name: (whole.workspace.path / f"{name}.h5").read_bytes() for name in kept} == kept


def test_lower_layer_added_later_does_not_touch_the_virtual_neurons_of_the_first(whole):
    whole.attribute(neurons="0-3", lower_layer="layer1")
    assert whole.workspace.cluster().up_to_date
    assert whole.workspace.cluster(features="pure@layer1").computed == 4
    assert whole.workspace.cluster(features="pure@layer2").computed == 4


def test_everything_moved_is_still_up_to_date_and_is_found_there(whole, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    moved = Study(tmp_path / "elsewhere" / "inputs", Workspace(tmp_path / "elsewhere" / "workspace"))
    shutil.move(whole.folder, moved.folder)
    shutil.move(whole.workspace.path, moved.workspace.path)
    with pytest.raises(PureError):
        moved.attribute(neurons="5")
    assert moved.collect().up_to_date
    assert moved.statuses() == FRESH
    assert moved.attribute(neurons="5").computed == 1
    assert moved.workspace.cluster(neurons="0-3").up_to_date
    assert moved.workspace.info()["origin"]["data"] == str(moved.folder / "images")


def test_workspace_of_another_model_is_left_alone(whole):
    path = whole.folder / "model.py"
    path.write_text(path.read_text() + "\n\ndef other():\n    return tiny()\n")
    with pytest.raises(PureError, match="belongs to another model"):
        whole.collect(model=f"{path}:other")
