"""Layers whose neurons saturate, and scores that are equal: from collect to the table of virtual neurons."""

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pure_cli import Workspace
from pure_cli.core.references import NO_IMAGE, scrambled


class Net(nn.Module):
    """The last layer saturates for most images; `quantise` makes its scores few."""

    def __init__(self, end, scale=60.0, quantise=False):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), end)
        self.head = nn.Linear(8, 3)
        self.scale, self.quantise = scale, quantise

    def forward(self, x):
        x = self.body(self.stem(x) * self.scale)
        x = x.round() if self.quantise else x
        return self.head(x.mean((2, 3)))


class Rounded(nn.Module):
    def forward(self, x):
        return torch.relu(x).mul(4).round()


def network(end, **options):
    torch.manual_seed(3)
    return Net(end, **options).eval().requires_grad_(False)


def listed(images):
    return sorted(images.rglob("*.png"))


def pixels(workspace, images):
    """All images as the network takes them."""
    from pure_cli.core.preprocessing import Preprocessing
    from pure_cli.data.listing import list_images
    from pure_cli.data.loader import decode_one

    listing = list_images(images)
    own = Preprocessing()
    return own.normalize(torch.stack([torch.from_numpy(decode_one(listing, i, own)) for i in range(len(listing))]))


def plain_loop(model, inputs, n):
    """What goes into the last nonlinearity, image by image, sorted neuron by neuron."""
    z = torch.cat([model.body[:2](model.stem(one[None]) * model.scale) for one in inputs]).flatten(2).numpy()
    best = z.max(axis=2)
    order = np.argsort(-best, axis=0, kind="stable")[:n].T
    return order, np.take_along_axis(best.T, order, axis=1), z


@pytest.fixture(params=["ReLU6", "ReLU6 in place", "Sigmoid", "Hardsigmoid", "Tanh"])
def end(request):
    name, *in_place = request.param.split(" ", 1)
    return getattr(nn, name)(inplace=True) if in_place else getattr(nn, name)()


def test_references_are_those_of_a_plain_loop_over_what_goes_in(tmp_path, images, end):
    model = network(end)
    workspace = Workspace(tmp_path / "w", model=model)
    outcome = workspace.collect(data=images, layer=["body", "stem"], n=10, workers=0)
    found = workspace.references("body")
    inputs = pixels(workspace, images)
    order, values, z = plain_loop(model, inputs, 10)
    np.testing.assert_allclose(found["value"], values, rtol=1e-4, atol=1e-3)
    clear = np.abs(np.diff(values, axis=1)).min(axis=1) > 1e-2
    assert clear.sum() >= 4
    np.testing.assert_array_equal(found["image"][clear], order[clear])
    places = np.take_along_axis(z.transpose(1, 0, 2).argmax(axis=2), order, axis=1)
    np.testing.assert_array_equal(found["position"][clear], places[clear])
    output = model.body(model.stem(inputs) * model.scale).flatten(2).amax(dim=2).numpy()
    ceiling = model.body[2](torch.tensor([1e4])).item()
    assert (np.isclose(output, ceiling, rtol=0, atol=1e-7).sum(axis=0) >= 10).any()  # saturated, and told apart
    assert any("'body' ends with" in note and "ranked by what goes into it" in note for note in outcome.notes)
    assert not any("equal scores" in note for note in outcome.notes)


def test_relevances_are_those_of_what_goes_in_and_neurons_are_split(tmp_path, images):
    model = network(nn.ReLU6(inplace=True))
    workspace = Workspace(tmp_path / "w", model=model)
    workspace.collect(data=images, layer="body", n=10, workers=0)
    workspace.attribute(lower_layer=["stem"], workers=0)
    workspace.cluster()
    inputs = pixels(workspace, images)
    with h5py.File(tmp_path / "w" / "attribute.h5") as file:
        found, image = file["layers/body/relevance/stem"][:], file["layers/body/image"][:]
        where = file["layers/body/activations/image"][:]
        highest = file["layers/body/activations/max"][:]
    for neuron in range(8):
        for slot in range(10):
            lower = model.stem(inputs[image[neuron, slot]][None]).requires_grad_()
            z = model.body[:2](lower * model.scale)[:, neuron]
            (gradient,) = torch.autograd.grad(z, lower, z.detach().clamp(min=0))
            expected = (gradient * lower).sum((2, 3))[0].detach()
            expected = expected / (expected.abs().sum() + 1e-10)
            np.testing.assert_allclose(found[neuron, slot], expected.numpy(), atol=2e-5)
    assert highest.max() == 6.0  # the layer's own activations stay what it gives
    assert (np.diff(where) > 0).all()
    table = workspace.virtual_neuron_tables()[0]
    assert all(row["tied"] == 0 for row in table["neurons"])


