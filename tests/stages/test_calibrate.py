"""Units with known meanings on the network that comes with the package, from the images to a calibrated recipe."""

import json

import h5py
import numpy as np
import pytest
from materials import require_fit, require_numbers
from processes import contents

from pure_cli import Workspace
from pure_cli.artifacts import read_calibrations
from pure_cli.stages.calibrate import read_grouping
from pure_cli.stages.planted.scores import CHECKS

pytestmark = pytest.mark.slow
N = 20
pytestmark = pytest.mark.usefixtures("few_nulls")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    from pure_cli.demo.images import write_digits

    folder = tmp_path_factory.mktemp("digits") / "images"
    write_digits(folder, split="all")
    return folder


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, digits):
    """A workspace with references, and the outcome of calibrate in it."""
    workspace = Workspace(tmp_path_factory.mktemp("calibrate") / "w")
    workspace.collect(model="digits", data=digits, n=N, device="cpu", workers=0)
    return workspace, workspace.calibrate(budget=0.2, device="cpu")


def table(outcome, name):
    return next(one for one in outcome.details["tables"] if one["name"] == f"planted-{name}")


def test_every_kind_of_features_is_held_against_the_truth(calibrated):
    _, outcome = calibrated
    unions = table(outcome, "unions")
    kinds = [row["features"] for row in unions["rows"]]
    assert kinds[0].startswith("pure@") and {"activation-max", "activation-mean"} <= set(kinds)
    assert any(kind.startswith("lower-activation@") for kind in kinds)
    by_kind = {row["features"]: row for row in unions["rows"]}
    assert by_kind["activation-mean"]["ARI, 2"] > 0.8  # digits are nearly apart in the last layer
    assert unions["rows"][0]["against the paper's"] == 0
    for row in unions["rows"]:
        assert row["ARI, 2 low"] <= row["ARI, 2"] <= row["ARI, 2 high"] <= 1
        mean, error = row["specificity"]
        assert error > 0 and -0.2 < mean < 1
    assert by_kind[kinds[0]]["specificity"][0] > 0, "meanings that the network tells apart have circuits of their own"


@pytest.mark.parametrize("width", [80, 100, 140])
def test_tables_of_units_fit_the_terminal(calibrated, width):
    _, outcome = calibrated
    for one in outcome.details["tables"]:
        require_fit(one, width)
    (first,) = (one for one in outcome.details["tables"] if one["verdict"])
    assert first["name"] == "planted-unions" and first["verdict"].startswith("Recommended for 'layer3'")


def test_tables_of_units_are_numbers_in_csv(calibrated):
    _, outcome = calibrated
    for one in outcome.details["tables"]:
        require_numbers(one)


def test_probes_and_references_share_no_image(calibrated, digits):
    workspace, _ = calibrated
    lists = [workspace.path / "planted" / "layer3" / f"half-{half}" / "images.subset" for half in (0, 1)]
    one, other = (set(json.loads(path.read_text())["index"]) for path in lists)
    assert not one & other
    assert len(one | other) == len(list(digits.rglob("*.png")))
    with h5py.File(lists[0].parent / "collect.h5") as file:
        settings = json.loads(file.attrs["settings"])
        assert settings["data"] == str(lists[0])


def test_the_truth_of_a_union_is_the_class_of_the_reference(calibrated):
    workspace, _ = calibrated
    with h5py.File(workspace.path / "evaluate.h5") as file:
        group = file["planted/layer3/all"]
        kinds, names = group["unit/kind"][:].astype(str), group["unit/name"][:].astype(str)
        halves, neurons = group["unit/half"][:], group["unit/neuron"][:]
        ari = group["activation-mean/ari"][:]
    rows = np.flatnonzero((kinds == "unions") & (halves == 0))
    assert len(rows)
    path = workspace.path / "planted" / "layer3" / "half-0"
    labels = np.array(json.loads((path / "images.subset").read_text())["label"])
    with h5py.File(path / "collect.h5") as file:
        images = file["layers/units@layer3/image"][:]
    for row in rows:
        classes = [int(part) for part in names[row].split()[1].split("+")]
        own = labels[images[neurons[row]]]
        assert np.isin(own, classes).mean() > 0.8
        assert np.isnan(ari[row]) == (len(classes) == 1)


