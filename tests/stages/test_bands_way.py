"""Bands of activation from collect to the figures: the same bytes however the pass went, and through each stage."""

import h5py
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from pure_cli import Workspace
from pure_cli.artifacts import read_collected
from pure_cli.errors import PureError
from pure_cli.stages.references import dataset_pass

LAYER, N = "layer3.0.bn2", 8  # about half of its activations are positive
BANDS = [f"{LAYER}#0-50", f"{LAYER}#50-90", f"{LAYER}#90-100"]


def collected(folder, model_file, weights, images, **options):
    workspace = Workspace(folder)
    options = {"layer": LAYER, "n": N, "batch_size": 7, "workers": 0, "quantiles": [50, 90], **options}
    workspace.collect(model=f"{model_file}:tiny", weights=weights, data=images, **options)
    return workspace


@pytest.fixture(scope="module")
def inputs(model_file, tiny_weights, images):
    return model_file, tiny_weights, images


@pytest.fixture(scope="module")
def study(tmp_path_factory, inputs):
    return collected(tmp_path_factory.mktemp("bands") / "workspace", *inputs)


def content(study):
    return (study.path / "collect.h5").read_bytes()


def test_members_of_bands_are_those_of_all_scores_sorted(study, tmp_path, inputs):
    """With as many references as there are images, all scores are kept."""
    found, every = read_collected(study.store), collected(tmp_path, *inputs, n=60, quantiles=None)
    assert list(found.layers) == [LAYER, *BANDS]
    whole, fires = read_collected(every.store).layers[LAYER].top, 0
    for neuron in range(len(whole.image)):
        positive = whole.value[neuron] > 0
        order, values = whole.image[neuron][positive][::-1].tolist(), whole.value[neuron][positive][::-1]
        fires += len(order) > N
        edges = [round(len(order) * part) for part in (0, 0.5, 0.9, 1)]
        for name, first, last in zip(BANDS, edges, edges[1:], strict=False):
            own = found.layers[name]
            images = own.top.image[neuron][own.top.image[neuron] >= 0]
            assert len(images) == min(N, last - first)
            assert set(images.tolist()) <= set(order[first:last])
            assert own.edges.sampled[neuron] == len(order)
            if last > first:
                np.testing.assert_array_equal(own.edges.value[neuron], values[[first, last - 1]])
    assert fires > 3


def test_the_usual_references_are_those_without_bands(study, tmp_path, inputs):
    plain = collected(tmp_path, *inputs, quantiles=None)
    with h5py.File(study.path / "collect.h5") as ours, h5py.File(plain.path / "collect.h5") as theirs:
        assert list(theirs["layers"]) == [LAYER]
        for name in ("image", "value", "position", "mean"):
            np.testing.assert_array_equal(ours[f"layers/{LAYER}/{name}"], theirs[f"layers/{LAYER}/{name}"])
        assert dict(ours[f"layers/{LAYER}"].attrs).keys() == dict(theirs[f"layers/{LAYER}"].attrs).keys()
    prints = [read_collected(one.store).layers[LAYER].provenance.fingerprint for one in (study, plain)]
    assert prints[0] == prints[1]  # so that what was made of them stays up to date when bands are added


@pytest.mark.parametrize("options", [{"workers": 2}, {"device": "cpu,cpu,cpu"}])
def test_the_bytes_are_the_same_however_the_work_is_shared(study, tmp_path, inputs, options):
    assert content(collected(tmp_path, *inputs, **options)) == content(study)


def test_a_stopped_pass_goes_on_to_the_same_bytes(study, tmp_path, inputs, monkeypatch):
    monkeypatch.setattr(dataset_pass, "CHECKPOINT_SECONDS", 0)

    def stop(done, total):
        if done >= 28:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collected(tmp_path, *inputs, progress=stop)
    seen = []
    found = collected(tmp_path, *inputs, progress=lambda done, total: seen.append(done))
    assert seen[0] > 0
    assert content(found) == content(study)


