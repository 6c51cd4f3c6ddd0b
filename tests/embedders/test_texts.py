"""Vectors of texts: those of open_clip's encode_text, from the network that the images are embedded with."""

import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from pure_cli.concepts import read_templates
from pure_cli.demo.train_clip import CONFIG
from pure_cli.embedders.load import load_embedder
from pure_cli.embedders.spec import parse_embedder
from pure_cli.embedders.texts import concept_vectors, cut_texts, load_text_tower
from pure_cli.errors import PureError

CPU = torch.device("cpu")
WEIGHTS = CONFIG.with_suffix(".safetensors")
TEXTS = ["three", "a photo of a seven.", "", "!", "nine" * 20, "zwölf"]


def tower_of(text="clip-image:demo-digits", **options):
    return load_text_tower(parse_embedder(text, **options), CPU)


@pytest.fixture(scope="module")
def tower():
    return tower_of()


@pytest.fixture(scope="module")
def public():
    """The same network as open_clip's own functions make it, and its tokenizer."""
    described = json.loads(CONFIG.read_text())
    model = open_clip.CLIP(**described).eval()
    model.load_state_dict(load_file(WEIGHTS))
    spelling = str(CONFIG.parent / described["text_cfg"]["tokenizer_kwargs"]["bpe_path"])
    return model, open_clip.tokenizer.SimpleTokenizer(bpe_path=spelling, context_length=40)


def by_encode_text(public, texts):
    model, tokenizer = public
    with torch.no_grad():
        return model.encode_text(tokenizer(texts)).numpy()


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_vectors_are_those_of_encode_text_whatever_the_batches(tower, public, batch_size):
    done = []
    found = tower.embed(TEXTS, batch_size, lambda *counts: done.append(counts))
    np.testing.assert_allclose(found, by_encode_text(public, TEXTS), rtol=1e-4, atol=1e-5)
    assert done[-1] == (6, 6)


def test_short_texts_are_not_computed_to_the_end_of_the_context(tower):
    seen = []
    model = tower.encode.args[0]
    hook = model.transformer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    tower.embed(["three", "a photo of a seven."], batch_size=1)
    hook.remove()
    assert seen == [7, 17]  # letters, and the tokens of begin and end
    assert model.positional_embedding.shape == (40, 32)


@pytest.fixture(params=["custom text", "both ways", "last token"])
def other_tower(request, tmp_path):
    """Networks whose text towers may not be shortened, or are of another class."""
    described = json.loads(CONFIG.read_text())
    described["text_cfg"]["tokenizer_kwargs"]["bpe_path"] = str(CONFIG.parent / "letters.txt.gz")
    described["custom_text"] = request.param == "custom text"
    described["text_cfg"]["no_causal_mask"] = request.param == "both ways"
    described["text_cfg"]["pool_type"] = "last" if request.param == "last token" else "argmax"
    file = tmp_path / f"{request.param}.json"
    file.write_text(json.dumps(described))
    return tower_of(f"clip-image:{file}", weights="none")


def test_towers_that_read_to_the_end_are_computed_to_the_end(other_tower):
    model = other_tower.encode.args[0]
    with torch.no_grad():
        expected = model.encode_text(other_tower.tokenize(TEXTS, 40)).numpy()
    np.testing.assert_allclose(other_tower.embed(TEXTS, 2), expected, rtol=1e-4, atol=1e-5)


def test_a_concept_is_the_mean_of_the_unit_vectors_of_its_texts_in_all_templates(tower, public):
    texts, templates = [("three", "3"), ("seven",)], ("{}", "a photo of a {}.")
    found = concept_vectors(tower, texts, templates)
    for row, own in zip(found, texts, strict=True):
        units = []
        for text in own:
            for template in templates:
                (vector,) = by_encode_text(public, [template.format(text)])
                units.append(vector / np.sqrt((vector**2).sum()))
        mean = sum(units) / len(units)
        np.testing.assert_allclose(row, mean / np.sqrt((mean**2).sum()), rtol=1e-4, atol=1e-5)


