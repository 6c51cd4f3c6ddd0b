import json

import numpy as np
import pytest
import torch
from PIL import Image

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.errors import PureError
from pure_cli.models.processor import processor_preprocessing
from pure_cli.models.spec import parse_model

transformers = pytest.importorskip("transformers")

SQUARE = {"height": 224, "width": 224}
BACKENDS = ("pil", "torchvision")
HALVES = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
# As the files of well-known repos have them; in front, what comes before "ImageProcessor" in the name of the class.
PROCESSORS = {
    "ConvNext, of microsoft/resnet-50": {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3},
    "ConvNext, of facebook/convnext-base-384": {"size": 384, "resample": 3},
    "ViT, of google/vit-base-patch16-224": {"size": 224, "resample": 2, **HALVES},
    "Bit, of facebook/dinov2-base": {"size": {"shortest_edge": 256}, "crop_size": SQUARE, "resample": 3},
    "ViT, of microsoft/swin-tiny": {"size": SQUARE, "resample": 3},
    "CLIP, of openai/clip-vit-base-patch32": {"size": 224, "crop_size": 224, "do_convert_rgb": True},
    "Siglip, of google/siglip-base": {"size": SQUARE, **HALVES},
    "Beit, with an odd crop": {"size": 256, "crop_size": 223, "do_center_crop": True, **HALVES},
    "MobileNetV2, of google/mobilenet_v2": {"size": {"shortest_edge": 256}, "crop_size": SQUARE, **HALVES},
    "EfficientNet, of google/efficientnet-b0": {"size": SQUARE, "resample": 0, "include_top": True},
    "EfficientNet, with an offset": {
        **{"size": {"height": 96, "width": 80}, "resample": 2, "rescale_factor": 1 / 127.5, "rescale_offset": True},
        **{"include_top": False, "do_normalize": False},
    },
    "Segformer, of nvidia/segformer-b0": {"size": 512, "resample": 2},
    "Levit, of facebook/levit-128S": {"size": {"shortest_edge": 224}, "crop_size": 224},
    "DeiT, of facebook/deit-base": {"size": 256, "crop_size": 224, "resample": 3},
    "ViT, without a scale": {"size": 64, "do_rescale": False, "do_normalize": False},
    "ViT, on the scale of 255": {
        **{"size": 64, "do_rescale": False, "image_mean": [123.7, 116.3, 103.5], "image_std": [58.4, 57.1, 57.4]},
    },
}


def saved(folder, content):
    """A repo with nothing but a description and a processor, and code that must not run."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text("raise SystemExit('was run')")
    (folder / "config.json").write_text(json.dumps({"model_type": "vit" if "auto_map" not in content else "mine"}))
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return parse_model(f"hf:{folder}")


def photo(width, height):
    blobs = np.random.default_rng(width).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_the_networks_own_processor(tmp_path, name):
    kind = f"{name.partition(',')[0]}ImageProcessor"
    preprocessing = processor_preprocessing(
        saved(tmp_path / "repo", {"image_processor_type": kind, **PROCESSORS[name]})
    )
    own = {b: transformers.AutoImageProcessor.from_pretrained(tmp_path / "repo", backend=b) for b in BACKENDS}
    for size in ((320, 243), (211, 300), (97, 131)):
        image = photo(*size)
        found = preprocessing.normalize(torch.from_numpy(preprocessing.geometry(image))[None])[0]
        expected = torch.from_numpy(np.asarray(own["pil"](image, return_tensors="np")["pixel_values"][0], np.float32))
        levels = torch.tensor(preprocessing.std).view(3, 1, 1) * 255
        torch.testing.assert_close(found * levels, expected * levels, rtol=1e-5, atol=1e-3)  # of 255
        usual = own["torchvision"](image, return_tensors="pt")["pixel_values"][0].float()
        if preprocessing.interpolation != "nearest":  # where both take other neighbours
            assert ((found - usual).abs() * levels).max() <= 2.01  # it rounds in other places


def test_dinov3_which_scales_before_it_resizes_is_met_but_for_rounding(tmp_path):
    spec = saved(tmp_path / "repo", {"image_processor_type": "DINOv3ViTImageProcessor"})
    preprocessing = processor_preprocessing(spec)
    own = transformers.AutoImageProcessor.from_pretrained(tmp_path / "repo")
    image = photo(320, 243)
    found = preprocessing.normalize(torch.from_numpy(preprocessing.geometry(image))[None])[0]
    difference = (found - own(image, return_tensors="pt")["pixel_values"][0]).abs()
    assert (difference * torch.tensor(preprocessing.std).view(3, 1, 1) * 255).max() <= 1.01


def test_a_crop_begins_where_transformers_has_it():
    """Of three columns too many, one goes from the left; torchvision takes the 1.5 as 2."""
    down, even = Preprocessing(crop_size=224, crop_down=True), Preprocessing(crop_size=224)
    columns = np.broadcast_to(np.arange(227, dtype=np.uint8)[None, :, None], (224, 227, 3))
    assert down.geometry(Image.fromarray(columns))[0, 0, 0] == 1
    assert even.geometry(Image.fromarray(columns))[0, 0, 0] == 2


def test_what_is_remembered_is_the_same(tmp_path):
    for kind, size in (("ViT", SQUARE), ("ConvNext", {"shortest_edge": 224})):
        content = {"image_processor_type": f"{kind}ImageProcessor", "size": size}
        found = processor_preprocessing(saved(tmp_path / "repo", content))
        assert Preprocessing.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    assert "crop_down" not in Preprocessing(crop_size=3).as_dict()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"image_processor_type": "MobileViTImageProcessor"}, "turns the channels round, which pure does not. Say all"),
        ({"image_processor_type": "ViTImageProcessor", "resample": 1}, "resizes by lanczos, which pure does not"),
        ({"image_processor_type": "DetrImageProcessor"}, "gives images several sizes, which pure does not"),
        (
            {"image_processor_type": "PoolFormerImageProcessor"},
            "makes other pixels than resize, crop and normalisation",
        ),
        ({"image_processor_type": "NoSuchImageProcessor"}, "cannot be loaded"),
        ({"auto_map": {"AutoImageProcessor": "mine.Mine"}}, "comes with code of its own.*pure runs none"),
        ({"image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 9, "width": 8}}, "crops a rectangle"),
    ],
)
def test_what_pure_does_not_do_is_refused(tmp_path, content, why):
    with pytest.raises(PureError, match=why):
        processor_preprocessing(saved(tmp_path / "repo", content))


def test_a_repo_without_a_processor_says_which_options_to_give(tmp_path):
    spec = saved(tmp_path / "repo", {})
    (tmp_path / "repo" / "preprocessor_config.json").unlink()
    with pytest.raises(PureError, match=r"has no preprocessor_config.json.*Say all of --resize, --crop-size"):
        processor_preprocessing(spec)
