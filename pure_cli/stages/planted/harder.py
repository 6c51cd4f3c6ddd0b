"""Harder units with known meanings: parts of one class, classes that look alike, trees, correlated concepts, outputs.

Each kind is made by construction, on the half of the images on which no reference is looked for, like the usual ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.looks import class_distances, looks, parts_of_classes, standardised
from pure_cli.data.listing import UNKNOWN_LABEL
from pure_cli.data.loader import Batch, batches
from pure_cli.errors import PureError
from pure_cli.stages.planted.candidates import (
    ALIKE,
    CORRELATED,
    FINER,
    JOINED,
    LEVELS,
    TREE,
    Candidates,
    drawn,
    frequent,
)
from pure_cli.stages.planted.dataset_pass import UnitPass
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once, named_images
from pure_cli.stages.runtime.network import workers_of

if TYPE_CHECKING:
    from pure_cli.embedders.load import Embedder
    from pure_cli.stages.planted.units import LayerUnderTest

PARTS = 3  # of a class, for finer units
NEAREST = 1 / 3  # of the pairs that look most alike, and of the triples with the clearest tree
PIXELS, EMBEDDER = "pixels", "embedder"  # what is known of images without the network
BRANCH = (0, 0, 1)  # of the three meanings of a tree; the first two are close


@dataclass(frozen=True)
class ImageFacts:
    """What harder units are made by, for the images that the pass saw, in its order.

    Attributes
    ----------
    image : (N,) int64, ascending, data-set indices
    looks : (N, 4) float, mean colour and edges, standardised
    vectors : (N, E) float, of an embedder that was held out; None without one
    part : (L,) int, the part of its class that each image of the data set shows; None without an embedder
    """

    image: np.ndarray
    looks: np.ndarray
    vectors: np.ndarray | None
    part: np.ndarray | None

    @property
    def points(self) -> dict[str, np.ndarray]:
        """All that is known of the images without the network: name to (N, D)."""
        return {PIXELS: self.looks, **({} if self.vectors is None else {EMBEDDER: self.vectors})}


@dataclass(frozen=True)
class HalfRows:
    """Where one half of the images lies: rows to make units of, and images to find references among.

    Attributes
    ----------
    making : (M,) int64, rows of the pass
    finding : (F,) int64, data-set indices
    """

    making: np.ndarray
    finding: np.ndarray


def image_facts(test: LayerUnderTest, seen: UnitPass) -> ImageFacts:
    """One more pass over the pixels, through the embedder where units need it.

    Raises
    ------
    PureError
        Units of parts of classes without an embedder; units of outputs for a layer that is not the network's last.
    """
    kinds = test.settings.units or []
    if JOINED in kinds and not _is_last(test):
        raise PureError(
            f"--units joined is for the layer that gives the network's output, and '{test.layer}' does not. Collect "
            "that layer (the classifier, often fc, linear or classifier) and calibrate it with --layer."
        )
    if FINER in kinds and test.settings.embedder is None:
        raise PureError("--units finer needs an embedder that finds the parts of a class: --embedder dinov2, say.")
    embedder = _embedder(test)
    parts = list(_looked_at(test, seen.image, embedder))
    own_looks, vectors = (np.concatenate([part[i] for part in parts]) for i in range(2))
    part = None
    if embedder is not None:
        part = np.full(len(test.listing.labels), UNKNOWN_LABEL)
        part[seen.image] = parts_of_classes(vectors, test.listing.labels[seen.image], PARTS, test.settings.seed)
    return ImageFacts(seen.image, standardised(own_looks), None if embedder is None else vectors, part)


def _is_last(test: LayerUnderTest) -> bool:
    """Whether the layer's output is the network's."""
    import torch

    from pure_cli.core.circuits import activations
    from pure_cli.core.forward import run

    ready = test.network.ready(first_image(test.listing, test.network), [test.layer])
    image = ready.inputs(first_image(test.listing, test.network))
    own = activations(ready.model, image, [test.layer])[test.layer]
    with torch.no_grad():
        output = run(ready.model, image)
    return isinstance(output, torch.Tensor) and output.shape == own.shape and torch.allclose(output, own)


def _embedder(test: LayerUnderTest) -> Embedder | None:
    if test.settings.embedder is None:
        return None
    from pure_cli.embedders.load import load_embedder
    from pure_cli.embedders.spec import parse_embedder
    from pure_cli.models.trust import trust

    spec = parse_embedder(test.settings.embedder, weights=test.settings.embedder_weights)
    if spec.file:
        trust(spec.model)  # the user names it in this command
    return load_embedder(spec, test.network.device, min(first_image(test.listing, test.network).shape[-2:]))


def _looked_at(
    test: LayerUnderTest, index: np.ndarray, embedder: Embedder | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Looks (b, 4) and vectors (b, E) of batches; E is 0 without an embedder."""
    import torch

    size, memory = images_at_once(test.listing, test.network, test.settings.batch_size), AdaptiveBatches()
    for batch in batches(test.listing, index, test.network.preprocessing, size, workers_of(test.settings)):
        vectors: list[np.ndarray] = [np.empty((0, 0))]

        def compute(begin: int, end: int, batch: Batch = batch, vectors: list[np.ndarray] = vectors) -> None:
            assert embedder is not None
            pixels = batch.images[begin:end].permute(0, 2, 3, 1).numpy()
            with named_images(test.listing, batch.index[begin:end]):
                inputs = torch.stack([embedder.preprocess(image) for image in pixels])
                vectors.append(embedder.embed(inputs).cpu().numpy())

        if embedder is None:
            vectors.append(np.empty((len(batch.index), 0)))
        else:
            memory.each(len(batch.index), compute)
        yield looks(batch.images), np.concatenate(vectors[1:])


