"""What is done to the store for real, in processes forked off one of their own; more of it with the command lines."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from damage import Damage
from disks import Disks
from kills import JOBS, Trial, Undisturbed
from parts import PartTrial
from world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """What comes of all stages, made once, in a folder that other users can be let into."""
    with tempfile.TemporaryDirectory() as folder:
        yield World(Path(folder))


@pytest.fixture(scope="module")
def undisturbed(world) -> Undisturbed:
    return Undisturbed(world)


@pytest.mark.parametrize(("kills", "number"), [(24, signal.SIGKILL), (16, signal.SIGTERM)])
def test_stages_killed_anywhere_keep_whole_results_and_come_to_the_same_bytes(undisturbed, kills, number):
    trial = Trial(undisturbed, 7, number)
    trial.run(kills)
    assert trial.faults == []
    assert trial.kills.total() >= kills
    assert set(trial.kills) == set(JOBS)
    assert trial.slowest_stop < 5


def test_parts_and_merges_killed_anywhere_come_to_the_bytes_of_one_process(undisturbed):
    trial = PartTrial(undisturbed, 7)
    trial.run(10)
    assert trial.faults == []


def test_damaged_files_are_named_or_right(world):
    damage = Damage(world, 7)
    damage.run(500, 12)
    assert damage.faults == []
    assert damage.told.total() + damage.right.total() == 500


def test_stages_on_disks_that_do_not_take_their_results_say_so_and_do_no_harm(world):
    disks = Disks(world)
    disks.run(quick=True)
    assert disks.faults == []
    assert disks.told["files of 300 bytes"] == 7
