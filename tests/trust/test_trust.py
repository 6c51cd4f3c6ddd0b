"""What is done to the store for real, in processes forked off one of their own; more of it with the command lines."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
JOBS = {"collect", "collect-more", "attribute", "embed", "cluster", "evaluate", "directions", "render"}


def told(script: str, *options: object) -> dict:
    """What one of the scripts beside this file found."""
    words = [sys.executable, Path(__file__).with_name(script), *map(str, options)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["faults"] == []
    return found


@pytest.mark.parametrize(("kills", "more"), [(24, ()), (16, ("--term",))])
def test_stages_killed_anywhere_keep_whole_results_and_come_to_the_same_bytes(kills, more):
    found = told("kills.py", "--kills", kills, "--seed", 7, *more)
    assert found["kills"] >= kills
    assert set(found["by_job"]) == JOBS
    assert found["slowest_stop"] < 5


def test_damaged_files_are_named_or_right():
    found = told("damage.py", "--cases", 500, "--runs", 12, "--seed", 7)
    assert found["cases"] == 500


def test_stages_on_disks_that_do_not_take_their_results_say_so_and_do_no_harm():
    found = told("disks.py", "--quick")
    assert found["stages"]["files of 300 bytes"] == 7
