import pytest
import torch
from torch import nn

from pure_cli.errors import PureError
from pure_cli.models.defaults import chain, default_layers, lower_layer_of, mixes_channels
from pure_cli.models.layers import list_layers

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def defaults(model):
    torch.manual_seed(0)
    model = model.eval().requires_grad_(False)
    return default_layers(model, IMAGE, list_layers(model, IMAGE))


def block(inside, outside, stride=1):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.BatchNorm2d(outside), nn.ReLU())


def test_stages_end_where_the_resolution_changes():
    net = nn.Sequential()
    net.add_module("stem", block(3, 4, 2))
    net.add_module("a1", block(4, 6, 2))
    net.add_module("a2", block(6, 6))
    net.add_module("b1", block(6, 8, 2))
    net.add_module("b2", block(8, 8))
    assert defaults(net) == ("b2", "a2")


def test_a_stem_is_no_stage_where_one_resolution_is_all():
    net = nn.Sequential(block(3, 4, 4), block(4, 4), block(4, 4), block(4, 4))
    assert defaults(net) == ("3", "2")


def test_a_chain_within_one_child_is_found_however_deep():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Sequential(block(3, 4, 2), block(4, 4), block(4, 8, 2)))
            self.head = nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.backbone(x).mean((2, 3)))

    assert defaults(Wrapped()) == ("backbone.0.2", "backbone.0.1")


def test_the_parts_of_a_list_that_is_gone_through_count():
    class Looped(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 4, 4)
            self.blocks = nn.ModuleList([block(4, 4), block(4, 4)])

        def forward(self, x):
            x = self.stem(x)
            for part in self.blocks:
                x = part(x)
            return x

    assert defaults(Looped()) == ("blocks.1", "blocks.0")


def test_convolutions_are_parts_where_there_are_no_blocks():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)
    )
    assert defaults(net) == ("5", "1")


def test_a_batch_norm_is_not_explained_by_its_own_convolution():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 1, 1), nn.BatchNorm2d(6)).eval()
    net.requires_grad_(False)
    layers = list_layers(net, IMAGE)
    assert not mixes_channels(net, IMAGE, "3", "2")
    assert mixes_channels(net, IMAGE, "2", "0")
    assert not mixes_channels(net, IMAGE, "0", "2")
    assert lower_layer_of(net, IMAGE, "3", layers) == ["1"]
    assert lower_layer_of(net, IMAGE, "0", layers) == []
    assert [layer.name for layer in chain(net, layers)] == ["0", "2", "3"]


def test_one_position_is_a_stage_where_strides_lead_to_it_and_no_pooling():
    by_strides = nn.Sequential(block(3, 4, 4), block(4, 4, 4), block(4, 6, 2))
    assert defaults(by_strides) == ("2", "1")
    by_pooling = nn.Sequential(block(3, 4, 2), block(4, 4, 2), nn.AdaptiveAvgPool2d(1), block(4, 6))
    assert defaults(by_pooling) == ("1", "0")


def test_a_network_without_a_chain_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(PureError, match="--layer"):
        defaults(net)


def test_windows_that_take_the_place_of_images_are_no_layer():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = nn.Linear(3, 5)

        def forward(self, x):
            windows = x.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 4, 5, 1).reshape(-1, 256, 3)
            return self.inside(windows).mean(1)

    layers = {layer.name: layer for layer in list_layers(Windows(), IMAGE)}
    assert layers["inside"].shape is None


def test_inside_of_a_block_the_same_part_of_the_block_before_stands_below():
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.mlp = nn.Sequential(nn.Conv2d(4, 6, 1), nn.GELU(), nn.Conv2d(6, 4, 1))

        def forward(self, x):
            return x + self.mlp(x)

    net = nn.Sequential(nn.Conv2d(3, 4, 4, 4), Mixing(), Mixing(), Mixing()).eval().requires_grad_(False)
    layers = list_layers(net, IMAGE)
    assert lower_layer_of(net, IMAGE, "3.mlp.1", layers) == ["2.mlp.1"]
    assert lower_layer_of(net, IMAGE, "3.mlp.2", layers) == ["3.mlp.1"]
    assert lower_layer_of(net, IMAGE, "1.mlp.1", layers) == ["0"]
    assert lower_layer_of(net, IMAGE, "3", layers) == ["2"]
