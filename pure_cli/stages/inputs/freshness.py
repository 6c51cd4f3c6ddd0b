"""What results would be made from now, and what of it has changed since they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from pure_cli.artifacts import Collected, CollectedLayer, Seen, read_seen
from pure_cli.data.content import UNREAD, contents
from pure_cli.data.listing import Listing
from pure_cli.data.long_lists import release
from pure_cli.errors import PureError, UnreadableFile
from pure_cli.models.spec import parse_model, source_fingerprint, weights_fingerprint
from pure_cli.provenance import Provenance, Status, changes
from pure_cli.stages.runtime.images import images_of
from pure_cli.waiting import waiting_for
from pure_cli.workspace import Store

Key = TypeVar("Key")
Value = TypeVar("Value")
COMPARED = 1000  # images whose content is compared because their time changed
NAMED = 3  # images that changed
_NONE = np.zeros(0, np.int64)


def origin_now(origin: Mapping[str, Any], listing: Listing) -> dict[str, Any]:
    """What references would be made from now, but for what is in the images, with the model and the options that made
    those in the workspace."""
    spec = parse_model(origin["model"])
    return {
        "model": source_fingerprint(spec),
        "weights": weights_fingerprint(origin["weights"], spec),
        "seed": origin["seed"],
        "data": listing.fingerprint,
        "preprocessing": origin["requested"],
    }


@dataclass(frozen=True)
class ImageChanges:
    """How the images differ from those that were collected.

    Attributes
    ----------
    changed : (M,) int64, data-set indices of those that have another size or content, or cannot be read any more
    touched : how many have the same size and another time of change
    compared : of how many of these the content was compared
    """

    changed: np.ndarray
    touched: int
    compared: int

    def names(self, listing: Listing) -> str:
        """The images that changed, the first of them by name."""
        more = len(self.changed) - NAMED
        named = ", ".join(listing.paths[i] for i in self.changed[:NAMED].tolist())
        return f"{named} and {more:,} more" if more > 0 else named


def find_image_changes(store: Store, collected: Collected, listing: Listing, verify: bool = False) -> ImageChanges:
    """What tells that images changed since they were collected: their size, or else their content.

    The content of images that have another time of change is compared, the references first and `COMPARED` in all:
    where a data set was copied, every image has another time.

    Parameters
    ----------
    verify : compare the content of all images
    """
    changed, touched, compared = [_NONE], 0, 0
    references, others = _Suspects(), _Suspects()
    for index, seen in _in_use(store, listing) if _same_places(collected, listing) else ():
        other_size = listing.sizes[index] != seen.size
        other_time = listing.times[index] != seen.time
        if listing.versioned:  # by ETag
            other_size |= other_time
        known = ~other_size & (seen.content != UNREAD)
        changed.append(index[other_size])
        touched += int((known & other_time).sum())
        if verify:
            compared = touched
            changed.append(_different(listing, index[known], seen.content[known]))
            continue
        is_reference = np.isin(index, collected.image_index)
        references.add(index, seen.content, known & other_time & is_reference)
        others.add(index, seen.content, known & other_time & ~is_reference)
    for suspects in (references, others):
        looked_at = suspects.spread(COMPARED - compared)
        compared += len(looked_at[0])
        changed.append(_different(listing, *looked_at))
    return ImageChanges(np.sort(np.concatenate(changed)), touched, compared)


class _Suspects:
    """Images that may have changed, and what was in them: some of each part where they are many."""

    def __init__(self) -> None:
        self._index, self._content = [_NONE], [_NONE]

    def add(self, index: np.ndarray, content: np.ndarray, which: np.ndarray) -> None:
        chosen = _spread(np.flatnonzero(which), COMPARED)
        self._index.append(index[chosen])
        self._content.append(content[chosen].astype(np.int64))

    def spread(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Index and content of some of them."""
        index, content = np.concatenate(self._index), np.concatenate(self._content)
        chosen = _spread(np.arange(len(index)), most)
        return index[chosen], content[chosen]


