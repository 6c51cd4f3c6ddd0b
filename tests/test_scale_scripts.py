"""The scripts of docs/scale.md, run as far as a machine without SLURM and Kubernetes can: a stub sets the variables
that these set, and starts the processes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_documents import DOCS, blocks

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
LAUNCHED = re.compile(r"(SLURM_|OMPI_|RANK$|WORLD_SIZE$|LOCAL_RANK$|JOB_COMPLETION_INDEX$)")


@pytest.fixture(scope="module")
def study(tmp_path_factory, model_file, tiny_weights, images) -> dict[str, str]:
    """What the scripts take from the environment; a network with its weights in a file."""
    model = tmp_path_factory.mktemp("model") / "tiny_model.py"
    shutil.copy(model_file, model)
    named = {"MODEL": f"{model}:tiny", "DATA": str(images), "OMP_NUM_THREADS": "1"}
    own = {name: value for name, value in os.environ.items() if not LAUNCHED.match(name)}
    return {**own, **named, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def script(*words: str) -> str:
    """The block of the page in which some words stand."""
    (found,) = [block.text for block in blocks(DOCS / "scale.md") if all(word in block.text for word in words)]
    return found


def run(text: str, environment: dict[str, str]) -> None:
    ended = subprocess.run(["bash", "-ec", text], env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr


def merged(folder: Path, study: dict[str, str], parts: int) -> bytes:
    """What there is after all parts; they are as many as were meant."""
    assert len(list((folder / "parts").glob(f"collect-*-of-{parts}.h5"))) == parts
    run('pure merge -q -w "$STUDY"', {**study, "STUDY": str(folder)})
    return (folder / "collect.h5").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, study) -> bytes:
    """What one process finds."""
    folder = tmp_path_factory.mktemp("whole") / "w"
    run('pure collect -q -w "$STUDY" --model "$MODEL" --data "$DATA"', {**study, "STUDY": str(folder)})
    return (folder / "collect.h5").read_bytes()


def test_the_array_of_slurm_jobs(tmp_path, study, whole):
    text = script("#SBATCH --array")
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", text).groups())
    assert last - first + 1 == 64
    for task in (5, 6):  # an array of two: tasks may be numbered as one likes
        array = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_MIN": 5, "SLURM_ARRAY_TASK_MAX": 6}
        array |= {"SLURM_ARRAY_TASK_COUNT": 2, "SLURM_PROCID": 0, "SLURM_NTASKS": 1}  # as a batch script has them
        run(text, {**study, "STUDY": str(tmp_path / "w"), **{name: str(value) for name, value in array.items()}})
    assert merged(tmp_path / "w", study, 2) == whole


def test_the_kubernetes_job(tmp_path, study, whole):
    job = yaml.safe_load(script("kind: Job"))
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", 64)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    shell, option, text = container["command"]
    assert text.endswith('/64"')
    for index in range(2):
        environment = {**study, "STUDY": str(tmp_path / "w"), "JOB_COMPLETION_INDEX": str(index)}
        command = [shell, option, text.replace("/64", "/2")]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
    assert merged(tmp_path / "w", study, 2) == whole


def test_torchrun_itself(tmp_path, study, whole):
    run(script("torchrun"), {**study, "STUDY": str(tmp_path / "w")})
    assert merged(tmp_path / "w", study, 2) == whole


def test_xargs(tmp_path, study, whole):
    text = script("xargs").replace("seq 8", "seq 2").replace("/8", "/2")
    run(text, {**study, "STUDY": str(tmp_path / "w")})
    assert merged(tmp_path / "w", study, 2) == whole
