"""The pass of collect over the images."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.config import fingerprint
from pure_cli.core.bands import BAND, sample_size, without_band
from pure_cli.core.merging import BySampleHash, ByScore, MergedImages, Order
from pure_cli.core.references import NO_IMAGE, TopImages
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError, PureFailure
from pure_cli.scratch import SYNC_SECONDS
from pure_cli.settings.collect import CollectSettings
from pure_cli.stages.outcome import Progress
from pure_cli.stages.references.facts import Found
from pure_cli.stages.references.scores import LayerScores, Scored
from pure_cli.stages.resume.checkpoint import Checkpoint
from pure_cli.stages.runtime.feed import dealt
from pure_cli.stages.runtime.images import images_at_once
from pure_cli.stages.runtime.network import Network, workers_of
from pure_cli.words import counted
from pure_cli.workspace import Store

if TYPE_CHECKING:
    import torch

    from pure_cli.core.best_images import BestImages
    from pure_cli.data.loader import Batch

DAMAGED_SHOWN = 5
CHECKPOINT_SECONDS = SYNC_SECONDS


@dataclass(frozen=True)
class Share:
    """The images that a pass is over, and where it keeps what is unfinished.

    Attributes
    ----------
    store, name : of the folder
    start, stop : places in the listing's index
    """

    store: Store
    name: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def run_dataset_pass(
    share: Share,
    network: Network,
    listing: Listing,
    settings: CollectSettings,
    scores: LayerScores,
    key: list[Any],
    progress: Progress,
) -> Checkpoint:
    """The pass over images, from where a killed process left the same work, of which `key` says what it is.

    Returns
    -------
    Checkpoint
        When all is done.
    """
    batch_size = images_at_once(listing, network, settings.batch_size, scores.share)
    state = _begun(share, [*key, network.device.type], batch_size, settings.batch_size is None)
    batch_size = state.batch_size
    saved = time.perf_counter()
    check_damage(state.damaged, listing, settings)
    progress(min(state.next_chunk * batch_size, len(share)), len(share))
    loaded = _loaded(network, listing, listing.index[share.start : share.stop], settings, scores, state)
    lanes = [_Lane(one, _Finds(settings, one)) for one in scores.replicas()]
    lanes[0].finds.go_on(state)
    with ExitStack() as contexts, _saved_when_it_fails(state, lanes):
        for lane in lanes:
            contexts.enter_context(lane.scores)
        for place, batch in dealt(loaded, [lane.scores.device for lane in lanes]):
            lane = lanes[place]
            damaged = [(d.index, d.path, d.reason) for d in batch.damaged]
            check_damage(damaged, listing, settings)
            if len(batch.index):
                lane.finds.add(lane.scores.score(batch), batch.index)
            state.damaged += damaged
            state.add_content(batch.content)
            state.next_chunk += 1
            if time.perf_counter() - saved > CHECKPOINT_SECONDS:
                _gather(lanes, state)
                state.save()
                saved = time.perf_counter()
            progress(min(state.next_chunk * batch_size, len(share)), len(share))
    _gather(lanes, state)
    return state


def _loaded(
    network: Network,
    listing: Listing,
    index: np.ndarray,
    settings: CollectSettings,
    scores: LayerScores,
    state: Checkpoint,
) -> Generator[Batch, None, None]:
    """The batches that are not done yet."""
    from pure_cli.data.loader import batches

    if scores.outputs is not None:
        return scores.outputs.batches(index, state.batch_size, state.next_chunk)
    where = listing, index, network.preprocessing, state.batch_size, workers_of(settings)
    return batches(*where, state.next_chunk, with_content=True)


@dataclass(frozen=True)
class _Lane:
    """What one of the devices of a pass computes, and what it has found."""

    scores: LayerScores
    finds: _Finds


def _gather(lanes: list[_Lane], state: Checkpoint) -> None:
    """Note down what all devices have found; waits for them."""
    found = [lane.finds for lane in lanes]
    state.tops = found[0].tops()
    for other in found[1:]:
        for name, top in other.tops().items():
            state.tops[name] = found[0].merged(name, state.tops[name], top) if name in state.tops else top
    state.broken = np.union1d(state.broken, np.concatenate([one.take_broken() for one in found]))


def _begun(share: Share, key: list[Any], batch_size: int, may_differ: bool) -> Checkpoint:
    """Where a killed process left the same work.

    Parameters
    ----------
    may_differ : a process that had other memory may have begun it with batches of another size
    """

    def begun(size: int) -> Checkpoint:
        *what, kind = key
        state = Checkpoint(share.store, fingerprint([*what, size, kind]), share.name)
        state.batch_size = size
        return state

    state = begun(batch_size)
    other = Checkpoint.batch_size_of(share.store, share.name) if may_differ and not state.next_chunk else 0
    if other and other != batch_size and (before := begun(other)).next_chunk:
        return before
    return state


def sample_of(layer: str) -> str:
    """What the sample of a layer's images goes by while the pass goes on."""
    return f"{layer}{BAND}"


