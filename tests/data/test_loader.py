"""Batches: the same whoever decodes, in order, with what is damaged named and what fails explained."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data import loader
from pure_cli.data.decode import DamagedImage, decode
from pure_cli.data.listing import Listing, list_images
from pure_cli.data.loader import Batch, Damaged, batches, decode_one, default_workers
from pure_cli.errors import PureError, PureFailure

PLAIN = Preprocessing()
SQUARE = Preprocessing(resize=16, crop_size=12)


def pictures(folder: Path, count: int, size: tuple[int, int] = (10, 8), first: int = 0) -> Listing:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        pixels = np.random.default_rng(i).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
    return list_images(folder)


@pytest.fixture
def mixed(tmp_path) -> Listing:
    """23 images of many sizes, of which 3, 4, 5 and 12 are damaged."""
    for i in range(23):
        pictures(tmp_path, 1, (20 + i, 30 - i), first=i)
    (tmp_path / "003.png").write_bytes(b"")
    (tmp_path / "004.png").write_bytes((tmp_path / "006.png").read_bytes()[:200])
    (tmp_path / "005.png").write_text("not an image")
    (tmp_path / "012.png").unlink()
    (tmp_path / "012.png").symlink_to("gone")
    return list_images(tmp_path)


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.images, y.images) and x.index.tolist() == y.index.tolist() and x.damaged == y.damaged
        for x, y in zip(a, b, strict=True)
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


# --- what comes out


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_images_in_order_without_the_damaged_ones(mixed, workers):
    order = np.array([22, 3, 0, 1, 4, 5, 7, 7, 12, 2])
    found = list(batches(mixed, order, SQUARE, 4, workers))
    for k, batch in enumerate(found):
        chunk = order[4 * k : 4 * k + 4]
        good = [i for i in chunk if i not in (3, 4, 5, 12)]
        assert batch.index.tolist() == good and batch.index.dtype == np.int64
        assert batch.images.dtype == torch.uint8 and batch.images.is_contiguous()
        expected = np.stack([SQUARE.geometry(decode(mixed.path(i))) for i in good])
        np.testing.assert_array_equal(batch.images.numpy(), expected)
        assert [d.index for d in batch.damaged] == [i for i in chunk if i in (3, 4, 5, 12)]
    assert len(found) == 3
    damaged = [d for batch in found for d in batch.damaged]
    assert damaged == [
        Damaged(3, "003.png", "an empty file"),
        Damaged(4, "004.png", "cut short"),
        Damaged(5, "005.png", "not an image"),
        Damaged(12, "012.png", "a link that leads nowhere"),
    ]


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_same_batches_whatever_the_number_of_workers(mixed, batch_size):
    alone = list(batches(mixed, mixed.index, SQUARE, batch_size, 0))
    for workers in (1, 2, 3):
        assert same(list(batches(mixed, mixed.index, SQUARE, batch_size, workers)), alone)


@pytest.mark.parametrize("workers", [0, 2])
def test_chunk_of_damaged_images_is_an_empty_batch(mixed, workers):
    found = list(batches(mixed, mixed.index, SQUARE, 3, workers))
    assert found[1].images.shape == (0, 3, 0, 0) and found[1].images.dtype == torch.uint8
    assert found[1].index.shape == (0,) and len(found[1].damaged) == 3
    assert len(found[2].index) == 3


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("start", [0, 1, 5, 7, 8, 50])
def test_start_goes_on_with_that_chunk(mixed, workers, start):
    whole = list(batches(mixed, mixed.index, SQUARE, 3, 0))
    assert same(list(batches(mixed, mixed.index, SQUARE, 3, workers, start=start)), whole[start:])


def test_images_of_a_worker_can_be_written_to(tmp_path):
    for batch in batches(pictures(tmp_path, 4), [0, 1, 2, 3], PLAIN, 2, 2):
        batch.images.add_(1)


def test_nothing_to_do(mixed):
    assert list(batches(mixed, [], SQUARE, 3, 2)) == []


def test_chunk_larger_than_a_pipe(tmp_path):
    listing = pictures(tmp_path, 6, (300, 200))
    assert same(list(batches(listing, listing.index, PLAIN, 2, 2)), list(batches(listing, listing.index, PLAIN, 2, 0)))


@pytest.fixture(params=["shared memory", "no shared memory"])
def memory(request, monkeypatch):
    """Whether the system has memory to share."""
    if request.param == "no shared memory":

        def none(*_):
            raise OSError(12, "Cannot allocate memory")

        monkeypatch.setattr(loader.mmap, "mmap", none)
    return request.param


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [50, 40, 120])
def test_batches_cut_into_pieces_are_the_same_also_where_images_are_damaged(
    tmp_path, monkeypatch, memory, workers, batch_size
):
    monkeypatch.setattr(loader, "LEAST_PIECE", 16)
    listing = pictures(tmp_path, 120, (6, 5))
    for i in (0, 15, 16, 17, 40, 70, 71, 119, *range(80, 100)):
        (tmp_path / f"{i:03}.png").write_bytes(b"")
    order = np.random.default_rng(0).permutation(120)
    alone = list(batches(listing, order, PLAIN, batch_size, 0, with_content=True))
    found = list(batches(listing, order, PLAIN, batch_size, workers, with_content=True))
    assert same(found, alone)
    assert all((x.content == y.content).all() for x, y in zip(found, alone, strict=True))


def test_every_worker_decodes_a_part_of_the_first_batch(tmp_path, monkeypatch):
    listing, log = pictures(tmp_path / "images", 200), tmp_path / "log"
    decoded = loader._decoded
    monkeypatch.setattr(loader, "LEAST_PIECE", 16)

    def logged(*args):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return decoded(*args)

    monkeypatch.setattr(loader, "_decoded", logged)  # the workers are forks and have it too
    with closing(batches(listing, listing.index, SQUARE, 64, 4)) as running:
        next(running)
        pids = children()
        assert len(pids) == 4 and set(pids) <= {int(line) for line in log.read_text().split()}
    log.unlink()
    assert len(list(batches(listing, listing.index, SQUARE, 200, 2))) == 1  # and of the only one
    assert len(set(log.read_text().split())) == 2


def shared_memory() -> list[str]:
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if "/dev/zero" in line]


@pytest.mark.skipif(sys.platform != "linux", reason="workers are no forks")
def test_batches_lie_in_memory_that_is_used_again_and_goes_with_them(tmp_path):
    listing = pictures(tmp_path, 60, (30, 20))
    alone, before = list(batches(listing, listing.index, PLAIN, 2, 0)), shared_memory()
    places, kept = set(), []
    for batch, expected in zip(batches(listing, listing.index, PLAIN, 2, 2), alone, strict=True):
        places.add(batch.images.data_ptr())
        assert torch.equal(batch.images, expected.images)
    assert len(places) <= 4 + loader.HELD
    for batch in batches(listing, listing.index, PLAIN, 2, 2):  # by a caller that gives nothing back
        kept.append(batch.images[1:])
    assert all(torch.equal(found, one.images[1:]) for found, one in zip(kept, alone, strict=True))
    assert len(shared_memory()) == len(before) + 1  # by the first two
    del batch
    kept.clear()
    assert shared_memory() == before


def test_memory_for_batches_is_bounded(monkeypatch):
    sizes = []
    monkeypatch.setattr(loader.mmap, "mmap", lambda _, size: sizes.append(size))
    plan = loader._Plan(np.arange(100_000), 1000, 0, shape=(3, 100, 100))
    for workers in (2, 8, 64):
        loader._Slots(plan, workers, True)
    assert [size / 30_000_000 for size in sizes] == [4, 4, 7]
    loader._Slots(replace(plan, size=100_000), 64, True)
    assert sizes[-1] == (1 + loader.HELD) * 3_000_000_000  # there is but one
    loader._Slots(loader._Plan(np.arange(100_000), 16, 0, shape=(3, 5000, 5000)), 64, True)
    assert sizes[-1] == 4 * 16 * 75_000_000


def test_workers_that_are_spawned_as_on_other_systems(tmp_path, monkeypatch):
    listing = pictures(tmp_path, 4)
    context = multiprocessing.get_context("spawn")
    monkeypatch.setattr(loader.multiprocessing, "get_context", lambda _: context)
    alone = list(batches(listing, listing.index, PLAIN, 2, 0))
    with closing(batches(listing, listing.index, PLAIN, 2, 1)) as running:
        first = next(running)
        assert [type(child).__name__ for child in multiprocessing.active_children()] == ["SpawnProcess"]
        assert same([first, *running], alone)


def test_chunks_go_through_a_connection_where_pipes_are_not_files(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "_RAW_PIPES", False)
    listing = pictures(tmp_path, 5)
    (tmp_path / "000.png").write_bytes(b"")
    assert same(list(batches(listing, listing.index, PLAIN, 1, 2)), list(batches(listing, listing.index, PLAIN, 1, 0)))


def test_strange_names(tmp_path):
    (tmp_path / "a b").mkdir()
    for name in ("a b/c d.png", "a b/ü\n猫.png"):
        Image.new("RGB", (4, 4), "red").save(tmp_path / name)
    (tmp_path / "a b/x\ty.png").touch()
    (batch,) = batches(list_images(tmp_path), [0, 1, 2], PLAIN, 8, 0)
    assert batch.index.tolist() == [0, 2] and batch.damaged[0].path == "a b/x\ty.png"
    assert (batch.images[:, 0] == 255).all() and (batch.images[:, 1:] == 0).all()


def test_one_image(mixed):
    np.testing.assert_array_equal(decode_one(mixed, 7, SQUARE), SQUARE.geometry(decode(mixed.path(7))))
    assert decode_one(mixed, 7, PLAIN).shape == (3, 23, 27)
    with pytest.raises(DamagedImage, match="cut short"):
        decode_one(mixed, 4, SQUARE)


def test_image_that_a_resize_would_blow_up_is_damaged(tmp_path):
    Image.new("RGB", (60_000, 1)).save(tmp_path / "a.png")
    (batch,) = batches(list_images(tmp_path), [0], Preprocessing(resize=256, crop_size=224), 8, 0)
    assert batch.damaged[0].reason == "too long and narrow to be resized"


# --- images of different size


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("odd_one", [1, 2, 3, 4, 7])
def test_images_of_different_size_are_named_with_what_to_do(tmp_path, workers, odd_one):
    pictures(tmp_path, 9, (10, 8))
    pictures(tmp_path, 1, (7, 8), first=odd_one)
    listing = list_images(tmp_path)
    with pytest.raises(PureError) as caught:
        list(batches(listing, listing.index, PLAIN, 3, workers))
    assert str(caught.value) == (
        f"The images differ in size: '000.png' is 10 × 8 pixels, '00{odd_one}.png' is 7 × 8. "
        "Pass --resize and --crop-size (as --resize 256 --crop-size 224)."
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_chunk_of_another_size_throughout_is_found_and_damaged_ones_do_not_count(tmp_path, workers):
    pictures(tmp_path, 4, (10, 8))
    pictures(tmp_path, 4, (7, 8), first=4)
    (tmp_path / "000.png").write_bytes(b"")
    with pytest.raises(PureError, match=r"'001.png' is 10 × 8 pixels, '004.png' is 7 × 8"):
        list(batches(list_images(tmp_path), range(8), PLAIN, 2, workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_run_that_goes_on_compares_with_the_images_before_it(tmp_path, workers):
    pictures(tmp_path, 4, (10, 8))
    pictures(tmp_path, 4, (7, 8), first=4)
    with pytest.raises(PureError, match=r"'000.png' is 10 × 8 pixels, '004.png' is 7 × 8"):
        list(batches(list_images(tmp_path), range(8), PLAIN, 2, workers, start=2))


def test_resize_alone_does_not_make_one_size_but_a_crop_does(mixed):
    with pytest.raises(PureError, match="--crop-size"):
        list(batches(mixed, mixed.index, Preprocessing(resize=16), 4, 0))
    sizes = {b.images.shape[1:] for b in batches(mixed, mixed.index, Preprocessing(crop_size=9), 4, 0)}
    assert sizes == {(3, 9, 9)}


# --- wrong use


@pytest.mark.parametrize(
    ("change", "words"),
    [({"batch_size": 0}, "--batch-size"), ({"workers": -1}, "--workers"), ({"start": -1}, "start")],
)
def test_number_out_of_range_is_an_error_at_once(mixed, change, words):
    with pytest.raises(PureError, match=words):
        batches(mixed, mixed.index, SQUARE, **{"batch_size": 3, "workers": 0, **change})


@pytest.mark.parametrize("wrong", [-1, 23])
def test_index_that_the_listing_does_not_have(mixed, wrong):
    with pytest.raises(IndexError, match=str(wrong)):
        batches(mixed, [0, wrong], SQUARE, 3, 0)


def test_one_worker_for_each_core_that_a_container_gets(tmp_path, monkeypatch):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("no affinity on this system")
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(loader, "CPU_QUOTA", quota)
    for cores, granted, expected in (
        *((1, None, 0), (2, None, 2), (64, None, 64), (64, "max 100000", 64), (64, "400000 100000", 4)),
        *((4, "1600000 100000", 4), (64, "50000 100000", 0), (64, "150000 100000", 2)),
    ):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        quota.unlink(missing_ok=True)
        if granted:
            quota.write_text(f"{granted}\n")
        assert default_workers() == expected


# --- workers


def children() -> list[int]:
    return [child.pid or 0 for child in multiprocessing.active_children()]


def test_workers_end_when_the_batches_do_and_when_they_are_closed(tmp_path):
    listing = pictures(tmp_path, 40, (100, 100))
    list(batches(listing, listing.index, PLAIN, 2, 2))
    assert not children()
    with closing(batches(listing, listing.index, PLAIN, 2, 2)) as running:
        next(running)
        pids = children()
        assert len(pids) == 2
    assert not children() and not any(alive(pid) for pid in pids)


def test_workers_end_when_the_caller_fails(tmp_path):
    listing = pictures(tmp_path, 40, (100, 100))
    with pytest.raises(ZeroDivisionError):
        for _ in batches(listing, listing.index, PLAIN, 2, 2):
            raise ZeroDivisionError
    assert not children()


def test_single_chunk_starts_no_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "_Worker", None)
    assert len(list(batches(pictures(tmp_path, 3), [0, 1, 2], PLAIN, 8, 4))) == 1


@pytest.mark.parametrize("moment", ["waiting", "computing"])
def test_worker_that_is_killed_is_a_failure_with_advice(tmp_path, moment):
    """Also while the caller computes: the error comes with the next batch, not in the midst of the caller's work."""
    listing = pictures(tmp_path, 40, (200, 200))
    running = batches(listing, listing.index, PLAIN, 2, 2)
    next(running)
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    if moment == "computing":
        time.sleep(0.3)
    with pytest.raises(PureFailure, match=r"worker.*died \(killed by SIGKILL\).*--workers 0") as caught:
        for _ in running:
            pass
    assert caught.value.exit_code == 1 and not children()


