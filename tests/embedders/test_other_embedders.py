"""Networks from files and torchvision, and plain pixels."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision import transforms

from pure_cli.embedders.load import load_embedder
from pure_cli.embedders.spec import parse_embedder
from pure_cli.errors import PureError
from pure_cli.models.load import load_model
from pure_cli.models.spec import parse_model

CPU = torch.device("cpu")

NETWORKS = """
import torch
from torch import nn

class Odd(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.unused = nn.Conv2d(3, 5, 1)
        self.give = output

    def forward(self, x):
        return self.give(self.conv(x))

class Shape(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.act = act

    def forward(self, x):
        return self.act(x)

def maps(): return Odd(nn.Identity())
def tokens(): return Odd(Shape(lambda x: x.flatten(2).transpose(1, 2)))
def number(): return Odd(Shape(lambda x: x.mean()))
def table(): return Odd(Shape(lambda x: {"out": x}))
def fixed(): return nn.Sequential(nn.Flatten(), nn.Linear(3 * 20 * 20, 4))
"""


def load(text, **options):
    return load_embedder(parse_embedder(text, **options), CPU, fallback_size=32)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "networks.py"
    path.write_text(NETWORKS)
    return path


@pytest.fixture
def batch():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_a_file_without_a_layer_is_the_output_of_the_network(model_file, tiny_weights, tiny, batch):
    embedder = load(f"{model_file}:tiny", weights=tiny_weights)
    with torch.no_grad():
        torch.testing.assert_close(embedder.embed(batch), tiny(batch), rtol=0, atol=0)
    assert embedder.width == 3


def test_a_file_with_a_layer_is_the_mean_over_its_positions(model_file, tiny_weights, tiny, batch):
    maps = []
    tiny.layer3.register_forward_hook(lambda module, inputs, output: maps.append(output.clone()))
    with torch.no_grad():
        tiny(batch)
    found = load(f"{model_file}:tiny", layer="layer3", weights=tiny_weights).embed(batch)
    assert maps[0].shape == (3, 12, 8, 8)
    torch.testing.assert_close(found, maps[0].mean((2, 3)), rtol=1e-5, atol=1e-6)


def test_a_layer_without_space_is_taken_as_it_is(model_file, tiny_weights, tiny, batch):
    hidden = []
    tiny.hidden.register_forward_hook(lambda module, inputs, output: hidden.append(output))
    with torch.no_grad():
        tiny(batch)
    found = load(f"{model_file}:tiny", layer="hidden", weights=tiny_weights).embed(batch)
    torch.testing.assert_close(found, hidden[0], rtol=0, atol=0)


@pytest.mark.parametrize("function", ["maps", "tokens"])
def test_an_output_with_space_is_pooled(networks, batch, function):
    embedder = load(f"{networks}:{function}")
    conv = load_model(parse_model(f"{networks}:{function}")).conv
    with torch.no_grad():
        torch.testing.assert_close(embedder.embed(batch), conv(batch).mean((2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(50, 71), (71, 50), (32, 32), (5, 9), (1, 1), (1, 20)])
@pytest.mark.parametrize("size", [None, 24])
def test_a_file_sees_images_of_the_main_models_size_as_torchvision_would_make_them(model_file, shape, size):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    side = size or 32
    own = transforms.Compose(
        [
            transforms.Resize(side),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    embedder = load(f"{model_file}:tiny", size=size)
    assert embedder.size == side
    torch.testing.assert_close(embedder.preprocess(image), own(Image.fromarray(image)), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(300, 500), (1, 1)])
def test_torchvision_takes_its_own_preprocessing_and_gives_its_output(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    embedder = load("torchvision:resnet18", weights="none")
    own = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    prepared = embedder.preprocess(image)
    torch.testing.assert_close(prepared, own(Image.fromarray(image)), rtol=0, atol=0)
    with torch.no_grad():
        expected = load_model(parse_model("torchvision:resnet18"), "none")(prepared[None])
    torch.testing.assert_close(embedder.embed(prepared[None]), expected, rtol=0, atol=0)


def test_torchvision_with_a_layer_and_another_size():
    embedder = load("torchvision:resnet18", layer="layer2", weights="none", size=64)
    assert embedder.size == 64
    assert embedder.preprocess(np.zeros((9, 4, 3), np.uint8)).shape == (3, 64, 64)
    assert embedder.embed(torch.zeros(2, 3, 64, 64)).shape == (2, 128)


def test_a_real_network_from_a_file(shared):
    file = shared / "yardstick" / "cifar_resnet.py"
    weights = shared / "models" / "resnet32-d509ac18.th"
    embedder = load(f"{file}:resnet32", layer="layer3", weights=weights)
    network = load_model(parse_model(f"{file}:resnet32"), weights)
    path = next((shared / "data" / "cifar10" / "cat").glob("*.jpg"))
    image = np.asarray(Image.open(path).convert("RGB"))
    scaled = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    plain = torch.from_numpy(scaled.transpose(2, 0, 1).astype(np.float32))[None]
    maps = []
    network.layer3.register_forward_hook(lambda module, inputs, output: maps.append(output))
    with torch.no_grad():
        network(plain)
    found = embedder.embed(embedder.preprocess(image)[None])
    torch.testing.assert_close(found, maps[0].mean((2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        ("maps", {"layer": "conf"}, "Did you mean 'conv'"),
        ("maps", {"layer": "unused"}, "'unused'"),
        ("number", {}, r"of shape (), and vectors, tokens or maps are needed"),
        ("table", {}, "is dict, and vectors"),
        ("table", {"layer": "give"}, "no single tensor"),
        ("fixed", {}, "fails on an image of 32×32 pixels"),
        ("map", {}, "Did you mean 'maps'"),
    ],
)
def test_networks_that_give_no_vectors_are_refused(networks, function, options, message):
    with pytest.raises(PureError) as caught:
        load(f"{networks}:{function}", **options)
    assert message in str(caught.value)
    assert "--resize" not in str(caught.value)


def test_a_layer_that_runs_twice_is_refused(model_file):
    with pytest.raises(PureError, match="runs 2 times"):
        load(f"{model_file}:reused", layer="relu")


def test_errors_about_weights_name_the_embedders_option(monkeypatch):
    def refuse(*_):
        raise PureError("Pass the file with --weights FILE.")

    monkeypatch.setattr("pure_cli.embedders.networks.load_model", refuse)
    with pytest.raises(PureError, match="with --embedder-weights FILE"):
        load("torchvision:resnet18")


def test_pixels_are_the_colours_of_the_crop_at_16_pixels():
    embedder = load("pixels")
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    found = embedder.embed(embedder.preprocess(image)[None])
    by_hand = [image[y, x, colour] / 255 for colour in range(3) for y in range(16) for x in range(16)]
    assert found.shape == (1, 768)
    assert (embedder.size, embedder.width) == (16, 768)
    np.testing.assert_allclose(found[0].numpy(), by_hand, rtol=1e-6)


def test_pixels_of_a_larger_crop_are_means_over_it():
    embedder = load("pixels")
    halves = np.zeros((100, 60, 3), np.uint8)
    halves[:50, :, 0] = 255
    red, green, blue = embedder.embed(embedder.preprocess(halves)[None]).reshape(3, 16, 16)
    assert (red[:7] == 1).all()
    assert (red[9:] == 0).all()
    assert not green.any()
    assert not blue.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_pixels_take_the_smallest_crops(shape):
    embedder = load("pixels")
    image = np.full((*shape, 3), 51, np.uint8)
    np.testing.assert_allclose(embedder.preprocess(image).numpy(), 0.2, rtol=1e-6)
