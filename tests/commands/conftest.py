"""A study that the tests may spoil: its own copies of model, weights and images, and a workspace of results."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

LAYER, LOWER_LAYER = "layer3", "layer2"
NEURONS, REFERENCES = 12, 6
SILENT = 5  # a neuron of the layer that never fires
IMAGES = 24  # the first of the 60 images


@dataclass
class Study:
    """Inputs and results of one test, and the command line for them."""

    folder: Path
    run: Callable

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def data(self) -> Path:
        return self.folder / "images"

    @property
    def model_file(self) -> Path:
        return self.folder / "tiny_model.py"

    @property
    def model(self) -> str:
        return f"{self.model_file}:tiny"

    @property
    def weights(self) -> Path:
        return self.folder / "tiny.pth"

    @property
    def inputs(self) -> tuple:
        return ("--model", self.model, "--weights", self.weights, "--data", self.data, "-n", REFERENCES)

    def pure(self, command: str, *options: object):
        """Run a command on the study's workspace."""
        return self.run(command, "-w", self.workspace, *options)

    def collect(self, *options: object):
        return self.pure("collect", *self.inputs, "--workers", 0, *options)

    def to(self, stage: str) -> "Study":
        """Run the stages up to one, which must work."""
        stages = ["collect", "attribute", "cluster", "render"]
        for name in stages[: stages.index(stage) + 1]:
            more = {
                "collect": (*self.inputs, "--workers", 0),
                "attribute": ("--workers", 0),
                "render": ("--neurons", 0),
            }
            answer = self.pure(name, *more.get(name, ()))
            assert answer.code == 0, answer.err
        return self

    def file(self, stage: str) -> Path:
        return self.workspace / f"{stage}.h5"

    def image(self, number: int) -> Path:
        return sorted(self.data.rglob("*.png"))[number]

    def change_weights(self) -> None:
        """Weights of the same shapes with other values."""
        state = torch.load(self.weights, weights_only=True)
        torch.save({name: value * 1.01 if value.is_floating_point() else value for name, value in state.items()},
                   self.weights)  # fmt: skip


@pytest.fixture
def study(tmp_path, cli, model_file, tiny_weights, images) -> Study:
    """Twelve neurons in layer3, one of which never fires, and 24 images in three class folders; no results yet."""
    shutil.copy(model_file, tmp_path / "tiny_model.py")
    state = torch.load(tiny_weights, weights_only=True)
    for bias in ("bn2.bias", "shortcut.bias"):  # the last sum of a block, before its ReLU
        state[f"{LAYER}.0.{bias}"] += 2.0
        state[f"{LAYER}.0.{bias}"][SILENT] = -100.0
    torch.save(state, tmp_path / "tiny.pth")
    for path in sorted(images.rglob("*.png"), key=lambda path: path.name)[:IMAGES]:
        copy = tmp_path / "images" / path.relative_to(images)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return Study(tmp_path, cli)


@pytest.fixture(scope="session")
def refused() -> Callable:
    """Check that a command refused its input well: ``refused(answer, "words", "of the message")``."""

    def check(answer, *words: object, code: int = 2) -> None:
        assert answer.code == code, answer.err
        assert answer.out == ""
        lines = answer.err.strip().splitlines()
        assert len(lines) == 1, answer.err
        assert lines[0].startswith("Error: ")
        assert lines[0].endswith((".", "?", ")"))
        assert "in a way that it should not" not in lines[0]
        for word in words:
            assert str(word) in lines[0]

    return check


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> Path:
    """A workspace with all stages done, as the first test that needed one left it; empty until then."""
    return tmp_path_factory.mktemp("results") / "workspace"


@pytest.fixture
def finished(study, results) -> Study:
    """The study with all stages done, and one figure drawn."""
    if results.exists():
        shutil.copytree(results, study.workspace)
        assert "up to date" in study.collect().out  # and notes where model, weights and images are now
        return study
    study.to("render")
    shutil.copytree(study.workspace, results)
    return study
