"""Two processes on one workspace: what comes of it is what comes of one after the other."""

import errno
import fcntl
import os
import shutil
import socket

import pytest
from materials import make_images
from processes import Lab, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def collected(tmp_path_factory) -> Lab:
    folder = tmp_path_factory.mktemp("collected")
    lab = Lab(folder, make_images(folder / "images", 20))
    lab.run("collect")
    return lab


@pytest.fixture
def lab(tmp_path, collected) -> Lab:
    lab = Lab(tmp_path, collected.images, collected.model)
    shutil.copytree(collected.workspace, lab.workspace)
    return lab


def test_attributes_of_overlapping_neurons_compute_none_twice(lab, tmp_path):
    """And virtual neurons found meanwhile are those of what is there by then."""
    twin = Lab(tmp_path / "twin", lab.images, lab.model)
    shutil.copytree(lab.workspace, twin.workspace)
    lab.run("attribute", "--neurons", "0,1")
    first = lab.start("attribute", "--neurons", "0-6", "--json", seconds=0.1)
    wait_until((lab.workspace / ".lock-owner").exists)
    second = lab.start("attribute", "--neurons", "4-11", "--json")
    third = lab.start("cluster", "--neurons", "0,1")
    assert "2 neurons × 10 references" in lab.run("info").out  # reads what is there, and does not wait
    for process, computed in ((first, 5), (second, 5), (third, None)):
        ended = process.end()
        assert ended.code == 0, ended.err
        assert computed is None or f'"computed": {computed}' in ended.out
    for neurons in ("0,1", "0-6", "4-11"):
        twin.run("attribute", "--neurons", neurons)
    assert lab.contents("attribute") == twin.contents("attribute")
    twin.run("cluster", "--neurons", "0,1")
    lab.run("cluster", "--neurons", "0,1")
    assert lab.contents("cluster") == twin.contents("cluster")
    assert lab.unfinished == []


def test_lock_of_a_process_that_was_killed_here_or_elsewhere_is_no_obstacle(lab):
    process = lab.start("attribute", seconds=0.2)
    lab.kill(process, (lab.workspace / ".lock-owner").exists)
    assert socket.gethostname() in (lab.workspace / ".lock-owner").read_text()
    for host in (socket.gethostname(), "another-host"):
        (lab.workspace / ".lock-owner").write_text(f"pure attribute (process {process.pid} on {host})\n")
        assert "waiting" not in lab.run("attribute", "--neurons", "0,1").err
    assert not (lab.workspace / ".lock-owner").exists()


def test_disk_without_locks_is_told_and_worked_on(lab):
    """As some network disks are; a lock file that stays when its process is killed would be waited for for ever."""
    found = lab.run("attribute", "--neurons", "0", first=_without_locks)
    assert "has no file locks. Let no two commands work on it at the same time." in found.err
    assert found.err.count("Note: ") == 1
    assert "1 neurons × 10 references" in lab.run("info").out


def _without_locks():
    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    fcntl.flock = flock
