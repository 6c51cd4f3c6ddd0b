"""The frozen benchmark: methods are held against the truth, and get nothing else than what they may look at."""

import inspect
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

import pure_cli
from pure_cli import PureError, Workspace
from pure_cli.artifacts import Track, read_track, write_track
from pure_cli.commands.common import HABITS
from pure_cli.commands.usage import whole
from pure_cli.core.circuits import Circuits
from pure_cli.core.metrics.agreement import agreement
from pure_cli.core.units import has_its_meanings
from pure_cli.data.content import pixel_digests
from pure_cli.registry import COMMANDS
from pure_cli.stages.benchmarking import leaderboard
from pure_cli.stages.benchmarking.dictionaries import by_centroids, by_latents
from pure_cli.stages.benchmarking.measure import asks_for_k, try_out
from pure_cli.stages.benchmarking.methods import Method, chosen
from pure_cli.stages.benchmarking.opening import find_track
from pure_cli.stages.benchmarking.references import References

ROOT = Path(__file__).parents[2]
ALIKE = 0.95  # of the references, on another machine
FEW = 3  # units of each kind and number of meanings
CALM = {"device": "cpu", "workers": 0, "progress": False}


def part_of(track: Track, units: np.ndarray) -> Track:
    """A track with some of the units."""
    kept = units.tolist()
    module = [track.module[unit] for unit in kept]
    directions = [track.direction(unit) for unit in kept]
    weights = {name: np.concatenate([one.weight for one, own in zip(directions, module, strict=True) if own == name])
               for name in dict.fromkeys(module)}  # fmt: skip
    texts = {"kind": [track.kind[unit] for unit in kept], "module": module, "parts": [track.parts[i] for i in kept]}
    arrays = {name: getattr(track, name)[units] for name in ("reference", "truth", "half", "bias", "relu")}
    return replace(track, name="few", weights=weights, seeds=track.seeds[:2], **texts, **arrays)


@pytest.fixture(scope="module")
def digits() -> Track:
    return find_track("digits")


@pytest.fixture(scope="module")
def few(digits, tmp_path_factory) -> tuple[Track, str]:
    """A few of the digits' units, and their file."""
    keys = np.array([f"{kind} {count}" for kind, count in zip(digits.kind, digits.count, strict=True)])
    units = np.sort(np.concatenate([np.flatnonzero(keys == key)[:FEW] for key in dict.fromkeys(keys.tolist())]))
    file = tmp_path_factory.mktemp("track") / "few.npz"
    write_track(file, part_of(digits, units))
    return read_track(file), str(file)


NEAR = 0.03  # of an index of agreement over a few units
NULLS = 20  # the fewest that can tell two meanings from one


def measured(few, *methods, **options) -> dict[tuple[str, str, int], dict]:
    """The rows of the leaderboard, by method, kind and number of meanings."""
    outcome = pure_cli.benchmark(methods, track=few[1], builtin=False, **{**CALM, **options})
    return {(row["method"], row["units"], row["meanings"]): row for row in outcome.details["rows"]}


def knows_the_truth(track: Track):
    """A method that looks the images up in the track, which no method may."""
    names = {}
    for unit in range(len(track)):
        digests = track.image[track.reference[unit]].tolist()
        names[f"unit {unit}"] = dict(zip(digests, track.truth[unit].tolist(), strict=True))

    def truth(references):
        own = names[references.unit]
        return np.array([own[digest] for digest in pixel_digests(references.pixels).tolist()])

    return truth


def test_a_method_that_knows_the_truth_gets_one(few):
    rows = measured(few, knows_the_truth(few[0]))
    assert {(kind, count) for _, kind, count in rows} == {("unions", 1), ("unions", 2), ("unions", 3), ("merged", 2),
                                                          ("sums", 2)}  # fmt: skip
    for (_, _, count), row in rows.items():
        assert row["ari"] == (1 if count > 1 else None)
        assert row["noise"] == (0 if count > 1 else None)


def test_the_order_of_the_references_says_nothing(few, tmp_path):
    """Frozen one meaning after the other, where a method that counts along would get everything right."""
    track = few[0]
    order = np.argsort(track.truth, axis=1, kind="stable")
    told = {name: np.take_along_axis(getattr(track, name), order, axis=1) for name in ("reference", "truth")}
    write_track(tmp_path / "told.npz", replace(track, **told))

    def one_after_the_other(references):
        return np.arange(len(references)) * references.k // len(references) if references.k else None

    rows = measured((None, str(tmp_path / "told.npz")), one_after_the_other, "random")
    found = [row["ari"] for row in rows.values() if row["ari"] is not None]
    assert len(found) == 8 and np.abs(found).max() < 0.1


