"""Stages on disks that are full, read-only, forbidden or slow: python tests/trust/disks.py

A stage that cannot write says so in one line with exit code 1 or 2, leaves what was there as it was and no temporary
file, and comes to its end when the disk is mended.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from processes import limit_files
from world import Ended, Job, World, left_over, results

JOBS = ("collect", "directions", "attribute", "embed", "cluster", "evaluate", "render")
NOBODY = 65534
FULL = (300, 1000)  # bytes that a file may have
QUICK = ("collect", "attribute", "render")  # with --quick, the stages that meet every kind of disk
SPARE = 4  # KiB left on a small disk
SLOW = 0.2  # seconds that each fsync takes


@dataclass
class Disks:
    """All stages on one kind of disk after the other.

    Attributes
    ----------
    told : by kind of disk, stages that were refused well, or came to their end where they should
    skipped : kinds of disks that cannot be had here, with the reason
    """

    world: World
    told: Counter = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.make(*JOBS)
        self.workspace = self.world.folder / "disk" / "workspace"

    def run(self, quick: bool) -> None:
        for name in JOBS:
            job = self.world.jobs[name]
            for limit in FULL[:1] if quick else FULL:
                self.fresh(job)
                ended = self.world.run(job, self.workspace, first=partial(limit_files, limit))
                self.refused(job, ended, f"files of {limit} bytes", "the disk is full", code=1, again=not quick)
            if quick and name not in QUICK:
                continue
            self.small(job)
            self.forbidden(job)
            self.read_only(job)
            self.a_file(job)
            self.slow(job)

    def fresh(self, job: Job) -> None:
        self.world.restore(job.base, self.workspace)

    def small(self, job: Job) -> None:
        """A disk with room for almost nothing more than what is there."""
        self.fresh(job)
        if job.base is None:
            self.workspace.mkdir()
        size = sum(-(-path.stat().st_size // 4096) + 1 for path in self.world.after(str(job.base)).rglob("*")) * 4
        with self.mounted(size + 16 + SPARE) as there:
            if not there:
                return
            if job.base:
                shutil.copytree(self.world.after(job.base), self.workspace, dirs_exist_ok=True)
            filler = self.workspace / "filler"
            with filler.open("wb") as file:
                try:
                    while True:
                        os.write(file.fileno(), bytes(4096))
                except OSError:
                    pass
            os.truncate(filler, max(0, filler.stat().st_size - SPARE * 1024))
            ended = self.world.run(job, self.workspace)
            self.refused(job, ended, "a full disk", "the disk is full", code=1, again=False)
            filler.unlink()

    def forbidden(self, job: Job) -> None:
        """A workspace of somebody else, and a file in it that only he may read."""
        if os.geteuid():
            self.skip("a workspace of somebody else: only root can run as another user")
            return
        self.fresh(job)
        self.workspace.mkdir(exist_ok=True)
        self.world.folder.chmod(0o755)
        ended = self.world.run(job, self.workspace, user=NOBODY)
        self.refused(job, ended, "no permission to write", "permission denied", code=2, again=False)
        self.workspace.chmod(0o777)
        if job.base:
            (self.workspace / ".lock").unlink(missing_ok=True)
            for path in self.workspace.glob("*.h5"):
                path.chmod(0)
            ended = self.world.run(job, self.workspace, user=NOBODY)
            self.refused(job, ended, "no permission to read", "permission denied", code=2)

    def read_only(self, job: Job) -> None:
        self.fresh(job)
        self.workspace.mkdir(exist_ok=True)
        with self.mounted(4096) as there:
            if not there:
                return
            if job.base:
                shutil.copytree(self.world.after(job.base), self.workspace, dirs_exist_ok=True)
            subprocess.run(["mount", "-o", "remount,ro", str(self.workspace)], check=True)
            told = self.world.run(Job("info", ["info"]), self.workspace)
            self.expect(told.code == 0, f"info on a read-only disk: {told.err}")
            ended = self.world.run(job, self.workspace)
            self.refused(job, ended, "a read-only disk", str(self.workspace), code=2, again=False)

    def a_file(self, job: Job) -> None:
        shutil.rmtree(self.workspace, ignore_errors=True)
        self.workspace.write_text("something else")
        ended = self.world.run(job, self.workspace)
        self.one_line(job, ended, "a workspace that is a file", "is a file", 2)
        self.expect(self.workspace.read_text() == "something else", "a file was written over")
        self.workspace.unlink()

    def slow(self, job: Job) -> None:
        self.fresh(job)
        ended = self.world.run(job, self.workspace, first=_slow)
        same = results(self.workspace) == results(self.world.after(job.name))
        self.expect(ended.code == 0 and same, f"{job.name} on a slow disk: {ended.err}")
        self.told["a slow disk"] += 1

    def refused(self, job: Job, ended: Ended, disk: str, words: str, code: int, again: bool = True) -> None:
        """A stage said why it cannot, did no harm, and can when it is asked again."""
        self.one_line(job, ended, disk, words, code)
        before = results(self.world.after(job.base)) if job.base else {}
        held = {name: value for name, value in results(self.workspace).items() if name.endswith(".h5")}
        old = {name: value for name, value in before.items() if name.endswith(".h5")}
        self.expect(held == old, f"{job.name} on {disk}: what was there changed")
        left = [name for name in left_over(self.workspace) if name.endswith(".tmp")]
        self.expect(not left, f"{job.name} on {disk}: left over: {left}")
        if again:
            ended = self.world.run(job, self.workspace)
            same = results(self.workspace) == results(self.world.after(job.name))
            self.expect(ended.code == 0 and same, f"{job.name} after {disk}: {ended.err}")

    def one_line(self, job: Job, ended: Ended, disk: str, words: str, code: int) -> None:
        *progress, error = ended.err.splitlines() or [""]  # a slow machine is told what it waits for
        good = ended.code == code and error.startswith("Error: ") and words in error
        good = good and all(line.startswith(f"{job.stage}: ") for line in progress)
        good = good and "in a way that it should not" not in error
        self.expect(good, f"{job.name} on {disk}: exit {ended.code}: {ended.err}")
        self.told[disk] += 1

    @contextmanager
    def mounted(self, kib: int) -> Iterator[bool]:
        """A small disk of its own in place of the workspace, where one can be had."""
        options = f"size={kib}k,mode=777"
        try:
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.workspace)]
            done = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            done = False
        if not done:
            self.skip("a small or read-only disk: nothing can be mounted here")
        try:
            yield done
        finally:
            if done:
                subprocess.run(["umount", str(self.workspace)], check=True)

    def expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)

    def skip(self, reason: str) -> None:
        if reason not in self.skipped:
            self.skipped.append(reason)


def _slow() -> None:
    import pure_cli.scratch

    whole = os.fsync

    def fsync(handle: int) -> None:
        time.sleep(SLOW)
        whole(handle)

    os.fsync = pure_cli.scratch._sync = fsync


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some stages meet full disks only")
    options = parser.parse_args()
    folder, began = Path(tempfile.mkdtemp()), time.monotonic()
    try:
        disks = Disks(World(folder))
        disks.run(options.quick)
    finally:
        shutil.rmtree(folder)
    found = {"stages": dict(disks.told), "skipped": disks.skipped, "faults": disks.faults}
    print(json.dumps({**found, "seconds": round(time.monotonic() - began, 1)}, indent=1))
    raise SystemExit(bool(disks.faults))


if __name__ == "__main__":
    main()
