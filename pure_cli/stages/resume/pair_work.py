"""Work on pairs of a neuron and a reference image, image by image, that goes on where a killed process left it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import Listing
from pure_cli.data.loader import Batch, default_workers
from pure_cli.errors import PureFailure
from pure_cli.scratch import Scratch
from pure_cli.stages.resume.row_parts import RowParts
from pure_cli.stages.runtime.begun import Begun
from pure_cli.stages.runtime.feed import AHEAD, dealt, queues_of

if TYPE_CHECKING:
    import torch

    from pure_cli.core.preprocessing import Preprocessing


@dataclass(frozen=True)
class Plan:
    """In which order images and neurons are visited: the images that most neurons share come first, so that the
    backward passes over a batch stay full.

    Attributes
    ----------
    images : (U,) distinct data-set indices
    counts : (U,) neurons that share each image, descending
    offsets : (U,) where the pairs of each image begin
    neuron_row, slot : (P,) the pairs of neuron and reference, image after image
    references : references of one neuron
    """

    images: np.ndarray
    counts: np.ndarray
    offsets: np.ndarray
    neuron_row: np.ndarray
    slot: np.ndarray
    references: int

    @classmethod
    def of(cls, references: np.ndarray) -> Plan:
        """The plan for references (N, n) of N neurons; -1 where there is no image."""
        row, slot = np.nonzero(references != NO_IMAGE)
        images, inverse, counts = np.unique(references[row, slot], return_inverse=True, return_counts=True)
        order = np.lexsort((images, -counts))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        by_image = np.lexsort((row, rank[inverse]))
        counts = counts[order]
        offsets = np.cumsum(counts) - counts
        return cls(images[order], counts, offsets, row[by_image], slot[by_image], references.shape[1])

    @property
    def pairs(self) -> int:
        return len(self.slot)

    def rounds(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """For the images ``start:stop``, the pairs of each round: one neuron for each of the first m images."""
        for turn in range(self.counts[start] if start < stop else 0):
            m = int((self.counts[start:stop] > turn).sum())
            yield self.offsets[start : start + m] + turn

    def pairs_of(self, start: int, stop: int) -> int:
        """How many pairs the images ``start:stop`` have."""
        return int(self.counts[start:stop].sum())

    def pairs_of_all(self, ranges: Iterable[tuple[int, int]]) -> int:
        """How many pairs the images of some ranges have."""
        return sum(self.pairs_of(*images) for images in ranges)

    def pairs_in(self, start: int, stop: int) -> np.ndarray:
        """The pairs of the images ``start:stop``, image after image."""
        return np.arange(self.offsets[start], self.offsets[start] + self.pairs_of(start, stop))

    @cached_property
    def _by_neuron(self) -> tuple[np.ndarray, np.ndarray]:
        """The pairs neuron after neuron, in the order of their slots, and the neuron of each."""
        order = np.lexsort((self.slot, self.neuron_row))
        return order, self.neuron_row[order]

    def of_neuron(self, row: int) -> np.ndarray:
        """The pairs of one neuron, in the order of its references."""
        order, neurons = self._by_neuron
        return order[slice(*np.searchsorted(neurons, [row, row + 1]))]


class PairWork(Scratch):
    """Rows of results for the pairs of a plan, filled batch by batch of images.

    Rows lie in the order in which they are computed: what a batch finds is written in one piece.

    Parameters
    ----------
    parts : which images' rows are computed here, and which others have computed
    plan : the pairs, and the order of the images
    arrays : name to (shape, dtype), as of `Scratch`; the first axis is that of the pairs of the plan, or of its images
    batch_size : images at once
    anew : start from nothing
    """

    def __init__(
        self,
        parts: RowParts,
        plan: Plan,
        arrays: Mapping[str, tuple[tuple[int, ...], str]],
        batch_size: int,
        anew: bool = False,
    ):
        work = parts.unfinished
        self._parts, self._name = parts, work.name
        self._plan, self._size = plan, batch_size
        self._steps_to_do = parts.steps(batch_size)
        if anew:
            parts.place.drop_partial(self._name)
        super().__init__(parts.place.partial(self._name), work.text, arrays)
        parts.adopt(self, self._rows_of)

    def _rows_of(self, name: str, start: int, stop: int) -> tuple[int, int]:
        """The rows of images ``start:stop`` in an array."""
        if self.arrays[name][0][0] == len(self._plan.images):
            return start, stop
        ends = [*self._plan.offsets.tolist(), self._plan.pairs]
        return ends[start], ends[stop]

    @property
    def pairs_done(self) -> int:
        """Pairs that were finished before."""
        return self._plan.pairs_of_all(self._steps_to_do[: self.done])

    def batches(
        self, listing: Listing, preprocessing: Preprocessing, workers: int | None
    ) -> Iterator[tuple[int, int, torch.Tensor]]:
        """The batches that are not done yet: (start, stop) in the plan's images, and the images (B, 3, H, W) uint8.

        A batch counts as done when the next one is asked for; after the last one all are kept.

        Raises
        ------
        PureFailure
            An image that could be read by collect cannot be read any more.
        """
        for (batch,) in self._groups(self._loaded(listing, preprocessing, workers), listing, 1):
            yield batch

    def groups(
        self,
        listing: Listing,
        preprocessing: Preprocessing,
        workers: int | None,
        devices: Sequence[torch.device],
        begun: Begun | None = None,
    ) -> Iterator[list[tuple[int, int, torch.Tensor]]]:
        """As `batches`, one or more for each of some devices at once, in turn and on it; they count as done together.

        A GPU gets two, so that it has something to do while what it found of the first one is written.

        Parameters
        ----------
        begun : what it kept of the images takes their place
        """
        if begun is None:
            source = self._loaded(listing, preprocessing, workers)
        else:
            source = begun.batches(self._plan.images, self._size, self.done)
        loaded = dealt(source, devices)
        ahead = AHEAD if queues_of(devices[0]) else 1
        return self._groups((batch for _, batch in loaded), listing, ahead * len(devices))

    def _loaded(
        self, listing: Listing, preprocessing: Preprocessing, workers: int | None
    ) -> Generator[Batch, None, None]:
        workers = default_workers() if workers is None else workers
        return self._parts.batches(listing, self._plan.images, preprocessing, self._size, workers, self.done)

    def _groups(
        self, loaded: Iterable[Batch], listing: Listing, count: int
    ) -> Iterator[list[tuple[int, int, torch.Tensor]]]:
        group: list[tuple[int, int, torch.Tensor]] = []
        to_do = self._steps_to_do[self.done :]
        for place, (step, batch) in enumerate(zip(to_do, loaded, strict=True), 1):
            if batch.damaged:
                raise _gone(listing.place(batch.damaged[0].index), batch.damaged[0].reason)
            group.append((*step, batch.images))
            if len(group) == count or place == len(to_do):
                yield group
                for _ in group:
                    self.finish_step()
                group = []
        self.sync()

    @property
    def is_part(self) -> bool:
        """The rest of the work is done elsewhere."""
        return self._parts.header is not None

    def leave_part(self) -> None:
        """Leave what this part has found beside the others."""
        self._parts.write(self, self._rows_of)
        self.finished()

    def of_neuron(self, name: str, row: int) -> np.ndarray:
        """(n, width) what was found of one neuron of the plan on each of its references, zeros where there is none."""
        pairs = self._plan.of_neuron(row)
        found = self.rows_at(name, pairs)
        if len(pairs) == self._plan.references:
            return found
        whole = np.zeros((self._plan.references, found.shape[1]), found.dtype)
        whole[self._plan.slot[pairs]] = found
        return whole

    def finished(self) -> None:
        """The results are where they belong: the unfinished work may go."""
        self.close(keep=False)
        self._parts.place.drop_partial(self._name)
        self._parts.drop()


def _gone(place: str, reason: str) -> PureFailure:
    return PureFailure(f"{place} could be read by collect and cannot any more ({reason}). Run `pure collect --force`.")