def test_what_does_not_saturate_keeps_its_numbers(tmp_path, images):
    """A ReLU6 that never reaches six is a ReLU, in every file."""
    for name, end in (("six", nn.ReLU6()), ("relu", nn.ReLU())):
        workspace = Workspace(tmp_path / name, model=network(end, scale=0.5))
        workspace.collect(data=images, layer="body", n=10, workers=0)
        workspace.attribute(lower_layer=["stem"], workers=0)
    with h5py.File(tmp_path / "six/collect.h5") as six, h5py.File(tmp_path / "relu/collect.h5") as relu:
        fires = relu["layers/body/value"][:] > 0
        assert fires.mean() > 0.5 and relu["layers/body/value"][:].max() < 6
        for part in ("image", "value", "position"):
            np.testing.assert_array_equal(six[f"layers/body/{part}"][:][fires], relu[f"layers/body/{part}"][:][fires])
    with h5py.File(tmp_path / "six/attribute.h5") as six, h5py.File(tmp_path / "relu/attribute.h5") as relu:
        ours, theirs = (file["layers/body/relevance/stem"][:] for file in (six, relu))
        np.testing.assert_allclose(ours[fires], theirs[fires], atol=1e-6)


def test_equal_scores_are_counted_told_and_not_in_the_order_of_the_listing(tmp_path, images, capsys):
    model = network(Rounded(), scale=0.5)
    workspace = Workspace(tmp_path / "w", model=model)
    outcome = workspace.collect(data=images, layer="body", n=10, workers=0)
    top = workspace.references("body")
    fired = (top["value"] > 0) & (top["image"] != NO_IMAGE)
    rows = [row[own] for row, own in zip(top["value"], fired, strict=True)]
    tied = np.array([sum((row == value).sum() > 1 for value in row) for row in rows])
    assert (tied > 0).any()
    (note,) = [note for note in outcome.notes if "equal scores" in note]
    assert note.startswith(f"{(tied > 0).sum()} of the 8 neurons of 'body' have references with equal scores")
    inputs = pixels(workspace, images)
    maps = model.body(model.stem(inputs) * model.scale).flatten(2).numpy()
    for neuron in range(8):
        keys = [(-maps[i, neuron].max(), -maps[i, neuron].mean(), int(scrambled(np.array([i]))[0])) for i in range(60)]
        order = sorted(range(60), key=keys.__getitem__)[:10]
        np.testing.assert_array_equal(top["image"][neuron], order)
    (result,) = [one for one in workspace.info()["results"] if one["stage"] == "collect"]
    assert f"{(tied > 0).sum()} with equal scores" in result["what"]
    workspace.attribute(lower_layer=["stem"], workers=0)
    workspace.cluster()
    assert {row["neuron"]: row["tied"] for row in workspace.virtual_neuron_tables()[0]["neurons"]} == dict(
        enumerate(tied)
    )


def test_a_workspace_with_ties_in_the_order_of_the_listing_is_collected_again(tmp_path, images):
    model = network(Rounded(), scale=0.5)
    workspace = Workspace(tmp_path / "w", model=model)
    workspace.collect(data=images, layer=["body", "stem"], n=10, workers=0)
    assert workspace.collect().up_to_date
    new = workspace.references("body")["image"]
    with h5py.File(tmp_path / "w/collect.h5", "r+") as file:  # as earlier versions wrote it
        for layer in ("body", "stem"):
            del file[f"layers/{layer}/mean"]
        file["layers/body/image"][:] = np.sort(new, axis=1)
    outcome = workspace.collect()
    assert outcome.layers == ["body"]
    assert any("'body' were replaced: the order of equal scores changed" in note for note in outcome.notes)
    np.testing.assert_array_equal(workspace.references("body")["image"], new)


def test_sums_over_space_are_of_what_the_layer_gives(tmp_path, images):
    model = network(nn.ReLU6())
    workspace = Workspace(tmp_path / "w", model=model)
    workspace.collect(data=images, layer="body", n=5, pool="mean", workers=0)
    inputs = pixels(workspace, images)
    means = model.body(model.stem(inputs) * model.scale).mean((2, 3)).numpy()
    np.testing.assert_allclose(workspace.references("body")["value"], -np.sort(-means.T, axis=1)[:, :5], rtol=1e-4)


def test_each_of_several_layers_is_read_before_what_follows_changes_it_in_place(tmp_path, images, tiny):
    both, alone = (Workspace(tmp_path / name, model=tiny) for name in ("both", "alone"))
    both.collect(data=images, layer=["bn1", "layer3"], n=5, pool="mean", workers=0)
    alone.collect(data=images, layer=["bn1"], n=5, pool="mean", workers=0)
    np.testing.assert_allclose(both.references("bn1")["value"], alone.references("bn1")["value"], atol=1e-6)


def test_a_picture_that_is_in_the_data_twice_is_named(tmp_path, images):
    folder = tmp_path / "twice"
    for i, path in enumerate(listed(images)[:20]):
        (folder / "a").mkdir(parents=True, exist_ok=True)
        (folder / "a" / f"{i}.png").write_bytes(path.read_bytes())
    (folder / "b").mkdir()
    Image.open(folder / "a/0.png").save(folder / "b/again.bmp")
    workspace = Workspace(tmp_path / "w", model=network(nn.ReLU6()))
    outcome = workspace.collect(data=folder, layer="body", n=21, workers=0)
    assert any("in the data twice, and counts twice: a/0.png and b/again.bmp." in note for note in outcome.notes)
    assert not any("equal scores" in note for note in outcome.notes)
    assert "equal scores" not in workspace.info()["results"][0]["what"]
