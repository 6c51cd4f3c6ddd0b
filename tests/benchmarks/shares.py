"""Where the time of attribute goes, piece by piece: the network as it was loaded, and as attribute makes it ready.

Usage: python tests/benchmarks/shares.py SHARED WORK resnet20|resnet50 plain|ready|bfloat16

WORK is the folder ``work`` of an earlier run of `run.py`, with references in it; the device is that of
PURE_BENCH_DEVICE.
"""

import argparse
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import torch
from sides import DEVICE, NEURONS, case, network, references

from pure_cli.core.circuits import Circuits, activations
from pure_cli.core.memory import keep_memory
from pure_cli.data.listing import list_images
from pure_cli.data.loader import decode_one
from pure_cli.stages.resume.pair_work import Plan
from pure_cli.stages.runtime import network as runtime


def main(shared: Path, work: Path, name: str, way: str) -> None:
    options, data, lower = case(shared, work, name)
    layer = options["layer"]
    image = references(shared, work, name, 100).references(layer)["image"][: NEURONS[name]]
    model, preprocessing = network(shared, work, name)
    listing, plan = list_images(data), Plan.of(image)
    if way == "plain":
        runtime.keep_memory = lambda: False  # type: ignore[assignment]
    else:
        keep_memory()
    used = runtime.Network(model, DEVICE, preprocessing)
    first = torch.from_numpy(decode_one(listing, int(plan.images[0]), preprocessing))[None]
    size = used.batch_size(None, *first.shape[-2:])
    if way != "plain":
        used = used.ready(first, [layer, lower], "bfloat16" if way == "bfloat16" else "float32")
    spent: Counter[str] = Counter()

    @contextmanager
    def piece(what: str):  # type: ignore[no-untyped-def]
        begin = time.perf_counter()
        yield
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        spent[what] += time.perf_counter() - begin

    for start in range(0, len(plan.images), size):
        stop = min(start + size, len(plan.images))
        with piece("decoding, in one process"):
            batch = torch.stack(
                [torch.from_numpy(decode_one(listing, int(i), preprocessing)) for i in plan.images[start:stop]]
            )
        inputs = used.inputs(batch)
        with piece("forward to the lower layer"):
            activations(used.model, inputs, [lower])
        with piece("forward to the layer"):
            circuits = Circuits(used.model, inputs, layer, [lower])
        rounds = list(plan.rounds(start, stop))
        for pairs in rounds:
            with piece("backward and reduction"):
                circuits.relevance(torch.from_numpy(plan.neuron_row[pairs]).to(DEVICE), last=pairs is rounds[-1])
    spent["forward to the layer"] -= spent["forward to the lower layer"]  # it runs through the lower layer too
    total = sum(spent.values())
    print(f"{name}, {way}: {plan.pairs} pairs of {len(plan.images)} images, {total:.1f} s")
    for what, seconds in spent.items():
        print(f"  {what}: {seconds:.2f} s, {seconds / total:.0%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("name", choices=["resnet20", "resnet50"])
    parser.add_argument("way", choices=["plain", "ready", "bfloat16"])
    options = parser.parse_args()
    main(options.shared.resolve(), options.work.resolve(), options.name, options.way)
