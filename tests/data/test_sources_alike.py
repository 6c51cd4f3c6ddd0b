"""Every source gives what the class folder gives that it was made from."""

import pickle

import numpy as np
import pytest

from pure_cli import Workspace
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.decode import decode
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches

PLAIN = Preprocessing(resize=None, crop_size=None)
N = 10
NEURONS = [0, 3, 7]


@pytest.mark.parametrize("workers", [0, 2])
def test_same_pixels_labels_and_names_as_the_folder(made, other, tmp_path, workers):
    data, kind = other
    listing = list_images(data, cache=tmp_path)
    assert listing.labels.tolist() == made.labels.tolist()
    assert list(listing.names) == ([str(i) for i in range(10)] if "mnist" in kind else made.names)
    loaded = list(batches(listing, listing.index, PLAIN, 5, workers))
    assert not any(batch.damaged for batch in loaded)
    pixels = np.concatenate([batch.images.numpy() for batch in loaded]).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(pixels, made.pixels)


def test_images_in_any_order(made, other):
    listing = list_images(other[0])
    order = np.random.default_rng(0).permutation(len(listing))
    (batch,) = batches(listing, order, PLAIN, len(order), 0)
    np.testing.assert_array_equal(batch.images.numpy().transpose(0, 2, 3, 1), made.pixels[order])


def test_listing_reaches_workers_that_are_no_forks(made, other, tmp_path):
    listing = list_images(other[0], cache=tmp_path)
    listing.read(3)  # what is open here must not go along
    sent = pickle.loads(pickle.dumps(listing))
    np.testing.assert_array_equal(np.asarray(decode(sent.read(3))), made.pixels[3])


def test_two_lists_of_the_same_are_the_same_and_less_is_not(other, tmp_path):
    whole = list_images(other[0], cache=tmp_path)
    assert list_images(other[0], cache=tmp_path).fingerprint == whole.fingerprint == list_images(other[0]).fingerprint
    assert list_images(other[0], 9).fingerprint != whole.fingerprint
    assert len(set(whole.paths)) == len(whole.paths)
    assert all(whole.place(i) == str(whole.root / whole.paths[i]) for i in range(len(whole)))


@pytest.fixture(scope="session")
def of_folder(made, tmp_path_factory) -> Workspace:
    return whole_way(tmp_path_factory.mktemp("of-folder") / "work", made.folder, 0)


def whole_way(folder, data, workers) -> Workspace:
    workspace = Workspace(folder)
    workspace.collect(model="digits", data=data, n=N, device="cpu", workers=workers)
    workspace.attribute(neurons=NEURONS, device="cpu", workers=workers)
    return workspace


def relevances(workspace: Workspace) -> np.ndarray:
    from pure_cli.stages.inputs.features import Sources

    sources = Sources(workspace.store)
    (layer,) = sources.collected.layers
    return np.stack(list(sources.features_of(layer, "pure").rows(np.array(NEURONS))))


@pytest.mark.parametrize("workers", [0, 2])
def test_same_references_and_relevances_as_the_folder_end_to_end(of_folder, other, tmp_path, workers):
    workspace = whole_way(tmp_path / "work", other[0], workers)
    (layer,) = of_folder.info()["results"][:1]
    for name, expected in of_folder.references(layer["layer"]).items():
        np.testing.assert_array_equal(workspace.references(layer["layer"])[name], expected, err_msg=name)
    assert np.abs(relevances(of_folder)).sum() > 1
    np.testing.assert_array_equal(relevances(workspace), relevances(of_folder))
    assert all(result["stale"] is None for result in workspace.info()["results"])


def test_up_to_date_when_asked_again(other, tmp_path):
    workspace = Workspace(tmp_path)
    options = {"model": "digits", "data": other[0], "n": N, "device": "cpu", "workers": 0}
    assert not workspace.collect(**options).up_to_date
    assert workspace.collect(**options).up_to_date
