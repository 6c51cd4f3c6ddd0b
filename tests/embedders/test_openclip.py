"""CLIP through open_clip's own loading code, on seeded checkpoints of a small architecture in the real formats."""

import json
import logging
import pickle

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from pure_cli.embedders.load import load_embedder
from pure_cli.embedders.spec import parse_embedder
from pure_cli.errors import PureError

CPU = torch.device("cpu")
MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.3, 0.25)
CONFIG = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1},
}
RESNET = {**CONFIG, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}}


@pytest.fixture(scope="module", autouse=True)
def tiny_clip(tmp_path_factory):
    """Two small architectures that open_clip knows: tiny-clip and tiny-resnet-clip."""
    folder = tmp_path_factory.mktemp("architectures")
    (folder / "tiny-clip.json").write_text(json.dumps(CONFIG))
    (folder / "tiny-resnet-clip.json").write_text(json.dumps(RESNET))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(5)
    model = open_clip.create_model("tiny-clip", pretrained_hf=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # norms and biases are ones and zeros at first
    return model


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "open_clip_model.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return path


@pytest.fixture
def batch():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def load(text, **options):
    return load_embedder(parse_embedder(text, **options), CPU, 32)


def tokens_of(visual, images, quick):
    """The last block's output, by the formulas of the transformer."""
    patches = functional.conv2d(images, visual.conv1.weight, stride=visual.conv1.stride).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(images), 1, -1), patches], dim=1) + visual.positional_embedding
    x = functional.layer_norm(x, x.shape[-1:], visual.ln_pre.weight, visual.ln_pre.bias)
    for block in visual.transformer.resblocks:
        normal = functional.layer_norm(x, x.shape[-1:], block.ln_1.weight, block.ln_1.bias)
        mixed = normal @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
        query, key, value = (
            part.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2) for part in mixed.chunk(3, -1)
        )
        weight = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
        seen = (weight @ value).transpose(1, 2).flatten(2)
        x = x + seen @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
        normal = functional.layer_norm(x, x.shape[-1:], block.ln_2.weight, block.ln_2.bias)
        hidden = normal @ block.mlp.c_fc.weight.T + block.mlp.c_fc.bias
        hidden = hidden * torch.sigmoid(1.702 * hidden) if quick else functional.gelu(hidden)
        x = x + hidden @ block.mlp.c_proj.weight.T + block.mlp.c_proj.bias
    return x


def test_clip_is_the_mean_of_all_tokens_of_the_last_block_before_norm_and_projection(network, checkpoint, batch):
    embedder = load("clip:tiny-clip", weights=checkpoint)
    found = embedder.embed(batch)
    with torch.no_grad():
        tokens = tokens_of(network.visual, batch, quick=False)
    assert tokens.shape == (4, 17, 32)
    torch.testing.assert_close(found, tokens.mean(dim=1), rtol=1e-5, atol=1e-6)
    assert (embedder.size, embedder.width) == (32, 32)
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_a_batch_of_as_many_images_as_tokens_is_not_mixed_up(checkpoint):
    embedder = load("clip:tiny-clip", weights=checkpoint)
    batch = torch.randn(17, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    alone = torch.cat([embedder.embed(image[None]) for image in batch])
    torch.testing.assert_close(embedder.embed(batch), alone, rtol=1e-5, atol=1e-6)


def test_clip_image_is_encode_image_at_its_own_length(network, checkpoint, batch):
    embedder = load("clip-image:tiny-clip", weights=checkpoint)
    with torch.no_grad():
        torch.testing.assert_close(embedder.embed(batch), network.encode_image(batch), rtol=0, atol=0)
    assert embedder.width == 12


def test_a_resnet_tower_has_no_tokens_but_an_image_vector(batch):
    with pytest.raises(PureError, match=r"no tokens .* clip-image:tiny-resnet-clip"):
        load("clip:tiny-resnet-clip", weights="none")
    assert load("clip-image:tiny-resnet-clip", weights="none").embed(batch).shape == (4, 12)


@pytest.mark.parametrize("form", ["pytorch_model.bin", "epoch_3.pt", "half.pt"])
def test_all_formats_of_open_clip_give_the_same_vectors(network, checkpoint, batch, tmp_path, form):
    state = network.state_dict()
    if form == "epoch_3.pt":  # open_clip's training script on several GPUs
        state = {"epoch": 3, "name": "run", "state_dict": {f"module.{key}": value for key, value in state.items()}}
    if form == "half.pt":
        state = {key: value.half() for key, value in state.items()}
    torch.save(state, tmp_path / form)
    found = load("clip:tiny-clip", weights=tmp_path / form).embed(batch)
    expected = load("clip:tiny-clip", weights=checkpoint).embed(batch)
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3 if form == "half.pt" else 0)


