"""Do two states of the code give the same results? Every command once, on the demo's digits, and what differs.

    python tests/trust/same_results.py make --code DIR OUT    # for each of two checkouts
    python tests/trust/same_results.py compare OUT OTHER

`make` runs the commands with the package that lies in DIR, and leaves two workspaces and what the commands said.
`compare` names every data set, attribute, figure, table and saying that differs, and ends with 1 where one does. The
version that files bear, the seconds that commands tell and their progress may differ.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from world import results

FOLDER = "being-made"  # beside OUT: results name where they were made, so that it is one place for all
THEN = 1_600_000_000  # seconds; results record when an image was changed
PATIENCE = 900  # seconds that a command may take
SECONDS = re.compile(r"(\d[\d.]* (h|min|s|ms)\b ?)+")
PROGRESS = re.compile(r"^[a-z]+: .*\n", re.MULTILINE)  # lines that come as time goes by
NO_CODE = shutil.ignore_patterns(".*", "docs", "tests", "build", "__pycache__")
IMAGES = """
from pathlib import Path
from pure_cli.demo.images import write_digits
write_digits(Path("images"), split="held-out")
"""
DIRECTIONS = "directions/layer3/pca-4.safetensors"
CALM = ["--device", "cpu", "--workers", "0"]
COMMANDS: dict[str, list[list[str]]] = {
    "ordinary": [
        ["collect", "--model", "digits", "--data", "images", "--layer", "layer3", "-n", "16", *CALM],
        ["attribute", *CALM],
        ["attribute", "--lower-layer", "layer1", "--neurons", "0-9", *CALM],
        ["embed", "--embedder", "pixels", *CALM],
        ["cluster", "--features", "pure,activation-max,pixels", "--k", "2,3"],
        ["cluster", "--k", "auto"],
        [
            *("evaluate", "--metric", "pixels", "--metric", "labels", "--metric", "stability", "--metric", "ms"),
            *("--metric", "correlation", "--k", "2,3", "--sample", "40", "--judge", "pixels", "--latex", *CALM),
        ],
        ["render", "--neurons", "0,1", "--device", "cpu"],
        ["directions", "pca", "--layer", "layer3", "-m", "4", *CALM],
        ["collect", "--model", "digits", "--data", "images", "-n", "16", "--directions", f"ordinary/{DIRECTIONS}",
         "--layer", "layer3", *CALM],
        ["attribute", "--layer", "pca-4@layer3", *CALM],
        ["embed", "--embedder", "pixels", "--layer", "pca-4@layer3", "--crop", "activation", *CALM],
        ["cluster", "--layer", "pca-4@layer3", "--k", "2"],
        ["calibrate", "--layer", "layer3", "--budget", "0.05", "--latex", *CALM],
        ["evaluate", "--metric", "planted", "--metric", "labels", "--layer", "layer3", "--k", "2", *CALM],
        ["info"],
    ],
    "other": [
        ["collect", "--model", "digits", "--data", "images/list.csv", "--layer", "layer2", "--layer", "layer3",
         "-n", "12", "--by", "relevance", *CALM],
        ["attribute", "--rule", "epsilon-plus", "--position", "max", "--neurons", "0-7", "--layer", "layer2", *CALM],
        ["attribute", "--rule", "gradient-x-input", "--precision", "bfloat16", "--neurons", "0-7",
         "--layer", "layer3", *CALM],
        ["embed", "--embedder", "pixels", "--crop", "none", "--neurons", "0-7", *CALM],
        ["cluster", "--k", "2"],
        ["evaluate", "--metric", "pixels+none", "--metric", "labels", "--k", "2", *CALM],
        ["render", "--neurons", "3", "--crop", "activation", "--format", "svg", "--device", "cpu"],
        ["info"],
    ],
}  # fmt: skip


def make(code: Path, out: Path) -> None:
    """Run the commands with the code of a checkout."""
    work = out.parent / FOLDER
    for folder in (work, out):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(code, work / "code", ignore=NO_CODE)  # results name the weights that come with the package
    own = {name: value for name, value in os.environ.items() if not name.startswith("PURE_")}
    settings = {**own, "PYTHONPATH": str(work / "code"), "OMP_NUM_THREADS": "1", "COLUMNS": "120",
                "SOURCE_DATE_EPOCH": str(THEN)}  # fmt: skip

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, *words], cwd=work, env=settings, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    where = run("-c", "import pure_cli; print(pure_cli.__file__)")[1].strip()
    if not Path(where).is_relative_to(work):
        raise SystemExit(f"The package is that of {where}, and not of {code}.")
    run("-c", IMAGES)
    _write_list(work / "images")
    for workspace, commands in COMMANDS.items():
        for place, words in enumerate(commands):
            began = time.monotonic()
            ended, said = run("-m", "pure_cli", *words, "-w", workspace)
            print(f"{time.monotonic() - began:6.1f} s  {workspace}: {' '.join(words)[:90]}", flush=True)
            (work / f"{workspace}-{place:02}-{words[0]}.txt").write_text(f"{' '.join(words)}\n{said}")
            if ended:
                raise SystemExit(f"pure {' '.join(words)} ended with {ended}: {said}")
    work.rename(out)


def _write_list(images: Path) -> None:
    """A table of the images, written as on Windows, with one that cannot be read; all of them as old as ever."""
    paths = sorted(path.relative_to(images) for path in images.rglob("*.png"))
    broken = images / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    rows = ["file;label;size", "broken.png;0;8"]
    rows += [f"{str(path).replace('/', chr(92))};{path.parent.name};{place}" for place, path in enumerate(paths)]
    (images / "list.csv").write_text("\n".join(rows))
    for path in images.rglob("*"):
        os.utime(path, (THEN, THEN))


def found(out: Path) -> dict[str, object]:
    """All that is compared: results by file, data set and attribute, and what the commands said."""
    every: dict[str, object] = {}
    for workspace in COMMANDS:
        for name, content in results(out / workspace).items():
            parts = content.items() if isinstance(content, dict) else [("", content)]
            every |= {f"{workspace}/{name}:{part}": value for part, value in parts if part != "@pure_version"}
        others = [path for path in (out / workspace).rglob("*") if path.suffix in (".tex", ".svg", ".pdf", ".subset")]
        every |= {str(path.relative_to(out)): path.read_bytes() for path in others}
    every |= {path.name: PROGRESS.sub("", SECONDS.sub("… ", path.read_text())) for path in out.glob("*.txt")}
    return every


def differences(one: Path, other: Path) -> list[str]:
    """The names of what differs, or is in one of them only."""
    here, there = found(one), found(other)
    return sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    acts = parser.add_subparsers(dest="act", required=True)
    making = acts.add_parser("make")
    making.add_argument("--code", type=Path, required=True)
    making.add_argument("out", type=Path)
    comparing = acts.add_parser("compare")
    comparing.add_argument("one", type=Path)
    comparing.add_argument("other", type=Path)
    options = parser.parse_args()
    if options.act == "make":
        make(options.code, options.out.resolve())
        return
    differing = differences(options.one, options.other)
    print(*differing, sep="\n")
    print(f"{len(differing)} of {len(found(options.one)):,} things differ.")
    raise SystemExit(bool(differing) or not found(options.one))


if __name__ == "__main__":
    main()