def test_a_method_is_called_with_every_seed_and_for_k_where_that_differs(few):
    calls = []

    def notes(references):
        calls.append((references.unit, references.k, references.seed))
        return None if references.k is None else np.arange(len(references)) % references.k

    rows = measured(few, notes)
    track, asked = few[0], asks_for_k(few[0])
    assert asked.tolist() == [kind == "unions" for kind in track.kind]
    expected = [
        (f"unit {unit}", int(count), seed)
        for unit, count in enumerate(track.count) for seed in track.seeds if count > 1
    ]  # fmt: skip
    expected += [(f"unit {unit}", None, track.seeds[0]) for unit in np.flatnonzero(asked)]
    first = int(track.count[0])
    expected += [("unit 0", first if first > 1 else None, track.seeds[0])]  # tried out, before the network is opened
    assert sorted(calls, key=str) == sorted(expected, key=str)
    assert {row["k_right"] for row in rows.values()} == {None}, "None: it does not choose"


def test_the_number_of_meanings_is_that_of_the_labels(few):
    def always_two(references):
        return np.arange(len(references)) % 2 * 7 - 3

    rows = measured(few, always_two)
    assert [rows["always_two", "unions", count]["k_right"] for count in (1, 2, 3)] == [0, 1, 0]
    assert [rows["always_two", "unions", count]["mean_k"] for count in (1, 2, 3)] == [2, 2, 2]


