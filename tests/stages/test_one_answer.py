"""Networks that are no function of one image, from the command line: refused by every stage, or told."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from pure_cli import Workspace
from pure_cli.core.circuits import Firing
from pure_cli.errors import PureError
from pure_cli.stages.runtime.soundness import scores_again


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1), nn.Conv2d(8, 7, 3, 2, 1)
        self.head = nn.Linear(7, 3)

    def between(self, x):
        return x

    def forward(self, x):
        x = F.relu(self.c(self.between(F.relu(self.b(F.relu(self.a(x)))))))
        return self.head(x.mean((2, 3)))


class Dropping(Net):
    def between(self, x):
        return F.dropout(x, 0.5)


class Detached(Net):
    def between(self, x):
        return x.detach()


class Rounded(Net):
    def between(self, x):
        return torch.from_numpy(x.detach().cpu().numpy())


class Exit(Net):
    """Bright images leave before the last layer."""

    def forward(self, x):
        if (x.mean((1, 2, 3)) > 0.5).any():
            return self.head(x.new_zeros(len(x), 7))
        return super().forward(x)


def test_chance_is_refused_by_collect(images, tmp_path):
    with pytest.raises(PureError, match=r"dropout\(\) in the forward\(\) of Dropping"):
        Workspace(tmp_path, model=Dropping()).collect(data=images, n=4, layer=["c"], workers=0, device="cpu")


@pytest.fixture
def collected(images, tmp_path):
    torch.manual_seed(0)
    model = Net()
    workspace = Workspace(tmp_path, model=model)
    workspace.collect(data=images, n=4, layer=["c"], workers=0, device="cpu")
    return workspace


@pytest.mark.parametrize("score", [{}, {"pool": "mean"}])
def test_scores_again_are_those_of_collect(score):
    activation = torch.randn(2, 3, 4, 4)
    expected = activation.mean((2, 3)) if score else activation.amax((2, 3))
    circuits = SimpleNamespace(scores=lambda pool: Firing.of(activation).scores(pool)[0])
    np.testing.assert_allclose(scores_again(circuits, score), expected, rtol=1e-6)
    assert scores_again(circuits, {"by": "relevance", "pool": "sum"}) is None


def test_attribute_holds_its_activations_against_the_scores(collected):
    collected.attribute(lower_layer=["b"], workers=0, device="cpu", neurons=[0, 1])
    with h5py.File(collected.path / "collect.h5", "r+") as file:
        file["layers/c/value"][:] *= 1.5
    with pytest.raises(PureError, match=r"Neuron \d of 'c' scores .* when the references were collected"):
        collected.attribute(lower_layer=["b"], workers=0, device="cpu", force=True)


@pytest.mark.parametrize(
    ("model", "cut"), [(Detached, "detach() in the forward() of Detached"), (Rounded, "the forward() of Rounded")]
)
def test_a_gradient_that_is_cut_off_is_told_with_what_cuts_it(model, cut, images, tmp_path):
    workspace = Workspace(tmp_path, model=model())
    workspace.collect(data=images, n=4, layer=["c"], workers=0, device="cpu")
    with pytest.raises(PureError, match="'c' is computed of 'b' without a gradient") as error:
        workspace.attribute(lower_layer=["b"], workers=0, device="cpu")
    assert cut in str(error.value)


def test_a_lower_layer_that_comes_later_is_told_as_before(collected):
    with pytest.raises(PureError, match=r"does not lead to 'c'\. Choose one that comes before it"):
        collected.attribute(lower_layer=["head"], workers=0, device="cpu")


@pytest.mark.parametrize("batch_size", [1, 5])
def test_an_image_that_leaves_early_is_named(batch_size, tmp_path):
    generator = np.random.default_rng(0)
    for i in range(13):
        pixels = generator.integers(0, 80, (16, 16, 3)) + (170 if i == 8 else 0)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / f"{i:02d}.png")
    workspace = Workspace(tmp_path / "w", model=Exit())
    with pytest.raises(PureError, match=r"'c' does not run for .*08\.png"):
        workspace.collect(data=tmp_path / "photos", n=4, layer=["c"], workers=0, device="cpu", batch_size=batch_size)
