"""Harder units with known meanings: what they are made of, and that the usual ones stay as they are."""

from pathlib import Path

import numpy as np
import pytest

from pure_cli import Workspace
from pure_cli.artifacts import read_collected, read_track
from pure_cli.data.listing import list_images
from pure_cli.errors import PureError
from pure_cli.settings.calibrate import CalibrateSettings
from pure_cli.stages.calibrate import _provenance
from pure_cli.stages.planted.benchmark import layer_under_test
from pure_cli.stages.planted.candidates import LEVELS, USUAL
from pure_cli.stages.planted.harder import BRANCH, PARTS, clearest_trees
from pure_cli.stages.planted.units import make_units, release

pytestmark = pytest.mark.usefixtures("few_nulls")


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    from pure_cli.demo.images import write_digits

    folder = tmp_path_factory.mktemp("harder")
    write_digits(folder / "images", split="all")
    workspace = Workspace(folder / "w")
    workspace.collect(model="digits", data=folder / "images", n=12, limit=1200, device="cpu", workers=0)
    return workspace


def made(workspace, **more):
    store, own = workspace.store, read_collected(workspace.store)
    settings = CalibrateSettings(budget=0.2, device="cpu", workers=0, force=True, **more)
    listing = list_images(own.origin["data"], own.origin["limit"])
    test = layer_under_test(store, own, "layer3", listing, settings)
    units, seen = make_units(test, lambda _: None, lambda _: None)
    release(test, seen)
    return units, test, listing


@pytest.fixture(scope="module")
def harder(collected):
    """Units of all kinds that this layer can have, by kind and half; and what the usual ones were without them."""
    usual, _, _ = made(collected)
    found, test, listing = made(collected, units="finer,alike,tree,correlated", embedder="pixels")
    return usual, found, test, listing


def shown(one, listing):
    """(M, n) labels of the images that are references."""
    half = read_collected(one.store)
    images = half.layers[one.layer].top.image[one.neuron]
    return list_images(half.origin["data"], None).labels[images]


def test_the_usual_units_are_what_they_are_without_harder_ones(harder):
    usual, found, _, _ = harder
    again = [one for one in found if one.kind in USUAL]
    assert [(one.kind, one.half, one.parts, one.neuron.tolist()) for one in again] == [
        (one.kind, one.half, one.parts, one.neuron.tolist()) for one in usual
    ]
    for one, other in zip(again, usual, strict=True):
        np.testing.assert_array_equal(one.truth, other.truth)
        assert not other.alone


def test_every_kind_is_made_and_what_lacks_a_meaning_is_counted(harder):
    _, found, _, _ = harder
    kinds = {one.kind for one in found if len(one.neuron)}
    assert {"finer", "alike", "tree"} <= kinds and kinds & set(LEVELS)
    for one in found:
        tried = sum(one.tried.values())
        assert len(one.neuron) <= tried
        for truth, parts in zip(one.truth, one.parts, strict=True):
            meanings = range(len(parts)) if one.kind in ("merged", "sums", *LEVELS) else parts
            if len(parts) > 1:
                assert all((truth == meaning).mean() >= 0.4 / len(parts) for meaning in meanings)
    assert sum(sum(one.tried.values()) for one in found) > sum(len(one.neuron) for one in found)