def harder_candidates(
    test: LayerUnderTest, half: HalfRows, seen: UnitPass, facts: ImageFacts, seed: Sequence[int]
) -> Iterator[Candidates]:
    """Of all kinds that the user wants; the same ones of a kind whatever the others are."""
    makers = {FINER: _finer, ALIKE: _alike, TREE: _trees, CORRELATED: _correlated, JOINED: _joined}
    for place, (kind, make) in enumerate(makers.items()):
        if kind in (test.settings.units or ()):
            yield from make(test, half, seen, facts, np.random.default_rng([*seed, place]))


def _finer(
    test: LayerUnderTest, half: HalfRows, seen: UnitPass, facts: ImageFacts, generator: np.random.Generator
) -> Iterator[Candidates]:
    """Two or three parts of one class; what shows other things counts for no meaning."""
    assert facts.part is not None
    known = frequent(facts.part, seen.image[half.making], half.finding, test.n)
    unions = []
    for size in (2, 3):
        every = [one for one in combinations(known, size) if len({part // PARTS for part in one}) == 1]
        unions += [every[i] for i in generator.permutation(len(every))[: test.wanted_on_a_half].tolist()]
    yield from _unions(FINER, test, half, seen, facts.part, unions, strays=True)


def _alike(
    test: LayerUnderTest, half: HalfRows, seen: UnitPass, facts: ImageFacts, generator: np.random.Generator
) -> Iterator[Candidates]:
    """Pairs of classes that are nearest in mean colour and edges."""
    labels = test.listing.labels
    known = np.array(frequent(labels, seen.image[half.making], half.finding, test.n), np.int64)
    if len(known) < 3:
        return
    apart = class_distances(facts.looks[half.making], labels[seen.image[half.making]], known)
    pairs = sorted(combinations(range(len(known)), 2), key=lambda pair: apart[pair])
    nearest = pairs[: max(1, round(NEAREST * len(pairs)))][: test.wanted_on_a_half]
    unions = [tuple(known[list(pair)].tolist()) for pair in nearest]
    yield from _unions(ALIKE, test, half, seen, labels, unions)


def _trees(
    test: LayerUnderTest, half: HalfRows, seen: UnitPass, facts: ImageFacts, generator: np.random.Generator
) -> Iterator[Candidates]:
    """Three classes, of which the first two are close to each other and far from the third."""
    labels, vectors = test.listing.labels, seen.mean if facts.vectors is None else facts.vectors
    known = np.array(frequent(labels, seen.image[half.making], half.finding, test.n), np.int64)
    if len(known) < 4:  # else there is nothing that a unit of three does not fire for
        return
    apart = class_distances(vectors[half.making], labels[seen.image[half.making]], known)
    unions = clearest_trees(apart, list(drawn(range(len(known)), 3, 20 * test.wanted, generator)))
    chosen = unions[: max(1, round(NEAREST * len(unions)))][: 2 * test.wanted_on_a_half]  # fewer of three fire for all
    named = [tuple(known[list(one)].tolist()) for one in chosen]
    yield from _unions(TREE, test, half, seen, labels, named, BRANCH, strays=True)


def clearest_trees(apart: np.ndarray, triples: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Triples with the two that are close first; those whose third is farthest, in parts of how close these are, first.

    Parameters
    ----------
    apart : (K, K) float, distances of classes
    triples : of classes
    """
    found = []
    for one in triples:
        orders = [(one[i], one[j], one[3 - i - j]) for i, j in ((0, 1), (0, 2), (1, 2))]
        a, b, c = min(orders, key=lambda order: apart[order[0], order[1]])
        far = min(apart[a, c], apart[b, c])
        found.append((apart[a, b] / far if far > 0 else np.inf, (a, b, c)))
    return [one for _, one in sorted(found)]


def _correlated(
    test: LayerUnderTest, half: HalfRows, seen: UnitPass, facts: ImageFacts, generator: np.random.Generator
) -> Iterator[Candidates]:
    """Sums of two classes' probes, the second turned towards the first; the same pairs for each correlation."""
    from pure_cli.core.units import correlated_with, learned_unions

    making = seen.image[half.making]
    known = frequent(test.listing.labels, making, half.finding, test.n)
    if len(known) < 2:
        return
    most = min(test.wanted_on_a_half, len(known) * (len(known) - 1) // 2)
    pairs = list(drawn(range(len(known)), 2, most, generator))
    features = seen.mean[half.making]
    probes = learned_unions(features, test.listing.labels[making], [(one,) for one in known])
    named = [tuple(known[i] for i in pair) for pair in pairs]
    for kind, level in LEVELS.items():
        both, *concepts = correlated_with(features, probes, pairs, level, test.n)
        yield Candidates(kind, test.layer, both, named, concepts=concepts)


def _joined(
    test: LayerUnderTest, half: HalfRows, seen: UnitPass, facts: ImageFacts, generator: np.random.Generator
) -> Iterator[Candidates]:
    """Sums of two and of three of the network's outputs, each scaled by how far it goes."""
    from pure_cli.core.units import pairs_of_channels

    highest = seen.highest[test.layer][half.making]
    reach = np.sort(highest, axis=0)[-test.n :].mean(axis=0)
    alive = np.flatnonzero(reach > 0).tolist()
    for size in (2, 3):
        if len(alive) >= size:
            outputs = list(drawn(alive, size, test.wanted_on_a_half, generator))
            yield Candidates(
                JOINED, test.layer, pairs_of_channels(outputs, np.where(reach > 0, reach, 1), False), outputs
            )


def _unions(
    kind: str,
    test: LayerUnderTest,
    half: HalfRows,
    seen: UnitPass,
    labels: np.ndarray,
    unions: list[tuple[int, ...]],
    branch: tuple[int, ...] | None = None,
    strays: bool = False,
) -> Iterator[Candidates]:
    """Probes for unions of meanings that images have."""
    from pure_cli.core.units import learned_unions

    if unions:
        probes = learned_unions(seen.mean[half.making], labels[seen.image[half.making]], unions)
        yield Candidates(kind, test.layer, probes, unions, labels, branch=branch, strays=strays)
