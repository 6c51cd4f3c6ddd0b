"""DINOv2 and other timm networks through timm's own loading code, on seeded checkpoints in the real formats."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config
from torch.nn import functional
from torchvision import transforms

from pure_cli.embedders.load import load_embedder
from pure_cli.embedders.spec import parse_embedder
from pure_cli.errors import PureError

CPU = torch.device("cpu")
SMALL = "vit_small_patch14_dinov2"


def load(text, **options):
    return load_embedder(parse_embedder(text, **options), CPU, 32)


def seeded(name, **options):
    torch.manual_seed(4)
    model = timm.create_model(name, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def saved(model, path):
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    """A small DINOv2 at its own size, 518, and its checkpoint."""
    model = seeded(SMALL)
    return model, saved(model, tmp_path_factory.mktemp("dinov2") / "model.safetensors")


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """timm's test_vit with a classifier, and its checkpoint."""
    model = seeded("test_vit")
    return model, saved(model, tmp_path_factory.mktemp("vit") / "model.safetensors")


def batch_of(size, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_dinov2_is_the_mean_of_all_tokens_after_the_norm(dinov2):
    _, path = dinov2
    embedder = load(f"dinov2:{SMALL}", weights=path)
    reference = timm.create_model(SMALL, img_size=224).eval()
    timm.models.load_checkpoint(reference, str(path), filter_fn=timm.models.vision_transformer.checkpoint_filter_fn)
    batch = batch_of(224)
    with torch.no_grad():
        last = []
        reference.blocks[-1].register_forward_hook(lambda module, inputs, output: last.append(output))
        tokens = reference.forward_features(batch)
        torch.testing.assert_close(tokens, reference.norm(last[0]))
    assert tokens.shape == (2, 1 + 16 * 16, 384)
    torch.testing.assert_close(embedder.embed(batch), tokens.mean(1), rtol=0, atol=0)
    assert (embedder.size, embedder.width) == (224, 384)


def test_dinov2_resamples_the_position_embeddings_of_518_pixels(dinov2):
    model, path = dinov2
    found = load(f"dinov2:{SMALL}", weights=path).vectors.args[0]
    grid = model.pos_embed[0, 1:].T.reshape(1, -1, 37, 37)
    small = functional.interpolate(grid, size=(16, 16), mode="bicubic", antialias=True)[0].flatten(1).T
    torch.testing.assert_close(found.pos_embed[0, 1:], small)
    torch.testing.assert_close(found.pos_embed[0, 0], model.pos_embed[0, 0], rtol=0, atol=0)
    rest = {key: value for key, value in model.state_dict().items() if key != "pos_embed"}
    assert all(torch.equal(found.state_dict()[key], value) for key, value in rest.items())


def test_dinov2_takes_other_sizes(dinov2):
    model, path = dinov2
    embedder = load(f"dinov2:{SMALL}", weights=path, size=70)
    assert embedder.size == 70
    assert embedder.preprocess(np.zeros((3, 4, 3), np.uint8)).shape == (3, 70, 70)
    assert embedder.embed(batch_of(70)).shape == (2, 384)
    own = load(f"dinov2:{SMALL}", weights=path, size=518).vectors.args[0]
    torch.testing.assert_close(own.pos_embed, model.pos_embed, rtol=0, atol=0)


@pytest.mark.parametrize(("size", "near"), [(75, "70 or 84"), (9, "14")])
def test_dinov2_refuses_a_size_that_its_patches_do_not_fill(size, near):
    with pytest.raises(PureError, match=f"multiple of 14 pixels, and not {size}. Use {near}"):
        load(f"dinov2:{SMALL}", weights="none", size=size)


@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (224, 224), (13, 7), (1, 1), (1, 20), (20, 1)])
def test_dinov2_preprocessing_equals_torchvisions_bit_for_bit(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    own = transforms.Compose(
        [
            transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    found = load(f"dinov2:{SMALL}", weights="none").preprocess(image)
    torch.testing.assert_close(found, own(Image.fromarray(image)), rtol=0, atol=0)


def test_a_long_strip_is_read_in_its_middle_without_filling_the_memory():
    image = np.zeros((2, 200_000, 3), np.uint8)
    image[:, 99_990:100_010] = 200
    found = load(f"dinov2:{SMALL}", weights="none").preprocess(image)
    assert found.shape == (3, 224, 224)
    assert found.min() > 0


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_dinov2_reading_wants_a_vision_transformer(name):
    with pytest.raises(PureError, match="timm:"):
        load(f"dinov2:{name}", weights="none")


def test_timm_is_the_pooled_features_before_the_classifier(vit):
    model, path = vit
    embedder = load("timm:test_vit", weights=path)
    batch = batch_of(160)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(batch), pre_logits=True)
    torch.testing.assert_close(embedder.embed(batch), expected, rtol=0, atol=0)
    assert (embedder.size, embedder.width) == (160, 64)


def test_timm_with_a_layer_is_the_mean_over_its_tokens(vit):
    model, path = vit
    batch = batch_of(160)
    tokens = []
    with torch.no_grad():
        model.blocks[2].register_forward_hook(lambda module, inputs, output: tokens.append(output))
        model(batch)
    found = load("timm:test_vit", layer="blocks.2", weights=path).embed(batch)
    torch.testing.assert_close(found, tokens[0].mean(1), rtol=1e-5, atol=1e-6)


def test_timm_with_a_layer_is_the_mean_over_its_positions(tmp_path):
    model = seeded("test_resnet")
    batch = batch_of(160)
    maps = []
    model.layer3.register_forward_hook(lambda module, inputs, output: maps.append(output))
    with torch.no_grad():
        model(batch)
    found = load("timm:test_resnet", layer="layer3", weights=saved(model, tmp_path / "model.safetensors")).embed(batch)
    assert maps[0].ndim == 4
    torch.testing.assert_close(found, maps[0].mean((2, 3)), rtol=1e-5, atol=1e-6)


def test_timm_weights_may_have_another_classifier_or_none(vit, tmp_path):
    model, path = vit
    batch = batch_of(160)
    expected = load("timm:test_vit", weights=path).embed(batch)
    state = model.state_dict()
    for name, head in (("ten.pth", {"head.weight": torch.zeros(10, 64), "head.bias": torch.zeros(10)}), ("no.pth", {})):
        kept = {key: value for key, value in state.items() if not key.startswith("head.")}
        torch.save({"state_dict": {**kept, **head}}, tmp_path / name)
        torch.testing.assert_close(load("timm:test_vit", weights=tmp_path / name).embed(batch), expected)


def test_timm_takes_its_own_preprocessing(vit):
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for name in ("test_vit", "test_resnet", "resnet50.a1_in1k"):
        config = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict(), use_test_size=True)
        found = load(f"timm:{name}", weights="none").preprocess(image)
        torch.testing.assert_close(found, create_transform(**config)(Image.fromarray(image)), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_timm_takes_another_size(name):
    embedder = load(f"timm:{name}", weights="none", size=96)
    assert embedder.preprocess(np.zeros((5, 5, 3), np.uint8)).shape == (3, 96, 96)
    assert embedder.embed(batch_of(96)).shape == (2, embedder.width)


def test_timm_with_a_tag_that_it_knows(vit):
    _, path = vit
    batch = batch_of(160)
    found = load("timm:test_vit.r160_in1k", weights=path).embed(batch)
    torch.testing.assert_close(found, load("timm:test_vit", weights=path).embed(batch), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("timm:test_vitt", {}, "Did you mean 'test_vit"),
        ("timm:test_vit.r161_in1k", {}, "test_vit.r160_in1k"),
        ("dinov2:vit_base_patch14_dinov22", {}, "vit_base_patch14_dinov2"),
        ("timm:test_vit", {"layer": "block.2", "weights": "none"}, "Did you mean 'blocks.2'"),
        ("timm:test_vit", {"layer": "head", "weights": "none"}, "is the classifier"),
        ("timm:test_vit", {"weights": "nowhere.pth"}, "nowhere.pth does not exist"),
        ("timm:test_vit", {"size": 8, "weights": "none"}, "fails on an image of 8×8 pixels"),
    ],
)
def test_wrong_names_layers_and_sizes_are_refused(text, options, message):
    with pytest.raises(PureError) as caught:
        load(text, **options)
    assert message in str(caught.value)


def test_weights_that_do_not_fit_are_listed(vit, tmp_path):
    model, _ = vit
    state = {key: value.clone() for key, value in model.state_dict().items()}
    del state["norm.bias"]
    state["blocks.0.extra"] = torch.zeros(3)
    state["norm.weight"] = torch.zeros(7)
    torch.save(state, tmp_path / "misfit.pth")
    with pytest.raises(PureError) as caught:
        load("timm:test_vit", weights=tmp_path / "misfit.pth")
    message = str(caught.value)
    assert "1 missing: norm.bias;" in message
    assert "1 not in the model: blocks.0.extra;" in message
    assert "1 of another shape: norm.weight." in message


def test_weights_of_another_network_are_refused(vit, tmp_path):
    torch.save(seeded("test_resnet").state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(PureError, match=r"resnet\.pth do not fit the model.*missing"):
        load("timm:test_vit", weights=tmp_path / "resnet.pth")


@pytest.mark.slow
def test_the_real_dinov2_loads_from_a_file_of_518_pixels(tmp_path):
    model = seeded("vit_base_patch14_dinov2")
    path = saved(model, tmp_path / "model.safetensors")
    embedder = load("dinov2", weights=path)
    batch = batch_of(224)
    with torch.no_grad():
        model.set_input_size(224)  # another way to the same position embeddings
        tokens = model.forward_features(batch)
    assert tokens.shape == (2, 257, 768)
    torch.testing.assert_close(embedder.embed(batch), tokens.mean(1), rtol=1e-4, atol=1e-5)
