"""How fast workers hand batches over, through shared memory and through pipes.

``python tests/benchmarks/handing_over.py [--workers N] [--batch-size N] [--images N] [--side PIXELS]``. Nothing is
decoded: every image is the same array, so that what is left is the way of the pixels. Prints MB/s, and the seconds of
CPU that this process needs for a GB, which limit how many workers it can serve.
"""

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np
import torch  # noqa: F401 - which takes its time
from PIL import Image

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data import loader
from pure_cli.data.listing import list_images


def hand_over(workers: int, batch_size: int, images: int, side: int, shared: bool) -> tuple[float, float]:
    """MB/s, and seconds of this process's CPU for a GB."""
    image = np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as changes:
        Image.new("RGB", (4, 4)).save(Path(folder, "one.png"))
        changes.enter_context(mock.patch.object(loader, "_decoded", lambda *_: image))  # workers are forks, and have it
        if not shared:
            changes.enter_context(mock.patch.object(loader.mmap, "mmap", side_effect=OSError))
        index, preprocessing = np.zeros(images, np.int64), Preprocessing(crop_size=side)
        begin, cpu = time.perf_counter(), time.process_time()
        for _ in loader.batches(list_images(folder), index, preprocessing, batch_size, workers):
            pass
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return images * image.nbytes / 1e6 / seconds, cpu / (images * image.nbytes / 1e9)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("workers", loader.default_workers()), ("batch-size", 256), ("images", 10_000), ("side", 224)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    for turn in range(3):
        for name, shared in (("shared memory", True), ("pipes", False)):
            rate, cpu = hand_over(options.workers, options.batch_size, options.images, options.side, shared)
            print(f"round {turn}, {name:<14} {rate:8,.0f} MB/s {cpu:6.2f} s of CPU for a GB")


if __name__ == "__main__":
    main()
