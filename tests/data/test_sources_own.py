"""A source of one's own, as docs/data.md shows it: its code and its commands are run here."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from pure_cli import Workspace
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data import Items, listing, registry
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches
from pure_cli.errors import PureError, PureFailure

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "data.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def images_of(workspace: Path) -> np.ndarray:
    with h5py.File(workspace / "collect.h5") as file:
        (layer,) = file["layers"]
        return file[f"layers/{layer}/image"][:]


@pytest.fixture(scope="module")
def example(made, tmp_path_factory) -> Path:
    """A folder with the zip, and with the package of the docs installed in it."""
    folder = tmp_path_factory.mktemp("example")
    source, script = blocks("python")
    (pyproject,) = blocks("toml")
    (folder / "zip_images.py").write_text(source)
    (folder / "script.py").write_text(script)
    with zipfile.ZipFile(folder / "digits.zip", "w") as archive:
        for file in made.files:
            archive.write(file, file.relative_to(made.folder))
    installed = folder / "site" / "zip_images-1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: zip-images\nVersion: 1\n")
    group, line = re.fullmatch(r'\[project\.entry-points\."(.+)"\]\n(.+)\n', pyproject).groups()
    (installed / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
    return folder


def run(folder: Path, *command: object, installed: bool = False) -> subprocess.CompletedProcess:
    paths = [ROOT, folder, *([folder / "site"] if installed else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def expected(made, tmp_path_factory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("of-folder")
    Workspace(folder).collect(model="digits", data=made.folder, n=8, device="cpu", workers=0)
    return images_of(folder)


def test_the_example_from_python_gives_the_references_of_the_folder(example, expected):
    done = run(example, "script.py")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(images_of(example / "from-python"), expected)
    assert (example / "from-python" / "attribute.h5").exists()


def test_the_example_from_the_command_line_gives_the_references_of_the_folder(example, expected):
    for line in blocks("sh")[0].splitlines():
        assert line.startswith("pure ")
        done = run(example, "-m", "pure_cli", *line.split()[1:], installed=True)
        assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(images_of(example / "from-shell"), expected)
    assert (example / "from-shell" / "attribute.h5").exists()


def test_without_the_source_the_zip_is_no_data_set(example):
    done = run(example, "-m", "pure_cli", "collect", "--model", "digits", "--data", "digits.zip", "-w", "none")
    assert done.returncode == 2 and "neither a folder nor a list" in " ".join(done.stderr.split())


def test_source_that_cannot_be_loaded_is_named(example, tmp_path):
    installed = tmp_path / "site" / "broken-1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[pure.sources]\nbroken = no_such_module:Source\n")
    done = run(tmp_path, "-m", "pure_cli", "collect", "--model", "digits", "--data", example, installed=True)
    assert done.returncode == 2 and "The source 'broken' (no_such_module:Source) cannot be loaded" in done.stderr


class Wrong:
    """Claims everything, and gives what it is told to."""

    name, has_splits = "a wrong source", False

    def __init__(self, **items):
        self.items = {"paths": ["a", "b"], "read": lambda i: b"", **items}

    def claims(self, place):
        return True

    def list(self, place, cache):
        return Items(root=place.folder, **self.items)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ({"paths": []}, "no image in .*, read as a wrong source"),
        ({"labels": [1]}, "has 2 images and 1 labels"),
        ({"sizes": [1, 2, 3]}, "has 2 images and 3 sizes"),
        ({"labels": [0, 5], "names": ["x"]}, "a label 5, and names for the classes 0 to 0"),
    ],
)
def test_source_that_contradicts_itself(tmp_path, monkeypatch, items, words):
    monkeypatch.setattr(registry, "_registered", [])
    registry.register_source(Wrong(**items))
    with pytest.raises(PureError, match=words):
        list_images(tmp_path)


def test_the_newest_registered_source_is_asked_first(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_registered", [])
    registry.register_source(Wrong())
    registry.register_source(Wrong(paths=["c"]))
    assert list_images(tmp_path).paths == ("c",)


def test_no_stage_and_no_command_knows_a_source():
    modules = [path.stem for path in (ROOT / "pure_cli/data/sources").glob("*.py") if path.stem != "__init__"]
    for folder in ("stages", "commands"):
        for path in (ROOT / "pure_cli" / folder).rglob("*.py"):
            imported = re.findall(r"pure_cli\.data\.sources\.(\w+)", path.read_text(encoding="utf-8"))
            assert set(imported) <= {"subset"}, path  # which is how a stage names some images of any source
    assert len(modules) > 5 and listing.Listing


class Fails:
    """A source whose items are wrong in some way."""

    name, has_splits = "a source that fails", False

    def __init__(self, read, labels=None):
        self._read, self._labels = read, labels

    def claims(self, place):
        return place.endings == {".odd"}

    def list(self, place, cache):
        return Items(place.folder, ["one", "two"], self._read, self._labels)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("read", "says"),
    [(lambda i: int("boom"), "fails on .*one: ValueError"), (lambda i: None, "gives NoneType for .*one")],
)
def test_a_source_that_fails_is_named_with_the_item(tmp_path, monkeypatch, workers, read, says):
    (tmp_path / "a.odd").write_text("")
    monkeypatch.setattr(registry, "_registered", [Fails(read)])
    listing = list_images(tmp_path / "a.odd")
    with pytest.raises(PureFailure, match=says):
        list(batches(listing, [0, 1], Preprocessing(), 1, workers))


@pytest.mark.parametrize("labels", [["a", "b"], [0, -2], [0.5, 1.0]])
def test_labels_that_are_no_numbers_from_minus_one_are_refused(tmp_path, monkeypatch, labels):
    (tmp_path / "a.odd").write_text("")
    monkeypatch.setattr(registry, "_registered", [Fails(lambda i: b"", labels)])
    with pytest.raises(PureError, match="a source that fails, has labels"):
        list_images(tmp_path / "a.odd")
