"""The way of images to a device that computes by itself: held on the CPU, on the lines that a GPU runs."""

import traceback
from contextlib import contextmanager
from functools import partial

import h5py
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pure_cli import Workspace
from pure_cli.core.best_images import BestImages
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.loader import Batch
from pure_cli.errors import PureFailure
from pure_cli.stages import attribute
from pure_cli.stages.references import dataset_pass
from pure_cli.stages.references.scores import LayerScores
from pure_cli.stages.resume import pair_work
from pure_cli.stages.runtime import feed
from pure_cli.stages.runtime import network as runtime
from pure_cli.stages.runtime.feed import AHEAD, fed, queues_of

CPU = torch.device("cpu")


class Recorded:
    """Queues that do all at once and say what was asked of them."""

    def __init__(self):
        self.log, self.rooms, self.marks = [], [], 0

    def pinned(self, like):
        self.rooms.append(torch.empty_like(like))
        return self.rooms[-1]

    @contextmanager
    def copying(self):
        self.log.append("copy")
        yield

    def compute_after_copies(self, images):
        self.log.append("compute after")

    def mark(self):
        self.marks += 1
        return Mark(self, self.marks)


class Mark:
    def __init__(self, queues, number):
        self.queues, self.number = queues, number

    def synchronize(self):
        self.queues.log.append(f"wait for {self.number}")


def some(sizes):
    """Batches whose memory is written over as soon as the next one is asked for."""
    memory = torch.empty(max(sizes), 3, 4, 4, dtype=torch.uint8)
    for number, size in enumerate(sizes):
        images = memory[:size].fill_(number) if size else torch.empty(0, 3, 0, 0, dtype=torch.uint8)
        yield Batch(images, np.full(size, number), [], np.empty(0, np.uint32))
        memory.fill_(255)


def test_batches_are_copied_ahead_of_the_device_by_two_at_most_through_memory_that_is_used_again():
    queues, found = Recorded(), []
    for batch in fed(some([4, 4, 0, 4, 2, 4]), CPU, queues):
        found.append(batch)
        queues.log.append("computed" if len(batch.index) else "nothing")
    assert [(len(b.index), b.images.unique().tolist()) for b in found] == [
        (size, [number] if size else []) for number, size in enumerate([4, 4, 0, 4, 2, 4])
    ]
    one = ["copy", "compute after", "computed"]
    waits = [["wait for 1"], ["wait for 2"], ["wait for 3"]]
    assert queues.log == [*one, *one, "nothing", *waits[0], *one, *waits[1], *one, *waits[2], *one]
    assert len(queues.rooms) == AHEAD == 2


def test_a_cpu_gets_batches_as_they_are_and_the_source_is_closed_with_it():
    loaded = some([2, 2])
    assert queues_of(CPU) is None
    running = fed(loaded, CPU, None)
    first = next(running)
    assert (first.images == 0).all()
    running.close()
    assert not list(loaded)


