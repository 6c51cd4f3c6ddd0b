"""Kill commands at random moments and see what is left: python tests/trust/kills.py --kills 200 [--seed 0]

A moment is a time, or a step of work on the disk: the n-th time that something is written, renamed, or removed. After
each kill the workspace has to open and to hold whole results alone, and the command again has to come to the same
bytes as one that nobody killed, without a leftover. With --term, processes are asked to stop (SIGTERM) instead, which
they have to do in time, with exit code 143.
"""

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from world import Ended, Job, World, left_over, results

JOBS = ("collect", "collect-more", "attribute", "embed", "cluster", "evaluate", "directions", "render")
CHAINED = 0.3  # of the kills hit the process that goes on after a kill
STOP_SECONDS = 5.0
ON_DISK = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")  # of Python's audit events


class Steps:
    """Counts the steps of work on the disk of a workspace, and sends a signal to its own process at one of them."""

    def __init__(self, workspace: Path, at: int | None, number: int, told: Path | None = None):
        self.workspace, self.at, self.number, self.told, self.count = str(workspace), at, number, told, 0

    def __call__(self) -> None:
        """In the process that is to be killed."""
        import sys

        import pure_cli.checksums
        import pure_cli.scratch

        def counted(function):
            def step(*args, **options):
                self.step()
                return function(*args, **options)

            return step

        os.pwrite = counted(os.pwrite)
        os.fsync = counted(os.fsync)
        pure_cli.scratch._sync = os.fsync
        pure_cli.checksums.Output.write = counted(pure_cli.checksums.Output.write)
        sys.addaudithook(self.hook)

    def hook(self, event: str, args: tuple) -> None:
        if event in ON_DISK and str(args[0]).startswith(self.workspace):
            self.step()

    def step(self) -> None:
        self.count += 1
        if self.told is not None:
            fd = os.open(self.told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(fd, b".")
            os.close(fd)
        if self.count == self.at:
            os.kill(os.getpid(), self.number)


class Undisturbed:
    """What comes of each job that nobody kills.

    Attributes
    ----------
    results : by job, to the byte
    seconds, steps : that each job takes, in time and on the disk
    """

    def __init__(self, world: World):
        self.world = world
        self.seconds: dict[str, float] = {}
        self.steps: dict[str, int] = {}
        world.make(*JOBS)
        self.results: dict[str | None, dict] = {name: results(world.after(name)) for name in (*JOBS, "some")}
        self.results[None] = {}
        log, workspace = world.folder / "steps", world.folder / "counted" / "workspace"
        for name in JOBS:
            log.unlink(missing_ok=True)
            world.restore(world.jobs[name].base, workspace)
            ended = world.run(world.jobs[name], workspace, first=Steps(workspace, None, 0, log))
            self.seconds[name], self.steps[name] = ended.seconds, log.stat().st_size


@dataclass
class Trial:
    """Kills of one seed in one world.

    Attributes
    ----------
    kills : by job
    finished : processes that came to their end first
    faults : what should not have been
    """

    undisturbed: Undisturbed
    seed: int
    number: int = signal.SIGKILL
    kills: Counter = field(default_factory=Counter)
    finished: int = 0
    faults: list[str] = field(default_factory=list)
    slowest_stop: float = 0.0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.world = self.undisturbed.world
        self.workspace = self.world.folder / "killed" / "workspace"

    def run(self, kills: int) -> None:
        turn = 0
        while self.kills.total() < kills or set(self.kills) != set(JOBS):  # each job at least once
            self.one(self.world.jobs[JOBS[turn % len(JOBS)]])
            turn += 1

    def one(self, job: Job) -> None:
        """Kill a job, perhaps more than once, and let it come to its end."""
        self.world.restore(job.base, self.workspace)
        while True:
            moment, ended = self.kill(job)
            where = f"{job.name}, seed {self.seed}, {moment}"
            if ended.code == 0:
                self.finished += 1
                break
            self.kills[job.name] += 1
            self.expect(self.number == signal.SIGKILL or ended.code == 143, f"{where}: exit {ended.code}: {ended.err}")
            self.expect("Traceback" not in ended.err, f"{where}: {ended.err}")
            self.look(job, where)
            if self.random.random() > CHAINED:
                break
        again = self.world.run(job, self.workspace)
        self.expect(again.code == 0, f"{where}: the command again: {again.err}")
        self.expect(results(self.workspace) == self.undisturbed.results[job.name], f"{where}: not the same bytes")
        self.expect(not left_over(self.workspace), f"{where}: left over: {left_over(self.workspace)}")

    def kill(self, job: Job) -> tuple[str, Ended]:
        """A process killed at a random moment, which may be after its end."""
        if self.random.random() < 0.5:
            at = self.random.randint(1, self.undisturbed.steps[job.name])
            return f"step {at}", self.world.run(job, self.workspace, first=Steps(self.workspace, at, self.number))
        seconds = self.random.uniform(0, self.undisturbed.seconds[job.name])
        running = self.world.start(job.words, self.workspace, first=_default_signals)
        time.sleep(seconds)
        running.send(self.number)
        sent = time.monotonic()
        ended = running.end()
        self.slowest_stop = max(self.slowest_stop, time.monotonic() - sent)
        self.expect(time.monotonic() - sent < STOP_SECONDS, f"{job.name}: did not stop in time")
        if ended.code == -signal.SIGTERM:  # before there was a command: what a shell calls 143
            ended.code = 143
        return f"{seconds:.3f} s", ended

    def look(self, job: Job, where: str) -> None:
        """A killed process left what there was before, or its results as a whole."""
        told = self.world.run(Job("info", ["info", "--json"]), self.workspace)
        if (self.workspace / "collect.h5").exists() or job.base:
            self.expect(told.code == 0, f"{where}: info: {told.err}")
            self.expect(told.code == 0 and not json.loads(told.out)["problems"], f"{where}: {told.out}")
        before, after = self.undisturbed.results[job.base], self.undisturbed.results[job.name]
        for name, found in results(self.workspace).items():
            if name.endswith(".h5"):
                self.expect(found in (before.get(name), after.get(name)), f"{where}: {name} is half of something")

    def expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


def _default_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--term", action="store_true", help="SIGTERM in place of SIGKILL")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        number = signal.SIGTERM if options.term else signal.SIGKILL
        began = time.monotonic()
        trial = Trial(Undisturbed(World(Path(folder))), options.seed, number)
        trial.run(options.kills)
        found = {
            "kills": sum(trial.kills.values()),
            "by_job": dict(trial.kills),
            "ended_before": trial.finished,
            "faults": trial.faults,
            "slowest_stop": round(trial.slowest_stop, 2),
            "seconds": round(time.monotonic() - began, 1),
        }
    print(json.dumps(found, indent=1))
    raise SystemExit(bool(trial.faults))


if __name__ == "__main__":
    main()
