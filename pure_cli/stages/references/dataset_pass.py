"""The pass of collect over the images."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from pure_cli.config import fingerprint
from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError, PureFailure
from pure_cli.settings.collect import CollectSettings
from pure_cli.stages.outcome import Progress
from pure_cli.stages.references.scores import LayerScores, Scored
from pure_cli.stages.resume.checkpoint import Checkpoint
from pure_cli.stages.runtime.images import images_at_once
from pure_cli.stages.runtime.network import Network
from pure_cli.words import counted
from pure_cli.workspace import Store

DAMAGED_SHOWN = 5
CHECKPOINT_SECONDS = 2.0  # at most this much work is lost when the process is killed


def run_dataset_pass(
    store: Store,
    network: Network,
    listing: Listing,
    settings: CollectSettings,
    scores: LayerScores,
    key: list[Any],
    progress: Progress,
) -> Checkpoint:
    """The pass over the images, from where a killed process left the same work, of which `key` says what it is.

    Returns
    -------
    Checkpoint
        When all is done.
    """
    from pure_cli.data.loader import batches, default_workers

    batch_size = images_at_once(listing, network, settings.batch_size, scores.share)
    state = Checkpoint(store, fingerprint([*key, batch_size, network.device.type]))
    workers = default_workers() if settings.workers is None else settings.workers
    saved = time.perf_counter()
    check_damage(state.damaged, listing, settings)
    progress(min(state.next_chunk * batch_size, len(listing)), len(listing))
    if scores.outputs is not None:
        loaded = scores.outputs.batches(listing.index, batch_size, state.next_chunk)
    else:
        where = listing, listing.index, network.preprocessing, batch_size, workers
        loaded = batches(*where, state.next_chunk, with_content=True)
    with scores, _saved_when_it_fails(state):
        for batch in loaded:
            damaged = [(d.index, d.path, d.reason) for d in batch.damaged]
            check_damage(damaged, listing, settings)
            scored = scores.score(batch) if len(batch.index) else {}
            state.damaged += damaged
            if scored:
                broken = _compete(state.tops, scored, batch.index, settings.references)
                state.nan_images += int(broken.sum())
                if broken.any() and state.nan_image == NO_IMAGE:
                    state.nan_image = int(batch.index[broken.argmax()])
            state.add_content(batch.content)
            state.next_chunk += 1
            if time.perf_counter() - saved > CHECKPOINT_SECONDS:
                state.save()
                saved = time.perf_counter()
            progress(min(state.next_chunk * batch_size, len(listing)), len(listing))
    return state


@contextmanager
def _saved_when_it_fails(state: Checkpoint) -> Iterator[None]:
    """Keep what was done before a worker died, or the memory of the device ran out."""
    try:
        yield
    except PureFailure:
        with suppress(PureFailure):  # the disk may be what fails
            state.save()
        raise


def _compete(tops: dict[str, Any], scored: Scored, index: np.ndarray, n: int) -> np.ndarray:
    """Let a batch of images compete for the best of every neuron, where their scores are finite.

    Returns
    -------
    (B,) bool, which images have scores that are not
    """
    from pure_cli.core.references import TopImages

    broken = np.zeros(len(index), bool)
    for name, (values, positions, means) in scored.items():
        finite = np.isfinite(values)
        broken |= ~finite.all(axis=1)
        if name not in tops:
            tops[name] = TopImages.empty(values.shape[1], n)
        tops[name].add(np.where(finite, values, np.nan), positions, index, means)
    return broken


def not_finite_notes(network: Network, state: Checkpoint, listing: Listing, layers: list[str]) -> list[str]:
    """A sentence on the images whose activations are not finite.

    Raises
    ------
    PureError
        There are no others.
    """
    import torch

    from pure_cli.data.loader import decode_one
    from pure_cli.models.not_finite import where_not_finite

    if not state.nan_images:
        return []
    image = torch.from_numpy(decode_one(listing, state.nan_image, network.preprocessing))[None]
    where = where_not_finite(network.model, network.inputs(image)) or ""
    empty = [name for name in layers if (state.tops[name].image == NO_IMAGE).all()]
    if empty:
        raise PureError(
            f"No image gives the neurons of {', '.join(empty)} activations that are finite numbers. {where} "
            "Mend the model, or pass other weights with --weights."
        )
    return [
        f"{counted(state.nan_images, 'image')} gave activations that are not finite numbers (NaN or infinity); no "
        f"neuron refers to them for it. {where}".rstrip()
    ]


def check_damage(damaged: list[tuple[int, str, str]], listing: Listing, settings: CollectSettings) -> None:
    if damaged and settings.strict:
        index, _, reason = damaged[0]
        raise PureError(f"{listing.place(index)} cannot be read: {reason}. Mend it, or leave out --strict to skip it.")


def damage_notes(damaged: list[tuple[int, str, str]]) -> list[str]:
    """A sentence on the images that could not be read."""
    if not damaged:
        return []
    shown = "; ".join(f"{path} ({reason})" for _, path, reason in damaged[:DAMAGED_SHOWN])
    more = f"; and {len(damaged) - DAMAGED_SHOWN} more (`pure info --damaged`)" if len(damaged) > DAMAGED_SHOWN else ""
    were = "were" if len(damaged) > 1 else "was"
    return [f"{counted(len(damaged), 'image')} could not be read and {were} skipped: {shown}{more}."]
