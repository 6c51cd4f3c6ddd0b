"""audit finds the virtual neurons that drive a class, by networks of which that is known."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from test_assign import to_tensor
from torch import nn

from pure_cli import PureError, Workspace
from pure_cli.artifacts import read_audits
from pure_cli.stages.auditing import measure
from pure_cli.stages.auditing.cards import audits

CHANNELS = {"red": 0, "green": 1, "blue": 2}
EACH = 30
CALM = {"workers": 0, "device": "cpu"}
HOW = {"sample": 20, "count": 4, **CALM}


class Square(nn.Module):
    """Neuron 0 fires for red or blue, neuron 1 for green, neuron 2 for blue.

    The outputs are for the classes blue, green and red: 2 · neuron 2, neuron 1, neuron 0. So red images are told by the
    red part of neuron 0 alone, and its blue part tells nothing.
    """

    def __init__(self):
        super().__init__()
        self.lower, self.upper = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False)
        self.head = nn.Linear(3, 3, bias=False)
        self.lower.weight.data = torch.eye(3)[:, :, None, None]
        self.upper.weight.data = torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 1]])[:, :, None, None]
        self.head.weight.data = torch.tensor([[0.0, 0, 2], [0, 1, 0], [1, 0, 0]])

    def forward(self, images):
        return self.head(torch.relu(self.upper(torch.relu(self.lower(images)))).mean(dim=(-1, -2)))


def paint(folder, names=CHANNELS):
    """Images of one colour, from faint to bright, in a folder for each colour."""
    for name, channel in names.items():
        (folder / name).mkdir(parents=True)
        for number, bright in enumerate(np.linspace(100, 250, EACH).astype(int)):
            pixels = np.zeros((8, 8, 3), np.uint8)
            pixels[..., channel] = bright
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


def study_of(folder, data, model=None, clusters=2):
    study = Workspace(folder / "w", model=model or Square(), transform=to_tensor)
    study.collect(data=data, layer="upper", references=40, **CALM)
    study.attribute(lower_layer="lower", **CALM)
    study.cluster(k=[clusters])
    return study


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    study_of(folder, paint(folder / "data"))
    return folder


@pytest.fixture
def study(made, tmp_path):
    """A workspace of `Square`, to change."""
    shutil.copytree(made / "w", tmp_path / "w")
    return Workspace(tmp_path / "w", model=Square(), transform=to_tensor)


def part_of(study, neuron, colour):
    """The address of the virtual neuron that the references of a colour belong to."""
    found = [one for one in study["upper", neuron] if all(path.startswith(colour) for path in one.paths)]
    return max(found, key=lambda one: len(one.images)).address


HALF = np.linspace(0, EACH - 1, 20).round().astype(int)[1::2]  # of 20 images of a class, those that measure


def brightness(images):
    return np.linspace(100, 250, EACH).astype(int)[images] / 255


def test_of_a_neuron_with_two_meanings_the_one_that_feeds_the_class_drives_it(study):
    (card,) = study.audit("red", **HOW).details["audits"]
    (driver,) = card["drivers"]
    assert driver["address"] == part_of(study, 0, "red")
    expected = 2 / 3 * brightness(HALF)  # its output falls by all of it, and the mean of three by a third of that
    assert driver["effect"] == pytest.approx(expected.mean(), rel=1e-5)
    assert driver["error"] == pytest.approx(expected.std(ddof=1) / np.sqrt(10), rel=1e-5)
    assert driver["silenced"] == {"own": [1.0, 0.0], "others": [1.0, 1.0]}
    assert (driver["share"], driver["own"], driver["inside"]) == pytest.approx((1, 1, 1), rel=1e-6)
    assert driver["classes"] == [["red", 20, 3.0]]
    assert (card["class"], card["number"], card["accuracy"], card["images"]) == ("red", 2, 1.0, 10)
    assert not card["elsewhere"] and not card["outliers"]


def test_what_is_silenced_is_what_edit_silences(study):
    study.audit("red", **HOW)
    audit = read_audits(study.store)[2]
    units = [*audit.unit.tolist(), *audit.random.tolist()]
    effects = [*audit.effect.tolist(), *audit.random_effect.tolist()]
    folder = f"{study.info()['origin']['data']}/red"
    images = torch.stack([to_tensor(Image.open(f"{folder}/{number:02d}.png")) for number in HALF])
    before = Square()(images)
    for (_, neuron, part), effect in zip(units, effects, strict=True):
        with study.edit(silence=[f"upper/{neuron}.{part + 1}"], device="cpu") as model, torch.no_grad():
            fall = before - model(images)
        expected = (fall[:, 2] - fall.mean(dim=1)).mean()
        assert effect == pytest.approx(float(expected), abs=1e-6)


def test_all_classes_at_once_are_what_each_is_alone(study, made, tmp_path):
    together = study.audit("all", **HOW)
    assert [card["class"] for card in together.details["audits"]] == ["blue", "green", "red"]
    for place, name in enumerate(("blue", "green", "red")):
        shutil.copytree(made / "w", tmp_path / name)
        alone = Workspace(tmp_path / name, model=Square(), transform=to_tensor).audit(name, **HOW)
        assert alone.details["audits"] == [together.details["audits"][place]]


def test_neurons_are_looked_at_until_no_other_can_be_among_the_first(tmp_path, monkeypatch):
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.lower, self.upper = nn.Conv2d(3, 6, 1, bias=False), nn.Conv2d(6, 40, 1, bias=False)
            self.head = nn.Linear(40, 3)

        def forward(self, images):
            return self.head(torch.relu(self.upper(torch.relu(self.lower(images)))).mean(dim=(-1, -2)))

    study = study_of(tmp_path, paint(tmp_path / "data"), Wide())
    how = {**HOW, "count": 3}

    def first(at_once):
        looked = []
        shares = measure.Auditor._shares
        monkeypatch.setattr(measure, "NEURONS", at_once)
        monkeypatch.setattr(
            measure.Auditor,
            "_shares",
            lambda self, images, keys: looked.append(len(keys)) or shares(self, images, keys),
        )
        study.audit("blue", force=True, **how)
        monkeypatch.undo()
        audit = read_audits(study.store)[0]
        return sorted(map(tuple, audit.unit.tolist())), sorted(audit.first_order.tolist()), sum(looked)

    every, one_by_one = first(1000), first(1)
    assert every[0] == one_by_one[0]
    np.testing.assert_allclose(every[1], one_by_one[1], rtol=1e-5)
    assert one_by_one[2] < every[2]


def test_drivers_that_respond_to_other_classes_are_told(tmp_path):
    class Spurious(Square):
        """Neuron 0 fires twice as much for red as for blue, and drives both."""

        def __init__(self):
            super().__init__()
            self.upper.weight.data[0, 0] = 2
            self.head.weight.data = torch.tensor([[4.0, 0, 0], [0, 1, 0], [5, 0, -9]])

    study = study_of(tmp_path, paint(tmp_path / "data"), Spurious(), clusters=1)
    outcome = study.audit(["blue", "red"], **HOW)
    blue, red = outcome.details["audits"]
    assert [one["address"] for one in blue["drivers"]] == ["upper/2.1", "upper/0.1"]
    first, second = (one["effect"] / brightness(HALF).mean() for one in blue["drivers"])
    assert first == pytest.approx(3, rel=1e-5), "it holds red down by nine, and the mean of three by a third of that"
    assert second == pytest.approx(4 - (4 + 5) / 3, rel=1e-5)
    paths = study["upper/0.1"].paths
    own = sum(path.startswith("blue") for path in paths) / len(paths)
    assert 0 < own < 0.5
    (told,) = blue["elsewhere"]
    assert told["own"] == own and told["classes"][0][0] == "red" and told["effect"] == blue["drivers"][1]["effect"]
    assert "1 driver responds most to other classes (upper/0.1)" in outcome.details["tables"][0]["verdict"]
    assert red["drivers"][0]["address"] == "upper/0.1" and not red["elsewhere"]
    assert red["drivers"][0]["inside"] == pytest.approx(2 / 3, abs=0.03), "on other images of red than all"


def test_drivers_are_silenced_together_too(tmp_path):
    class Twice(Square):
        """Red is told by neurons 0 and 1, one of which is enough."""

        def __init__(self):
            super().__init__()
            self.upper.weight.data = torch.tensor([[3.0, 0, 0], [2, 0, 0], [0, 1, 1]])[:, :, None, None]
            self.head.weight.data = torch.tensor([[0.0, 0, 1], [0, 0, 2], [1, 1, 0]])

    study = study_of(tmp_path, paint(tmp_path / "data"), Twice(), clusters=1)
    (card,) = study.audit("red", **{**HOW, "count": 2}).details["audits"]
    assert [one["address"] for one in card["drivers"]] == ["upper/0.1", "upper/1.1"]
    assert [one["silenced"]["own"] for one in card["drivers"]] == [[1.0, 1.0], [1.0, 1.0]]
    assert [(one["count"], one["own"], one["others"]) for one in card["together"]] == [(1, 1.0, 0.5), (2, 0.0, 0.5)]


def test_a_wrongly_labelled_reference_is_an_outlier(tmp_path):
    data = paint(tmp_path / "data")
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 1] = 240
    Image.fromarray(pixels).save(data / "red" / "green.png")
    (card,) = study_of(tmp_path, data).audit("green", **HOW).details["audits"]
    (outlier,) = card["outliers"]
    assert outlier["path"] == "red/green.png" and outlier["class"] == "red"
    assert outlier["why"] == f"{EACH} of the {EACH + 1} references are of the class green."
    study = Workspace(tmp_path / "w", model=Square(), transform=to_tensor)
    (virtual,) = [one for one in study["upper", 1] if one.address == outlier["address"]]
    assert virtual.paths[outlier["slot"]] == "red/green.png"


def test_up_to_date_until_options_or_virtual_neurons_change(study):
    assert study.audit("red", **HOW).computed == 1
    assert study.audit("red", **HOW).up_to_date
    assert study.audit(["red", "green"], **HOW).computed == 1
    (kept, replaced) = read_audits(study.store).values()
    outcome = study.audit("red", **{**HOW, "count": 2})
    assert outcome.computed == 1 and any("This replaced audits of 'red'" in note for note in outcome.notes)
    assert read_audits(study.store)[1].provenance == kept.provenance
    assert read_audits(study.store)[2].provenance != replaced.provenance
    assert [one["class"] for one in audits(study.store)] == ["green", "red"]
    (result,) = [one for one in study.info()["results"] if one["stage"] == "audit"]
    assert result["what"].startswith("2 classes (green, red) on ") and result["status"] == "up to date"
    study.cluster(k=[2], seed=1)
    assert audits(study.store) == []
    (result,) = [one for one in study.info()["results"] if one["stage"] == "audit"]
    assert result["status"] == "stale: its virtual neurons changed"


def test_audits_of_other_virtual_neurons_than_addresses_mean_are_not_current(study):
    study.audit("red", **HOW)
    study.cluster(k=[3])
    assert len(audits(study.store)) == 1
    study.choose(k=3)
    assert audits(study.store) == []
    (result,) = [one for one in study.info()["results"] if one["stage"] == "audit"]
    assert "; addresses mean pure features with k = 3 now" in result["what"]


def test_what_a_killed_audit_finished_stays(study, monkeypatch):
    first_order = measure.Auditor.first_order
    calls = []

    def killed(self, images):
        calls.append(images)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return first_order(self, images)

    monkeypatch.setattr(measure.Auditor, "first_order", killed)
    with pytest.raises(KeyboardInterrupt):
        study.audit("all", **HOW)
    monkeypatch.undo()
    assert list(read_audits(study.store)) == [0]
    assert study.audit("all", **HOW).computed == 2


def test_some_virtual_neurons_alone(study):
    red, blue = part_of(study, 0, "red"), part_of(study, 0, "blue")
    (card,) = study.audit("red", neurons=blue, **HOW).details["audits"]
    assert (
        card["drivers"] == []
        and "None of these" in study.audit("red", neurons=blue, **HOW).details["tables"][0]["verdict"]
    )
    (card,) = study.audit("red", neurons=red, **HOW).details["audits"]
    assert [one["address"] for one in card["drivers"]] == [red]


def test_other_images(study, tmp_path):
    new = paint(tmp_path / "new")
    outcome = study.audit("red", data=new, **HOW)
    assert "from new" in outcome.details["audits"][0]["sentences"][0]
    one = study.audit("red", data=new, limit=3, **HOW)
    assert any("few images: 1 image chose" in note for note in one.notes)
    assert one.details["audits"][0]["drivers"][0]["error"] is None


@pytest.mark.parametrize(
    ("classes", "more", "error"),
    [
        ("rde", {}, r"Unknown class of the data 'rde'\. Did you mean 'red'\?"),
        (None, {}, "Name the classes to audit, or all: there are 3, as blue, green, red."),
        ("red", {"limit": 1}, "No image in use is of the class 'red'"),
        ("red", {"layer": "lower"}, "Unknown layer"),
        ("red", {"neurons": "0.7"}, "no virtual neuron 0.7"),
    ],
)
def test_errors(study, classes, more, error):
    with pytest.raises(PureError, match=error):
        study.audit(classes, **{**HOW, **more})


def test_classes_that_are_not_the_outputs(study, tmp_path):
    paint(tmp_path / "four", {**CHANNELS, "violet": 2})
    with pytest.raises(PureError, match="labels up to 3, and the model has 3 outputs"):
        study.audit("red", data=tmp_path / "four", **HOW)
    paint(tmp_path / "flat", {"red": 0})
    with pytest.raises(PureError, match=r"cannot be taken for classes of .*: no image has a label"):
        study.audit("red", data=tmp_path / "flat" / "red", **HOW)
    swapped = paint(tmp_path / "swapped", {"a": 1, "b": 2, "c": 0})
    shutil.move(swapped / "c", swapped / "a0")
    outcome = study.audit("b", data=swapped, **HOW)
    assert any("hardly more than guessing" in note for note in outcome.notes)


def test_no_virtual_neurons_and_stale_ones(made, study, tmp_path):
    bare = Workspace(tmp_path / "bare", model=Square(), transform=to_tensor)
    bare.collect(data=made / "data", layer="upper", references=40, **CALM)
    with pytest.raises(PureError, match="no virtual neurons"):
        bare.audit("red", **HOW)
    study.collect(references=30, **CALM)
    with pytest.raises(PureError, match="stale"):
        study.audit("red", **HOW)


def test_directions_are_refused(made, tmp_path):
    shutil.copytree(made / "w", tmp_path / "w")
    study = Workspace(tmp_path / "w", model=Square(), transform=to_tensor)
    axes = tmp_path / "axes.npy"
    np.save(axes, np.eye(2, 3, dtype=np.float32))
    study.collect(layer="upper", directions=axes, **CALM)
    layer = next(one["layer"] for one in study.info()["results"] if "@" in one["layer"])
    study.attribute(layer=layer, lower_layer="lower", **CALM)
    study.cluster(layer=layer, k=[2])
    with pytest.raises(PureError, match="are directions, which cannot be silenced one by one"):
        study.audit("red", layer=layer, **HOW)
    assert study.audit("red", **HOW).layers == ["upper"]


def test_the_command_prints_a_table_and_json(study, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr("pure_cli.api.Workspace._require_same_model", lambda self: None)
    study.audit("red", **HOW)
    answer = cli("audit", "red", "-w", study.path, "--sample", 20, "-n", 4, "--device", "cpu", "--workers", 0)
    assert answer.code == 0, answer.err
    assert "drives the class red most" in answer.out and "up to date" in answer.out
    answer = cli("audit", "red", "-w", study.path, "--sample", 20, "-n", 4, "--json")
    assert answer.json["audits"][0]["drivers"][0]["address"] == part_of(study, 0, "red")


def test_hostile_names_of_classes(tmp_path):
    names = {"<img onerror=x>, a": 0, "all": 1, "b[red]/..": 2}
    names = {name.replace("/", "-"): channel for name, channel in names.items()}
    study = study_of(tmp_path, paint(tmp_path / "data", names))
    (card,) = study.audit("<img onerror=x>, a", **HOW).details["audits"]
    assert card["class"] == "<img onerror=x>, a"
    assert [one["class"] for one in study.audit("all", **HOW).details["audits"]] == ["all"]
    assert [one["class"] for one in audits(study.store)] == sorted(["<img onerror=x>, a", "all"])