class Looked(TorchDispatchMode):
    """Notes what makes a GPU's caller wait: numbers that are looked at, and numbers that come from Python."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "lift_fresh", "is_nonzero", "equal", "masked_select"):
            place = [frame for frame in traceback.extract_stack() if "pure_cli" in frame.filename][-1]
            if "from_numpy" not in place.line:
                self.seen.append(f"{name} at {place.filename}:{place.lineno}: {place.line}")
        return function(*args, **(kwargs or {}))


def collected(folder, model_file, images, **options):
    workspace = Workspace(folder)
    options = {"layer": ["layer3", "layer2", "act"], "n": 8, "batch_size": 7, "workers": 0, **options}
    workspace.collect(model=f"{model_file}:tiny", data=images, device="cpu", **options)
    return (folder / "collect.h5").read_bytes()


@pytest.mark.parametrize("by", ["activation", "relevance"])
def test_the_way_of_a_gpu_gives_the_same_file_and_waits_for_nothing_inside_of_a_batch(
    by, tmp_path, model_file, images, monkeypatch
):
    options = {"by": by, "layer": ["layer3", "layer2"], "target": "predicted" if by == "relevance" else None}
    plain, queues = collected(tmp_path / "plain", model_file, images, **options), Recorded()
    score, add = LayerScores.score, dataset_pass._Finds.add
    looked: list[str] = []

    def watched(function):
        def call(*args):
            with Looked(looked):
                return function(*args)

        return call

    monkeypatch.setattr(feed, "queues_of", lambda device: queues)
    monkeypatch.setattr("pure_cli.core.best_images.BestImages", partial(BestImages, may_look=False))
    monkeypatch.setattr(LayerScores, "score", watched(score))
    monkeypatch.setattr(dataset_pass._Finds, "add", watched(add))
    assert collected(tmp_path / "gpu", model_file, images, **options) == plain
    looked = [line for line in looked if "_rules.py" not in line]  # those of LRP do look at numbers
    assert queues.log.count("copy") == 9 and not set(looked)


def test_the_way_of_a_gpu_gives_the_same_relevances_and_has_the_next_batch_computed_before_one_is_written(
    tmp_path, model_file, images, monkeypatch
):
    collected(tmp_path / "w", model_file, images)
    workspace, order, found = Workspace(tmp_path / "w"), [], []
    compute = attribute.compute_batch

    def watched(*args):
        order.append("compute")
        write = compute(*args)
        return lambda: (order.append("write"), write())

    monkeypatch.setattr(attribute, "compute_batch", watched)
    queues = Recorded()
    for own in (None, queues):
        order.clear()
        for module in (feed, pair_work):
            monkeypatch.setattr(module, "queues_of", lambda device, own=own: own)
        workspace.attribute(layer=["layer3"], device="cpu", batch_size=4, workers=0, force=True)
        with h5py.File(tmp_path / "w" / "attribute.h5") as file:
            found.append(next(iter(file["layers/layer3/relevance"].values()))[:].tobytes())
    assert found[0] == found[1]
    assert order[:4] == ["compute", "compute", "write", "write"]
    assert queues.log.count("copy") == order.count("compute") > 2


def test_images_are_normalised_without_numbers_that_come_from_python():
    looked, images = [], torch.arange(96, dtype=torch.uint8).view(2, 3, 4, 4)
    with Looked(looked):
        found = Preprocessing().normalize(images)
    assert not looked
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert torch.equal(found, (images.float() / torch.tensor(255.0) - mean) / std)


# --- images at once


@pytest.mark.parametrize(
    ("free", "side", "share", "expected"),
    [
        *((None, 224, 1, 16), (100 << 30, 224, 1, 16), (1 << 30, 224, 1, 8), (900 << 20, 224, 1, 8)),
        *((1 << 30, 224, 4, 2), (1 << 20, 224, 1, 1), (100 << 30, 32, 1, 128), (100 << 20, 32, 1, 32)),
    ],
)
def test_images_at_once_fit_in_the_memory_that_is_free(free, side, share, expected, monkeypatch):
    """A pixel is taken to need 1,024 bytes, and half of the memory to be there for the network."""
    monkeypatch.setattr(runtime, "free_memory", lambda device: free)
    network = runtime.Network(torch.nn.Identity(), CPU, Preprocessing())
    share = {"share": share} if free is not None else {}
    assert network.batch_size(None, side, side, **share) == expected
    assert network.batch_size(3, side, side) == 3


def test_a_killed_pass_goes_on_with_its_batches_where_less_memory_is_free(tmp_path, model_file, images, monkeypatch):
    plain = collected(tmp_path / "plain", model_file, images, batch_size=8)
    score, seen = LayerScores.score, []

    def fail(self, batch):
        if 40 in batch.index:
            raise PureFailure("The memory of the device is not enough.")
        seen.append(len(batch.index))
        return score(self, batch)

    monkeypatch.setattr(runtime, "free_memory", lambda device: 2 * 8 * 32 * 32 * 1024)
    monkeypatch.setattr(LayerScores, "score", fail)
    with pytest.raises(PureFailure):
        collected(tmp_path / "killed", model_file, images, batch_size=None)
    assert seen == [8] * 5
    monkeypatch.setattr(LayerScores, "score", score)
    monkeypatch.setattr(runtime, "free_memory", lambda device: 2 * 4 * 32 * 32 * 1024)
    chunks = []
    other = Workspace(tmp_path / "killed")
    other.collect(
        model=f"{model_file}:tiny", data=images, device="cpu", layer=["layer3", "layer2", "act"], n=8, workers=0,
        progress=lambda done, total: chunks.append(done),
    )  # fmt: skip
    assert chunks[0] == 40 and chunks[1] == 48
    assert (tmp_path / "killed" / "collect.h5").read_bytes() == plain
