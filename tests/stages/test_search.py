"""search finds the units for a word and for images: by a plain loop over all references, and with known answers."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from pure_cli import PureError, Workspace
from pure_cli.artifacts import read_labels
from pure_cli.concepts import read_concepts, read_templates
from pure_cli.demo.images import write_digits
from pure_cli.demo.train_clip import CONFIG, DIGITS
from pure_cli.embedders.spec import parse_embedder
from pure_cli.embedders.texts import concept_vectors, load_text_tower
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.labelling.index import UnitIndex

NAME = "clip-image:demo-digits"
CALM = {"device": "cpu"}
WORKING = {"workers": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    write_digits(folder / "digits", split="held-out")
    study = Workspace(folder / "w")
    study.collect(model="digits", data=folder / "digits", layer=["fc", "layer3"], references=20, **WORKING)
    study.embed(embedder=NAME, crop="none", **WORKING)
    study.attribute(layer="layer3", lower_layer="layer2", neurons="0-3", **WORKING)
    study.cluster(layer="layer3", k=2)
    return study


@pytest.fixture
def study(made, tmp_path):
    shutil.copytree(made.path, tmp_path / "w")
    return Workspace(tmp_path / "w")


def rows_of(outcome):
    return outcome.details["tables"][0]["rows"]


def test_the_words_of_classes_find_their_neurons(study):
    place = []
    for digit, word in enumerate(DIGITS):
        units = [row["unit"] for row in rows_of(study.search(word, layer="fc", count=10, **CALM))]
        place.append(units.index(f"fc/{digit}"))
    assert place.count(0) >= 9, place  # by chance, one


def test_scores_are_cosines_with_mean_embeddings_by_a_plain_loop(study):
    rows = rows_of(study.search("three", count=1000, **CALM))
    tower = load_text_tower(parse_embedder(NAME), torch.device("cpu"))
    (word,) = concept_vectors(tower, [["three"]], read_templates(), less_template=True)
    expected = {}
    with h5py.File(study.path / "embed.h5") as embedded, h5py.File(study.path / "cluster.h5") as clustered:
        for layer in ("fc", "layer3"):
            for neuron, points in enumerate(embedded[f"layers/{layer}/{NAME}+none/embedding"][:]):
                expected[f"{layer}/{neuron}"] = points.mean(axis=0)
                (clusters,) = clustered["layers/layer3"].values()
                if layer == "layer3" and neuron < 4:
                    label = clusters["k2/label"][neuron]
                    for part in range(label.max() + 1):
                        expected[f"layer3/{neuron}.{part + 1}"] = points[label == part].mean(axis=0)
    cosine = {unit: mean @ word / np.linalg.norm(mean) for unit, mean in expected.items()}
    found = {row["unit"]: row["score"] for row in rows}
    assert found.keys() == cosine.keys()
    assert found == pytest.approx(cosine, abs=1e-5)
    assert [row["score"] for row in rows] == sorted(found.values(), reverse=True)


def test_images_find_the_neuron_of_their_class(study):
    files = sorted(Path(study.info()["origin"]["data"]).glob("7/*.png"))
    outcome = study.search(image=files[:5], layer="fc", count=2, **CALM)
    assert rows_of(outcome)[0]["unit"] == "fc/7" and "other words" not in outcome.details["tables"][0]["verdict"]


def test_the_index_is_kept_and_made_again_when_virtual_neurons_change(study):
    study.search("three", count=2, **CALM)
    kept = sorted((study.path / "data-index").glob("units-*.npz"))
    study.search("nine", count=2, **CALM)
    assert sorted((study.path / "data-index").glob("units-*.npz")) == kept
    study.cluster(layer="layer3", k=3)
    study.choose(layer="layer3", k=3)
    rows = rows_of(study.search("three", layer="layer3", count=100, **CALM))
    assert any(row["unit"].endswith(".3") for row in rows)
    after = sorted((study.path / "data-index").glob("units-*.npz"))
    assert len(after) == len(kept) and after != kept


def test_the_sheet_shows_references(study):
    outcome = study.search("three", layer="fc", count=2, out=study.path / "three.png", **CALM)
    (file,) = outcome.details["files"]
    picture = imread(file)[..., :3]
    assert picture.shape[1] == 1400  # 7 inches
    dark = (picture < 0.1).all(axis=-1).mean()  # the ground of digits
    assert dark > 0.1


def test_labels_stand_beside_the_units(study):
    study.label(layer="layer3", concepts="classes", neurons="0-3", sample=200, **WORKING)
    rows = rows_of(study.search("three", layer="layer3", count=100, **CALM))
    named = {row["unit"]: row["label"] for row in rows}
    labels = read_labels(study.store)["layer3"]
    assert named["layer3/2.1"] == labels.text(2, 0) != "" and named["layer3/9"] == ""


def test_a_text_is_held_against_the_best_units_of_other_words(study):
    table = study.search("three", layer="fc", count=1, **CALM).details["tables"][0]
    first = table["rows"][0]["score"]
    index = UnitIndex(np.zeros((2, 2), np.int64), np.eye(2, dtype=np.float32))
    np.testing.assert_allclose(index.best(np.array([[0.6, 1.0], [0.8, 0.0]])), [0.8, 1.0])
    sources = Sources(study.store)
    tower = load_text_tower(parse_embedder(NAME), torch.device("cpu"))
    words = concept_vectors(tower, read_concepts("imagenet")[0].texts, read_templates(), less_template=True)
    means = np.stack([rows.mean(axis=0) for rows in sources.features_of("fc", f"{NAME}+none").rows(np.arange(10))])
    best = (words @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).max(axis=1)
    assert f"Of 1,000 other words (imagenet), {(best > first).sum():,} find a unit" in table["verdict"]


def test_layers_by_other_weights_are_left_out_and_told(study, tmp_path):
    own = tmp_path / "own.json"
    own.write_text(CONFIG.read_text().replace("letters.txt.gz", str(CONFIG.parent / "letters.txt.gz")))
    study.embed(embedder=f"clip-image:{own}", embedder_weights="none", crop="none", layer="layer3", force=True,
                neurons="all", **WORKING)  # fmt: skip
    outcome = study.search("three", embedder="clip-image:own.json+none", **CALM)
    assert outcome.layers == ["layer3"] or any("is left out" in note for note in outcome.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Say what is searched for"),
        ({"text": "  "}, "Say what is searched for"),
        ({"image": "nothing.png"}, r"nothing\.png cannot be read as an image"),
        ({"text": "three", "embedder": "pixels"}, "There are no embeddings that know words"),
        ({"text": "three", "layer": "layer9"}, "Unknown layer"),
        ({"text": "three", "layer": "fc", "units": "virtual"}, "has no virtual neurons"),
        ({"text": "three", "out": "sheet.doc"}, "has to end in"),
    ],
)
def test_what_cannot_be_done_is_said(study, options, message):
    with pytest.raises(PureError, match=message):
        study.search(**options, **CALM)


def test_several_words_on_the_command_line_are_one_text(study, cli):
    answer = cli("search", "-w", study.path, "number", "three", "--layer", "fc", "-n", 1, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["tables"][0]["title"] == "number three: 10 units looked at"
