"""Time pure and its yardsticks side by side, hold their answers against each other, and write a table.

Usage: python tests/benchmarks/run.py SHARED [--only NAME]… [--repeats 5] [--out benchmarks] [--device cpu|cuda]

Each side is a process of its own, so that neither gains or loses by the other's settings; they take turns. Times are
medians; the spread is the lowest and the highest. `sides.py` has what is timed, docs/performance.md the verdicts.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
Answers = dict[str, dict[str, np.ndarray]]
WRONG = "NOT THE SAME ANSWER"
ROUNDING = 1e-3  # of the highest score, within which scores count as equal
DISTURBED = 1.5  # times the median: a run that took longer was not alone on the machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--only", action="append", metavar="NAME", help="; ".join(BENCHMARKS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks"))
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU where there is one")
    options = parser.parse_args()
    os.environ["PURE_BENCH_DEVICE"] = options.device or _device()
    wanted = options.only or list(BENCHMARKS)
    if options.repeats < 1:
        parser.error("--repeats must be 1 or more")
    if not (options.shared / "yardstick" / "reference.py").is_file():
        parser.error(f"{options.shared} holds no yardstick/reference.py")
    if unknown := [name for name in wanted if name not in BENCHMARKS]:
        parser.error(f"unknown benchmark {', '.join(unknown)}; there is {', '.join(BENCHMARKS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    work = options.out.resolve() / "work"
    work.mkdir(exist_ok=True)
    results = options.out / "benchmarks.json"
    found = {row["name"]: row for row in json.loads(results.read_text())["rows"]} if results.exists() else {}
    weights = work / "resnet50.safetensors"
    if not weights.exists() and any("resnet50" in name for name in wanted):
        arguments = ["resnet50.a1_in1k", str(options.shared / "data" / "imagenet-sample"), str(weights)]
        subprocess.run([sys.executable, str(HERE / "seeded_weights.py"), *arguments], check=True)
    for folder in work.glob("tmp*"):  # of an earlier run
        shutil.rmtree(folder, ignore_errors=True)
    wrong = False
    for name in wanted:
        print(f"{name} …", flush=True)
        _prepare(name, options.shared.resolve(), work)
        for row in BENCHMARKS[name](name, options.shared.resolve(), work, options.repeats):
            print(f"  {row.title}: {row.ratio} ({row.check})", flush=True)
            found[row.name] = asdict(row)
            wrong |= WRONG in row.check
        rows = [found[row] for row in sorted(found, key=_order)]
        results.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))
        (options.out / "benchmarks.md").write_text(markdown(rows))
    if wrong:
        sys.exit("A side gave another answer than its yardstick.")


def _prepare(name: str, shared: Path, work: Path) -> None:
    """What both sides of a benchmark need, made in a process of its own."""
    what = "evaluate" if name == "evaluate" else "resnet50" if "resnet50" in name else "resnet20"
    command = [sys.executable, str(HERE / "child.py"), f"prepare-{what}", str(shared), str(work), "0"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@dataclass
class Row:
    """One line of the table. Times are in seconds: median, lowest, highest."""

    name: str
    title: str
    pure: list[float]
    other: list[float]
    ratio: str
    target: str
    check: str
    more: dict[str, Any] = field(default_factory=dict)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def machine() -> str:
    """What it ran on, in words."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
    gpu = f", {torch.cuda.get_device_name()}" if os.environ["PURE_BENCH_DEVICE"] == "cuda" else ""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{cores} cores, {model or platform.processor()}{gpu}, {versions}"


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table, with the machine above it."""
    lines = [machine(), "", "| what | pure | yardstick | ratio | target | same answer |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row['title']} | {_time(row['pure'])} | {_time(row['other'])} | {row['ratio']} | {row['target']} "
        f"| {row['check']} |"
        for row in rows
    ]
    return "\n".join([*lines, ""])


def _time(values: list[float]) -> str:
    if not values:
        return ""
    middle, low, high = values
    return f"{middle:.3g} s ({low:.3g} … {high:.3g}){', disturbed' if high > DISTURBED * middle else ''}"


def _order(name: str) -> int:
    """The place of a row: that of the benchmark which it belongs to, by the longest name."""
    own = max((other for other in BENCHMARKS if name.startswith(other)), key=len, default="")
    return list(BENCHMARKS).index(own) if own else len(BENCHMARKS)


# ------------------------------------------------------------------------------------------------ sides in turn


class Side:
    """A process that has one side set up, and runs it when asked to."""

    def __init__(self, name: str, shared: Path, work: Path):
        command = [sys.executable, str(HERE / "side.py"), name, str(shared), str(work)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._expect("ready")

    def run(self) -> float:
        """Seconds that one run took."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return float(self._expect("took"))

    def close(self) -> dict[str, np.ndarray]:
        """The answer of the last run."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        path = Path(self._expect("answer"))
        self._process.wait()
        with np.load(path) as answer:
            return dict(answer)

    def _expect(self, word: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(f"bench {word}"):
                return line.removeprefix(f"bench {word}").strip()
        raise SystemExit(f"a side of the benchmark ended before it was {word} (exit code {self._process.wait()})")


def in_turn(names: list[str], shared: Path, work: Path, repeats: int) -> tuple[dict[str, list[float]], Answers]:
    """Times of all sides, one after the other in each round, after a round that does not count; and their answers."""
    sides = {name: Side(name, shared, work) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats + 1):
        for name, side in sides.items():
            seconds = side.run()
            if turn:
                times[name].append(seconds)
    return times, {name: side.close() for name, side in sides.items()}


def spread(times: list[float]) -> list[float]:
    return [statistics.median(times), min(times), max(times)]


# ---------------------------------------------------------------------------------------------- the benchmarks


def ratio(
    name: str,
    shared: Path,
    work: Path,
    repeats: int,
    *,
    title: str,
    pure: str | dict[str, str],
    other: str,
    target: str,
    check: Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], str],
) -> list[Row]:
    """How many times as fast pure is.

    Parameters
    ----------
    pure : its side, or several sides by what is added to the title
    """
    ways = {"": pure} if isinstance(pure, str) else pure
    times, answers = in_turn([*ways.values(), other], shared, work, repeats)
    theirs, rows = spread(times[other]), []
    for more, side in ways.items():
        ours = spread(times[side])
        factor = f"{theirs[0] / ours[0]:.1f} ×"
        details = {"times": {"pure": times[side], "yardstick": times[other]}}
        own = f"{name}-{side}" if more else name
        rows.append(Row(own, title + more, ours, theirs, factor, target, check(answers[side], answers[other]), details))
    return rows


def same_references(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> str:
    """The same scores, and the same images wherever scores differ by more than rounding."""
    n = min(ours["value"].shape[1], theirs["value"].shape[1])  # fewer where there are fewer images
    a, b = ours["value"][:, :n], theirs["value"][:, :n]
    near = np.abs(a - b) <= ROUNDING * np.abs(b).max()
    gap = np.minimum(np.abs(np.diff(b, prepend=np.inf)), np.abs(np.diff(b, append=-np.inf)))
    alone = gap > 2 * ROUNDING * np.abs(b).max()
    same = (ours["image"][:, :n] == theirs["image"][:, :n]) | ~alone
    text = f"the same scores, and {same.mean():.2%} of the references, but where scores are equal in rounding"
    return text if near.all() and same[:, :-1].all() else f"{WRONG}: {near.mean():.2%} of the scores, {text}"


def same_relevance(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> str:
    """How alike the relevances are, and whether k-means on them gives the same virtual neurons."""
    from sklearn.metrics import adjusted_rand_score

    from pure_cli.core.clusters import split_all

    a, b = ours["relevance"], theirs["relevance"]
    fires = np.abs(b).sum(-1) > 0
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return f"{WRONG}: other shapes, or values that are no numbers"
    if not np.array_equal(fires, np.abs(a).sum(-1) > 0):
        return f"{WRONG}: other rows are zero"
    cosine = (a * b).sum(-1)[fires] / np.linalg.norm(a, axis=-1)[fires] / np.linalg.norm(b, axis=-1)[fires]
    one, two = (split_all(list(x), list(fires), [2], 0) for x in (a, b))
    agree = [adjusted_rand_score(x[0].labels, y[0].labels) for x, y in zip(one, two, strict=True)]
    return (
        f"cosine of rows: least {cosine.min():.5f}, median {np.median(cosine):.7f}; "
        f"labels (k = 2): ARI {np.mean(agree):.3f}, the same for {np.mean(np.array(agree) == 1):.0%} of the neurons"
    )


def same_boxes(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> str:
    same = (ours["box"] == theirs["box"]).all(axis=-1).mean() if ours["box"].shape == theirs["box"].shape else 0.0
    return f"{'' if same >= 0.99 else WRONG + ': '}{same:.1%} of the boxes equal to the pixel"


def same_labels(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> str:
    from sklearn.metrics import adjusted_rand_score

    pairs = zip(ours["label"].reshape(-1, 100), theirs["label"].reshape(-1, 100), strict=True)
    same = np.mean([adjusted_rand_score(a, b) == 1 for a, b in pairs])
    return f"{'' if same >= 0.995 else WRONG + ': '}{same:.2%} of the fits have the same labels"


def same_distances(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> str:
    gap = max(np.abs(ours[name] / theirs[name] - 1).max() for name in ("intra", "inter"))
    return f"{'' if gap < 1e-3 else WRONG + ': '}means differ by {gap:.1e} at most"


def overlap(name: str, shared: Path, work: Path, repeats: int, *, network: str, title: str) -> list[Row]:
    """Collect from files against decoding alone and against the pass alone."""
    names = [f"files-{part}-{network}" for part in ("pure", "decode", "forward")]
    times, _ = in_turn(names, shared, work, repeats)
    whole, decode, forward = (spread(times[one]) for one in names)
    slower = max(decode, forward)
    both = (decode[0] + forward[0]) / whole[0]
    check = f"decode alone {decode[0]:.2f} s, pass alone {forward[0]:.2f} s; {both:.2f} × of both one after the other"
    return [Row(name, title, whole, slower, f"{slower[0] / whole[0]:.2f} ×", "0.9 ×", check, {"times": times})]


def startup(name: str, shared: Path, work: Path, repeats: int) -> list[Row]:
    """`pure --help` against a Typer program with one command; a stage that is up to date."""
    bare = work / "bare.py"
    bare.write_text(
        "import typer\napp = typer.Typer()\n\n\n@app.command()\ndef one(name: str = ''):\n    print(name)\n\n\napp()\n"
    )
    pure = [sys.executable, "-m", "pure_cli"]
    study = work / "resnet20-100"
    stage = [*pure, "attribute", "-w", str(study), "--neurons", "0-3", "--recipe", "paper", "--quiet"]
    subprocess.run(stage, check=True)
    times: dict[str, list[float]] = {"help": [], "bare": [], "stage": []}
    for turn in range(max(repeats, 5) + 1):
        for key, command in (("help", [*pure, "--help"]), ("bare", [sys.executable, bare, "--help"]), ("stage", stage)):
            begin = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if turn:
                times[key].append(time.perf_counter() - begin)
    ours, theirs, stage_times = (spread(times[key]) for key in ("help", "bare", "stage"))
    more = {"times": times}
    return [
        Row(f"{name}-help", "`pure --help`, against a bare Typer program", ours, theirs,
            f"{ours[0] / theirs[0]:.1f} × its time", "≤ 2 ×", "–", more),
        Row(f"{name}-stage", "a stage that is up to date", stage_times, [], f"{stage_times[0]:.2f} s", "≤ 1.5 s", "–",
            more),
    ]  # fmt: skip


def growth(name: str, shared: Path, work: Path, repeats: int) -> list[Row]:
    """Time and memory against images, and time against neurons × references, on CIFAR-10 with ResNet-20.

    Memory is the peak resident set of the process itself; the workers that decode hold two batches each.
    """
    rows = []
    counts = [1250, 2500, 5000, 10_000]
    measured = {count: [_child("collect", shared, work, count) for _ in range(repeats)] for count in counts}
    seconds = [statistics.median(one["seconds"] for one in measured[count]) for count in counts]
    memory = {count: statistics.median(one["peak"] for one in measured[count]) for count in counts}
    memory[2000] = statistics.median(_child("collect", shared, work, 2000)["peak"] for _ in range(repeats))
    rows.append(_fitted(f"{name}-images", "collect, time against images (1,250 to 10,000)", counts, seconds))
    rows.append(_memory_row(f"{name}-memory-collect", "collect, peak memory, 10,000 images against 2,000", memory))
    pairs = [800, 1600, 3200, 6400]
    measured = {count: [_child("attribute", shared, work, count) for _ in range(repeats)] for count in pairs}
    seconds = [statistics.median(one["seconds"] for one in measured[count]) for count in pairs]
    rows.append(_fitted(f"{name}-pairs", "attribute, time against neurons × references (800 to 6,400)", pairs, seconds))
    of_images = {
        count: statistics.median(_child("attribute-images", shared, work, count)["peak"] for _ in range(repeats))
        for count in (2000, 10_000)
    }
    rows.append(_memory_row(f"{name}-memory-attribute", "attribute, peak memory, likewise", of_images))
    return rows


def _child(what: str, shared: Path, work: Path, count: int) -> dict[str, float]:
    answer = subprocess.run(
        [sys.executable, str(HERE / "child.py"), what, str(shared), str(work), str(count)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(answer.stdout.splitlines()[-1])


def _fitted(name: str, title: str, counts: list[int], seconds: list[float]) -> Row:
    exponent = np.polyfit(np.log(counts), np.log(seconds), 1)[0]
    listed = ", ".join(f"{count:,}: {value:.2f} s" for count, value in zip(counts, seconds, strict=True))
    return Row(name, title, [], [], f"exponent {exponent:.2f}", "≤ 1.05", listed)


def _memory_row(name: str, title: str, peak: dict[int, float]) -> Row:
    more = peak[10_000] / peak[2000] - 1
    listed = ", ".join(f"{count:,}: {peak[count] / 1e6:,.0f} MB" for count in sorted(peak))
    return Row(name, title, [], [], f"{more:+.1%}", "within 5 %", listed)


def shares(name: str, shared: Path, work: Path, repeats: int, *, network: str) -> list[Row]:
    """Where the time of attribute goes, printed piece by piece."""
    command = [sys.executable, str(HERE / "shares.py"), str(shared), str(work), network, "ready"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(told, end="", flush=True)
    head, *pieces = told.splitlines()
    return [Row(name, f"where the time of attribute goes, {head}", [], [], "", "–", "; ".join(map(str.strip, pieces)))]


def store(name: str, shared: Path, work: Path, repeats: int) -> list[Row]:
    """Size of the relevances as float16, and what it does to the labels."""
    found = _child("store", shared, work, 0)
    check = f"labels (k = 2 … 5): the same for {found['same']:.1%} of the fits"
    sizes = f"{found['half'] / found['whole']:.2f} of the size"
    title = f"`--store float16`: relevances on disk ({found['whole'] / 1e6:.2f} MB as float32)"
    return [Row(name, title, [], [], sizes, "half", check)]


BENCHMARKS: dict[str, Callable[[str, Path, Path, int], list[Row]]] = {}
for network, words in (("resnet20", "ResNet-20 at 32 px"), ("resnet50", "ResNet-50 at 224 px")):
    BENCHMARKS[f"collect-{network}"] = partial(
        ratio, title=f"collect, images in memory, {words}, against the eager pass of the whole network",
        pure=f"collect-pure-{network}", other=f"forward-eager-{network}", target="≥ 1.0 ×", check=same_references,
    )  # fmt: skip
    BENCHMARKS[f"least-collect-{network}"] = partial(
        ratio, title=f"collect, images in memory, {words}, against the least work: a plain pass to the layer",
        pure=f"collect-pure-{network}", other=f"collect-least-{network}", target="≥ 1.0 ×", check=same_references,
    )  # fmt: skip
    BENCHMARKS[f"crp-collect-{network}"] = partial(
        ratio, title=f"collect, images in memory, {words}, against zennit-crp",
        pure=f"collect-pure-few-{network}", other=f"collect-yardstick-{network}", target="≥ 8 ×",
        check=same_references,
    )  # fmt: skip
    BENCHMARKS[f"files-{network}"] = partial(
        overlap,
        network=network,
        title=f"`pure collect` on JPEG files, {words}, against the slower of decoding and pass",
    )
for network, words in (
    ("resnet20", "64 neurons × 100, ResNet-20 on CIFAR-10"),
    ("resnet50", "16 neurons × 100 (256 on a GPU), ResNet-50 on 500 photos"),
):
    side = f"attribute-pure-{network}"
    BENCHMARKS[f"attribute-{network}"] = partial(
        ratio, title=f"attribute, {words}",
        pure={
            ", images in memory": f"attribute-memory-{network}",
            ", images in memory, `--precision bfloat16`": f"attribute-memory-bfloat16-{network}",
            ", files read and written": side,
            ", files read and written, `--precision bfloat16`": f"{side}-bfloat16",
        },
        other=f"attribute-yardstick-{network}", target="≥ 10 ×", check=same_relevance,
    )  # fmt: skip
    BENCHMARKS[f"least-attribute-{network}"] = partial(
        ratio, title=f"attribute, {words}, against the least work",
        pure={", images in memory": f"attribute-memory-{network}", ", files read and written": side},
        other=f"attribute-least-{network}", target="≥ 0.85 ×", check=same_relevance,
    )  # fmt: skip
    BENCHMARKS[f"shares-{network}"] = partial(shares, network=network)
for network, words in (
    ("resnet20", "16 × 100, ResNet-20"),
    ("resnet50", "16 × 100, ResNet-50 (the pairs of 20 of its images)"),
):
    BENCHMARKS[f"heatmaps-{network}"] = partial(
        ratio, title=f"CRP heatmaps and crops, {words}, against zennit-crp", pure=f"heatmaps-pure-{network}",
        other=f"heatmaps-yardstick-{network}", target="≥ 3 ×", check=same_boxes,
    )  # fmt: skip
BENCHMARKS["kmeans"] = partial(
    ratio, title="k-means, 256 neurons × 100 × 1,024, k = 2 … 5, against a loop over scikit-learn",
    pure="kmeans-pure", other="kmeans-yardstick", target="≥ 10 ×", check=same_labels,
)  # fmt: skip
BENCHMARKS["evaluate"] = partial(
    ratio, title="evaluate, 256 neurons, 4 kinds of features, k = 2 … 5, against the paper's loop",
    pure="evaluate-pure", other="evaluate-yardstick", target="≥ 10 ×", check=same_distances,
)  # fmt: skip
BENCHMARKS["startup"] = startup
BENCHMARKS["growth"] = growth
BENCHMARKS["store"] = store

if __name__ == "__main__":
    main()
