"""Virtual neurons as modules: their maps add up to the neuron's, and the network goes on without some of them."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_assign import EACH, TwoPaths, paint, to_tensor

from pure_cli import PureError, Workspace
from pure_cli.core.rewiring import channel_shares, split_by_channels


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A workspace of `TwoPaths`, and new images with their colours."""
    folder = tmp_path_factory.mktemp("paths")
    study = Workspace(folder / "w", model=TwoPaths(), transform=to_tensor)
    study.collect(data=paint(folder / "seen", 0), layer="upper", references=30, workers=0, device="cpu")
    study.attribute(lower_layer="lower", workers=0, device="cpu")
    study.cluster(k=[2])
    new = paint(folder / "new", 1)
    files = sorted(new.rglob("*.png"))
    images = torch.stack([to_tensor(Image.open(file).convert("RGB")) for file in files])
    return study, images, torch.tensor([file.parent.name == "blue" for file in files])


@pytest.fixture(scope="module")
def of_blue(paths):
    """The address of the virtual neuron of blue, and that of red."""
    study, images, blue = paths
    module = study.virtual("upper", 0, device="cpu")
    number = int(module.shares(images)[blue.nonzero()[0, 0]].argmax())
    return module.addresses[number], module.addresses[1 - number]


def test_maps_add_up_to_the_neuron_and_each_path_is_one_virtual_neuron(paths, of_blue):
    study, images, blue = paths
    module = study.virtual("upper", "0", device="cpu")
    assert module.addresses == ["upper/0.1", "upper/0.2", "upper/0 none"]
    maps, whole = module(images), TwoPaths()
    expected = whole.upper(torch.relu(whole.lower(images)))[:, 0]
    assert maps.shape == (2 * EACH, 3, 8, 8)
    torch.testing.assert_close(maps.sum(dim=1), expected, rtol=1e-6, atol=0)
    own = module.addresses.index(of_blue[0])
    torch.testing.assert_close(maps[blue, own], expected[blue], rtol=0, atol=0)
    assert not maps[~blue, own].any() and not maps[:, 2].any()
    for without in (torch.no_grad, torch.inference_mode):
        with without():
            torch.testing.assert_close(module(images.clone()), maps, rtol=0, atol=0)
            weights = study.virtual("upper", "0", device="cpu", by="weights")(images.clone())
            torch.testing.assert_close(weights.sum(dim=1), expected, rtol=1e-6, atol=0)
            with study.edit(silence=[of_blue[0]], device="cpu") as model:
                assert not model(images.clone())[blue, 0].any()


def test_gradients_go_through_the_maps(paths, of_blue):
    study, images, blue = paths
    module = study.virtual("upper", 0, device="cpu")
    pixels = images[blue][:2].clone().requires_grad_()
    module(pixels)[:, module.addresses.index(of_blue[0])].sum().backward()
    torch.testing.assert_close(pixels.grad[:, 2], torch.full((2, 8, 8), 2.0))
    assert not pixels.grad[:, :2].any()


def test_without_edits_the_network_is_the_same_to_the_bit(paths):
    study, images, _ = paths
    with study.edit(device="cpu") as model:
        assert torch.equal(model(images), TwoPaths()(images))


def test_what_is_silenced_is_gone_and_its_sibling_stays(paths, of_blue):
    study, images, blue = paths
    before = TwoPaths()(images)[:, 0]
    with study.edit(silence=[of_blue[0]], device="cpu") as model:
        after = model(images)[:, 0]
    assert not after[blue].any()
    assert torch.equal(after[~blue], before[~blue])
    with study.edit(scale={of_blue[0]: 2.0, of_blue[1]: 0.5}, device="cpu") as model:
        torch.testing.assert_close(model(images)[:, 0], before * torch.where(blue, 2.0, 0.5))
    with study.edit(silence="upper/0", device="cpu") as model:
        assert not model(images)[:, 0].any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"silence": ["upper/0.3"]}, "no virtual neuron 0.3"),
        ({"silence": ["upper/0.1"], "scale": {"upper/0.1": 2}}, "edited twice"),
        ({"silence": ["lower/0.1"]}, "Unknown layer 'lower'"),
        ({"silence": ["upper/9.1"]}, "no neuron 9"),
        ({"silence": ["other/upper/0.1"]}, "of a model other"),
    ],
)
def test_what_cannot_be_edited_is_said(paths, options, words):
    with pytest.raises(PureError, match=words), paths[0].edit(**options, device="cpu"):
        pass


