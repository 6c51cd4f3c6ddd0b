"""The images of an atlas: sheets of tiles, each image decoded once for many neurons."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from pure_cli.core.cores import cores
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.core.references import NO_IMAGE
from pure_cli.data.listing import Listing
from pure_cli.stages.resume.pair_work import Plan
from pure_cli.stages.runtime.images import require_read

SCRATCH = 1 << 30  # bytes of tiles that are held at a time
DECODED = 64  # images at once
ICON = 32  # pixels
ICONS = 1024  # in a sheet
ICON_COLUMNS = 32


class Size(NamedTuple):
    """How large images are, and how many there are.

    Attributes
    ----------
    seen, whole : sides of tiles in pixels, of what the neuron saw and of whole images
    first : of each virtual neuron; 0 for all
    quality : of JPEG
    """

    seen: int
    whole: int
    first: int
    quality: int


SIZES = {"small": Size(36, 28, 8, 36), "normal": Size(64, 40, 0, 36), "large": Size(128, 128, 0, 70)}


@dataclass(frozen=True, eq=False)
class TileJob:
    """Images of one neuron that get tiles.

    Attributes
    ----------
    image : (m,) int64, data-set indices
    box : (m, 4) int, top, bottom, left and right of what the neuron saw; None where whole images alone are shown
    """

    neuron: int
    image: np.ndarray
    box: np.ndarray | None


def sheets(
    jobs: Sequence[TileJob], listing: Listing, preprocessing: Preprocessing, size: Size, workers: int
) -> Iterator[tuple[TileJob, dict[str, Any]]]:
    """The sheets of each neuron, "seen" and "whole", as the page takes them.

    Raises
    ------
    PureError
        An image cannot be read any more.
    """
    room = 3 * (size.seen**2 + size.whole**2)
    start = 0
    while start < len(jobs):
        stop, used = start, 0
        while stop < len(jobs) and (stop == start or used + room * len(jobs[stop].image) <= SCRATCH):
            used += room * len(jobs[stop].image)
            stop += 1
        yield from _of_group(jobs[start:stop], listing, preprocessing, size, workers)
        start = stop


def _of_group(
    jobs: Sequence[TileJob], listing: Listing, preprocessing: Preprocessing, size: Size, workers: int
) -> Iterator[tuple[TileJob, dict[str, Any]]]:
    """Of some neurons, whose tiles are held together."""
    from pure_cli.data.loader import batches

    group, done = _Group(jobs, size), 0
    with ThreadPoolExecutor(cores()) as pool:  # Pillow works outside of Python's lock
        for batch in batches(listing, group.plan.images, preprocessing, DECODED, workers):
            require_read(listing, batch)
            pixels = batch.images.permute(0, 2, 3, 1).contiguous().numpy()
            deque(pool.map(group.cut, count(done), pixels), maxlen=0)
            done += len(pixels)
        yield from zip(jobs, pool.map(group.sheets, range(len(jobs))), strict=True)


class _Group:
    """The tiles of some neurons, cut out image by image."""

    def __init__(self, jobs: Sequence[TileJob], size: Size):
        most = max((len(job.image) for job in jobs), default=0)
        padded = np.full((len(jobs), most), NO_IMAGE, np.int64)
        for row, job in enumerate(jobs):
            padded[row, : len(job.image)] = job.image
        self.plan = Plan.of(padded)
        self._jobs, self._size, self._fine = jobs, size, False
        self._side = size.seen if all(job.box is None for job in jobs) else size.whole
        self._seen: list[list[Any]] = [[None] * len(job.image) for job in jobs]
        self._whole: list[list[Any]] = [[None] * len(job.image) for job in jobs]

    def cut(self, place: int, pixels: np.ndarray) -> None:
        """All tiles of the image at a place of the plan, (H, W, 3) uint8."""
        from pure_cli.views.atlas.sheets import as_tile

        image = Image.fromarray(pixels)
        self._fine = max(image.size) <= self._side
        thumb = as_tile(image, None, self._side)
        for pair in self.plan.pairs_in(place, place + 1).tolist():
            row, slot = int(self.plan.neuron_row[pair]), int(self.plan.slot[pair])
            box = self._jobs[row].box
            self._whole[row][slot] = thumb
            if box is not None:
                self._seen[row][slot] = as_tile(image, box[slot], self._size.seen)

    def sheets(self, row: int) -> dict[str, Any]:
        """Those of one neuron, whose tiles are let go."""
        from pure_cli.views.atlas.sheets import sheet

        seen, whole = self._seen[row], self._whole[row]
        self._seen[row] = self._whole[row] = []
        found = {"seen": None, "whole": sheet(whole, self._size.quality, fine=self._fine)}
        if self._jobs[row].box is not None:
            found["seen"] = sheet(seen, self._size.quality, fine=self._fine)
        return found


def part_icons(content: Mapping[str, Any], found: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Virtual neuron, counted from 0, to the middle of its first image, (ICON, ICON, 3) uint8.

    Parameters
    ----------
    content : of a neuron, as the page takes it
    found : its sheets
    """
    from pure_cli.views.atlas.sheets import icons_of

    part = np.array(content["references"]["part"], np.int64)[content["shown"]]
    first = {int(one): int(np.flatnonzero(part == one)[0]) for one in np.unique(part[part >= 0])}
    pictures = icons_of(found["seen"] or found["whole"], list(first.values()), ICON)
    return dict(zip(first, pictures, strict=True))


def icon_sheet(pictures: Sequence[np.ndarray], size: Size) -> dict[str, str]:
    """As the page takes it."""
    from pure_cli.views.atlas.sheets import sheet

    return {"src": sheet(pictures, size.quality, ICON, ICON_COLUMNS)["src"]}
