"""The examples of docs/ run as they stand."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTIONAL = ("overcomplete",)  # packages that an example may need and pure does not


def blocks(name: str, kind: str) -> list[str]:
    return [text for found, text in FENCE.findall((DOCS / name).read_text(encoding="utf-8")) if found == kind]


def is_here(package: str, monkeypatch) -> bool:
    import matplotlib
    import matplotlib.cm

    if not hasattr(matplotlib.cm, "get_cmap"):  # overcomplete 0.3 asks for it, matplotlib 3.9 took it away
        monkeypatch.setattr(matplotlib.cm, "get_cmap", matplotlib.colormaps.__getitem__, raising=False)
    try:
        __import__(package)
    except ImportError:
        return False
    return True


def test_python_of_directions_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "example"}
    ran = 0
    for block in blocks("directions.md", "python"):
        if any(package in block and not is_here(package, monkeypatch) for package in OPTIONAL):
            continue
        exec(compile(block, "docs/directions.md", "exec"), namespace)
        ran += 1
    assert ran >= 5
    collected = {result["layer"] for result in namespace["workspace"].info()["results"]}
    made = {"sae", "sae-encoder", "probes", "concepts", "pca-8", "nmf-8"}
    assert collected >= {f"{name}@layer3" for name in made}
    assert namespace["workspace"].references("probes@layer3")["image"].shape == (10, 20)


def type_in(lines: str, cli):
    """The commands of a block, in this process; the last answer."""
    for line in lines.splitlines():
        program, *arguments = line.removeprefix("$ ").split()
        assert program == "pure"
        answer = cli(*arguments)
        assert answer.code == 0, answer.err
    return answer


@pytest.fixture
def beside_digits(tmp_path, monkeypatch) -> Path:
    """The working directory, with the demo's images in it."""
    from pure_cli.demo.images import write_digits

    monkeypatch.chdir(tmp_path)
    write_digits(Path("digits"), split="held-out")
    return tmp_path


def test_console_of_directions_runs(beside_digits, cli):
    (lines,) = blocks("directions.md", "console")
    assert "pca 0 (" in type_in(lines, cli).out


def test_a_model_of_ones_own_by_file_and_in_python(beside_digits, cli):
    file, in_python, wrapped = blocks("models.md", "python")
    Path("mine.py").write_text(file)
    Path("wrapped.py").write_text(wrapped)
    lines, lines_of_wrapped = blocks("models.md", "console")
    assert "layer4" in type_in(lines, cli).out
    assert "net.layer4" in type_in(lines_of_wrapped, cli).out
    namespace: dict = {"__name__": "example"}
    exec(compile(in_python, "docs/models.md", "exec"), namespace)
    assert (beside_digits / "in-python" / "cluster.h5").exists()