@pytest.mark.parametrize("rule", ["gradient-x-input", "epsilon-plus"])
def test_shares_are_those_that_assign_finds(tmp_path, model_file, tiny_weights, images, rule):
    from pure_cli.artifacts import read_assignments

    study = Workspace(tmp_path)
    study.collect(
        model=f"{model_file}:tiny", weights=tiny_weights, data=images, references=12, workers=0, layer="layer3"
    )
    study.attribute(workers=0, neurons="0-5", rule=rule)
    study.cluster(k=[2])
    study.assign(neurons="0-5", per_quantile=0, workers=0)
    found = read_assignments(study.store)["layer3"]
    checked = 0
    for row, neuron in enumerate(found.neuron.tolist()):
        module = study.virtual("layer3", neuron, device="cpu")
        for place in range(min(3, int((found.image[row] >= 0).sum()))):
            picture = module.inputs(Image.open(images / found.path[int(found.image[row, place])]))
            torch.testing.assert_close(
                module.shares(picture)[0, : len(module.addresses) - 1].float(),
                torch.from_numpy(found.share[row, place, : len(module.addresses) - 1]), rtol=1e-3, atol=1e-3,
            )  # fmt: skip
            assert module(picture).amax(dim=(-1, -2)).sum() == pytest.approx(float(found.score[row, place]), rel=1e-4)
            if not place:
                above = study.virtual("layer3", neuron, device="cpu", at="layer2")
                hidden = above.inputs(Image.open(images / found.path[int(found.image[row, place])]))
                torch.testing.assert_close(above.activation(hidden), module.activation(picture), rtol=1e-6, atol=1e-7)
                merged = (
                    rule == "epsilon-plus"
                )  # with merged batch norms, what the lower layer gives is rounded otherwise
                torch.testing.assert_close(above(hidden), module(picture), rtol=0, atol=1e-4 if merged else 1e-7)
            checked += 1
    assert checked > 6


def test_rewired_parts_are_the_neuron_with_a_share_of_its_weights(paths, of_blue):
    study, images, blue = paths
    module = study.virtual("upper", 0, device="cpu", by="weights")
    assert module.addresses == ["upper/0.1", "upper/0.2", "upper/0 rest"] and module.lower_layer == "lower"
    maps, whole = module(images), TwoPaths()
    with torch.no_grad():
        lower = torch.relu(whole.lower(images))
        expected = whole.upper(lower)[:, 0]
        torch.testing.assert_close(maps.sum(dim=1), expected, rtol=1e-6, atol=0)
        for part, share in enumerate(module.channel_shares):
            own = torch.nn.functional.conv2d(lower, whole.upper.weight[:1] * share.float()[None, :, None, None])[:, 0]
            torch.testing.assert_close(maps[:, part], own)
    own = module.addresses.index(of_blue[0])
    assert module.channel_shares[own].tolist() == [0, 0.5, 1], "red, green (nobody's), blue"
    assert not maps[~blue, own].any() and not maps[:, 2].any()


@pytest.mark.parametrize("by", ["circuits", "weights"])
def test_from_the_lower_layer_on_maps_and_gradients_are_those_from_images(paths, by):
    study, images, _ = paths
    module, above = (study.virtual("upper", 0, device="cpu", by=by, at=at) for at in ("", "lower"))
    pixels = images.clone().requires_grad_()
    hidden = TwoPaths().lower(images).detach().requires_grad_()
    for given, own in ((pixels, module), (hidden, above)):
        (own(given) ** 2).sum().backward()
    torch.testing.assert_close(above(hidden), module(images), rtol=1e-6, atol=0)
    assert hidden.grad.any()
    torch.testing.assert_close(pixels.grad, hidden.grad, msg="the lower layer is the identity")
    with torch.no_grad():
        assert not above(hidden).requires_grad


def test_a_layer_that_the_lower_layer_does_not_depend_on_alone_is_refused(tmp_path, model_file, tiny_weights, images):
    study = Workspace(tmp_path)
    study.collect(
        model=f"{model_file}:tiny", weights=tiny_weights, data=images, references=12, workers=0, layer="layer3"
    )
    study.attribute(workers=0, neurons="0")
    study.cluster(k=[2])
    for at, words in (
        ("layer3.0.conv1", "'layer2' depends on more than what 'layer3.0.conv1' gives"),
        ("layer2.0.conv1", "'layer2' depends on more"),
        ("layer22", "Unknown layer 'layer22'"),
    ):
        with pytest.raises(PureError, match=words):
            study.virtual("layer3", 0, device="cpu", at=at)


def test_rewired_parts_add_up_where_a_network_is_bent_and_has_biases():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU(), torch.nn.Conv2d(5, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3)
    )
    model.eval().requires_grad_(False)
    images, shares = torch.randn(2, 3, 12, 12), torch.rand(3, 5).softmax(dim=0)
    maps, lower = split_by_channels(model, images, "4", "0", 1, shares), model[0](images)
    torch.testing.assert_close(maps.sum(dim=1), model(images)[:, 1], rtol=1e-6, atol=1e-7)
    _, along = torch.func.jvp(lambda lower: model[1:](lower)[:, 1], (lower,), (lower * shares[2][:, None, None],))
    torch.testing.assert_close(maps[:, 2], along)
    zero = [layer.bias.zero_() for layer in model if isinstance(layer, torch.nn.Conv2d)]
    assert zero and split_by_channels(model, images, "4", "0", 1, shares)[:, 3].abs().max() < 1e-6, "only biases"


def test_shares_of_channels_add_up():
    shares = channel_shares(np.array([[0.2, -1, 0, 0.3], [0.6, -2, 0, -0.1]]))
    np.testing.assert_allclose(shares, [[0.25, 0.5, 0.5, 1], [0.75, 0.5, 0.5, 0]])


def test_other_ways_to_split_a_neuron_are_refused(paths):
    with pytest.raises(PureError, match="circuits"):
        paths[0].virtual("upper", 0, device="cpu", by="circuit")
