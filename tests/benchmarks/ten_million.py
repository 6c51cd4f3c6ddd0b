"""Collect's bookkeeping on a data set that is too large to have: ``python tests/benchmarks/ten_million.py [N …]``.

A synthetic source lists N images, and synthetic scores stand in for the network: what is left is what grows with the
data set. Each N runs in a process of its own. Prints seconds and the peak of memory after each step.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from pure_cli.artifacts import CollectedLayer, read_collected, write_collected
from pure_cli.core.best_images import BestImages, with_hashes
from pure_cli.core.references import TopImages
from pure_cli.data.cache import Cache
from pure_cli.data.listing import list_images
from pure_cli.data.long_lists import LongTable
from pure_cli.data.place import Place
from pure_cli.data.registry import register_source
from pure_cli.data.source import DamagedImage, Items, Raw
from pure_cli.provenance import Provenance
from pure_cli.stages.collect import _whole
from pure_cli.stages.inputs.freshness import find_image_changes, seen_now
from pure_cli.stages.resume.checkpoint import Checkpoint
from pure_cli.workspace import Store

NEURONS, REFERENCES, BATCH = 256, 100, 1024
CLASSES, DAMAGED_EVERY, SAVE_EVERY = 1000, 100_000, 500  # images; batches


class Synthetic:
    """Claims a file that holds a number."""

    name, has_splits = "a number of images", False

    def claims(self, place: Place) -> bool:
        return place.text.endswith(".synthetic")

    def list(self, place: Place, cache: Cache) -> Items:
        count = int(place.path.read_text())
        table = LongTable(3, cache.folder)  # as the folder of images does
        for i in range(count):
            table.add(f"n{i % CLASSES:08d}/image_{i:09d}.JPEG", 110_000 + i % 1000, i, i % CLASSES)
        sizes, times, labels = (table.numbers(column) for column in range(3))
        return Items(
            place.folder, table.texts(), _nothing, labels, [str(c) for c in range(CLASSES)], sizes, times=times
        )


def _nothing(i: int) -> Raw:
    raise DamagedImage("synthetic")


def bookkeeping(count: int, folder: Path) -> Iterator[str]:
    """Names of the steps, each when it is done."""
    register_source(Synthetic())
    place = folder / "images.synthetic"
    place.write_text(str(count))
    yield "start"
    listing = list_images(place, cache=folder)
    yield "listing"
    assert listing.fingerprint
    yield "fingerprint"
    store = Store(folder / "workspace")
    state = Checkpoint(store, "key")
    device = torch.device("cpu")
    best = BestImages(TopImages.empty(NEURONS, REFERENCES), device)
    generator, positions = torch.Generator().manual_seed(0), torch.zeros((BATCH, NEURONS), dtype=torch.int32)
    for start in range(0, count, BATCH):
        index = listing.index[start : start + BATCH]
        values = torch.rand((len(index), NEURONS), generator=generator)
        best.add(values, positions[: len(index)], with_hashes(index, device), values)
        state.damaged += [(int(i), listing.paths[i], "cut short") for i in index if i % DAMAGED_EVERY == 0]
        state.add_content(index + 1)
        state.next_chunk += 1
        if state.next_chunk % SAVE_EVERY == 0:
            state.tops["layer4"] = best.top()
            state.save()
    yield "top-n, checkpoints"
    layer = CollectedLayer(
        best.top(), [], (NEURONS, 7, 7), Provenance({"layer": "layer4", "n": REFERENCES}, {"data": "d"})
    )
    origin = {"images": count - len(state.damaged)}
    write_collected(
        store, _whole(origin, {"layer4": layer}, listing, state.damaged), seen_now(listing, state.content())
    )
    yield "collect.h5"
    found = find_image_changes(store, read_collected(store), listing)
    assert not found.touched and not len(found.changed)
    yield "unchanged?"


def main(counts: list[int]) -> None:
    if len(counts) > 1:
        for count in counts:
            subprocess.run([sys.executable, __file__, str(count)], check=True)
        return
    print(f"{counts[0]:,} images, {NEURONS} neurons, n = {REFERENCES}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        for step in bookkeeping(counts[0], Path(folder)):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"  {step:<20} {time.perf_counter() - begin:7.1f} s  {peak:7.0f} MiB at most", flush=True)
            begin = time.perf_counter()


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [100_000, 1_000_000, 10_000_000])
