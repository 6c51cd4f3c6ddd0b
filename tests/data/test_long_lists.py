"""Lists on the disk hold what was put into them, whatever the disk does; a data set of any size takes little memory."""

import errno
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pure_cli.data import long_lists
from pure_cli.data.listing import list_images
from pure_cli.data.long_lists import LongTable, Texts, in_parts, joined_numbers, values_at
from tests.data.test_listing import make

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "ten_million.py"
NAMES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=()), max_size=6)
NUMBERS = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture(params=["memory", "disk"])
def where(request, monkeypatch):
    monkeypatch.setattr(long_lists, "IN_MEMORY", 1 << 24 if request.param == "memory" else 16)
    monkeypatch.setattr(long_lists, "BLOCK", 4)
    monkeypatch.setattr(long_lists, "ROWS", 8)
    return request.param


def filled(rows, folder=None):
    made = LongTable(2, folder)
    for row in rows:
        made.add(*row)
    return made


def test_a_spool_gives_what_was_put_into_it(where, tmp_path):
    @settings(max_examples=60)
    @given(st.lists(st.tuples(NAMES, NUMBERS, NUMBERS), max_size=40))
    def holds(rows):
        made = filled(rows, tmp_path)
        texts = made.texts()
        assert len(made) == len(texts) == len(rows) and list(texts) == [row[0] for row in rows]
        assert list(texts[1:-1:3]) == [row[0] for row in rows][1:-1:3]
        assert [texts[i] for i in reversed(range(len(rows)))] == [row[0] for row in rows][::-1]
        for column in (0, 1):
            assert made.numbers(column).tolist() == [row[1 + column] for row in rows]

    holds()
    assert list(tmp_path.iterdir()) == []  # its files have no names


def rows(count=100):
    return [(f"name {i}", i, -i) for i in range(count)]


def test_a_long_list_lies_on_the_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(long_lists, "IN_MEMORY", 64)
    made = filled(rows(), tmp_path)
    assert isinstance(made.texts(), Texts) and isinstance(made.numbers(0), np.memmap)
    assert isinstance(filled(rows(2)).texts(), tuple)
    with pytest.raises(IndexError):
        made.texts()[100]


@pytest.mark.parametrize("room", [0, 100, 700])
def test_a_full_disk_leaves_the_list_in_memory(monkeypatch, tmp_path, room):
    def full(file, content, at, write=os.pwrite):
        if at + len(content) > room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content, at)

    monkeypatch.setattr(long_lists, "IN_MEMORY", 64)
    monkeypatch.setattr(os, "pwrite", full)
    made = filled(rows(), tmp_path)
    assert list(made.texts()) == [row[0] for row in rows()]
    assert made.numbers(1).tolist() == [row[2] for row in rows()]


def test_where_no_disk_takes_a_file_the_list_stays_in_memory(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(long_lists, "IN_MEMORY", 64)
    monkeypatch.setattr(long_lists.tempfile, "TemporaryFile", refuse)
    assert list(filled(rows(), tmp_path).texts()) == [row[0] for row in rows()]


def test_other_processes_read_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(long_lists, "IN_MEMORY", 64)
    texts = filled(rows(1000), tmp_path).texts()
    assert pickle.loads(pickle.dumps(texts)) == tuple(texts)
    child = os.fork()
    if not child:
        os._exit(0 if all(texts[i] == f"name {i}" for i in range(999, -1, -1)) else 1)
    assert all(texts[i] == f"name {i}" for i in range(1000))
    assert os.waitpid(child, 0)[1] == 0


def test_parts_of_numbers_are_all_of_them(where):
    whole = joined_numbers([np.arange(10), np.arange(10, 27)])
    assert whole.tolist() == list(range(27))
    for part in in_parts(whole):
        part += 1
    assert np.concatenate(list(in_parts(whole))).tolist() == list(range(1, 28))


def test_some_of_many_numbers_are_those_at_their_places(where, monkeypatch):
    monkeypatch.setattr(long_lists, "AT_A_TIME", 3)
    whole = joined_numbers([np.arange(0, 100, 5)])
    assert values_at(whole, np.array([7, 0, 19, 7])).tolist() == [35, 0, 95, 35]
    assert values_at(whole, np.array([], np.int64)).tolist() == []


def test_a_folder_reads_the_same_from_disk_and_from_memory(monkeypatch, tmp_path):
    names = ["b/1.jpg", "b.x/1.jpg", "b-/z.jpg", "b/c/2.jpg", "b/c.jpg", "b/c-/3.jpg", "0.jpg", "zz.jpg", "b0/x.png"]
    make(tmp_path / "data", *names)
    before = list_images(tmp_path / "data")
    monkeypatch.setattr(long_lists, "IN_MEMORY", 8)
    now = list_images(tmp_path / "data", cache=tmp_path / "index")
    assert list(before.paths) == list(now.paths) == sorted(names)
    assert before.fingerprint == now.fingerprint and before.names == now.names == ("b", "b-", "b.x", "b0")
    assert [now.names[k] if k >= 0 else "" for k in now.labels] == [
        p.partition("/")[0] if "/" in p else "" for p in sorted(names)
    ]
    assert before.times.tolist() == now.times.tolist() == [(now.root / p).stat().st_mtime_ns for p in now.paths]


BOOKKEEPING = """
import sys
import ten_million
from pure_cli.data import long_lists
assert long_lists.IN_MEMORY <= 1 << 24
long_lists.IN_MEMORY, ten_million.NEURONS = 1 << 20, 16
ten_million.main([int(sys.argv[1])])
"""  # to the disk as soon as with ten times as many images, and fewer scores


def test_memory_does_not_grow_with_the_data_set():
    peaks = []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCHMARK.parent), *sys.path])}
    for count in (50_000, 300_000):
        words = [sys.executable, "-c", BOOKKEEPING, str(count)]
        output = subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout
        peaks.append(max(int(peak) for peak in re.findall(r"(\d+) MiB at most", output)))
    assert peaks[1] - peaks[0] < 20  # 8; tuples of the names, and their numbers, take 42
