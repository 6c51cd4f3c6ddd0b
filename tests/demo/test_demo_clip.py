"""The tiny CLIP that comes with the package: a real one, of digits, whose answers are known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pure_cli import Workspace
from pure_cli.concepts import Concepts, read_concepts, read_templates
from pure_cli.demo.images import read_digits, write_digits
from pure_cli.demo.train_clip import (
    CONFIG,
    DIGITS,
    Pictures,
    accuracy,
    class_folders,
    digits,
    fresh,
    in_words,
    train,
)
from pure_cli.embedders.load import load_embedder
from pure_cli.embedders.spec import parse_embedder
from pure_cli.embedders.texts import concept_vectors, load_text_tower
from pure_cli.errors import PureError
from pure_cli.stages.embeddings.judges import open_texts
from pure_cli.stages.inputs.features import Sources

NAME = "clip-image:demo-digits"
WEIGHTS = CONFIG.with_suffix(".safetensors")
ONE_IMAGE = 1 / 500
CIFAR = Path(__file__).parents[1] / "benchmarks" / "cifar_clip.json"
CIFAR_WORDS = CIFAR.with_name("cifar_words.json")


@pytest.fixture(scope="module")
def tower():
    return load_text_tower(parse_embedder(NAME), torch.device("cpu"))


def test_it_is_small():
    assert WEIGHTS.stat().st_size < 300_000


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_the_nearest_digit_word_is_right_for_held_out_digits_as_often_as_the_weights_state(tower):
    embedder = load_embedder(parse_embedder(NAME), torch.device("cpu"), 32)
    data = read_digits("held-out")
    colour = np.repeat(data.pixels[..., None], 3, axis=-1)
    images = unit(embedder.embed(torch.stack([embedder.preprocess(image) for image in colour])).numpy())
    right = {}
    for template in ("a photo of a {}.", "{}", "a sketch of the {}"):  # the last was no caption
        names = concept_vectors(tower, [(name,) for name in DIGITS], [template])
        right[template] = float(np.mean((images @ names.T).argmax(axis=1) == data.labels))
    assert min(right.values()) > 0.95, right
    with safe_open(WEIGHTS, "pt") as opened:
        stated = float(opened.metadata()["zero_shot_accuracy"])
    assert right["a photo of a {}."] == pytest.approx(stated, abs=3 * ONE_IMAGE)  # which is of two sentences


def test_embedded_references_of_a_workspace_are_nearest_to_the_words_of_their_digits(tmp_path):
    write_digits(tmp_path / "digits", split="held-out")
    workspace = Workspace(tmp_path / "workspace")
    workspace.collect(model="digits", data=tmp_path / "digits", references=10)
    outcome = workspace.embed(embedder=NAME, crop="none", neurons="0-3")
    assert any("handwritten digits and knows nothing else" in note for note in outcome.notes)

    sources = Sources(workspace.store)
    ((layer, kind),) = sources.embedded
    assert kind == f"{NAME}+none"
    features = sources.features_of(layer, kind)
    images = unit(np.stack(list(features.rows(features.neuron))))  # (N, n, E)
    tower = open_texts(sources, layer, kind, torch.device("cpu"))
    words = concept_vectors(tower, [(name,) for name in DIGITS], read_templates())
    nearest = (images @ words.T).argmax(axis=-1)
    label_of = sources.collected.label_of
    labels = [[label_of[image] for image in row] for row in sources.collected.layers[layer].top.image[:4].tolist()]
    assert images.shape == (4, 10, 32)
    assert len(np.unique(labels)) > 2
    assert np.mean(nearest == np.array(labels)) > 0.9


def test_texts_for_embeddings_that_are_not_there_or_of_other_weights_are_refused(tmp_path):
    write_digits(tmp_path / "digits", split="held-out")
    own = tmp_path / "own.json"
    own.write_text(CONFIG.read_text().replace("letters.txt.gz", str(CONFIG.parent / "letters.txt.gz")))
    own.with_suffix(".safetensors").write_bytes(WEIGHTS.read_bytes())
    workspace = Workspace(tmp_path / "workspace")
    workspace.collect(model="digits", data=tmp_path / "digits", references=4, limit=50)
    workspace.embed(embedder=f"clip-image:{own}", crop="none", neurons="0")
    sources = Sources(workspace.store)
    ((layer, kind),) = sources.embedded
    assert kind == "clip-image:own.json+none"
    assert open_texts(sources, layer, kind, torch.device("cpu")).context == 40
    with pytest.raises(PureError, match=r"has no clip embeddings of .*pure embed --embedder clip"):
        open_texts(sources, layer, "clip", torch.device("cpu"))
    assert workspace.embed(embedder="clip-image:own.json", crop="none", neurons="0").up_to_date  # known by its name
    own.write_text(own.read_text() + "\n")
    with pytest.raises(PureError, match=r"another version of .*own\.json"):
        open_texts(sources, layer, kind, torch.device("cpu"))


def test_training_changes_all_weights_and_is_the_same_each_time():
    pictures, concepts = digits("train")
    small = Pictures(pictures.pixels[:192], pictures.labels[:192])
    states = []
    for _ in range(2):
        clip = fresh(CONFIG)
        train(clip, small, concepts, epochs=1)
        states.append(clip.model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    before = fresh(CONFIG).model.state_dict()
    same = [name for name, value in states[0].items() if torch.equal(value, before[name])]
    assert same == []


def test_the_stated_accuracy_is_a_count_of_nearest_names():
    class Known:
        """Vectors that are the labels, but for each fifth image."""

        model = tokenizer = None

        def images(self, pixels):
            return torch.eye(10)[pixels[:, 0, 0, 0].long()]

    labels = torch.arange(50) % 10
    pixels = labels.float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()
    pixels[::5] = (pixels[::5] + 1) % 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("open_clip.build_zero_shot_classifier", lambda *_: torch.eye(10))
        assert accuracy(Known(), Pictures(pixels, labels), digits("held-out")[1]) == 0.8


def test_class_folders_are_read_with_their_names(images):
    pictures, concepts = class_folders(images)
    assert pictures.pixels.shape == (60, 3, 32, 32)
    assert concepts.names == tuple(sorted(folder.name for folder in images.iterdir() if folder.is_dir()))
    assert np.bincount(pictures.labels).tolist() == [20, 20, 20]


def test_classes_get_the_texts_of_a_list_and_keep_their_order(tmp_path):
    file = tmp_path / "words.json"
    file.write_text('{"ship": ["ship", "boat"], "cat": [], "bird": ["bird"]}')
    classes = Concepts(("cat", "ship"), (("cat",), ("ship",)))
    assert in_words(classes, file) == Concepts(("cat", "ship"), (("cat",), ("ship", "boat")))
    with pytest.raises(PureError, match=r"words\.json has no texts for dog\."):
        in_words(Concepts(("dog",), (("dog",),)), file)


def test_words_for_cifar_are_of_its_ten_classes_and_no_word_is_of_two():
    concepts, notes = read_concepts(CIFAR_WORDS)
    said = [text for texts in concepts.texts for text in texts]
    assert len(concepts) == 10 and notes == []
    assert len(said) == len(set(said)) and set(concepts.names) <= set(said)


def test_what_is_trained_for_cifar_embeds_the_same_in_pure(images, tmp_path):
    pictures, concepts = class_folders(images)
    clip = fresh(CIFAR)
    train(clip, Pictures(pictures.pixels.repeat(2, 1, 1, 1), pictures.labels.repeat(2)), concepts, epochs=1)
    weights = tmp_path / "cifar.safetensors"
    save_file({name: value.contiguous() for name, value in clip.model.state_dict().items()}, weights)

    spec = parse_embedder(f"clip-image:{CIFAR}", weights=weights)
    embedder, tower = load_embedder(spec, torch.device("cpu"), 32), load_text_tower(spec, torch.device("cpu"))
    arrays = (pictures.pixels[:3] * 255).round().byte().permute(0, 2, 3, 1).numpy()
    with torch.no_grad():
        seen, said = clip.images(pictures.pixels[:3]), clip.texts(concepts.names)
    found = embedder.embed(torch.stack([embedder.preprocess(array) for array in arrays]))
    np.testing.assert_allclose(unit(found.numpy()), seen, atol=0.02)  # images are enlarged by Pillow, in whole numbers
    np.testing.assert_allclose(concept_vectors(tower, [(name,) for name in concepts.names]), said, atol=1e-5)
