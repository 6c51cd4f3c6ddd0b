"""What is kept about a data set: unpacked copies, and what becomes of those of files that changed."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from pure_cli.data.cache import Cache
from pure_cli.data.decode import DamagedImage, decode
from pure_cli.data.listing import list_images

KEPT = 5  # processes that unpack at once


def unpacked(folder: Path, file: Path, member: str = "images", before=lambda: None) -> Path | None:
    """As a source does, of a file that is "compressed" by nothing."""

    def unpack(out):
        content = file.read_bytes()
        before()
        out.write(content)

    return Cache(folder).unpacked(file, member, ".npy", unpack)


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "a.npz").write_bytes(b"first")
    return tmp_path / "a.npz"


def test_copies_of_a_file_go_when_it_has_changed(tmp_path, file):
    other = tmp_path / "b.npz"
    other.write_bytes(b"other")
    kept = tmp_path / "kept"
    first = [unpacked(kept, file, member) for member in ("images", "x/y", "images-2")]
    of_other = unpacked(kept, other)
    writing = kept / f".{first[0].name}-1-abc.tmp"
    for path in (writing, kept / "tar-0123.npz"):
        path.write_bytes(b"")
    file.write_bytes(b"second one")
    second = unpacked(kept, file)
    assert second.read_bytes() == b"second one" and of_other.read_bytes() == b"other"
    assert set(kept.iterdir()) == {second, of_other, writing, kept / "tar-0123.npz"}


def test_copy_that_is_mapped_can_be_read_when_it_is_removed(tmp_path, file):
    file.write_bytes(bytes(range(200)))
    mapped = np.memmap(unpacked(tmp_path / "kept", file), np.uint8, "r")
    file.write_bytes(b"second one")
    unpacked(tmp_path / "kept", file)
    assert mapped.tolist() == list(range(200))


def test_a_slow_process_leaves_the_copy_that_is_newer_than_its_own(tmp_path, file):
    kept = tmp_path / "kept"

    def meanwhile():
        file.write_bytes(b"second one")
        assert unpacked(kept, file).read_bytes() == b"second one"

    slow = unpacked(kept, file, before=meanwhile)
    assert sorted(path.read_bytes() for path in kept.iterdir()) == [b"first", b"second one"]
    assert slow.read_bytes() == b"first"
    assert unpacked(kept, file).read_bytes() == b"second one" and not slow.exists()


def _unpack_often(kept: Path, file: Path, start) -> None:
    start.wait()
    for content in (b"a" * 10_000, b"b" * 20_000, b"c" * 30_000) * 30:
        if os.getpid() % 2:  # about half of them change the file, as a whole
            temporary = file.with_name(f"{os.getpid()}.tmp")
            temporary.write_bytes(content)
            temporary.replace(file)
        path = unpacked(kept, file)
        assert path is not None
        try:
            found = path.read_bytes()
        except FileNotFoundError:  # replaced by a newer one before it was opened
            continue
        assert len(found) in (5, 10_000, 20_000, 30_000) and len(set(found)) in (1, len(set(b"first")))


def test_many_processes_at_once(tmp_path, file):
    context = multiprocessing.get_context("fork")
    start = context.Barrier(KEPT)
    processes = [context.Process(target=_unpack_often, args=(tmp_path / "kept", file, start)) for _ in range(KEPT)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * KEPT
    last = unpacked(tmp_path / "kept", file)
    assert list((tmp_path / "kept").iterdir()) == [last] and last.read_bytes() == file.read_bytes()


def test_archive_that_changed_since_it_was_listed_gives_no_other_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    np.savez_compressed(tmp_path / "a.npz", images=images)
    listing = list_images(tmp_path / "a.npz", cache=tmp_path / "kept")
    np.testing.assert_array_equal(np.asarray(decode(listing.read(3))), images[3])
    again = list_images(tmp_path / "a.npz", cache=tmp_path / "kept")
    np.savez_compressed(tmp_path / "a.npz", images=images[:2])
    with pytest.raises(DamagedImage, match="damaged or gone"):
        again.read(3)
    np.testing.assert_array_equal(np.asarray(decode(listing.read(2))), images[2])  # it is open