OWN_SENTENCES = ["{}", "a photo of the {}."]


@pytest.mark.parametrize(
    ("templates", "public_templates"),
    [
        (OWN_SENTENCES, OWN_SENTENCES),
        (["simple"], open_clip.SIMPLE_IMAGENET_TEMPLATES),
        (["openai"], open_clip.OPENAI_IMAGENET_TEMPLATES),  # some are cut: the tower reads 40 letters
    ],
    ids=["own", "simple", "openai"],
)
def test_single_texts_give_open_clips_zero_shot_classifier(tower, public, templates, public_templates):
    names = ["three", "seven", "nine"]
    expected = open_clip.build_zero_shot_classifier(*public, names, public_templates).T.numpy()
    found = concept_vectors(tower, [(name,) for name in names], read_templates(templates))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_other_towers_give_open_clips_zero_shot_classifier_too(other_tower):
    names = ["three", "seven", "nine"]
    model, tokenizer = other_tower.encode.args[0], lambda texts: other_tower.tokenize(texts, 40)
    expected = open_clip.build_zero_shot_classifier(model, tokenizer, names, OWN_SENTENCES).T.numpy()
    found = concept_vectors(other_tower, [(name,) for name in names], OWN_SENTENCES)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_texts_that_are_cut_are_told_and_others_are_not(tower):
    fits, longer = "x" * 38, "x" * 39  # of 40 tokens, begin and end take two
    assert tower.cut([fits, longer, "y" * 100, ""]) == [longer, "y" * 100]
    assert cut_texts(tower, [(fits,)]) is None
    told = cut_texts(tower, [(fits,), ("three",)], ("{}", "a {}"))
    assert told.startswith(
        "1 text longer than the 40 tokens that clip-image:demo-digits reads is cut at the end: 'a xxx"
    )


def test_the_cache_gives_the_same_vectors_without_the_network_and_knows_what_they_depend_on(tower, tmp_path):
    folder = tmp_path / "cache"
    first = concept_vectors(tower, [("three",), ("seven",)], cache=folder)

    def never(tokens):
        raise AssertionError("computed again")

    idle = type(tower)(tower.spec, tower.tokenize, never, tower.context, tower.causal, CPU, tower.scale)
    np.testing.assert_array_equal(concept_vectors(idle, [("three",), ("seven",)], cache=folder), first)
    for texts, templates in (([("three", "seven")], ["{}"]), ([("three",), ("seven",)], ["a {}"])):
        with pytest.raises(AssertionError, match="computed again"):
            concept_vectors(idle, texts, templates, cache=folder)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(concept_vectors(tower, [("three",), ("seven",)], cache=folder), first)


@pytest.mark.parametrize("name", ["pixels", "clip:demo-digits", "timm:test_resnet"])
def test_an_embedder_without_a_text_tower_is_refused_in_a_sentence(name):
    with pytest.raises(PureError, match=rf"Embeddings of {name} cannot be compared with texts. .*: clip-image\."):
        tower_of(name)


def copied(folder, name="mine.json", **changes):
    """The shipped network as one of a user's own: a description with its spelling beside, without weights."""
    (folder / "letters.txt.gz").write_bytes((CONFIG.parent / "letters.txt.gz").read_bytes())
    file = folder / name
    file.write_text(json.dumps({**json.loads(CONFIG.read_text()), **changes}))
    return file


def vectors(text, **options):
    batch = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = load_embedder(parse_embedder(text, **options), CPU, 32).embed(batch).numpy()
    return images, tower_of(text, **options).embed(["three", "nine"])


