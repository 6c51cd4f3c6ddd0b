"""The command line in processes of its own, which can be killed at a chosen moment, and what files hold to the byte."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
from materials import TINY_MODEL

PATIENCE = 120.0  # seconds that anything awaited here may take

SLOW_MODEL = (
    TINY_MODEL
    + """

class Slow(Tiny):
    def forward(self, x):
        import os, time
        if "FORWARDS" in os.environ:
            with open(os.environ["FORWARDS"], "a") as log:
                log.write(f"{len(x.unique(dim=0))}\\n")
        time.sleep(float(os.environ.get("SECONDS", 0)) * (len(x.unique(dim=0)) > 1))
        return super().forward(x)


def slow():
    model = tiny()
    model.__class__ = Slow
    return model
"""
)

# imported by Python when it starts: lets a process stand still before a file of some name is on the disk
STANDSTILL = """
import os, time

if "STALL" in os.environ:
    fsync = os.fsync

    def stalling(handle):
        if os.environ["STALL"] in os.readlink(f"/proc/self/fd/{handle}"):
            time.sleep(600)
        fsync(handle)

    os.fsync = stalling
"""


@dataclass
class Lab:
    """A model that can be slow, images, and a workspace.

    Parameters
    ----------
    folder : for all of it but the images
    images : two of them to a batch
    model : its file, where it is not the lab's own: results name it
    """

    folder: Path
    images: Path
    model: Path = Path()
    workspace: Path = field(init=False)

    def __post_init__(self) -> None:
        self.workspace = self.folder / "workspace"
        (self.folder / "start").mkdir(parents=True, exist_ok=True)
        (self.folder / "start" / "sitecustomize.py").write_text(STANDSTILL)
        if self.model == Path():
            self.model = self.folder / "model.py"
            self.model.write_text(SLOW_MODEL)

    @property
    def log(self) -> Path:
        return self.folder / "forwards"

    def options(self, command: str) -> list[str]:
        few = ["--batch-size", "2", "--workers", "0"]
        return {
            "collect": ["--model", f"{self.model}:slow", "--data", str(self.images), "-n", "10", *few],
            "attribute": few,
        }.get(command, [])

    def start(self, command: str, *options: object, seconds: float = 0, stall: str = "") -> subprocess.Popen:
        """Begin a command.

        Parameters
        ----------
        seconds : that the model takes for every batch
        stall : the process stops for ever before a file with this in its name is on the disk
        """
        self.log.write_text("")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PURE_")},
            "PYTHONPATH": str(self.folder / "start"),
            "OMP_NUM_THREADS": "1",
            "FORWARDS": str(self.log),
            "SECONDS": str(seconds),
            **({"STALL": stall} if stall else {}),
        }
        words = [command, "-w", self.workspace, *self.options(command), *options]
        return subprocess.Popen(
            [sys.executable, "-m", "pure_cli", *map(str, words)],
            env=environment,
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *options: object, code: int = 0) -> subprocess.CompletedProcess:
        """A command to its end."""
        process = self.start(command, *options)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, err
        assert "Traceback" not in err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def kill(self, process: subprocess.Popen, when: Callable[[], bool]) -> None:
        """Kill -9 as soon as something has come about, which it must before the process ends by itself."""
        wait_until(lambda: when() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    @property
    def batches(self) -> int:
        """Batches that the model saw in the command begun last. One image, or copies of it, only show the layers, and
        the first two whether images see each other."""
        return max(0, self.log.read_text().split().count("2") - 1)

    @property
    def unfinished(self) -> list[str]:
        """What is left in the workspace of killed processes."""
        left = [path.name for path in self.workspace.rglob("*.tmp")]
        if (self.workspace / ".partial").exists():
            left += [".partial", *(path.name for path in (self.workspace / ".partial").iterdir())]
        return left

    def contents(self, name: str) -> dict:
        return contents(self.workspace / f"{name}.h5")

    def steps(self, stage: str) -> int:
        """Batches that the unfinished work of a stage has behind it, as its files say."""
        folder = self.workspace / ".partial"
        if stage == "collect":
            if not (folder / "collect" / "state.h5").exists():
                return 0
            with h5py.File(folder / "collect" / "state.h5") as file:
                return int(file.attrs["next_chunk"])
        journals = list(folder.glob(f"{stage}-*/done"))
        assert len(journals) <= 1
        return journals[0].stat().st_size if journals else 0


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def contents(path: Path) -> dict:
    """Every data set of a file and every attribute, to the byte."""
    found: dict = {}

    def note(name: str, node: h5py.HLObject) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = (str(node.dtype), node.shape, node[()].tobytes())
        for key, value in node.attrs.items():
            found[f"{name}@{key}"] = str(value)

    with h5py.File(path) as file:
        note("", file)
        file.visititems(note)
    return found
