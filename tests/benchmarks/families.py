"""Runs pure on every family of networks, from images to figures, and writes what came out as a table.

    python tests/benchmarks/families.py --data IMAGES [--write docs/models.md] [--only NAME]

Each family runs in a process of its own, at its own image size, with seeded weights, by the four commands that a user
would type and without naming a layer.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from families import FAMILIES, Family  # noqa: E402  (it lies beside the tests)

BEGIN, END = "<!-- families -->", "<!-- /families -->"
IMAGES, N, NEURONS = 12, 6, "0-3"
HEAD = ("family", "model", "pixels", "layer", "lower layer", "rule of the heatmaps", "came out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of images")
    parser.add_argument("--write", type=Path, help="a Markdown file with the marks of the table in it")
    parser.add_argument("--only", default="", help="families whose model has this in its name")
    options = parser.parse_args()
    rows = []
    for family in FAMILIES:
        if options.only in family.model:
            rows.append(row(family, options.data))
            print(" | ".join(rows[-1]), flush=True)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        options.write.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")


def row(family: Family, data: Path) -> tuple[str, ...]:
    """The line of a family: what the commands said, or the first error."""
    with tempfile.TemporaryDirectory() as folder:
        weights = ["--weights", family.weights] if family.weights else []
        own = [] if family.weights else ["--resize", str(family.size), "--crop-size", str(family.size)]
        collect = ["--model", family.model, *weights, *own, "--data", str(data), "--limit", str(IMAGES)]
        commands = [
            ["collect", *collect, "-n", str(N)],
            ["attribute", "--neurons", NEURONS],
            ["cluster"],
            ["render", "--neurons", "0"],
        ]
        for command in commands:
            done = run([*command, "-w", folder])
            if done.returncode:
                return (family.title, f"`{family.shown}`", "", "", "", "", done.stderr.strip().splitlines()[-1])
        return family.title, f"`{family.shown}`", *described(family, Path(folder)), "✓"


def run(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "pure_cli", *command], capture_output=True, text=True)


def described(family: Family, workspace: Path) -> tuple[str, str, str, str]:
    """Pixels, layer and lower layer with their shapes, and the rule of the heatmaps."""
    from pure_cli.artifacts import read_collected
    from pure_cli.models.load import load_model
    from pure_cli.models.rules import heatmap_rule
    from pure_cli.models.spec import parse_model
    from pure_cli.workspace import Store

    collected = read_collected(Store(workspace))
    ((layer, own),) = collected.layers.items()
    listed = json.loads(run(["collect", "--list-layers", "--json", "-w", str(workspace)]).stdout)["layers"]
    shapes = {entry["name"]: "×".join(map(str, entry["shape"] or [])) for entry in listed}
    size = collected.origin["preprocessing"]["crop_size"]
    (lower,) = own.lower_layers
    rule = heatmap_rule(load_model(parse_model(family.model), family.weights))
    return str(size), f"`{layer}` {shapes[layer]}", f"`{lower}` {shapes[lower]}", rule


def table(rows: list[tuple[str, ...]]) -> str:
    """Markdown."""
    lines = [HEAD, tuple("---" for _ in HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