def test_checks_find_nothing_where_nothing_is(calibrated):
    _, outcome = calibrated
    leaks = table(outcome, "leaks")
    assert leaks["columns"][2:] == list(CHECKS)
    shuffled = [row["shuffled images"][0] for row in leaks["rows"] if row["shuffled images"]]
    assert np.abs(np.mean(shuffled)) < 0.1
    constant = {row["features"]: row["constant activations"] for row in leaks["rows"] if row["units"] == "unions"}
    assert constant["activation-mean"][0] == 0
    labels = [row["labels alone"][0] for row in leaks["rows"] if row["units"] == "unions"]
    assert np.mean(labels) > 0.8  # the truth of a union is its labels


def test_the_recipe_is_kept_and_used(calibrated, cli):
    workspace, outcome = calibrated
    path = workspace.path
    own = read_calibrations(workspace.store)["layer3"]
    assert own.judge == "truth" and outcome.details["recipes"]["layer3"]["features"] == own.features
    ahead = next(row for row in table(outcome, "recipe")["rows"] if row["measure"].startswith("difference"))
    paper = table(outcome, "unions")["rows"][0]["features"]
    assert (own.features != paper) == (ahead["low"] > 0)
    says = "recommended only where" if ahead["low"] > 0 else "no detectable difference"
    assert says in table(outcome, "recipe")["note"]
    assert cli("attribute", "-w", path, "--neurons", "0-5", "--recipe", "calibrated", "--workers", 0).code == 0
    answer = cli("cluster", "-w", path, "--recipe", "calibrated", "--json")
    assert answer.code == 0, answer.err
    (found,) = answer.json["tables"]
    assert (found["features"], found["k"]) == (own.features, "auto")
    assert all({"polysemanticity", "p"} <= row.keys() for row in found["neurons"])
    assert cli("render", "-w", path, "--recipe", "calibrated", "--neurons", "0", "--crop", "none").code == 0
    paper = cli("cluster", "-w", path, "--json")
    assert paper.json["tables"][0]["features"] == "pure" and paper.json["tables"][0]["k"] == 2


def test_what_is_there_is_not_computed_again(calibrated, cli):
    workspace, outcome = calibrated
    answer = cli("calibrate", "-w", workspace.path, "--budget", 0.2, "--json")
    assert answer.json["up_to_date"]
    assert (workspace.path / "evaluate" / "layer3" / "planted-unions.csv").exists()
    assert outcome.computed == 1


