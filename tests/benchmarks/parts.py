"""What it takes to put many parts together, and what parts save: python tests/benchmarks/parts.py merge|share

merge: 1,000 parts of 2,048 neurons with 100 references each, in which chance decides which images are best, merged by
the command line; seconds and memory of the process. share: one process against 2, 4 and 8 at a time, on images that
take long to decode, as over a network, so that the processes wait and do not compute; and two for real.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

MODEL = """
import os, time
import torch
from torch import nn

class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(8, WIDTH, 1), nn.ReLU())

    def forward(self, x):
        time.sleep(float(os.environ.get("SECONDS", 0)) * len(x) * (len(x.unique(dim=0)) > 1))
        return self.layer2(self.layer1(x)).mean(dim=(2, 3))

def wide():
    torch.manual_seed(0)
    return Wide()
"""
REFERENCES = 100


def pure(*words: object, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "pure_cli", *map(str, words)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, **quiet)


def ended(*processes: subprocess.Popen) -> None:
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()


def made(folder: Path, images: int, neurons: int) -> list[object]:
    """Data and a network; the words that name them."""
    (folder / "wide.py").write_text(MODEL.replace("WIDTH", str(neurons)))
    pixels = np.random.default_rng(0).integers(0, 256, (images, 2, 2, 3), dtype=np.uint8)
    np.savez(folder / "images.npz", images=pixels)
    named = ["--model", f"{folder / 'wide.py'}:wide", "--data", folder / "images.npz", "-n", REFERENCES]
    return [*named, "--layer", "layer2", "--workers", 0]


def merge(count: int, neurons: int, images: int) -> dict[str, object]:
    """Parts of one pass, all but the first of which are made up."""
    from pure_cli.artifacts import Seen, read_headers
    from pure_cli.core.parts import Part
    from pure_cli.core.references import TopImages
    from pure_cli.stages.references.facts import Found, PassFacts
    from pure_cli.stages.references.parts import FACTS, write_found
    from pure_cli.workspace import Store

    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name), Store(Path(name) / "w")
        words = made(folder, count * images, neurons)
        ended(pure("collect", *words, "--batch-size", images, "--part", f"1/{count}", "-w", store.root))
        (first,), generator = read_headers(store, "collect"), np.random.default_rng(1)
        which = np.argsort(generator.random((neurons, images), np.float32), axis=1)[:, :REFERENCES]
        for number in range(1, count + 1):
            start = (number - 1) * images
            values = -np.sort(-generator.random((neurons, REFERENCES), np.float32), axis=1)
            index = which + start
            top = TopImages(values, index, np.zeros_like(index, np.int32), values / 2)
            seen = Seen(np.zeros(images, np.int64), np.full(images, -1), generator.integers(1, 99, images).astype("u4"))
            header = replace(first, part=Part(count, number), start=start, stop=start + images)
            found = Found({"layer2": top}, [], np.zeros(0, np.int64), lambda seen=seen: iter([seen]))
            write_found(store, header, PassFacts.of_json(first.more[FACTS]), found)
        size = sum(path.stat().st_size for path in (store.root / "parts").glob("*.h5"))
        os.sync()
        began = time.perf_counter()
        _, status, used = os.wait4(pure("merge", "-q", "-w", store.root).pid, 0)
        seconds, memory = time.perf_counter() - began, used.ru_maxrss
        assert status == 0, "the parts were not merged"
    return {"parts": count, "neurons": neurons, "megabytes": round(size / 1e6), "seconds": round(seconds, 1)} | {
        "memory_megabytes": round(memory / 1e3),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
    }


def share(images: int, seconds: float, counts: list[int]) -> list[dict[str, object]]:
    """One process, and as many as parts at the same time."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [*made(folder, images, 64), "--batch-size", 8]
        alone = 0.0
        for count in [1, *counts]:
            workspace, began = folder / f"w{count}", time.perf_counter()
            parts = [["--part", f"{number}/{count}"] for number in range(1, count + 1)] if count > 1 else [[]]
            ended(*(pure("collect", *words, *part, "-w", workspace, SECONDS=str(seconds)) for part in parts))
            passed = time.perf_counter() - began
            if count > 1:
                ended(pure("merge", "-w", workspace))
            took = time.perf_counter() - began
            alone = alone or took
            row = {"processes": count, "seconds": round(took, 1), "merge": round(took - passed, 1)}
            rows.append({**row, "times": round(alone / took, 2), "efficiency": round(alone / took / count, 2)})
            same = (workspace / "collect.h5").read_bytes() == (folder / "w1" / "collect.h5").read_bytes()
            assert same, "the parts are not what one process finds"
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["merge", "share"])
    parser.add_argument("--parts", type=int, default=1000)
    parser.add_argument("--neurons", type=int, default=2048)
    parser.add_argument("--images", type=int, default=200, help="of a part; of share, in all")
    parser.add_argument("--seconds", type=float, default=0.02, help="that an image makes its process wait")
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 4, 8])
    options = parser.parse_args()
    if options.what == "merge":
        found: object = merge(options.parts, options.neurons, options.images)
    else:
        found = share(options.images, options.seconds, options.counts)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
