"""What the files of a workspace hold: written and read again, added to, and damaged in many ways."""

import h5py
import numpy as np
import pytest

from pure_cli.artifacts import (
    Clustering,
    Collected,
    CollectedLayer,
    NewRelevances,
    NewRows,
    add_relevances,
    add_rows,
    clustering_path,
    read_activations,
    read_attributed,
    read_clusterings,
    read_collected,
    read_norms,
    read_relevances,
    read_rows,
    read_rows_index,
    write_clusterings,
    write_collected,
)
from pure_cli.core.references import TopImages
from pure_cli.errors import UnreadableFile
from pure_cli.provenance import Provenance
from pure_cli.workspace import Store

NEURONS, REFERENCES, IMAGES = 8, 5, 30
OWN, ORIGINS = {"layer": "layer3", "rule": "gradient-x-input"}, {"collect": "abc", "data": "def"}
WIDTHS = {"layer2": 4, "layer1": 3}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "workspace")


@pytest.fixture
def random():
    return np.random.default_rng(0)


# --- collect.h5


def top_images(random, channels, n=REFERENCES):
    image = np.stack([random.choice(IMAGES, n, replace=False) for _ in range(channels)]).astype(np.int64)
    value = -np.sort(-random.normal(size=(channels, n)).astype(np.float32), axis=1)
    mean = random.normal(size=(channels, n)).astype(np.float32)
    return TopImages(value, image, random.integers(0, 49, (channels, n)).astype(np.int32), mean)


def references(random) -> Collected:
    layers = {
        name: CollectedLayer(
            top_images(random, channels),
            lower,
            shape,
            Provenance({"layer": name, "n": REFERENCES}, {"data": "d", "model": name}),
        )
        for name, channels, lower, shape in (
            ("layer3", NEURONS, ["layer2", "layer1"], (NEURONS, 7, 7)),
            ("fc", 3, [], (3,)),
        )
    }
    odd = b"class/caf\xe9.jpg".decode("utf-8", "surrogateescape")
    paths = [odd, *(f"class{i % 3}/{i:04d}.png" for i in range(1, IMAGES))]
    damaged = [(40, "class0/broken.png", "cut short"), (41, odd, "no image")]
    origin = {"model": "timm:resnet18", "data": "/somewhere", "requested": {"mean": None}, "images": IMAGES}
    labels = np.arange(IMAGES) % 3
    counts = dict(enumerate(np.bincount(labels).tolist()))
    return Collected(origin, layers, np.arange(IMAGES), paths, labels, ["zero", "eins", "二"], damaged, counts)


def test_references_come_back_as_they_were(store, random):
    written = references(random)
    write_collected(store, written)
    found = read_collected(store)
    for name in ("origin", "image_path", "label_names", "damaged", "images_of_label"):
        assert getattr(found, name) == getattr(written, name)
    np.testing.assert_array_equal(found.image_index, written.image_index)
    np.testing.assert_array_equal(found.image_label, written.image_label)
    assert found.layers.keys() == written.layers.keys()
    for name, layer in written.layers.items():
        for part in ("value", "image", "position", "mean"):
            np.testing.assert_array_equal(getattr(found.layers[name].top, part), getattr(layer.top, part))
        for part in ("lower_layers", "shape", "provenance"):
            assert getattr(found.layers[name], part) == getattr(layer, part)
    assert found.layers["layer3"].provenance.fingerprint != found.layers["fc"].provenance.fingerprint


def test_no_image_is_minus_one_with_a_finite_score(store, random):
    written = references(random)
    top = written.layers["fc"].top
    top.image[1, 3:], top.position[1, 3:], top.value[1, 3:] = -1, -1, -np.inf
    write_collected(store, written)
    found = read_collected(store).layers["fc"].top
    assert found.image[1, 3:].tolist() == found.position[1, 3:].tolist() == [-1, -1]
    assert np.isfinite(found.value).all()


# --- attribute.h5


class Expected:
    """What the file should hold, kept in dictionaries."""

    def __init__(self):
        self.rows: dict[tuple[str, int], np.ndarray] = {}
        self.norms: dict[tuple[str, int], np.ndarray] = {}
        self.means: dict[tuple[str, int], np.ndarray] = {}
        self.activations: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.lower_layers: list[str] = []


