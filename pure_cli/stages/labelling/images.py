"""How units respond to images of a data set, and the vectors of these images, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.metrics.semantics import unit_vectors
from pure_cli.core.selection import evenly_spread
from pure_cli.data.long_lists import values_at
from pure_cli.errors import PureError
from pure_cli.provenance import Provenance
from pure_cli.scratch import Scratch
from pure_cli.stages.assignment.unit_activations import ActivationPass, Activations
from pure_cli.stages.embeddings.judges import open_judge
from pure_cli.stages.outcome import Progress
from pure_cli.stages.resume.unfinished_work import Work
from pure_cli.stages.runtime.network import open_network

if TYPE_CHECKING:
    import torch

    from pure_cli.embedders.load import Embedder

VALUE, SHARE, VECTOR = "value", "share", "vector"
FEWEST = 20  # images that can be read, to choose and judge labels by


@dataclass(frozen=True, eq=False)
class Seen:
    """Images, and how units respond to them.

    Attributes
    ----------
    index : (P,) int64, in the data set
    label : (P,) int64, their classes, -1 where unknown
    vector : (P, E) float32, of length one
    activation : (P, U) float32, of each unit
    judges : (P,) bool, the half that judges labels; the others may take part in their choice
    """

    index: np.ndarray
    label: np.ndarray
    vector: np.ndarray
    activation: np.ndarray
    judges: np.ndarray


def look(
    run: ActivationPass,
    kind: str,
    count: int,
    seed: int,
    made_from: Provenance,
    notes: list[str],
    progress: Progress,
) -> Seen:
    """Run the network and the embedder over some of the images, spread evenly; a killed run goes on where it was.

    Parameters
    ----------
    kind : of the embeddings whose embedder is taken
    count : images
    seed : of the halves
    made_from : what the results are made from
    notes : gets what the user should know

    Raises
    ------
    PureError
        Too few images can be read.
    """
    index = evenly_spread(run.listing.index, count)
    network = open_network(run.sources.collected, run.how.device)
    size, neurons, width = run.size(network), len(run.neurons), max(run.most, 1)
    embedder = open_judge(run.sources, run.layer, kind, network)
    work = Work("label", made_from, {"batch_size": size}, run.neurons.tolist())
    arrays = {
        VALUE: ((len(index), neurons), "float32"),
        SHARE: ((len(index), neurons * width), "float32"),
        VECTOR: ((len(index), embedder.width), "float32"),
    }
    with Scratch(run.sources.store.partial(work.name), work.text, arrays) as scratch:
        progress(min(scratch.done * size, len(index)), len(index))
        for batch in run.batches(network, index, notes, scratch.done):
            rows = np.arange(batch.start, batch.stop)
            value = np.full((len(rows), neurons), np.nan, np.float32)
            share = np.zeros((len(rows), neurons * width), np.float32)
            vector = np.zeros((len(rows), embedder.width), np.float32)
            own = batch.own - batch.start
            if len(own):
                value[own], vector[own] = batch.value, _vectors(embedder, batch.images)
            if batch.share is not None:
                share[own] = batch.share.reshape(len(own), -1)
            for name, values in ((VALUE, value), (SHARE, share), (VECTOR, vector)):
                scratch.write(name, rows, values)
            scratch.finish_step()
            progress(batch.stop, len(index))
        found = {name: scratch.rows(name, 0, len(index)) for name in arrays}
    return _seen(run, index, found, seed)


def _seen(run: ActivationPass, index: np.ndarray, found: dict[str, np.ndarray], seed: int) -> Seen:
    readable = np.isfinite(found[VALUE]).all(axis=1)
    if readable.sum() < FEWEST:
        raise PureError(
            f"Only {readable.sum()} of the {len(index)} images can be read, and {FEWEST} are needed to judge labels. "
            "Raise --sample, or leave the judging out with --sample 0."
        )
    shape = (len(index), len(run.neurons), -1)
    share = found[SHARE].reshape(shape)[readable].swapaxes(0, 1) if run.most else None
    activation = Activations(run.neurons, found[VALUE][readable].T, share).of(run.units).T.astype(np.float32)
    index = index[readable]
    return Seen(
        index,
        np.asarray(values_at(run.listing.labels, index)),
        unit_vectors(found[VECTOR][readable]).astype(np.float32),
        activation,
        judging_half(len(index), seed),
    )


def judging_half(count: int, seed: int) -> np.ndarray:
    """(P,) bool, every second image by chance."""
    found = np.zeros(count, bool)
    found[np.random.default_rng(seed).permutation(count)[: count // 2]] = True
    return found


def _vectors(embedder: Embedder, images: torch.Tensor) -> np.ndarray:
    """(b, E) of images (b, 3, H, W) uint8, as the network sees them."""
    import torch

    pixels = images.permute(0, 2, 3, 1).numpy()
    return embedder.embed(torch.stack([embedder.preprocess(image) for image in pixels])).cpu().numpy()
