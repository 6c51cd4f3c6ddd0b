"""Ray with several nodes on this machine: workers are killed, nodes go, and the bytes are those of one process."""

import json
import os
import shutil
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from materials import TINY_MODEL, make_images
from PIL import Image
from processes import wait_until
from ray_start import skipped_where_too_busy

from pure_cli import Workspace
from pure_cli.errors import PureError, PureFailure

pytest.importorskip("ray", reason="Ray is not installed: pip install 'pure-cli[ray]'")
pytestmark = pytest.mark.slow

BATCH, IMAGES = 4, 96
PART = IMAGES // BATCH // 6  # batches of one of six parts
STORE = 80 * 2**20  # bytes of shared memory for each node
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 8,
}  # a busy machine may be silent for seconds
MODEL = (
    TINY_MODEL
    + """
import json, os, time
from pathlib import Path

HERE = Path(__file__).parent


def taken(name):  # a file that is there, for the first who asks
    try:
        os.rename(HERE / name, HERE / f"{name}-taken")
    except OSError:
        return False
    return True


def wait_for_others(count):  # until they have seen so many batches
    end = time.monotonic() + 120
    own = f"[{os.getpid()},"
    while time.monotonic() < end:
        lines = (HERE / "log").read_text().splitlines()
        if sum(not line.startswith(own) for line in lines) >= count:
            return
        time.sleep(0.02)


class Watched(Tiny):
    def forward(self, x):
        if len(x.unique(dim=0)) == 4:
            self.watch(x)
        return super().forward(x)

    def watch(self, x):
        with open(HERE / "log", "a") as log:
            log.write(json.dumps([os.getpid(), float(x.double().sum())]) + "\\n")
        if taken("slow"):
            wait_for_others(int((HERE / "slow-taken").read_text()))
        if taken("die") or ((HERE / "poison").exists() and bool((x.flatten(2).std(2) < 1e-3).all(1).any())):
            os.kill(os.getpid(), 9)
        if os.environ.get("NODE") == "short-lived":
            (HERE / "stands-still").touch()
            time.sleep(600)
        if (HERE / "pace").exists():
            time.sleep(float((HERE / "pace").read_text()))


def watched():
    model = tiny()
    model.__class__ = Watched
    return model
"""
)