def add(store, expected, image, neurons, lower_layers, random, settings=OWN, made_from=ORIGINS, layer="layer3"):
    """Add random relevances of some neurons to the file and to what is expected of it."""
    neurons = np.array(sorted(neurons))
    values = {k: random.normal(size=(len(neurons), REFERENCES, WIDTHS[k])).astype(np.float32) for k in lower_layers}
    there = np.array(sorted(expected.activations), dtype=np.int64)
    images = np.setdiff1d(image[neurons][image[neurons] >= 0], there)
    activation = {kind: random.random((len(images), NEURONS)).astype(np.float32) for kind in ("max", "mean")}
    norms = {k: random.random((len(neurons), REFERENCES)).astype(np.float32) for k in lower_layers}
    means = {k: random.random((len(images), WIDTHS[k])).astype(np.float32) for k in lower_layers}
    new = NewRelevances(
        layer, neurons, {k: values[k].__getitem__ for k in lower_layers},
        {k: norms[k].__getitem__ for k in lower_layers}, {k: WIDTHS[k] for k in lower_layers}, images, activation,
        means,
    )  # fmt: skip
    add_relevances(store, new, image, Provenance(settings, made_from))
    for k in lower_layers:
        expected.rows |= {(k, int(c)): values[k][i] for i, c in enumerate(neurons)}
        expected.norms |= {(k, int(c)): norms[k][i] for i, c in enumerate(neurons)}
        expected.means |= {(k, int(x)): means[k][i] for i, x in enumerate(images)}
    expected.activations |= {int(x): (activation["max"][i], activation["mean"][i]) for i, x in enumerate(images)}
    expected.lower_layers = list(dict.fromkeys([*expected.lower_layers, *lower_layers]))


def assert_holds(store, expected, image, layer="layer3"):
    found = read_attributed(store)[layer]
    neurons = sorted({c for _, c in expected.rows})
    assert found.neuron.tolist() == neurons
    assert found.lower_layers == expected.lower_layers
    np.testing.assert_array_equal(found.image, image[neurons])
    for lower in expected.lower_layers:
        for row, c in enumerate(neurons):
            values = next(read_relevances(store, layer, lower, np.array([row])))
            there = (lower, c) in expected.rows
            assert found.done[lower][row] == there
            if there:
                assert values.tobytes() == expected.rows[lower, c].tobytes()
                assert (
                    read_norms(store, layer, lower, np.array([row]))[0].tobytes() == expected.norms[lower, c].tobytes()
                )
            else:
                assert np.isnan(values).all()
        asked = np.arange(NEURONS)
        missing = [c for c in range(NEURONS) if (lower, c) not in expected.rows]
        assert found.missing(lower, asked).tolist() == missing
    assert found.missing("another", np.arange(3)).tolist() == [0, 1, 2]
    assert found.activation_image.tolist() == sorted(expected.activations)
    for lower in expected.lower_layers:
        values = read_activations(store, layer, f"lower/{lower}")
        for row, image in enumerate(found.activation_image.tolist()):
            known = expected.means.get((lower, image), np.full(WIDTHS[lower], np.nan, np.float32))
            assert values[row].tobytes() == known.tobytes()
    for place, kind in enumerate(("max", "mean")):
        values = read_activations(store, layer, kind)
        for row, x in enumerate(found.activation_image.tolist()):
            assert values[row].tobytes() == expected.activations[x][place].tobytes()


@pytest.mark.parametrize("seed", range(8))
def test_relevances_added_in_any_steps_are_those_of_a_dictionary(store, seed):
    random, expected = np.random.default_rng(seed), Expected()
    image = top_images(random, NEURONS).image
    image[3, 2:] = -1
    for _ in range(4):
        neurons = random.choice(NEURONS, random.integers(1, NEURONS), replace=False)
        lower_layers = [["layer2"], ["layer1"], ["layer1", "layer2"]][random.integers(3)]
        add(store, expected, image, neurons, lower_layers, random)
        assert_holds(store, expected, image)


