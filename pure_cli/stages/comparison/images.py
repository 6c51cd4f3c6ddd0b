"""Which images two workspaces have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from pure_cli.artifacts import read_seen
from pure_cli.data.content import UNREAD
from pure_cli.data.listing import Listing
from pure_cli.data.long_lists import values_at
from pure_cli.errors import PureError
from pure_cli.workspace import Store

LEAST = 0.5  # of the images of either workspace have to be common for references to say something of both


@dataclass(frozen=True, eq=False)
class CommonImages:
    """Images that are in both data sets, numbered from 0 on.

    Attributes
    ----------
    listings : of A and of B
    index : (P,) int64 data-set indices of each of them, in A and in B
    label : (P,) int64, -1 where there is none
    """

    listings: tuple[Listing, Listing]
    index: tuple[np.ndarray, np.ndarray]
    label: np.ndarray

    @property
    def count(self) -> int:
        return len(self.label)

    @property
    def shares(self) -> tuple[float, float]:
        """Of the images of A and of B."""
        a, b = (self.count / len(listing) for listing in self.listings)
        return a, b

    @property
    def note(self) -> str:
        """What is not common, in a sentence; "" where all is."""
        (a, b), (of_a, of_b) = self.shares, self.listings
        if min(a, b) == 1:
            return ""
        return (
            f"{self.count:,} images are common: {a:.1%} of the {len(of_a):,} of A and {b:.1%} of the {len(of_b):,} of "
            "B. References among the others are left out."
        )

    def numbers(self, side: int, index: np.ndarray) -> np.ndarray:
        """Numbers of data-set indices of any shape in A (0) or B (1); -1 of those that are not common."""
        own = self.index[side]
        if not len(own):
            return np.full(index.shape, -1, np.int64)
        order = np.argsort(own, kind="stable")
        place = np.searchsorted(own, index, sorter=order).clip(max=len(own) - 1)
        found = order[place]
        return np.where(own[found] == index, found, -1)

    def require(self, what: str) -> None:
        """Make sure that what is compared by references is not of mostly other images.

        Raises
        ------
        PureError
            It is.
        """
        if min(self.shares) < LEAST:
            raise PureError(
                f"{self.note} {what} compares references, which should be of the same images: run `pure collect` on "
                "the same ones in both, or take --by activations with --sample."
            )


def common_images(stores: tuple[Store, Store], listings: tuple[Listing, Listing]) -> CommonImages:
    """The images that have one name and one content in both.

    Raises
    ------
    PureError
        There is none.
    """
    a, b = listings
    if a.fingerprint == b.fingerprint:
        places = np.arange(len(a)), np.arange(len(b))
    else:
        places = _of_one_name([a.paths[i] for i in a.index.tolist()], [b.paths[i] for i in b.index.tolist()])
    contents = [_contents(store)[place] for store, place in zip(stores, places, strict=True)]
    same = (contents[0] == contents[1]) | (contents[0] == UNREAD) | (contents[1] == UNREAD)
    if not same.any():
        why = "the images that have one name in both have another content" if len(same) else "no image has one name"
        raise PureError(
            f"The two workspaces are about other images, {a.data} and {b.data}: {why}. Run `pure collect` on the same "
            "images in both."
        )
    index = a.index[places[0][same]], b.index[places[1][same]]
    return CommonImages(listings, index, np.asarray(values_at(a.labels, index[0])))


def _contents(store: Store) -> np.ndarray:
    """(M,) uint32, what was in the images in use when they were collected."""
    return np.concatenate([seen.content for seen in read_seen(store)])


def _of_one_name(a: Sequence[str], b: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Places in both of names that are the same: with their folders, or else without, where that is still one image."""
    found = _same(a, b)
    if not len(found[0]):
        found = _same(*([PurePosixPath(name).name for name in names] for names in (a, b)))
    return found


def _same(a: Sequence[str], b: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    times = Counter(a), Counter(b)
    place_in_b = {name: place for place, name in enumerate(b)}
    pairs = [(place, place_in_b[name]) for place, name in enumerate(a) if times[0][name] == 1 == times[1].get(name, 0)]
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
