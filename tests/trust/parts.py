"""Kill parts and merges at random moments and see what is left: python tests/trust/parts.py --kills 200 [--seed 0]

Each trial cuts a pass of collect, or the relevances of all neurons, into some parts, and runs them in any order, two at
a time, some of them twice. A process is killed at a random step of work on the disk, or at a random time; so are
merges, which begin when they like. In the end all parts are run again until they are there, and merged: that has to
give the bytes of one process, with nothing left over.
"""

import argparse
import json
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kills import Steps, Undisturbed
from world import World, left_over, results

JOBS = ("collect", "attribute")
TRIES = 12  # of a process that is killed again and again, before it may come to its end
HALF = 0.5  # of all processes are killed
AT_ONCE = 2


@dataclass
class PartTrial:
    """Kills of one seed in one world.

    Attributes
    ----------
    kills : of parts and of merges, by job
    finished : processes that came to their end
    faults : what should not have been
    """

    undisturbed: Undisturbed
    seed: int
    kills: Counter = field(default_factory=Counter)
    finished: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random, self.world = random.Random(self.seed), self.undisturbed.world
        self.workspace = self.world.folder / "parts" / "workspace"

    def run(self, kills: int) -> None:
        turn = 0
        while self.kills.total() < kills:
            self.one(JOBS[turn % len(JOBS)])
            turn += 1

    def one(self, name: str) -> None:
        """One trial."""
        job = self.world.jobs[name]
        self.world.restore(job.base, self.workspace)
        count = self.random.randint(2, 5)
        parts = [f"{number}/{count}" for number in range(1, count + 1)]
        waiting = [*parts, *self.random.choices(parts, k=2)]
        self.random.shuffle(waiting)
        while waiting:
            several = [waiting.pop() for _ in range(min(AT_ONCE, len(waiting)))]
            started = [(part, self.start([*job.words, "--part", part], name)) for part in several]
            if self.random.random() < HALF / 2:  # a merge that comes too early, or just in time
                started.append(("", self.start(["merge"], name)))
            for part, running in started:
                ended = running.end()
                self.note(name, part, ended)
                if part and ended.code < 0 and self.random.random() < HALF:
                    waiting.append(part)
        for words in [*([*job.words, "--part", part] for part in parts), ["merge"]]:
            ended = self.world.start(words, self.workspace).end()
            where = f"{name}, seed {self.seed}, {words[-1]}"
            self.expect(ended.code == 0, f"{where}: exit {ended.code}: {ended.err}")
        same = results(self.workspace) == self.undisturbed.results[name]
        self.expect(same, f"{name}, seed {self.seed}: not the bytes of one process")
        self.expect(not left_over(self.workspace), f"left over: {left_over(self.workspace)}")
        left = [path.relative_to(self.workspace).as_posix() for path in (self.workspace / "parts").rglob("*")]
        self.expect(not left, f"{name}, seed {self.seed}: left over: {left}")

    def start(self, words: list[object], name: str):
        """A process that is perhaps killed."""
        if self.random.random() > HALF:
            return self.world.start(words, self.workspace)
        steps = max(2, self.undisturbed.steps[name] // 2)
        return self.world.start(
            words, self.workspace, first=Steps(self.workspace, self.random.randint(1, steps), signal.SIGKILL)
        )

    def note(self, name: str, part: str, ended) -> None:
        if ended.code == -signal.SIGKILL:
            self.kills[f"{name} {'part' if part else 'merge'}"] += 1
            return
        self.finished += 1
        early = not part and ended.code == 2 and ("missing" in ended.err or "no parts" in ended.err)
        self.expect(ended.code == 0 or early, f"{name} {part or 'merge'}: exit {ended.code}: {ended.err}")

    def expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        trial = PartTrial(Undisturbed(World(Path(folder))), options.seed)
        trial.run(options.kills)
        found = {
            "kills": trial.kills.total(),
            "by_job": dict(trial.kills),
            "ended": trial.finished,
            "faults": trial.faults,
            "seconds": round(time.monotonic() - began, 1),
        }
    print(json.dumps(found, indent=1))
    raise SystemExit(bool(trial.faults))


if __name__ == "__main__":
    main()
