"""Parts of collect's pass: what one of them leaves, and what all of them together have found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import h5py
import numpy as np

from pure_cli.artifacts import PartHeader, Seen, open_part, read_best, write_best, write_part, write_rows
from pure_cli.artifacts.parts import LAYERS, ROWS
from pure_cli.core.merging import MergedImages
from pure_cli.core.parts import overlap
from pure_cli.errors import PureError
from pure_cli.stages.references.dataset_pass import order_of
from pure_cli.stages.references.facts import Found, PassFacts
from pure_cli.workspace import Store

SEEN_ROWS = 1 << 16  # images of which `Found.seen` tells at a time
KEPT = 1 << 21  # images of which what was seen is kept in memory, so that no part is opened for it again
_SEEN = np.dtype([("size", "i8"), ("time", "i8"), ("content", "u4")])
FACTS, DAMAGED, BROKEN = "facts", "damaged", "broken"  # in what only a part knows


def write_found(store: Store, header: PartHeader, facts: PassFacts, found: Found) -> None:
    """Write what a part's pass found."""

    def write(file: h5py.File) -> None:
        file.create_group(LAYERS)
        for name, top in found.tops.items():
            write_best(file, name, top)
        write_rows(file, "seen", map(_packed, found.seen()), (header.stop - header.start,), _SEEN)

    faults = {DAMAGED: found.damaged, BROKEN: found.broken.tolist()}
    more = {**header.more, FACTS: facts.as_json(), **faults}
    write_part(store, replace(header, more=more), write)


class FoundInParts:
    """What the parts of a pass have found together; each is read once, and again for what was in its images.

    Parameters
    ----------
    headers : of parts that cover all images, in their order
    seed : of the sample that bands are cut from
    """

    def __init__(self, store: Store, headers: Sequence[PartHeader], seed: int):
        self._store, self._headers, self._seed = store, headers, seed
        self._kept: dict[str, Seen] | None = {} if headers[0].total <= KEPT else None  # by the name of a part
        self._disjoint = not overlap(header.range for header in headers)

    def read(self, progress: Callable[[int, int], None]) -> Found:
        """All of it but what was in the images.

        Raises
        ------
        PureError
            A part is damaged, or an image that is in two of them changed in between.
        """
        tops: dict[str, MergedImages] = {}
        damaged: dict[int, tuple[int, str, str]] = {}
        broken = [np.zeros(0, np.int64)]
        for done, header in enumerate(self._headers, 1):
            with open_part(self._store, header) as file:
                for name, best in file[LAYERS].items():
                    self._add(tops, name, best)
                if self._kept is not None:
                    self._kept[header.name] = _unpacked(file[f"{ROWS}/seen"][:])
            broken.append(np.array(header.more[BROKEN], np.int64))
            for index, path, reason in header.more[DAMAGED]:
                damaged[index] = (index, path, reason)
            progress(done, len(self._headers))
        if not self._disjoint:
            self._require_same_images()
        whole = {name: merged.top for name, merged in tops.items()}
        return Found(whole, [damaged[index] for index in sorted(damaged)], np.unique(np.concatenate(broken)), self.seen)

    def _add(self, tops: dict[str, MergedImages], name: str, best: h5py.Dataset) -> None:
        channels, places = best.shape
        if name not in tops:
            tops[name] = MergedImages(channels, places, order_of(name, self._seed))
        tops[name].add_from(lambda start, stop: read_best(best, start, stop), best.shape, self._disjoint)

    def seen(self) -> Iterator[Seen]:
        """What the images were when their parts saw them, in parts of one size."""
        waiting, count = list[np.ndarray](), 0
        for seen in self._pieces():
            waiting.append(_packed(seen))
            count += len(seen.size)
            while count >= SEEN_ROWS:
                whole = np.concatenate(waiting)
                yield _unpacked(whole[:SEEN_ROWS])
                waiting, count = [whole[SEEN_ROWS:]], count - SEEN_ROWS
        if count:
            yield _unpacked(np.concatenate(waiting))

    def _pieces(self) -> Iterator[Seen]:
        """Of each part, the images that no part before it has."""
        place = 0
        for header in self._headers:
            if header.stop > place:
                yield self._seen_of(header, place, header.stop)
                place = header.stop

    def _seen_of(self, header: PartHeader, start: int, stop: int) -> Seen:
        """Of the images at places ``start:stop`` of a part that has them."""
        rows = slice(start - header.start, stop - header.start)
        if self._kept is not None:
            return _rows(self._kept[header.name], rows)
        with open_part(self._store, header) as file:
            return _unpacked(file[f"{ROWS}/seen"][rows])

    def _require_same_images(self) -> None:
        """
        Raises
        ------
        PureError
            An image is in two parts that saw different things in it.
        """
        last: PartHeader | None = None
        for header in self._headers:
            if last is not None and header.start < min(last.stop, header.stop):
                start, stop = header.start, min(last.stop, header.stop)
                ours, theirs = (self._seen_of(one, start, stop).content for one in (last, header))
                if not np.array_equal(ours, theirs):
                    raise PureError(
                        f"An image changed between the parts {last.part} and {header.part}, which both have it. Run "
                        f"both again with --force."
                    )
            last = header if last is None or header.stop > last.stop else last


def facts_of(headers: Sequence[PartHeader], first_broken: int | None, index: np.ndarray) -> PassFacts:
    """What the network says of a pass, from its parts.

    Parameters
    ----------
    first_broken : data-set index of the first image with numbers that are not finite
    index : of the listing
    """
    all_facts = [PassFacts.of_json(header.more[FACTS]) for header in headers]
    notes = list(dict.fromkeys(note for facts in all_facts for note in facts.notes))
    where = ""
    if first_broken is not None:
        place = int(np.searchsorted(index, first_broken))
        own = [facts for facts, one in zip(all_facts, headers, strict=True) if one.start <= place < one.stop]
        where = own[0].where_broken
    return replace(all_facts[0], notes=notes, where_broken=where)


def _rows(seen: Seen, rows: slice) -> Seen:
    return Seen(seen.size[rows], seen.time[rows], seen.content[rows])


def _packed(seen: Seen) -> np.ndarray:
    found = np.empty(len(seen.size), _SEEN)
    found["size"], found["time"], found["content"] = seen.size, seen.time, seen.content
    return found


def _unpacked(rows: np.ndarray) -> Seen:
    return Seen(*(np.ascontiguousarray(rows[name]) for name in ("size", "time", "content")))
