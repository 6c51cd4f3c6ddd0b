"""Preprocessing against torchvision's own transforms, bit for bit."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from pure_cli.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pure_cli.errors import PureError

SIZES = [(32, 32), (50, 33), (33, 50), (7, 90), (64, 48), (1, 1), (225, 224), (41, 40)]  # width, height
MODES = {
    "nearest": transforms.InterpolationMode.NEAREST,
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
}


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("resize", [None, 24, 33, 40])
@pytest.mark.parametrize("crop", [None, 1, 24, 31, 57])
def test_geometry_equals_torchvision(interpolation, resize, crop):
    steps = [] if resize is None else [transforms.Resize(resize, MODES[interpolation])]
    steps += [] if crop is None else [transforms.CenterCrop(crop)]
    expected = transforms.Compose(steps)
    for size in SIZES:
        image = photo(*size)
        ours = Preprocessing(resize, crop, interpolation).geometry(image)
        assert ours.dtype == np.uint8 and ours.flags.c_contiguous
        np.testing.assert_array_equal(ours, np.asarray(expected(image)).transpose(2, 0, 1), err_msg=str(size))


def test_crop_larger_than_the_image_adds_black_as_torchvision_does():
    ours = Preprocessing(crop_size=5).geometry(Image.new("RGB", (2, 3), "white"))
    expected = np.zeros((5, 5), dtype=np.uint8)
    expected[1:4, 1:3] = 255  # the odd pixel of margin is on the right
    assert (ours == expected).all()


def test_normalize_equals_to_tensor_and_normalize():
    images = [photo(31, 17, seed) for seed in range(4)]
    batch = torch.stack([torch.from_numpy(np.array(i)).permute(2, 0, 1) for i in images])
    for mean, std in [(IMAGENET_MEAN, IMAGENET_STD), ((0.5, 0.5, 0.5), (0.5, 0.25, 0.1)), ((0.0,) * 3, (1.0,) * 3)]:
        expected = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
        ours = Preprocessing(mean=mean, std=std).normalize(batch)
        assert ours.dtype == torch.float32
        assert torch.equal(ours, torch.stack([expected(i) for i in images]))


def test_every_value_of_a_pixel_is_scaled_as_to_tensor_does_and_the_batch_is_left_alone():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    batch = torch.from_numpy(values.transpose(2, 0, 1).copy())[None]
    before = batch.clone()
    ours = Preprocessing().pixels(batch)
    assert torch.equal(ours[0], transforms.ToTensor()(Image.fromarray(values)))
    assert float(ours.min()) == 0 and float(ours.max()) == 1
    assert torch.equal(batch, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_normalize_on_the_gpu_equals_the_cpu():
    batch = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    ours = Preprocessing()
    assert torch.equal(ours.normalize(batch.cuda()).cpu(), ours.normalize(batch))


def test_dict_goes_through_json_and_back():
    ours = Preprocessing(256, 224, "bicubic", (0.1, 0.2, 0.3), (0.5, 0.25, 1.0))
    assert Preprocessing.from_dict(json.loads(json.dumps(ours.as_dict()))) == ours
    assert Preprocessing.from_dict({}) == Preprocessing()
    assert Preprocessing.from_dict({"mean": [0, 0, 0]}).mean == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"resize": 0}, "--resize"),
        ({"crop_size": -3}, "--crop-size"),
        ({"interpolation": "bicubik"}, "'bicubic'"),
        ({"mean": [0.1, 0.2]}, "three numbers"),
        ({"mean": [0.1, 0.2, float("nan")]}, "--mean"),
        ({"std": [0.1, 0.2, 0.0]}, "--std"),
        ({"std": [0.1, 0.2, -0.1]}, "--std has to be above 0"),
        ({"std": "abc"}, "three numbers"),
        ({"resized": 3}, "'resize'"),
    ],
)
def test_value_out_of_range_is_named(values, words):
    with pytest.raises(PureError, match=words):
        Preprocessing.from_dict(values)


def test_import_is_light():
    code = "import sys, pure_cli.core.preprocessing; assert not {'torch', 'torchvision', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_height_and_width_are_taken_whatever_the_proportions():
    """As Pillow resizes; a resize to two sides is no resize to a short one."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8))
    found = Preprocessing(resize=(12, 20), interpolation="bicubic").geometry(image)
    expected = np.asarray(image.resize((20, 12), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(PureError, match="--resize is a number of pixels"):
        Preprocessing(resize=(12, 0))
