"""Flip bytes and cut files short, and read them: python tests/trust/damage.py --cases 600 [--seed 0]

Each kind of file of a workspace in turn. What is read from it is what was written, or an error names the file and the
command that makes it anew; unfinished work that is damaged is begun anew. Never another number, never a traceback.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from world import FEW, World, left_over, results

from pure_cli import artifacts
from pure_cli.artifacts.calibrations import FILE, Calibration
from pure_cli.data.cache import Cache
from pure_cli.errors import UnreadableFile
from pure_cli.stages.evaluation.result_files import TABLES, ResultFiles, ResultKey
from pure_cli.workspace import Store

COMMANDS = {"crops": "embed"}


def read_all(store: Store, name: str) -> object:
    """Everything that the stages read of a file."""
    if name == "collect":
        return artifacts.read_collected(store)
    if name == "attribute":
        found = artifacts.read_attributed(store)
        more = []
        for layer, own in found.items():
            places = list(range(len(own.neuron)))
            more += [artifacts.read_activations(store, layer, kind) for kind in ("max", "mean")]
            for lower in own.lower_layers:
                more += list(artifacts.read_relevances(store, layer, lower, _array(places)))
                more += [artifacts.read_norms(store, layer, lower, _array(places))]
                more += [artifacts.read_activations(store, layer, f"lower/{lower}")]
        return found, more
    if name in ("embed", "crops"):
        array = {"embed": "embedding", "crops": "box"}[name]
        index = artifacts.read_rows_index(store, name, array)
        return index, [
            list(artifacts.read_rows(store, name, layer, kind, array, _array(range(len(rows.neuron)))))
            for (layer, kind), rows in index.items()
        ]
    if name == "cluster":
        return artifacts.read_clusterings(store)
    if name == "evaluate":
        found = artifacts.read_evaluations(store)
        with store.read("evaluate") as file:
            values = {}
            file.visititems(lambda path, node: values.update({path: node[()]}) if hasattr(node, "shape") else None)
        return found, values
    if name == "calibration":
        return artifacts.read_calibrations(store)
    raise ValueError(name)


def _array(places: object) -> object:
    import numpy as np

    return np.array(list(places), np.int64)  # type: ignore[call-overload]


def flat(value: object) -> object:
    """Something to compare, whatever arrays are in it."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return {str(key): flat(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [flat(own) for own in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: flat(getattr(value, name)) for name in value.__dataclass_fields__}
    return repr(value) if not hasattr(value, "__dict__") or isinstance(value, str) else flat(vars(value))


