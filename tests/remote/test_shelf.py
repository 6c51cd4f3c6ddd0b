"""Files of a storage that are kept on the disk: of bounded size, whoever fetches them."""

import multiprocessing
import os
import signal
import time

import pytest

from pure_cli.errors import PureError
from pure_cli.remote import shelf
from pure_cli.remote.shelf import Shelf, cache_size
from pure_cli.remote.storage import entry_of

KILO = bytes(range(250)) * 4


@pytest.fixture
def folder(proxy, tmp_path):
    return tmp_path / "shelf"


def held(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_was_used_least_recently_goes_first(bucket, folder):
    url = bucket(dict.fromkeys("abcd", KILO))
    files = {name: (f"{url}/{name}", entry_of(f"{url}/{name}")) for name in "abcd"}
    kept = Shelf(folder, 3_000)
    for at, name in enumerate("abc"):
        path = kept.fetch(*files[name])
        assert path.read_bytes() == KILO
        os.utime(path, (at, at))
    kept.find(*files["a"])
    kept.fetch(*files["d"])
    assert [name for name in "abcd" if kept.find(*files[name])] == ["a", "c", "d"]
    assert held(folder) == 3_000


def test_what_is_larger_than_the_shelf_has_no_place(bucket, folder):
    url = bucket({"a": KILO})
    assert Shelf(folder, 999).fetch(f"{url}/a", entry_of(f"{url}/a")) is None


def test_a_file_that_a_killed_process_began_is_gone_on_with(bucket, proxy, folder, monkeypatch):
    monkeypatch.setattr(shelf, "BLOCK", 100)
    url = f"{bucket({'a': KILO})}/a"
    entry = entry_of(url)
    kept = Shelf(folder, 9_000)
    folder.mkdir()
    path = kept._path(url, entry)
    path.with_name(f"{path.name}.part").write_bytes(KILO[:700])
    proxy.reset()
    assert kept.fetch(url, entry).read_bytes() == KILO
    assert sorted(span for _, _, span in proxy.asked) == ["bytes=700-799", "bytes=800-899", "bytes=900-999"]


def test_what_a_disk_lost_of_it_is_fetched_anew(bucket, proxy, folder, monkeypatch):
    url = f"{bucket({'a': KILO})}/a"
    entry = entry_of(url)
    kept = Shelf(folder, 9_000)
    folder.mkdir()
    path = kept._path(url, entry)
    path.with_name(f"{path.name}.part").write_bytes(bytes(700))
    assert kept.fetch(url, entry).read_bytes() == KILO
    path.write_bytes(b"cut short")
    assert kept.fetch(url, entry).read_bytes() == KILO


def _fetch(kept, url, entry, found):
    found.put(kept.fetch(url, entry).read_bytes() == KILO)


def test_several_processes_fetch_a_file_once(bucket, proxy, folder):
    url = f"{bucket({'a': KILO})}/a"
    entry = entry_of(url)
    proxy.reset()
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    processes = [context.Process(target=_fetch, args=(Shelf(folder, 9_000), url, entry, found)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [found.get(timeout=60) for _ in processes] == [True] * 4
    for process in processes:
        process.join()
    assert proxy.count("GET", "/a") == 1


def test_a_process_that_is_killed_as_it_fetches_holds_up_no_other(bucket, proxy, folder):
    url = f"{bucket({'a': KILO})}/a"
    entry = entry_of(url)
    proxy.reset("slow")
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_fetch, args=(Shelf(folder, 9_000), url, entry, context.Queue()))
    process.start()
    while not proxy.count("GET", "/a"):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert Shelf(folder, 9_000).fetch(url, entry).read_bytes() == KILO


@pytest.mark.parametrize(("text", "size"), [("500MB", 5e8), ("20 gb", 2e10), ("1.5T", 1.5e12), ("0", 0), ("7B", 7)])
def test_sizes(monkeypatch, text, size):
    monkeypatch.setenv("PURE_CACHE_SIZE", text)
    assert cache_size() == size


@pytest.mark.parametrize("text", ["much", "-1", "1.2.3GB", "."])
def test_what_is_no_size_is_said(monkeypatch, text):
    monkeypatch.setenv("PURE_CACHE_SIZE", text)
    with pytest.raises(PureError, match=r"PURE_CACHE_SIZE is '.*which is no size"):
        cache_size()
