"""How often calibrate passes the images: once, from where a killed process left it."""

import numpy as np
import pytest

from pure_cli import Workspace
from pure_cli.artifacts import read_attributed, read_collected, read_relevances
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches
from pure_cli.settings.calibrate import CalibrateSettings
from pure_cli.settings.shared import Running
from pure_cli.stages.planted import dataset_pass
from pure_cli.stages.planted.benchmark import layer_under_test
from pure_cli.stages.planted.dataset_pass import pass_over_images
from pure_cli.stages.planted.units import make_units, release
from pure_cli.stages.runtime.network import open_network


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    from pure_cli.demo.images import write_digits

    folder = tmp_path_factory.mktemp("passes")
    write_digits(folder / "images", split="all")
    workspace = Workspace(folder / "w")
    workspace.collect(model="digits", data=folder / "images", n=8, limit=300, device="cpu", workers=0)
    return workspace


def units(workspace):
    """Units of a small benchmark, and references by half and layer."""
    store, settings = workspace.store, CalibrateSettings(budget=0.05, device="cpu", workers=0, force=True)
    own = read_collected(store)
    listing = list_images(own.origin["data"], own.origin["limit"])
    test = layer_under_test(store, own, "layer3", listing, settings)
    made, seen = make_units(test, lambda _: None, lambda _: None)
    release(test, seen)
    tops = {(one.half, one.layer): read_collected(one.store).layers[one.layer].top for one in made}
    return made, tops, relevances(made), test


def relevances(made):
    """Of all units at all lower layers, one after the other."""
    found = []
    for one in made:
        attributed = read_attributed(one.store)[one.layer]
        places = np.searchsorted(attributed.neuron, one.neuron)
        found += [
            rows for lower in attributed.lower_layers for rows in read_relevances(one.store, one.layer, lower, places)
        ]
    return found


def counted(batches, shown):
    """The same, noting how many images are asked for."""

    def wrapped(listing, index, *args, **kwargs):
        shown.append(len(index))
        return batches(listing, index, *args, **kwargs)

    return wrapped


def test_references_and_relevances_of_units_come_from_what_was_kept_as_from_another_pass(collected, monkeypatch):
    monkeypatch.setattr(dataset_pass, "MOST_KEPT", 0)
    passed, expected, attributed, _ = units(collected)
    assert all(one.begun is None for one in passed)

    monkeypatch.undo()
    shown = []
    monkeypatch.setattr(dataset_pass, "batches", counted(batches, shown))
    for where in ("data.loader", "stages.resume.row_parts"):
        monkeypatch.setattr(f"pure_cli.{where}.batches", counted(batches, shown))
    found, tops, begun, test = units(collected)
    assert len(begun) == len(attributed) > 0
    for one, other in zip(begun, attributed, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert [(one.kind, one.half, one.parts) for one in found] == [(one.kind, one.half, one.parts) for one in passed]
    for one, other in zip(found, passed, strict=True):
        np.testing.assert_array_equal(one.truth, other.truth)
    for key, top in tops.items():
        np.testing.assert_array_equal(top.image, expected[key].image)
        np.testing.assert_allclose(top.value, expected[key].value, rtol=1e-5, atol=1e-6)
    assert sum(shown) == len(test.listing), "each image passes once"
    assert not collected.store.partials(test.unfinished), "the disk is given back"


def test_a_killed_pass_goes_on_and_sees_the_same(collected, tmp_path):
    own = read_collected(collected.store)
    network, listing = open_network(own, "cpu"), list_images(own.origin["data"], 100)
    where = network, listing, "layer3", None, ["layer2"], Running(batch_size=16, device="cpu", workers=0)
    whole = pass_over_images(*where, lambda _: None, tmp_path / "whole", "key")
    done = []

    def killed(count):
        done.append(count)
        if len(done) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pass_over_images(*where, killed, tmp_path / "killed", "key")
    advanced = []
    again = pass_over_images(*where, advanced.append, tmp_path / "killed", "key")
    assert advanced[0] == 48 and len(advanced) == 5  # three batches were done, four are left
    np.testing.assert_array_equal(again.image, whole.image)
    np.testing.assert_array_equal(again.mean, whole.mean)
    np.testing.assert_array_equal(again.highest["layer3"], whole.highest["layer3"])
    index = whole.image[[3, 70]]
    np.testing.assert_array_equal(again.maps.read(index), whole.maps.read(index))
