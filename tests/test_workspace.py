"""The store: files replaced as a whole, errors that name the file, a lock, and unfinished work."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from materials import make_images
from processes import Lab, limit_files, stall, wait_until

from pure_cli import workspace
from pure_cli.errors import PureError, PureFailure, UnreadableFile
from pure_cli.provenance import SCHEMA, Provenance
from pure_cli.scratch import Scratch
from pure_cli.workspace import (
    Store,
    empty_rows,
    grow_array,
    read_provenance,
    read_texts,
    write_array,
    write_provenance,
    write_texts,
)

SETTINGS, ORIGINS = {"layer": "layer3", "n": 5}, {"collect": "0123"}


def write(store, value=1, name="collect"):
    with store.replace(name) as file:
        write_provenance(file, Provenance(SETTINGS, ORIGINS))
        write_array(file, "layers/layer3/value", np.full((20, 5), value))
        write_texts(file, "images/path", ["a.png", "b.png"])


def read(store, name="collect"):
    with store.read(name) as file:
        found = read_provenance(file)
        return file["layers/layer3/value"][:], read_texts(file["images/path"]), found.settings, found.made_from


def value_of(store):
    return int(read(store)[0][0, 0])


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "workspace")
    write(store)
    return store


# --- replace


@pytest.mark.parametrize("error", [ValueError, OSError, PureError, KeyboardInterrupt, MemoryError])
def test_what_fails_as_it_is_written_leaves_the_old_file_and_nothing_else(store, error):
    before = store.path("collect").read_bytes()
    expected = PureFailure if error is OSError else error
    with pytest.raises(expected), store.replace("collect") as file:
        write_array(file, "half", np.arange(1000))
        raise error("in the middle")
    assert store.path("collect").read_bytes() == before
    assert [path.name for path in store.root.iterdir()] == ["collect.h5"]


STOPPED_AS_HDF5_WRITES = """
import signal, sys, time
import numpy as np
from pure_cli import checksums
from pure_cli.interrupts import Terminated, stops_when_asked
from pure_cli.workspace import Store, empty_rows

store, whole, calls, at = Store(sys.argv[1]), checksums.Output.write, 0, 0
before = store.path("collect").read_bytes()

def write(self, data):
    global calls
    calls += 1
    if calls == at:
        signal.raise_signal(number)
    return whole(self, data)

checksums.Output.write = write
for number, stop in ((signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)):
    for at in range(1, 60, 3):
        calls = 0
        try:
            with stops_when_asked("too late"):
                with store.replace("attribute") as file:
                    rows = empty_rows(file, "rows", (400, 10, 16), "float32")
                    for i in range(400):
                        rows[i] = i
                time.sleep(1)  # it may have come with the last write
            raise AssertionError("not stopped")
        except stop:
            store.path("attribute").unlink(missing_ok=True)
        assert sorted(path.name for path in store.root.iterdir()) == ["collect.h5"]
        assert store.path("collect").read_bytes() == before
print("as it should be")
"""


def test_stopped_as_hdf5_writes_is_no_crash(store):
    """An exception in what HDF5 calls to write brings the process down with a segmentation fault."""
    found = subprocess.run(
        [sys.executable, "-c", STOPPED_AS_HDF5_WRITES, store.root],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout, found.stderr) == (0, "as it should be\n", "")


STOPPED_AT_WORK = """
import hashlib
from pure_cli.commands.common import reports_errors

@reports_errors
def busy():
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # as a long batch: Python has no say before its end

