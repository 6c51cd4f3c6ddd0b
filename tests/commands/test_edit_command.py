"""pure edit: each class's logit, predictions and accuracy, with some virtual neurons silenced."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from pure_cli import Workspace
from pure_cli.errors import PureError


@pytest.fixture
def logits(finished):
    """Of all images, as the network is and as it is edited, by a plain loop."""

    def of(**edits):
        study = Workspace(finished.workspace)
        module = study.virtual("layer3", 0, device="cpu")
        found, labels = [], []
        from PIL import Image

        with study.edit(**edits, device="cpu") as model, torch.no_grad():
            for number, folder in enumerate(sorted(path for path in finished.data.iterdir())):
                for file in sorted(folder.iterdir()):
                    found.append(model(module.inputs(Image.open(file)))[0].numpy())
                    labels.append(number)
        return np.stack(found), np.array(labels)

    return of


def test_the_table_is_that_of_a_plain_loop(finished, logits):
    out = finished.folder / "new" / "e.csv"
    out.parent.mkdir()
    answer = finished.pure("edit", "--silence", "layer3/3.1", "--scale", "4.2=3", "-o", out, "--workers", 0, "--json")
    assert answer.code == 0, answer.err
    (before, labels), (after, _) = logits(), logits(silence=["layer3/3.1"], scale={"4.2": 3.0})
    assert not np.array_equal(before, after)
    rows = {row["class"]: row for row in csv.DictReader(out.open(newline=""))}
    (table,) = answer.json["tables"]
    names = sorted(path.name for path in finished.data.iterdir())
    numbered = before.shape[1] == len(names)
    for output in range(before.shape[1]):
        row = rows[names[output] if numbered else str(output)]
        assert float(row["logit"]) == pytest.approx((after - before)[:, output].mean(), abs=1e-5)
        assert int(row["predicted"]) == (before.argmax(axis=1) == output).sum()
        assert int(row["now"]) == (after.argmax(axis=1) == output).sum()
        if numbered:
            own = labels == output
            assert float(row["own images"]) == pytest.approx((after - before)[own, output].mean(), abs=1e-5)
            assert float(row["right now"]) == pytest.approx((after[own].argmax(axis=1) == output).mean())
    assert [row["class"] for row in table["rows"]] == list(rows), "those that change most first"
    assert {row["edit"] for row in rows.values()} == {"without layer3/3.1 and with 4.2=3"}


def test_each_edit_has_its_file(finished):
    edits = (["--silence", "layer3/3.1"], ["--scale", "4.2=0.5"], ["--silence", "3.1", "--data", finished.data],
             ["--silence", ",".join(f"layer3/{neuron}.1" for neuron in (0, 1, 2, 3, 4, 6, 7))])  # fmt: skip
    files = []
    for edit in edits:
        answer = finished.pure("edit", *edit, "--workers", 0, "--limit", 4, "--json")
        assert answer.code == 0, answer.err
        files.append(Path(answer.json["file"]))
    first, second, third, long = files
    assert first.name == "without-layer3-3.1-pure-k2-4-images.csv"
    assert second.name == "with-4.2=0.5-pure-k2-4-images.csv"
    assert third.name.startswith(f"without-3.1-pure-k2-on-{finished.data.name}-") and len(long.name) < 100
    assert sorted(finished.workspace.glob("edit/*")) == sorted(files)


def test_files_say_by_which_virtual_neurons_and_on_which_images(finished):
    found = []
    for more in ([], ["--limit", 4], ["--data", finished.data]):
        answer = finished.pure("edit", "--silence", "3.1", *more, "--workers", 0, "--json")
        assert answer.code == 0, answer.err
        (row, *_) = csv.DictReader(Path(answer.json["file"]).read_text().splitlines())
        found.append(row)
        assert row["virtual neurons by"] == "pure, k = 2" and row["data"]
    assert int(found[1]["images"]) == 4 < int(found[0]["images"])


def test_what_belongs_to_none_and_all_of_a_layer_can_be_silenced(finished, logits):
    """The parts of a neuron, silenced one by one, are the neuron silenced, where no other follows it in the layer."""
    whole, parts = logits(silence=["3"])[0], logits(silence=["3.1", "3.2", "3.none"])[0]
    np.testing.assert_allclose(whole, parts, atol=1e-6)
    assert not np.array_equal(logits(silence=["3.none"])[0], logits(silence=["3.1", "3.2"])[0])
    tables = []
    for every in ("all", "0-11"):
        answer = finished.pure("edit", "--silence", every, "--workers", 0, "--limit", 6, "--json")
        assert answer.code == 0, answer.err
        tables.append(answer.json["tables"][0]["rows"])
    assert tables[0] == tables[1] and any(row["logit"] for row in tables[0])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda study: study["3.1.1"], "no neuron"),
        (lambda study: study["3-4"], "no address"),
        (lambda study: study.edit(scale={"3.1": "x"}).__enter__(), "has to be a number"),
        (lambda study: study.edit(scale={"3.1": float("nan")}).__enter__(), "has to be a number"),
        (lambda study: study.virtual("layer3", 3)(torch.zeros(3)), "takes .B, 3, H, W."),
        (lambda study: study.virtual("layer3", 3)("photo.png"), "takes .B, 3, H, W., and not str"),
        (lambda study: study.virtual("layer3", 3).inputs("photo.png"), "as PIL has them"),
        (lambda study: study.virtual("layer3", 3, at="layer2")(torch.zeros(1, 3, 32, 32)), "what 'layer2' gives"),
        (lambda study: study.virtual("layer3", 3, at="layer3"), "the layer of the neuron itself"),
    ],
)
def test_what_is_no_address_number_or_image_is_said_in_python(finished, what, words):
    with pytest.raises(PureError, match=words):
        what(Workspace(finished.workspace))


def test_addresses_in_python_are_those_of_the_command_line(finished):
    study = Workspace(finished.workspace)
    one = study["layer3", "3.1"]
    for same in ("3.1", "layer3/3.1", ("layer3", "layer3/3.1")):
        assert str(study[same].address) == str(one.address)
    assert len(study[3]) == len(study["layer3", 3])
    with study.edit(silence=[3]) as model:
        assert model.layers == ["layer3"]


def test_what_cannot_be_edited_is_said(finished, refused):
    refused(finished.pure("edit", "--silence", "3.1", "-o", "nowhere/e.csv"), "There is no folder nowhere")
    refused(finished.pure("edit", "--silence", "3.1.none"), "write 3.none")
    refused(finished.pure("edit"), "--silence layer4/201.2")
    refused(finished.pure("edit", "--scale", "3.1=much"), "ADDRESS=FACTOR")
    refused(finished.pure("edit", "--silence", "3.9"), "no virtual neuron 3.9")
    refused(finished.pure("edit", "--silence", "layer3/3.1", "--scale", "3.1=2"), "edited twice")
    refused(finished.pure("edit", "--silence", "layer1/3.1"), "Unknown layer")
    refused(finished.pure("edit", "--silence", "5.1"), "never fires")
    refused(finished.pure("edit", "--silence", "3.1", "-o", "e.txt"), "--out", "has to end in .csv, not 'e.txt'")
