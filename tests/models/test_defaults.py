from dataclasses import dataclass

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

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


class Mixing(nn.Module):
    """A block with its sum inside."""

    def __init__(self, inside=4, outside=4, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, stride, 1)
        self.norm = nn.BatchNorm2d(outside)
        self.short = nn.Conv2d(inside, outside, 1, stride)

    def forward(self, x):
        return self.short(x) + self.norm(self.conv(x))


def lower_of(net, *names):
    net = net.eval().requires_grad_(False)
    layers = list_layers(net, IMAGE)
    return [lower_layer_of(net, IMAGE, name, layers)[0] for name in names]


def test_nothing_inside_of_a_block_lies_below_it():
    net = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Sequential(Mixing(), Mixing(), Mixing()))
    assert lower_of(net, "1.2", "1.1", "1.0") == ["1.1", "1.0", "0"]


def test_the_first_block_of_a_stage_lies_above_the_stage_before():
    net = nn.Sequential(Mixing(3, 4, 2), nn.Sequential(Mixing(4, 5, 2), Mixing(5, 5)), nn.Sequential(Mixing(5, 6, 2)))
    assert lower_of(net, "2.0", "1.1", "1.0") == ["1", "1.0", "0"]


def test_one_call_of_a_shared_module_lies_beside_the_modules_there():
    resnet = torchvision.models.resnet18().layer2
    net = nn.Sequential(nn.Conv2d(3, 64, 1), resnet)
    assert lower_of(net, "1.1.conv2", "1.1") == ["1.1.relu:relu", "1.0"]


@dataclass
class Output:
    last: torch.Tensor


class Encoder(nn.Module):
    """Blocks behind an output that is no tensor, as in the models of Hugging Face."""

    def __init__(self, blocks, width=12):
        super().__init__()
        self.patch, self.before = nn.Conv2d(3, width, 8, 8), nn.LayerNorm(width)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 2, 16, batch_first=True) for _ in range(blocks))

    def forward(self, x):
        x = self.before(self.patch(x).flatten(2).transpose(1, 2))
        for layer in self.layers:
            x = layer(x)
        return Output(x)


class Around(nn.Module):
    """A module around a network, as training code has it."""

    def __init__(self, model, head):
        super().__init__()
        self.model, self.head = model, head

    def forward(self, x):
        found = self.model(x)
        return self.head(found.last.mean(1) if isinstance(found, Output) else found)


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda net: net, "model."),
        (nn.DataParallel, "module.model."),
        (lambda net: Around(net, nn.Identity()), "model.model."),
    ],
)
@pytest.mark.parametrize("depth", [1, 2, 3, 12])
def test_blocks_are_found_behind_what_is_no_tensor_and_within_a_wrapper(wrap, prefix, depth):
    below = f"layers.{depth - 2}" if depth > 1 else "before"
    net = wrap(Around(Encoder(depth), nn.Linear(12, 3)))
    assert defaults(net) == (f"{prefix}layers.{depth - 1}", f"{prefix}{below}")


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_transformer_may_be_shallow(depth):
    sizes = {"image_size": 32, "patch_size": 8, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24}
    layer, lower = defaults(torchvision.models.VisionTransformer(num_layers=depth, **sizes))
    assert layer == f"encoder.layers.encoder_layer_{depth - 1}"
    assert lower == (f"encoder.layers.encoder_layer_{depth - 2}" if depth > 1 else "conv_proj")


def test_a_network_in_a_wrapper_has_the_stages_that_it_has_without():
    resnet = torchvision.models.resnet18(num_classes=5)
    assert defaults(Around(resnet, nn.Identity())) == ("model.layer4", "model.layer3")


def test_the_stages_of_a_traced_network_are_what_their_last_calls_give():
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18()
    layer, lower = defaults(create_feature_extractor(resnet, ["layer4", "fc"]))
    assert (layer, lower) == ("layer4.1.relu:relu.1", "layer3.1.relu:relu.1")  # what layer4 and layer3 give


def test_a_stage_that_ends_with_a_stride_is_the_stage_before():
    class Stage(nn.Module):
        def __init__(self, width, then):
            super().__init__()
            self.blocks, self.down = nn.ModuleList([Mixing(width, width), Mixing(width, width)]), then

        def forward(self, x):
            for part in self.blocks:
                x = part(x)
            return self.down(x), None

    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 2, 2)
            self.stages = nn.ModuleList(
                [Stage(4, nn.Conv2d(4, 5, 2, 2)), Stage(5, nn.Conv2d(5, 6, 2, 2)), Stage(6, nn.Identity())]
            )

        def forward(self, x):
            x = self.stem(x)
            for stage in self.stages:
                x, _ = stage(x)
            return x

    assert defaults(Pyramid()) == ("stages.2", "stages.1")