def test_relevances_of_other_references_or_another_rule_take_the_place_of_the_old_ones(store, random):
    image = top_images(random, NEURONS).image
    for change in ({"made_from": {"collect": "other"}}, {"settings": {**OWN, "rule": "epsilon-plus"}}):
        add(store, Expected(), image, [0, 1, 2], ["layer2"], random)
        expected = Expected()
        add(store, expected, image, [2, 5], ["layer1"], random, **change)
        assert_holds(store, expected, image)


def test_relevances_of_another_layer_stay(store, random):
    image, other = top_images(random, NEURONS).image, top_images(random, NEURONS).image
    first, second = Expected(), Expected()
    add(store, first, image, [0, 1], ["layer2"], random)
    add(store, second, other, [4], ["layer1"], random, {**OWN, "layer": "conv"}, layer="conv")
    add(store, first, image, [3], ["layer2"], random)
    assert_holds(store, first, image)
    assert_holds(store, second, other, "conv")


# --- embed.h5 and crops.h5


def add_some(store, file, kind, neurons, random, made_from=ORIGINS):
    values = random.normal(size=(len(neurons), REFERENCES, 6)).astype(np.float32)
    settings, recipe = {"layer": "layer3", "embedder": kind}, {"text": kind}
    provenance = Provenance(settings, made_from)
    new = NewRows(np.array(neurons), values.__getitem__, (REFERENCES, 6), "float32", provenance, recipe)
    add_rows(store, file, "layer3", kind, "rows", new)
    return {c: values[i] for i, c in enumerate(neurons)}


def assert_rows(store, file, kind, expected):
    found = read_rows_index(store, file, "rows")["layer3", kind]
    assert found.neuron.tolist() == sorted(expected)
    assert found.shape == (REFERENCES, 6)
    assert found.recipe == {"text": kind}
    for place, c in enumerate(sorted(expected)):
        (row,) = read_rows(store, file, "layer3", kind, "rows", np.array([place]))
        assert row.tobytes() == expected[c].tobytes()


@pytest.mark.parametrize("file", ["embed", "crops"])
def test_rows_are_added_and_replaced_by_neuron(store, random, file):
    assert read_rows_index(store, file, "rows") == {}
    clip = add_some(store, file, "clip", [1, 4], random)
    dino = add_some(store, file, "dinov2", [2], random)
    clip |= add_some(store, file, "clip", [0, 4], random)
    assert_rows(store, file, "clip", clip)
    assert_rows(store, file, "dinov2", dino)
    clip = add_some(store, file, "clip", [3], random, {"collect": "other"})
    assert_rows(store, file, "clip", clip)
    assert_rows(store, file, "dinov2", dino)


# --- cluster.h5


def clustering(random, neurons) -> Clustering:
    neurons = np.array(neurons)
    label = random.integers(-1, 2, (len(neurons), REFERENCES)).astype(np.int16)
    virtual = np.repeat(neurons, 2)
    return Clustering(
        neurons, label, virtual, np.tile([0, 1], len(neurons)), random.integers(1, 9, len(virtual)),
        random.random((len(virtual), 4)).astype(np.float32), random.random(len(neurons)).astype(np.float32),
        random.random(len(neurons)).astype(np.float32), Provenance({"layer": "layer3", "k": 2}, ORIGINS),
    )  # fmt: skip


ARRAYS = ("neuron", "label", "virtual_neuron", "cluster", "size", "centroid", "silhouette", "distance")


def test_clusterings_come_back_as_they_were(store, random):
    assert read_clusterings(store) == {}
    written = {
        clustering_path("layer3", "pure", 2): clustering(random, [0, 3, 5]),
        clustering_path("layer3", "pure@layer1", 3): clustering(random, [1]),
        clustering_path("fc", "activation-max", 2): clustering(random, [0]),
    }
    write_clusterings(store, written)
    found = read_clusterings(store)
    assert found.keys() == written.keys()
    for path, one in written.items():
        assert found[path].provenance == one.provenance
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(found[path], name), getattr(one, name))


def test_clusterings_joined_are_in_order_and_can_be_taken_apart(random):
    first, second = clustering(random, [1, 4, 6]), clustering(random, [0, 5])
    both = first.joined(second)
    assert both.neuron.tolist() == [0, 1, 4, 5, 6]
    assert both.virtual_neuron.tolist() == [0, 0, 1, 1, 4, 4, 5, 5, 6, 6]
    assert both.cluster.tolist() == [0, 1] * 5
    again = both.without(second.neuron)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))