def test_bands_are_up_to_date_kept_and_replaced(tmp_path, inputs):
    study = collected(tmp_path, *inputs)
    before = content(study)
    assert collected(tmp_path, *inputs, progress=True) is not None
    assert content(study) == before  # nothing to do
    collected(tmp_path, *inputs, quantiles=None, layer="layer2")  # another layer: the bands stay
    assert [name for name in read_collected(study.store).layers if "#" in name] == BANDS
    collected(tmp_path, *inputs, quantiles=2)
    assert list(read_collected(study.store).layers) == ["layer2", LAYER, f"{LAYER}#0-50", f"{LAYER}#50-100"]


def test_each_stage_works_on_a_band_and_only_where_it_is_named(study):
    study.attribute(workers=0)
    study.embed(embedder="pixels", workers=0)
    with h5py.File(study.path / "attribute.h5") as file:
        assert list(file["layers"]) == [LAYER]
    assert study.attribute(layer=f"{LAYER}#", workers=0).layers == BANDS
    band = BANDS[1]
    study.embed(embedder="pixels", layer=band, workers=0)
    study.cluster(layer=band, k=2)
    study.cluster(layer=LAYER, k=2)
    with h5py.File(study.path / "attribute.h5") as file, h5py.File(study.path / "collect.h5") as references:
        np.testing.assert_array_equal(file[f"layers/{band}/image"], references[f"layers/{band}/image"])
    outcome = study.evaluate(metric=["labels", "stability", "pixels", "rivals"], layer=band, k=2)
    assert {table["title"].partition(":")[0] for table in outcome.details["tables"]} == {band}
    study.render(layer=band, neurons="0")
    assert list((study.path / "figures" / band).glob("*neuron*"))
    study.assign(layer=band, neurons="0", workers=0)
    study.export(out=study.path / "table.csv", layer=band)
    assert {row.layer for row in study.virtual_neurons(band, "pure", 2)} == {band}
    assert {row.layer for row in study.virtual_neurons(LAYER, "pure", 2)} == {LAYER}


def test_references_metric_is_a_loop_over_counts_and_bands(study):
    study.attribute(layer=[LAYER, f"{LAYER}#"], workers=0)
    tables = {
        t["name"]: t["rows"]
        for t in study.evaluate(metric="references", layer=LAYER, features="pure", k=2).details["tables"]
    }
    assert [row["n"] for row in tables["references"]] == [N]
    assert tables["references"][0]["alike"][0] == 1
    assert [row["band"] for row in tables["references-bands"]] == ["top", "90-100", "50-90", "0-50"]
    collected = read_collected(study.store)
    study.cluster(layer=BANDS[1], k=2)
    with h5py.File(study.path / "cluster.h5") as file:
        labels = file[f"layers/{BANDS[1]}/pure/k2/label"][:]
    top, expected = collected.layers[BANDS[1]].top, []
    for neuron, own in enumerate(labels):
        known = own >= 0
        classes = [collected.label_of[image] for image in top.image[neuron][known].tolist()]
        expected.append(adjusted_rand_score(own[known], classes) if known.sum() > 2 else np.nan)
    row = next(row for row in tables["references-bands"] if row["band"] == "50-90")
    np.testing.assert_allclose(row["ari"][0], np.nanmean(expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda study: study.collect(layer=BANDS[0]), "is a band"),
        (lambda study: study.attribute(layer=f"{LAYER}#5-6"), "band"),
        (lambda study: study.calibrate(layer=BANDS[0]), "is a band"),
        (lambda study: study.freeze(layer=BANDS[0]), rf"'{BANDS[0]}' is a band\. Name its layer: --layer {LAYER}\."),
        (lambda study: study.collect(quantiles=[90, 50]), "ascend"),
        (lambda study: study.collect(quantiles=1), "number of bands"),
        (lambda study: study.collect(quantiles=[99.5, 99.9]), "narrower"),
    ],
)
def test_what_is_no_band_is_said_in_a_sentence(study, call, words):
    with pytest.raises(PureError, match=words):
        call(study)


def test_units_of_the_layer_are_frozen_where_bands_alone_are_beside_it(study):
    from pure_cli.stages.freeze import _layer

    assert _layer(read_collected(study.store), None) == LAYER
