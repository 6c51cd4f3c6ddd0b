"""The command line in processes of its own, which can be killed at a chosen moment, and what files hold to the byte.

The processes start at once: a server that has imported what the commands import, and has run nothing, forks them off.
"""

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import PIL
from materials import TINY_MODEL

PACKAGE = Path(__file__).parents[1] / "pure_cli"
PATIENCE = 120.0  # seconds that anything awaited here may take
IMPORTED = (
    *("__main__", "torch", "torchvision", "sklearn.cluster", "scipy.stats", "umap", "matplotlib.backends.backend_agg"),
    *("zennit.composites", "pillow_heif", *(f"PIL.{plugin}" for plugin in PIL._plugins)),
    *(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in sorted(PACKAGE.rglob("[!_]*.py"))),
)
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([*IMPORTED])

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


@dataclass
class Ended:
    """A command that came to its end: exit code (minus the signal where one ended it), what it said, seconds."""

    code: int
    out: str
    err: str
    seconds: float


class Running:
    """A command at work.

    Parameters
    ----------
    words : of the command line, without "pure"
    logs : folder for what it says
    first : called in the new process before anything else
    user : id of the user that it runs as
    environment : variables that are set
    """

    def __init__(
        self,
        words: list[object],
        logs: Path,
        first: Callable[[], None] | None = None,
        user: int | None = None,
        environment: dict[str, str] | None = None,
    ):
        logs.mkdir(parents=True, exist_ok=True)
        self._out, self._err = logs / f"out-{time.monotonic_ns()}", logs / f"err-{time.monotonic_ns()}"
        self._began = time.monotonic()
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PURE_")}
        arguments = ([str(word) for word in words], self._out, self._err, first, user, variables | (environment or {}))
        self._process = FORKS.Process(target=_pure, args=arguments)
        self._process.start()
        self.pid = self._process.pid

    def send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        return self._process.exitcode

    def end(self) -> Ended:
        """Wait for its end; one that does not come is killed, and is no end."""
        self._process.join(max(0, self._began + PATIENCE - time.monotonic()))
        if self.poll() is None:
            self.send(signal.SIGKILL)
            raise AssertionError(f"no end after {PATIENCE:.0f} s: {self._err.read_text()}")
        out, err = (path.read_text() if path.exists() else "" for path in (self._out, self._err))
        return Ended(self.poll(), out, err, time.monotonic() - self._began)


def _pure(
    words: list[str], out: Path, err: Path, first: Callable | None, user: int | None, environment: dict[str, str]
) -> None:
    """In the new process: what `pure` does."""
    for handle, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(handle), "w", encoding="utf-8") for handle in (1, 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["pure", *words]
    import torch

    torch.set_num_threads(1)
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    if first is not None:
        first()
    from pure_cli.app import main

    main()


def stall(name: str) -> None:
    """Let the process stand still before a file with this in its name is on the disk."""
    fsync = os.fsync

    def stalling(handle: int) -> None:
        if name in str(Path(f"/proc/self/fd/{handle}").readlink()):
            time.sleep(600)
        fsync(handle)

    os.fsync = stalling


def checkpoint_often(then: Callable[[], None] | None = None) -> None:
    """Let collect keep checkpoints so often that a test need not wait for one, and other stages after every batch."""
    from pure_cli import scratch
    from pure_cli.stages.references import dataset_pass

    dataset_pass.CHECKPOINT_SECONDS, scratch.SYNC_SECONDS = 0.25, 0.0
    if then is not None:
        then()


def limit_files(size: int) -> None:
    """Let no file have more bytes than this, as if the disk were full."""
    sys.stderr.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


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
        self.folder.mkdir(parents=True, exist_ok=True)
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

    def start(
        self, command: str, *options: object, seconds: float = 0, first: Callable[[], None] | None = None
    ) -> Running:
        """Begin a command.

        Parameters
        ----------
        seconds : that the model takes for every batch
        first : called in the new process before anything else
        """
        self.log.write_text("")
        words = [command, "-w", self.workspace, *self.options(command), *options]
        environment = {"FORWARDS": str(self.log), "SECONDS": str(seconds)}
        return Running(words, self.folder / "logs", first, environment=environment)

    def run(self, command: str, *options: object, code: int = 0, first: Callable[[], None] | None = None) -> Ended:
        """A command to its end."""
        ended = self.start(command, *options, first=first).end()
        assert ended.code == code, ended.err
        assert "Traceback" not in ended.err
        return ended

    def kill(self, process: Running, when: Callable[[], bool]) -> None:
        """Kill -9 as soon as something has come about, which it must before the process ends by itself."""
        wait_until(lambda: when() or process.poll() is not None)
        assert process.poll() is None, process.end()
        process.send(signal.SIGKILL)
        assert process.end().code == -signal.SIGKILL

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