@pytest.fixture
def tagged(checkpoint, monkeypatch):
    """A pretrained tag of tiny-clip, with QuickGELU and a preprocessing of its own."""
    tag = {"file": str(checkpoint), "quick_gelu": True, "mean": MEAN, "std": STD, "interpolation": "bilinear"}
    other = {"hf_hub": "somebody/tiny-clip/", "resize_mode": "squash"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip", {"seeded_b32": tag, "squashed": other})


@pytest.mark.parametrize("from_file", [False, True])
def test_a_tag_brings_its_quick_gelu_and_preprocessing(network, checkpoint, batch, tagged, from_file, recwarn):
    embedder = load("clip:tiny-clip/seeded_b32", weights=checkpoint if from_file else None)
    with torch.no_grad():
        expected = tokens_of(network.visual, batch, quick=True).mean(dim=1)
    torch.testing.assert_close(embedder.embed(batch), expected, rtol=1e-5, atol=1e-6)
    image = np.random.default_rng(0).integers(0, 256, (50, 71, 3), dtype=np.uint8)
    own = open_clip.image_transform(32, is_train=False, mean=MEAN, std=STD, interpolation="bilinear")
    torch.testing.assert_close(embedder.preprocess(image), own(Image.fromarray(image)), rtol=0, atol=0)
    assert not [warning for warning in recwarn if "QuickGELU" in str(warning.message)]


@pytest.mark.parametrize("shape", [(50, 71), (71, 50), (32, 32), (5, 9), (1, 1), (1, 20)])
def test_preprocessing_equals_open_clips_bit_for_bit(checkpoint, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    own = open_clip.create_model_and_transforms("tiny-clip", pretrained=str(checkpoint))[2]
    found = load("clip:tiny-clip", weights=checkpoint).preprocess(image)
    assert found.shape == (3, 32, 32)
    torch.testing.assert_close(found, own(Image.fromarray(image)), rtol=0, atol=0)


def test_squashing_tags_see_the_whole_crop(checkpoint, tagged):
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, :20] = 255
    found = load("clip-image:tiny-clip/squashed", weights=checkpoint).preprocess(image)
    assert found[0, 0, 2] > found[0, 0, 20]


def test_preprocessing_goes_to_a_worker_without_the_network(checkpoint):
    embedder = load("clip:tiny-clip", weights=checkpoint)
    sent = pickle.dumps(embedder.preprocess)
    assert len(sent) < 5000
    image = np.full((8, 8, 3), 7, np.uint8)
    torch.testing.assert_close(pickle.loads(sent)(image), embedder.preprocess(image), rtol=0, atol=0)


def test_another_size_resamples_the_position_embeddings(network, checkpoint):
    embedder = load("clip:tiny-clip", weights=checkpoint, size=64)
    assert embedder.preprocess(np.zeros((9, 9, 3), np.uint8)).shape == (3, 64, 64)
    visual = embedder.vectors.args[0]
    grid = network.visual.positional_embedding[1:].T.reshape(1, -1, 4, 4)
    wide = functional.interpolate(grid, size=(8, 8), mode="bicubic", antialias=True)[0].flatten(1).T
    torch.testing.assert_close(visual.positional_embedding[1:], wide)


def test_a_seeded_initialisation_is_the_same_each_time_and_leaves_the_callers_random_numbers(batch):
    state = torch.random.get_rng_state()
    first = load("clip:tiny-clip", weights="none").embed(batch)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.randn(3)
    torch.testing.assert_close(load("clip:tiny-clip", weights="none").embed(batch), first, rtol=0, atol=0)


def test_open_clip_writes_no_log(checkpoint, caplog, capfd):
    before = list(logging.getLogger().handlers)
    load("clip:tiny-clip", weights="none")
    load("clip:tiny-clip", weights=checkpoint)
    assert logging.getLogger().handlers == before
    assert logging.root.manager.disable == 0
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_an_unknown_tag_names_the_nearest():
    with pytest.raises(PureError, match=r"Unknown pretrained tag of ViT-B-32 'laion2b_s34b_b79'.*'laion2b_s34b_b79k'"):
        load("clip:ViT-B-32/laion2b_s34b_b79")


def test_an_architecture_with_many_tags_asks_which(tagged):
    with pytest.raises(PureError, match=r"Which weights of tiny-clip.*seeded_b32, squashed"):
        load("clip:tiny-clip")


def test_an_architecture_without_tags_asks_for_a_file():
    with pytest.raises(PureError, match="--embedder-weights FILE"):
        load("clip:tiny-resnet-clip")


def test_weights_that_do_not_fit_are_listed(network, tmp_path):
    state = {key: value.clone() for key, value in network.state_dict().items()}
    del state["visual.proj"]
    state["visual.extra"] = torch.zeros(3)
    state["visual.ln_post.weight"] = torch.zeros(7)
    path = tmp_path / "misfit.pt"
    torch.save(state, path)
    with pytest.raises(PureError) as caught:
        load("clip:tiny-clip", weights=path)
    message = str(caught.value)
    assert "1 missing: visual.proj;" in message
    assert "1 not in the model: visual.extra;" in message
    assert "1 of another shape: visual.ln_post.weight." in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PureError, match=r"nowhere\.pt does not exist.*--embedder-weights"):
        load("clip:tiny-clip", weights=tmp_path / "nowhere.pt")


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_checkpoint_with_code_is_refused_and_the_code_not_run(network, tmp_path):
    path, trace = tmp_path / "evil.pt", tmp_path / "it ran"
    torch.save({"state_dict": network.state_dict(), "payload": Payload(str(trace))}, path)
    with pytest.raises(PureError, match="more than weights"):
        load("clip:tiny-clip", weights=path)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_a_torchscript_archive_is_refused_with_what_to_get_instead(network, tmp_path):
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(PureError, match=r"TorchScript.*openai/resolve/main/open_clip_model\.safetensors"):
        load("clip", weights=path)


