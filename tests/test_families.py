"""Every family of networks from images to figures, no layer named: small images, seeded weights."""

from copy import deepcopy
from functools import cache

import h5py
import numpy as np
import pytest
import torch
from families import FAMILIES
from PIL import Image

from pure_cli import Workspace
from pure_cli.core.hooks import is_function
from pure_cli.models.layers import list_layers
from pure_cli.models.load import load_model
from pure_cli.models.spec import parse_model

IMAGES, N = 5, 3
MEAN, STD = (0.4, 0.5, 0.6), (0.25, 0.2, 0.3)


@pytest.fixture
def built_once(monkeypatch):
    """Networks of a name and a size are built once in a test, and copied for each stage: drawing their weights takes
    longer than anything that is done with them."""
    from pure_cli.models import load

    for source in ("_torchvision", "_timm"):
        built = cache(getattr(load, source))
        monkeypatch.setattr(load, source, lambda *which, built=built: deepcopy(built(*which)))


def photos(folder, size):
    """Blobs of colour of several sizes, in two classes."""
    generator = np.random.default_rng(0)
    for i in range(IMAGES):
        (folder / f"class{i % 2}").mkdir(parents=True, exist_ok=True)
        blobs = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(blobs).resize((size, size), Image.Resampling.BICUBIC)
        image.save(folder / f"class{i % 2}" / f"{i}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=[family.shown for family in FAMILIES])
def test_from_images_to_figures_without_naming_a_layer(family, tmp_path, built_once):
    if ".py:" in family.model:
        pytest.importorskip("transformers")
    data, workspace = photos(tmp_path / "photos", family.size), Workspace(tmp_path / "workspace")
    how = {"resize": family.size, "crop_size": family.size, "mean": MEAN, "std": STD}
    workspace.collect(model=family.model, weights=family.weights, data=data, n=N, workers=0, device="cpu", **how)
    layer = workspace.info()["origin"]["default_layer"]
    references = workspace.references(layer)
    firing = np.flatnonzero((references["value"] > 0).all(axis=1))[:2].tolist()
    assert firing
    with h5py.File(workspace.path / "collect.h5") as file:
        hidden = file[f"layers/{layer}"].attrs["hidden"]
    one_by_one = not is_function(hidden) and family.channels == 1 and "convnext" not in family.shown  # for `_plain`
    usual = one_by_one and family.layers == ("", "")
    workspace.attribute(neurons=firing, recipe=None if usual else "paper", workers=0, device="cpu")
    with h5py.File(workspace.path / "attribute.h5") as file:
        (lower,) = file[f"layers/{layer}/relevance"]
        relevance = file[f"layers/{layer}/relevance/{lower}"][:]
    assert np.isfinite(relevance).all()
    assert (np.abs(relevance).sum(-1) > 0).all()  # far below 1 where an untrained network all but vanishes
    assert (np.abs(relevance) > 0).sum(-1).min() > 1  # the lower layer explains it by more than one channel
    workspace.cluster(neurons=firing)
    workspace.render(neurons=firing[:1], images=1, device="cpu")
    workspace.render(neurons=firing[:1], crop="activation", images=1, out=tmp_path / "maps", device="cpu")
    assert len(list(tmp_path.rglob("neuron-*.png"))) == 2

    model = load_model(parse_model(family.model), family.weights, 0, family.size).requires_grad_(False)
    image = next(model.parameters()).new_zeros(1, 3, family.size, family.size)
    shapes = {found.name: found for found in list_layers(model, image)}
    assert references["position"].max() < np.prod(shapes[layer].extent)
    assert relevance.shape[-1] == shapes[lower].channels
    if family.layers != ("", ""):
        assert (layer, lower) == family.layers
    _equal_a_plain_loop(family, workspace, layer, lower, data, model)


def _equal_a_plain_loop(family, workspace, layer, lower, data, model):
    """Scores and relevances are those of one image at a time, with nothing of pure's but the names of the layers."""
    with h5py.File(workspace.path / "collect.h5") as file:
        paths = dict(zip(file["images/index"][:].tolist(), file["images/path"].asstr()[:], strict=True))
        images, values = file[f"layers/{layer}/image"][:], file[f"layers/{layer}/value"][:]
        if "ranked_by" in file[f"layers/{layer}"].attrs["settings"]:  # by what goes into a ReLU6, which gives no less
            values = values.clip(min=0)
    scores, runs = {}, {}
    for index, path in paths.items():
        pixels = np.asarray(Image.open(data / path).convert("RGB"), np.float32) / 255
        x = torch.from_numpy((pixels - np.float32(MEAN)) / np.float32(STD)).permute(2, 0, 1)[None]
        runs[index] = a, _ = _plain(model, x, layer, lower, family.channels)
        scores[index] = a.detach().amax(dim=1)[0].numpy()
    expected = np.sort(np.stack(list(scores.values())), axis=0)[::-1][:N].T
    largest = np.abs(expected).max()
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-4 * largest)
    chosen = np.array([[scores[i][c] for i in row] for c, row in enumerate(images.tolist())])
    np.testing.assert_allclose(values, chosen, rtol=0, atol=1e-4 * largest)

    alike = []
    with h5py.File(workspace.path / "attribute.h5") as file:
        own = file[f"layers/{layer}"]
        for row, neuron in enumerate(own["neuron"][:].tolist()):
            for slot, index in enumerate(own["image"][row].tolist()):
                a, h = runs[index]
                fired = a[0, :, neuron]
                (gradient,) = torch.autograd.grad(fired @ fired.detach().clamp(min=0), h, retain_graph=True)
                by_channel = (gradient * h).detach().movedim(family.channels, 1).flatten(2).sum(-1)[0].double().numpy()
                found = own[f"relevance/{lower}"][row, slot].astype(np.float64)  # its square may be 0 as float32
                norms = np.linalg.norm(by_channel) * np.linalg.norm(found)
                alike.append(float(by_channel @ found / norms))
    assert np.median(alike) > 0.99999
    assert min(alike) > (0.99999 if family.channels > 1 else 0.999)  # merged batch norms may flip single ReLUs


def _plain(model, x, layer, lower, channels):
    """(1, S, C) activations of the layer, and those of the lower layer as they are."""
    kept = {}

    def keep(name):
        def hook(module, inputs, output):
            first = output[0] if isinstance(output, tuple) else output
            kept[name] = first
            return (first.clone(), *output[1:]) if isinstance(output, tuple) else first.clone()

        return hook

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in (layer, lower)]
    model(x.requires_grad_())
    for handle in handles:
        handle.remove()
    return kept[layer].movedim(channels, -1).flatten(1, -2), kept[lower]
