"""Networks whose own code keeps, traces or lays out what a copy or a pass of pure could change, against plain loops."""

import h5py
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v3_small
from torchvision.models.feature_extraction import create_feature_extractor

from pure_cli import Workspace


class Hooked(nn.Module):
    """A head over features that a hook of the network's own keeps."""

    def __init__(self):
        super().__init__()
        self.low, self.mid, self.fuse = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1), nn.Conv2d(14, 5, 1)
        self.low.register_forward_hook(self.keep)

    def keep(self, module, inputs, output):
        self.kept = output

    def forward(self, x):
        deep = torch.relu(self.mid(torch.relu(self.low(x))))
        return self.fuse(torch.cat([nn.functional.avg_pool2d(self.kept, 2), deep], 1))


class Kept(nn.Module):
    """The same, with a forward that is replaced while it runs, as Hugging Face's are."""

    def __init__(self):
        super().__init__()
        self.low, self.mid, self.fuse = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1), nn.Conv2d(14, 5, 1)

    def forward(self, x):
        kept, plain = [], self.low.forward
        self.low.forward = lambda x: kept.append(plain(x)) or kept[-1]
        try:
            deep = torch.relu(self.mid(torch.relu(self.low(x))))
        finally:
            del self.low.forward
        return self.fuse(torch.cat([nn.functional.avg_pool2d(kept[0], 2), deep], 1))


class Complex(nn.Module):
    """A filter of four axes that is seen as complex numbers, as in GFNet."""

    def __init__(self):
        super().__init__()
        self.low, self.filter = nn.Conv2d(3, 6, 3, 2, 1), nn.Parameter(torch.randn(6, 16, 9, 2))
        self.top = nn.Conv2d(6, 5, 3, 2, 1)

    def forward(self, x):
        spectrum = torch.fft.rfft2(self.low(x)) * torch.view_as_complex(self.filter)
        return self.top(torch.relu(torch.fft.irfft2(spectrum)))


class Viewed(nn.Module):
    """A kernel of four axes that the network's own code lays out anew."""

    def __init__(self):
        super().__init__()
        self.low, self.kernel = nn.Conv2d(3, 6, 3, 2, 1), nn.Parameter(torch.randn(5, 6, 3, 3) / 5)

    def forward(self, x):
        x = torch.relu(self.low(x))
        columns = nn.functional.unfold(x, 3, padding=1)
        return (self.kernel.view(5, -1) @ columns).view(len(x), 5, *x.shape[2:])


class Stepped(nn.Module):
    def __init__(self):
        super().__init__()
        self.low, self.top = nn.Conv2d(3, 6, 3, 2, 1), nn.Sequential(nn.Conv2d(6, 5, 3, 2, 1), Rounded())

    def forward(self, x):
        return self.top(self.low(x))


class Rounded(nn.Module):
    def forward(self, x):
        return torch.round(x.clamp(0, 1) * 3) / 3


class Last(nn.Module):
    """The whole network as a layer of one."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).mean((2, 3))


def network(kind):
    torch.manual_seed(0)
    return Last(kind()).eval().requires_grad_(False)


def by_loop(net, workspace, images, tmp_path):
    """Scores and relevances at `net.low` of every reference, by plain autograd, beside pure's."""
    from pure_cli.core.preprocessing import Preprocessing
    from pure_cli.data.listing import list_images
    from pure_cli.data.loader import decode_one

    listing, own = list_images(images), Preprocessing()
    with h5py.File(workspace.path / "collect.h5") as file:
        value, image = file["layers/net/value"][:], file["layers/net/image"][:]
    with h5py.File(workspace.path / "attribute.h5") as file:
        found = file["layers/net/relevance/net.low"][:]
    for neuron in range(5):
        for slot in range(4):
            pixels = own.normalize(torch.from_numpy(decode_one(listing, int(image[neuron, slot]), own))[None])
            kept = []
            low = net.net.low
            low.bias = nn.Parameter(low.bias.detach().clone())  # so that there is a graph from there on
            handle = low.register_forward_hook(lambda m, i, o, kept=kept: (o.retain_grad(), kept.append(o))[0])
            map_ = net.net(pixels)[0, neuron]
            handle.remove()
            assert value[neuron, slot] == pytest.approx(float(map_.max()), rel=1e-4, abs=1e-5)
            (gradient,) = torch.autograd.grad(map_, kept[0], map_.detach().clamp(min=0))
            expected = (gradient * kept[0]).sum((0, 2, 3)).detach().numpy()
            expected = expected / (np.abs(expected).sum() + 1e-10)
            np.testing.assert_allclose(found[neuron, slot], expected, atol=2e-4)


@pytest.mark.parametrize("kind", [Hooked, Kept, Complex, Viewed])
def test_scores_and_relevances_are_those_of_plain_autograd(tmp_path, images, kind):
    net = network(kind)
    workspace = Workspace(tmp_path / "w", model=net)
    workspace.collect(data=images, layer="net", n=4, workers=0)
    workspace.attribute(lower_layer=["net.low"], workers=0)
    by_loop(net, workspace, images, tmp_path)


def test_a_traced_network_is_in_eval_mode_in_its_copies_too(tmp_path, images):
    torch.manual_seed(0)
    net = create_feature_extractor(
        mobilenet_v3_small(weights=None).eval(), {"features.4": "a", "features.8": "b"}
    ).eval()
    values = []
    for size in (4, 32):
        workspace = Workspace(tmp_path / str(size), model=net)
        workspace.collect(data=images, layer="features.0", n=5, workers=0, batch_size=size)
        values.append(workspace.references("features.0")["value"])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-3, atol=1e-5)
    assert not net.training


def test_relevances_that_are_all_zero_are_told(tmp_path, images):
    torch.manual_seed(0)
    workspace = Workspace(tmp_path / "w", model=Stepped().eval().requires_grad_(False))
    workspace.collect(data=images, layer="top", n=4, workers=0)
    outcome = workspace.attribute(lower_layer=["low"], workers=0)
    assert any("without relevance at 'low' on any reference" in note for note in outcome.notes)


def test_a_layer_of_which_no_neuron_fires_is_told(tmp_path, images, tiny):
    nn.init.constant_(tiny.layer3[0].bn2.weight, 0)
    nn.init.constant_(tiny.layer3[0].bn2.bias, -1e4)
    outcome = Workspace(tmp_path / "w", model=tiny).collect(data=images, layer="layer3", n=4, workers=0)
    assert any("No neuron of 'layer3' fires on any image" in note for note in outcome.notes)