def _spread(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many, evenly spread."""
    return values if len(values) <= most else values[np.arange(most) * len(values) // most]


def _different(listing: Listing, index: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Those of some images whose content is another one now."""
    return index[contents(listing, index) != content] if len(index) else index


def _in_use(store: Store, listing: Listing) -> Iterator[tuple[np.ndarray, Seen]]:
    """The data-set indices in use with what was seen of them, part by part."""
    start = 0
    for seen in read_seen(store):
        index = np.array(listing.index[start : start + len(seen.size)])
        yield index, seen
        start += len(index)
        release(listing.index, listing.sizes, listing.times)


def _same_places(collected: Collected, listing: Listing) -> bool:
    """The references are where they were, among as many images: an index still means the same image."""
    count = collected.origin["images"] + len(collected.damaged)
    last = collected.image_index.max(initial=-1)
    return (
        len(listing) == count
        and last < len(listing.paths)
        and all(listing.paths[i] == p for i, p in zip(collected.image_index, collected.image_path, strict=True))
    )


def seen_now(listing: Listing, contents: Iterable[np.ndarray], which: np.ndarray | None = None) -> Iterator[Seen]:
    """What the images in use are.

    Parameters
    ----------
    contents : of all of them, in the order of the listing's index, in parts
    which : data-set indices, where some of them are meant
    """
    start, which = 0, listing.index if which is None else which
    for content in contents:
        index = which[start : start + len(content)]
        yield Seen(listing.sizes[index], listing.times[index], content)
        start += len(content)
        release(listing.index, listing.sizes, listing.times)


def attribute_provenance(collected: Collected, layer: str, how: Mapping[str, Any]) -> Provenance:
    """What relevances of a layer depend on that are computed now.

    Parameters
    ----------
    how : of `AttributeSettings`, or the settings of relevances that are there
    """
    return Provenance({**how, "layer": layer}, collected.layers[layer].passed_on)


@dataclass(frozen=True)
class Inputs:
    """What references would be made from now.

    Attributes
    ----------
    listing : the images
    made_from : but for what is in the images
    image_changes : since the references were collected
    """

    listing: Listing
    made_from: dict[str, Any]
    image_changes: ImageChanges

    def status(self, layer: CollectedLayer) -> Status:
        """Of the references of a layer."""
        then = layer.provenance.made_from
        content = None if len(self.image_changes.changed) else then.get("content")
        return Status.of_changes(changes(then, {**self.made_from, "content": content}))

    def require(self, collected: Collected, layers: list[str], verify: bool = False) -> None:
        """Make sure that the references of layers are of these; as of `require_unchanged`."""
        for layer in layers:
            status = self.status(collected.layers[layer])
            if not status.up_to_date:
                names = self.image_changes.names(self.listing)
                raise PureError(
                    f"The references of '{layer}' are {status} since they were collected"
                    f"{f' ({names})' if names else ''}. Run `pure collect{' --verify' if verify else ''}` again."
                )


def inputs_now(store: Store, collected: Collected, verify: bool = False) -> Inputs:
    """What is there of model, weights and images.

    Parameters
    ----------
    verify : as of `find_image_changes`

    Raises
    ------
    PureError
        Something is gone.
    """
    listing = images_of(store, collected.origin["data"], collected.origin["limit"])
    waiting_for("comparing images and weights with those of the references")
    return Inputs(listing, origin_now(collected.origin, listing), find_image_changes(store, collected, listing, verify))


def require_unchanged(store: Store, collected: Collected, layers: list[str], verify: bool = False) -> Listing:
    """Make sure that model, weights and images are those of the references; return the images.

    Parameters
    ----------
    verify : as of `find_image_changes`

    Raises
    ------
    PureError
        Something changed, or is gone.
    """
    now = inputs_now(store, collected, verify)
    now.require(collected, layers, verify)
    return now.listing


def read_earlier(read: Callable[[Store], dict[Key, Value]], store: Store, anew: bool) -> dict[Key, Value]:
    """What an earlier run of a stage left; nothing where that cannot be read and is to be made anew."""
    try:
        return read(store)
    except UnreadableFile:
        if not anew:
            raise
        return {}