def test_worker_that_cannot_be_started_is_a_failure_with_advice(tmp_path, monkeypatch):
    started: list[object] = []

    def start(self):
        if started:
            raise OSError(12, "Cannot allocate memory")
        started.append(self)
        return original(self)

    original = multiprocessing.process.BaseProcess.start
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)
    with pytest.raises(PureFailure, match=r"Cannot allocate memory.*--workers 0"):
        list(batches(pictures(tmp_path, 4), [0, 1, 2, 3], PLAIN, 1, 2))
    assert not children()


def test_error_of_the_program_in_a_worker_is_shown_with_its_place(tmp_path, monkeypatch):
    def wrong(*_):
        raise KeyError("a bug")

    listing = pictures(tmp_path, 4)
    monkeypatch.setattr(loader, "_decoded", wrong)  # the workers are forks and have it too
    with pytest.raises(RuntimeError, match="a bug"):
        list(batches(listing, listing.index, Preprocessing(crop_size=8), 1, 2))
    assert not children()


RUN = """
import multiprocessing, os, signal, sys, time
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches
listing = list_images(sys.argv[1])
for batch in batches(listing, listing.index, Preprocessing(), 2, 3):
    print(*(c.pid for c in multiprocessing.active_children()), flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_quietly_when_the_program_is_stopped(tmp_path, how):
    pictures(tmp_path, 60, (200, 200))
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout and run.stderr
    pids = [int(p) for p in run.stdout.readline().split()]
    assert len(pids) == 3
    if how == signal.SIGINT:
        os.killpg(run.pid, how)  # a terminal sends it to all of them
    else:
        run.send_signal(how)
    assert run.wait(10) != 0
    assert eventually(lambda: not any(alive(p) for p in pids))
    errors = run.stderr.read()
    assert errors.count("Traceback") == (1 if how == signal.SIGINT else 0), errors  # the program's own
    run.stdout.close()
    run.stderr.close()


def test_workers_need_no_torch():
    code = "import sys, pure_cli.data.loader; assert not {'torch', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
