"""What the names of embedders mean: parsed, labelled and fingerprinted without torch."""

import json
import subprocess
import sys

import pytest

from pure_cli.embedders.spec import parse_embedder
from pure_cli.errors import PureError
from pure_cli.models.spec import file_fingerprint


@pytest.mark.parametrize(
    ("text", "kind", "name", "label"),
    [
        ("clip", "clip", "ViT-B-32/openai", "clip"),
        ("clip:ViT-B-32/openai", "clip", "ViT-B-32/openai", "clip"),
        ("clip-image", "clip-image", "ViT-B-32/openai", "clip-image"),
        ("clip:ViT-L-14/laion2b_s32b_b82k", "clip", "ViT-L-14/laion2b_s32b_b82k", "clip:ViT-L-14:laion2b_s32b_b82k"),
        ("clip-image:RN50", "clip-image", "RN50", "clip-image:RN50"),
        ("clip-image:demo-digits", "clip-image", "demo-digits", "clip-image:demo-digits"),
        ("dinov2", "dinov2", "vit_base_patch14_dinov2", "dinov2"),
        (
            "dinov2:vit_small_patch14_dinov2",
            "dinov2",
            "vit_small_patch14_dinov2",
            "dinov2:vit_small_patch14_dinov2",
        ),
        ("timm:resnet50.a1_in1k", "timm", "resnet50.a1_in1k", "timm:resnet50.a1_in1k"),
        ("torchvision:resnet18", "torchvision", "resnet18", "torchvision:resnet18"),
        ("pixels", "pixels", "", "pixels"),
    ],
)
def test_names_and_labels(text, kind, name, label):
    spec = parse_embedder(text)
    assert (spec.kind, spec.name, spec.label) == (kind, name, label)


def test_a_label_of_a_file_names_file_function_layer_and_size(model_file):
    spec = parse_embedder(f"{model_file}:tiny", layer="layer3", size=48)
    assert spec.label == "tiny_model.py:tiny:layer3:48px"
    assert str(spec) == f"{model_file}:tiny"


def test_a_clip_network_of_a_file_is_known_by_its_name_and_content_wherever_it_is(tmp_path):
    folder = tmp_path / "my.python"  # and no Python file
    folder.mkdir()
    before = []
    for file in (folder / "mine.json", tmp_path / "mine.json"):
        file.write_text("{}")
        file.with_suffix(".safetensors").write_bytes(b"one")
        spec = parse_embedder(f"clip-image:{file}")
        assert (spec.label, spec.config) == ("clip-image:mine.json", file)
        before.append(spec.identity())
    assert before[0] == before[1]
    assert before[0]["weights"] == file_fingerprint(file.with_suffix(".safetensors"))
    file.with_suffix(".safetensors").write_bytes(b"two")
    assert parse_embedder(f"clip-image:{file}").identity() != before[0]


def test_labels_hold_no_slash_and_no_at_sign(tmp_path):
    file = tmp_path / "my@net.py"
    file.write_text("def net(): ...")
    assert parse_embedder(f"{file}:net").label == "my-net.py:net"
    assert "/" not in parse_embedder("clip:ViT-L-14/laion2b_s32b_b82k").label


def test_the_papers_size_of_dinov2_is_the_default_size():
    assert parse_embedder("dinov2", size=224) == parse_embedder("dinov2")
    assert parse_embedder("dinov2", size=518).label == "dinov2:518px"


def test_an_identity_is_json_and_changes_with_the_file_its_weights_layer_and_size(model_file, tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"one")
    text = f"{model_file}:tiny"
    spec = parse_embedder(text, weights=weights)
    before = spec.identity()
    assert json.loads(json.dumps(before)) == before
    assert before["weights"] == file_fingerprint(weights)
    others = [
        parse_embedder(text),
        parse_embedder(text, weights="none"),
        parse_embedder(text, layer="layer3", weights=weights),
        parse_embedder(text, weights=weights, size=64),
        parse_embedder(f"{model_file}:reused", weights=weights),
    ]
    copy = tmp_path / "tiny_model.py"
    copy.write_text(model_file.read_text() + "\n# another text")
    others.append(parse_embedder(f"{copy}:tiny", weights=weights))
    weights.write_bytes(b"two")
    assert all(other.identity() != before for other in [spec, *others])
    weights.write_bytes(b"one")
    assert spec.identity() == before
    assert spec.identity() == parse_embedder(f"{model_file}:tiny", weights=str(weights)).identity()


def test_an_identity_says_when_the_weights_are_not_there(tmp_path):
    with pytest.raises(PureError, match=r"nowhere\.pt does not exist"):
        parse_embedder("clip", weights=tmp_path / "nowhere.pt").identity()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("dinov3", {}, "Did you mean 'dinov2'"),
        ("clip:", {}, "Unknown embedder 'clip:'"),
        ("timm:", {}, "Did you mean 'timm:NAME'"),
        ("clip:ViT-B-33/openai", {}, "Unknown open_clip architecture 'ViT-B-33'. Did you mean 'ViT-B-32'"),
        ("clip-image:demo-digit", {}, "Did you mean 'demo-digits'"),
        ("clip-image:nowhere.json", {}, "The configuration nowhere.json does not exist"),
        ("nowhere.py:net", {}, "nowhere.py does not exist"),
        ("clip", {"layer": "layer3"}, "takes no layer"),
        ("dinov2", {"layer": "blocks.3"}, "use timm:vit_base_patch14_dinov2"),
        ("pixels", {"layer": "layer3"}, "takes no layer"),
        ("pixels", {"weights": "none"}, "has no weights"),
        ("pixels", {"size": 32}, "always sees 16×16"),
        ("clip", {"size": 0}, "1 or more"),
    ],
)
def test_wrong_names_and_options_are_refused(text, options, message):
    with pytest.raises(PureError) as caught:
        parse_embedder(text, **options)
    assert message in str(caught.value)


def test_names_are_understood_without_importing_torch_open_clip_or_timm():
    code = """
import sys
from pure_cli.embedders.spec import parse_embedder
from pure_cli.errors import PureError
print(parse_embedder("clip:ViT-L-14/openai").label, parse_embedder("timm:x").identity()["weights"])
try:
    parse_embedder("clip:ViT-L-15")
except PureError as error:
    print(error)
print(sorted({"torch", "open_clip", "timm"} & set(sys.modules)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[0] == "clip:ViT-L-14:openai pretrained"
    assert "'ViT-L-14'" in out[1]
    assert out[2] == "[]"
