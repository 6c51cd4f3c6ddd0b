"""How many small faults in core/ the tests of core/ find: `python tests/benchmarks/mutants.py [MODULE…]`.

The faults are those of cosmic-ray (pip install cosmic-ray; it is no dependency of pure). Each is put into one module of
a process forked off one that has torch and the like imported already, which runs the tests of that module alone, until
the first that fails. Nothing is written beside the source.
"""

import argparse
import ast
import difflib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path

# A fork has only the thread that forked, and what OpenMP began before it cannot go on.
os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"}

HERE = Path(__file__).parents[2]
CORE, TESTS = HERE / "pure_cli" / "core", HERE / "tests" / "core"
ALSO = {  # modules that are held to account by the tests of others too
    "circuits": ["directions"],
    "clusters": ["reduction"],
    "features": ["reduction"],
    "kmeans": ["clusters", "reduction"],
    "projection": ["reduction"],
    "replay": ["units"],
}
WANTED = ("pytest", "hypothesis", "torchvision", "crp.attribution", "h5py", "scipy.stats", "umap")
PATIENCE = 4.0  # times as long as the tests take without a fault; then the fault counts as found
START = 5.0  # seconds more


@dataclass(frozen=True)
class Mutant:
    """One fault: the module's path, its text with the fault in it, and the lines that differ."""

    path: Path
    text: str
    change: str


Place = tuple[str, int]  # an operator of cosmic-ray, and at which of the places where it applies


def places(source: str) -> list[Place]:
    """Where cosmic-ray finds something to change, type hints left out."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    hints, found = list(_hints(ast.parse(source))), []
    for name in operator_names():
        kind = get_operator(name)
        if not kind.arguments() and not name.endswith("/NoOp"):
            starts = [start for node in ast_nodes(get_ast(source)) for start, _ in kind().mutation_positions(node)]
            found += [(name, i) for i, at in enumerate(starts) if not any(a <= at < b for a, b in hints)]
    return found


def mutants(path: Path, most: int, seed: int) -> Iterator[Mutant]:
    """A seeded sample of those of a module, equal ones once."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = path.read_text(encoding="utf-8")
    every = places(source)
    random.Random(seed).shuffle(every)
    known = {source}
    for name, occurrence in every:
        if len(known) > most:
            return
        try:
            text = mutate_code(source, get_operator(name)(), occurrence)
        except AttributeError:  # cosmic-ray 8.7 stumbles over exceptions with a dot in their name
            continue
        if text is not None and text not in known:
            known.add(text)
            yield Mutant(path, text, _change(source, text))


def _hints(tree: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            hint = getattr(node, name, None)
            if hint is not None:
                yield (hint.lineno, hint.col_offset), (hint.end_lineno, hint.end_col_offset)


def _change(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


def tests_of(module: str) -> list[str]:
    names = [module, *ALSO.get(module, [])]
    files = [TESTS / f"test_{prefix}{name}.py" for name in names for prefix in ("", "metric_")]
    return [str(file) for file in files if file.exists()]


def start(mutant: Mutant | None, tests: Sequence[str], folder: Path) -> int:
    """A process that runs the tests, with the fault in or without one; its number."""
    process = os.fork()
    if process:
        return process
    os.setsid()
    code = 3
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        if mutant is not None:
            sys.meta_path.insert(0, _Finder(mutant))
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0"]
        code = int(pytest.main([*options, f"--basetemp={folder / str(os.getpid())}", f"--rootdir={HERE}", *tests]))
    finally:
        os._exit(code)


class _Finder(SourceFileLoader):
    """Gives the mutant's text where its module is asked for."""

    def __init__(self, mutant: Mutant):
        name = ".".join(mutant.path.relative_to(HERE).with_suffix("").parts)
        super().__init__(name, str(mutant.path))
        self._text = mutant.text

    def find_spec(self, name: str, path: object = None, target: object = None):
        return spec_from_loader(name, self) if name == self.name else None

    def get_code(self, fullname: str):
        return compile(self._text, self.path, "exec", dont_inherit=True)


def survivors(chosen: Sequence[Mutant], tests: Sequence[str], jobs: int, limit: float, folder: Path) -> list[Mutant]:
    """The faults with which all tests pass."""
    waiting, running, found = list(chosen), {}, []
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[start(mutant, tests, folder)] = mutant, time.monotonic() + limit
        for process, (mutant, deadline) in list(running.items()):
            done, status = os.waitpid(process, os.WNOHANG)
            if done or time.monotonic() > deadline:
                if not done:
                    os.killpg(process, signal.SIGKILL)
                    os.waitpid(process, 0)
                elif status == 0:
                    found.append(mutant)
                del running[process]
                shutil.rmtree(folder / str(process), ignore_errors=True)
        time.sleep(0.005)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="names in core/ and core/metrics/; all without")
    parser.add_argument("--most", type=int, default=100, help="faults of each module, a seeded sample of all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()

    paths = [path for path in sorted(CORE.rglob("*.py")) if path.stem != "__init__"]
    _warm()
    print("| module | made | run | found | left |\n|---|---|---|---|---|", flush=True)
    for path in paths:
        if options.modules and path.stem not in options.modules:
            continue
        tests = tests_of(path.stem)
        made = len(places(path.read_text(encoding="utf-8")))
        with tempfile.TemporaryDirectory() as folder:
            begin = time.monotonic()
            if not tests or os.waitpid(start(None, tests, Path(folder)), 0)[1]:
                print(f"| {path.stem} | {made} | 0 | | the tests do not pass without a fault, or there are none |")
                continue
            limit = START + PATIENCE * (time.monotonic() - begin)
            chosen = list(mutants(path, options.most, options.seed))
            left = survivors(chosen, tests, options.jobs, limit, Path(folder))
        print(f"| {path.stem} | {made} | {len(chosen)} | {len(chosen) - len(left)} | {len(left)} |", flush=True)
        for mutant in sorted(left, key=lambda one: one.change):
            print(f"{path.stem} {mutant.change}", file=sys.stderr, flush=True)


def _warm() -> None:
    """What takes seconds to import or to compile, and is none of pure's own."""
    for name in WANTED:
        import_module(name)
    sys.modules["umap"].UMAP(n_neighbors=6, random_state=0, n_jobs=1).fit([[i % 7, i % 5] for i in range(40)])


if __name__ == "__main__":
    main()