def test_meanings_of_finer_units_are_parts_of_one_class(harder):
    _, found, _, listing = harder
    for one in found:
        if one.kind == "finer" and len(one.neuron):
            assert all(len({part // PARTS for part in parts}) == 1 for parts in one.parts)
            known = one.truth >= 0
            np.testing.assert_array_equal(one.truth[known] // PARTS, shown(one, listing)[known])


def test_of_a_tree_the_first_two_are_close_and_strays_count_for_nothing(harder):
    _, found, _, listing = harder
    for one in found:
        if one.kind == "tree":
            assert one.branch == BRANCH and one.fewest in (0, 3)
            labels = shown(one, listing)
            for truth, own, parts in zip(one.truth, labels, one.parts, strict=True):
                np.testing.assert_array_equal(truth, np.where(np.isin(own, parts), own, -1))
        else:
            assert one.branch is None


def test_the_clearest_tree_comes_first_with_the_close_ones_in_front():
    places = np.array([0.0, 10.0, 1.0, 5.0])
    apart = np.abs(places[:, None] - places[None])
    assert clearest_trees(apart, [(0, 1, 3), (0, 1, 2), (0, 2, 3)]) == [(0, 2, 1), (0, 2, 3), (0, 3, 1)]


def test_what_is_known_without_the_network_is_held_against_the_meanings(harder):
    _, found, _, _ = harder
    for one in found:
        assert list(one.alone) == ["pixels", "embedder"]
        for values in one.alone.values():
            np.testing.assert_array_equal(np.isnan(values), one.count == 1)
            assert (values[one.count > 1] <= 1).all()
    finer = np.concatenate([one.alone["embedder"] for one in found if one.kind == "finer"])
    assert finer.mean() > 0.3  # its own parts of a class


@pytest.mark.parametrize(
    ("units", "says"), [("joined", "the layer that gives the network's output"), ("finer", "needs an embedder")]
)
def test_what_cannot_be_made_says_so(collected, units, says):
    with pytest.raises(PureError, match=says):
        made(collected, units=[units])


def test_an_unknown_kind_of_units_is_refused(collected, cli):
    answer = cli("calibrate", "-w", collected.path, "--units", "finest")
    assert answer.code == 2 and "finer, alike, tree, correlated, joined" in " ".join(answer.err.split())


def test_a_calibration_of_the_usual_units_is_the_one_it_was(collected):
    source = read_collected(collected.store).layers["layer3"].provenance
    plain = _provenance("layer3", source, CalibrateSettings(embedder="pixels"), {})
    assert {"units", "embedder"}.isdisjoint(plain.settings)
    more = [_provenance("layer3", source, CalibrateSettings(units=kinds, embedder="pixels"), {}).fingerprint
            for kinds in ("tree", "tree,alike", ["alike", "tree"])]  # fmt: skip
    assert len({plain.fingerprint, *more}) == 3 and more[1] == more[2]


@pytest.mark.slow
def test_outputs_joined_are_told_apart_and_have_tables(tmp_path, collected):
    from pure_cli.models.layers import list_layers  # the demo's network has a classifier

    own = Workspace(tmp_path / "w")
    last = _last_layer(collected, list_layers)
    own.collect(model="digits", data=read_collected(collected.store).origin["data"], layer=last, n=12, limit=1200,
                device="cpu", workers=0)  # fmt: skip
    outcome = own.calibrate(budget=0.1, units="joined,tree", device="cpu")
    tables = {one["name"]: one for one in outcome.details["tables"]}
    best = {row["features"]: row for row in tables["planted-joined"]["rows"]}["activation-max"]
    assert best["ARI, 2"] > 0.8
    made_of = {(row["units"], row["meanings"]): row for row in tables["planted-made"]["rows"]}
    assert made_of["joined", 2]["made"] and made_of["joined", 3]["candidates"]
    tree = tables["planted-tree"]["rows"]
    assert all(row["tree by chance"] < 0.2 and row["ARI, 3"] <= 1 for row in tree)
    assert own.evaluate(metric=["planted"]).computed == 0


def _last_layer(workspace, list_layers):
    from pure_cli.stages.runtime.images import first_image
    from pure_cli.stages.runtime.network import open_network

    own = read_collected(workspace.store)
    network = open_network(own, "cpu")
    listing = list_images(own.origin["data"], own.origin["limit"])
    return [layer.name for layer in list_layers(network.model, network.inputs(first_image(listing, network)))][-1]


def test_harder_units_are_frozen_with_their_trees(collected, tmp_path):
    options = {"units": ["tree", "correlated"], "budget": 0.2, "workers": 0, "device": "cpu"}
    outcome = collected.freeze(out=tmp_path / "hard.npz", **options)
    track = read_track(Path(outcome.details["file"]))
    trees = [unit for unit, kind in enumerate(track.kind) if kind == "tree"]
    assert trees and set(track.branch) == set(trees) and all(len(set(own)) == 2 for own in track.branch.values())
    assert {"unions", "correlated-0"} <= set(track.kind)