busy()
"""


@pytest.mark.slow
def test_process_that_does_not_come_to_stop_by_itself_is_ended_in_time():
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED_AT_WORK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, err = process.communicate()
        assert time.monotonic() - began < 5
    assert process.returncode == 143
    assert err == "Stopped. What was finished is kept; the same command goes on from there.\n"


def test_process_killed_as_it_writes_leaves_the_old_file_and_the_next_one_tidies_up(store):
    before = store.path("collect").read_bytes()
    child = os.fork()
    if not child:
        with store.replace("collect") as file:
            write_array(file, "half", np.arange(100_000))
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert store.path("collect").read_bytes() == before
    assert len(list(store.root.iterdir())) == 2
    with store.lock("collect"):
        assert sorted(path.name for path in store.root.iterdir()) == [".lock", ".lock-owner", "collect.h5"]


def test_reader_keeps_the_file_that_it_had_opened(store):
    with store.read("collect") as file:
        write(store, 2)
        assert file["layers/layer3/value"][0, 0] == 1
    assert value_of(store) == 2


def test_the_same_content_is_the_same_bytes(store, tmp_path):
    other = Store(tmp_path / "other")
    write(other)
    assert other.path("collect").read_bytes() == store.path("collect").read_bytes()


def test_files_can_be_read_by_whom_the_user_lets_read(store):
    mask = os.umask(0o027)
    try:
        write(store, 2)
    finally:
        os.umask(mask)
    assert store.path("collect").stat().st_mode & 0o777 == 0o640


def test_h5py_alone_reads_the_file(store):
    with h5py.File(store.path("collect")) as file:
        assert file.attrs["schema"] == SCHEMA
        assert isinstance(file.attrs["fingerprint"], str)
        assert file["images/path"].asstr()[:].tolist() == ["a.png", "b.png"]
        assert file["layers/layer3/value"].shape == (20, 5)


# --- what is kept


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), max_size=6))
def test_texts_come_back_as_they_were(tmp_path_factory, values):
    store = Store(tmp_path_factory.mktemp("texts"))
    values += [b"caf\xe9.jpg".decode("utf-8", "surrogateescape")]  # a file name in another encoding
    with store.replace("collect") as file:
        write_texts(file, "texts", values)
        write_texts(file, "none", [])
    with store.read("collect") as file:
        assert read_texts(file["texts"]) == values
        assert read_texts(file["none"]) == []


@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 4), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int16, bool])
def test_arrays_come_back_as_they_were(store, shape, dtype):
    values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    with store.replace("collect") as file:
        write_array(file, "values", values)
    with store.read("collect") as file:
        assert file["values"].dtype == dtype
        np.testing.assert_array_equal(file["values"][()], values)


def test_settings_that_do_not_fit_their_fingerprint_are_damage(store):
    for attribute, text in (("settings", '{"n": 6}'), ("made_from", "{}"), ("fingerprint", "0"), ("settings", "{")):
        write(store)
        with h5py.File(store.path("collect"), "r+") as file:
            file.attrs[attribute] = text
        with pytest.raises(UnreadableFile, match="is damaged"):
            read(store)


# --- what cannot be read


@pytest.mark.parametrize("name", ["collect", "attribute", "crops", "embed", "cluster", "evaluate"])
def test_file_that_is_missing_or_damaged_is_named_with_the_command_that_makes_it(store, name):
    command = {"crops": "embed"}.get(name, name)
    store.path("collect").unlink()
    with pytest.raises(PureError, match=rf"has no {name}\.h5. Run `pure {command}` first"):
        read(store, name)
    store.path(name).write_bytes(b"no HDF5 at all")
    with pytest.raises(UnreadableFile, match=rf"{name}\.h5 .*`pure {command} --force`"):
        read(store, name)


def test_file_cut_short_anywhere_is_told(store):
    content, told = store.path("collect").read_bytes(), 0
    for length in {*range(0, len(content), 97), *range(len(content) - 40, len(content))}:
        store.path("collect").write_bytes(content[:length])
        try:
            assert value_of(store) == 1  # only checksums were lost, which HDF5 does without
            assert length > len(content) - 40
        except UnreadableFile as error:
            assert str(store.path("collect")) in str(error)
            told += 1
    assert told > len(content) // 97 - 2


def test_a_page_of_zeros_or_of_another_file_is_found(store, tmp_path):
    """As copies have them that broke off, and disks that lose a write; HDF5 itself takes zeros for whole."""
    with store.replace("collect") as file:
        for i in range(30):
            write_array(file, f"layers/{i}", np.arange(400) + i)
    content = store.path("collect").read_bytes()
    for start in range(0, len(content) - 4096, 4096):
        for page in (bytes(4096), b"\xff" * 4096, content[8192:12288]):
            spoilt = content[:start] + page + content[start + 4096 :]
            store.path("collect").write_bytes(spoilt)
            if spoilt == content:
                continue
            with pytest.raises(UnreadableFile, match=r"collect\.h5"), store.read("collect") as file:
                for i in range(30):
                    assert file[f"layers/{i}"][:].tolist() == (np.arange(400) + i).tolist()


def test_file_that_h5py_wrote_to_can_be_read(store):
    """The checksums of the blocks are gone then; those of HDF5 are left."""
    with h5py.File(store.path("collect"), "r+") as file:
        file["layers/layer3/value"][3, 3] = 7
        file["layers/layer3/more"] = np.zeros(10_000)
    assert read(store)[0][3, 3] == 7


def test_hdf5_of_another_program_or_a_newer_pure_is_told(store):
    with h5py.File(store.path("collect"), "r+") as file:
        file.attrs["schema"] = SCHEMA + 1
    with pytest.raises(UnreadableFile, match=rf"has schema {SCHEMA + 1}.*Update pure"):
        read(store)
    for schema in (None, "one", 1.5, [1, 2]):
        with h5py.File(store.path("collect"), "w") as file:
            if schema is not None:
                file.attrs["schema"] = schema
        with pytest.raises(UnreadableFile, match="not written by pure"):
            read(store)


def test_file_without_a_part_is_told(store):
    with h5py.File(store.path("collect"), "r+") as file:
        del file["images"]
    with pytest.raises(UnreadableFile, match=r"collect\.h5 is damaged"):
        read(store)


def test_errors_of_the_user_pass_through_a_reading_block(store):
    with pytest.raises(PureError, match="not this one"), store.read("collect"):
        raise PureError("not this one")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_may_not_be_read_or_written_is_told(store):
    store.path("collect").chmod(0)
    with pytest.raises(PureError, match="permission denied"):
        read(store)
    store.root.chmod(0o500)
    with pytest.raises(PureError, match="may not be written: permission denied"), store.lock("collect"):
        pass


def test_workspace_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for store in (Store(tmp_path / "file"), Store(tmp_path / "file" / "below")):
        with pytest.raises(PureError), store.lock("collect"):
            pass


# --- written with the old file at hand


def test_rewriting_goes_on_without_a_damaged_old_file_only_where_that_is_wanted(store):
    store.path("collect").write_bytes(store.path("collect").read_bytes()[:-50])
    before = store.path("collect").read_bytes()
    found = []

    def note(new, old):
        found.append(old is None)
        write_array(new, "value", np.ones(3))

    with pytest.raises(UnreadableFile):
        store.rewrite("collect", note)
    assert store.path("collect").read_bytes() == before
    assert found == []
    store.rewrite("collect", note, anew=True)
    assert found == [True]
    store.rewrite("collect", note)
    assert found == [True, False]


# --- the disk

FULL_DISK = """
import resource, sys
import numpy as np
from pure_cli.errors import PureFailure
from pure_cli.workspace import Store, empty_rows, write_array
from pure_cli.scratch import Scratch

