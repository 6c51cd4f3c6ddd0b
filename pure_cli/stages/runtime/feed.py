"""Batches on their way to the network's device: copied while it computes, two of them at most."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from itertools import cycle
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from pure_cli.data.loader import Batch

AHEAD = 2  # batches that wait for the device or are computed by it; more would only take its memory


class Queues(Protocol):
    """What a device that works through queues of its own offers."""

    def pinned(self, like: torch.Tensor) -> torch.Tensor:
        """Memory of the machine that the device copies from by itself."""
        ...

    def copying(self) -> AbstractContextManager[Any]:
        """A context in which work goes into the queue for copies."""
        ...

    def compute_after_copies(self, images: torch.Tensor) -> None:
        """Let the queue for computing wait for the copies so far, and keep these images until it has used them."""
        ...

    def mark(self) -> Any:
        """What, by its `synchronize`, waits until all that is in the queue for computing has been done."""
        ...


class CudaQueues:
    """Those of a GPU."""

    def __init__(self, device: torch.device):
        import torch

        self._cuda, self._device = torch.cuda, device
        self._copies = torch.cuda.Stream(device)

    def pinned(self, like: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)

    def copying(self) -> AbstractContextManager[Any]:
        return self._cuda.stream(self._copies)

    def compute_after_copies(self, images: torch.Tensor) -> None:
        computing = self._cuda.current_stream(self._device)
        computing.wait_stream(self._copies)
        images.record_stream(computing)

    def mark(self) -> Any:
        event = self._cuda.Event()
        event.record(self._cuda.current_stream(self._device))
        return event


def queues_of(device: torch.device) -> Queues | None:
    """The queues of a device; None where it computes at once, or the pass does not use them."""
    return CudaQueues(device) if device.type == "cuda" else None


def fed(
    loaded: Generator[Batch, None, None], device: torch.device, queues: Queues | None
) -> Generator[Batch, None, None]:
    """Batches with their images on the device.

    With queues, the images of a batch are copied while the device computes what was asked of it for the one before; the
    caller runs ahead by two batches at most. Their memory in the machine is used again and again.

    Parameters
    ----------
    queues : from `queues_of`; without them, batches come as they are
    """
    import torch

    with closing(loaded):
        if queues is None:
            yield from loaded
            return
        rooms: deque[torch.Tensor] = deque()
        marks: deque[Any] = deque()
        for batch in loaded:
            if not len(batch.index):
                yield batch
                continue
            if len(marks) == AHEAD:
                marks.popleft().synchronize()  # with its computing, its copy is done
            room = rooms.popleft() if len(rooms) == AHEAD else None
            if room is None or len(room) < len(batch.images) or room.shape[1:] != batch.images.shape[1:]:
                room = queues.pinned(batch.images)
            rooms.append(room)
            room = room[: len(batch.images)].copy_(batch.images)
            with queues.copying():
                batch.images = torch.empty_like(room, device=device, pin_memory=False).copy_(room, non_blocking=True)
            queues.compute_after_copies(batch.images)
            yield batch
            marks.append(queues.mark())


def dealt(loaded: Generator[Batch, None, None], devices: Sequence[torch.device]) -> Iterator[tuple[int, Batch]]:
    """Batches for devices in turn, with their images there: while one computes, the next gets its own.

    Yields
    ------
    place of the device, and the batch
    """
    feeds = [fed(loaded, device, queues_of(device)) for device in devices]
    for place, feed in cycle(enumerate(feeds)):
        batch = next(feed, None)
        if batch is None:
            return
        yield place, batch
