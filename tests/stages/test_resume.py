"""Processes that are killed: nothing old is broken, the next run goes on from there and gives the same bytes."""

import json
import shutil
import signal
from functools import partial

import h5py
import numpy as np
import pytest
from materials import make_images
from PIL import Image
from processes import Lab, checkpoint_often, contents, stall, wait_until

BATCHES = 30  # of two images
SECONDS = 0.1  # for each in a process that is to be killed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Lab:
    """The results of processes that nobody killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    lab = Lab(folder, make_images(folder / "images"))
    for command in ("collect", "attribute", "cluster"):
        lab.run(command)
    assert lab.unfinished == []
    return lab


@pytest.fixture
def lab(tmp_path, undisturbed) -> Lab:
    """The same inputs, and a workspace of its own without results."""
    return Lab(tmp_path, undisturbed.images, undisturbed.model)


@pytest.fixture
def collected(lab, undisturbed) -> Lab:
    lab.workspace.mkdir()
    shutil.copy(undisturbed.workspace / "collect.h5", lab.workspace)
    return lab


def same(lab, undisturbed, name):
    assert lab.contents(name) == undisturbed.contents(name)
    assert lab.unfinished == []


def test_collect_killed_before_its_first_checkpoint_begins_again(lab, undisturbed):
    process = lab.start("collect", seconds=SECONDS)
    lab.kill(process, lambda: lab.batches >= 3)
    assert lab.steps("collect") == 0
    assert not (lab.workspace / "collect.h5").exists()
    lab.run("collect")
    assert lab.batches == BATCHES
    same(lab, undisturbed, "collect")


@pytest.mark.parametrize("workers", [0, 2])
def test_collect_killed_twice_goes_on_from_its_checkpoints(lab, undisturbed, workers):
    options = ("--workers", workers)
    behind = 0
    for _ in range(2):
        process = lab.start("collect", *options, seconds=SECONDS, first=checkpoint_often)
        lab.kill(process, lambda: lab.steps("collect") > behind)  # noqa: B023 (called at once)
        behind = lab.steps("collect")
        assert not (lab.workspace / "collect.h5").exists()
    assert behind < BATCHES
    lab.run("collect", *options)
    assert lab.batches == BATCHES - behind  # and not one more
    same(lab, undisturbed, "collect")


def test_collect_killed_while_its_file_is_written(lab, undisturbed):
    first = partial(checkpoint_often, partial(stall, ".collect.h5-"))
    process = lab.start("collect", seconds=SECONDS / 4, first=first)
    lab.kill(process, lambda: any(path.endswith(".tmp") for path in lab.unfinished) and lab.batches == BATCHES)
    assert not (lab.workspace / "collect.h5").exists()
    behind = lab.steps("collect")
    assert behind > 0
    lab.run("collect")
    assert lab.batches == BATCHES - behind
    same(lab, undisturbed, "collect")


def test_collect_killed_when_it_had_written_leaves_nothing_to_do(lab, undisturbed):
    """Killed between the last write and tidying up."""
    lab.run("collect")
    (lab.workspace / ".partial" / "collect").mkdir(parents=True)
    assert "up to date" in lab.run("collect").out
    same(lab, undisturbed, "collect")


def test_progress_shows_where_a_killed_collect_goes_on(lab, undisturbed):
    from pure_cli import Workspace

    process = lab.start("collect", seconds=SECONDS, first=checkpoint_often)
    lab.kill(process, lambda: lab.steps("collect") > 0)
    behind, seen = lab.steps("collect"), []
    Workspace(lab.workspace).collect(
        progress=lambda done, total: seen.append((done, total)),
        model=f"{undisturbed.model}:slow", data=lab.images, n=10, batch_size=2, workers=0,
    )  # fmt: skip
    assert seen[0] == (2 * behind, 60)
    assert [done for done, _ in seen] == list(range(2 * behind, 61, 2))


def test_attribute_killed_twice_goes_on_batch_by_batch(collected, undisturbed):
    lab, behind = collected, 0
    for target in (5, 12):
        process = lab.start("attribute", seconds=SECONDS, first=checkpoint_often)
        lab.kill(process, lambda: lab.steps("attribute") >= target)  # noqa: B023 (called at once)
        assert not (lab.workspace / "attribute.h5").exists()
        assert lab.batches - 1 <= lab.steps("attribute") - behind <= lab.batches
        behind = lab.steps("attribute")
    finished = json.loads(lab.run("attribute", "--json").out)
    assert lab.batches == plan_batches(undisturbed) - behind
    assert finished["computed"] == 12
    same(lab, undisturbed, "attribute")


def plan_batches(lab, neurons="all") -> int:
    """Full batches that it takes to attribute neurons: of the images that are a reference of one."""
    with h5py.File(lab.workspace / "collect.h5") as file:
        return len(np.unique(file["layers/layer3/image"][:][expand(neurons)])) // 2


def test_progress_shows_where_a_killed_attribute_goes_on(collected):
    from pure_cli import Workspace

    lab = collected
    process = lab.start("attribute", seconds=SECONDS, first=checkpoint_often)
    lab.kill(process, lambda: lab.steps("attribute") >= 6)
    seen = []
    Workspace(lab.workspace).attribute(progress=lambda done, total: seen.append((done, total)), batch_size=2, workers=0)
    assert 0 < seen[0][0] < 120
    assert seen[-1] == (120, 120)
    assert len(seen) <= 1 + plan_batches(lab) + 1 - 6  # where it begins, and the batches that were left


def test_attribute_killed_while_its_file_is_written_keeps_the_old_one_and_computes_nothing_again(collected):
    lab = collected
    lab.run("attribute", "--neurons", "0-2")
    before = (lab.workspace / "attribute.h5").read_bytes()
    shutil.copytree(lab.workspace, lab.folder / "twin")
    process = lab.start("attribute", "--neurons", "3-6", first=partial(stall, ".attribute.h5-"))
    lab.kill(process, lambda: any(name.startswith(".attribute.h5-") for name in lab.unfinished))
    assert (lab.workspace / "attribute.h5").read_bytes() == before
    lab.run("cluster")  # the old results are of use meanwhile
    lab.run("attribute", "--neurons", "3-6")
    assert lab.batches == 0
    assert lab.unfinished == []
    twin = Lab(lab.folder / "twin-lab", lab.images)
    twin.workspace = lab.folder / "twin"
    twin.run("attribute", "--neurons", "3-6")
    assert lab.contents("attribute") == twin.contents("attribute")


@pytest.mark.parametrize("others", ["0-3", "2,6-8"])
def test_other_neurons_in_between_do_not_cost_what_a_killed_attribute_had_done(collected, tmp_path, others):
    """Others that the killed run did not have, and others of which it had some."""
    lab, mine = collected, "4-11"
    twin = Lab(tmp_path / "twin", lab.images)
    shutil.copytree(lab.workspace, twin.workspace)
    process = lab.start("attribute", "--neurons", mine, seconds=SECONDS, first=checkpoint_often)
    lab.kill(process, lambda: lab.steps("attribute") >= 8)
    behind = lab.steps("attribute")
    lab.run("attribute", "--neurons", others)
    between = lab.contents("attribute")
    assert len(lab.unfinished) == 2  # .partial, and in it the work of the killed run
    whole = plan_batches(twin, mine)
    lab.run("attribute", "--neurons", mine)
    assert lab.batches == whole - behind
    assert lab.unfinished == []

    after = contents(lab.workspace / "attribute.h5")
    assert row_bytes(lab, others) == row_bytes_of(between, others)
    assert "layers/layer3/relevance/layer2" in after
    twin.run("attribute", "--neurons", mine)
    only_mine = sorted(set(expand(mine)) - set(expand(others)))
    listed = ",".join(map(str, only_mine))
    assert row_bytes(lab, listed) == row_bytes(twin, listed)


def expand(text) -> list[int]:
    from pure_cli.core.neurons import parse_neurons

    return parse_neurons(text, 12, "layer3").tolist()


def row_bytes(lab, neurons):
    return row_bytes_of(lab.contents("attribute"), neurons)


def row_bytes_of(found, neurons):
    """Relevances of some neurons, to the byte."""
    there = np.frombuffer(found["layers/layer3/neuron"][2], np.int64)
    dtype, shape, content = found["layers/layer3/relevance/layer2"]
    return np.frombuffer(content, dtype).reshape(shape)[np.searchsorted(there, expand(neurons))].tobytes()


def test_what_was_begun_of_other_images_is_dropped(tmp_path):
    lab = Lab(tmp_path, make_images(tmp_path / "images", 20))
    lab.run("collect")
    process = lab.start("attribute", seconds=SECONDS, first=checkpoint_often)
    lab.kill(process, lambda: lab.steps("attribute") >= 2)
    Image.new("RGB", (32, 32)).save(lab.images / "class0" / "another.png")
    lab.run("collect")
    lab.run("attribute", "--neurons", "1")
    assert lab.unfinished == []


def test_attribute_that_is_asked_to_stop_says_so_and_goes_on_later(collected, undisturbed):
    lab = collected
    process = lab.start("attribute", seconds=SECONDS, first=checkpoint_often)
    wait_until(lambda: lab.steps("attribute") >= 5 or process.poll() is not None)
    process.send(signal.SIGTERM)
    ended = process.end()
    assert ended.code == 128 + signal.SIGTERM
    assert "the same command goes on from there" in ended.err
    behind = lab.steps("attribute")
    lab.run("attribute")
    assert lab.batches == plan_batches(undisturbed) - behind
    same(lab, undisturbed, "attribute")


@pytest.mark.parametrize("moment", ["as it fits", "as it writes"])
def test_cluster_that_is_killed_keeps_the_old_virtual_neurons(collected, undisturbed, moment):
    lab = collected
    for name in ("attribute", "cluster"):
        shutil.copy(undisturbed.workspace / f"{name}.h5", lab.workspace)
    before = (lab.workspace / "cluster.h5").read_bytes()
    more = ("--k", "2,3,4", "--features", "pure,activation-max")
    if moment == "as it writes":
        process = lab.start("cluster", *more, first=partial(stall, ".cluster.h5-"))
        lab.kill(process, lambda: any(name.startswith(".cluster.h5-") for name in lab.unfinished))
    else:
        process = lab.start("cluster", *more)
        lab.kill(process, (lab.workspace / ".lock-owner").exists)
    assert (lab.workspace / "cluster.h5").read_bytes() == before
    lab.run("info")
    lab.run("cluster", *more)
    assert lab.unfinished == []
    found, old = lab.contents("cluster"), undisturbed.contents("cluster")
    assert {name: value for name, value in found.items() if "/pure/k2" in name} == {
        name: value for name, value in old.items() if "/pure/k2" in name
    }


def test_render_that_is_killed_keeps_its_figures_and_draws_the_rest(collected, undisturbed):
    lab = collected
    for name in ("attribute", "cluster"):
        shutil.copy(undisturbed.workspace / f"{name}.h5", lab.workspace)
    options = ("--neurons", "0-3", "--crop", "none", "--images", "1")
    figures = lab.workspace / "figures" / "layer3"
    process = lab.start("render", *options)
    lab.kill(process, lambda: len(list(figures.glob("*.png"))) >= 2)
    entries = json.loads((lab.workspace / "figures" / "figures.json").read_text())
    kept = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in figures.glob("*.png")}
    for path in kept:
        Image.open(path).load()
    outcome = json.loads(lab.run("render", *options, "--json").out)
    assert outcome["computed"] == 4 - len(entries)
    for name in entries:
        path = lab.workspace / "figures" / name
        assert (path.stat().st_mtime_ns, path.read_bytes()) == kept[path]
    assert len(list(figures.glob("*.png"))) == 4
    assert lab.unfinished == []
