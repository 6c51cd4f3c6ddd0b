"""Every family of networks from images to figures, no layer named: small images, seeded weights."""

import h5py
import numpy as np
import pytest
from families import FAMILIES
from PIL import Image

from pure_cli import Workspace
from pure_cli.models.layers import list_layers
from pure_cli.models.load import load_model
from pure_cli.models.spec import parse_model

IMAGES, N = 6, 4


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Blobs of colour of several sizes, in two classes."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for i in range(IMAGES):
        (folder / f"class{i % 2}").mkdir(exist_ok=True)
        blobs = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(blobs).resize((260, 240), Image.Resampling.BICUBIC).save(folder / f"class{i % 2}" / f"{i}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=[family.model for family in FAMILIES])
def test_from_images_to_figures_without_naming_a_layer(family, photos, tmp_path):
    workspace = Workspace(tmp_path)
    sides = {"resize": family.size, "crop_size": family.size}
    workspace.collect(model=family.model, weights="none", data=photos, n=N, workers=0, device="cpu", **sides)
    layer = workspace.info()["origin"]["default_layer"]
    references = workspace.references(layer)
    firing = np.flatnonzero((references["value"] > 0).all(axis=1))[:2].tolist()
    assert firing
    workspace.attribute(neurons=firing, workers=0, device="cpu")
    with h5py.File(tmp_path / "attribute.h5") as file:
        (lower,) = file[f"layers/{layer}/relevance"]
        relevance = file[f"layers/{layer}/relevance/{lower}"][:]
    assert np.isfinite(relevance).all()
    assert (np.abs(relevance).sum(-1) > 0).all()  # far below 1 where an untrained network all but vanishes
    assert (np.abs(relevance) > 0).sum(-1).min() > 1  # the lower layer explains it by more than one channel
    workspace.cluster(neurons=firing)
    workspace.render(neurons=firing[:1], workers=0, device="cpu")
    workspace.render(neurons=firing[:1], crop="activation", images=2, out=tmp_path / "maps", device="cpu")
    assert len(list(tmp_path.rglob("neuron-*.png"))) == 2

    model = load_model(parse_model(family.model), "none", 0, family.size)
    image = next(model.parameters()).new_zeros(1, 3, family.size, family.size)
    shapes = {found.name: found for found in list_layers(model, image)}
    assert references["position"].max() < np.prod(shapes[layer].extent)
    assert relevance.shape[-1] == shapes[lower].channels
