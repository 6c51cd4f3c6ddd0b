"""Virtual neurons of units whose meanings are known, on images that neither the units nor the clustering saw.

A learned union is a probe for "one of two classes". Its probe is made on one half of the images, its references come
from the other half, and a third set is given to its virtual neurons: by their circuits (`pure assign`), and by fixed
shares of the incoming channels (rewired channels, Hesse et al. 2025). Printed: how many images go to the virtual neuron
of their own class, from the faintest quantile of activation to the strongest; how many to none; and the leakage, the
share of the activation that goes to the other class. With an embedder that knows words: whether `pure label` calls
the units by their two classes, and each virtual neuron by one of them.

Usage: python tests/benchmarks/unions.py MODEL DATA UNSEEN WORK --weights FILE --layer layer3
           --recipe pure@layer2 --recipe activation-mean [--unions 20] [--untrained]
           [--embedder clip-image:FILE.json --concepts FILE]
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from pure_cli import Workspace
from pure_cli.artifacts import read_assignments, read_collected, read_labels
from pure_cli.core.circuits import activations
from pure_cli.core.features import Kind
from pure_cli.core.layout import channels_first
from pure_cli.core.units import learned_unions
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches
from pure_cli.data.sources.subset import subset
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.runtime.network import open_network

QUANTILES, EACH = 5, 40  # parts of the range of activation, and images of each unit in each
NETWORK_SAW, REFERENCES = 0, 1  # halves


def main(given: argparse.Namespace) -> None:
    given.work.mkdir(parents=True, exist_ok=True)
    listing = list_images(given.data)
    halves = [np.flatnonzero(np.arange(len(listing.labels)) % 2 == half) for half in (NETWORK_SAW, REFERENCES)]
    lists = []
    for half, rows in enumerate(halves):
        lists.append(given.work / f"half-{half}.subset")
        lists[-1].write_text(subset(listing.data, listing.index[rows], listing.labels[rows]), encoding="utf-8")
    study = Workspace(given.work / "study")
    model = {"model": given.model, "weights": "none" if given.untrained else given.weights, "workers": given.workers}
    study.collect(data=lists[REFERENCES], layer=given.layer, references=2, **model)
    unions = _unions(listing.labels, given.unions)
    means = _means(study, lists[NETWORK_SAW], given.layer)
    labels = list_images(lists[NETWORK_SAW]).labels
    probes = learned_unions(means, labels, unions)
    file = given.work / "unions.safetensors"
    save_file({"weight": torch.from_numpy(probes.weight), "bias": torch.from_numpy(probes.bias)}, file)
    layer = f"unions@{given.layer}"
    study.collect(data=lists[REFERENCES], layer=given.layer, directions=file, references=100, **model)
    lower = list(dict.fromkeys(name for recipe in given.recipe for name in Kind.of(recipe).lower_layers))
    study.attribute(layer=layer, lower_layer=lower, workers=given.workers)
    study.cluster(layer=layer, features=given.recipe, k=[2])
    if given.embedder:
        study.embed(embedder=given.embedder, crop="none", layer=layer, neurons="all", workers=given.workers)
    for recipe in given.recipe:
        study.choose(layer=layer, features=recipe, k="2")
        if given.embedder:
            _name(study, given, layer, recipe, [tuple(listing.names[c] for c in union) for union in unions])
        _report(study, given, layer, recipe, unions)


def _unions(labels: np.ndarray, count: int) -> list[tuple[int, ...]]:
    pairs = list(combinations(np.unique(labels).tolist(), 2))
    return [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))[:count]]


def _means(study: Workspace, data: Path, layer: str) -> np.ndarray:
    """(N, C) of a layer over space."""
    network, listing = open_network(read_collected(study.store), "cpu"), list_images(data)
    found = []
    for batch in batches(listing, listing.index, network.preprocessing, 128, 0):
        output = activations(network.model, network.inputs(batch.images), [layer])[layer]
        found.append(channels_first(output).mean(dim=-1).numpy())
    return np.concatenate(found)


def _name(study: Workspace, given: argparse.Namespace, layer: str, recipe: str, unions: list[tuple[str, ...]]) -> None:
    """How often labels are the classes of unions that fire for both."""
    study.label(concepts=given.concepts, layer=layer, workers=given.workers)
    labels, sources, names = read_labels(study.store)[layer], Sources(study.store), list_images(given.data).names
    classes = sources.listing([layer]).labels
    found = []
    for unit, union in enumerate(unions):
        images = sources.collected.layers[layer].top.image[unit].tolist()
        if min(sum(names[classes[i]] == name for i in images) for name in union) < 20:
            continue
        called = labels.text(unit).split(" + ")
        parts = {labels.text(unit, part) for part in range(2)}
        found.append([set(called) == set(union), set(union) <= set(called), called[0] in union, parts == set(union)])
    both, among, first, apart = np.mean(found, axis=0)
    print(
        f"{recipe}: of {len(found)} units, {both:.2f} are called by both classes and no other, {among:.2f} by both, "
        f"{first:.2f} by one of them first; of {apart:.2f} the virtual neurons have one class each",
        flush=True,
    )


def _classes(study: Workspace, layer: str, recipe: str, unit: int, union: tuple[int, ...]) -> tuple[int, ...] | None:
    """Of both virtual neurons, by the labels of the references; None where one fires for one of them alone."""
    sources = Sources(study.store)
    found = study.virtual_neurons(layer, recipe, 2)
    labels = sources.listing([layer]).labels
    clusters = [labels[np.array(one.images)] for one in found if one.neuron == unit]
    if len(clusters) < 2 or min(np.isin(np.concatenate(clusters), [c]).sum() for c in union) < 20:
        return None
    first, second = ([int((own == c).sum()) for c in union] for own in clusters)
    return union if first[0] + second[1] >= first[1] + second[0] else union[::-1]


def _report(
    study: Workspace, given: argparse.Namespace, layer: str, recipe: str, unions: list[tuple[int, ...]]
) -> None:
    study.assign(
        data=given.unseen, layer=layer, quantiles=QUANTILES, per_quantile=EACH, figures=0, workers=given.workers
    )
    found, unseen = read_assignments(study.store)[layer], list_images(given.unseen)
    right, none = np.full((2, len(unions), QUANTILES), np.nan)
    leak = {"circuits": np.full(len(unions), np.nan), "weights": np.full(len(unions), np.nan)}
    network = open_network(read_collected(study.store), "cpu")
    for unit, union in enumerate(unions):
        classes = _classes(study, layer, recipe, unit, union)
        if classes is None:
            continue
        there = found.image[unit] >= 0
        label = np.array([found.label[i] for i in found.image[unit][there].tolist()])
        own = np.isin(label, union)
        hard, part = found.hard[unit][there][own], found.quantile[unit][there][own]
        truth = np.array([classes.index(c) for c in label[own].tolist()])
        for quantile in range(QUANTILES):
            of = part == quantile
            if of.any():
                none[unit, quantile] = (hard[of] < 0).mean()
                right[unit, quantile] = (
                    (hard[of] == truth[of])[hard[of] >= 0].mean() if (hard[of] >= 0).any() else np.nan
                )
        images = found.image[unit][there][own]
        batch = torch.cat([one.images for one in batches(unseen, images, network.preprocessing, len(images), 0)])
        for by in leak:
            module = study.virtual(layer, unit, by=by, device="cpu")
            parts = torch.cat([module(network.inputs(some)) for some in batch.split(64)])
            mass = parts[:, :2].flatten(2).sum(dim=-1).clamp(min=0).numpy()
            lost = mass[np.arange(len(truth)), 1 - truth].sum()
            leak[by][unit] = lost / max(mass.sum(), 1e-12)
    known = np.isfinite(leak["circuits"])
    print(f"{recipe}: {known.sum()} units fire for both classes", flush=True)
    if not known.any():
        return
    print(
        "  own virtual neuron, from faint to strong: "
        + ", ".join(f"{value:.3f}" for value in np.nanmean(right, axis=0))
    )
    print("  none of them: " + ", ".join(f"{value:.3f}" for value in np.nanmean(none, axis=0)))
    for by, values in leak.items():
        error = np.nanstd(values, ddof=1) / np.sqrt(known.sum())
        print(f"  leakage by {by}: {np.nanmean(values):.3f} ± {error:.3f} (0.5 without a split)", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("unseen", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--layer", required=True)
    parser.add_argument("--recipe", action="append", required=True)
    parser.add_argument("--unions", type=int, default=20)
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--embedder")
    parser.add_argument("--concepts", type=Path, help="words for the classes, for --embedder")
    parser.add_argument("--workers", type=int, default=0)
    main(parser.parse_args())
