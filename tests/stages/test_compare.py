"""compare finds the units of one network in another: known answers on networks made for it."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pure_cli import PureError, Workspace
from pure_cli.artifacts import read_comparison, read_comparisons

FEATURES, EACH, REFERENCES = 6, 30, 20
ORDER = [3, 0, 5, 1, 4, 2]
HOW = {"workers": 0, "device": "cpu"}
RED, BLUE = 0, 2


class Rows(nn.Module):
    """Lower channel f sees row f of the image; upper neurons are sums of these by `weight` (C, 6)."""

    def __init__(self, weight, colour=RED):
        super().__init__()
        self.lower, self.upper = nn.Conv2d(3, FEATURES, 8, bias=False), nn.Conv2d(FEATURES, len(weight), 1, bias=False)
        self.lower.weight.data = torch.zeros(FEATURES, 3, 8, 8)
        for feature in range(FEATURES):
            self.lower.weight.data[feature, colour, feature] = 1 / 8
        self.upper.weight.data = torch.as_tensor(weight, dtype=torch.float32)[:, :, None, None]

    def forward(self, images):
        return torch.relu(self.upper(torch.relu(self.lower(images)))).flatten(1)


def paint(folder, seed=0, classes=False):
    """Images in which one row is red, more or less, and all rows are more or less blue."""
    random = np.random.default_rng(seed)
    for feature in range(FEATURES):
        for number, bright in enumerate(random.permutation(np.linspace(20, 250, EACH)).astype(int)):
            pixels = np.zeros((8, 8, 3), np.uint8)
            pixels[feature, :, RED] = bright
            pixels[..., BLUE] = random.integers(0, 256, (8, 1))
            place = folder / (f"class{feature}" if classes else "") / f"{feature}-{number:02d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place)
    return folder


def to_tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def study_of(folder, data, model, **collect):
    study = Workspace(folder, model=model, transform=to_tensor)
    study.collect(data=data, layer="upper", references=REFERENCES, **collect, **HOW)
    study.attribute(lower_layer="lower", **HOW)
    study.cluster(k=[2])
    return study


IDENTITY = np.eye(FEATURES)
SUM = np.array([IDENTITY[0] + IDENTITY[1], *IDENTITY[2:]])


@pytest.fixture(autouse=True)
def figures(request, monkeypatch):
    """Empty files stand for figures, which take longer than all else, but where they are looked at."""
    if "cli" not in request.fixturenames:
        monkeypatch.setattr("pure_cli.stages.comparison.files._draw", lambda comparison, own, file: file.touch())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def data(place):
    return paint(place / "images")


@pytest.fixture(scope="module")
def single(place, data):
    """Six neurons, each of one row."""
    return study_of(place / "single", data, Rows(IDENTITY))


@pytest.fixture(scope="module")
def double(place, data):
    """Neuron 0 is of rows 0 and 1, neurons 1 to 4 of one row each."""
    return study_of(place / "double", data, Rows(SUM))


def tables(outcome):
    return {table["name"]: table["rows"] for table in outcome.details["tables"]}


def matches(outcome, by="images", of="A", kind="neurons", virtual=False):
    rows = [row for row in tables(outcome)["matches"] if (row["by"], row["of"], row["in"]) == (by, of, kind)]
    return {row["unit"]: row for row in rows if ("." in row["unit"]) == virtual}


@pytest.mark.parametrize("sample", [None, 90])
def test_a_workspace_matches_itself(single, sample):
    outcome = single.compare(single, sample=sample, **HOW)
    for by in ("images", "activations"):
        for virtual in (False, True) if by == "images" or sample else (False,):
            kind = "virtual" if virtual else "neurons"
            found = matches(outcome, by, kind=kind, virtual=virtual)
            assert len(found) >= FEATURES
            for unit, row in found.items():
                assert row["similarity"] == pytest.approx(1, abs=1e-5)
                assert (row["best"], row["one to one"], row["matched"]) == (unit, unit, True)
    assert not tables(outcome)["apart"]
    (apart,) = [one for one in outcome.details["tables"] if one["name"] == "apart"]
    assert apart["note"] == ""  # of no rows there is nothing to explain


@pytest.mark.parametrize("sample", [None, 90])
@pytest.mark.parametrize("correlation", ["pearson", "spearman"])
def test_permuted_channels_are_found_exactly(single, place, data, sample, correlation, tmp_path):
    permuted = study_of(tmp_path / "permuted", data, Rows(IDENTITY[ORDER]))
    outcome = single.compare(permuted, sample=sample, correlation=correlation, **HOW)
    for by in ("images", "activations"):
        for of, expected in (("B", ORDER), ("A", np.argsort(ORDER).tolist())):
            found = matches(outcome, by, of)
            for name in ("best", "one to one"):
                assert [found[f"upper/{neuron}"][name] for neuron in range(FEATURES)] == [
                    f"upper/{other}" for other in expected
                ]
            assert all(row["matched"] and row["similarity"] == pytest.approx(1, abs=1e-5) for row in found.values())


@pytest.mark.parametrize(("by", "sample"), [("images", None), ("activations", 180)])
def test_a_sum_of_two_neurons_falls_apart_into_these(single, double, by, sample):
    outcome = single.compare(double, by=by, sample=sample, **HOW)
    rows = tables(outcome)["apart"]
    found = {row["virtual neuron"]: row["match"] for row in rows}
    assert sorted(found) == ["B upper/0.1", "B upper/0.2"], "no other neuron, and none of A"
    assert sorted(found.values()) == ["upper/0", "upper/1"]
    assert all(row["similarity"] > row["limit"] and row["contrast"] > row["by chance"] for row in rows)
    whole = matches(outcome, by, "B")
    for neuron in range(1, 5):
        assert whole[f"upper/{neuron}"]["best"] == f"upper/{neuron + 1}"
        assert whole[f"upper/{neuron}"]["similarity"] == pytest.approx(1, abs=1e-5)
    assert whole["upper/0"]["best"] in ("upper/0", "upper/1") and whole["upper/0"]["similarity"] < 0.9
    one_to_one = {row["one to one"] for row in matches(outcome, by, "A").values()}
    assert None in one_to_one and len(one_to_one) == 6, "six neurons have five partners"


def test_parts_of_virtual_neurons_come_from_assign_where_it_has_all_images(single, double):
    for study in (single, double):
        study.assign(per_quantile=0, quantiles=1, figures=0, **HOW)
    outcome = single.compare(double, by="activations", **HOW)
    stored = {row["virtual neuron"]: row["match"] for row in tables(outcome)["apart"]}
    sampled = single.compare(double, by="activations", sample=10**6, **HOW)
    assert stored == {row["virtual neuron"]: row["match"] for row in tables(sampled)["apart"]} and len(stored) == 2
    np.testing.assert_allclose(
        [row["similarity"] for row in tables(outcome)["matches"]],
        [row["similarity"] for row in tables(sampled)["matches"]],
        atol=0.02,
    )


def test_a_network_that_sees_something_else_matches_no_more_than_by_chance(single, data, tmp_path):
    random = torch.randn(12, FEATURES, generator=torch.Generator().manual_seed(0))
    other = study_of(tmp_path / "other", data, Rows(random, BLUE))
    outcome = single.compare(other, by=["images", "activations"], sample=180, **HOW)
    for row in tables(outcome)["compare"]:
        if row["of"].endswith("neurons") and row["in"].endswith("neurons"):
            assert row["matched"] <= 2
            assert row["best"] < row["chance"] + 0.1
    assert not tables(outcome)["apart"]


def test_what_classes_alone_tell_is_no_match_beyond_them(tmp_path):
    """Each neuron is of one class, and no other neuron has references of it."""
    study = study_of(tmp_path / "w", paint(tmp_path / "images", classes=True), Rows(IDENTITY))
    row = tables(study.compare(study, by="images", units="neurons"))["compare"][0]
    assert (row["matched"], row["beyond classes"]) == (FEATURES, 0)
    assert row["chance"] < 0.3 and row["within classes"] == 1


def test_embeddings_are_compared_where_both_have_the_same(single, double):
    with pytest.raises(PureError, match="have no embeddings by the same embedder"):
        single.compare(double, by="embeddings")
    for study in (single, double):
        study.embed(embedder="pixels", **HOW)
    outcome = single.compare(double, **HOW)
    found = matches(outcome, "embeddings", "B")
    assert found["upper/3"]["best"] == "upper/4" and found["upper/3"]["similarity"] == pytest.approx(1, abs=1e-5)
    with pytest.raises(PureError, match="no clip embeddings in A and B"):
        single.compare(double, by="embeddings", embedder="clip")


def test_images_are_known_by_name_and_content_wherever_they_are(single, data, tmp_path):
    for name in ("all", "some"):
        (tmp_path / name).mkdir()
        moved = shutil.copytree(data, tmp_path / name / "images")
    (moved / "5-03.png").unlink()
    other = study_of(tmp_path / "other", tmp_path / "all", Rows(IDENTITY))
    fewer = study_of(tmp_path / "fewer", tmp_path / "some", Rows(IDENTITY))
    for study, note in (
        (other, ""),
        (fewer, "179 images are common: 99.4% of the 180 of A and 100.0% of the 179 of B"),
    ):
        outcome = single.compare(study, by="images", units="neurons")
        assert any(sentence.startswith(note) for sentence in outcome.notes) if note else not outcome.notes
        assert [row["best"] for row in matches(outcome).values()] == list(matches(outcome))


def test_other_images_are_refused_by_their_names(single, tmp_path):
    random = paint(tmp_path / "random", seed=1)
    other = study_of(tmp_path / "w", random, Rows(IDENTITY))
    with pytest.raises(PureError, match=f"about other images, .*images and {random}: the images that have one name"):
        single.compare(other)
    for file in random.iterdir():
        file.rename(random / f"new-{file.name}")
    other.collect(**HOW)
    other.attribute(**HOW)
    other.cluster(k=[2])
    with pytest.raises(PureError, match="no image has one name"):
        single.compare(other)


def test_few_common_images_are_enough_for_a_sample_alone(single, data, tmp_path):
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for number, file in enumerate(sorted(data.iterdir())):
        if number % 3 == 0:
            shutil.copy(file, fewer)
    other = study_of(tmp_path / "w", fewer, Rows(IDENTITY[ORDER]))
    with pytest.raises(
        PureError, match=r"60 images are common: 33\.3% of the 180 of A.*--by activations with --sample"
    ):
        single.compare(other)
    outcome = single.compare(other, by="activations", sample=50, units="neurons", **HOW)
    assert [row["best"] for row in matches(outcome, "activations", "B").values()]
    found = matches(outcome, "activations", "B")
    assert [found[f"upper/{neuron}"]["best"] for neuron in range(FEATURES)] == [f"upper/{other}" for other in ORDER]


def test_what_is_there_is_up_to_date_until_either_workspace_changes(single, data, tmp_path):
    a, b = (study_of(tmp_path / name, data, Rows(IDENTITY)) for name in "ab")
    first, again = a.compare(b), a.compare(b)
    assert (first.computed, again.computed) == (1, 0)
    assert again.details == first.details
    assert list(read_comparisons(a.store)) and not (b.path / "compare.h5").exists()
    folder = tmp_path / "a" / "compare" / next(iter(read_comparisons(a.store)))
    assert first.details["folders"] == [str(folder)]
    assert sorted(path.name for path in folder.iterdir()) == [
        "activations.png", "apart.csv", "compare.csv", "images.png", "matches.csv",
    ]  # fmt: skip
    (folder / "images.png").unlink()
    assert a.compare(b).computed == 0 and (folder / "images.png").exists()
    b.cluster(k=[2], seed=1)
    assert a.compare(b).computed == 1
    assert a.compare(b, neurons="0-2").computed == 1
    found = read_comparison(a.store, folder.name).similarities["images"]
    assert set(found.unit_a[:, 0].tolist()) == {0, 1, 2} and len(set(found.unit_b[:, 0].tolist())) == FEATURES


def test_units_that_are_not_there_are_told(single, data, tmp_path):
    study = Workspace(tmp_path / "w", model=Rows(IDENTITY), transform=to_tensor)
    study.collect(data=data, layer="upper", references=REFERENCES, **HOW)
    with pytest.raises(PureError, match=f"'upper' has no virtual neurons in {tmp_path}/w. Run `pure cluster -w"):
        single.compare(study, units="virtual")
    with pytest.raises(PureError, match="no activations on the same images"):
        single.compare(study, by="activations")
    outcome = single.compare(study)
    assert {row["by"] for row in tables(outcome)["compare"]} == {"images"}, "neurons by images are all there is"
    with pytest.raises(PureError, match="layer3"):
        single.compare(study, layer="upper", other_layer="layer3")
    with pytest.raises(PureError, match="There is no workspace"):
        single.compare(tmp_path / "nowhere")


def test_the_command_tells_and_writes_what_python_gives(single, double, cli, tmp_path):
    single.compare(double, by="images")
    answer = cli(
        "compare", single.path, double.path, "--by", "images", "--layer", "upper", "-o", tmp_path / "out", "--json"
    )
    assert answer.code == 0, answer.err
    assert [table["name"] for table in answer.json["tables"]] == ["compare", "apart", "matches"]
    rows = list(csv.DictReader((tmp_path / "out" / "matches.csv").open(newline="")))
    assert len(rows) == len(answer.json["tables"][2]["rows"])
    assert {row["unit"] for row in rows if row["of"] == "B"} >= {"upper/0", "upper/0.1", "upper/0.2"}
    with Image.open(tmp_path / "out" / "images.png") as figure:
        assert figure.size[0] == 1400 and len(set(np.asarray(figure).ravel().tolist())) > 100
    shown = cli("compare", single.path, double.path, "--by", "images")
    assert "1 of 1 of B in A by images" in " ".join(shown.out.split())
