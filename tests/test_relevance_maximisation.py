"""collect --by relevance and --pool: against zennit-crp on real images and a trained network, and plain sums."""

import sys

import numpy as np
import pytest
import torch
from torchvision import transforms
from torchvision.datasets.folder import default_loader
from zennit.composites import EpsilonPlusFlat

from pure_cli import Workspace
from pure_cli.errors import PureError
from pure_cli.models.rules import canonizers_for

IMAGES, N, LAYERS = 300, 12, ["layer2", "layer3"]
NORMALISE = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    """The trained network, a folder of images with the numbers of their classes, and the images as tensors."""
    sys.path.insert(0, str(shared / "yardstick"))
    import cifar_resnet

    folder = tmp_path_factory.mktemp("relmax")
    listed = sorted((shared / "data" / "cifar10").glob("*/*.jpg"))[:: 10_000 // IMAGES][:IMAGES]
    names = sorted({path.parent.name for path in listed})
    labels = [names.index(path.parent.name) for path in listed]
    (folder / "images.csv").write_text("\n".join(f"{p},{k}" for p, k in zip(listed, labels, strict=True)))
    weights = shared / "models" / "resnet20-12fca82f.th"
    options = {
        "model": f"{shared / 'yardstick' / 'cifar_resnet.py'}:resnet20",
        "weights": weights,
        "data": folder / "images.csv",
        "layer": LAYERS,
        "n": N,
        "device": "cpu",
    }
    pixels = torch.stack([transforms.functional.to_tensor(default_loader(str(path))) for path in listed])
    network = cifar_resnet.load_public(cifar_resnet.resnet20(), weights).eval()
    return folder, options, network, pixels, labels


def by_crp(network, pixels, labels, folder, pool):
    """zennit-crp's references, values and positions of each layer, (C, N) each, by relevance."""
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from crp.visualization import FeatureVisualization

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(pixels)

        def __getitem__(self, i):
            return pixels[i], labels[i]

    concepts = dict.fromkeys(LAYERS, ChannelConcept())
    theirs = FeatureVisualization(
        CondAttribution(network), Images(), concepts, NORMALISE, max_target=pool, abs_norm=True, path=str(folder)
    )
    theirs.RelMax.SAMPLE_SIZE = N
    saved = theirs.run(EpsilonPlusFlat(canonizers=canonizers_for(network)), 0, len(pixels), 50)
    assert saved
    found = {}
    for layer in LAYERS:
        stem = theirs.RelMax.PATH / f"{layer}_"
        found[layer] = [np.load(f"{stem}{part}.npy")[:N].T for part in ("data", "rel", "rf")]
    return found


@pytest.mark.parametrize("pool", ["sum", "max"])
def test_references_by_relevance_are_those_of_crp(real, tmp_path, pool):
    _, options, network, pixels, labels = real
    workspace = Workspace(tmp_path / "w")
    outcome = workspace.collect(**options, by="relevance", pool=pool)
    assert any("labels" in note for note in outcome.notes)
    theirs = by_crp(network, pixels, labels, tmp_path / "crp", pool)
    for layer in LAYERS:
        image, value, position = theirs[layer]
        ours = workspace.references(layer)
        np.testing.assert_allclose(ours["value"], value, rtol=1e-3, atol=1e-6)
        near = np.abs(np.diff(value, axis=1)) < 1e-6
        clear = ~np.pad(near, ((0, 0), (1, 0))) & ~np.pad(near, ((0, 0), (0, 1))) & (value > 0)
        assert clear.mean() > 0.8
        np.testing.assert_array_equal(ours["image"][clear], image[clear])
        np.testing.assert_array_equal(ours["position"][clear], position[clear])


def test_later_stages_go_on_from_references_by_relevance(real, tmp_path):
    _, options, *_ = real
    workspace = Workspace(tmp_path / "w")
    assert not workspace.collect(**options, by="relevance").up_to_date
    assert workspace.collect(**options, by="relevance").up_to_date
    workspace.attribute(neurons="0-3", layer="layer3", lower_layer="layer2")
    workspace.cluster(neurons="0-3", layer="layer3")
    assert any("by relevance (sum" in result["what"] for result in workspace.info()["results"])
    assert workspace.collect(**{name: options[name] for name in ("device",)}).up_to_date  # remembered
    again = workspace.collect(**options)
    assert any("the score" in note for note in again.notes)
    with pytest.raises(PureError, match="stale"):
        workspace.cluster(neurons="0-3", layer="layer3")


@pytest.fixture
def tiny_options(images, model_file, tiny_weights):
    return {"model": f"{model_file}:tiny", "weights": tiny_weights, "data": images, "workers": 0, "layer": "layer3"}


@pytest.mark.parametrize("pool", ["mean", "sum"])
def test_activations_are_pooled_as_asked(tiny_options, tiny, tmp_path, pool):
    from pure_cli.core.circuits import activations
    from pure_cli.core.preprocessing import Preprocessing
    from pure_cli.data.listing import list_images
    from pure_cli.data.loader import decode_one

    workspace = Workspace(tmp_path / "w")
    workspace.collect(**tiny_options, n=5, pool=pool)
    listing, preprocessing = list_images(tiny_options["data"]), Preprocessing()
    scores = []
    for i in listing.index.tolist():
        image = torch.from_numpy(decode_one(listing, i, preprocessing))[None]
        flat = activations(tiny, preprocessing.normalize(image), ["layer3"])["layer3"][0].flatten(1)
        scores.append(getattr(flat, pool)(dim=1).numpy())
    scores = np.array(scores).T
    ours = workspace.references("layer3")
    np.testing.assert_allclose(ours["value"], -np.sort(-scores, axis=1)[:, :5], rtol=1e-4, atol=1e-6)


def test_wrong_scores_are_refused(tiny_options, tmp_path):
    workspace = Workspace(tmp_path / "w")
    with pytest.raises(PureError, match="--by relevance"):
        workspace.collect(**tiny_options, target="label")
    with pytest.raises(PureError, match="pool"):
        workspace.collect(**tiny_options, pool="median")
    workspace.collect(**tiny_options, n=5)
    many = tmp_path / "many.csv"
    many.write_text("\n".join(f"{path},{i}" for i, path in enumerate(sorted(tiny_options["data"].rglob("*.*")))))
    with pytest.raises(PureError, match="outputs"):
        workspace.collect(**{**tiny_options, "data": many}, n=5, by="relevance", target="label")
    np.save(tmp_path / "d.npy", np.eye(workspace.references("layer3")["image"].shape[0], dtype=np.float32)[:2])
    with pytest.raises(PureError, match="Directions have no relevance"):
        workspace.collect(**tiny_options, directions=tmp_path / "d.npy", by="relevance")


def test_without_labels_the_predicted_class_is_explained(tiny_options, tmp_path):
    workspace, unlabelled = Workspace(tmp_path / "w"), tmp_path / "images.txt"
    unlabelled.write_text("\n".join(sorted(str(path) for path in tiny_options["data"].rglob("*.*"))))
    tiny_options["data"] = unlabelled
    outcome = workspace.collect(**tiny_options, n=5, by="relevance", rule="gradient-x-input")
    assert any("predicted" in note for note in outcome.notes)
    with pytest.raises(PureError, match="--target predicted"):
        workspace.collect(**tiny_options, n=5, by="relevance", target="label")