@dataclass
class Damage:
    """Cases of one seed in one world.

    Attributes
    ----------
    told : by file, cases that were named as damaged, or begun anew
    right : cases in which all data were as they had been written
    faults : what should not have been
    """

    world: World
    seed: int
    told: Counter = field(default_factory=Counter)
    right: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.world.make("evaluate")
        self.root = self.world.folder / "damaged" / "workspace"
        self.world.restore("evaluate", self.root)
        self.store = Store(self.root)
        recipe = Calibration("pure@layer2", ["layer2"], "gap", 0.3125, "truth", {"ari": 0.71}, {"n": 6}, "pure")
        artifacts.write_calibration(self.store, "layer3", recipe)

    def spoil(self, content: bytes) -> tuple[str, bytes]:
        """One to four bytes with other bits, or the file cut short."""
        if self.random.random() < 0.3:
            length = self.random.randrange(len(content))
            return f"cut to {length} of {len(content)}", content[:length]
        spoilt, places = bytearray(content), []
        for _ in range(self.random.choice((1, 1, 1, 4))):
            place = self.random.randrange(len(content))
            spoilt[place] ^= self.random.randrange(1, 256)
            places.append(place)
        return f"bytes {places} flipped", bytes(spoilt)

    def files(self, cases: int) -> None:
        """Damage to results, found as they are read."""
        names = ("collect", "attribute", "embed", "crops", "cluster", "evaluate", "calibration")
        paths = {name: self.store.path(name) for name in names} | {"calibration": self.root / FILE}
        whole = {name: path.read_bytes() for name, path in paths.items()}
        truth = {name: flat(read_all(self.store, name)) for name in names}
        for case in range(cases):
            name = names[case % len(names)]
            what, spoilt = self.spoil(whole[name])
            paths[name].write_bytes(spoilt)
            label, command = f"{paths[name].name}, {what}", COMMANDS.get(name, name).replace("calibration", "calibrate")
            try:
                same = flat(read_all(self.store, name)) == truth[name]
                self.note(name, same, told=False, fault=f"{label}: other data")
            except UnreadableFile as error:
                named = str(paths[name]) in str(error) and f"`pure {command} --force`" in str(error)
                self.note(name, named, told=True, fault=f"{label}: {error}")
            except Exception as error:
                self.faults.append(f"{label}: {type(error).__name__}: {error}")
            paths[name].write_bytes(whole[name])

    def tables(self, cases: int) -> None:
        """Damage to ``evaluate.json``, which is made again."""
        path = self.root / TABLES
        whole, where = path.read_bytes(), ResultKey("layer3", "labels", "k-2")
        provenance = artifacts.read_evaluations(self.store)[where.key]
        truth = ResultFiles(self.store, False).tables(where, provenance)
        assert truth
        for _ in range(cases):
            what, spoilt = self.spoil(whole)
            path.write_bytes(spoilt)
            found = ResultFiles(self.store, False).tables(where, provenance)
            self.note(TABLES, found in (truth, None), found is None, f"{TABLES}, {what}: other tables")
        path.write_bytes(whole)

    def index(self, cases: int) -> None:
        """Damage to what is kept about a data set, which is made again."""
        import numpy as np

        folder, data = self.world.folder / "data-index", self.world.folder / "data"
        data.write_text("data")
        look: Callable = lambda file: {"start": np.arange(500), "size": np.arange(500) % 7}  # noqa: E731
        truth = flat(Cache(folder).parts("shards", [data], look))
        (path,) = folder.iterdir()
        whole = path.read_bytes()
        for _ in range(cases):
            what, spoilt = self.spoil(whole)
            path.write_bytes(spoilt)
            try:
                looked: list[int] = []
                found = flat(Cache(folder).parts("shards", [data], lambda file: looked.append(1) or look(file)))  # noqa: B023
                self.note("data-index", found == truth, bool(looked), f"data-index, {what}: other places")
            except Exception as error:
                self.faults.append(f"data-index, {what}: {type(error).__name__}: {error}")

    def unfinished(self, cases: int) -> None:
        """Damage to unfinished work: the command comes to the same bytes, or says to run it again."""
        jobs = [self.world.jobs[name] for name in ("collect", "attribute", "embed", "directions")]
        self.world.make("directions")
        workspace = self.world.folder / "begun" / "workspace"
        for case in range(cases):
            job = jobs[case % len(jobs)]
            self.world.restore(job.base, workspace)
            self.world.run(job, workspace, first=_stop_at_the_end)
            partial = [path for path in (workspace / ".partial").rglob("*") if path.is_file()]
            path = self.random.choice([path for path in partial if path.stat().st_size])
            what, spoilt = self.spoil(path.read_bytes())
            path.write_bytes(spoilt)
            label = f"{path.relative_to(workspace)}, {what}"
            ended = self.world.run(job, workspace)
            again = ended.code == 1 and "Run the command again" in ended.err
            if again:
                ended = self.world.run(job, workspace)
            self.note(f"unfinished {job.name}", ended.code == 0, again, f"{label}: {ended.err}")
            same = results(workspace) == results(self.world.after(job.name))
            if not same or left_over(workspace):
                self.faults.append(f"{label}: not the same bytes, or left over: {left_over(workspace)}")

    def commands(self, cases: int) -> None:
        """Damage that commands meet: one line that names the file, or the result."""
        readers = {
            "collect": ["attribute", "--neurons", "0-11", *FEW],
            "attribute": ["cluster", "--features", "pure", "--k", 4],
            "embed": ["cluster", "--features", "pixels+activation", "--k", 4],
            "crops": ["embed", "--embedder", "pixels", "--crop", "activation", *FEW],
            "cluster": ["cluster", "--k", "2,3", "--features", "pure,activation-max"],
            "evaluate": ["evaluate", "--metric", "labels", "--k", "2"],
        }
        workspace = self.world.folder / "met" / "workspace"
        for case in range(cases):
            name = list(readers)[case % len(readers)]
            self.world.restore("evaluate", workspace)
            path = workspace / f"{name}.h5"
            what, spoilt = self.spoil(path.read_bytes())
            path.write_bytes(spoilt)
            ended = self.world.start(readers[name], workspace).end()
            label = f"{readers[name][0]}, {path.name}, {what}"
            if ended.code:
                line = ended.err.strip().splitlines()[-1]
                good = ended.code == 2 and str(path) in line and "--force" in line and "Traceback" not in ended.err
                self.note(f"commands, {name}", good, True, f"{label}: {ended.err}")
                made = self.world.run(self.world.jobs[COMMANDS.get(name, name)], workspace, more=["--force"])
                if made.code or self.world.start(readers[name], workspace).end().code:
                    self.faults.append(f"{label}: made again: {made.err}")
            else:
                self.note(f"commands, {name}", True, False, "")

    def note(self, name: str, good: bool, told: bool, fault: str) -> None:
        if not good:
            self.faults.append(fault)
        (self.told if told else self.right)[name] += 1

    def run(self, cases: int, runs: int) -> None:
        self.tables(cases // 10)
        self.index(cases // 10)
        self.commands(runs)
        self.unfinished(runs)
        self.files(cases - 2 * (cases // 10) - 2 * runs)


def _stop_at_the_end() -> None:
    """Kill the process when it begins to write its result: its work is unfinished then, and complete."""
    import os
    import signal

    from pure_cli import files, workspace
    from pure_cli.stages import directions
    from pure_cli.stages.references import dataset_pass as search
    from pure_cli.stages.resume import checkpoint

    def die(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    whole = workspace.Store.replace
    workspace.Store.replace = lambda self, name: die() if name != "state" else whole(self, name)  # type: ignore
    search.CHECKPOINT_SECONDS = directions.CHECKPOINT_SECONDS = 0.0
    save = files.write_whole
    directions._Target.write = die  # type: ignore
    assert save is checkpoint.write_whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--runs", type=int, default=60, help="cases of them through commands, twice")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, began = Path(tempfile.mkdtemp()), time.monotonic()
    try:
        damage = Damage(World(folder), options.seed)
        damage.run(options.cases, options.runs)
    finally:
        shutil.rmtree(folder)
    found = {
        "cases": sum(damage.told.values()) + sum(damage.right.values()),
        "named_or_made_again": dict(damage.told),
        "data_right": dict(damage.right),
        "faults": damage.faults,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(found, indent=1))
    raise SystemExit(bool(damage.faults))


if __name__ == "__main__":
    main()
