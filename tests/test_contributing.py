"""The recipes of CONTRIBUTING.md: each of its files is added as it stands there, is seen in --help, and works; once in
a copy of the package, once in packages of their own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from materials import TINY_MODEL, make_images

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`((?:pure_cli|tests)/[\w/]+\.py)`")
BLOCKS = list(FENCE.finditer(PAGE))
FILES = {NAMED.findall(PAGE[: found.start()])[-1]: found[2] for found in BLOCKS if found[1] == "python"}
ADDED = {Path(name).stem: text for name, text in FILES.items() if name.startswith("pure_cli")}
TESTS = {name: text for name, text in FILES.items() if name.startswith("tests")}
(POINTS,) = (found[2] for found in BLOCKS if found[1] == "toml")

COLLECT = ["collect", "--model", "tiny_model.py:tiny", "--weights", "none", "--data", "list.jsonl", "-n", "6"]
EVALUATE = ["evaluate", "--metric", "evenness", "--metric", "colour+none", "--features", "pure-l2", "--k", "2"]
STEPS = {
    "collect": [*COLLECT, "--workers", "0", "--json"],
    "attribute": ["attribute", "--neurons", "0-3", "--rule", "w-squared", "--workers", "0"],
    "cluster": ["cluster", "--transform", "l2", "--k", "2"],
    "embed": ["embed", "--embedder", "colour", "--crop", "none", "--workers", "0"],
    "evaluate": [*EVALUATE, "--workers", "0", "--json"],
    "sizes": ["sizes", "--json"],
    "at least": ["sizes", "--json", "-c", "study.yaml"],
    "wrong key": ["sizes", "-c", "wrong.yaml"],
    "--help": ["--help"],
    **{f"{name} --help": [name, "--help"] for name in ("collect", "attribute", "cluster", "embed", "evaluate")},
}
RUN = """
import json, runpy, sys
from typer.testing import CliRunner
from pure_cli.app import app

for path in sys.argv[1:]:
    found = {name: test for name, test in runpy.run_path(path).items() if name.startswith("test_")}
    assert found
    for test in found.values():
        test()
answers = {}
for name, words in json.load(open("steps.json")).items():
    answer = CliRunner().invoke(app, words)
    answers[name] = (answer.exit_code, answer.stdout, answer.stderr)
json.dump(answers, open("answers.json", "w"))
"""


def answers(folder: Path, paths: list[Path], tests: list[Path]) -> dict[str, tuple[int, str, str]]:
    """What all steps say in a process that finds packages in some paths, after some tests have passed there."""
    (folder / "tiny_model.py").write_text(TINY_MODEL)
    images = sorted(make_images(folder / "images", count=24, size=24).rglob("*.png"))
    rows = [{"path": str(image.relative_to(folder)), "label": image.parent.name} for image in images]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "study.yaml").write_text("sizes: {at_least: 7}")
    (folder / "wrong.yaml").write_text("sizes: {at_lest: 7}")
    (folder / "steps.json").write_text(json.dumps(STEPS))
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200",
        "PURE_WORKSPACE": str(folder / "workspace"), "OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(folder / "state"),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", RUN, *map(str, tests)], cwd=folder, env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "answers.json").read_text())


@pytest.fixture(scope="module")
def in_a_copy(tmp_path_factory):
    """The answers of a copy of the package with the files of the page in it."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "pure_cli", folder / "tree" / "pure_cli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", folder / "tree" / "configs")
    for name, text in FILES.items():
        path = folder / "tree" / name
        assert not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder, answers(folder, [folder / "tree"], [folder / "tree" / name for name in TESTS])


@pytest.fixture(scope="module")
def as_entry_points(tmp_path_factory):
    """The answers of this package with the files of the page as modules of another one, which is installed."""
    folder = tmp_path_factory.mktemp("points")
    install(folder / "site", "theirs", POINTS)
    for stem, text in ADDED.items():
        (folder / "site" / f"their_{stem}.py").write_text(text, encoding="utf-8")
    return folder, answers(folder, [ROOT, folder / "site"], [])


