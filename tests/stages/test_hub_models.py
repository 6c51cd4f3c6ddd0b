"""Networks of transformers by name: from a repo or a folder to virtual neurons."""

import json
import shutil
import warnings

import h5py
import numpy as np
import pytest
import torch
from fake_hub import commit_of, files_in, lay_into_cache
from PIL import Image

from pure_cli import Workspace
from pure_cli.errors import PureError, PureFailure
from pure_cli.models.load import load_model
from pure_cli.models.spec import parse_model

transformers = pytest.importorskip("transformers")
import transformers_networks as networks  # noqa: E402

warnings.filterwarnings("ignore", module="transformers")
SIDE, N = 64, 3
PROCESSOR = {"image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}, "resample": 3}
CROPPING = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": SIDE}, "crop_pct": 0.875}
CLIP = {"image_processor_type": "CLIPImageProcessor", "size": SIDE, "crop_size": SIDE}
CASES = {"resnet": CROPPING, "convnext": CROPPING, "vit": PROCESSOR, "clip": CLIP, "swin": PROCESSOR}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Five images of several sizes in two classes."""
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i, size in enumerate(((90, 71), (70, 97), (64, 64), (131, 80), (77, 77))):
        (folder / f"class{i % 2}").mkdir(exist_ok=True)
        blobs = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(blobs).resize(size, Image.Resampling.BICUBIC).save(folder / f"class{i % 2}" / f"{i}.png")
    return folder


def whole_clip():
    """A CLIP with both towers, of which the repo of a CLIP is made."""
    torch.manual_seed(0)
    text = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 9,
    }
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=dict(networks.TOKENS)))


def saved(folder, network, processor):
    made = whole_clip() if network == "clip" else getattr(networks, network)()
    made.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture
def vit(tmp_path):
    return saved(tmp_path / "vit", "vit", PROCESSOR)


@pytest.mark.parametrize("network", CASES)
def test_relevance_is_that_of_plain_autograd_on_the_network_with_its_own_processor(network, tmp_path, photos, no_hub):
    folder = saved(tmp_path / "repo", network, CASES[network])
    commit = lay_into_cache(no_hub, f"small/{network}", folder)
    study = Workspace(tmp_path / "study")
    study.collect(model=f"hf:small/{network}", data=photos, n=N, workers=0, device="cpu")
    assert study.info()["origin"]["model"] == f"hf:small/{network}@{commit}"
    layer = study.info()["origin"]["default_layer"]
    firing = np.flatnonzero((study.references(layer)["value"] > 0).all(axis=1))[:2].tolist()
    study.attribute(neurons=firing, recipe="paper", workers=0, device="cpu")
    study.cluster(neurons=firing, k=2)
    assert len(study.members(k=2)["path"]) == 2 * N
    kind = transformers.CLIPVisionModel if network == "clip" else type(getattr(networks, network)())
    model = kind.from_pretrained(folder).eval().requires_grad_(False)
    _equal_plain_autograd(
        study, layer, model, transformers.AutoImageProcessor.from_pretrained(folder, backend="pil"), photos
    )


def _equal_plain_autograd(study, layer, model, processor, photos):
    with h5py.File(study.path / "collect.h5") as file:
        paths = dict(zip(file["images/index"][:].tolist(), file["images/path"].asstr()[:], strict=True))
    alike = []
    with h5py.File(study.path / "attribute.h5") as file:
        own = file[f"layers/{layer}"]
        (lower,) = own["relevance"]
        for row, neuron in enumerate(own["neuron"][:].tolist()):
            for slot, index in enumerate(own["image"][row].tolist()):
                pixels = processor(Image.open(photos / paths[index]), return_tensors="pt")["pixel_values"]
                found = own[f"relevance/{lower}"][row, slot].astype(np.float64)
                expected = _relevance(model, pixels, layer, lower, neuron, len(found))
                alike.append(expected @ found / (np.linalg.norm(expected) * np.linalg.norm(found)))
    assert min(alike) > 0.9999


def _relevance(model, pixels, layer, lower, neuron, channels):
    kept = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: kept.update({name: o}))
        for name in (layer, lower)
    ]
    model(pixels.requires_grad_())
    for hook in hooks:
        hook.remove()
    a, h = (kept[name][0] if isinstance(kept[name], tuple) else kept[name] for name in (layer, lower))
    fired = a[:, neuron] if a.ndim == 4 else a[..., neuron]
    (gradient,) = torch.autograd.grad((fired * fired.detach().clamp(min=0)).sum(), h)
    axis = 1 if h.ndim == 4 else h.ndim - 1
    assert h.shape[axis] == channels
    return (gradient * h).detach().movedim(axis, 0).flatten(1).sum(1).double().numpy()


@pytest.mark.parametrize("network", ["vit", "resnet"])
def test_outputs_for_classes_are_the_logits(network, tmp_path, photos):
    folder = saved(tmp_path / "repo", network, CASES[network])
    study = Workspace(tmp_path / "study")
    study.collect(model=f"hf:{folder}", data=photos, n=N, by="relevance", target="predicted", workers=0, device="cpu")
    layer = study.info()["origin"]["default_layer"]
    neurons = np.flatnonzero((study.references(layer)["value"] > 0).all(axis=1))[:2].tolist()
    study.attribute(neurons=neurons, recipe="paper", workers=0, device="cpu")
    study.cluster(neurons=neurons, k=2)
    study.evaluate(metric="outputs", device="cpu")
    with study.edit(silence=[f"{layer}/{neurons[0]}"]) as edited:
        given = edited(torch.zeros(1, 3, SIDE, SIDE))
    assert given.logits.shape == (1, 2)


def test_a_revision_that_changed_is_noticed_and_a_new_readme_is_not(hub, vit, tmp_path, photos):
    first = hub.put("small/vit", vit)
    study, how = Workspace(tmp_path / "study"), {"data": photos, "n": N, "workers": 0, "device": "cpu"}
    study.collect(model="hf:small/vit", **how)
    (vit / "README.md").write_text("more words")
    second = hub.put("small/vit", vit)
    assert study.collect(model="hf:small/vit", **how).up_to_date
    assert study.info()["origin"]["model"] == f"hf:small/vit@{second}"
    config = json.loads((vit / "config.json").read_text())
    (vit / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.1}))
    third = hub.put("small/vit", vit)
    outcome = study.collect(model="hf:small/vit", **how)
    assert not outcome.up_to_date and any("model changed" in note for note in outcome.notes)
    assert not study.collect(model=f"hf:small/vit@{first}", **how).up_to_date
    hub.asked.clear()
    study.attribute(neurons=[0], recipe="paper", workers=0, device="cpu")  # of the commit that was collected
    assert hub.asked == [] and third != second


def test_later_stages_need_no_hub(vit, tmp_path, photos, no_hub):
    lay_into_cache(no_hub, "small/vit", vit)
    study = Workspace(tmp_path / "study")
    study.collect(model="hf:small/vit", data=photos, n=N, workers=0, device="cpu")
    study.attribute(neurons=[0], recipe="paper", workers=0, device="cpu")


def test_without_cache_and_network_the_sentence_names_repo_and_command(no_hub, tmp_path, photos):
    with pytest.raises(
        PureFailure, match=r"^hf:small/vit is not on this machine, and the hub .*`hf download small/vit`"
    ):
        Workspace(tmp_path / "study").collect(model="hf:small/vit", data=photos)


def test_weights_that_are_not_in_the_cache_are_named(no_hub, vit):
    (vit / "model.safetensors").rename(vit / "elsewhere.safetensors")
    commit = lay_into_cache(no_hub, "small/vit", vit)
    with pytest.raises(PureError, match=r"has no model.safetensors or pytorch_model.bin; it has config.json"):
        load_model(parse_model(f"hf:small/vit@{commit}"))


def test_weights_in_parts_are_fetched_and_loaded(hub, tmp_path):
    made = networks.vit()
    made.save_pretrained(tmp_path / "vit", max_shard_size="60KB")
    assert len(list((tmp_path / "vit").glob("*.safetensors"))) > 1
    hub.put("small/vit", tmp_path / "vit")
    _same(load_model(parse_model("hf:small/vit")), made)


def test_a_pickled_checkpoint_is_read_without_running_it_and_safetensors_come_first(tmp_path, vit):
    made, _ = networks.vit(), (vit / "model.safetensors").unlink()
    torch.save(made.state_dict(), vit / "pytorch_model.bin")
    _same(load_model(parse_model(f"hf:{vit}")), made)
    torch.save({"whole": made}, vit / "pytorch_model.bin")
    with pytest.raises(PureError, match="transformers cannot load hf:"):
        load_model(parse_model(f"hf:{vit}"))
    made.save_pretrained(vit)
    _same(load_model(parse_model(f"hf:{vit}")), made)


def _same(found, made):
    expected = made.state_dict()
    assert found.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())


def test_untrained_networks_are_those_of_the_seed(vit):
    spec = parse_model(f"hf:{vit}")
    one, same, other = (load_model(spec, "none", seed).state_dict() for seed in (1, 1, 2))
    name = "vit.layers.0.mlp.fc1.weight"
    assert torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name])


def test_weights_of_ones_own_take_the_place_of_the_repos(vit, tmp_path):
    made = networks.vit()
    made.classifier.weight.data.fill_(0.25)
    torch.save(made.state_dict(), tmp_path / "own.pt")
    _same(load_model(parse_model(f"hf:{vit}"), tmp_path / "own.pt"), made)


def test_a_pooler_without_weights_is_told_and_any_other_part_is_refused(tmp_path):
    made = transformers.ViTModel(transformers.ViTConfig(**networks.TOKENS), add_pooling_layer=False)
    made.save_pretrained(tmp_path / "vit")
    notes = []
    load_model(parse_model(f"hf:{tmp_path / 'vit'}"), notes=notes)
    assert any("have no pooler.dense.bias, pooler.dense.weight: these are random" in note for note in notes)
    config = json.loads((tmp_path / "vit" / "config.json").read_text())
    (tmp_path / "vit" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(PureError, match=r"lack \d+ of the network's parameters"):
        load_model(parse_model(f"hf:{tmp_path / 'vit'}"))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"model_type": "mine", "auto_map": {"AutoModel": "mine.Mine"}}, "comes with code of its own.*pure runs none"),
        ({"model_type": "of-the-future"}, "is of the type 'of-the-future', which this transformers does not know"),
        ({"architecture": "resnet50", "pretrained_cfg": {}}, "is a network of timm: pass --model timm:repo"),
        ({"model_type": "bert", "architectures": ["BertModel"]}, "takes input_ids .*Wrap its part"),
    ],
)
def test_what_is_no_network_of_images_is_refused(tmp_path, config, why):
    (tmp_path / "repo").mkdir()
    small = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
        "vocab_size": 9,
    }
    (tmp_path / "repo" / "config.json").write_text(json.dumps({**small, **config}))
    (tmp_path / "repo" / "mine.py").write_text("raise SystemExit('was run')")
    with pytest.raises(PureError, match=why):
        load_model(parse_model(f"hf:{tmp_path / 'repo'}"), "none")


OTHERS = {
    "dinov2": ("Dinov2Model", "Dinov2Config", networks.TOKENS, "encoder.layer.2"),
    "beit": ("BeitForImageClassification", "BeitConfig", networks.TOKENS, "beit.layers.2"),
    "segformer": (
        *("SegformerForSemanticSegmentation", "SegformerConfig"),
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4, "decoder_hidden_size": 16},
        "stages.3",
    ),
    "efficientnet": (
        *("EfficientNetForImageClassification", "EfficientNetConfig"),
        {"width_coefficient": 0.3, "depth_coefficient": 0.3, "image_size": SIDE, "hidden_dim": 384},
        "efficientnet.encoder.blocks.7",
    ),
    "mobilenet": (
        *("MobileNetV1ForImageClassification", "MobileNetV1Config"),
        {"depth_multiplier": 0.25},
        "mobilenet_v1.layer.25",
    ),
}


@pytest.mark.parametrize("family", OTHERS)
def test_other_families_are_collected_without_naming_a_layer(family, tmp_path, photos):
    kind, config, options, layer = OTHERS[family]
    torch.manual_seed(0)
    getattr(transformers, kind)(getattr(transformers, config)(**options)).save_pretrained(tmp_path / "repo")
    (tmp_path / "repo" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    study = Workspace(tmp_path / "study")
    study.collect(model=f"hf:{tmp_path / 'repo'}", data=photos, n=N, workers=0, device="cpu")
    assert study.info()["origin"]["default_layer"] == layer


def test_a_kernel_that_a_description_names_is_not_fetched(vit):
    config = json.loads((vit / "config.json").read_text())
    (vit / "config.json").write_text(json.dumps({**config, "attn_implementation": "somebody/their-kernel"}))
    found = load_model(parse_model(f"hf:{vit}"))
    assert found.config._attn_implementation == "sdpa"
    assert found(torch.zeros(1, 3, SIDE, SIDE)).logits.shape == (1, 2)


def test_a_backbone_alone_and_an_encoder_are_loaded(tmp_path):
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    made = transformers.ResNetBackbone(transformers.ResNetConfig(**sizes, out_features=["stage2"]))
    made.save_pretrained(tmp_path / "resnet")
    found = load_model(parse_model(f"hf:{tmp_path / 'resnet'}"))
    assert found(torch.zeros(1, 3, SIDE, SIDE))
    small = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_encoder_blocks": 2, "num_attention_heads": [1, 2],
             "sr_ratios": [2, 1], "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2]}  # fmt: skip
    made = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(**small, decoder_hidden_size=8))
    made.save_pretrained(tmp_path / "segformer")
    found = load_model(parse_model(f"hf:{tmp_path / 'segformer'}"))
    assert type(found).__name__ == "SegformerModel"
    own = {name.removeprefix("segformer."): value for name, value in made.state_dict().items()}
    assert all(torch.equal(value, own[name]) for name, value in found.state_dict().items())


def test_names_of_models(tmp_path, monkeypatch):
    (tmp_path / "dir").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_model("hf:./dir").name == str((tmp_path / "dir").resolve())
    assert parse_model("hf:./dir").short == "dir"
    assert parse_model("hf:a/b@v1").short == "a/b"
    assert str(parse_model("hf:a/b@main")) == "hf:a/b"
    with pytest.raises(PureError, match="There is no folder"):
        parse_model("hf:./nowhere")
    with pytest.raises(PureError, match="is no name of the hub"):
        parse_model("hf:a/b/c")
    assert len(commit_of(files_in(tmp_path))) == 40


def test_without_transformers_the_extra_is_named(vit, monkeypatch):
    from pure_cli.models import from_hub

    monkeypatch.setattr(from_hub, "find_spec", lambda name: None)
    with pytest.raises(PureError, match=r"needs transformers 5 or newer: pip install 'pure-cli\[hf\]'"):
        load_model(parse_model(f"hf:{vit}"))


def test_info_says_what_is_gone_when_the_cache_was_emptied(vit, tmp_path, photos, no_hub):
    lay_into_cache(no_hub, "small/vit", vit)
    study = Workspace(tmp_path / "study")
    study.collect(model="hf:small/vit", data=photos, n=N, workers=0, device="cpu")
    shutil.rmtree(no_hub / "models--small--vit")
    (problem,) = study.info()["problems"]
    assert "hf:small/vit@" in problem and "run `hf download small/vit --revision" in problem
    with pytest.raises(PureFailure, match="is not on this machine"):
        study.attribute(neurons=[0], workers=0, device="cpu")
