"""Rows of unfinished work that several processes compute, each those of some images."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from pure_cli.artifacts import PartHeader, PartStore, drop_parts, open_part, read_headers, write_part, write_rows
from pure_cli.artifacts.parts import ROWS
from pure_cli.config import fingerprint
from pure_cli.core.parts import Part, Range, cuts, gaps
from pure_cli.data.listing import Listing
from pure_cli.data.loader import Batch, batches
from pure_cli.errors import PureError
from pure_cli.scratch import AT_ONCE, Scratch
from pure_cli.settings.parts import InParts
from pure_cli.stages.outcome import Outcome
from pure_cli.stages.resume.parts import (
    Way,
    differences,
    empty_notes,
    other_pass,
    part_place,
    remembered,
    require_all,
    threads_on,
    unlike_notes,
    ways_of,
)
from pure_cli.stages.resume.unfinished_work import Work
from pure_cli.words import listed
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.core.preprocessing import Preprocessing

DEVICE, BATCH_SIZE = "device", "batch_size"

RowsOf = Callable[[str, int, int], Range]
"""From the name of an array, and start and stop of images, to start and stop of their rows."""


@dataclass(frozen=True)
class RowParts:
    """Which images a process computes the rows of, and what parts have computed of the others.

    Attributes
    ----------
    workspace : whose work it is
    work : all of it
    total : images
    device : the kind of device
    header : of the part that this process does; None where it does what no part has done
    others : parts that are there, for a process that does the rest
    at : where the unfinished rows lie, where that is not the usual place
    """

    workspace: Store
    work: Work
    total: int
    device: str
    header: PartHeader | None = None
    others: Sequence[PartHeader] = ()
    at: Store | None = None

    @classmethod
    def of(
        cls,
        workspace: Store,
        work: Work,
        total: int,
        device: str,
        settings: InParts,
        step: int,
        cost: np.ndarray | None = None,
        starts: np.ndarray | Sequence[int] = (),
    ) -> RowParts:
        """What a process with these settings has to do; `require_parts` says whether it can.

        Parameters
        ----------
        step, cost, starts : as of `pure_cli.core.parts.cuts`
        """
        whole = cls(workspace, work, total, device)
        if settings.own_part is not None:
            header = whole._part(settings.own_part, cuts(total, settings.own_part.count, step, starts, cost), settings)
            return replace(whole, header=header)
        return replace(whole, others=whole.there)

    def _part(self, part: Part, places: list[int], settings: InParts) -> PartHeader:
        start, stop = places[part.number - 1 : part.number + 1]
        more = {**remembered(settings), DEVICE: self.device}
        return PartHeader(self.work.stage, part, start, stop, self.total, *self.way, self.what, more)

    @property
    def way(self) -> Way:
        """How this process computes."""
        return int(self.work.how[BATCH_SIZE]), threads_on(self.device)

    @cached_property
    def what(self) -> dict[str, Any]:
        """What all parts have in common."""
        how = {name: value for name, value in self.work.how.items() if name != BATCH_SIZE}
        provenance = self.work.provenance
        return {
            "settings": provenance.settings,
            "made_from": provenance.made_from,
            "how": how,
            "neurons": self.work.neurons,
        }

    @cached_property
    def key(self) -> str:
        return fingerprint(self.what)

    @property
    def there(self) -> list[PartHeader]:
        """The parts of this work that are there, without those that are damaged."""
        return [one for one in read_headers(self.workspace, self.work.stage, whole_ones=True) if one.key == self.key]

    @property
    def ranges(self) -> list[Range]:
        """The images that this process computes."""
        if self.header is not None:
            return [self.header.range] if self.header.stop > self.header.start else []
        return gaps((one.range for one in self.others), self.total)

    def steps(self, size: int) -> list[Range]:
        """These images in batches of a size; none goes over what others have computed."""
        return [(begin, min(begin + size, stop)) for start, stop in self.ranges for begin in range(start, stop, size)]

    def batches(
        self, listing: Listing, images: np.ndarray, preprocessing: Preprocessing, size: int, workers: int, done: int
    ) -> Generator[Batch, None, None]:
        """The batches of `steps`.

        Parameters
        ----------
        images : (total,) data-set indices of all images of the work
        done : how many batches are left out at the beginning
        """
        for start, stop in self.ranges:
            count = -(-(stop - start) // size)
            if done < count:
                yield from batches(listing, images[start:stop], preprocessing, size, workers, done)
            done = max(0, done - count)

    @property
    def place(self) -> Store:
        """Where the unfinished rows lie."""
        if self.at is not None:
            return self.at
        if self.header is None:
            return self.workspace
        return part_place(self.workspace, self.work.stage, self.header.part)

    @property
    def unfinished(self) -> Work:
        """The work as far as this process does it."""
        if self.header is not None:
            return replace(self.work, how={**self.work.how, "part": list(self.header.range)})
        if self.others:
            return replace(self.work, how={**self.work.how, "adopted": [list(one.range) for one in self.others]})
        return self.work

    @property
    def notes(self) -> list[str]:
        ways = ways_of(self.others)
        return unlike_notes([*ways, self.way] if ways and self.ranges else ways)

    def gathered(self) -> RowParts:
        """For a process that does a part, all that the parts have computed, put together where its own work lies."""
        return replace(self, header=None, others=self.there, at=self.place)

    @property
    def is_there(self) -> bool:
        """The part that this process is to do has been done."""
        own = self.header
        return own is not None and any(one.part == own.part for one in self.there)

    def adopt(self, scratch: Scratch, rows_of: RowsOf) -> None:
        """Take over what the other parts have computed."""
        for header in self.others:
            with open_part(self.workspace, header) as file:
                for name in scratch.arrays:
                    start, _ = rows_of(name, *header.range)
                    for begin, rows in _pieces(file[f"{ROWS}/{name}"]):
                        scratch.write(name, np.arange(start + begin, start + begin + len(rows)), rows)

    def write(self, scratch: Scratch, rows_of: RowsOf) -> None:
        """Leave what this part has computed beside the others."""
        header = self.header
        assert header is not None, "of a part"

        def write(file: h5py.File) -> None:
            for name, (shape, dtype) in scratch.arrays.items():
                start, stop = rows_of(name, *header.range)
                step = max(1, AT_ONCE // max(1, int(np.prod(shape[1:])) * np.dtype(dtype).itemsize))
                pieces: Iterator[np.ndarray] = (
                    scratch.rows(name, begin, min(begin + step, stop)) for begin in range(start, stop, step)
                )
                write_rows(file, name, pieces, (stop - start, *shape[1:]), dtype)

        write_part(self.workspace, header, write)

    def left(self, name: str) -> np.ndarray:
        """The rows of an array that this part has left."""
        assert self.header is not None, "of a part"
        with open_part(self.workspace, self.header) as file:
            return file[f"{ROWS}/{name}"][:]

    def drop(self) -> None:
        """Remove the parts that are put together."""
        if self.header is None and self.at is None and self.others:
            drop_parts(self.workspace, self.work.stage, self.key)

    def require_whole(self, from_parts: bool) -> None:
        """Make sure that what is put together was computed on devices of one kind.

        Parameters
        ----------
        from_parts : and that all of it is there

        Raises
        ------
        PureError
            It is not.
        """
        if from_parts:
            require_all(self.others, self.total, self.work.stage)
        kinds = sorted({one.more[DEVICE] for one in self.others})
        if len(kinds) > 1 or (kinds and self.ranges and kinds != [self.device]):
            here = "" if not self.ranges else f", and the rest would be computed on {self.device}"
            raise PureError(
                f"Parts of `pure {self.work.stage}` were computed on {listed(kinds)}{here}: different devices round "
                "differently. Run those of one kind again on the other, with --device."
            )


def require_parts(workspace: Store, stage: str, tasks: Sequence[RowParts], settings: InParts, from_parts: bool) -> None:
    """Make sure that parts fit together, and what is to be done.

    Parameters
    ----------
    tasks : all that is not there yet
    from_parts : the parts that were made with these settings are all that is to be done

    Raises
    ------
    PureError
        They are of other references or weights, or of another kind of device; or some are missing.
    """
    for header in headers_with(workspace, stage, settings) if from_parts else ():
        if tasks and header.key not in {task.key for task in tasks}:
            different = min((differences(header.what, task.what) for task in tasks), key=len)
            raise other_pass(PartStore(workspace).path(header.name), different)
    for task in tasks:
        task.require_whole(from_parts)


def headers_with(workspace: Store, stage: str, settings: InParts) -> list[PartHeader]:
    """The parts that were made with these settings."""
    own = remembered(settings)
    return [header for header in read_headers(workspace, stage) if header.more.items() >= own.items()]


def tell_part(outcome: Outcome, tasks: Sequence[RowParts], done: int) -> None:
    """What a stage did, where it did a part.

    Parameters
    ----------
    done : pairs or images that were computed
    """
    headers = [task.header for task in tasks if task.header is not None]
    if headers:
        images = sum(header.stop - header.start for header in headers)
        of = {"part": str(headers[0].part), "images": images, "of": sum(header.total for header in headers)}
        outcome.details |= {**of, "part_files": [f"{header.name}.h5" for header in headers]}
    outcome.notes += empty_notes(headers)
    if not done:
        outcome.computed = 0


def _pieces(dataset: h5py.Dataset) -> Iterator[tuple[int, np.ndarray]]:
    step = max(1, AT_ONCE // max(1, int(np.prod(dataset.shape[1:])) * dataset.dtype.itemsize))
    for start in range(0, len(dataset), step):
        yield start, dataset[start : start + step]