def install(site: Path, package: str, toml: str) -> None:
    """What pip leaves of a package with such entry points."""
    info = site / f"{package}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    points = re.sub(r'\[project\.entry-points\."(.+)"\]', r"[\1]", toml).replace('"', "")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture(scope="module", params=["in_a_copy", "as_entry_points"])
def added(request):
    return request.getfixturevalue(request.param)


def test_the_page_has_a_file_and_a_test_of_each_kind():
    assert len(ADDED) == len(TESTS) == 6
    assert all(f"their_{stem}" in POINTS for stem in ADDED)


def test_every_step_works(added):
    for name, (code, _, error) in added[1].items():
        assert code == (2 if name == "wrong key" else 0), (name, error)
    error = "Error: Unknown key in the section 'sizes' of wrong.yaml 'at_lest'. Did you mean 'at_least'?\n"
    assert added[1]["wrong key"][2] == error


@pytest.mark.parametrize(
    ("step", "name", "summary"),
    [
        ("cluster --help", "l2", "relevances with an L2 norm of one"),
        ("attribute --help", "w-squared", "LRP-w² at every linear layer"),
        ("evaluate --help", "evenness", "how evenly the references fall to the virtual neurons"),
        ("embed --help", "colour", "the mean colour of an image, no judge"),
        ("collect --help", "json-lines", ""),
        ("--help", "sizes", "Show how large the largest virtual neuron of each clustering is."),
    ],
)
def test_help_shows_it(added, step, name, summary):
    text = " ".join(added[1][step][1].replace("│", " ").split())
    assert re.search(rf"\b{name}\b", text) and summary in text


def test_what_was_added_did_the_work(added):
    import h5py
    import numpy as np

    folder, steps = added
    assert json.loads(steps["collect"][1])["images"] == 24
    with h5py.File(folder / "workspace" / "collect.h5") as file:
        assert [name.decode() for name in file["labels/name"]] == ["class0", "class1", "class2"]
        (layer,) = file["layers"]
    with h5py.File(folder / "workspace" / "attribute.h5") as file:
        assert json.loads(file[f"layers/{layer}"].attrs["settings"])["rule"] == "w-squared"
        (relevance,) = [lower[:] for lower in file[f"layers/{layer}/relevance"].values()]
    with h5py.File(folder / "workspace" / "cluster.h5") as file:
        own = file[f"layers/{layer}/pure-l2/k2"]
        label, centroid = own["label"][:], own["virtual/centroid"][:]
        neuron, cluster = own["virtual/neuron"][:], own["virtual/cluster"][:]
    one = np.flatnonzero((label >= 0).all(axis=1))[0]
    points = relevance[one] / np.linalg.norm(relevance[one], axis=1, keepdims=True)
    expected = points[label[one] == 0].mean(axis=0)
    np.testing.assert_allclose(centroid[(neuron == one) & (cluster == 0)][0], expected, atol=1e-5)

    evaluated = json.loads(steps["evaluate"][1])
    tables, drawn = {table["metric"]: table for table in evaluated["tables"]}, Path(evaluated["folders"][0])
    assert tables["evenness"]["columns"] == ["features", "k", "evenness"]
    sizes = [np.bincount(row[row >= 0], minlength=2) for row in label]
    shares = np.array([of / of.sum() for of in sizes if of.sum()]).clip(1e-12)
    (row,) = tables["evenness"]["rows"]
    np.testing.assert_allclose(row["evenness"][0], -(shares * np.log2(shares)).sum(axis=1).mean(), atol=1e-6)
    assert "pure-l2" in (drawn / "evenness.csv").read_text()
    assert (drawn / "evenness-lines.png").stat().st_size > 1000
    assert "colour+none embeddings" in tables["colour+none"]["title"]
    assert "colour+none sees one colour" in steps["embed"][2]

    largest = json.loads(steps["sizes"][1])
    assert largest[f"layers/{layer}/pure-l2/k2"] == max(max(of) for of in sizes)
    assert json.loads(steps["at least"][1]) == {}
