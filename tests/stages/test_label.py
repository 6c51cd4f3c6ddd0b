"""label names units: class words for class neurons, two names for units made of two classes, none where none fits."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score
from torch import nn

from pure_cli import PureError, Workspace, config
from pure_cli.artifacts import read_labels
from pure_cli.artifacts.labels import BY_CLASSES, BY_IMAGES, CHANCE, GIVEN, NO_LABEL, RARE, UNJUDGED
from pure_cli.demo.images import write_digits
from pure_cli.demo.network import WEIGHTS
from pure_cli.demo.train_clip import DIGITS
from pure_cli.models.load import load_model
from pure_cli.models.spec import parse_model
from pure_cli.stages.cluster import tables
from pure_cli.views.virtual_neurons import as_table

NAME = "clip-image:demo-digits"
CALM = {"workers": 0, "device": "cpu"}
PAIRS = [(0, 1), (2, 7), (3, 6), (4, 8), (5, 9)]


class Unions(nn.Module):
    """The digits' network, and units that fire for either of two classes."""

    def __init__(self):
        super().__init__()
        network = load_model(parse_model("pure:digits"), WEIGHTS)
        self.below, self.fc, self.relu = nn.Sequential(*list(network.children())[:-1]), network.fc, nn.ReLU()
        self.either = nn.Linear(10, len(PAIRS), bias=False)
        self.either.weight.data = torch.zeros(len(PAIRS), 10)
        for row, pair in enumerate(PAIRS):
            self.either.weight.data[row, list(pair)] = 1

    def forward(self, images):
        return self.either(self.relu(self.fc(self.below(2 * images - 1)) - 4))


