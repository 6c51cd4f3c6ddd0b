"""--channels-axis: said once, it holds for every later stage."""

import h5py
import pytest

from pure_cli import Workspace
from pure_cli.errors import PureError

MODEL = """
import torch
from torch import nn

class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patch, self.mix, self.norm = nn.Conv2d(3, 12, 8, 8), nn.Linear(16, 20), nn.LayerNorm(12)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        x = self.mix(self.patch(x).flatten(2)).transpose(1, 2)
        return self.head(self.norm(x).mean(1))

def mixed():
    return Mixed()
"""


@pytest.fixture
def options(tmp_path, images):
    (tmp_path / "net.py").write_text(MODEL)
    return {"model": f"{tmp_path}/net.py:mixed", "data": images, "layer": "mix", "n": 3, "workers": 0, "device": "cpu",
            "resize": 32, "crop_size": 32}  # fmt: skip


def test_what_was_said_is_what_every_stage_reads(tmp_path, options):
    workspace = Workspace(tmp_path / "w")
    outcome = workspace.collect(**options)
    assert any("--channels-axis mix=last" in note for note in outcome.notes)
    assert workspace.references("mix")["image"].shape == (12, 3)
    with h5py.File(workspace.path / "collect.h5") as file:
        assert "channels_axis" not in file["layers/mix"].attrs["settings"]  # so that earlier workspaces stay up to date

    outcome = workspace.collect(**options, channels_axis="last")
    assert any("the axis of the channels" in note for note in outcome.notes)
    assert not any("--channels-axis mix" in note for note in outcome.notes)
    references = workspace.references("mix")
    assert references["image"].shape == (20, 3)
    assert workspace.collect().up_to_date and workspace.collect(**options, channels_axis=["last"]).up_to_date

    workspace.attribute(neurons=[19], lower_layer="patch", workers=0, device="cpu")
    with h5py.File(workspace.path / "attribute.h5") as file:
        own = file["layers/mix"]
        assert own["relevance/patch"].shape == (1, 3, 12)
        assert own["activations/max"].shape[1] == 20
        rows = dict(zip(own["activations/image"][:].tolist(), own["activations/max"][:, 19].tolist(), strict=True))
    for image, value in zip(references["image"][19].tolist(), references["value"][19].tolist(), strict=True):
        assert rows[image] == pytest.approx(max(value, 0), abs=1e-5)


@pytest.mark.parametrize(
    ("said", "message"),
    [("middle", "first or last"), ("nowhere=last", "Unknown layer 'nowhere'"), ("mix=1", "first or last")],
)
def test_a_wrong_axis_or_layer_is_told(tmp_path, options, said, message):
    with pytest.raises(PureError, match=message):
        Workspace(tmp_path / "w").collect(**options, channels_axis=said)
