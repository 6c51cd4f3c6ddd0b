"""Small data, a small network, and a workspace after each stage, for tests that do harm to them."""

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from materials import make_images
from processes import SLOW_MODEL, Ended, Running, contents
from safetensors import safe_open

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes share the cores
FEW = ["--batch-size", "2", "--workers", "0"]
TEXTS = (".json", ".csv")  # results beside the HDF5 files


@dataclass(frozen=True)
class Job:
    """A command, and the job whose workspace it starts from."""

    name: str
    words: list[object]
    base: str | None = None

    @property
    def stage(self) -> str:
        return str(self.words[0])


@dataclass
class World:
    """All of it, below one folder.

    Attributes
    ----------
    jobs : by name
    """

    folder: Path
    images: int = 24
    jobs: dict[str, Job] = field(init=False)

    def __post_init__(self) -> None:
        self.model = self.folder / "model.py"
        self.data = self.folder / "images"
        if not self.model.exists():
            make_images(self.data, self.images)
            self.model.write_text(SLOW_MODEL)
        inputs = ["--model", f"{self.model}:slow", "--data", self.data, "-n", 6]
        listed = [
            Job("collect", ["collect", *inputs, "--layer", "layer3", *FEW]),
            Job("collect-more", ["collect", *inputs, "--layer", "layer3", "--layer", "layer2", *FEW], "collect"),
            Job("directions", ["directions", "pca", "--layer", "layer3", "-m", 4, *FEW], "collect"),
            Job("some", ["attribute", "--neurons", "0-3", *FEW], "collect"),
            Job("attribute", ["attribute", *FEW], "some"),
            Job("embed", ["embed", "--embedder", "pixels", "--crop", "activation", *FEW], "attribute"),
            Job("cluster", ["cluster", "--k", "2,3", "--features", "pure,activation-max"], "embed"),
            Job("evaluate", ["evaluate", "--metric", "labels", "--k", "2"], "cluster"),
            Job("render", ["render", "--neurons", "0,1", "--crop", "none", "--images", "1"], "cluster"),
        ]
        self.jobs = {job.name: job for job in listed}

    def after(self, name: str | None) -> Path:
        """The workspace that an undisturbed job left; an empty one for None."""
        return self.folder / "after" / str(name)

    def run(self, job: Job, workspace: Path, more: Iterable[object] = (), **options: Any) -> Ended:
        """A job to its end in a workspace."""
        return self.start([*job.words, *more], workspace, **options).end()

    def start(self, words: Iterable[object], workspace: Path, **options: Any) -> Running:
        """A command line at work in a workspace."""
        return Running([*words, "-w", workspace], workspace.parent / "logs", **options)

    def make(self, *names: str) -> None:
        """Run some jobs undisturbed, with those that they start from."""
        for name in names:
            job = self.jobs[name]
            if self.after(name).exists():
                continue
            if job.base:
                self.make(job.base)
            self.restore(job.base, self.after(name))
            ended = self.run(job, self.after(name))
            assert ended.code == 0, ended.err

    def restore(self, name: str | None, workspace: Path) -> None:
        """Put a workspace back to what an undisturbed job left."""
        shutil.rmtree(workspace, ignore_errors=True)
        if name is not None:
            shutil.copytree(self.after(name), workspace)


def results(workspace: Path) -> dict[str, object]:
    """What a workspace holds, to the byte: data sets and attributes of its files, and texts beside them."""
    found: dict[str, object] = {}
    for path in sorted(workspace.rglob("*")):
        name = path.relative_to(workspace).as_posix()
        if path.suffix == ".h5" and not name.startswith("."):
            found[name] = contents(path)
        elif path.suffix == ".safetensors":
            with safe_open(path, "np") as file:  # it writes its metadata in any order
                found[name] = (file.metadata(), {key: file.get_tensor(key).tobytes() for key in sorted(file.keys())})
        elif path.suffix in (*TEXTS, ".png") and not path.name.startswith("."):
            found[name] = path.read_bytes()
    return found


def left_over(workspace: Path) -> list[str]:
    """What no result is: of unfinished work, and of files that were being written."""
    names = (path.relative_to(workspace).as_posix() for path in workspace.rglob("*"))
    return [name for name in names if name.endswith(".tmp") or name.startswith(".partial")]
