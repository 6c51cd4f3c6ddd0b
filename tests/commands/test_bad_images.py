"""Hundreds of damaged and odd images in one data set: the good ones are used, the others are named, once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from bad_images import BAD, GOOD, make_corpus

MEMORY = 256 << 20  # bytes that a process may take more than for a handful of sound images
SIZE = ("--resize", 32, "--crop-size", 32)

CHILD = """
import resource, sys
from pure_cli.app import app
try:
    app(sys.argv[1:])
finally:
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print("peak", *peaks, file=sys.stderr)
"""


def collect(study, data, *options):
    """The command in a process of its own; what it said, and the peak of its memory and that of a worker in bytes."""
    words = ["collect", "-w", study.workspace, "--model", study.model, "--weights", study.weights, "--data", data]
    answer = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, [*words, "-n", 6, *SIZE, *options])],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"},
        timeout=120,
    )
    said, _, peaks = answer.stderr.rpartition("peak ")
    return answer, said, [int(peak) * 1024 for peak in peaks.split()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return folder, make_corpus(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8")
def test_whole_way_on_hundreds_of_damaged_images(study, corpus):
    folder, expected = corpus
    assert len(expected) >= 300
    _, _, usual = collect(study, study.data, "--workers", 1, "--batch-size", 16)
    answer, said, peaks = collect(study, folder, "--workers", 1, "--batch-size", 16, "--force")
    assert answer.returncode == 0, said
    assert said.count("could not be read and were skipped") == 1
    assert all(peak - before < MEMORY for peak, before in zip(peaks, usual, strict=True))

    found = study.pure("info", "--json").json
    damaged = {path for _, path, _ in found["damaged"]}
    assert len(damaged) == len(found["damaged"])  # each once
    assert damaged <= expected.keys()
    assert {name for name, fate in expected.items() if fate == BAD} <= damaged
    assert not {name for name, fate in expected.items() if fate == GOOD} & damaged
    assert found["origin"]["images"] == len(expected) - len(damaged)
    for command in ("attribute", "cluster", "render"):
        more = {"attribute": ("--workers", 0), "render": ("--neurons", 0, "--crop", "none")}.get(command, ())
        later = study.pure(command, *more)
        assert later.code == 0, later.err


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8")
def test_workers_and_none_find_the_same_damage(study, corpus):
    folder, _ = corpus
    found = []
    for workers in (0, 2):
        answer = study.pure(
            "collect", "--model", study.model, "--weights", study.weights, "--data", folder, "-n", 6, *SIZE, "--force",
            "--workers", workers, "--json",
        )  # fmt: skip
        assert answer.code == 0, answer.err
        found.append(study.pure("info", "--json").json["damaged"])
    assert found[0] == found[1]


def test_same_seed_makes_the_same_corpus(tmp_path):
    made = [make_corpus(tmp_path / name, seed=3, copies=1) for name in ("one", "two")]
    assert made[0] == made[1]
    for name in made[0]:
        first, second = (tmp_path / folder / name for folder in ("one", "two"))
        assert first.is_symlink() or first.read_bytes() == second.read_bytes()


def test_data_without_one_good_image_is_refused_with_a_reason(study, refused):
    folder = study.folder / "all bad"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(b"no image")
    answer = study.pure("collect", "--model", study.model, "--weights", study.weights, "--data", folder)
    refused(answer, "None of the 5 images", json.dumps("0.png")[1:-1])
