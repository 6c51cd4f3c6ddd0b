"""One side of a benchmark in a process of its own; started by `run.py`."""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sides import SIDES

from pure_cli.core.precision import exact


def main(name: str, shared: Path, work: Path) -> None:
    with exact():  # of torch's own choice, a GPU multiplies in TF32, and answers cannot be held against each other
        _main(name, shared, work)


def _main(name: str, shared: Path, work: Path) -> None:
    run = SIDES[name](shared, work)
    print("bench ready", flush=True)
    answer: dict[str, np.ndarray] = {}
    for _ in sys.stdin:
        begin = time.perf_counter()
        answer = run()
        print(f"bench took {time.perf_counter() - begin}", flush=True)
    path = Path(tempfile.mkdtemp(dir=work)) / "answer.npz"
    np.savez(path, **answer)  # type: ignore[arg-type]
    print(f"bench answer {path}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
