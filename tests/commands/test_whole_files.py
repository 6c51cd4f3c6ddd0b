"""What lies in a workspace is looked at as a whole: damage that no stage would read is told, and made good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pure_cli.errors import UnreadableFile
from pure_cli.stages import info as info_stage
from pure_cli.workspace import Store

FULL = Path("/dev/full")


def invert(path, start, stop):
    content = bytearray(path.read_bytes())
    content[start:stop] = bytes(255 - byte for byte in content[start:stop])
    path.write_bytes(content)


def stale(study, *options):
    return {r["stage"]: r["stale"] for r in study.pure("info", "--json", *options).json["results"]}


@pytest.mark.parametrize("stage", ["attribute", "cluster"])
def test_info_names_a_file_of_which_any_part_is_damaged(finished, stage):
    size = finished.file(stage).stat().st_size
    invert(finished.file(stage), size // 2, size * 3 // 4)
    told = finished.pure("info")
    assert told.code == 0
    assert f"{stage}.h5 is" in told.err and f"Make it again with `pure {stage} --force`" in told.err
    assert stale(finished).get(stage, "nothing can be read") is not None
    assert finished.pure(stage, "--force").code == 0
    assert stale(finished)[stage] is None


def test_info_names_a_file_that_it_lists_nothing_of(finished):
    assert finished.pure("embed", "--embedder", "pixels", "--crop", "activation", "--workers", 0).code == 0
    assert finished.pure("info").err == ""
    crops = finished.file("crops")
    crops.write_bytes(crops.read_bytes()[: crops.stat().st_size // 2])
    assert "crops.h5 is no readable HDF5 file" in finished.pure("info").err


def test_large_files_are_read_as_a_whole_when_it_is_asked_for(finished, monkeypatch):
    monkeypatch.setattr(info_stage, "CHECKED", 1000)
    size = finished.file("attribute").stat().st_size
    invert(finished.file("attribute"), size // 2, size * 3 // 4)
    told = finished.pure("info")
    assert "not read as a whole; --verify does" in told.out
    told = finished.pure("info", "--verify")
    assert "attribute.h5 is" in told.err and "--verify does" not in told.out


def test_results_in_a_file_that_is_damaged_elsewhere_are_not_called_up_to_date(finished, monkeypatch):
    def check(store, name):
        if name == "attribute":
            raise UnreadableFile("attribute.h5 is damaged (a block does not fit its checksum). Make it again.")

    monkeypatch.setattr(Store, "check", check)
    assert stale(finished)["attribute"] == "attribute.h5 is damaged"
    assert stale(finished)["cluster"] is None  # made of what was whole then


def test_tables_and_figures_that_changed_are_written_anew(finished):
    measure = ("evaluate", "--metric", "stability")
    assert finished.pure(*measure).code == 0
    folder = finished.workspace / "evaluate"
    before = {path: path.read_bytes() for path in folder.rglob("*.csv")}
    assert before
    for path in folder.rglob("*.*"):
        path.write_bytes(b"9" + path.read_bytes()[1:50])
    assert finished.pure(*measure).code == 0
    assert {path: path.read_bytes() for path in folder.rglob("*.csv")} == before
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in folder.rglob("*.png"))


def test_a_drawn_figure_that_was_cut_short_is_drawn_again(finished):
    (figure,) = (finished.workspace / "figures").rglob("*.png")
    whole = figure.read_bytes()
    assert "up to date" in finished.pure("render", "--neurons", 0).out
    figure.write_bytes(whole[:100])
    assert finished.pure("render", "--neurons", 0).code == 0
    assert figure.read_bytes() == whole


def test_pipes_in_the_place_of_files_keep_no_one_waiting(finished, refused):
    finished.file("cluster").unlink()
    os.mkfifo(finished.file("cluster"))
    assert finished.pure("info").code == 0
    refused(finished.pure("render"), "no virtual neurons", "pure cluster")
    (finished.workspace / ".lock").unlink(missing_ok=True)
    os.mkfifo(finished.workspace / ".lock")
    refused(finished.pure("cluster"), ".lock is no file", "Remove it")


def test_a_workspace_below_a_file_names_the_file(study, refused):
    refused(study.run("collect", *study.inputs, "-w", study.weights / "sub"), f"{study.weights}, which is a file")


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
def test_output_that_nobody_takes_is_told_in_a_sentence(finished):
    pure = [sys.executable, "-m", "pure_cli"]
    info = [*pure, "info", "-w", str(finished.workspace)]
    with FULL.open("w") as full:
        ended = subprocess.run(info, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert "cannot be written: no space left on device" in ended.stderr and "Traceback" not in ended.stderr
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *info, "--json"], stderr=subprocess.PIPE, text=True)
    assert (closed.returncode, closed.stderr) == (0, "")