def is_sample(name: str) -> bool:
    """Whether this is what a sample goes by, rather than a layer."""
    return name == sample_of(without_band(name))


def order_of(name: str, seed: int) -> Order:
    """In which order a layer's best images come, or its sample."""
    return BySampleHash(seed) if is_sample(name) else ByScore()


class _Finds:
    """What one device has found; it leaves the device when a checkpoint is made.

    Parameters
    ----------
    settings : of collect
    scores : of the device
    """

    def __init__(self, settings: CollectSettings, scores: LayerScores):
        import torch

        # MPS sorts no integers of 64 bits
        self._device = scores.device if scores.device.type == "cuda" else torch.device("cpu")
        self._n, self._seed, self._bounds = settings.references, settings.seed, scores.bounds
        self._sample = sample_size(self._n, settings.edges) if settings.edges else 0
        self._best: dict[str, BestImages] = {}
        self._broken: list[tuple[np.ndarray, torch.Tensor]] = []  # index, and which gave numbers that are not finite

    def go_on(self, state: Checkpoint) -> None:
        """With what was found before."""
        for name, top in state.tops.items():
            self._best[name] = self._made(name, top, self._device)

    def merged(self, name: str, *tops: TopImages) -> TopImages:
        """What several devices have found, none of whose images is another's."""
        channels, n = tops[0].image.shape
        whole = MergedImages(channels, n, order_of(name, self._seed))
        for top in tops:
            whole.add(top)
        return whole.top

    def _made(self, name: str, top: TopImages, device: torch.device) -> BestImages:
        """The best images of a layer, or its sample."""
        from pure_cli.core.best_images import BestImages, SampledImages

        if not is_sample(name):
            return BestImages(top, device)
        bound = self._bounds.get(without_band(name))
        return SampledImages(top, device, self._seed, bound.fires_above if bound else 0.0)

    def _has(self, name: str, channels: int, n: int) -> BestImages:
        """The best images of a layer, or its sample, none of which may be there yet."""
        if name not in self._best:
            self._best[name] = self._made(name, TopImages.empty(channels, n), self._device)
        return self._best[name]

    def add(self, scored: Scored, index: np.ndarray) -> None:
        """Let a batch of images compete for the best of every neuron, where their scores are finite.

        Parameters
        ----------
        index : (B,) data-set indices
        """
        import torch

        from pure_cli.core.best_images import with_hashes, with_sample_hashes

        images = with_hashes(index, self._device)
        drawn_by = with_sample_hashes(index, self._seed, self._device) if self._sample else None
        broken = torch.zeros(len(index), dtype=torch.bool, device=self._device)
        for name, parts in scored.items():
            values, positions, means = (part.detach().to(self._device) for part in parts)
            unusable = ~values.isfinite()
            broken |= unusable.any(dim=1)
            values, channels = values.masked_fill(unusable, torch.nan), values.shape[1]
            self._has(name, channels, self._n).add(values, positions, images, means)
            if drawn_by is not None:
                self._has(sample_of(name), channels, self._sample).add(values, positions, drawn_by, means)
        self._broken.append((index, broken))

    def tops(self) -> dict[str, TopImages]:
        """The best of each layer; waits for the device."""
        return {name: best.top() for name, best in self._best.items()}

    def take_broken(self) -> np.ndarray:
        """Data-set indices of images that gave numbers that are not finite, since this was last called; waits for the
        device."""
        found = [index[broken.cpu().numpy()] for index, broken in self._broken]
        self._broken = []
        return np.concatenate([np.zeros(0, np.int64), *found])


@contextmanager
def _saved_when_it_fails(state: Checkpoint, lanes: list[_Lane]) -> Iterator[None]:
    """Keep what was done before a worker died, or the memory of the device ran out."""
    try:
        yield
    except PureFailure:
        with suppress(PureFailure):  # the disk may be what fails
            _gather(lanes, state)
            state.save()
        raise


def where_broken(network: Network, state: Checkpoint, listing: Listing) -> str:
    """A sentence on the first image with activations that are not finite; "" where there is none."""
    import torch

    from pure_cli.data.loader import decode_one
    from pure_cli.models.not_finite import where_not_finite

    if not len(state.broken):
        return ""
    image = torch.from_numpy(decode_one(listing, int(state.broken[0]), network.preprocessing))[None]
    return where_not_finite(network.model, network.inputs(image)) or ""


def not_finite_notes(found: Found, where: str, layers: Iterable[str]) -> list[str]:
    """A sentence on the images whose activations are not finite.

    Parameters
    ----------
    where : from `where_broken`

    Raises
    ------
    PureError
        There are no others.
    """
    if not len(found.broken):
        return []
    empty = [name for name in layers if (found.tops[name].image == NO_IMAGE).all()]
    if empty:
        raise PureError(
            f"No image gives the neurons of {', '.join(empty)} activations that are finite numbers. {where} "
            "Mend the model, or pass other weights with --weights."
        )
    return [
        f"{counted(len(found.broken), 'image')} gave activations that are not finite numbers (NaN or infinity); no "
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
