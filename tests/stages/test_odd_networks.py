"""Networks whose code is not a plain chain of modules, from images to figures, and relevances against a slow loop."""

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pure_cli import Workspace
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.listing import list_images
from pure_cli.data.loader import decode_one
from pure_cli.errors import PureError


class Parts(nn.Module):
    """Three stages of convolutions and a head; how they are put together differs."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)
        self.b2, self.c = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 10, 3, 2, 1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(10, 3)

    def end(self, x):
        return self.head(x.mean((2, 3)))


class Functional(Parts):
    def forward(self, x):
        x = F.relu(self.a(x))
        x = torch.relu(self.b(x))
        return self.end(F.relu(self.c(x)))


class InPlace(Parts):
    """One ReLU module for all, which changes what it is given, and sums in place."""

    def forward(self, x):
        x = self.relu(self.a(x))
        x = self.b(x)
        y = self.b2(F.relu_(x.clone()))
        y += x
        return self.end(self.relu(self.c(self.relu(y))))


class Overwritten(Parts):
    """A ReLU's output, which its gradient needs, is changed in place: torch itself has no gradient of it."""

    def forward(self, x):
        x = F.relu(self.a(x))
        y = F.relu(self.b(x))
        y += 1
        return self.end(F.relu(self.c(y)))


class Branches(Parts):
    """Two branches that are joined, one of them by the layer's own shortcut."""

    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(16, 10, 3, 2, 1)

    def forward(self, x):
        x = F.relu(self.a(x))
        b = self.b(x)
        return self.end(F.relu(self.c(torch.cat([F.relu(b), F.gelu(self.b2(b))], dim=1))))


class Again(Parts):
    """A convolution that runs twice between lower layer and layer."""

    def forward(self, x):
        x = F.relu(self.a(x))
        x = F.relu(self.b(x))
        x = F.relu(self.b2(F.relu(self.b2(x))))
        return self.end(F.relu(self.c(x)))


class ChannelsLast(Parts):
    """Norms and linear layers over the last axis, as in ConvNeXt and Swin."""

    def __init__(self):
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(8), nn.Linear(8, 12)
        self.c = nn.Conv2d(12, 10, 3, 2, 1)

    def forward(self, x):
        x = F.relu(self.b(F.relu(self.a(x)))).permute(0, 2, 3, 1)
        x = F.gelu(self.mix(self.norm(x))).permute(0, 3, 1, 2)
        return self.end(F.relu(self.c(x)))


def loop(model, image, layer, lower, neuron):
    """Relevance (D,) of one neuron in one image, by autograd over the whole network."""
    kept = {}

    def keep(name):
        def hook(module, inputs, output):
            kept[name] = output.clone()
            kept[name].retain_grad()
            return kept[name].clone()

        return hook

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(keep(name)) for name in (layer, lower)]
    model(image.requires_grad_())
    for handle in handles:
        handle.remove()
    activation = kept[layer][0, neuron]
    (gradient,) = torch.autograd.grad((activation.clamp(min=0).detach() * activation).sum(), kept[lower])
    axes = (0, 1, 2) if lower in ("norm", "mix") else (0, 2, 3)
    summed = (gradient * kept[lower]).sum(axes)
    return (summed / (summed.abs().sum() + 1e-10)).detach().numpy()


@pytest.mark.parametrize("kind", [Functional, InPlace, Branches, Again, ChannelsLast])
@pytest.mark.parametrize("lower", [None, "other"])
def test_relevances_are_those_of_autograd(kind, lower, images, tmp_path):
    torch.manual_seed(1)
    model = kind().eval()
    workspace = Workspace(tmp_path / "w", model=model)
    workspace.collect(data=images, n=5, workers=0, device="cpu")
    layer = workspace.info()["origin"]["default_layer"]
    assert layer == "c"
    other = {"ChannelsLast": "norm"}.get(kind.__name__, "a")
    workspace.attribute(neurons="0-4", workers=0, device="cpu", **({"lower_layer": other} if lower else {}))
    with h5py.File(tmp_path / "w" / "attribute.h5") as file:
        group = file[f"layers/{layer}"]
        (name,) = group["relevance"]
        found, references = group[f"relevance/{name}"][:], group["image"][:]
    assert name == (other if lower else {"Again": "b"}.get(kind.__name__, name))
    listing, preprocessing = list_images(images), Preprocessing()
    for neuron in range(5):
        for slot in range(5):
            pixels = torch.from_numpy(decode_one(listing, int(references[neuron, slot]), preprocessing))[None]
            expected = loop(model, preprocessing.normalize(pixels), layer, name, neuron)
            np.testing.assert_allclose(found[neuron, slot], expected, rtol=1e-3, atol=1e-5)
    workspace.cluster(neurons="0-4")
    firing = np.flatnonzero((workspace.references(layer)["value"] > 0).all(axis=1))
    workspace.render(neurons=firing[:1].tolist(), device="cpu")


@pytest.mark.parametrize("named", [{}, {"layer": "c"}])
def test_a_network_without_gradients_is_refused_with_the_reason(named, images, tmp_path):
    workspace = Workspace(tmp_path / "w", model=Overwritten().eval())
    with pytest.raises(PureError, match="changes in place"):
        workspace.collect(data=images, n=3, workers=0, **named)
        workspace.attribute(lower_layer="a", workers=0)


def test_what_runs_twice_is_no_layer_but_its_calls_have_names(images, tmp_path):
    torch.manual_seed(1)
    workspace = Workspace(tmp_path / "w", model=Again().eval())
    with pytest.raises(PureError, match="runs 2 times"):
        workspace.collect(data=images, n=3, workers=0, layer="b2")
    workspace.collect(data=images, n=3, workers=0, layer=":relu.3", device="cpu")
    workspace.attribute(lower_layer=":relu.2", neurons="0-2", workers=0, device="cpu")
    with pytest.raises(PureError, match="attn-lrp"):
        workspace.attribute(lower_layer="a", neurons="0-2", rule="epsilon-plus", workers=0, device="cpu")
    workspace.attribute(lower_layer="a", neurons="0-2", rule="attn-lrp", workers=0, device="cpu")