store, complete, refused = Store(sys.argv[1]), 0, 0
before = store.path("collect").read_bytes()
for limit in [0, 1, 8, 100, 512, *range(1000, 90_000, 1997)]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with store.replace("attribute") as file:
            rows = empty_rows(file, "layers/a/relevance/b", (40, 10, 16), "float32")
            for i in range(40):
                rows[i] = i
            for i in range(20):
                write_array(file, f"layers/b/{i}", np.arange(10))
        complete += 1
        store.path("attribute").unlink()
    except PureFailure as error:
        assert "the disk is full" in str(error) and "attribute.h5" in str(error), error
        refused += 1
    assert sorted(path.name for path in store.root.iterdir()) == ["collect.h5"]
    assert store.path("collect").read_bytes() == before
assert complete and refused, (complete, refused)
arrays = {"values": ((100, 16), "float32")}
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
try:
    Scratch(store.root / "scratch", "key", arrays)
except PureFailure as error:
    assert "the disk is full" in str(error)
else:
    raise AssertionError
resource.setrlimit(resource.RLIMIT_FSIZE, (6500, resource.RLIM_INFINITY))
scratch = Scratch(store.root / "scratch", "key", arrays)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
try:  # the 79th row fits in part
    scratch.write("values", np.arange(79), np.ones((79, 16)))
