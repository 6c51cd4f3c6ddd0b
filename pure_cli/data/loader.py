"""From data-set indices to batches of images, decoded in this process or by workers.

The workers are plain processes with a pipe each, and not those of torch's DataLoader: when one of these dies, torch
raises from a signal handler, in whatever the caller happens to compute, where no one can tell the user what to do.
They need no torch and no shared memory, of which containers have little.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pure_cli.core.cores import cores
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.content import UNREAD, content_of
from pure_cli.data.decode import DamagedImage, decode
from pure_cli.data.listing import Listing
from pure_cli.data.source import Raw
from pure_cli.errors import PureError, PureFailure, first_line

if TYPE_CHECKING:
    import torch

MOST_WORKERS = 8  # by default
_RAW_PIPES = hasattr(os, "readv")  # not on Windows
PATIENCE = 5.0  # seconds that a worker has to end before it is killed


@dataclass(frozen=True)
class Damaged:
    """An image that could not be read: data-set index, path as in the listing, reason in a few words."""

    index: int
    path: str
    reason: str


@dataclass
class Batch:
    """A chunk of images.

    Attributes
    ----------
    images : (b, 3, H, W) uint8, after resize and crop; (0, 3, 0, 0) where all of the chunk are damaged
    index : (b,) int64, their data-set indices
    damaged : those of the chunk that are left out
    content : (chunk,) uint32, of all of the chunk, as of `pure_cli.data.content`, 0 for damaged ones; (0,) where it was
        not asked for
    """

    images: "torch.Tensor"
    index: np.ndarray
    damaged: list[Damaged]
    content: np.ndarray


@dataclass(frozen=True)
class _Plan:
    """The chunks of a pass: those from number `first` on, or every `step`-th of them. None is made before its turn."""

    index: np.ndarray
    size: int
    first: int
    with_content: bool = False
    step: int = 1

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.index[start : start + self.size] for start in self._starts)

    def dealt(self, hand: int, hands: int) -> "_Plan":
        """What one of several takes: every `hands`-th chunk."""
        return _Plan(self.index, self.size, self.first + hand, self.with_content, hands)

    @property
    def _starts(self) -> range:
        return range(self.first * self.size, len(self.index), self.step * self.size)


@dataclass
class _Chunk:
    """What a worker makes of one chunk; `odd`: index and shape of the first image that is not like those before it."""

    images: np.ndarray
    index: np.ndarray
    damaged: list[Damaged]
    content: np.ndarray
    odd: tuple[int, tuple[int, ...]] | None = None


def default_workers() -> int:
    """Processes to decode with: the cores that this process may use, at most 8, and none where there is only one."""
    return 0 if cores() == 1 else min(cores(), MOST_WORKERS)


def decode_one(listing: Listing, i: int, preprocessing: Preprocessing) -> np.ndarray:
    """The image of data-set index `i`, resized and cropped: (3, H, W) uint8.

    Raises
    ------
    DamagedImage
        It cannot be read.
    """
    return _decoded(_raw(listing, i), preprocessing)


def _decoded(raw: Raw, preprocessing: Preprocessing) -> np.ndarray:
    image = decode(raw)
    width, height = preprocessing.resized(*image.size)
    if Image.MAX_IMAGE_PIXELS and width * height > 2 * Image.MAX_IMAGE_PIXELS:  # where Pillow refuses to decode
        raise DamagedImage("too long and narrow to be resized")
    return preprocessing.geometry(image)


def _raw(listing: Listing, i: int) -> Raw:
    """What the source gives for an item; what goes wrong in a source of one's own is said."""
    try:
        raw = listing.read(i)
    except DamagedImage:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        raise PureFailure(f"The source of '{listing.data}' fails on {listing.place(i)}: {what}.") from error
    if not isinstance(raw, Path | bytes | np.ndarray):
        kind = type(raw).__name__
        raise PureFailure(
            f"The source of '{listing.data}' gives {kind} for {listing.place(i)}, and not a Path, bytes or an array."
        )
    return raw


