"""Real images and a real trained network: the tool, run through its files, against zennit-crp and scikit-learn."""

import sys

import h5py
import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torchvision import transforms
from torchvision.datasets.folder import default_loader
from zennit.composites import EpsilonPlusFlat

from pure_cli import Workspace
from pure_cli.models.rules import canonizers_for

IMAGES, N, LAYERS, NEURONS = 800, 20, ["layer2", "layer3"], [0, 7, 36, 52]
NORMALISE = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def study(shared, tmp_path_factory):
    """A workspace with references, relevances and clusters, and zennit-crp's run over the same images."""
    sys.path.insert(0, str(shared / "yardstick"))
    import cifar_resnet
    import reference

    folder = tmp_path_factory.mktemp("parity")
    listed = sorted((shared / "data" / "cifar10").glob("*/*.jpg"))[:: 10_000 // IMAGES][:IMAGES]
    listing = folder / "images.txt"
    listing.write_text("\n".join(map(str, listed)))

    workspace = Workspace(folder / "workspace")
    weights = shared / "models" / "resnet20-12fca82f.th"
    model = f"{shared / 'yardstick' / 'cifar_resnet.py'}:resnet20"
    workspace.collect(model=model, weights=weights, data=listing, layer=LAYERS, n=N, device="cpu")
    workspace.attribute(neurons=NEURONS, layer=["layer3"], lower_layer=["layer2", "layer1"], device="cpu")
    workspace.cluster(k=[2, 3], features=["pure", "activation-max", "activation-mean"])

    network = cifar_resnet.load_public(cifar_resnet.resnet20(), weights)
    pixels = torch.stack([transforms.functional.to_tensor(default_loader(str(path))) for path in listed])
    images = reference.Images(pixels, torch.zeros(IMAGES, dtype=torch.long))
    visualization, _ = reference.collect(network, images, LAYERS, NORMALISE, folder / "crp", N)
    return workspace, network, images, visualization, reference


@pytest.fixture
def store(study):
    def read(name: str) -> h5py.File:
        return h5py.File(study[0].path / f"{name}.h5", "r")

    return read


@pytest.mark.parametrize("layer", LAYERS)
def test_references_are_those_of_crp(study, store, layer):
    _, _, _, visualization, reference = study
    ids, values, positions = reference.references(visualization, layer)
    with store("collect") as file:
        group = file[f"layers/{layer}"]
        ours = {name: group[name][:] for name in ("image", "value", "position")}
    np.testing.assert_allclose(ours["value"], values.T, rtol=1e-4, atol=1e-5)
    gaps = np.diff(values.T, axis=1) == 0  # where scores are equal, the order is ours: the lower index first
    clear = ~np.pad(gaps, ((0, 0), (1, 0))) & ~np.pad(gaps, ((0, 0), (0, 1)))
    near = np.abs(np.diff(values.T, axis=1)) < 1e-5
    clear &= ~np.pad(near, ((0, 0), (1, 0))) & ~np.pad(near, ((0, 0), (0, 1)))
    clear &= values.T > 0
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(ours["image"][clear], ids.T[clear])
    np.testing.assert_array_equal(ours["position"][clear], positions.T[clear])


@pytest.mark.parametrize("lower", ["layer2", "layer1"])
def test_relevances_are_those_of_crp(study, store, lower):
    _, network, images, _, reference = study
    with store("attribute") as file:
        group = file["layers/layer3"]
        assert group["neuron"][:].tolist() == NEURONS
        references, ours = group["image"][:], group[f"relevance/{lower}"][:]
    ids = np.zeros((N, 64), np.int64)
    ids[:, NEURONS] = references.T
    theirs, _, _, _ = reference.attribute(network, images, NORMALISE, ids, "layer3", lower, ["layer3", lower], NEURONS)
    theirs = theirs.numpy()
    # A ReLU whose input is zero but for rounding may let through what theirs stops, and so change one row.
    close = np.abs(ours - theirs).max(axis=-1) <= 2e-6
    assert close.mean() >= 0.98
    cosine = (ours * theirs).sum(-1) / (np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1))
    assert cosine.min() >= 0.999
    assert np.median(cosine) >= 0.99999


@pytest.mark.parametrize("lower", ["layer2", "layer3.2.relu1"])
def test_relevances_of_the_network_as_loaded_are_those_of_crp_to_rounding(study, store, lower):
    """Without merged batch norm nothing but the order of sums is different."""
    from pure_cli.core.circuits import Circuits

    _, network, images, _, reference = study
    with store("attribute") as file:
        references = file["layers/layer3/image"][:4]
    ids = np.zeros((N, 64), np.int64)
    ids[:, NEURONS[:4]] = references.T
    theirs, _, _, _ = reference.attribute(
        network, images, NORMALISE, ids, "layer3", lower, ["layer3", lower], NEURONS[:4]
    )
    for row, neuron in enumerate(NEURONS[:4]):
        batch = torch.stack([images[int(i)][0] for i in references[row]])
        circuits = Circuits(network, NORMALISE(batch), "layer3", [lower])
        ours = circuits.relevance(torch.full((N,), neuron), last=True)[lower]
        np.testing.assert_allclose(ours.numpy(), theirs[row].numpy(), atol=2e-6)


