"""Where the channels and the patches are, by what the layers of small networks do, whatever the lengths of the axes."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pure_cli.core.circuits import activations, forward_to
from pure_cli.core.hooks import main_tensor
from pure_cli.core.layout import Patches
from pure_cli.core.structure import declare_channel_axes, ends_dense, learn, observe, same_channels
from pure_cli.models.layers import check_layer, list_layers, unclear

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """What a function makes of images, by the modules that it is given."""

    def __init__(self, run, **modules):
        super().__init__()
        self._run = run
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self._run(self, x)


def layers_of(model):
    torch.manual_seed(0)
    return {layer.name: layer for layer in list_layers(model.eval().requires_grad_(False), IMAGE)}


def tokens(net, x):
    return net.patch(x).flatten(2).transpose(1, 2)


def queries(net, x):
    asked = net.asked.weight[None].expand(len(x), -1, -1)
    return net.out(net.decoder(asked, tokens(net, x)))


def fewer(net, x):
    x = net.block(tokens(net, x))
    keep = x.norm(dim=-1).topk(46, dim=1).indices
    return net.out(x.gather(1, keep[..., None].expand(-1, -1, x.shape[2])))


def shuffled(net, x):
    x = tokens(net, x)
    order = torch.randperm(x.shape[1])[None, :, None].expand(len(x), -1, x.shape[2])
    return net.out(torch.gather(x, 1, order))


def with_class(net, x):
    x = tokens(net, x)
    return net.out(torch.cat([net.first.weight[None].expand(len(x), -1, -1), x], 1))


def conv(channels, patch=4):
    return nn.Conv2d(3, channels, patch, patch)


def test_queries_are_positions_and_no_channels():
    decoder = nn.TransformerDecoderLayer(256, 4, 32, batch_first=True)
    net = Net(queries, patch=conv(256), asked=nn.Embedding(300, 256), decoder=decoder, out=nn.Linear(256, 256))
    found = layers_of(net)
    for name in ("decoder", "out", "decoder.norm1", "decoder.linear2"):
        assert (found[name].channels, found[name].extent, found[name].grid) == (256, (300,), None), name
        assert found[name].sure


def test_tokens_that_were_picked_or_shuffled_have_no_place_in_the_image():
    block = nn.TransformerEncoderLayer(256, 4, 32, batch_first=True)
    found = layers_of(Net(fewer, patch=conv(256), block=block, out=nn.Linear(256, 256)))
    assert (found["block"].channels, found["block"].grid) == (256, Patches(8, 8))
    assert (found["out"].channels, found["out"].extent, found["out"].has_map) == (256, (46,), False)
    all_there = layers_of(Net(shuffled, patch=conv(16), out=nn.Linear(16, 16)))["out"]
    assert (all_there.extent, all_there.has_map) == ((64,), False)  # as many as patches, in another order


def test_patches_are_counted_behind_what_is_put_in_front():
    net = Net(with_class, patch=conv(16), first=nn.Embedding(5, 16), out=nn.Linear(16, 64))
    out = layers_of(net)["out"]
    assert (out.channels, out.grid) == (64, Patches(8, 8, 5))
    image = torch.zeros(2, 3, 32, 32)
    image[:, :, 4:8, 8:12] = 100  # the patch in row 1 and column 2
    difference = (activations(net, image, ["out"])["out"] - activations(net, image * 0, ["out"])["out"]).abs().sum(1)
    assert difference[0].argmax() == 5 + 1 * 8 + 2


@pytest.mark.parametrize(
    ("run", "modules", "channels_last"),
    [
        (lambda net, x: net.norm(net.conv(x).permute(0, 2, 3, 1)), {"norm": nn.LayerNorm(8)}, True),
        (lambda net, x: net.norm(net.conv(x).mT.permute(0, 3, 2, 1)).mT.mT * 2, {"norm": nn.LayerNorm(8)}, True),
        (lambda net, x: net.norm(net.conv(x).movedim(1, 3)).permute(0, 3, 1, 2), {"norm": nn.LayerNorm(8)}, False),
        (lambda net, x: net.norm(net.conv(x)), {"norm": nn.BatchNorm2d(8)}, False),
        (lambda net, x: F.linear(net.conv(x).permute(0, 2, 3, 1), torch.ones(8, 8)), {}, True),
        (lambda net, x: net.conv(x).permute(0, 2, 3, 1) @ torch.ones(8, 8), {}, True),
        (lambda net, x: torch.einsum("bchw->bhwc", net.conv(x)).relu(), {}, True),
        (lambda net, x: net.conv(x).movedim(1, -1).roll(1, 1)[:, :, None].squeeze(2), {}, True),
    ],
)  # fmt: skip
def test_a_map_as_long_as_it_has_channels_is_read_by_what_works_on_it(run, modules, channels_last):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = Net(run, conv=nn.Conv2d(3, 8, 4, 4), **modules)

        def forward(self, x):
            return self.inside(x).sum()

    net = Last()
    learn(net, IMAGE)
    assert ends_dense(net, "inside") is channels_last
    assert ends_dense(net, "inside.conv") is False


def test_where_tokens_are_mixed_channel_by_channel_the_channels_stay_and_it_is_said():
    net = Net(
        lambda net, x: net.norm(net.mix(tokens(net, x).transpose(1, 2)).transpose(1, 2)),
        patch=conv(48), mix=nn.Linear(64, 64), norm=nn.LayerNorm(48),
    )  # fmt: skip
    found = layers_of(net)
    assert (found["mix"].channels, found["mix"].sure) == (48, False)
    assert (found["norm"].channels, found["norm"].sure) == (48, True)
    (sentence,) = unclear(list(found.values()), ["mix", "norm"])
    assert "'mix' (48 × 64)" in sentence and "--channels-axis mix=last" in sentence


def test_what_no_layer_tells_is_read_by_its_shape_and_what_the_user_says_counts_more():
    net = Net(lambda net, x: net.opaque(net.patch(x)), patch=conv(300), opaque=Opaque())
    assert (layers_of(net)["opaque"].channels, layers_of(net)["opaque"].sure) == (300, False)
    declare_channel_axes(net, {"": "last", "patch": "first"}, ["opaque"])
    found = layers_of(net)
    assert (found["opaque"].channels, found["opaque"].sure) == (64, True)
    assert (found["patch"].channels, found["patch"].sure) == (300, True)
    assert forward_to(net, IMAGE, "opaque", ["patch"])[0].shape == (1, 64, 300)
    other = Net(net._run, patch=net.patch, opaque=net.opaque)
    same_channels(other, net)
    assert activations(other, IMAGE, ["opaque"])["opaque"].shape == (1, 64, 300)
    assert activations(copy.copy(other), IMAGE, ["opaque"])["opaque"].shape == (1, 64, 300)


class Opaque(nn.Module):
    """What it does is out of sight of torch."""

    def forward(self, x):
        return torch.from_numpy(x.detach().flatten(2).numpy().copy())


def test_attention_by_heads_is_no_activation():
    def attend(net, x):
        x = tokens(net, x)
        heads = x.reshape(len(x), 64, 4, 4).transpose(1, 2)
        weights = net.drop((heads @ heads.transpose(-2, -1)).softmax(-1))
        return net.out((weights @ heads).transpose(1, 2).reshape(x.shape))

    found = layers_of(Net(attend, patch=conv(16), drop=nn.Dropout(), out=nn.Linear(16, 16)))
    assert found["drop"].shape is None
    assert (found["out"].channels, found["out"].grid) == (16, Patches(8, 8))


def test_of_a_tuple_the_first_tensor_is_read_and_replaced():
    class Pair(nn.Module):
        def forward(self, x):
            return x * 2, x.mean((2, 3)), None

    net = Net(lambda net, x: net.after(net.pair(net.before(x))[0]), before=nn.Conv2d(3, 4, 1), pair=Pair(),
              after=nn.Conv2d(4, 2, 1)).eval().requires_grad_(False)  # fmt: skip
    assert layers_of(net)["pair"].shape == (4, 32, 32)
    plain = net.before(IMAGE) * 2
    torch.testing.assert_close(activations(net, IMAGE, ["pair"], lambda _, output: output.clone())["pair"], plain)
    output, lower = forward_to(net, IMAGE, "after", ["pair"])
    (gradient,) = torch.autograd.grad(output[:, 0].sum(), lower["pair"])
    torch.testing.assert_close(gradient[0, :, 0, 0], net.after.weight[0, :, 0, 0])
    first, second = torch.ones(2, 3), torch.zeros(2, 3)
    assert main_tensor((first, second)) is None and main_tensor((first, first)) is first
    assert main_tensor([first]) is None


def test_a_layer_that_does_not_run_for_every_image_is_named():
    net = Net(
        lambda net, x: net.one(x) if x.sum() > 1e9 else net.other(x), one=nn.Conv2d(3, 4, 1), other=nn.Conv2d(3, 4, 1)
    )
    with pytest.raises(Exception, match="'one' does not run for every image"):
        check_layer("one", list_layers(net, IMAGE), net)


def test_the_images_and_the_network_stay_as_they_were():
    net = Net(with_class, patch=conv(16), first=nn.Embedding(1, 16), out=nn.Linear(16, 8)).eval()
    before = net(IMAGE)
    observe(net, IMAGE)
    torch.testing.assert_close(net(IMAGE), before, rtol=0, atol=0)
    assert not vars(IMAGE) and not any(vars(p) for p in net.parameters())