except PureFailure:
    assert scratch.done == 0
else:
    raise AssertionError
print("as it should be")
"""


def test_full_disk_at_any_byte_is_told_and_hurts_nothing(store):
    """In a process of its own: HDF5 would bring it down at its end if it had noticed."""
    found = subprocess.run(
        [sys.executable, "-c", FULL_DISK, store.root], capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "as it should be\n", "")


@pytest.mark.slow
def test_commands_on_a_full_disk_fail_in_a_sentence_and_keep_what_was_there(tmp_path):
    lab = Lab(tmp_path, make_images(tmp_path / "images", 20))
    for command, options in (
        ("collect", []),
        ("attribute", []),
        ("cluster", []),
        ("render", ["--neurons", "0", "--crop", "none"]),
    ):
        before = {path: path.read_bytes() for path in lab.workspace.rglob("*.h5")}
        found = lab.run(command, *options, code=1, first=partial(limit_files, 3000))
        assert "the disk is full" in found.err
        assert found.err.splitlines()[-1].startswith("Error: ")
        assert {path: path.read_bytes() for path in lab.workspace.rglob("*.h5")} == before
        assert [name for name in lab.unfinished if name.endswith(".tmp")] == []
        if command != "render":
            lab.run(command)


# --- the lock


def test_lock_of_a_process_that_is_gone_is_no_obstacle(store):
    (store.root / ".lock").write_text("")
    (store.root / ".lock-owner").write_text("pure collect (process 1 on nowhere)\n")
    said = []
    with store.lock("attribute", said.append):
        assert f"process {os.getpid()} " in (store.root / ".lock-owner").read_text()
    assert said == []
    assert not (store.root / ".lock-owner").exists()


def test_lock_is_given_back_when_the_stage_fails(store):
    with pytest.raises(ValueError, match="in the middle"), store.lock("collect"):
        raise ValueError("in the middle")
    said = []
    with store.lock("collect", said.append):
        pass
    assert said == []


@pytest.mark.parametrize("owner", ["", "pure attribute (process 77 on node3)\n", None])
def test_who_has_to_wait_says_for_whom_once(store, owner):
    ready, release = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with store.lock("attribute"):
            if owner is None:
                (store.root / ".lock-owner").unlink()
            else:
                (store.root / ".lock-owner").write_text(owner)
            os.write(ready[1], b".")
            os.read(release[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    said = []

    def waiting(sentence):
        said.append(sentence)
        os.write(release[1], b".")

    with store.lock("cluster", waiting):
        pass
    assert os.waitpid(child, 0)[1] == 0
    assert said == [
        f"{(owner or '').strip() or 'another process'} is at work in {store.root}; waiting for it to finish."
    ]


@pytest.mark.slow
def test_two_processes_take_turns_and_lose_nothing(tmp_path):
    lab = Lab(tmp_path, make_images(tmp_path / "images", 20))
    lab.run("collect")
    twin = Lab(tmp_path / "twin", lab.images, lab.model)
    shutil.copytree(lab.workspace, twin.workspace)
    first = lab.start("attribute", "--neurons", "0-5", seconds=0.15)
    wait_until((lab.workspace / ".lock-owner").exists)
    second = lab.start("attribute", "--neurons", "6-11")
    told = lab.run("info").out  # a reader needs no lock
    assert "collect" in told
    assert first.poll() is None
    ended = first.end()
    assert ended.code == 0, ended.err
    assert "waiting" not in ended.err
    ended = second.end()
    assert ended.code == 0
    assert f"pure attribute (process {first.pid} on " in ended.err
    assert "waiting for it to finish" in ended.err
    twin.run("attribute", "--neurons", "0-5")
    twin.run("attribute", "--neurons", "6-11")
    assert lab.contents("attribute") == twin.contents("attribute")
    assert lab.unfinished == []


@pytest.mark.slow
def test_info_reads_the_old_file_while_the_new_one_is_written(tmp_path):
    lab = Lab(tmp_path, make_images(tmp_path / "images", 20))
    lab.run("collect")
    lab.run("attribute", "--neurons", "0-3")
    process = lab.start("attribute", "--neurons", "4-7", first=partial(stall, ".attribute.h5-"))
    wait_until(lambda: any(name.startswith(".attribute.h5-") for name in lab.unfinished))
    assert "4 neurons × 10 references" in lab.run("info").out
    process.send(signal.SIGKILL)
    process.end()


# --- unfinished work


ARRAYS = {"a": ((6, 3), "float32"), "b": ((4, 2), "int16")}


def test_scratch_keeps_what_was_finished(tmp_path):
    scratch = Scratch(tmp_path / "work", "one", ARRAYS)
    assert scratch.done == 0
    scratch.write("a", np.array([4, 1]), np.array([[1, 2, 3], [4, 5, 6]]))
    scratch.write("b", np.array([0]), np.array([[7, 8]]))
    scratch.finish_step()
    scratch.write("b", np.array([1]), np.array([[9, 9]]))  # of a step that is begun again
    scratch.close()
    again = Scratch(tmp_path / "work", "one", ARRAYS)
    assert again.done == 1
    expected = np.zeros((6, 3), np.float32)
    expected[4], expected[1] = [1, 2, 3], [4, 5, 6]
    np.testing.assert_array_equal(again.rows("a", 0, 6), expected)
    np.testing.assert_array_equal(again.rows("a", 4, 6), expected[4:])
    assert again.rows("b", 0, 1).tolist() == [[7, 8]]
    assert again.rows("b", 2, 2).shape == (0, 2)


def test_scratch_steps_are_kept_every_few_seconds_and_at_the_end(tmp_path, monkeypatch):
    def kept():
        journal = tmp_path / "work" / "done"
        return journal.stat().st_size if journal.exists() else 0

    scratch = Scratch(tmp_path / "work", "one", ARRAYS)
    for row in range(3):
        scratch.write("b", np.array([row]), np.array([[row, row]]))
        scratch.finish_step()
    assert (scratch.done, kept()) == (3, 0)
    assert scratch.rows("b", 0, 3)[:, 0].tolist() == [0, 1, 2]
    monkeypatch.setattr("pure_cli.scratch.SYNC_SECONDS", 0)
    scratch.finish_step()
    assert (scratch.done, kept()) == (4, 4)
    monkeypatch.undo()
    scratch.finish_step()
    scratch.close()
    assert kept() == 5


def test_scattered_rows_of_scratch_are_those_written(tmp_path):
    scratch = Scratch(tmp_path / "work", "one", {"a": ((50, 3), "float32")})
    rows = np.random.default_rng(0).permutation(50)[:40]
    scratch.write("a", rows, np.arange(120).reshape(40, 3))
    whole = np.zeros((50, 3))
    whole[rows] = np.arange(120).reshape(40, 3)
    for asked in (np.arange(50), rows, np.array([3]), np.array([7, 7, 8, 2]), np.zeros(0, int)):
        np.testing.assert_array_equal(scratch.rows_at("a", asked), whole[asked])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "key").write_text("two"),
        lambda folder: (folder / "key").unlink(),
        lambda folder: (folder / "a").unlink(),
        lambda folder: (folder / "a").write_bytes(b"short"),
        lambda folder: shutil.rmtree(folder),
    ],
)
def test_scratch_of_other_work_or_not_whole_is_begun_anew(tmp_path, spoil):
    scratch = Scratch(tmp_path / "work", "one", ARRAYS)
    scratch.write("a", np.arange(6), np.ones((6, 3)))
    scratch.finish_step()
    scratch.close()
    spoil(tmp_path / "work")
    again = Scratch(tmp_path / "work", "one", ARRAYS)
    assert again.done == 0
    assert not again.rows("a", 0, 6).any()


@pytest.mark.parametrize("name", ["a", "b", "sums"])
def test_scratch_that_the_disk_changed_is_begun_anew_or_told(tmp_path, name):
    """Any byte of it: found when the work is taken up again, and when it is read."""
    scratch = Scratch(tmp_path / "work", "one", ARRAYS)
    scratch.write("a", np.arange(1, 6), np.arange(15).reshape(5, 3))
    scratch.write("b", np.arange(3), np.ones((3, 2)))
    scratch.finish_step()
    scratch.close()
    file = tmp_path / "work" / name
    whole = file.read_bytes()
    for place in range(len(whole)):
        shutil.copytree(tmp_path / "work", tmp_path / "copy")
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << place % 8
        (tmp_path / "copy" / name).write_bytes(spoilt)
        again = Scratch(tmp_path / "copy", "one", ARRAYS)
        if again.done:  # a row that no step has written, which nobody reads before one has
            with pytest.raises(PureFailure, match=r"changed the unfinished work.*Run the command again"):
                again.rows("a", 0, 6), again.rows("b", 0, 4)
            again.close()
            assert Scratch(tmp_path / "copy", "one", ARRAYS).done == 0
        shutil.rmtree(tmp_path / "copy")
    scratch = Scratch(tmp_path / "work", "one", ARRAYS)
    (tmp_path / "work" / "a").write_bytes(bytes(72))
    with pytest.raises(PureFailure, match="changed the unfinished work"):
        scratch.rows("a", 0, 6)


def test_partial_folders_come_and_go(store):
    folder = store.partial("attribute-1")
    store.partial("attribute-2")
    (folder / "file").write_text("")
    assert [path.name for path in store.partials("attribute-")] == ["attribute-1", "attribute-2"]
    store.drop_partial("attribute-1")
    assert (store.root / ".partial").exists()
    store.drop_partial("attribute-2")
    assert not (store.root / ".partial").exists()
    assert store.partials("attribute-") == []


def test_empty_rows_are_filled_one_by_one(store):
    with store.replace("collect") as file:
        rows = empty_rows(file, "rows", (3, 2, 4), "float32")
        for i in range(3):
            rows[i] = i
    with store.read("collect") as file:
        assert file["rows"][:].tolist() == [[[float(i)] * 4] * 2 for i in range(3)]


def test_package_opens_hdf5_in_one_place_only():
    root = Path(__file__).parents[1] / "pure_cli"
    opening = [path.name for path in root.rglob("*.py") if "h5py.File(" in textwrap.dedent(path.read_text())]
    assert opening == ["workspace.py"]


# --- what a workspace cannot be


def test_workspace_that_is_not_there_or_no_folder_is_told_before_a_read(tmp_path):
    with pytest.raises(PureError, match=r"There is no workspace .*nowhere\. Run `pure collect` first"):
        Store(tmp_path / "nowhere").require("collect")
    (tmp_path / "file").write_text("")
    with pytest.raises(PureError, match=r"The workspace .*file is a file\. Choose a folder"):
        Store(tmp_path / "file").require("collect")


def test_file_of_an_older_pure_is_to_be_made_again(store):
    with h5py.File(store.path("collect"), "r+") as file:
        file.attrs["schema"] = SCHEMA - 1
    with pytest.raises(UnreadableFile, match=rf"older pure \(schema {SCHEMA - 1}\).*`pure collect --force` and its"):
        read(store)


def test_file_that_refers_to_others_is_not_followed(store, tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["text"] = np.arange(3)
    with h5py.File(store.path("collect"), "r+") as file:
        file["more/elsewhere"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/text")
    with pytest.raises(UnreadableFile, match=r"refers to other places \('/more/elsewhere'\)"):
        read(store)


def test_a_file_without_an_old_one_is_written_from_nothing(store):
    found = []
    store.rewrite("cluster", lambda new, old: (found.append(old), write_array(new, "value", np.ones(3)))[0])
    store.rewrite("cluster", lambda new, old: (found.append(old["value"][0]), write_array(new, "value", np.ones(3)))[0])
    assert found == [None, 1]


def refused(error):
    def call(*arguments, **settings):
        raise error

    return call


def test_what_the_system_refuses_is_told(store, tmp_path, monkeypatch):
    """As root the tests may read and write everything: here the system calls say that they may not."""
    with monkeypatch.context() as system:
        system.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(PureError, match=rf"{store.root} may not be written: permission denied"):
            store.prepare()
    with monkeypatch.context() as system:
        system.setattr("pure_cli.workspace.Input", refused(PermissionError(13, "Permission denied")))
        with pytest.raises(PureError, match=r"collect\.h5 may not be read: permission denied"):
            read(store)
    with monkeypatch.context() as system:
        system.setattr(Path, "mkdir", refused(OSError(28, "No space left on device")))
        with pytest.raises(PureError, match=r"new cannot be made: No space left on device\."):
            Store(tmp_path / "new").prepare()
    with monkeypatch.context() as system:
        system.setattr("pure_cli.workspace.FileLock.acquire", refused(OSError(5, "Input/output error")))
        with pytest.raises(PureError, match="cannot be locked: Input/output error"), store.lock("collect"):
            pass
    assert value_of(store) == 1


def test_a_disk_without_locks_is_worked_on_with_a_note(store, monkeypatch):
    monkeypatch.setattr("pure_cli.workspace.can_lock", lambda path: False)
    said = []
    with store.lock("collect", said.append):
        write(store, 2)
    assert value_of(store) == 2
    assert len(said) == 1 and said[0].startswith(f"The disk of {store.root} has no file locks.")


def test_a_file_is_checked_from_its_beginning_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace, "READ_AT_ONCE", 10_000)
    store = Store(tmp_path)
    with store.replace("cluster") as file:
        write_array(file, "values", np.arange(100_000))
    store.check("cluster")
    whole = store.path("cluster").read_bytes()
    for place in range(100_000, len(whole) - 30_000, 150_000):
        store.path("cluster").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UnreadableFile, match=r"cluster\.h5 is .*pure cluster --force"):
            store.check("cluster")


def test_an_array_that_grows_holds_all_that_was_appended(tmp_path):
    store, random = Store(tmp_path), np.random.default_rng(0)
    parts = [random.integers(0, 1 << 30, count) for count in (0, 1, 3000, 1024, 5)]
    with store.replace("cluster") as file:
        append = grow_array(file, "deep/values", "i8")
        for part in parts:
            append(part)
    with store.read("cluster") as file:
        assert file["deep/values"][:].tolist() == np.concatenate(parts).tolist()
        assert file["deep/values"].fletcher32


def test_a_pipe_in_the_place_of_the_lock_is_told(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(PureError, match=r"\.lock is no file.*Remove it"), Store(tmp_path).lock("cluster"):
        pass


def test_a_workspace_below_a_file_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PureError, match=r"No workspace can lie in .*file, which is a file"):
        Store(tmp_path / "file" / "a" / "b").prepare()