def test_evaluate_shows_a_calibration_of_another_budget(calibrated, cli):
    workspace, outcome = calibrated
    answer = cli("evaluate", "-w", workspace.path, "--metric", "planted", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["computed"] == 0
    assert any("--budget 0.2 and --seed 0" in note for note in answer.json["notes"])
    tables = {one["name"]: one["rows"] for one in answer.json["tables"]}
    assert tables == json.loads(json.dumps({one["name"]: one["rows"] for one in outcome.details["tables"]}))


def test_without_labels_stability_and_agreement_decide(tmp_path, digits):
    flat = tmp_path / "flat"
    flat.mkdir()
    for image in sorted(digits.rglob("*.png"))[::3]:
        (flat / f"{image.parent.name}-{image.name}").write_bytes(image.read_bytes())
    workspace = Workspace(tmp_path / "w")
    workspace.collect(model="digits", data=flat, n=N, device="cpu", workers=0)
    outcome = workspace.calibrate(budget=0.1, device="cpu")
    assert outcome.details["recipes"]["layer3"]["judge"] == "proxy"
    assert not any(one["name"] == "planted-unions" for one in outcome.details["tables"])


@pytest.mark.parametrize(
    ("text", "says"),
    [("class;group\n", "needs a line"), ("", "needs a line"), ("1,odd\n11,odd\n", "Unknown class '11'")],
)
def test_a_wrong_grouping_is_refused(calibrated, tmp_path, cli, text, says):
    (tmp_path / "groups.csv").write_text(text)
    workspace, _ = calibrated
    answer = cli("calibrate", "-w", workspace.path, "--grouping", tmp_path / "groups.csv")
    assert answer.code == 2 and says in " ".join(answer.err.split())


def test_what_is_not_calibrated_says_so(tmp_path, digits, cli):
    workspace = Workspace(tmp_path / "w")
    workspace.collect(model="digits", data=digits, n=5, limit=100, device="cpu", workers=0)
    for command in (["attribute", "--recipe", "calibrated"], ["attribute", "--lower-layer", "auto"]):
        answer = cli(*command, "-w", tmp_path / "w")
        assert answer.code == 2 and "Run `pure calibrate --layer layer3` first" in " ".join(answer.err.split())


def test_a_calibration_of_other_images_is_refused(calibrated, tmp_path, digits, cli):
    import shutil

    workspace, _ = calibrated
    copy = Workspace(shutil.copytree(workspace.path, tmp_path / "copy"))
    copy.collect(model="digits", data=digits, n=N, limit=600, device="cpu", workers=0, force=True)
    answer = cli("attribute", "-w", copy.path, "--recipe", "calibrated")
    assert answer.code == 2 and "was calibrated on other weights, images or preprocessing" in " ".join(
        answer.err.split()
    )
    stale = [one for one in copy.info()["results"] if one["stage"] == "calibrate"]
    assert stale and all(one["stale"] for one in stale)


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory, digits):
    """Every third image."""
    folder = tmp_path_factory.mktemp("few-digits")
    for image in sorted(digits.rglob("*.png"))[::3]:
        copy = folder / image.relative_to(digits)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(image.read_bytes())
    return folder


def test_too_few_units_give_no_recipe_and_a_damaged_half_is_made_again_of_groups_too(tmp_path, few_digits, cli):
    path = tmp_path / "w"
    Workspace(path).collect(model="digits", data=few_digits, n=10, device="cpu", workers=0)
    few = ("--budget", 0.01, "--lower-layer", "layer2")
    answer = cli("calibrate", "-w", path, *few, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["tables"]
    assert any("too few to recommend a recipe" in note for note in answer.json["notes"])
    assert not (path / "calibration.json").exists()

    half = path / "planted" / "layer3" / "half-1" / "collect.h5"
    half.write_text("junk")
    answer = cli("calibrate", "-w", path, "--budget", 0.02)
    assert answer.code == 2 and "pure calibrate --force" in answer.err

    (tmp_path / "groups.csv").write_text("class,group\n" + "".join(f"{d},{'round' if d in '0689' else 'straight'}\n"
                                                                 for d in "01234567"))  # fmt: skip
    assert read_grouping(tmp_path / "groups.csv")["0"] == "round"
    answer = cli("calibrate", "-w", path, *few, "--force", "--grouping", tmp_path / "groups.csv", "--json")
    assert answer.code == 0, answer.err
    assert any("The grouping names 8 of 10 classes" in note for note in answer.json["notes"])
    assert contents(half)  # it can be read again


def test_one_file_runs_collect_calibrate_and_the_calibrated_recipe(tmp_path, few_digits, cli):
    (tmp_path / "study.yaml").write_text(
        f"model: digits\ndata: {few_digits}\nn: 10\ndevice: cpu\nworkspace: {tmp_path / 'w'}\nrecipe: calibrated\n"
        "calibrate: {budget: 0.15, lower_layer: layer2}\nrender: {neurons: '0', crop: none}\n"
    )
    answer = cli("run", "-c", tmp_path / "study.yaml", "--json")
    assert answer.code == 0, answer.err
    with h5py.File(tmp_path / "w" / "cluster.h5") as file:
        (kind,) = file["layers/layer3"]
        assert list(file["layers/layer3"][kind]) == ["kauto"]