def batches(
    listing: Listing,
    index: np.ndarray | Sequence[int],
    preprocessing: Preprocessing,
    batch_size: int,
    workers: int,
    start: int = 0,
    with_content: bool = False,
) -> Generator[Batch, None, None]:
    """Go over images in chunks, in order; the same batches whatever the number of workers.

    Parameters
    ----------
    listing : the data set
    index : (M,) int, data-set indices, in the order in which they are wanted
    batch_size : images to a chunk; damaged ones are left out, and the chunk is so much smaller
    workers : processes that decode; 0 for this one
    start : number of the first chunk, to go on where one was stopped
    with_content : say what was in the images, which reads their files once more

    Raises
    ------
    PureError
        Two images differ in size. A number is out of its range.
    PureFailure
        A worker died.
    IndexError
        `index` holds one that the listing does not have.
    """
    for option, value, least in (("--batch-size", batch_size, 1), ("--workers", workers, 0), ("start", start, 0)):
        if value < least:
            raise PureError(f"{option} has to be {least} or more, and is {value}.")
    index = np.asarray(index, dtype=np.int64)
    if index.size and not 0 <= index.min() <= index.max() < len(listing.paths):
        raise IndexError(f"data-set indices {index.min()} to {index.max()} of {len(listing.paths)} images")
    return _batches(listing, _Plan(index, batch_size, start, with_content), preprocessing, workers)


def _batches(listing: Listing, plan: _Plan, preprocessing: Preprocessing, workers: int) -> Generator[Batch, None, None]:
    import torch

    first = None
    if plan and preprocessing.crop_size is None:  # else all have one size
        first = _first_size(listing, plan.index[: plan.first * plan.size], preprocessing)
    source = _in_workers if workers and len(plan) > 1 else _here
    with contextlib.closing(source(listing, plan, preprocessing, workers)) as loaded:
        for chunk in loaded:
            odd = chunk.odd
            if len(chunk.index):
                own = (int(chunk.index[0]), chunk.images.shape[1:])
                first = first or own
                odd = own if own[1] != first[1] else odd
            if first and odd:
                raise _sizes_differ(listing, first, odd)
            yield Batch(torch.from_numpy(chunk.images), chunk.index, chunk.damaged, chunk.content)


def _first_size(
    listing: Listing, index: np.ndarray, preprocessing: Preprocessing
) -> tuple[int, tuple[int, ...]] | None:
    """Index and shape of the first good image of what an interrupted run had already seen."""
    for i in index:
        with contextlib.suppress(DamagedImage):
            return int(i), decode_one(listing, i, preprocessing).shape
    return None


def _sizes_differ(listing: Listing, first: tuple[int, tuple[int, ...]], odd: tuple[int, tuple[int, ...]]) -> PureError:
    (a, (_, height, width)), (b, (_, other_height, other_width)) = first, odd
    return PureError(
        f"The images differ in size: '{listing.paths[a]}' is {width} × {height} pixels, '{listing.paths[b]}' is "
        f"{other_width} × {other_height}. Pass --resize and --crop-size (as --resize 256 --crop-size 224)."
    )


def _load(listing: Listing, chunk: np.ndarray, preprocessing: Preprocessing, with_content: bool) -> _Chunk:
    """Decode one chunk, up to the first image that has another size."""
    images = np.empty((0, 3, 0, 0), dtype=np.uint8)
    content = np.full(len(chunk) if with_content else 0, UNREAD, np.uint32)
    good: list[int] = []
    damaged: list[Damaged] = []
    odd = None
    for place, i in enumerate(chunk.tolist()):
        try:
            raw = _raw(listing, i)
            image = _decoded(raw, preprocessing)
            if with_content:
                content[place] = content_of(raw)
        except DamagedImage as error:
            damaged.append(Damaged(i, listing.paths[i], error.reason))
            continue
        if not good:
            images = np.empty((len(chunk), *image.shape), dtype=np.uint8)
        elif image.shape != images.shape[1:]:
            odd = (i, image.shape)
            break
        images[len(good)] = image
        good.append(i)
    return _Chunk(images[: len(good)], np.array(good, dtype=np.int64), damaged, content, odd)


def _here(listing: Listing, plan: _Plan, preprocessing: Preprocessing, _: int) -> Generator[_Chunk, None, None]:
    for chunk in plan:
        yield _load(listing, chunk, preprocessing, plan.with_content)