def to_input(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The class neurons of the digits' network, and unions of two of them."""
    folder = tmp_path_factory.mktemp("label")
    write_digits(folder / "digits", split="all")
    (folder / "words.json").write_text(json.dumps({word: [word, str(digit)] for digit, word in enumerate(DIGITS)}))
    study = Workspace(folder / "w", model=Unions().eval(), transform=to_input)
    study.collect(data=folder / "digits", layer=["fc", "either"], references=60, **CALM)
    study.embed(embedder=NAME, crop="none", **CALM)
    return study


@pytest.fixture
def study(made, tmp_path):
    shutil.copytree(made.path, tmp_path / "w")
    return Workspace(tmp_path / "w", model=Unions().eval(), transform=to_input)


@pytest.fixture
def concepts(made):
    return made.path.parent / "words.json"


@pytest.mark.parametrize("by", ["similarity", "soft-wpmi"])
def test_class_neurons_are_called_by_their_classes(study, concepts, by):
    outcome = study.label(concepts=concepts, layer="fc", by=by, **CALM)
    found = read_labels(study.store)["fc"]
    assert found.unit.tolist() == [[digit, -1] for digit in range(10)]
    assert [found.text(digit) for digit in range(10)] == list(DIGITS)
    assert (found.verdict == GIVEN).all() and (found.present == BY_CLASSES).all()
    assert (found.auprc[:, 0] > 0.9).all() and (found.auprc[:, 0] > found.auprc[:, 1] + 0.5).all()
    (table,) = outcome.details["tables"]
    assert "10 have it as label and 10 among the first 5" in table["verdict"]


def test_units_of_two_classes_have_two_names(study, concepts):
    layer = "either"
    study.label(concepts=concepts, layer=layer, **CALM)
    found = read_labels(study.store)[layer]
    for unit, pair in enumerate(PAIRS):
        assert set(found.text(unit).split(" + ")) == {DIGITS[digit] for digit in pair}, found.text(unit)


def test_virtual_neurons_of_a_unit_of_two_classes_have_one_name_each(study, concepts):
    layer = "either"
    study.attribute(layer=layer, lower_layer="relu", **CALM)
    study.cluster(layer=layer, k=2)
    study.label(concepts=concepts, layer=layer, neurons="0-2", **CALM)
    found = read_labels(study.store)[layer]
    right = [{found.text(unit, 0), found.text(unit, 1)} == {DIGITS[d] for d in PAIRS[unit]} for unit in range(3)]
    assert all(right)
    (table,) = tables(study.store, config.make("cluster", {"layer": layer, "k": 2}))
    rows = {row["neuron"]: row for row in table["neurons"]}
    assert [one["label"] for one in rows[1]["virtual_neurons"]] == [found.text(1, 0), found.text(1, 1)]
    assert study[f"{layer}/1.1"].label == found.text(1, 0) and study[f"{layer}/4.1"].label == ""
    assert rows[1]["label"] == found.text(1) and rows[4]["label"] == ""
    assert found.text(1, 0) in " ".join(row["labels"] for row in as_table(table)["rows"])


def test_quality_is_that_of_a_plain_loop_over_the_judging_half(study, concepts):
    study.label(concepts=concepts, layer="fc", neurons="3", sample=400, **CALM)
    found = read_labels(study.store)["fc"]
    values, classes = scores_of(study, 3)
    index = np.unique(np.linspace(0, len(values) - 1, 400).round().astype(int))
    judges = np.sort(np.random.default_rng(0).permutation(400)[:200])
    expected = average_precision_score(classes[index][judges] == 3, values[index][judges])
    assert found.auprc[0, 0] == pytest.approx(expected, abs=1e-5)
    assert found.chance[0, 0] == pytest.approx((classes[index][judges] == 3).mean(), abs=1e-6)


def scores_of(study, neuron):
    """Of all images, by plain forward passes; and their classes."""
    files = sorted(Path(study.info()["origin"]["data"]).glob("*/*.png"))
    model = Unions().eval()
    with torch.no_grad():
        inputs = torch.stack([to_input(Image.open(file).convert("RGB")) for file in files])
        return model.fc(model.below(2 * inputs - 1))[:, neuron].numpy(), np.array([int(f.parent.name) for f in files])


def test_what_fits_nothing_is_no_label(study, tmp_path):
    """Words that none of the images show; presence by vectors of images says nothing of the unit."""
    listed = tmp_path / "other.txt"
    listed.write_text("\n".join(["sofa", "harbour", "tractor", "violin", "zebra", "comet"]))
    outcome = study.label(concepts=listed, layer="fc", sample=60, **CALM)
    found = read_labels(study.store)["fc"]
    assert (found.present == BY_IMAGES).all()
    named = [found.text(digit) for digit in range(10)]
    assert all(text in (NO_LABEL, *(f"{name} ?" for name in found.names)) or found.verdict[i] == GIVEN
               for i, text in enumerate(named))  # fmt: skip
    assert any("probability among the 6 concepts" in note for note in outcome.notes)


def test_labels_are_judged_on_images_that_had_no_part_in_the_choice(study, concepts, monkeypatch):
    left_out = []
    from pure_cli.stages.labelling import choosing

    usual = choosing.mean_embeddings

    def watched(units, source, without=None):
        left_out.append((units.image, without))
        return usual(units, source, without)

    monkeypatch.setattr(choosing, "mean_embeddings", watched)
    study.label(concepts=concepts, layer="fc", sample=1797, **CALM)
    ((references, without),) = left_out
    assert len(without) == 1797 // 2 and 0.3 < np.isin(references, without).mean() < 0.7


def test_nothing_is_judged_without_images_and_that_is_said(study, concepts):
    outcome = study.label(concepts=concepts, layer="fc", sample=0, **CALM)
    found = read_labels(study.store)["fc"]
    assert (found.verdict == UNJUDGED).all() and found.text(4) == "four ?"
    assert "nobody judged them" in outcome.details["tables"][0]["verdict"]


def test_a_label_in_too_few_images_is_not_judged(study, concepts):
    study.label(concepts=concepts, layer="fc", sample=24, **CALM)
    found = read_labels(study.store)["fc"]
    assert (found.verdict == RARE).any()
    rare = int(np.flatnonzero(found.verdict == RARE)[0])
    assert found.text(rare).endswith("?") or found.text(rare) == NO_LABEL


def test_what_is_there_is_not_computed_again_and_more_neurons_are_added(study, concepts):
    assert study.label(concepts=concepts, layer="fc", neurons="1,2", sample=100, **CALM).computed == 2
    assert study.label(concepts=concepts, layer="fc", neurons="2", sample=100, **CALM).up_to_date
    assert study.label(concepts=concepts, layer="fc", neurons="0-2", sample=100, **CALM).computed == 1
    apart = read_labels(study.store)["fc"]
    assert apart.unit[:, 0].tolist() == [0, 1, 2]
    study.label(concepts=concepts, layer="fc", neurons="0-2", sample=100, force=True, **CALM)
    again = read_labels(study.store)["fc"]
    np.testing.assert_array_equal(apart.score, again.score)
    assert [apart.text(i) for i in range(3)] == [again.text(i) for i in range(3)]
    outcome = study.label(concepts="classes", layer="fc", sample=100, **CALM)
    assert any("replaced the labels of 'fc'" in note for note in outcome.notes)


def test_chance_is_no_label():
    """A verdict of chance shows no words, whatever fits best."""
    from pure_cli.artifacts import Labels
    from pure_cli.provenance import Provenance

    one = np.zeros((1, 1), np.float32)
    labels = Labels(
        np.array([[5, -1]]), np.array([[0]]), one, np.ones((1, 1), np.int8), one, one, one, one, one[:, 0],
        np.array([[0]]), np.array([CHANCE], np.int8), ["dog"], Provenance({}, {}),
    )  # fmt: skip
    assert labels.text(5) == NO_LABEL and labels.text(6) == ""


def test_the_file_is_read_with_h5py_alone(study, concepts):
    study.label(concepts=concepts, layer="fc", sample=100, **CALM)
    with h5py.File(study.path / "labels.h5") as file:
        group = file["layers/fc"]
        names = group["names"].asstr()[:]
        assert names[group["concept"][7, 0]] == "seven"


def test_info_tells_of_labels_and_when_they_are_stale(study, concepts):
    study.label(concepts=concepts, layer="fc", sample=100, **CALM)
    (result,) = (one for one in study.info()["results"] if one["stage"] == "label")
    assert result["what"].startswith("10 units by similarity, clip-image:demo-digits+none") and not result["stale"]
    study.collect(references=30, layer="fc", **CALM)
    (result,) = (one for one in study.info()["results"] if one["stage"] == "label")
    assert result["stale"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "fc", "concepts": "no-such-list"}, "Unknown list of concepts 'no-such-list'"),
        ({"layer": "fc", "embedder": "clip"}, r"no layer|clip"),
        ({"layer": "fc", "units": "virtual"}, "has no virtual neurons"),
        ({"layer": "fc", "by": "soft-wpmi", "sample": 0}, "Leave --sample 0 out"),
        ({"layer": "fc", "template": "no gap"}, "has no {}"),
        ({"layer": "layer9"}, "Unknown layer"),
    ],
)
def test_what_cannot_be_done_is_said(study, options, message):
    with pytest.raises(PureError, match=message):
        study.label(**{"concepts": "classes", **options}, **CALM)


def test_embeddings_without_words_are_refused_with_the_command(tmp_path, study):
    fresh = Workspace(tmp_path / "fresh")
    fresh.collect(model="digits", data=study.info()["origin"]["data"], references=5, limit=50, **CALM)
    with pytest.raises(PureError, match="pure embed --embedder clip-image"):
        fresh.label(**CALM)
