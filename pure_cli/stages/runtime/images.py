"""The images of a workspace: where they are, single ones, and how many go at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pure_cli.data.listing import Listing, list_images
from pure_cli.data.place import place_text
from pure_cli.errors import PureError
from pure_cli.models.spec import NO_WEIGHTS
from pure_cli.stages.runtime.network import Network
from pure_cli.waiting import waiting_for
from pure_cli.workspace import Store

if TYPE_CHECKING:
    import numpy as np
    import torch

    from pure_cli.data.loader import Batch

DATA_CACHE = "data-index"  # folder in the workspace; may be deleted at any time
OTHERS = 8  # of the last images that are looked at, for one that differs from the first


def place_of(path: Path | str | None) -> str | None:
    """Where a file, a folder or a URL is, for stages that run elsewhere; the word none is no file."""
    return None if path is None else str(path) if str(path) == NO_WEIGHTS else place_text(path)


def images_of(store: Store, data: str | Path, limit: int | None = None) -> Listing:
    """The images that ``--data`` names; what takes long to find out about them is kept in the workspace.

    Raises
    ------
    PureError
        They cannot be listed.
    """
    waiting_for("listing the images")
    return list_images(data, limit, store.root / DATA_CACHE)


def images_at_once(listing: Listing, network: Network, requested: int | None, share: int = 1) -> int:
    """Images at once: as requested, or what suits the device and their size; `share` as of `Network.batch_size`."""
    height, width = first_image(listing, network).shape[-2:]
    return network.batch_size(requested, height, width, share)


def images_of_a_step(listing: Listing, network: Network, requested: int | None, share: int = 1) -> int:
    """Where parts of a pass begin: at multiples of this, so that they are cut in one way on machines of a kind."""
    height, width = first_image(listing, network).shape[-2:]
    return requested or network.usual_batch_size(height, width, share)


def first_image(listing: Listing, network: Network) -> torch.Tensor:
    """The first image that can be read, as (1, 3, H, W) uint8.

    Raises
    ------
    PureError
        No image can be read.
    """
    import torch

    from pure_cli.data.decode import DamagedImage
    from pure_cli.data.loader import decode_one

    if network.first is not None and network.first[0] is listing:
        return network.first[1]
    reason = ""
    for index in map(int, listing.index):
        try:
            image = torch.from_numpy(decode_one(listing, index, network.preprocessing))[None]
        except DamagedImage as error:
            reason = reason or f"{listing.paths[index]}: {error.reason}"
            continue
        network.first = listing, image
        return image
    raise PureError(f"None of the {len(listing)} images in {listing.data} can be read ({reason}).")


def read_images(network: Network, listing: Listing, index: np.ndarray, workers: int = 0) -> torch.Tensor:
    """(n, 3, H, W) uint8 of images by their indices in the data.

    Raises
    ------
    PureError
        One of them cannot be read any more.
    """
    import torch

    from pure_cli.data.loader import batches

    parts = []
    for batch in batches(listing, index, network.preprocessing, len(index), workers):
        require_read(listing, batch)
        parts.append(batch.images)
    return torch.cat(parts)


def require_read(listing: Listing, batch: Batch) -> None:
    """Make sure that all images of a batch could be read.

    Raises
    ------
    PureError
        One of them cannot be read any more.
    """
    if batch.damaged:
        first = batch.damaged[0]
        raise PureError(f"{listing.place(first.index)} cannot be read any more ({first.reason}).")


@contextmanager
def named_images(listing: Listing, index: np.ndarray) -> Iterator[None]:
    """A context in which an image of a batch that does not get to a layer is told by its name.

    Parameters
    ----------
    index : (B,) data-set indices of the batch
    """
    from pure_cli.core.forward import NotReached

    try:
        yield
    except NotReached as error:
        if error.row is None:
            raise
        raise error.with_image(listing.place(int(index[error.row]))) from None


def another_image(listing: Listing, network: Network, one: torch.Tensor) -> tuple[int, torch.Tensor] | None:
    """One of the last images and its data-set index, if one of the size of `one` differs from it."""
    import torch

    from pure_cli.data.decode import DamagedImage
    from pure_cli.data.loader import decode_one

    for index in map(int, listing.index[::-1][:OTHERS]):
        with suppress(DamagedImage):
            other = torch.from_numpy(decode_one(listing, index, network.preprocessing))[None]
            if other.shape == one.shape and not torch.equal(other, one):
                return index, other
    return None