@pytest.mark.parametrize("name", ["broken.pt", "broken.safetensors"])
def test_a_damaged_file_is_named(checkpoint, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(checkpoint.read_bytes()[:3000])
    with pytest.raises(PureError, match=name):
        load("clip:tiny-clip", weights=path)


@pytest.mark.slow
def test_the_real_vit_b_32_loads_from_a_file_with_quick_gelu(tmp_path):
    torch.manual_seed(3)
    network = open_clip.create_model("ViT-B-32-quickgelu", pretrained_hf=False).eval()
    state = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    path = tmp_path / "open_clip_model.safetensors"
    save_file(state, path)
    network.load_state_dict(state)
    embedder = load("clip", weights=path)
    image = np.random.default_rng(0).integers(0, 256, (60, 43, 3), dtype=np.uint8)
    batch = torch.stack([embedder.preprocess(image), embedder.preprocess(image[::-1, ::2])])
    with torch.no_grad():
        tokens = tokens_of(network.visual, batch, quick=True)
    assert tokens.shape == (2, 50, 768)
    torch.testing.assert_close(embedder.embed(batch), tokens.mean(dim=1), rtol=1e-4, atol=1e-5)
    assert (embedder.size, embedder.width) == (224, 768)
    projected = load("clip-image", weights=path).embed(batch)
    with torch.no_grad():
        torch.testing.assert_close(projected, network.encode_image(batch), rtol=1e-5, atol=1e-6)
