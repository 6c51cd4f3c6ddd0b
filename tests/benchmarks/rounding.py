"""How far the relevances of each way to compute them are from those in double precision, and what that does to labels.

Usage: python tests/benchmarks/rounding.py SHARED WORK resnet20|resnet50

WORK is the folder ``work`` of an earlier run of `run.py`, with references in it. The ways are the network as it was
loaded, with batch norm merged (as attribute has it), in bfloat16, and zennit-crp's one neuron at a time.
"""

import argparse
from pathlib import Path

import torch
from run import same_relevance
from sides import NEURONS, SIDES, case, network, pixels, references, relevances

from pure_cli.stages.resume.pair_work import Plan
from pure_cli.stages.runtime.network import Network


def main(shared: Path, work: Path, name: str) -> None:
    options, _, lower = case(shared, work, name)
    layer = options["layer"]
    image = references(shared, work, name, 100).references(layer)["image"][: NEURONS[name]]
    data = pixels(shared, work, name, Plan.of(image).images)

    def used(kind: str) -> Network:
        model, preprocessing = network(shared, work, name)
        plain = Network(model, torch.device("cpu"), preprocessing)
        if kind == "float64":
            return Network(model.double(), plain.device, preprocessing, torch.float64)
        return plain if kind == "plain" else plain.ready(data[:1], [layer, lower], kind)

    size = used("plain").batch_size(None, *data.shape[-2:])
    exact = {"relevance": relevances(used("float64"), image, data, layer, lower, size)}
    ways = {
        "float32, as loaded": ("plain", size),
        "float32, as loaded, 5 images at once": ("plain", 5),
        "float32, batch norm merged": ("float32", size),
        "bfloat16, batch norm merged": ("bfloat16", size),
    }
    for what, (kind, together) in ways.items():
        found = {"relevance": relevances(used(kind), image, data, layer, lower, together)}
        print(f"{what}: {same_relevance(found, exact)}", flush=True)
    theirs = SIDES[f"attribute-yardstick-{name}"](shared, work)()
    print(f"zennit-crp, float32: {same_relevance(theirs, exact)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("name", choices=["resnet20", "resnet50"])
    options = parser.parse_args()
    main(options.shared.resolve(), options.work.resolve(), options.name)
