"""The images of an atlas: sheets of tiles, each image decoded once for many neurons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.stages.resume.pair_work import Plan

SCRATCH = 1 << 30  # bytes of tiles that are held at a time
DECODED = 64  # images at once
ICON = 32  # pixels
ICONS = 1024  # in a sheet


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
    from pure_cli.views.atlas.sheets import as_tile, sheet

    most = max((len(job.image) for job in jobs), default=0)
    padded = np.full((len(jobs), most), -1, np.int64)
    for row, job in enumerate(jobs):
        padded[row, : len(job.image)] = job.image
    plan = Plan.of(padded)
    seen: list[list[Any]] = [[None] * len(job.image) for job in jobs]
    whole: list[list[Any]] = [[None] * len(job.image) for job in jobs]
    done, fine = 0, False
    for batch in batches(listing, plan.images, preprocessing, DECODED, workers):
        if batch.damaged:
            first = batch.damaged[0]
            raise PureError(f"{listing.place(first.index)} cannot be read any more ({first.reason}).")
        for pixels in batch.images.permute(0, 2, 3, 1).contiguous().numpy():
            image = Image.fromarray(pixels)
            fine = max(image.size) <= size.whole
            thumb = as_tile(image, None, size.whole if any(job.box is not None for job in jobs) else size.seen)
            for pair in plan.pairs_in(done, done + 1).tolist():
                row, slot = int(plan.neuron_row[pair]), int(plan.slot[pair])
                box = jobs[row].box
                whole[row][slot] = thumb
                if box is not None:
                    seen[row][slot] = as_tile(image, box[slot], size.seen)
            done += 1
    for row, job in enumerate(jobs):
        found = {"seen": None, "whole": sheet(whole[row], size.quality, fine=fine)}
        if job.box is not None:
            found["seen"] = sheet(seen[row], size.quality, fine=fine)
        whole[row] = seen[row] = []
        yield job, found