# --- damage


def fill(store) -> None:
    random, expected = np.random.default_rng(0), Expected()
    write_collected(store, references(random))
    image = top_images(random, NEURONS).image
    add(store, expected, image, [0, 2, 5], ["layer2"], random)
    add(store, expected, image, [2, 7], ["layer1"], random)
    for file in ("embed", "crops"):
        add_some(store, file, "clip", [1, 4], random)
        add_some(store, file, "dinov2", [2], random)
    write_clusterings(store, {clustering_path("layer3", "pure", k): clustering(random, [0, k]) for k in (2, 3)})


def everything(store, name):
    """All that the stages read of a file."""
    if name == "collect":
        return read_collected(store)
    if name == "cluster":
        return read_clusterings(store)
    if name != "attribute":
        index = read_rows_index(store, name, "rows")
        return index, [
            next(read_rows(store, name, *key, "rows", np.array([place])))
            for key, rows in index.items()
            for place in range(len(rows.neuron))
        ]
    found = read_attributed(store)
    return found, [
        [read_activations(store, layer, kind) for kind in ("max", "mean")]
        + [values for k in one.lower_layers for values in read_relevances(store, layer, k, np.arange(len(one.neuron)))]
        for layer, one in found.items()
    ]


FILES = {"collect": "collect", "attribute": "attribute", "embed": "embed", "crops": "embed", "cluster": "cluster"}


def as_told(store, name, told):
    """The error names the file and the command that makes it again."""
    return str(store.path(name)) in str(told) and f"`pure {FILES[name]} --force`" in str(told)


@pytest.mark.parametrize("name", FILES)
def test_every_byte_of_every_data_set_is_guarded(store, name):
    """One flipped bit in any stored block of any array, or nothing but zeros: the file is named, nothing is read."""
    fill(store)
    content, random, blocks = store.path(name).read_bytes(), np.random.default_rng(1), []
    with h5py.File(store.path(name)) as file:

        def note(path, node):
            if isinstance(node, h5py.Dataset) and node.size:
                assert node.chunks is not None, path
                stored = [node.id.get_chunk_info(i) for i in range(node.id.get_num_chunks())]
                blocks.extend((path, block.byte_offset, block.size) for block in stored)

        file.visititems(note)
    assert len(blocks) > 6
    for path, start, size in blocks:
        places = {0, size - 1, *random.integers(0, size, 2).tolist()}
        spoilt_files = [bytearray(content) for _ in range(len(places) + 1)]
        for place, spoilt in zip(places, spoilt_files, strict=False):
            spoilt[start + place] ^= 1 << int(random.integers(8))
        spoilt_files[-1][start : start + size] = bytes(size)  # whose checksum in HDF5 is right
        for spoilt in spoilt_files:
            store.path(name).write_bytes(spoilt)
            with pytest.raises(UnreadableFile) as error:
                everything(store, name)
            assert as_told(store, name, error.value), path


def flipped(content, random):
    place = random.integers(len(content))
    content[place] ^= random.integers(1, 256)


def overwritten(content, random):
    place, size = random.integers(len(content)), random.integers(2, 600)
    content[place : place + size] = random.bytes(len(content[place : place + size]))


def moved(content, random):
    """A piece of the file at another place, as after a bad merge."""
    size = int(random.integers(8, 400))
    source, target = random.integers(0, len(content) - size, 2)
    content[target : target + size] = content[source : source + size]


@pytest.mark.parametrize("spoil", [flipped, overwritten, moved])
@pytest.mark.parametrize("name", FILES)
def test_damage_anywhere_is_told_or_changes_nothing(store, name, spoil):
    """Eighty times each; also in the structure of the file, in texts, and where nothing is stored."""
    fill(store)
    content, told = store.path(name).read_bytes(), 0
    expected = repr(everything(store, name))
    for seed in range(80):
        spoilt = bytearray(content)
        spoil(spoilt, np.random.default_rng(seed))
        store.path(name).write_bytes(spoilt)
        try:
            found = repr(everything(store, name))
        except UnreadableFile as error:
            assert as_told(store, name, error) or "not written by pure" in str(error) or "schema" in str(error), seed
            told += 1
        else:
            assert found == expected, seed
    assert told > 20
