"""pure directions: components of a layer's activations over the images of a workspace; and on through collect."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from sklearn.decomposition import NMF, PCA

N = 6


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, images, model_file, tiny_weights):
    """References of layer3 alone."""
    from pure_cli import Workspace

    workspace = Workspace(tmp_path_factory.mktemp("found") / "w")
    workspace.collect(layer="layer3", model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=N, workers=0)
    return workspace


@pytest.fixture(scope="module")
def seen(images, model_file, tiny_weights):
    """By layer, (B, C, S) activations of all images, in the order of the data set, by nothing but torch."""
    from pure_cli.models.load import load_model
    from pure_cli.models.spec import parse_model

    model = load_model(parse_model(f"{model_file}:tiny"), tiny_weights)
    paths = sorted(images.rglob("*.png"))
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(path).convert("RGB"))) for path in paths])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    found = {}
    for name in ("layer2", "layer3"):
        hook = model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: found.update({name: output.flatten(2)})
        )
        model(((pixels / 255 - mean) / std).permute(0, 3, 1, 2))
        hook.remove()
    return found


def flat(activations):
    return activations.transpose(1, 2).flatten(0, 1).double().numpy()


def tensors(path):
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def test_pca_is_that_of_scikit_learn_on_all_positions_of_all_images(workspace, seen, tmp_path):
    out = tmp_path / "p.safetensors"
    outcome = workspace.directions("pca", m=5, out=out, workers=0, batch_size=7)
    found, metadata = tensors(out)
    theirs = PCA(5, svd_solver="full").fit(flat(seen["layer3"]))
    np.testing.assert_allclose(np.abs((found["weight"] * theirs.components_).sum(1)), 1, atol=1e-5)
    np.testing.assert_allclose(
        np.abs(found["weight"] @ flat(seen["layer3"]).T + found["bias"][:, None]),
        np.abs(theirs.transform(flat(seen["layer3"])).T), atol=1e-4,
    )  # fmt: skip
    np.testing.assert_allclose(json.loads(metadata["share"]), theirs.explained_variance_ratio_, rtol=1e-4)
    assert metadata["names"].splitlines()[0] == f"pca 0 ({theirs.explained_variance_ratio_[0] * 100:.1f} %)"
    assert outcome.details["explained"]["layer3"] == pytest.approx(theirs.explained_variance_ratio_.sum(), rel=1e-4)
    assert outcome.computed == outcome.details["images"] == len(seen["layer3"])


def test_batches_and_workers_do_not_change_the_components(workspace, tmp_path):
    for how in ("pca", "nmf"):
        found = []
        for name, options in (("a", {"batch_size": 60, "workers": 0}), ("b", {"batch_size": 11, "workers": 2})):
            workspace.directions(how, m=3, out=tmp_path / f"{how}-{name}.safetensors", **options)
            found.append(tensors(tmp_path / f"{how}-{name}.safetensors")[0])
        np.testing.assert_allclose(found[0]["weight"], found[1]["weight"], atol=1e-4)


def test_nmf_reconstructs_like_scikit_learn_on_all_positions(workspace, seen, tmp_path):
    positions = seen["layer3"].shape[2]
    outcome = workspace.directions("nmf", m=4, sample=positions, out=tmp_path / "n.safetensors", workers=0)
    values = flat(seen["layer3"].clamp(min=0))
    theirs = NMF(4, init="nndsvda", max_iter=1000, random_state=0)
    amounts = theirs.fit_transform(values)
    ours = NMF(4, init="custom", max_iter=1000)
    component = tensors(tmp_path / "n.safetensors")[0]["component"].astype(np.float64)
    ours.components_, ours.n_components_ = component, 4
    error = np.linalg.norm(values - amounts @ theirs.components_)
    assert np.linalg.norm(values - ours.transform(values) @ component) <= 1.05 * error
    assert outcome.details["explained"]["layer3"] == pytest.approx(1 - (error / np.linalg.norm(values)) ** 2, abs=0.01)


def test_found_directions_go_the_whole_way(workspace, seen, cli):
    path = workspace.path
    answer = cli("directions", "pca", "-m", 4, "-w", path, "--workers", 0, "--json")
    assert answer.code == 0, answer.err
    file = answer.json["files"]["layer3"]
    assert file == str(path / "directions" / "layer3" / "pca-4.safetensors")
    (line,) = (line for line in answer.err.splitlines() if "next: " in line)
    assert cli(*line.split("next: pure ")[1].split(), "--workers", 0).code == 0
    references = workspace.references("pca-4@layer3")
    projected = PCA(4, svd_solver="full").fit_transform(flat(seen["layer3"])).reshape(len(seen["layer3"]), -1, 4)
    np.testing.assert_allclose(references["value"], -np.sort(-projected.max(1), axis=0)[:N].T, atol=1e-3)
    assert cli("attribute", "-w", path, "--layer", "pca-4@layer3", "--workers", 0).code == 0
    answer = cli("cluster", "-w", path, "--layer", "pca-4@layer3")
    assert answer.code == 0 and "pca 0 (" in answer.out, answer.err


def test_up_to_date_until_something_changes(workspace, cli):
    options = ["directions", "nmf", "-m", 3, "-w", workspace.path, "--workers", 0, "--json"]
    first, second = cli(*options).json, cli(*options).json
    assert (first["up_to_date"], second["up_to_date"], second["computed"]) == (False, True, 0)
    assert first.keys() == second.keys() and first["files"] == second["files"]
    for more in (["--seed", 1], ["--sample", 2], ["--limit", 20]):
        assert not cli(*options, *more).json["up_to_date"]
    assert not cli(*options).json["up_to_date"]
    assert not cli(*options, "--force").json["up_to_date"]
    assert "up to date (layer3)" in cli(*options[:-1]).out


def test_up_to_date_takes_no_torch(workspace):
    workspace.directions("pca", m=2, workers=0)
    code = (
        "import sys\nfrom pure_cli import Workspace\n"
        f"assert Workspace({str(workspace.path)!r}).directions('pca', m=2).up_to_date\n"
        "print([name for name in ('torch', 'sklearn', 'timm') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_layers_of_the_workspace_and_others_of_the_model(workspace, cli):
    answer = cli("directions", "pca", "-w", workspace.path, "--layer", "layer2", "--layer", "layer3", "--workers", 0,
                 "--json")  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.json["components"] == {"layer2": 10, "layer3": 12}  # all that they have channels
    assert answer.json["explained"]["layer2"] == pytest.approx(1)
    assert tensors(answer.json["files"]["layer2"])[0]["weight"].shape == (10, 10)


def test_a_section_of_a_config_file_and_directions_as_an_option_of_collect(workspace, tmp_path, cli):
    np.save(tmp_path / "axes.npy", np.eye(12))
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({"workspace": str(workspace.path), "directions": {"how": "pca", "m": 3},
                                    "layer": "layer3", "workers": 0}))  # fmt: skip
    answer = cli("directions", "-c", file, "--json")
    assert answer.code == 0 and answer.json["components"] == {"layer3": 3}, answer.err
    file.write_text(yaml.safe_dump({"workspace": str(workspace.path), "directions": str(tmp_path / "axes.npy"),
                                    "layer": "layer3", "workers": 0}))  # fmt: skip
    answer = cli("collect", "-c", file, "--json")
    assert answer.code == 0 and answer.json["layers"] == ["axes@layer3"], answer.err
    assert cli("directions", "pca", "-m", 3, "-c", file, "--json").json["up_to_date"]


def test_run_finds_directions_where_a_section_says_so(workspace, tmp_path, cli):
    from pure_cli.config import stages_of

    origin = workspace.info()["origin"]
    file = tmp_path / "study.yaml"
    content = {name: origin[name] for name in ("model", "weights", "data")}
    content |= {"workspace": str(tmp_path / "w"), "n": N, "layer": "layer3", "workers": 0, "render": {"neurons": [0]}}
    file.write_text(yaml.safe_dump({**content, "directions": {"how": "nmf", "m": 3}}))
    answer = cli("run", "-c", file, "--json")
    assert answer.code == 0, answer.err
    stages = [stage["stage"] for stage in answer.json["stages"]]
    assert stages == ["collect", "directions", "attribute", "cluster", "render"]
    assert "directions" not in stages_of({**content, "directions": "axes.npy"})
    assert stages_of({"directions": None}) == stages_of({})


def test_images_that_cannot_be_read_are_skipped_and_said(tmp_path, images, model_file, tiny_weights):
    import shutil

    from pure_cli import Workspace

    shutil.copytree(images, tmp_path / "images")
    sorted((tmp_path / "images").rglob("*.png"))[3].write_bytes(b"damaged")
    workspace = Workspace(tmp_path / "w")
    workspace.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=tmp_path / "images", n=N, workers=0)
    outcome = workspace.directions("pca", m=2, workers=0)
    assert outcome.notes == ["1 image could not be read and were skipped."]


@pytest.fixture
def short(monkeypatch):
    """Sparse autoencoders are trained in a moment."""
    from pure_cli.core import autoencoder

    for name, value in {"BATCH": 32, "STEPS": 30, "LAST_STEPS": 10, "BUFFER": (2**20, 128)}.items():
        monkeypatch.setattr(autoencoder, name, value)


def test_a_sparse_autoencoder_goes_the_whole_way(short, workspace, seen, cli):
    path, options = workspace.path, ("sae", "-m", 20, "--active", 3, "--workers", 0)
    answer = cli("directions", *options, "-w", path)
    assert answer.code == 0 and "20 latents of layer3 with" in answer.out and "highest" in answer.out, answer.err
    (line,) = (line for line in answer.out.splitlines() if "next: " in line)
    assert cli(*line.split("next: pure ")[1].split(), "--workers", 0).code == 0
    arrays, metadata = tensors(path / "directions" / "layer3" / "sae-20.safetensors")
    assert {name: values.shape for name, values in arrays.items()} == {
        "W_enc": (12, 20), "b_enc": (20,), "W_dec": (20, 12), "b_dec": (12,)
    }  # fmt: skip
    latents = (flat(seen["layer3"]) - arrays["b_dec"]) @ arrays["W_enc"] + arrays["b_enc"]
    best = np.maximum(latents, 0).reshape(len(seen["layer3"]), -1, 20).max(axis=1)
    expected = -np.sort(-best, axis=0)[:N].T
    np.testing.assert_allclose(workspace.references("sae-20-encoder@layer3")["value"], expected, atol=1e-3)
    workspace.collect(layer="layer3", directions=path / "directions" / "layer3" / "sae-20.safetensors", workers=0)
    projected = (flat(seen["layer3"]) @ arrays["W_dec"].T).reshape(len(seen["layer3"]), -1, 20).max(axis=1)
    best = -np.sort(-projected, axis=0)[:N].T
    np.testing.assert_allclose(workspace.references("sae-20@layer3")["value"], best, atol=1e-3)
    again = cli("directions", *options, "-w", path, "--json")
    assert again.json["up_to_date"] and again.json["quality"]["layer3"] == json.loads(metadata["quality"])
    assert again.json["tables"][0]["rows"][0]["explained"] == float(metadata["explained"])
    for more in (["--active", 2], ["--sparsity", "batch-topk"], ["--seed", 1]):
        assert not cli("directions", *options, *more, "-w", path, "--json").json["up_to_date"]


def test_a_sparse_autoencoder_sees_the_images_in_an_order_of_its_own(short, workspace, monkeypatch):
    """Data sets come class by class, and a buffer mixes less than that."""
    from pure_cli.core.autoencoder import Training

    shown, add = [], Training.add
    monkeypatch.setattr(Training, "add", lambda self, values, index: (shown.extend(index), add(self, values, index))[1])
    workspace.directions("sae", m=4, active=2, workers=0, force=True)
    assert sorted(shown) == list(range(len(shown))) != shown
    once, shown[:] = list(shown), []
    workspace.directions("sae", m=4, active=2, workers=0, force=True)
    assert shown == once


@pytest.mark.parametrize("how", ["pca", "nmf", "sae", "kmeans", "random"])
def test_a_killed_pass_continues_and_gives_the_same_directions(how, short, workspace, tmp_path, monkeypatch):
    from pure_cli.stages import directions

    monkeypatch.setattr(directions, "CHECKPOINT_SECONDS", 0)
    options = {"m": 4, "layer": ["layer2", "layer3"], "workers": 0, "batch_size": 8, "force": True}
    whole = workspace.directions(how, **options).details["files"]
    before = {name: tensors(path)[0] for name, path in whole.items()}
    for path in whole.values():
        Path(path).unlink()

    def stop_at_32(done, total):
        if done >= 32:
            raise KeyboardInterrupt

    options["force"] = False
    with pytest.raises(KeyboardInterrupt):
        workspace.directions(how, progress=stop_at_32, **options)
    assert not any(Path(path).exists() for path in whole.values())
    shown = []
    workspace.directions(how, progress=lambda done, total: shown.append(done), **options)
    assert shown[0] == 32
    for name, path in whole.items():
        for key, values in tensors(path)[0].items():
            np.testing.assert_array_equal(values, before[name][key])
    assert not (workspace.path / ".partial").exists()


def test_an_unfinished_pass_that_is_damaged_or_of_other_work_is_left(workspace, tmp_path, monkeypatch):
    from pure_cli.stages import directions

    monkeypatch.setattr(directions, "CHECKPOINT_SECONDS", 0)

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    def first(**options):
        shown = []
        workspace.directions("pca", progress=lambda done, total: shown.append(done), workers=0, **options)
        return shown[0]

    for damage in (True, False):
        with pytest.raises(KeyboardInterrupt):
            workspace.directions("pca", progress=stop, m=7, workers=0, batch_size=8)
        if damage:
            (file,) = (workspace.path / ".partial" / "directions").iterdir()
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 255
            file.write_bytes(content)
        assert first(m=7 if damage else 6, batch_size=8, force=False) == 0
        (workspace.path / "directions" / "layer3" / "pca-7.safetensors").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "needs pca or nmf or sae or kmeans or random"),
        (["ica"], "Input should be 'pca', 'nmf', 'sae', 'kmeans' or 'random', not 'ica'"),
        (["sae", "--active", 9, "-m", 8], "--active 9 is more than the 8 latents there are for 'layer3' (-m)"),
        (["sae", "--limit", 1], "two images at least"),
        (["kmeans", "-m", 1], "'layer3' cannot be taken apart: a single centroid is the mean"),
        (["pca", "-m", 0], "-m: input should be greater than or equal to 1"),
        (["pca", "-m", 13], "'layer3' has 12 channels, and pca finds no more components (-m 13)"),
        (["pca", "--layer", "layre2"], "Did you mean 'layer2'"),
        (["pca", "--layer", "x@layer3"], "Name the layer they lie in: layer3"),
        (["pca", "--out", "a.npy"], "--out has to be a .safetensors file"),
        (["pca", "--layer", "layer2", "--layer", "layer3", "--out", "a.safetensors"], "--out is one file"),
        (
            ["nmf", "-m", 12, "--limit", 1, "--sample", 1],
            "positions drawn have positive activations, too few for -m 12",
        ),
        (["pca", "--out", "FOREIGN"], "was not written by pure directions"),
    ],
)
def test_what_is_wrong_is_said(workspace, tmp_path, cli, options, says):
    foreign = tmp_path / "mine.safetensors"
    foreign.write_text("mine")
    options = [foreign if option == "FOREIGN" else option for option in options]
    answer = cli("directions", *options, "-w", workspace.path, "--workers", 0)
    assert answer.code == 2
    assert says in " ".join(answer.err.replace("│", " ").split()), answer.err
    assert foreign.read_text() == "mine"


def test_without_references_and_with_stale_ones(tmp_path, images, model_file, tiny_weights, cli):
    assert "pure collect" in cli("directions", "pca", "-w", tmp_path / "w").err
    import shutil

    shutil.copy(tiny_weights, tmp_path / "tiny.pth")
    inputs = ["--model", f"{model_file}:tiny", "--weights", tmp_path / "tiny.pth", "--data", images, "-n", N]
    assert cli("collect", "-w", tmp_path / "w", *inputs, "--workers", 0).code == 0
    state = torch.load(tiny_weights, weights_only=True)
    torch.save({name: value * 2 for name, value in state.items()}, tmp_path / "tiny.pth")
    answer = cli("directions", "pca", "-w", tmp_path / "w")
    assert answer.code == 2 and "the weights changed" in answer.err


def test_directions_of_another_layer_say_whose_they_could_be(workspace, tmp_path, cli):
    np.save(tmp_path / "wide.npy", np.ones((12, 5)))
    answer = cli("collect", "-w", workspace.path, "--layer", "layer3", "--directions", tmp_path / "wide.npy")
    assert answer.code == 2 and "needs a row for each direction" in answer.err
    torch.save({"W_dec": torch.ones(20, 5)}, tmp_path / "sae.pt")
    answer = cli("collect", "-w", workspace.path, "--layer", "layer3", "--directions", tmp_path / "sae.pt")
    assert answer.code == 2 and "have 5 numbers each, and 'layer3' has 12 channels" in answer.err


def test_an_autoencoder_in_collect_reads_its_latents(workspace, seen, tmp_path, cli):
    torch.manual_seed(0)
    state = {"W_enc": torch.randn(12, 20), "b_enc": torch.randn(20), "W_dec": torch.randn(20, 12),
             "b_dec": torch.randn(12)}  # fmt: skip
    torch.save(state, tmp_path / "sae.pt")
    answer = cli("collect", "-w", workspace.path, "--layer", "layer3", "--directions", tmp_path / "sae.pt",
                 "--directions-part", "encoder", "--directions-relu", "--workers", 0, "--json")  # fmt: skip
    assert answer.code == 0 and answer.json["layers"] == ["sae-encoder@layer3"], answer.err
    latents = torch.relu((seen["layer3"].transpose(1, 2) - state["b_dec"]) @ state["W_enc"] + state["b_enc"])
    best = latents.amax(1).sort(dim=0, descending=True).values[:N].T
    np.testing.assert_allclose(workspace.references("sae-encoder@layer3")["value"], best, rtol=1e-3, atol=1e-3)
