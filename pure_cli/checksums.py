"""Files for HDF5 to read and write, with a checksum on every block: after the HDF5 content, where it looks for nothing.

Layout: the content; a CRC-32 of each block of it; the mark and the length of the content. A file without the mark, as
after another program wrote to it, is read as it is.
"""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np

BLOCK = 1 << 14  # bytes
CHECKSUM = np.dtype("<u4")
FOOTER, MARK = struct.Struct("<8sQ"), b"puresums"


class Input(io.FileIO):
    """A file of which HDF5 sees no block that does not fit its checksum, where `Output` left checksums.

    The checksums of HDF5 itself take zeros for whole, and leave out texts of any length, in which it may loop for ever.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        end = self.seek(0, os.SEEK_END)
        footer = os.pread(self.fileno(), FOOTER.size, max(0, end - FOOTER.size))
        mark, size = FOOTER.unpack(footer) if len(footer) == FOOTER.size else (b"", 0)
        sealed = mark == MARK and end == size + -(-size // BLOCK) * CHECKSUM.itemsize + FOOTER.size
        self._guarded = size if sealed else 0  # bytes
        self.seek(0)

    def readinto(self, buffer: Any) -> int | None:
        start = self.tell()
        stop = min(start + memoryview(buffer).nbytes, self._guarded)
        if stop <= start:
            return super().readinto(buffer)
        first, after = start // BLOCK, -(-stop // BLOCK)
        content = os.pread(self.fileno(), min(after * BLOCK, self._guarded) - first * BLOCK, first * BLOCK)
        place = self._guarded + first * CHECKSUM.itemsize
        sums = np.frombuffer(os.pread(self.fileno(), (after - first) * CHECKSUM.itemsize, place), CHECKSUM)
        for i, expected in enumerate(sums.tolist()):
            if zlib.crc32(content[i * BLOCK : (i + 1) * BLOCK]) != expected:
                raise OSError("a block does not fit its checksum")
        memoryview(buffer)[: stop - start] = content[start - first * BLOCK : stop - first * BLOCK]
        return self.seek(stop) - start


class Output(io.FileIO):
    """A file on which HDF5 cannot fail: where the disk does not take what HDF5 has to write, it kills the process.

    Attributes
    ----------
    failure : what went wrong; nothing is written after it
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        size = rest.nbytes
        try:
            while rest.nbytes and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.failure is None:
                super().truncate(size)
        except OSError as error:
            self.failure = error
        return size or 0

    def finish(self) -> None:
        """Add checksums of all blocks behind what HDF5 wrote, and wait until everything is on the disk.

        Raises
        ------
        OSError
            Something went wrong, now or before.
        """
        size = self.seek(0)
        sums = []
        while block := self.read(BLOCK):
            size += len(block)
            sums.append(zlib.crc32(block))
        self.write(np.array(sums, CHECKSUM).tobytes() + FOOTER.pack(MARK, size))
        if self.failure is not None:
            raise self.failure
        os.fsync(self.fileno())


def foreign_content(group: h5py.Group) -> str | None:
    """The first thing below a group that has its content from elsewhere, through a link or an external or virtual data
    set: HDF5 would open whatever file it names.
    """
    return _foreign_content(group.id, group.name.rstrip("/"), set())


def _foreign_content(group: h5py.h5g.GroupID, place: str, seen: set[int]) -> str | None:
    """With the addresses of groups that were looked at, which may be in this one again. Every reader waits for this,
    so it makes none of h5py's objects."""
    seen.add(h5py.h5o.get_info(group).addr)
    for name in group:
        below = f"{place}/{os.fsdecode(name)}"
        if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            return below
        node = h5py.h5o.open(group, name)
        if isinstance(node, h5py.h5d.DatasetID):
            layout = node.get_create_plist()
            if layout.get_external_count() or layout.get_layout() == h5py.h5d.VIRTUAL:
                return below
        if isinstance(node, h5py.h5g.GroupID) and h5py.h5o.get_info(node).addr not in seen:
            found = _foreign_content(node, below, seen)
            if found is not None:
                return found
    return None
