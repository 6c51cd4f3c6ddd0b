"""Neurons of layers beside random directions of the same layers: how pure their references are in the images' classes.

python tests/benchmarks/basis.py WORKSPACE LAYER... [--directions 256] [--seed 0]

WORKSPACE holds the references of the layers (`pure collect`). All random directions, Gaussian, are found in one pass. A
line has the layer, its neurons that enough images excite, and of these and of the directions the purity above chance ±
its standard error, and the median entropy of the classes. Chance: labels shuffled among all references of the line.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from pure_cli.core.circuits import activations
from pure_cli.core.layout import channels_first
from pure_cli.core.metrics.purity import by_chance, entropies, purities
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.data.loader import batches
from pure_cli.stages.evaluation.labels import classes_of
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.inputs.freshness import require_unchanged
from pure_cli.stages.runtime.images import first_image, images_at_once
from pure_cli.stages.runtime.network import open_network
from pure_cli.workspace import Store

SHUFFLES = 20


def neurons(sources: Sources, layer: str) -> np.ndarray:
    """(N, n) classes of the references of those neurons that all of them excite."""
    every = np.arange(sources.collected.layers[layer].neurons)
    full = np.array([sources.excites(layer, int(c)).all() for c in every])
    return classes_of(sources, layer, every[full])


def random_directions(sources: Sources, layers: list[str], count: int, seed: int, n: int) -> dict[str, np.ndarray]:
    """By layer the classes (M, n) of the images with the highest maxima of random directions."""
    listing = require_unchanged(sources.store, sources.collected, layers)
    network = open_network(sources.collected, "cpu")
    network = network.ready(first_image(listing, network), layers)
    weights: dict[str, torch.Tensor] = {}
    scores: dict[str, list[torch.Tensor]] = {layer: [] for layer in layers}
    shown: list[int] = []
    for batch in batches(listing, listing.index, network.preprocessing, images_at_once(listing, network, None), 1):
        shown += batch.index.tolist()
        with torch.inference_mode():
            found = activations(network.model, network.inputs(batch.images), layers)
            for layer in layers:
                maps = channels_first(found[layer])
                if layer not in weights:
                    drawn = np.random.default_rng(seed).standard_normal((count, maps.shape[1]), np.float32)
                    weights[layer] = torch.from_numpy(drawn)
                scores[layer].append((weights[layer] @ maps).amax(dim=2))
    label = listing.labels[shown]
    return {layer: label[torch.cat(own).topk(n, dim=0).indices.T.numpy()] for layer, own in scores.items()}


def said(classes: np.ndarray, seed: int) -> str:
    mean, error = mean_and_error(purities(classes) - by_chance(classes, SHUFFLES, seed))
    return f"{mean:.3f} ± {error:.3f}, {np.median(entropies(classes)):.2f} bits"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("layer", nargs="+")
    parser.add_argument("--directions", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sources = Sources(Store(given.workspace))
    own = {layer: neurons(sources, layer) for layer in given.layer}
    n = next(iter(own.values())).shape[1]
    drawn = random_directions(sources, given.layer, given.directions, given.seed, n)
    for layer, classes in own.items():
        alone = f"{said(classes, given.seed)}" if len(classes) > 1 else "none"
        print(
            f"{layer}: {len(classes)} neurons {alone}; random directions {said(drawn[layer], given.seed)}", flush=True
        )


if __name__ == "__main__":
    main()