def test_a_network_of_ones_own_is_a_file_with_its_weights_beside_it_or_named(tmp_path):
    file = copied(tmp_path)
    expected = vectors("clip-image:demo-digits")
    with pytest.raises(PureError, match=r"no weights beside .*mine\.json \(mine\.safetensors\)"):
        load_embedder(parse_embedder(f"clip-image:{file}"), CPU, 32)
    for found, wanted in zip(vectors(f"clip-image:{file}", weights=WEIGHTS), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    for name in ("open_clip_model.safetensors", "mine.safetensors"):
        shutil.copy(WEIGHTS, tmp_path / name)
        for found, wanted in zip(vectors(f"clip-image:{file}"), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        (tmp_path / name).unlink()
    with pytest.raises(PureError, match="do not fit"):
        save_file({"visual.conv1.weight": torch.zeros(1)}, tmp_path / "mine.safetensors")
        load_embedder(parse_embedder(f"clip-image:{file}"), CPU, 32)


def test_a_description_from_the_hub_brings_its_preprocessing(tmp_path):
    own = json.loads(copied(tmp_path).read_text())
    file = tmp_path / "open_clip_config.json"
    file.write_text(json.dumps({"model_cfg": own, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}))
    shutil.copy(WEIGHTS, tmp_path / "open_clip_model.safetensors")
    embedder = load_embedder(parse_embedder(f"clip-image:{file}"), CPU, 32)
    torch.testing.assert_close(embedder.preprocess(np.full((40, 40, 3), 255, np.uint8)), torch.ones(3, 32, 32))


def test_two_files_of_one_name_are_two_networks_and_open_clips_own_stay(tmp_path):
    before = open_clip.get_model_config("RN50")
    narrow = copied(tmp_path, "RN50.json")
    other = tmp_path / "other"
    other.mkdir()
    wide = copied(other, "RN50.json", embed_dim=48)
    widths = [vectors(f"clip-image:{file}", weights="none")[1].shape[1] for file in (narrow, wide, narrow)]
    assert widths == [32, 48, 32]
    assert open_clip.get_model_config("RN50") == before
    narrow_spec, wide_spec = (parse_embedder(f"clip-image:{file}", weights="none") for file in (narrow, wide))
    assert narrow_spec.label == wide_spec.label == "clip-image:RN50.json"
    assert narrow_spec.identity() != wide_spec.identity()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ('{"embed_dim": 3}', "describes no CLIP network. It needs embed_dim"),
        ("[]", "no"),
    ],
)
def test_a_file_that_describes_no_network_is_refused(tmp_path, content, message):
    file = tmp_path / "mine.json"
    file.write_text(content)
    with pytest.raises(PureError, match=message):
        load_embedder(parse_embedder(f"clip-image:{file}", weights="none"), CPU, 32)
    with pytest.raises(PureError, match=r"nowhere\.json does not exist"):
        parse_embedder(f"clip-image:{tmp_path}/nowhere.json")


def test_less_template_is_semanticlens_way(tower, public):
    texts, templates = [["three", "trio"], ["nine"]], ["a photo of a {}.", "{} there"]
    expected = []
    for own in texts:
        rows = [
            by_encode_text(public, [template.replace("{}", text)])[0]
            - by_encode_text(public, [template.replace("{}", "")])[0]
            for text in own
            for template in templates
        ]
        mean = np.mean(rows, axis=0)
        expected.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(concept_vectors(tower, texts, templates, less_template=True), expected, atol=1e-5)


def test_both_ways_come_from_one_cache(tower, tmp_path):
    plain = concept_vectors(tower, [["three"]], ["a {}"], cache=tmp_path)
    (file,) = tmp_path.iterdir()
    apart = concept_vectors(tower, [["three"]], ["a {}"], cache=tmp_path, less_template=True)
    assert list(tmp_path.iterdir()) == [file] and not np.allclose(plain, apart)
    np.testing.assert_allclose(apart, concept_vectors(tower, [["three"]], ["a {}"], less_template=True))


def test_scale_is_that_of_the_trained_network(tower, public):
    assert tower.scale == pytest.approx(public[0].logit_scale.exp().item())
