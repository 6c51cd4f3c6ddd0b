"""What assign and the causal metric cost: against the passes that they need, and in seconds.

The passes that assign needs, over the same images in the same batches: one over all images up to the layer, and one
over the images that were drawn, with a backward pass for each neuron that they were drawn for. Both sides decode their
images, in one process, and run in turn; nothing else of the yardstick is kept.

Usage: python tests/benchmarks/virtual_costs.py SHARED WORK [--rounds 3] [--neurons 64]
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from sides import case

from pure_cli import Workspace
from pure_cli.artifacts import read_assignments, read_collected
from pure_cli.core.circuits import Circuits, activations, l1_normalised
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches
from pure_cli.stages.resume.pair_work import Plan
from pure_cli.stages.runtime.images import first_image
from pure_cli.stages.runtime.network import open_network

LAYER, LOWER, REFERENCES = "layer3", "layer2", 100


def main(shared: Path, work: Path, rounds: int, neurons: int) -> None:
    options, data, _ = case(shared, work, "resnet20")
    study, some = Workspace(work / "virtual-costs"), f"0-{neurons - 1}"
    study.collect(data=data, references=REFERENCES, workers=0, **options)
    study.attribute(neurons=some, lower_layer=LOWER, workers=0)
    study.cluster(neurons=some)
    spent: dict[str, list[float]] = {"assign": [], "passes": []}
    for _ in range(rounds):
        spent["assign"].append(_timed(lambda: study.assign(neurons=some, figures=0, workers=0, force=True)))
        spent["passes"].append(_timed(lambda: _passes(study, data)))
    middle = {name: statistics.median(values) for name, values in spent.items()}
    print(f"assign: {middle['assign']:.1f} s, the passes that it needs: {middle['passes']:.1f} s, ", end="")
    print(f"ratio {middle['assign'] / middle['passes']:.2f} (goal 1.5)", flush=True)
    features = [f"pure@{LOWER}", "activation-mean"]
    seconds = _timed(
        lambda: study.evaluate(metric="causal", features=features, k=2, neurons=some, workers=0, force=True)
    )
    print(f"causal, {neurons} neurons x {REFERENCES} references, {len(features)} kinds of features, k = 2: ", end="")
    print(f"{seconds:.0f} s (goal 300)")


def _timed(run):  # type: ignore[no-untyped-def]
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _passes(study: Workspace, data: Path) -> None:
    listing, network = list_images(data), open_network(read_collected(study.store), "auto")
    network = network.ready(first_image(listing, network), [LAYER, LOWER])
    size = network.batch_size(None, *first_image(listing, network).shape[-2:])
    for batch in batches(listing, listing.index, network.preprocessing, size, 0):
        activations(network.model, network.inputs(batch.images), [LAYER], lambda _, output: output.amax(dim=(-1, -2)))
    assigned = read_assignments(study.store)[LAYER]
    plan, start = Plan.of(assigned.image), 0
    for batch in batches(listing, plan.images, network.preprocessing, size, 0):
        circuits = Circuits(network.model, network.inputs(batch.images), LAYER, [LOWER])
        rounds = list(plan.rounds(start, start + len(batch.index)))
        for pairs in rounds:
            which = torch.from_numpy(assigned.neuron[plan.neuron_row[pairs]]).to(network.device)
            l1_normalised(circuits.summed(which, last=pairs is rounds[-1])[LOWER])
        start += len(batch.index)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--neurons", type=int, default=64)
    given = parser.parse_args()
    main(given.shared.resolve(), given.work.resolve(), given.rounds, given.neurons)
