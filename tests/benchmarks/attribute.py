"""pure attribute against the yardstick's one pass for each pair, in turn, in one process; the same answer is checked.

The yardstick has its images as tensors in memory; pure reads, decodes and writes files, and its time says so.

Usage: python tests/benchmarks/attribute.py SHARED [--weights resnet50.safetensors] [--neurons 16] [-n 20] [--repeats 3]

Without --weights: ResNet-20 on CIFAR-10 (layer3, lower layer layer2). With them: ResNet-50 (timm) on the 500 ImageNet
photos (layer4, lower layer layer3); tests/benchmarks/seeded_weights.py makes such weights.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

from pure_cli import Workspace
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.listing import list_images
from pure_cli.data.loader import decode_one
from pure_cli.models.load import load_model
from pure_cli.models.spec import parse_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--neurons", type=int, default=16)
    parser.add_argument("-n", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sys.path.insert(0, str(options.shared.resolve() / "yardstick"))
    import reference

    if options.weights:
        name, weights, data = "timm:resnet50.a1_in1k", options.weights, options.shared / "data" / "imagenet-sample"
        layer, lower, preprocessing = "layer4", "layer3", Preprocessing(256, 224)
    else:
        name = f"{options.shared / 'yardstick' / 'cifar_resnet.py'}:resnet20"
        weights, data = options.shared / "models" / "resnet20-12fca82f.th", options.shared / "data" / "cifar10"
        layer, lower, preprocessing = "layer3", "layer2", Preprocessing()
    given = {name: getattr(preprocessing, name) for name in ("resize", "crop_size", "interpolation")}
    workspace = Workspace(Path(tempfile.mkdtemp()) / "workspace")
    workspace.collect(model=name, weights=weights, data=data, n=options.n, layer=layer, device="cpu",
                      **{key: value for key, value in given.items() if value})  # fmt: skip
    neurons = list(range(options.neurons))
    references = workspace.references(layer)["image"]

    model = load_model(parse_model(name), weights)
    listing = list_images(data)
    used = np.unique(references[neurons])
    pixels = torch.stack([torch.from_numpy(decode_one(listing, int(i), preprocessing)) for i in used])
    place = {int(index): row for row, index in enumerate(used)}
    ids = np.zeros((options.n, max(neurons) + 1), np.int64)
    ids[:, neurons] = np.vectorize(place.get)(references[neurons]).T
    images = reference.Images(preprocessing.pixels(pixels), torch.zeros(len(pixels)))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))

    ours, theirs = [], []
    for repeat in range(options.repeats):
        begin = time.perf_counter()
        workspace.attribute(neurons=neurons, layer=layer, lower_layer=lower, device="cpu", force=True)
        ours.append(time.perf_counter() - begin)
        found, _, _, seconds = reference.attribute(
            model, images, lambda x: (x - mean) / std, ids, layer, lower, [layer, lower], neurons
        )
        theirs.append(seconds)
        print(f"run {repeat + 1}: pure {ours[-1]:.1f} s, yardstick {theirs[-1]:.1f} s", flush=True)
    with h5py.File(workspace.path / "attribute.h5") as file:
        gap = np.abs(file[f"layers/{layer}/relevance/{lower}"][:] - found.numpy()).max()
    pairs = options.n * options.neurons
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{pairs} pairs; largest difference of a relevance {gap:.1e}")
    print(f"pure {pairs / a:.1f} pairs/s ({min(ours):.1f} to {max(ours):.1f} s), yardstick {pairs / b:.1f} pairs/s "
          f"({min(theirs):.1f} to {max(theirs):.1f} s), ratio of medians {b / a:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