def _in_workers(
    listing: Listing, plan: _Plan, preprocessing: Preprocessing, workers: int
) -> Generator[_Chunk, None, None]:
    """Deal the chunks to the workers in turn, and take them back in turn.

    A worker works ahead by one chunk, which waits in its pipe until it is taken: nothing piles up.
    """
    workers = min(workers, len(plan))
    # A fork starts at once and asks nothing of the user's script. The child only decodes: no torch, no CUDA, no files.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    pool: list[_Worker] = []
    try:
        with _starting():
            for w in range(workers):
                worker = _Worker(context, listing, plan.dealt(w, workers), preprocessing)
                pool.append(worker)  # one by one: where a start fails, those before it have to be ended
        for k in range(len(plan)):
            yield pool[k % workers].take()
    finally:
        for worker in pool:
            worker.terminate()
        for worker in pool:
            worker.close()


class _Worker:
    """A process that decodes the chunks given to it, one after the other."""

    def __init__(self, context: Any, listing: Listing, plan: _Plan, preprocessing: Preprocessing) -> None:
        self._reader, writer = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work, args=(self._reader, writer, listing, plan, preprocessing), daemon=True
        )
        try:
            self._process.start()
        except OSError as error:
            self._reader.close()
            raise PureFailure(
                f"A process to decode images could not be started ({error.strerror or error}). "
                "Pass fewer --workers, or --workers 0."
            ) from error
        finally:
            writer.close()  # so that the pipe ends when the worker does

    def take(self) -> _Chunk:
        """Wait for the next chunk."""
        try:
            received = _receive(self._reader)
        except (EOFError, OSError) as error:
            self._process.join(PATIENCE)
            raise PureFailure(
                f"A worker that decodes images died ({_ending(self._process.exitcode)}), perhaps because the memory "
                "ran out. Pass fewer --workers, or --workers 0 to decode without them."
            ) from error
        if isinstance(received, PureFailure):
            raise received
        if isinstance(received, str):
            raise RuntimeError(f"in a worker that decodes images:\n{received}")
        return received

    def terminate(self) -> None:
        self._process.terminate()

    def close(self) -> None:
        self._process.join(PATIENCE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join(PATIENCE)
        self._reader.close()


def _send(writer: Connection, chunk: _Chunk) -> None:
    """Put a chunk into a pipe, the pixels as they are: several times faster than pickled, or through a DataLoader."""
    writer.send((chunk.images.shape, chunk.index, chunk.damaged, chunk.content, chunk.odd))
    if not chunk.images.size:
        return
    rest = chunk.images.data.cast("B")
    if not _RAW_PIPES:
        writer.send_bytes(rest)
        return
    while rest:
        rest = rest[os.write(writer.fileno(), rest) :]


def _receive(reader: Connection) -> "_Chunk | PureFailure | str":
    """Take a chunk out of a pipe, or what went wrong: in a sentence, or as a traceback."""
    message = reader.recv()
    if isinstance(message, PureFailure | str):
        return message
    shape, *rest_of_it = message
    chunk = _Chunk(np.empty(shape, dtype=np.uint8), *rest_of_it)
    if not chunk.images.size:
        return chunk
    rest = chunk.images.data.cast("B")
    if not _RAW_PIPES:
        reader.recv_bytes_into(rest)
        return chunk
    while rest:
        count = os.readv(reader.fileno(), [rest])
        if not count:
            raise EOFError
        rest = rest[count:]
    return chunk


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Workers are born deaf to signals, so that none can print a traceback, or wake its parent, before it is set up."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        if not hasattr(signal, "pthread_sigmask"):
            yield
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(reader: Connection, writer: Connection, listing: Listing, plan: _Plan, preprocessing: Preprocessing) -> None:
    """What a worker does. It ends when its chunks do, or when no one is there to take them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # and not what the program that was forked does then
    signal.set_wakeup_fd(-1)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    reader.close()  # else the pipe would not break when the taker is gone
    try:
        for chunk in plan:
            _send(writer, _load(listing, chunk, preprocessing, plan.with_content))
    except BrokenPipeError:
        pass
    except PureFailure as failure:
        with contextlib.suppress(OSError):
            writer.send(PureFailure(str(failure)))
    except Exception:
        with contextlib.suppress(OSError):
            writer.send(traceback.format_exc())