def test_no_reference_is_left_out_by_a_label_of_minus_one(few):
    truth = knows_the_truth(few[0])

    def sure_of_few(references):
        labels = np.unique(truth(references), return_inverse=True)[1]
        labels[len(labels) // 4 :] = -1
        return labels

    rows = measured(few, sure_of_few)
    assert all(row["ari"] < 0.6 for row in rows.values() if row["ari"] is not None)


def test_what_a_method_sees_is_what_it_computes_itself(few):
    """Relevances by `Circuits` on the images that it was given, and features from the activations."""
    seen = []

    def looks(references):
        circuits = Circuits(
            references.model, references.images, references.layer, ["layer2"], neurons=_direction(references)
        )
        import torch

        expected = circuits.relevance(torch.zeros(len(references), dtype=torch.int64))["layer2"].numpy()
        np.testing.assert_allclose(references.relevances("layer2"), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(references.features("pure@layer2"), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(references.activations, circuits.activation.numpy(), rtol=1e-4, atol=1e-6)
        mean = references.activations.clip(min=0).mean(axis=(2, 3))
        np.testing.assert_allclose(references.features("activation-mean"), mean, rtol=1e-4, atol=1e-6)
        assert references.lower_layers == {"paper": "layer2", "hidden": "layer3.0.relu1"}
        assert not {"truth", "label", "labels", "parts", "kind"} & set(dir(references))
        seen.append(references.unit)
        return np.zeros(len(references), int)

    measured(few, looks)
    assert len(set(seen)) == len(few[0])


def _direction(references):
    from pure_cli.core.directions import Directions

    return Directions(references.direction[None], np.array([references.bias], np.float32), references.relu)


def test_no_image_is_a_reference_on_both_halves_and_the_truth_of_a_union_is_its_class(digits):
    """Held against the images of the demo."""
    from pure_cli.demo.images import read_digits

    pixels = np.repeat(read_digits("all").pixels[:, None], 3, axis=1)
    place = {digest: i for i, digest in enumerate(pixel_digests(pixels).tolist())}
    assert all(digest in place for digest in digits.image.tolist())
    halves = [{digest for row in digits.reference[digits.half == half] for digest in digits.image[row].tolist()}
              for half in (0, 1)]  # fmt: skip
    assert not halves[0] & halves[1], "no image is a reference on both halves"
    labels = read_digits("all").labels
    own = labels[[place[digest] for digest in digits.image.tolist()]]
    np.testing.assert_array_equal(own, digits.label)
    for unit in np.flatnonzero(np.array(digits.kind) == "unions"):
        np.testing.assert_array_equal(digits.truth[unit], own[digits.reference[unit]])


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (lambda references: np.zeros(3, int), r"gave int64 of shape \(3,\); a whole number for each of the 50 ref"),
        (lambda references: np.zeros(len(references)), r"gave float64 of shape \(50,\)"),
        (lambda references: None, "gave None"),
        (lambda references: 1 / 0, r"failed: ZeroDivisionError: division by zero\. See where with --debug\."),
        (lambda references: references.features("pure@layre2"), r"layre2"),
        (lambda references: references.features("pure"), "Name the lower layer"),
        (lambda references: references.relevances("layer2", "lrp"), "Unknown rule 'lrp'"),
    ],
)
def test_a_method_that_gives_no_labels_is_told_with_the_unit(few, gives, said):
    gives.__name__ = "odd"
    with pytest.raises(PureError, match=rf"^The method 'odd' on unit \d+ \(\w+\) .*{said}"):
        measured(few, gives)


def test_a_method_of_the_user_is_refused_before_those_of_pure_take_their_time(few, monkeypatch):
    """Wrong on the last kind alone: nothing else was called yet, and no unit of another kind was called twice."""
    track, called = few[0], []

    def odd(references):
        called.append(references.unit)
        return np.zeros(3 if track.kind[int(references.unit.split()[1])] == track.kind[-1] else len(references), int)

    monkeypatch.setattr(References, "split", lambda *_: pytest.fail("a method of pure was called"))
    with pytest.raises(PureError, match=rf"^The method 'odd' on unit \d+ \({track.kind[-1]}\) gave int64"):
        pure_cli.benchmark([odd, "random"], track=few[1], **CALM)
    keys = {(kind, int(count)) for kind, count in zip(track.kind, track.count, strict=True)}
    assert len(set(called)) <= len(keys) < len(track)


@pytest.mark.parametrize(
    "gives",
    [
        lambda references: [0],
        lambda references: references.activation,
        lambda references: references.features("activaton-max"),
        lambda references: np.zeros(len(references) - len(references.direction[:1]), int),
    ],
)
def test_a_method_that_is_wrong_from_the_start_is_refused_before_anything_is_opened(few, monkeypatch, gives):
    monkeypatch.setattr("pure_cli.stages.benchmark.opened", lambda *_: pytest.fail("the network was opened"))
    with pytest.raises(PureError, match=r"^The method '<lambda>' on unit 0 "):
        measured(few, gives)


@pytest.mark.parametrize(
    "asks",
    [
        lambda references: references.model,
        lambda references: references.pixels,
        lambda references: references.images,
        lambda references: references.activations,
        lambda references: references.features("activation-max"),
        lambda references: references.relevances("layer2"),
    ],
)
def test_trying_a_method_out_ends_where_it_asks_for_the_network_or_the_images(few, asks):
    def method(references):
        try:
            asks(references)
        except Exception:
            pytest.fail("it could catch that")
        pytest.fail("it got something")

    try_out(few[0], [Method("asks", "", method, is_users=True)])


class Made:
    """References in a layer of 8 channels: half of the images have the first four of 8 atoms, half the others."""

    layer, seed, direction, k = "made", 0, np.ones(8, np.float32), 2

    def __init__(self, model, n: int = 40, positions: int = 9):
        rng = np.random.default_rng(0)
        self.model = model
        self.truth = np.arange(n) % 2
        atoms = np.linalg.qr(rng.standard_normal((8, 8)))[0]
        which = rng.integers(0, 4, (n, positions)) + 4 * self.truth[:, None]
        maps = atoms[which] * rng.uniform(1, 3, (n, positions, 1))
        self.activations = maps.transpose(0, 2, 1).reshape(n, 8, 3, -1).astype(np.float32)
        self.learned = 0

    def activations_of_all(self):
        self.learned += 1
        yield from np.array_split(self.activations, 3)

    def split(self, features):
        return KMeans(2, n_init=10, random_state=0).fit_predict(features)


@pytest.mark.parametrize("method", [by_latents, by_centroids])
def test_dictionaries_are_learned_once_and_tell_images_of_other_atoms_apart(method, monkeypatch):
    monkeypatch.setattr("pure_cli.core.autoencoder.STEPS", 200)
    monkeypatch.setattr("pure_cli.core.autoencoder.LAST_STEPS", 150)
    references = Made(torch.nn.Identity())
    found = [method(references) for _ in range(2)]
    assert agreement(found[0], references.truth).ari == 1 and (found[0] == found[1]).all()
    assert references.learned == 1
    method(Made(torch.nn.Identity()))
    references.seed = 1
    method(references)
    assert references.learned == 2


def test_methods_that_learn_for_minutes_are_measured_where_they_are_named(digits):
    usual = {method.name for method in chosen(digits, [], [], None, True)}
    assert not usual & {"sae", "centroids", "untrained-sae", "untrained-centroids"}
    named = [method.name for method in chosen(digits, ["sae", "paper"], [], None, False)]
    assert named == ["sae", "paper"]


def test_a_dictionary_is_shown_all_images_of_the_track_once(few):
    seen = []

    def method(references):
        if not seen:
            shown, own = np.concatenate(list(references.activations_of_all())), references.activations
            seen.append((shown.reshape(len(shown), -1), own.reshape(len(own), -1)))
        return np.zeros(len(references), int)

    measured(few, method)
    ((shown, own),) = seen
    assert len(shown) == len(few[0].image)
    assert max(np.abs(shown - one).max(axis=1).min() for one in own) < 1e-4


def test_what_is_no_method_is_refused(few):
    with pytest.raises(PureError, match="method"):
        pure_cli.benchmark(5)


def test_other_images_are_refused(few, tmp_path):
    from pure_cli.demo.images import write_digits

    write_digits(tmp_path / "held-out", split="held-out")
    with pytest.raises(PureError, match=r"of the 1,\d+ images of the track 'few' are not in .*held-out"):
        measured(few, "random", data=tmp_path / "held-out")


def test_images_in_another_order_and_place_are_the_same(few, tmp_path, monkeypatch):
    from pure_cli.demo.images import write_digits

    monkeypatch.setattr("pure_cli.stages.benchmarking.references.NULLS", NULLS)
    write_digits(tmp_path / "images", split="all")
    for i, file in enumerate(sorted((tmp_path / "images").rglob("*.png"), key=lambda path: path.name[::-1])):
        file.rename(tmp_path / f"{i:05d}.png")
    shutil.rmtree(tmp_path / "images")
    assert measured(few, "paper", data=tmp_path) == measured(few, "paper")


def test_batches_change_nothing(few, monkeypatch):
    monkeypatch.setattr("pure_cli.stages.benchmarking.references.NULLS", NULLS)
    every = ["paper", "hidden-activations", "activation-max"]
    one, other = measured(few, *every, batch_size=7), measured(few, *every)
    assert one.keys() == other.keys()
    for key, row in one.items():  # kernels round differently, which may move a reference, or the k of a unit
        assert row["ari"] == pytest.approx(other[key]["ari"], abs=NEAR)
        assert row.keys() == other[key].keys() and row["count"] == other[key]["count"]


def test_other_weights_are_refused_and_a_network_is_asked_for(few, tmp_path):
    with pytest.raises(PureError, match=r"^The weights of digits with none \(hash \w{8}…\) are not those of .* 'few'"):
        measured(few, "random", weights="none")
    file = tmp_path / "theirs.npz"
    write_track(file, replace(few[0], model="", network="theirs.py:net"))
    for given, wanted in (
        ({}, "its network (theirs.py:net) with --model, its weights with --weights (if the model's function does not "
             "load them) and its images with --data."),
        ({"weights": "w.pth", "data": tmp_path}, "its network (theirs.py:net) with --model."),
        ({"weights": "w.pth", "model": "theirs.py:net"}, "its images with --data."),
    ):  # fmt: skip
        with pytest.raises(PureError) as error:
            pure_cli.benchmark("random", track=str(file), **CALM, **given)
        assert str(error.value) == f"The track 'few' does not come whole with pure. Give {wanted}"
    write_track(file, replace(few[0], model="digits", state="0" * 32))
    with pytest.raises(PureError, match=r"weights of digits .* are not those of the track"):
        pure_cli.benchmark("random", track=str(file), **CALM)


def test_a_file_that_is_no_track_is_refused(tmp_path):
    file = tmp_path / "x.npz"
    for content in (b"", b"PK no archive"):
        file.write_bytes(content)
        with pytest.raises(PureError, match="is no track"):
            read_track(file)
    np.savez(file, a=np.zeros(3))
    with pytest.raises(PureError, match="is no track"):
        read_track(file)
    with pytest.raises(PureError, match=r"Unknown track 'digit'\. Did you mean 'digits'"):
        pure_cli.benchmark("random", track="digit", **CALM)


@pytest.mark.parametrize("name", ["digits", "resnet20-cifar10", "lite0-caltech101"])
def test_tracks_that_are_shipped_are_small_and_whole(name, tmp_path):
    track = find_track(name)
    file = Path(leaderboard.__file__).with_name("tracks") / f"{name}.npz"
    assert file.stat().st_size < 300_000
    assert track.name == name
    write_track(tmp_path / "again.npz", track)
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()
    assert read_track(tmp_path / "again.npz").version == track.version
    assert track.reference.max() == len(track.image) - 1
    for unit, parts in enumerate(track.parts):
        meanings = parts if track.kind[unit] == "unions" else range(len(parts))
        assert has_its_meanings(track.truth[unit], meanings)


def test_trees_of_meanings_are_kept(few, tmp_path):
    write_track(tmp_path / "t.npz", replace(few[0], branch={3: (0, 0, 1)}))
    assert read_track(tmp_path / "t.npz").branch == {3: (0, 0, 1)}
    assert read_track(tmp_path / "t.npz").version != few[0].version


@pytest.mark.slow
def test_the_digits_frozen_again_are_the_same(digits, tmp_path):
    """As docs/benchmark.md says it: the same bytes here, nearly the same on a machine that rounds otherwise."""
    from pure_cli.demo.images import write_digits

    write_digits(tmp_path / "digits", split="all")
    workspace = Workspace(tmp_path / "w")
    workspace.collect(model="digits", data=tmp_path / "digits", references=50, device="cpu", workers=0)
    for name in ("a", "b"):
        found = workspace.freeze(out=tmp_path / name / "digits.npz", budget=0.35, device="cpu", workers=0, force=True)
    assert (tmp_path / "a" / "digits.npz").read_bytes() == (tmp_path / "b" / "digits.npz").read_bytes()
    again = read_track(tmp_path / "a" / "digits.npz")
    assert found.details["version"] == again.version
    for name in ("name", "model", "state", "preprocessing", "layer", "kind", "module", "parts", "seeds"):
        assert getattr(again, name) == getattr(digits, name)
    for name in ("half", "relu"):
        np.testing.assert_array_equal(getattr(again, name), getattr(digits, name))
    assert (again.image[again.reference] == digits.image[digits.reference]).mean() > ALIKE
    assert (again.truth == digits.truth).mean() > ALIKE
    for module, weight in digits.weights.items():
        np.testing.assert_allclose(again.weights[module], weight, atol=0.05)  # probes, fitted until little changes


@pytest.mark.slow
def test_the_leaderboard_has_what_is_measured_on_the_digits(digits):
    """Within rounding, and what another machine may do to a single reference."""
    names = ["paper", "hidden", "activation-mean", "untrained-hidden", "random"]
    rows = pure_cli.benchmark(names, builtin=False, **CALM).details["rows"]
    there = {tuple(row[name] for name in ("method", "units", "meanings")): row
             for row in leaderboard.read_leaderboard(ROOT / leaderboard.FILE)
             if (row["track"], row["version"]) == ("digits", digits.version)}  # fmt: skip
    assert len(rows) == len(names) * 5
    for row in rows:
        own = there[row["method"], row["units"], str(row["meanings"])]
        for name, near in (("ari", 0.02), ("k_right", 0.11)):  # one unit in ten may be judged otherwise
            assert (own[name] == "") == (row[name] is None)
            if row[name] is not None:
                assert float(own[name]) == pytest.approx(row[name], abs=near)


def test_the_page_of_the_leaderboard_is_that_of_the_file():
    rows = leaderboard.read_leaderboard(ROOT / leaderboard.FILE)
    page = (ROOT / leaderboard.PAGE).read_text(encoding="utf-8")
    assert page == leaderboard.page(rows), "run: make leaderboard"
    current = {(track, find_track(track).version) for track in ("digits", "resnet20-cifar10", "lite0-caltech101")}
    assert {(row["track"], row["version"]) for row in rows} >= current


def test_the_call_in_python_has_the_options_of_the_command():
    parameters = inspect.signature(pure_cli.benchmark).parameters
    command = {option.name for option in whole("benchmark", COMMANDS["benchmark"]).params}
    assert set(parameters) - {"progress"} == command - {*HABITS, "help"}
    assert parameters["builtin"].default is True and parameters["track"].default == "digits"


def test_rows_of_a_method_take_the_place_of_its_own(tmp_path):
    row = dict.fromkeys(leaderboard.COLUMNS, "")
    old = [{**row, "track": "t", "version": "v", "method": method, "ari": "0.1"} for method in ("a", "b")]
    new = [{**old[1], "ari": "0.2"}, {**old[1], "method": "c|d", "link": "https://x.org", "ari": "0.3"}]
    found = leaderboard.added(old, new)
    assert [(one["method"], one["ari"]) for one in found] == [("a", "0.1"), ("b", "0.2"), ("c|d", "0.3")]
    assert "| [c\\|d](https://x.org) | 0.300 |" in leaderboard.page(found)
    (tmp_path / "rows.csv").write_text(leaderboard.as_csv(found))
    assert leaderboard.read_leaderboard(tmp_path / "rows.csv") == found
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(PureError, match="is no leaderboard"):
        leaderboard.read_leaderboard(tmp_path / "rows.csv")


METHODS = """
import numpy as np

def mine(references):
    return references.split(references.activations.max(axis=(2, 3)))

def two(references, k):
    return mine(references)

seeds = 3
"""


def test_a_method_of_a_file_stands_beside_the_others_and_writes_its_row(few, cli, tmp_path):
    (tmp_path / "methods.py").write_text(METHODS)
    row = tmp_path / "mine.csv"
    words = [
        "benchmark",
        "--track",
        few[1],
        "--device",
        "cpu",
        "--workers",
        0,
        "--no-builtin",
        "--method",
        "activation-max",
    ]
    words += ["--method", f"{tmp_path}/methods.py:mine"]
    answer = cli(*words, "--json", "--row", row, "--name", "Mine", "--link", "https://example.org")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    unions = next(table for table in found["tables"] if table["name"] == "benchmark-unions")
    assert [one["method"] for one in unions["rows"]] == ["Mine", "activation-max"]
    assert unions["verdict"].startswith("'Mine' on unions: ")
    mine, theirs = unions["rows"]
    assert mine["ARI, 2"] == theirs["ARI, 2"] and mine["ARI, 2 low"] <= mine["ARI, 2"] <= mine["ARI, 2 high"]
    rows = leaderboard.read_leaderboard(row)
    assert {one["link"] for one in rows if one["method"] == "Mine"} == {"https://example.org"}
    assert {one["link"] for one in rows if one["method"] != "Mine"} == {""}
    for more, said in (
        (["--method", f"{tmp_path}/methods.py:mien"], "Unknown function in"),
        (["--method", f"{tmp_path}/methods.py:seeds"], "is no function, but of type int. Functions there: mine, two."),
        (["--method", f"{tmp_path}/methods.py:two"], "The method 'two' has to take the references and nothing else: "),
        (["--method", f"{tmp_path}/other.py:mine"], "does not exist"),
        (["--method", "papers"], "Did you mean 'paper'"),
        (["--name", "paper"], "Two methods are called 'paper'"),
    ):
        answer = cli(*words, *(["--method", "paper"] if "--name" in more else []), *more)
        assert answer.code == 2 and said in answer.err


def test_the_example_of_the_docs_finds_meanings(few):
    text = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    namespace: dict = {}
    exec(re.search(r"```python\n# mine.py\n(.*?)```", text, re.DOTALL)[1], namespace)
    rows = measured(few, namespace["split"])
    assert rows["split", "unions", 2]["ari"] > 0.5
    assert "98 in `layer3`" in text and len(find_track("digits")) == 98


def test_a_workspace_with_several_layers_wants_one_named(tmp_path, images, model_file, tiny_weights):
    workspace = Workspace(tmp_path / "w")
    workspace.collect(
        model=f"{model_file}:tiny", weights=tiny_weights, data=images, layer=["layer2", "layer3"], references=4,
        device="cpu", workers=0,
    )  # fmt: skip
    with pytest.raises(PureError, match=r"A track is of one layer: name it with --layer \(layer2, layer3\)"):
        workspace.freeze(device="cpu", workers=0)
