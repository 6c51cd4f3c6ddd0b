"""One piece of work in a process of its own: what two sides share, or a stage for its time and peak memory; started
by `run.py`."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from sides import CIFAR, DEVICE, evaluation, own_workspace, references, resnet20

from pure_cli import Workspace
from pure_cli.settings.shared import PAPER


def collect(shared: Path, work: Path, count: int) -> float:
    workspace = Workspace(Path(tempfile.mkdtemp(dir=work)) / "workspace")
    begin = time.perf_counter()
    workspace.collect(data=shared / CIFAR, limit=count, device=DEVICE.type, **resnet20(shared))
    return time.perf_counter() - begin


def attribute(shared: Path, work: Path, pairs: int) -> float:
    """After a first neuron, so that neither imports nor the first use of the network count."""
    workspace = own_workspace(shared, work, "resnet20", 100)
    workspace.attribute(neurons=[0], recipe=PAPER, device=DEVICE.type, force=True)
    begin = time.perf_counter()
    workspace.attribute(neurons=list(range(pairs // 100)), recipe=PAPER, device=DEVICE.type, force=True)
    return time.perf_counter() - begin


def attribute_images(shared: Path, work: Path, count: int) -> float:
    """All neurons, where the references come from so many images: the more, the fewer are shared."""
    workspace = Workspace(work / f"growth-{count}")
    workspace.collect(data=shared / CIFAR, limit=count, n=100, device=DEVICE.type, **resnet20(shared))
    begin = time.perf_counter()
    workspace.attribute(recipe=PAPER, device=DEVICE.type, force=True)
    return time.perf_counter() - begin


def store(shared: Path, work: Path) -> dict[str, float]:
    from sklearn.metrics import adjusted_rand_score

    labels, sizes = {}, {}
    workspace = own_workspace(shared, work, "resnet20", 100)
    for kind in ("float32", "float16"):
        workspace.attribute(recipe=PAPER, device=DEVICE.type, store=kind, force=True)
        workspace.cluster(k=[2, 3, 4, 5])
        with h5py.File(workspace.path / "attribute.h5") as file:
            sizes[kind] = file["layers/layer3/relevance/layer2"].id.get_storage_size()
        labels[kind] = [workspace.virtual_neurons("layer3", k=k).clustering.label for k in (2, 3, 4, 5)]
    pairs = [
        pair
        for one, other in zip(labels["float32"], labels["float16"], strict=True)
        for pair in zip(one, other, strict=True)
    ]
    same = float(np.mean([adjusted_rand_score(a, b) == 1 for a, b in pairs]))
    return {"whole": sizes["float32"], "half": sizes["float16"], "same": same}


if __name__ == "__main__":
    what, shared, work, count = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    if what.startswith("prepare-"):
        name = what.removeprefix("prepare-")
        evaluation(shared, work) if name == "evaluate" else references(shared, work, name, 100)
        sys.exit()
    if what == "store":
        print(json.dumps(store(shared, work)))
        sys.exit()
    stages = {"collect": collect, "attribute": attribute, "attribute-images": attribute_images}
    seconds = stages[what](shared, work, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))