@dataclass
class World:
    """A network that writes down what it sees and does what files beside it say, and images."""

    folder: Path
    images: Path

    @property
    def seen(self) -> list[tuple[int, float]]:
        """Process and sum of the pixels of each batch that a network saw."""
        log = self.folder / "log"
        return [tuple(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def batches(self) -> list[float]:
        return [pixels for _, pixels in self.seen]

    @property
    def model(self) -> str:
        return f"{self.folder / 'model.py'}:watched"

    def say(self, name: str, text: str = "") -> None:
        (self.folder / name).write_text(text)

    def collect(self, name: str, **how):
        few = {"batch_size": BATCH, "workers": 0, "progress": False, "references": 8, "layer": "layer3"}
        return Workspace(self.folder / name).collect(model=self.model, data=self.images, **{**few, **how})

    def bytes_of(self, name: str, stage: str = "collect") -> bytes:
        return (self.folder / name / f"{stage}.h5").read_bytes()


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Images, of which one is white."""
    folder = make_images(tmp_path_factory.mktemp("images"), IMAGES - 1)
    Image.new("RGB", (32, 32), "white").save(folder / "class1" / "white.png")
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory, images) -> World:
    """What one process makes."""
    world = World(tmp_path_factory.mktemp("alone"), images)
    world.say("model.py", MODEL)
    world.collect("w")
    Workspace(world.folder / "w").attribute(neurons="0-5", batch_size=BATCH, workers=0, progress=False)
    return world


@pytest.fixture
def world(alone) -> Iterator[World]:
    """The same network, seen by nobody yet: results name its file."""
    for path in alone.folder.iterdir():
        if path.name not in ("w", "model.py", "__pycache__"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    return alone


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False, "_system_config": QUICK}
    cluster = Cluster()
    with skipped_where_too_busy():
        try:
            cluster.add_node(**head)
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
        except Exception:
            cluster.shutdown()
            raise
    yield cluster
    cluster.shutdown()


@pytest.fixture
def on(cluster) -> str:
    return f"ray:{cluster.address}"


def test_results_are_those_of_one_process_and_each_image_is_seen_once(world, on):
    """Even where one of two workers stands still until the other has done all other parts."""
    world.say("slow", str(5 * PART))
    outcome = world.collect("r", on=on, parts=6)
    assert world.bytes_of("r") == world.bytes_of("w")
    seen = Counter(pid for pid, _ in world.seen)
    assert sorted(seen.values()) == [PART, 5 * PART]
    assert len(set(world.batches)) == len(world.batches)
    assert (outcome.details["parts"], outcome.details["repeated"], outcome.details["workers"]) == (6, 0, 2)
    assert outcome.details["messages"] == 6 + 2, "one for each part, and one for each worker"


def test_relevances_are_those_of_one_process(world, on):
    (world.folder / "r").mkdir()
    shutil.copy(world.folder / "w" / "collect.h5", world.folder / "r")
    few = {"neurons": "0-5", "batch_size": BATCH, "workers": 0, "progress": False}
    outcome = Workspace(world.folder / "r").attribute(on=on, parts=3, **few)
    assert world.bytes_of("r", "attribute") == world.bytes_of("w", "attribute")
    assert outcome.details["messages"] == 3 + outcome.details["workers"]


def test_a_part_whose_worker_is_killed_is_done_again_and_no_other(world, on):
    world.say("die")
    outcome = world.collect("r", on=on, parts=6)
    assert world.bytes_of("r") == world.bytes_of("w")
    assert (outcome.details["repeated"], outcome.details["workers"]) == (1, 3)
    assert len(set(world.batches)) == IMAGES // BATCH
    assert len(world.batches) == IMAGES // BATCH + 1, "the killed worker saw one batch"


def test_a_part_whose_node_goes_is_done_elsewhere(world, on, cluster):
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE, env_vars={"NODE": "short-lived"})

    def remove() -> None:
        wait_until((world.folder / "stands-still").exists)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=remove)
    thread.start()
    world.say("pace", "0.2")
    outcome = world.collect("r", on=on, parts=12)
    thread.join()
    assert world.bytes_of("r") == world.bytes_of("w")
    assert outcome.details["repeated"] == 1
    assert len(world.batches) == IMAGES // BATCH + 1


def test_a_part_that_kills_every_worker_is_given_up_and_the_others_are_kept(world, on):
    world.say("poison")
    with pytest.raises(PureFailure, match=r"Part \d/2 was given up after 3 tries \(the last: the worker on .* died\)"):
        world.collect("r", on=on, parts=2)
    assert len(list((world.folder / "r" / "parts").glob("*.h5"))) == 1
    assert len(set(world.batches)) >= IMAGES // BATCH // 2


def test_what_is_wrong_with_the_options_is_told_at_once(world, cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    with pytest.raises(PureError, match="Unknown layer 'layer9'"):
        world.collect("r", on="ray", parts=1, layer="layer9")
    assert not world.batches


def test_ctrl_c_ends_the_workers_keeps_what_is_done_and_the_same_command_goes_on(world, on, cli):
    folder, few = world.folder / "r", ["--batch-size", BATCH, "--workers", "0", "-n", "8", "--layer", "layer3"]
    what = ["-w", folder, "--model", world.model, "--data", world.images]
    command = ["collect", *what, *few, "--on", on, "--parts", "6"]
    world.say("pace", "0.4")

    def interrupt() -> None:
        wait_until(lambda: len(list(folder.glob("parts/*.h5"))) >= 1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    answer = cli(*command)
    thread.join()
    assert answer.code == 130
    assert "the same command goes on from there" in answer.err
    wait_until(lambda: not any(map(is_alive, {pid for pid, _ in world.seen})))
    done = len(list(folder.glob("parts/*.h5")))
    world.say("log")
    (world.folder / "pace").unlink()
    assert cli(*command, "--json").json["parts"] == 6 - done
    assert len(world.batches) == (6 - done) * PART
    assert world.bytes_of("r") == world.bytes_of("w")


def test_where_nobody_listens_a_sentence_says_so_at_once(world):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
        for address in (f"ray:{nobody}", f"ray://{nobody}"):
            with pytest.raises(PureFailure, match=f"no Ray cluster to be had with --on {address} .*refused"):
                world.collect("r", on=address)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