@pytest.mark.parametrize("rule", ["epsilon", "epsilon-plus", "epsilon-alpha2-beta1", "gamma"])
def test_relevances_by_a_rule_are_those_of_crp(study, store, rule):
    """Through `attribute`'s own circuits on a trained network; zennit-crp runs zennit's hooks, one pass per neuron."""
    from crp.attribution import CondAttribution

    from pure_cli.models.rules import circuits_for, in_force, zennit_composite

    _, network, images, _, _ = study
    with store("attribute") as file:
        references = file["layers/layer3/image"][:2, :8]
    for neuron, rows in zip(NEURONS, references, strict=False):
        batch = NORMALISE(torch.stack([images[int(i)][0] for i in rows]))
        with in_force(rule, network):
            circuits = circuits_for(rule, network, batch, "layer3", ["layer2"])
            ours = circuits.summed(torch.full((8,), neuron), last=True)["layer2"]
        theirs = (
            CondAttribution(network)(
                batch.clone().requires_grad_(),
                [{"layer3": [neuron]}],
                zennit_composite(rule, network),
                record_layer=["layer2"],
                start_layer="layer3",
                init_rel=lambda activation: activation.clamp(min=0),
            )
            .relevances["layer2"]
            .sum(dim=(2, 3))
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_activations_are_those_of_crp(study, store):
    _, network, images, _, reference = study
    with store("attribute") as file:
        group = file["layers/layer3"]
        references, image = group["image"][:], group["activations/image"][:]
        rows = np.searchsorted(image, references)
        ours = [group[f"activations/{kind}"][:][rows] for kind in ("max", "mean")]
    assert image.tolist() == np.unique(references).tolist()
    ids = np.zeros((N, 64), np.int64)
    ids[:, NEURONS] = references.T
    _, *theirs, _ = reference.attribute(
        network, images, NORMALISE, ids, "layer3", "layer2", ["layer3", "layer2"], NEURONS
    )
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("features", ["pure", "activation-max", "activation-mean"])
@pytest.mark.parametrize("k", [2, 3])
def test_labels_are_those_of_scikit_learn(study, store, features, k):
    with store("attribute") as file:
        group = file["layers/layer3"]
        if features == "pure":
            rows = group["relevance/layer2"][:]
        else:
            kind = features.removeprefix("activation-")
            rows = group[f"activations/{kind}"][:][np.searchsorted(group["activations/image"][:], group["image"][:])]
    with store("cluster") as file:
        ours = file[f"layers/layer3/{features}/k{k}/label"][:]
    for label, points in zip(ours, rows, strict=True):
        theirs = KMeans(n_clusters=k, n_init=10, random_state=0).fit(points).labels_
        assert adjusted_rand_score(theirs, label) == 1


def test_heatmaps_are_those_of_crp(study):
    from pure_cli.core.circuits import Heatmaps
    from pure_cli.models.rules import composite_for

    _, network, images, visualization, reference = study
    ids, _, positions = reference.references(visualization, "layer3")
    for neuron in NEURONS:
        _, theirs = visualization.get_max_reference(
            neuron, "layer3", "activation", (0, 8), EpsilonPlusFlat(canonizers_for(network)), rf=True, plot_fn=None
        )[neuron]
        batch = NORMALISE(images.x[torch.tensor(ids[:8, neuron])])
        with composite_for("epsilon-plus-flat", network).context(network):
            heatmaps = Heatmaps(network, batch, "layer3")
            ours = heatmaps.at(torch.full((8,), neuron), torch.tensor(positions[:8, neuron]))
        scale = theirs.abs().amax(dim=(1, 2), keepdim=True)
        assert (scale > 0).all()
        torch.testing.assert_close(ours / scale, theirs / scale, rtol=1e-4, atol=1e-5)


def test_crops_are_those_of_the_paper(study):
    """Boxes by PURE's own steps on zennit-crp's heatmaps; a pixel at the threshold may flip."""
    from crp.image import get_crop_range
    from torchvision.transforms.functional import gaussian_blur

    from pure_cli.settings.embed import EmbedSettings
    from pure_cli.stages.embeddings.crops import CropJob, boxes, compute_boxes, crop_task
    from pure_cli.stages.inputs.features import Sources
    from pure_cli.stages.runtime.network import open_network

    workspace, network, _, visualization, _ = study
    sources = Sources(workspace.store)
    opened = open_network(sources.collected, "cpu")
    neurons = np.array(NEURONS)
    job, settings = CropJob("layer3", "crp", neurons), EmbedSettings(embedder=["pixels"], workers=0)
    task = crop_task(job, sources, opened, settings)
    assert sum(compute_boxes(task, sources, opened, settings, [])) == len(NEURONS) * N
    equal = []
    for neuron, ours in zip(NEURONS, boxes(sources, "layer3", "crp", neurons), strict=True):
        _, heatmaps = visualization.get_max_reference(
            neuron, "layer3", "activation", (0, N), EpsilonPlusFlat(canonizers_for(network)), rf=True, plot_fn=None
        )[neuron]
        for box, heatmap in zip(ours, heatmaps, strict=True):
            blurred = gaussian_blur(heatmap[None], 5)[0].abs()
            top, bottom, left, right = (int(v) for v in get_crop_range(blurred / blurred.max(), 0.02))
            height, width = bottom - top, right - left
            if height > width:
                left, right = left - (height - width) // 2, right + (height - width) // 2
                left, right = (0, right - left) if left < 0 else (left, right)
            elif width > height:
                top, bottom = top - (width - height) // 2, bottom + (width - height) // 2
                top, bottom = (0, bottom - top) if top < 0 else (top, bottom)
            equal.append(box.tolist() == [top, min(bottom, 32), left, min(right, 32)])
    assert np.mean(equal) >= 0.99
