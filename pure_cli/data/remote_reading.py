"""Reads items out of files of a storage: few requests for many, whole files for a pass."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np

from pure_cli.data.source import DamagedImage
from pure_cli.errors import PureError, PureFailure
from pure_cli.remote.faults import Missing
from pure_cli.remote.files import RemoteFile, plan_pass, whole_content
from pure_cli.remote.storage import UNKNOWN, Entry, at_once

GAP = 64 << 10  # bytes between two items that one request is made over
SPAN = 8 << 20  # bytes of a request for several items, at most


class RemoteItems:
    """Reads bytes of files, each item a part of one.

    Parameters
    ----------
    file_of : gives a file by its number
    number : (N,) the file of each item; None where item i is all of file i
    starts, sizes : (N,) where items begin, and how long they are
    """

    def __init__(
        self,
        file_of: Callable[[int], RemoteFile],
        sizes: np.ndarray,
        number: np.ndarray | None = None,
        starts: np.ndarray | None = None,
    ) -> None:
        self._file_of, self._number, self._starts, self._sizes = file_of, number, starts, sizes
        self._found: dict[int, bytes | PureError] = {}

    def __call__(self, i: int) -> bytes:
        """The bytes of an item.

        Raises
        ------
        DamagedImage
            There is no such file.
        PureFailure
            The storage does not give it.
        """
        found = self._found.pop(i, None)
        if found is None:
            alone = self._read(self._spans([i])[0])
            found = alone[i] if isinstance(alone, dict) else alone
        if isinstance(found, Missing):
            raise DamagedImage("no such file")
        if isinstance(found, PureError):
            raise PureFailure(str(found))
        return found

    def expect(self, index: np.ndarray) -> None:
        """Be ready for a pass over some items, in this order."""
        if self._number is None or not len(index):
            return
        numbers = self._number[index]
        first = np.sort(np.unique(numbers, return_index=True)[1])
        wanted = np.bincount(numbers, weights=self._sizes[index])
        order = numbers[first].tolist()
        plan_pass([self._file_of(n) for n in order], [int(wanted[n]) for n in order])

    def ahead(self, index: Sequence[int]) -> None:
        """Fetch some items that are read next, several at a time."""
        self._found.clear()
        spans = [span for span in self._spans(index) if not self._is_here(span[0])]
        for span, found in zip(spans, at_once(self._read, spans), strict=True):
            self._found |= found if isinstance(found, dict) else dict.fromkeys(span[1], found)

    def _is_here(self, file: RemoteFile) -> bool:
        return self._number is not None and file.local() is not None

    def _spans(self, index: Sequence[int]) -> list[tuple[RemoteFile, list[int]]]:
        """Items that lie beside each other in a file, together."""
        if self._number is None or self._starts is None:
            return [(self._file_of(int(i)), [int(i)]) for i in index]
        found = []
        there = [int(i) for i in index if self._starts[i] >= 0]
        for number, group in groupby(sorted(there, key=self._place), key=lambda i: self._place(i)[0]):
            span: list[int] = []
            for i in group:
                if span and not self._belongs(span, i):
                    found.append((self._file_of(number), span))
                    span = []
                span.append(i)
            found.append((self._file_of(number), span))
        return found

    def _place(self, i: int) -> tuple[int, int]:
        assert self._number is not None and self._starts is not None
        return int(self._number[i]), int(self._starts[i])

    def _belongs(self, span: list[int], i: int) -> bool:
        start, stop = self._extent(span)
        begin, end = self._extent([i])
        return begin - stop <= GAP and max(stop, end) - start <= SPAN

    def _extent(self, span: list[int]) -> tuple[int, int]:
        starts = [0 if self._starts is None else int(self._starts[i]) for i in span]
        return min(starts), max(start + int(self._sizes[i]) for start, i in zip(starts, span, strict=True))

    def _read(self, span: tuple[RemoteFile, list[int]]) -> dict[int, bytes] | PureError:
        file, items = span
        try:
            if self._sizes[items[0]] == UNKNOWN:
                return {items[0]: whole_content(file.url)}
            start, stop = self._extent(items)
            content = file.part(start, stop)
        except PureError as error:
            return error
        found = {}
        for i in items:
            begin, end = self._extent([i])
            found[i] = content[begin - start : end - start]
        return found


class OfFolder:
    """Gives the files of a folder, by number: small, so that it reaches workers that are no forks."""

    def __init__(self, folder: RemoteFile, names: Sequence[str], entries: Sequence[Entry]) -> None:
        self._url, self._names, self._entries = folder.url, names, entries

    def __call__(self, i: int) -> RemoteFile:
        return RemoteFile(f"{self._url}/{self._names[i]}", self._entries[i])


def remote(files: Sequence[Any]) -> list[RemoteFile]:
    """The files, if they lie elsewhere."""
    return [file for file in files if isinstance(file, RemoteFile)]


def is_versioned(files: Sequence[Path]) -> bool:
    """Whether the storage says of each file what changes with its content."""
    return bool(files) and all(isinstance(file, RemoteFile) and file.known.mark for file in cast(Sequence[Any], files))


def unversioned_notes(files: Sequence[Any]) -> list[str]:
    """A sentence where a change of the data would not be seen."""
    blind = sum(not file.known.mark and file.known.time == UNKNOWN for file in remote(files))
    if not blind:
        return []
    return [
        f"The server says neither ETag nor date of {blind:,} of the files: a change that keeps their sizes is seen "
        "with --verify alone."
    ]
