"""pure edit: each class's logit, predictions and accuracy, with some virtual neurons silenced."""

import csv

import numpy as np
import pytest
import torch

from pure_cli import Workspace


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


def test_what_cannot_be_edited_is_said(finished, refused):
    refused(finished.pure("edit"), "--silence layer4/201.2")
    refused(finished.pure("edit", "--scale", "3.1=much"), "ADDRESS=FACTOR")
    refused(finished.pure("edit", "--silence", "3.9"), "no virtual neuron 3.9")
    refused(finished.pure("edit", "--silence", "layer3/3.1", "--scale", "3.1=2"), "edited twice")
    refused(finished.pure("edit", "--silence", "layer1/3.1"), "Unknown layer")
    refused(finished.pure("edit", "--silence", "5.1"), "never fires")
