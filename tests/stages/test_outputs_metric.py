"""Which classes virtual neurons drive, held against single passes with hooks."""

import h5py
import numpy as np
import pytest
import torch
from test_assign import EACH, TwoPaths, paint, to_tensor
from torch import nn

from pure_cli import PureError, Workspace
from pure_cli.core.output_effects import output_effects


class Curved(nn.Module):
    """Something bent lies between the layer and the outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.upper, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(6, 5)

    def forward(self, images):
        return self.head(torch.tanh(self.upper(torch.relu(self.layer(images)))).mean(dim=(-1, -2)))


def test_effects_are_those_of_single_passes():
    model = Curved().eval().requires_grad_(False)
    images = torch.randn(3, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    effect, relevance = output_effects(model, images, "layer", 2)
    lower = model.layer(images).requires_grad_()
    outputs = model.head(torch.tanh(model.upper(torch.relu(lower))).mean(dim=(-1, -2)))
    changed = lower.detach().clone()
    changed[:, 2] = 0
    without = model.head(torch.tanh(model.upper(torch.relu(changed))).mean(dim=(-1, -2)))
    torch.testing.assert_close(effect, outputs.detach() - without)
    for output in range(5):
        (gradient,) = torch.autograd.grad(outputs[:, output].sum(), lower, retain_graph=True)
        expected = (gradient * lower.detach())[:, 2].sum(dim=(-1, -2))
        torch.testing.assert_close(relevance[:, output], expected, rtol=1e-4, atol=1e-6)


class Switch(TwoPaths):
    """The neuron drives output 0 on blue images and output 1 on red ones: above it, something is bent."""

    def forward(self, images):
        neuron = torch.relu(self.upper(torch.relu(self.lower(images)))).mean(dim=(-1, -2))[:, :1]
        red = images[:, :1].mean(dim=(-1, -2)) > 0
        return torch.cat([torch.where(red, 0, neuron), torch.where(red, neuron, 0)], dim=1)


@pytest.mark.parametrize(("network", "different"), [(Switch, 1), (TwoPaths, 0)])
def test_virtual_neurons_that_drive_different_classes_are_told(tmp_path, network, different):
    study = Workspace(tmp_path / "w", model=network(), transform=to_tensor)
    study.collect(data=paint(tmp_path / "seen", 0), layer="upper", references=30, workers=0, device="cpu")
    study.attribute(lower_layer="lower", neurons=0, workers=0, device="cpu")
    summary, virtual = study.evaluate(metric="outputs", features="pure", k=2, workers=0, device="cpu").details["tables"]
    (row,) = summary["rows"]
    assert row["different"][0] == different
    assert row["different by chance"][0] <= 0.3 if network is Switch else row["as siblings"][0] == pytest.approx(1)
    assert row["relevance"][0] == pytest.approx(1, abs=1e-5), "to the outputs, all is linear"
    drives = {row["virtual neuron"]: row["drives"].split()[0] for row in virtual["rows"]}
    assert set(drives) == {"upper/0.1", "upper/0.2"} and len(set(drives.values())) == 1 + different
    with h5py.File(study.store.path("evaluate")) as file:
        names = []
        file.visit(names.append)
        effect = next(file[name] for name in names if name.endswith("virtual/effect"))[:]
    assert effect.shape == (2, 2)
    np.testing.assert_allclose(effect.sum(axis=1), 0, atol=1e-6)


def test_what_decides_between_two_classes_is_measured_on_their_images(tmp_path):
    study, images = Workspace(tmp_path / "w", model=Switch(), transform=to_tensor), paint(tmp_path / "seen", 0)
    for colour in ("blue", "red"):
        (images / colour / "damaged.png").write_bytes(b"no image")
    study.collect(data=images, layer="upper", references=30, workers=0, device="cpu")
    study.attribute(lower_layer="lower", neurons=0, workers=0, device="cpu")
    how = {"metric": "outputs", "features": "pure", "k": 2, "workers": 0, "device": "cpu"}
    table = study.evaluate(between="blue,red", **how).details["tables"][0]
    rows = sorted(table["rows"], key=lambda row: -row["for blue"])
    mean = np.linspace(20, 250, EACH).astype(int).mean() / 255
    assert [row["for blue"] for row in rows] == pytest.approx([2 * mean, 0], rel=1e-5)
    assert [row["for red"] for row in sorted(rows, key=lambda row: -row["for red"])] == pytest.approx([mean, 0])
    assert [row["images of blue"] for row in rows] == [EACH, 0]
    assert rows[0]["virtual neuron"] != max(rows, key=lambda row: row["for red"])["virtual neuron"]
    assert {row["virtual neuron"] for row in rows} == {"upper/0.1", "upper/0.2"}, "none does nothing"
    assert f"{rows[0]['virtual neuron']} helps images of blue most" in table["verdict"]
    for wrong in ("blue", "blue,blue", "blue,7", "blue,green"):
        with pytest.raises(PureError, match=r"two classes|class"):
            study.evaluate(between=wrong, **how)


def test_a_model_without_outputs_is_told(tmp_path):
    class Maps(TwoPaths):
        def forward(self, images):
            return self.upper(torch.relu(self.lower(images)))

    study = Workspace(tmp_path / "w", model=Maps(), transform=to_tensor)
    study.collect(data=paint(tmp_path / "seen", 0), layer="upper", references=10, workers=0, device="cpu")
    study.attribute(lower_layer="lower", neurons=0, workers=0, device="cpu")
    with pytest.raises(PureError, match="no outputs"):
        study.evaluate(metric="outputs", k=2, workers=0, device="cpu")
