"""What is timed: every side of every benchmark, each run in a process of its own.

A side is a function of the folder of shared data and a folder to work in. It sets things up, and returns the function
that is timed, which returns its answer: arrays by name. `run.py` calls them in turn, on the device that it names.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

Answer = dict[str, np.ndarray]
Timed = Callable[[], Answer]

DEVICE = torch.device(os.environ.get("PURE_BENCH_DEVICE", "cpu"))
PHOTOS, CIFAR = "data/imagenet-sample", "data/cifar10"
RESNET50 = {
    "model": "timm:resnet50.a1_in1k",
    "layer": "layer4",
    "resize": 256,
    "crop_size": 224,
    "interpolation": "bilinear",
}


def resnet20(shared: Path) -> dict[str, Any]:
    return {
        "model": f"{shared / 'yardstick' / 'cifar_resnet.py'}:resnet20",
        "weights": shared / "models" / "resnet20-12fca82f.th",
        "layer": "layer3",
    }


def case(shared: Path, work: Path, name: str) -> tuple[dict[str, Any], Path, str]:
    """Options for collect, the images, and the lower layer, of one of the two networks."""
    if name == "resnet20":
        return resnet20(shared), shared / CIFAR, "layer2"
    data = shared / PHOTOS if DEVICE.type == "cpu" else _many_photos(shared / PHOTOS, work / "photos")
    return {**RESNET50, "weights": work / "resnet50.safetensors"}, data, "layer3"


def _many_photos(photos: Path, folder: Path) -> Path:
    """10,000 files: a GPU is done with 500 before it is warm. Every photo is there 20 times, one after the other."""
    done = folder.with_suffix(".done")
    if not done.exists():
        for file in sorted(photos.glob("*/*.*")):
            (folder / file.parent.name).mkdir(parents=True, exist_ok=True)
            for copy in range(20):
                link = folder / file.parent.name / f"{file.stem}-{copy:02d}{file.suffix}"
                link.unlink(missing_ok=True)
                link.symlink_to(file)
        done.touch()
    return folder


def network(shared: Path, work: Path, name: str) -> tuple[torch.nn.Module, Any]:
    """The plain network and its preprocessing, as a user of PyTorch has them."""
    from pure_cli.core.preprocessing import Preprocessing
    from pure_cli.models.load import load_model
    from pure_cli.models.spec import parse_model

    options, _, _ = case(shared, work, name)
    given = {key: options[key] for key in ("resize", "crop_size", "interpolation") if key in options}
    return load_model(parse_model(options["model"]), options["weights"]).to(DEVICE), Preprocessing(**given)


def pixels(shared: Path, work: Path, name: str, indices: np.ndarray) -> torch.Tensor:
    """Images as uint8 tensors in memory."""
    from pure_cli.data.listing import list_images
    from pure_cli.data.loader import decode_one

    _, data, _ = case(shared, work, name)
    _, preprocessing = network(shared, work, name)
    listing = list_images(data)
    return torch.stack([torch.from_numpy(decode_one(listing, int(i), preprocessing)) for i in indices])


def references(shared: Path, work: Path, name: str, n: int) -> Any:
    """A workspace with references, made once and kept beside the others."""
    from pure_cli import Workspace

    options, data, _ = case(shared, work, name)
    workspace = Workspace(work / f"{name}-{n}")
    workspace.collect(data=data, n=n, device=DEVICE.type, **options)
    return workspace


def own_workspace(shared: Path, work: Path, name: str, n: int) -> Any:
    """A copy of it for one side alone."""
    return own_copy(references(shared, work, name, n), work)


def own_copy(made: Any, work: Path) -> Any:
    """A copy of a workspace."""
    import shutil

    from pure_cli import Workspace

    return Workspace(shutil.copytree(made.path, Path(tempfile.mkdtemp(dir=work)) / "workspace"))


def normaliser(preprocessing: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """What the yardstick applies to images in 0 … 1."""
    mean, std = (
        torch.tensor(values, device=DEVICE).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    return lambda x: (x.to(DEVICE) - mean) / std


def yardstick(shared: Path) -> Any:
    sys.path.insert(0, str(shared / "yardstick"))
    import reference

    return reference


# ---------------------------------------------------------------------------------------- collect, images in memory


IMAGES = {"resnet20": 4000, "resnet50": 200} if DEVICE.type == "cpu" else {"resnet20": 10_000, "resnet50": 2000}
CRP_IMAGES = {"resnet20": 4000, "resnet50": 40}  # zennit-crp takes 0.8 s for an image of ResNet-50


def _memory(shared: Path, work: Path, name: str, count: int) -> torch.Tensor:
    return pixels(shared, work, name, np.arange(count))


def collect_pure(name: str, shared: Path, work: Path, count: int | None = None) -> Timed:
    from pure_cli.core.best_images import BestImages, with_hashes
    from pure_cli.core.circuits import activations
    from pure_cli.core.references import TopImages, spatial_score
    from pure_cli.data.loader import Batch
    from pure_cli.stages.runtime.feed import fed, queues_of
    from pure_cli.stages.runtime.network import Network

    model, preprocessing = network(shared, work, name)
    images, layer = _memory(shared, work, name, count or IMAGES[name]), case(shared, work, name)[0]["layer"]
    plain = Network(model, DEVICE, preprocessing)
    ready = plain.ready(images[:1], [layer])
    size = plain.batch_size(None, *images.shape[-2:])

    def loaded() -> Generator[Batch, None, None]:
        for start in range(0, len(images), size):
            part = images[start : start + size]
            yield Batch(part, np.arange(start, start + len(part)), [], np.empty(0, np.uint32))

    def run() -> Answer:
        best: BestImages | None = None
        for batch in fed(loaded(), DEVICE, queues_of(DEVICE)):
            found = activations(ready.model, ready.inputs(batch.images), [layer])[layer]
            values, positions, means = spatial_score(found)
            best = best or BestImages(TopImages.empty(values.shape[1], 100), DEVICE)
            best.add(values, positions, with_hashes(batch.index, DEVICE), means)
        assert best is not None
        top = best.top()
        return {"image": top.image, "value": top.value}

    return run


def collect_pure_few(name: str, shared: Path, work: Path) -> Timed:
    """Over as many images as zennit-crp gets."""
    return collect_pure(name, shared, work, CRP_IMAGES[name])


def forward_eager(name: str, shared: Path, work: Path) -> Timed:
    """The whole network, eager, batches of 50 as in the yardstick; its references are found outside of the timer."""
    model, preprocessing = network(shared, work, name)
    images, layer = _memory(shared, work, name, IMAGES[name]), case(shared, work, name)[0]["layer"]
    scores: list[torch.Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: scores.append(output.flatten(2).amax(-1).cpu())
    )
    with torch.no_grad():
        for start in range(0, len(images), 50):
            model(preprocessing.normalize(images[start : start + 50].to(DEVICE)))
    hook.remove()
    score = torch.cat(scores).T.numpy()
    image = np.argsort(-score, axis=1, kind="stable")[:, :100]
    answer = {"image": image, "value": np.take_along_axis(score, image, axis=1)}

    def run() -> Answer:
        with torch.no_grad():
            for start in range(0, len(images), 50):
                last = model(preprocessing.normalize(images[start : start + 50].to(DEVICE)))
        last.cpu()  # a GPU is waited for
        return answer

    return run


def collect_least(name: str, shared: Path, work: Path) -> Timed:
    """The least that collect has to do: a plain pass to the layer, in batches of the same size; nothing is kept but
    maxima."""
    model, preprocessing = network(shared, work, name)
    images, layer = _memory(shared, work, name, IMAGES[name]), case(shared, work, name)[0]["layer"]
    normalise, size = normaliser(preprocessing), _batch_size(model, preprocessing, images)

    def run() -> Answer:
        found = []
        for start in range(0, len(images), size):
            with torch.inference_mode():
                output = _outputs(model, normalise(images[start : start + size].to(DEVICE) / 255), [layer])[layer]
            found.append(output.amax(dim=(2, 3)))
        best = torch.cat(found).topk(100, dim=0)
        return {"value": best.values.T.cpu().numpy(), "image": best.indices.T.cpu().numpy()}

    return run


def _batch_size(model: torch.nn.Module, preprocessing: Any, images: torch.Tensor) -> int:
    from pure_cli.stages.runtime.network import Network

    return Network(model, DEVICE, preprocessing).batch_size(None, *images.shape[-2:])


class _Reached(Exception):
    """The last layer has been computed."""


def _outputs(model: torch.nn.Module, images: torch.Tensor, layers: list[str]) -> dict[str, torch.Tensor]:
    """What layers give, in the order in which they run; the network runs to the last, with a graph from the first."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., torch.Tensor | None]:
        def hook(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor | None:
            begins = not found and len(layers) > 1
            found[name] = output.requires_grad_() if begins else output
            if len(found) == len(layers):
                raise _Reached
            return found[name].clone() if begins else None  # what follows works in place

        return hook

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    try:
        model(images)
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return found


def collect_yardstick(name: str, shared: Path, work: Path) -> Timed:
    from pure_cli.models.rules import canonizers_for

    reference = yardstick(shared)
    model, preprocessing = network(shared, work, name)
    images, layer = _memory(shared, work, name, CRP_IMAGES[name]), case(shared, work, name)[0]["layer"]
    normalise = normaliser(preprocessing)
    data = reference.Images(images.float() / 255, torch.zeros(len(images), dtype=torch.long))

    def run() -> Answer:
        folder = Path(tempfile.mkdtemp(dir=work))
        found, _ = reference.collect(model, data, [layer], normalise, folder, canonizers=canonizers_for(model))
        image, value, _ = reference.references(found, layer)
        return {"image": np.asarray(image).T, "value": np.asarray(value).T}

    return run


# ------------------------------------------------------------------------------------------- collect, JPEG files


def files_pure(name: str, shared: Path, work: Path) -> Timed:
    from pure_cli import Workspace

    options, data, _ = case(shared, work, name)

    def run() -> Answer:
        workspace = Workspace(Path(tempfile.mkdtemp(dir=work)) / "workspace")
        workspace.collect(data=data, device=DEVICE.type, **options)
        return {}

    return run


def files_decode(name: str, shared: Path, work: Path) -> Timed:
    """Decoding alone, by the same workers."""
    from pure_cli.data.listing import list_images
    from pure_cli.data.loader import batches, default_workers

    _, data, _ = case(shared, work, name)
    _, preprocessing = network(shared, work, name)
    listing = list_images(data)

    def run() -> Answer:
        for _ in batches(listing, listing.index, preprocessing, 16, default_workers()):
            pass
        return {}

    return run


def files_forward(name: str, shared: Path, work: Path) -> Timed:
    """The pass of `collect_pure` alone, over as many images as there are files."""
    from pure_cli.data.listing import list_images

    count = len(list_images(case(shared, work, name)[1]))
    return collect_pure(name, shared, work, count)


# ----------------------------------------------------------------------------------------------------- attribute

NEURONS = {"resnet20": 64, "resnet50": 16 if DEVICE.type == "cpu" else 256}


def relevances(used: Any, image: np.ndarray, data: torch.Tensor, layer: str, lower: str, size: int) -> np.ndarray:
    """(m, n, D) of neurons for their references, from images in memory.

    Parameters
    ----------
    used : a `pure_cli.stages.runtime.network.Network`
    image : (m, n) int
    data : the images that occur in it, in the order of `Plan.of(image).images`
    size : images at once
    """
    from pure_cli.core.circuits import Circuits
    from pure_cli.stages.resume.pair_work import Plan

    plan, found = Plan.of(image), np.zeros(0, np.float32)
    for start in range(0, len(data), size):
        stop = min(start + size, len(data))
        circuits = Circuits(used.model, used.inputs(data[start:stop]), layer, [lower])
        rounds = list(plan.rounds(start, stop))
        for pairs in rounds:
            which = torch.from_numpy(plan.neuron_row[pairs]).to(DEVICE)
            rows = circuits.relevance(which, last=pairs is rounds[-1])[lower].cpu().numpy()
            if not found.size:
                found = np.zeros((image.size, rows.shape[1]), np.float32)
            found[plan.neuron_row[pairs] * plan.references + plan.slot[pairs]] = rows
    return found.reshape(*image.shape, -1)


def attribute_memory(name: str, shared: Path, work: Path, precision: str = "float32") -> Timed:
    """Images are tensors in memory, as for the yardstick."""
    from pure_cli.stages.resume.pair_work import Plan
    from pure_cli.stages.runtime.network import Network

    layer, lower = case(shared, work, name)[0]["layer"], case(shared, work, name)[2]
    image = references(shared, work, name, 100).references(layer)["image"][: NEURONS[name]]
    data = pixels(shared, work, name, Plan.of(image).images)
    model, preprocessing = network(shared, work, name)
    plain = Network(model, DEVICE, preprocessing)
    size = plain.batch_size(None, *data.shape[-2:])
    ready = plain.ready(data[:1], [layer, lower], precision)
    return lambda: {"relevance": relevances(ready, image, data, layer, lower, size)}


def attribute_pure(name: str, options: dict[str, str], shared: Path, work: Path) -> Timed:
    """Files are read, decoded and written."""
    import h5py

    workspace = own_workspace(shared, work, name, 100)
    layer, lower = case(shared, work, name)[0]["layer"], case(shared, work, name)[2]
    neurons = list(range(NEURONS[name]))

    def run() -> Answer:
        workspace.attribute(neurons=neurons, lower_layer=lower, device=DEVICE.type, force=True, **options)
        with h5py.File(workspace.path / "attribute.h5") as file:
            return {"relevance": file[f"layers/{layer}/relevance/{lower}"][:].astype(np.float32)}

    return run


def attribute_least(name: str, shared: Path, work: Path) -> Timed:
    """The least that attribute has to do: one forward pass for each distinct image to the layer, one backward pass
    through the upper part for each pair, in plain torch."""
    from pure_cli.stages.resume.pair_work import Plan

    model, preprocessing = network(shared, work, name)
    options, _, lower = case(shared, work, name)
    layer = options["layer"]
    image = references(shared, work, name, 100).references(layer)["image"][: NEURONS[name]]
    plan = Plan.of(image)
    data, normalise = pixels(shared, work, name, plan.images), normaliser(preprocessing)
    size = _batch_size(model, preprocessing, data)

    def run() -> Answer:
        found = torch.zeros(*image.shape, 0)
        for start in range(0, len(data), size):
            batch = data[start : start + size].to(DEVICE)
            outputs = _outputs(model, normalise(batch / 255), [lower, layer])
            hidden, output = outputs[lower], outputs[layer]
            for pairs in plan.rounds(start, start + len(batch)):
                rows, which = torch.arange(len(pairs)), torch.from_numpy(plan.neuron_row[pairs])
                begin = torch.zeros_like(output)
                begin[rows, which] = output.detach()[rows, which].clamp(min=0)
                (gradient,) = torch.autograd.grad(output, hidden, begin, retain_graph=True)
                relevance = (gradient * hidden.detach())[: len(pairs)].sum(dim=(2, 3)).cpu()
                if not found.numel():
                    found = torch.zeros(*image.shape, relevance.shape[1])
                found[which, torch.from_numpy(plan.slot[pairs])] = relevance
        return {"relevance": (found / (found.abs().sum(dim=-1, keepdim=True) + 1e-10)).numpy()}

    return run


def attribute_yardstick(name: str, shared: Path, work: Path) -> Timed:
    """Images are tensors in memory."""
    reference = yardstick(shared)
    model, preprocessing = network(shared, work, name)
    layer, lower = case(shared, work, name)[0]["layer"], case(shared, work, name)[2]
    neurons = list(range(NEURONS[name]))
    image = references(shared, work, name, 100).references(layer)["image"][neurons]
    used, place = np.unique(image, return_inverse=True)
    ids = place.reshape(image.shape).T
    data = reference.Images(pixels(shared, work, name, used).float() / 255, torch.zeros(len(used)))
    normalise = normaliser(preprocessing)

    def run() -> Answer:
        found, _, _, _ = reference.attribute(model, data, normalise, ids, layer, lower, [layer, lower], neurons)
        return {"relevance": found.cpu().numpy()}

    return run


# ------------------------------------------------------------------------------------------------------ heatmaps

HEATMAP_IMAGES = {"resnet20": 2000, "resnet50": 20}  # at most; zennit-crp takes half a second for a pair of ResNet-50


def _heatmap_pairs(shared: Path, work: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and positions (16, 100) of 16 neurons × 100 references; -1 for images that are left out, evenly."""
    layer = case(shared, work, name)[0]["layer"]
    top = references(shared, work, name, 100).references(layer)
    image, position = top["image"][:16].copy(), top["position"][:16]
    used = np.unique(image)
    kept = used[np.linspace(0, len(used) - 1, min(HEATMAP_IMAGES[name], len(used))).astype(int)]
    image[~np.isin(image, kept)] = -1
    return image, position


def heatmaps_pure(name: str, shared: Path, work: Path) -> Timed:
    from pure_cli.core.crops import blurred, box, seen
    from pure_cli.stages.embeddings.crops import HEATMAPS_SHARE, HeatmapReader
    from pure_cli.stages.resume.pair_work import Plan
    from pure_cli.stages.runtime.network import Network

    model, preprocessing = network(shared, work, name)
    layer = case(shared, work, name)[0]["layer"]
    image, position = _heatmap_pairs(shared, work, name)
    plan = Plan.of(image)
    data = pixels(shared, work, name, plan.images)
    plain = Network(model, DEVICE, preprocessing)
    size = plain.batch_size(None, *data.shape[-2:], HEATMAPS_SHARE)

    def run() -> Answer:
        boxes = np.zeros((image.size, 4), np.int64)
        with HeatmapReader(plain, layer, "crp", data[:1]) as look:
            for start in range(0, len(data), size):
                stop = min(start + size, len(data))
                look.look_at(data[start:stop])
                rounds = list(plan.rounds(start, stop))
                for pairs in rounds:
                    which = plan.neuron_row[pairs]
                    found = look.maps(which, position[which, plan.slot[pairs]], last=pairs is rounds[-1])
                    boxes[plan.neuron_row[pairs] * plan.references + plan.slot[pairs]] = [
                        box(one) for one in seen(blurred(found))
                    ]
        return {"box": boxes[image.ravel() >= 0]}

    return run


def heatmaps_yardstick(name: str, shared: Path, work: Path) -> Timed:
    """What zennit-crp's ``get_max_reference(rf=True)`` computes for each neuron, and the paper's steps to the crop."""
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from zennit.composites import EpsilonPlusFlat

    from pure_cli.core.crops import blurred, box, seen
    from pure_cli.models.rules import canonizers_for

    model, preprocessing = network(shared, work, name)
    layer = case(shared, work, name)[0]["layer"]
    image, position = _heatmap_pairs(shared, work, name)
    used = np.unique(image[image >= 0])
    data = preprocessing.normalize(pixels(shared, work, name, used).to(DEVICE))
    attribution = CondAttribution(model)
    together = 32  # its own default

    def run() -> Answer:
        boxes = []
        for neuron in range(len(image)):
            there = np.flatnonzero(image[neuron] >= 0)
            for start in range(0, len(there), together):
                which = there[start : start + together]
                rows, positions = np.searchsorted(used, image[neuron, which]), position[neuron, which]
                found = attribution(
                    data[rows].clone().requires_grad_(),
                    [{layer: {neuron: [int(p)]}} for p in positions],
                    EpsilonPlusFlat(canonizers_for(model)),
                    mask_map=ChannelConcept.mask_rf,
                    start_layer=layer,
                    exclude_parallel=False,
                )
                maps = found.heatmap.detach().cpu()
                boxes += [box(one) for one in seen(blurred(maps))]
        return {"box": np.array(boxes)}

    return run


# ------------------------------------------------------------------------------------------ k-means and evaluate


def _clouds() -> list[np.ndarray]:
    """256 neurons × 100 references × 1,024 dimensions, some with clear clusters and some without."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(256):
        centres = generator.normal(size=(3, 1024)) * generator.choice([0.0, 0.1, 0.3, 1.0])
        points = generator.normal(size=(100, 1024)) * np.exp(generator.normal(size=1024))
        points += centres[generator.integers(0, 3, 100)]
        found.append((points / np.abs(points).sum(axis=1, keepdims=True)).astype(np.float32))
    return found


KS = (2, 3, 4, 5)


def kmeans_pure(shared: Path, work: Path) -> Timed:
    """Labels, centroids, silhouettes and distances."""
    from pure_cli.core.clusters import split_all

    points = _clouds()

    def run() -> Answer:
        found = split_all(points, [np.ones(100, bool)] * len(points), KS, 0)
        return {"label": np.array([[one.labels for one in neuron] for neuron in found])}

    return run


def kmeans_yardstick(shared: Path, work: Path) -> Timed:
    """Labels alone."""
    reference = yardstick(shared)
    points = _clouds()

    def run() -> Answer:
        return {"label": np.stack([reference.cluster(points, k)[0] for k in KS], axis=1)}

    return run


def evaluation(shared: Path, work: Path) -> Any:
    """A workspace of 256 neurons with relevances and embeddings: a seeded ResNet-18 on CIFAR-10."""
    from pure_cli import Workspace

    workspace = Workspace(work / "evaluate")
    workspace.collect(model="torchvision:resnet18", weights="none", data=shared / CIFAR, limit=2000, layer="layer3",
                      resize=32, crop_size=32, device=DEVICE.type)  # fmt: skip
    workspace.attribute(lower_layer="layer2", device=DEVICE.type)
    judge = f"{shared / 'yardstick' / 'cifar_resnet.py'}:resnet32"
    weights = shared / "models" / "resnet32-d509ac18.th"
    workspace.embed(embedder=judge, embedder_layer="layer3", embedder_weights=weights, crop="none", device=DEVICE.type)
    return workspace


def evaluate_pure(shared: Path, work: Path) -> Timed:
    """Clusters by every kind of features, distances, tables and figures, from and to files."""
    workspace = own_copy(evaluation(shared, work), work)

    def run() -> Answer:
        (workspace.path / "cluster.h5").unlink(missing_ok=True)
        found = workspace.evaluate(metric="cifar_resnet.py:resnet32:layer3+none", force=True, device=DEVICE.type)
        rows = [row for row in found.details["tables"][0]["rows"] if row["k"]]
        return {name: np.array([row[name][0] for row in rows]) for name in ("intra", "inter")}

    return run


def evaluate_yardstick(shared: Path, work: Path) -> Timed:
    """The paper's loop: features and neuron by neuron, distances and k-means anew for each k."""
    from scipy.spatial.distance import cdist

    from pure_cli.stages.inputs.features import Sources

    reference = yardstick(shared)
    sources = Sources(evaluation(shared, work).store)
    judge = "cifar_resnet.py:resnet32:layer3+none"
    kinds = ["pure", "activation-max", "activation-mean", judge]
    features = {kind: list(sources.features_of("layer3", kind).rows(np.arange(256))) for kind in kinds}
    excites = [sources.excites("layer3", c) for c in range(256)]

    def run() -> Answer:
        found = []
        for kind in kinds:
            for k in KS:
                values = []
                for c, mask in enumerate(excites):
                    labels = reference.cluster([features[kind][c][mask]], k)[0][0]
                    space = features[judge][c][mask]
                    values.append(reference.separation(cdist(space, space), labels))
                found.append(np.mean(values, axis=0))
        intra, inter = np.array(found).T
        return {"intra": intra, "inter": inter}

    return run


SIDES: dict[str, Callable[[Path, Path], Timed]] = {
    **{
        f"{what}-{name}": partial(function, name)
        for name in ("resnet20", "resnet50")
        for what, function in {
            "collect-pure": collect_pure,
            "collect-pure-few": collect_pure_few,
            "forward-eager": forward_eager,
            "collect-yardstick": collect_yardstick,
            "collect-least": collect_least,
            "attribute-least": attribute_least,
            "files-pure": files_pure,
            "files-decode": files_decode,
            "files-forward": files_forward,
            "attribute-yardstick": attribute_yardstick,
            "attribute-memory": attribute_memory,
            "attribute-memory-bfloat16": partial(attribute_memory, precision="bfloat16"),
            "heatmaps-pure": heatmaps_pure,
            "heatmaps-yardstick": heatmaps_yardstick,
        }.items()
    },
    **{
        f"attribute-pure-{name}{suffix}": partial(attribute_pure, name, options)
        for name in ("resnet20", "resnet50")
        for suffix, options in {"": {}, "-bfloat16": {"precision": "bfloat16"}}.items()
    },
    "kmeans-pure": kmeans_pure,
    "kmeans-yardstick": kmeans_yardstick,
    "evaluate-pure": evaluate_pure,
    "evaluate-yardstick": evaluate_yardstick,
}
