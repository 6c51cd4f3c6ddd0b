"""From data-set indices to batches of images, decoded in this process or by workers.

The workers are plain processes, and not those of torch's DataLoader: when one of these dies, torch raises from a signal
handler, in whatever the caller happens to compute, where no one can tell the user what to do. They need no torch.

Each batch is cut into pieces, which are dealt to the workers in turn, so that the first batch comes soon also where it
is large. Where workers are forks, they write pixels to where the batch lies, in memory that they share with this
process; what is said about a piece goes through a pipe, elsewhere the pixels too. This memory has no name and no file:
it is not part of /dev/shm, of which containers have little, and it goes with the last process that has it, however that
ends.
"""

import contextlib
import itertools
import math
import mmap
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
import weakref
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
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
from pure_cli.data.source import Raw, expecting, reading_ahead
from pure_cli.errors import PureError, PureFailure, first_line

if TYPE_CHECKING:
    import torch

LEAST_PIECE = 32  # images that a worker decodes at once at least: what is said about them costs little beside
HELD = 2  # batches in shared memory that the caller may have at once; of more it gets copies
SHARED = 1 << 30  # bytes of memory for batches, where those that are decoded and held at the least need no more
_RAW_PIPES = hasattr(os, "readv")  # not on Windows
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds, of how many
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
    """The chunks of a pass, from number `first` on. None is made before its turn.

    Attributes
    ----------
    shape : of every image, where it is known
    """

    index: np.ndarray
    size: int
    first: int
    with_content: bool = False
    shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def starts(self) -> range:
        return range(self.first * self.size, len(self.index), self.size)

    @property
    def known_shape(self) -> tuple[int, ...]:
        assert self.shape, "it is found out before workers are started"
        return self.shape

    def pieces(self, start: int, workers: int) -> list[tuple[int, int]]:
        """Begin and end of the pieces of the chunk that begins at `start`, for so many workers."""
        count, stop = max(1, min(workers, self.size // LEAST_PIECE)), min(start + self.size, len(self.index))
        size = -(-self.size // count)
        return [(begin, min(begin + size, stop)) for begin in range(start, stop, size)]


@dataclass
class _Chunk:
    """What becomes of a chunk, or of a piece of one.

    Attributes
    ----------
    odd : index and shape of the first image that is not like those before it
    """

    images: np.ndarray
    index: np.ndarray
    damaged: list[Damaged]
    content: np.ndarray
    odd: tuple[int, tuple[int, ...]] | None = None


def default_workers() -> int:
    """Processes to decode with: one for each core that this process may use, and none where there is only one."""
    most = min(cores(), _granted())
    return 0 if most == 1 else most


def _granted() -> int:
    """Cores that a container gets the time of, which may be fewer than it sees."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = CPU_QUOTA.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    return sys.maxsize


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
    except (DamagedImage, PureFailure):
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
    workers : processes that decode; 0 for this one. Besides what each of them takes for an image, there is memory for
        so many batches that each has two pieces to decode, within 1 GiB, and for four at least.
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
    workers = _worth(plan, workers)
    expecting(listing.read, plan.index[plan.first * plan.size :])
    side = preprocessing.crop_size
    if side is not None:
        plan = replace(plan, shape=(3, side, side))
    elif workers or (plan and plan.first):  # else the first image tells when its turn comes
        first = _first_size(listing, plan.index if workers else plan.index[: plan.first * plan.size], preprocessing)
        plan, workers = replace(plan, shape=first and first[1]), workers if first else 0
    source = _in_workers if workers else _here
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


def _worth(plan: _Plan, workers: int) -> int:
    """How many workers to start; none for what one process has done before they are there."""
    if not workers or not plan:
        return 0
    if len(plan) > 1:
        return min(workers, len(plan) * len(plan.pieces(plan.starts[0], workers)))
    most = (len(plan.index) - plan.starts[0]) // (2 * LEAST_PIECE)
    return min(workers, most) if most > 1 else 0


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


def _load(
    listing: Listing,
    chunk: np.ndarray,
    preprocessing: Preprocessing,
    with_content: bool,
    shape: tuple[int, ...] | None,
    room: np.ndarray | None = None,
) -> _Chunk:
    """Decode some images, up to the first that has another size.

    Parameters
    ----------
    shape : of each image; that of the first of them where it is not known
    room : (chunk, 3, H, W) uint8, for the good ones one after the other
    """
    images = np.empty((0, 3, 0, 0), dtype=np.uint8) if room is None else room
    content = np.full(len(chunk) if with_content else 0, UNREAD, np.uint32)
    good: list[int] = []
    damaged: list[Damaged] = []
    odd = None
    reading_ahead(listing.read, chunk)
    for place, i in enumerate(chunk.tolist()):
        try:
            raw = _raw(listing, i)
            image = _decoded(raw, preprocessing)
            if with_content:
                content[place] = content_of(raw)
        except DamagedImage as error:
            damaged.append(Damaged(i, listing.paths[i], error.reason))
            continue
        shape = shape or image.shape
        if image.shape != shape:
            odd = (i, image.shape)
            break
        if not good and room is None:
            images = np.empty((len(chunk), *shape), dtype=np.uint8)
        images[len(good)] = image
        good.append(i)
    return _Chunk(images[: len(good)], np.array(good, dtype=np.int64), damaged, content, odd)


def _here(listing: Listing, plan: _Plan, preprocessing: Preprocessing, _: int) -> Generator[_Chunk, None, None]:
    for start in plan.starts:
        chunk = plan.index[start : start + plan.size]
        yield _load(listing, chunk, preprocessing, plan.with_content, plan.shape)


def _in_workers(
    listing: Listing, plan: _Plan, preprocessing: Preprocessing, workers: int
) -> Generator[_Chunk, None, None]:
    """Deal the pieces to the workers in turn, and take them back in turn."""
    # A fork starts at once and asks nothing of the user's script. The child only decodes: no torch, no CUDA, no files.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    slots = _Slots(plan, workers, context.get_start_method() == "fork")
    pool: list[_Worker] = []
    try:
        with _starting():
            for _ in range(workers):
                worker = _Worker(context, listing, plan, preprocessing, slots.memory)
                pool.append(worker)  # one by one: where a start fails, those before it have to be ended
        yield from _dealt(plan, pool, slots)
    finally:
        for worker in pool:
            worker.terminate()
        for worker in pool:
            worker.close()


def _dealt(plan: _Plan, pool: "list[_Worker]", slots: "_Slots") -> Generator[_Chunk, None, None]:
    """The chunks, each from its pieces; as many are given out as there are slots for."""
    hands, waiting = itertools.cycle(pool), deque[tuple[int, list[tuple[int, _Worker]]]]()
    starts = iter(plan.starts)

    def give_out() -> None:
        while slots.left and (start := next(starts, None)) is not None:
            slot, pieces = slots.take(), []
            for begin, end in plan.pieces(start, len(pool)):
                worker = next(hands)
                worker.give(begin, end, slots.offset(slot, begin - start))
                pieces.append((begin - start, worker))
            waiting.append((slot, pieces))

    give_out()
    while waiting:
        slot, pieces = waiting.popleft()
        chunk = _joined(slots.room(slot), pieces, slots.memory is not None)
        chunk.images = slots.handed_over(slot, chunk.images)
        give_out()  # before the caller works on this one
        yield chunk


def _joined(room: np.ndarray, pieces: "list[tuple[int, _Worker]]", is_shared: bool) -> _Chunk:
    """A chunk of its pieces, in `room` (chunk, 3, H, W), where those that are shared are already."""
    good, parts = 0, []
    for begin, worker in pieces:
        part = worker.take(room[begin if is_shared else good :])
        count = len(part.index)
        if is_shared and begin != good:  # images before it are damaged
            room[good : good + count] = room[begin : begin + count]
        good += count
        parts.append(part)
        if part.odd:
            break
    index, content = (np.concatenate([getattr(part, name) for part in parts]) for name in ("index", "content"))
    images = room[:good] if good else np.empty((0, 3, 0, 0), np.uint8)
    return _Chunk(images, index, [one for part in parts for one in part.damaged], content, parts[-1].odd)


class _Slots:
    """Room for batches that are decoded, waited for, or in the hands of the caller.

    Parameters
    ----------
    is_shared : whether the workers can have the same memory; without, each batch gets its own, and the slots only count

    Attributes
    ----------
    memory : of all slots, None where it is not shared
    """

    def __init__(self, plan: _Plan, workers: int, is_shared: bool):
        self._shape, each = plan.known_shape, math.prod(plan.known_shape)
        self._size = min(plan.size, len(plan.index)) * each  # of a slot, in bytes
        wanted = -(-2 * workers // len(plan.pieces(plan.starts[0], workers)))
        most = SHARED // self._size - HELD
        self._ahead = min(max(2, min(wanted, most)), len(plan))
        self._free, self._count = deque(range(self._ahead + HELD)), self._ahead + HELD
        self._given = 0
        self.memory: mmap.mmap | None = None
        if is_shared:
            with contextlib.suppress(OSError, ValueError, OverflowError):
                self.memory = mmap.mmap(-1, self._size * self._count)

    @property
    def left(self) -> int:
        """How many chunks more may be given out."""
        return self._ahead - self._given

    def take(self) -> int:
        self._given += 1
        return self._free.popleft()

    def offset(self, slot: int, place: int) -> int:
        """Where an image of a chunk lies in the memory."""
        return slot * self._size + place * math.prod(self._shape)

    def room(self, slot: int) -> np.ndarray:
        """(chunk, 3, H, W) uint8 for the images of a chunk."""
        flat = np.empty(self._size, np.uint8) if self.memory is None else self._flat(slot, self._size)
        return flat.reshape(-1, *self._shape)

    def _flat(self, slot: int, count: int) -> np.ndarray:
        assert self.memory is not None
        return _flat(self.memory, self.offset(slot, 0), count)

    def handed_over(self, slot: int, images: np.ndarray) -> np.ndarray:
        """What the caller gets: the images where they are, or a copy where it has others still."""
        self._given -= 1
        held = self._count - len(self._free) - self._given - 1
        if self.memory is None or held >= HELD or not images.size:
            self._free.append(slot)
            return images if self.memory is None else images.copy()
        flat = self._flat(slot, images.size)
        weakref.finalize(flat, self._free.append, slot).atexit = False  # no one looks at it any more
        return flat.reshape(images.shape)


def _flat(memory: mmap.mmap, offset: int, count: int) -> np.ndarray:
    return np.frombuffer(memory, np.uint8, count, offset)


class _Worker:
    """A process that decodes the pieces given to it, one after the other."""

    def __init__(
        self, context: Any, listing: Listing, plan: _Plan, preprocessing: Preprocessing, memory: mmap.mmap | None
    ) -> None:
        self._reader, writer = context.Pipe(duplex=False)
        tasks, self._tasks = context.Pipe(duplex=False)
        job = _Job(listing, plan, preprocessing, memory)
        self._process = context.Process(
            target=_work, args=((self._reader, self._tasks), tasks, writer, job), daemon=True
        )
        try:
            self._process.start()
        except OSError as error:
            self._reader.close()
            self._tasks.close()
            raise PureFailure(
                f"A process to decode images could not be started ({error.strerror or error}). "
                "Pass fewer --workers, or --workers 0."
            ) from error
        finally:
            tasks.close()
            writer.close()  # so that the pipe ends when the worker does

    def give(self, begin: int, end: int, offset: int) -> None:
        """Let it decode some of the index, to a place in the shared memory."""
        with contextlib.suppress(OSError):  # that it is dead is told when its turn comes
            self._tasks.send((begin, end, offset))

    def take(self, room: np.ndarray) -> _Chunk:
        """Wait for the next piece, whose images begin `room`."""
        try:
            received = _receive(self._reader, room)
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
        self._tasks.close()


@dataclass(frozen=True)
class _Job:
    """What a worker decodes; without `memory`, pixels go through the pipe."""

    listing: Listing
    plan: _Plan
    preprocessing: Preprocessing
    memory: mmap.mmap | None

    def piece(self, begin: int, end: int, offset: int) -> _Chunk:
        room, plan, shape = None, self.plan, self.plan.known_shape
        if self.memory is not None:
            room = _flat(self.memory, offset, (end - begin) * math.prod(shape)).reshape(end - begin, *shape)
        return _load(self.listing, plan.index[begin:end], self.preprocessing, plan.with_content, shape, room)


def _send(writer: Connection, piece: _Chunk, with_pixels: bool) -> None:
    """Put a piece into a pipe, the pixels as they are: several times faster than pickled, or through a DataLoader."""
    writer.send((with_pixels, piece.index, piece.damaged, piece.content, piece.odd))
    if not with_pixels or not piece.images.size:
        return
    rest = piece.images.data.cast("B")
    if not _RAW_PIPES:
        writer.send_bytes(rest)
        return
    while rest:
        rest = rest[os.write(writer.fileno(), rest) :]


def _receive(reader: Connection, room: np.ndarray) -> "_Chunk | PureFailure | str":
    """Take a piece out of a pipe, its pixels to the beginning of `room`, or what went wrong: in a sentence, or as a
    traceback."""
    message = reader.recv()
    if isinstance(message, PureFailure | str):
        return message
    with_pixels, index, *others = message
    piece = _Chunk(room[: len(index)], index, *others)
    if not with_pixels or not piece.images.size:
        return piece
    rest = piece.images.data.cast("B")
    if not _RAW_PIPES:
        reader.recv_bytes_into(rest)
        return piece
    while rest:
        count = os.readv(reader.fileno(), [rest])
        if not count:
            raise EOFError
        rest = rest[count:]
    return piece


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


def _work(ends: tuple[Connection, Connection], tasks: Connection, writer: Connection, job: _Job) -> None:
    """What a worker does. It ends when it is told to, or when no one is there to give and take.

    Parameters
    ----------
    ends : of both pipes, which are the other process's
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # and not what the program that was forked does then
    signal.set_wakeup_fd(-1)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    for end in ends:
        end.close()  # else the pipes would not break when the other process is gone
    try:
        while True:
            try:
                piece = tasks.recv()
            except EOFError:
                return
            _send(writer, job.piece(*piece), with_pixels=job.memory is None)
    except BrokenPipeError:
        pass
    except PureFailure as failure:
        with contextlib.suppress(OSError):
            writer.send(PureFailure(str(failure)))
    except Exception:
        with contextlib.suppress(OSError):
            writer.send(traceback.format_exc())
