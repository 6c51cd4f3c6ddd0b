"""The CLIP and DINOv2 paths through the command line, with small networks in the real formats and real loading code."""

import json

import h5py
import numpy as np
import pytest
import torch

SMALL_CLIP = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def workspace(cli, tmp_path, images, model_file, tiny_weights):
    w = tmp_path / "w"
    model = ("--model", f"{model_file}:tiny", "--weights", tiny_weights, "--data", images)
    assert cli("collect", *model, "-n", 8, "-w", w, "--workers", 0).code == 0
    assert cli("attribute", "-w", w, "--workers", 0, "--neurons", "3-6").code == 0
    return w


@pytest.fixture
def small_clip(tmp_path):
    """A CLIP architecture of our own, registered with open_clip, and a checkpoint of it as open_clip saves one."""
    import open_clip

    (tmp_path / "small-clip.json").write_text(json.dumps(SMALL_CLIP))
    open_clip.add_model_config(tmp_path / "small-clip.json")
    torch.manual_seed(0)
    model = open_clip.create_model("small-clip", pretrained=None)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "small-clip.pt")
    return model.eval(), tmp_path / "small-clip.pt"


def test_clip_tokens_from_collect_to_evaluate(cli, workspace, small_clip):
    _, weights = small_clip
    answer = cli("embed", "-w", workspace, "--embedder", "clip:small-clip", "--embedder-weights", weights, "--json")
    assert answer.code == 0, answer.err
    (label,) = answer.json["embedders"]
    assert answer.json["computed"] == 4  # the neurons that have relevances
    with h5py.File(workspace / "embed.h5") as file:
        group = file[f"layers/layer3/{label}"]
        assert group["neuron"][:].tolist() == [3, 4, 5, 6]
        assert group["embedding"].shape == (4, 8, 32)
        assert np.isfinite(group["embedding"][:]).all()
    assert cli("embed", "-w", workspace, "--embedder", "clip:small-clip", "--embedder-weights", weights, "--json").json[
        "up_to_date"
    ]
    answer = cli("evaluate", "-w", workspace, "--metric", label, "--k", 2, "--json")
    assert answer.code == 0, answer.err
    assert {row["features"] for row in answer.json["tables"][0]["rows"]} >= {"pure", label, "random"}


def test_clip_image_is_the_projected_vector(cli, workspace, small_clip):
    model, weights = small_clip
    options = ("--embedder", "clip-image:small-clip", "--embedder-weights", weights, "--crop", "none")
    answer = cli("embed", "-w", workspace, *options, "--json")
    assert answer.code == 0, answer.err
    (label,) = answer.json["embedders"]
    assert label.endswith("+none")
    with h5py.File(workspace / "embed.h5") as file, h5py.File(workspace / "collect.h5") as collect:
        found = file[f"layers/layer3/{label}/embedding"][1, 0]
        image = collect["layers/layer3/image"][4, 0]
        index = collect["images/index"][:].tolist()
        path = collect["images/path"].asstr()[index.index(image)]
        origin = json.loads(collect.attrs["settings"])
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    pixels = transform(Image.open(f"{origin['data']}/{path}").convert("RGB"))[None]
    with torch.no_grad():
        expected = model.encode_image(pixels)[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_new_neurons_are_added_and_the_old_stay_bit_for_bit(cli, workspace):
    assert cli("embed", "-w", workspace, "--embedder", "pixels", "--neurons", "3,4").code == 0
    with h5py.File(workspace / "embed.h5") as file:
        before = file["layers/layer3/pixels/embedding"][:]
    answer = cli("embed", "-w", workspace, "--embedder", "pixels", "--neurons", "4,5", "--json")
    assert answer.json["computed"] == 1
    with h5py.File(workspace / "embed.h5") as file:
        assert file["layers/layer3/pixels/neuron"][:].tolist() == [3, 4, 5]
        np.testing.assert_array_equal(file["layers/layer3/pixels/embedding"][:2], before)


@pytest.mark.parametrize("crop", ["crp", "activation", "none"])
def test_every_crop_gives_embeddings(cli, workspace, crop):
    answer = cli("embed", "-w", workspace, "--embedder", "pixels", "--crop", crop, "--json")
    assert answer.code == 0, answer.err
    name = "pixels" if crop == "crp" else f"pixels+{crop}"
    assert answer.json["embedders"] == [name]
    answer = cli("cluster", "-w", workspace, "--features", name, "--json")
    assert answer.code == 0, answer.err


def test_weights_that_cannot_be_downloaded_are_named(cli, workspace):
    answer = cli("embed", "-w", workspace, "--embedder", "clip")
    assert answer.code == 1
    assert "--embedder-weights" in answer.err
    assert "open_clip_model.safetensors" in answer.err
