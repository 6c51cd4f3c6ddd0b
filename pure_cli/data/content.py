"""What is in an image, as one number, so that a change of it is noticed that its size in bytes does not tell."""

import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from threading import Lock

import numpy as np

from pure_cli.data.listing import Listing
from pure_cli.data.source import DamagedImage, Raw, expecting, reading_ahead
from pure_cli.files import file_crc

UNREAD = 0  # of an image that cannot be read
_READERS = 8  # threads: a disk far away has many at once
_AT_ONCE = 256  # images


def content_of(raw: Raw) -> int:
    """The CRC-32 of what a source gives for an image, which is never 0.

    Raises
    ------
    DamagedImage
        The file cannot be read.
    """
    if isinstance(raw, bytes):
        crc = zlib.crc32(raw)
    elif isinstance(raw, np.ndarray):
        crc = zlib.crc32(np.ascontiguousarray(raw).data.cast("B"), zlib.crc32(repr(raw.shape).encode()))
    else:
        try:
            crc = file_crc(raw)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise DamagedImage("it cannot be read") from error
    return crc or 1


def contents(listing: Listing, index: Sequence[int] | np.ndarray) -> np.ndarray:
    """`content_of` some images now.

    Parameters
    ----------
    index : (M,) int, data-set indices

    Returns
    -------
    (M,) uint32, `UNREAD` for those that cannot be read
    """

    turn = Lock()  # a source has one open file for all threads, and other libraries behind it

    def one(i: int) -> int:
        try:
            with turn:
                raw = listing.read(i)
            return content_of(raw)
        except DamagedImage:
            return UNREAD

    index = np.asarray(index)
    expecting(listing.read, index)
    found = [np.zeros(0, np.uint32)]
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(index), _AT_ONCE):
            part = index[start : start + _AT_ONCE].tolist()
            reading_ahead(listing.read, part)
            found.append(np.fromiter(readers.map(one, part), np.uint32, len(part)))
    return np.concatenate(found)


def pixel_digests(images: np.ndarray) -> np.ndarray:
    """(B,) uint64, what is to be seen in images (B, 3, H, W) uint8 of one size, whatever files they come from."""
    found = [blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).digest() for image in images]
    return np.frombuffer(b"".join(found), "<u8").astype(np.uint64)
