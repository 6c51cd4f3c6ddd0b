"""The examples of docs/ run as they stand."""

import re
from pathlib import Path

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


def test_console_of_directions_runs(tmp_path, monkeypatch, cli):
    from pure_cli.demo.images import write_digits

    monkeypatch.chdir(tmp_path)
    write_digits(Path("digits"), split="held-out")
    (lines,) = blocks("directions.md", "console")
    for line in lines.splitlines():
        program, *arguments = line.removeprefix("$ ").split()
        assert program == "pure"
        answer = cli(*arguments)
        assert answer.code == 0, answer.err
    assert "pca 0 (" in answer.out
