"""The atlas: its files hold what the workspace does, are made once, and are made again where what they show changed."""

import base64
import io
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pure_cli import PureError, Workspace
from pure_cli.artifacts import (
    read_assignments,
    read_clusterings,
    read_collected,
    read_evaluation_values,
    read_evaluations,
)
from pure_cli.config import make
from pure_cli.core.metrics.semantics import unit_vectors
from pure_cli.stages.atlas_content.folder import AtlasFolder
from pure_cli.stages.cluster import tables
from pure_cli.views.atlas.sheets import as_tile, icons_of, sheet

CALM = {"workers": 0, "device": "cpu"}


def chunk_of(file):
    """The key and the content of a file of an atlas."""
    text = Path(file).read_text()
    assert text.startswith("pureAtlas(") and text.endswith(")\n")
    key, content = json.loads(f"[{text[len('pureAtlas(') : -2]}]")
    return key, content


def site_of(folder):
    text = (Path(folder) / "index.html").read_text()
    return json.loads(re.search(r'<script type="application/json" id="site">(.*?)</script>', text, re.S)[1])


def picture(one):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(one["src"].partition(",")[2]))))


@pytest.fixture(scope="module")
def made(tmp_path_factory, model_file, tiny_weights, images):
    study = Workspace(tmp_path_factory.mktemp("atlas") / "w")
    study.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, layer="layer3", references=20, **CALM)
    study.attribute(**CALM)
    study.embed(embedder="pixels", crop="crp", **CALM)
    study.cluster(k=2)
    study.atlas(**CALM)
    return study


@pytest.fixture(scope="module")
def neuron(made):
    return chunk_of(made.path / "atlas/data/layer3/n/000003.js")[1]


def test_a_neuron_shows_the_references_that_excite_it_with_their_virtual_neurons(made, neuron):
    collected = read_collected(made.store)
    top, clustering = collected.layers["layer3"].top, read_clusterings(made.store)["layers/layer3/pure/k2"]
    there = top.value[3] > 0
    shown = neuron["references"]
    assert shown["index"] == top.image[3][there].tolist()
    assert shown["path"] == [collected.path_of[index] for index in shown["index"]]
    assert shown["class"] == [collected.label_of[index] for index in shown["index"]]
    assert np.allclose(shown["score"], top.value[3][there], rtol=1e-3)
    assert shown["part"] == clustering.label[3][there].tolist()


def test_tiles_are_the_images_cut_to_the_boxes_that_the_embeddings_were_made_of(made, neuron, images):
    from pure_cli.stages.embeddings.crops import boxes
    from pure_cli.stages.inputs.features import Sources

    (box,) = boxes(Sources(made.store), "layer3", "crp", np.array([3]))
    for kind in ("seen", "whole"):
        one = neuron["sheets"][kind]
        whole = picture(one)
        for place, (slot, (width, height)) in enumerate(zip(neuron["shown"], one["sizes"], strict=True)):
            top, bottom, left, right = box[slot] if kind == "seen" else (0, 32, 0, 32)
            pixels = np.asarray(Image.open(images / neuron["references"]["path"][slot]).convert("RGB"))
            expected = pixels[top:bottom, left:right]
            y, x = one["tile"] * (place // one["columns"]), one["tile"] * (place % one["columns"])
            found = whole[y : y + height, x : x + width]
            assert found.shape == expected.shape  # no larger than a tile, so as they are
            assert np.abs(found.astype(float) - expected).mean() < 12  # JPEG
    assert np.allclose(neuron["references"]["box"][0], box[0] / 32, atol=1e-3)


def test_parts_say_what_the_table_of_cluster_says(made, neuron):
    settings = make("cluster", {"neurons": "3", "features": ["pure"], "k": [2]})
    (row,) = tables(made.store, settings, members=True)[0]["neurons"]
    for part, virtual in zip(neuron["parts"], row["virtual_neurons"], strict=True):
        assert part["size"] == virtual["size"]
        assert [[name, count] for name, count, _ in part["classes"]] == virtual["classes"]
        assert [one["channel"] for one in part["channels"]] == [one["channel"] for one in virtual["channels"]]


def test_nearest_are_those_with_the_highest_cosine_of_mean_embeddings(made, neuron):
    from pure_cli.stages.inputs.features import Sources

    source = Sources(made.store).features_of("layer3", "pixels")
    clustering = read_clusterings(made.store)["layers/layer3/pure/k2"]
    means = {}
    for c, rows in zip(range(12), source.rows(np.arange(12)), strict=True):
        for part in range(2):
            if (clustering.label[c] == part).any():
                means[f"layer3/{c}.{part + 1}"] = unit_vectors(rows[clustering.label[c] == part].mean(axis=0)[None])[0]
    own = means["layer3/3.1"]
    others = sorted((-float(vector @ own), name) for name, vector in means.items() if not name.startswith("layer3/3."))
    assert [one["address"] for one in neuron["parts"][0]["nearest"]] == [name for _, name in others[:6]]


def test_the_layer_has_a_row_for_each_virtual_neuron_and_a_point_on_each_map(made):
    key, layer = chunk_of(made.path / "atlas/data/layer3/layer.js")
    clustering = read_clusterings(made.store)["layers/layer3/pure/k2"]
    units = layer["units"]
    assert key == "layer:layer3"
    assert list(zip(units["neuron"], units["part"], strict=True)) == list(
        zip(clustering.virtual_neuron.tolist(), clustering.cluster.tolist(), strict=True)
    )
    assert units["size"] == clustering.size.tolist()
    assert [one["key"] for one in layer["maps"]] == ["pixels", "circuits"]
    for one in layer["maps"]:
        assert len(one["x"]) == len(units["neuron"]) and all(0 <= x <= 1 for x in [*one["x"], *one["y"]])
    assert site_of(made.path / "atlas")["layers"][0]["virtual"] == len(units["neuron"])


def test_icons_are_the_middle_of_the_first_image_of_each_virtual_neuron(made, neuron):
    _, layer = chunk_of(made.path / "atlas/data/layer3/layer.js")
    whole = picture(chunk_of(made.path / "atlas/data/layer3/icons-0.js")[1])
    place = [*zip(layer["units"]["neuron"], layer["units"]["part"], strict=True)].index((3, 1))
    first, tile = neuron["references"]["part"].index(1), neuron["sheets"]["seen"]["tile"]
    width, height = neuron["sheets"]["seen"]["sizes"][first]
    top, left = tile * (first // 10), tile * (first % 10)
    own = Image.fromarray(picture(neuron["sheets"]["seen"])[top : top + height, left : left + width])
    short = min(width, height)
    x, y = (width - short) // 2, (height - short) // 2
    own = own.crop((x, y, x + short, y + short)).resize((32, 32), Image.Resampling.BILINEAR)
    found = whole[32 * (place // 32) : 32 * (place // 32) + 32, 32 * (place % 32) : 32 * (place % 32) + 32]
    assert np.corrcoef(found.ravel(), np.asarray(own).ravel())[0, 1] > 0.9  # a JPEG of a JPEG


def test_what_is_up_to_date_is_left_alone_and_a_lost_file_is_made_again(made):
    folder = made.path / "atlas"
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    assert made.atlas(**CALM).up_to_date
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()} == before
    lost = folder / "data/layer3/n/000003.js"
    content = lost.read_bytes()
    lost.write_bytes(content[:-20])
    assert not made.atlas(**CALM).up_to_date
    assert lost.read_bytes() == content


def test_neurons_are_added_to_what_is_there(made, tmp_path):
    first = made.atlas(neurons=[1, 2], out=tmp_path / "a", **CALM)
    assert first.computed == 2 and site_of(tmp_path / "a")["layers"][0]["neurons"] == 2
    made.atlas(neurons=[3], out=tmp_path / "a", **CALM)
    assert sorted(file.name for file in (tmp_path / "a/data/layer3/n").iterdir()) == [
        "000001.js", "000002.js", "000003.js",
    ]  # fmt: skip
    made.atlas(out=tmp_path / "all", **CALM)
    both = [chunk_of(tmp_path / f"{name}/data/layer3/n/000003.js")[1] for name in ("a", "all")]
    assert both[0] == both[1]


def test_other_virtual_neurons_change_what_is_said_and_leave_the_images(made, tmp_path, monkeypatch):
    made.atlas(out=tmp_path / "a", **CALM)
    before = chunk_of(tmp_path / "a/data/layer3/n/000003.js")[1]
    made.cluster(k=3)
    made.choose(features="pure", k=3)
    try:
        monkeypatch.setattr("pure_cli.data.loader.batches", None)  # no image is decoded again
        made.atlas(out=tmp_path / "a", **CALM)
    finally:
        made.choose(features="pure", k=2)
    after = chunk_of(tmp_path / "a/data/layer3/n/000003.js")[1]
    assert len(after["parts"]) == 3 and after["sheets"] == before["sheets"]


def test_a_killed_build_goes_on_and_gives_the_same_files(made, tmp_path):
    code = (
        "import sys; from pure_cli import Workspace; import pure_cli.stages.atlas_content.layer_pages as pages; "
        "pages.SAVED = 2; import time; old = pages.AtlasFolder.save\n"
        "def save(self):\n    old(self); print('saved', flush=True); time.sleep(0.3)\n"
        "pages.AtlasFolder.save = save\n"
        f"Workspace({str(made.path)!r}).atlas(out={str(tmp_path / 'a')!r}, workers=0, device='cpu', progress=False)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "saved\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "a/index.html").exists()
    assert json.loads((tmp_path / "a/data/index.json").read_text())["neurons"]
    made.atlas(out=tmp_path / "a", **CALM)
    made.atlas(out=tmp_path / "b", **CALM)
    names = sorted(file.relative_to(tmp_path / "b") for file in (tmp_path / "b").rglob("*") if file.is_file())
    assert names == sorted(file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*") if file.is_file())
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_small_has_the_first_images_of_each_virtual_neuron_alone(made, tmp_path):
    made.atlas(size="small", out=tmp_path / "a", **CALM)
    content = chunk_of(tmp_path / "a/data/layer3/n/000003.js")[1]
    for part in content["parts"]:
        assert content["references"]["part"].count(part["part"]) == min(8, part["size"])
    assert content["shown"] == list(range(len(content["references"]["index"])))


def test_whole_images_are_shown_without_boxes(made, tmp_path):
    made.atlas(crop="none", out=tmp_path / "a", **CALM)
    content = chunk_of(tmp_path / "a/data/layer3/n/000003.js")[1]
    assert content["sheets"]["seen"] is None and set(content["references"]["box"]) == {None}
    assert content["sheets"]["whole"]["sizes"][0] == [32, 32]


def test_an_atlas_says_nothing_of_the_folders_of_its_maker(made, tmp_path):
    made.atlas(out=tmp_path / "a", **CALM)
    for file in (tmp_path / "a").rglob("*.*"):
        assert str(made.path.parent) not in file.read_text() and "/tiny_model.py" not in file.read_text()


def test_a_folder_of_something_else_is_refused(made, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(PureError, match="is no atlas, and not empty"):
        made.atlas(out=tmp_path, **CALM)
    with pytest.raises(PureError, match="is a file"):
        made.atlas(out=tmp_path / "thesis.txt", **CALM)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_atlas_of_another_network_is_refused_and_replaced_by_force(made, tmp_path, model_file, images):
    made.atlas(out=tmp_path / "a", **CALM)
    other = Workspace(tmp_path / "w")
    other.collect(model=f"{model_file}:tiny", weights="none", data=images, layer="layer3", references=20, **CALM)
    other.attribute(**CALM)
    other.cluster(k=2)
    with pytest.raises(PureError, match="other weights or another network"):
        other.atlas(out=tmp_path / "a", **CALM)
    other.atlas(out=tmp_path / "a", crop="none", force=True, **CALM)
    assert site_of(tmp_path / "a")["about"] != site_of(made.path / "atlas")["about"]


def test_without_virtual_neurons_cluster_is_named(tmp_path, model_file, tiny_weights, images):
    study = Workspace(tmp_path / "w")
    study.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, layer="layer3", references=5, **CALM)
    with pytest.raises(PureError, match="Run `pure cluster` first"):
        study.atlas(**CALM)


def test_layers_with_odd_names_have_folders_of_their_own(tmp_path):
    folder = AtlasFolder(tmp_path / "a", "network", False)
    names = ["layer4", "a/b", "a-b", "../x", "layer4#top", "ä" * 3, ".."]
    slugs = [folder.slug(name) for name in names]
    assert slugs[0] == "layer4" and len(set(slugs)) == len(names)
    assert all("/" not in slug and slug.strip(".") for slug in slugs)


def test_notebooks_show_the_pane_of_a_neuron(made):
    for shown, start in (
        (made["layer3", 3], "layer3/3"),
        (made["layer3/3.2"], "layer3/3.2"),
        (made.atlas(neurons=[3], out=made.path.parent / "one", **CALM), "layer3/3"),
    ):
        html = shown._repr_html_()
        assert "<iframe srcdoc=" in html and f'title="{start}"' in html
        assert "&quot;neuron:layer3/3&quot;" in html or "neuron:layer3/3" in html


def test_tiles_are_never_enlarged_and_keep_their_shape():
    pixels = np.arange(60 * 90 * 3, dtype=np.uint8).reshape(60, 90, 3)
    image = Image.fromarray(pixels)
    assert as_tile(image, None, 30).shape == (20, 30, 3)
    assert np.array_equal(as_tile(image, (5, 25, 10, 40), 64), pixels[5:25, 10:40])
    one = sheet([np.full((4, 8, 3), value, np.uint8) for value in (10, 200)], 90)
    assert one["tile"] == 8 and one["sizes"] == [[8, 4], [8, 4]]
    assert [int(icon.mean().round(-1)) for icon in icons_of(one, [0, 1], 8)] == [10, 200]


def test_classes_driven_are_named_where_outputs_are_classes_and_numbered_else(made, tmp_path, monkeypatch):
    made.evaluate(metric="outputs", neurons="0-11", features="pure", k=2, **CALM)
    made.atlas(out=tmp_path / "a", **CALM)
    _, layer = chunk_of(tmp_path / "a/data/layer3/layer.js")
    (key,) = read_evaluations(made.store)
    effect = read_evaluation_values(made.store, key)["pure/k2/virtual/effect"]
    names = read_collected(made.store).label_names
    assert [one[0] for one in layer["drives"]] == [names[row.argmax()] for row in effect]
    assert np.allclose([one[1] for one in layer["drives"]], effect.max(axis=1), rtol=1e-3)
    monkeypatch.setattr("pure_cli.stages.atlas_content.inputs.why_no_outputs", lambda *_: "they are others")
    made.atlas(out=tmp_path / "b", **CALM)
    _, layer = chunk_of(tmp_path / "b/data/layer3/layer.js")
    assert [one[0] for one in layer["drives"]] == [f"output {row.argmax()}" for row in effect]


def test_a_second_run_cuts_images_as_the_first_one_did(made, tmp_path):
    made.atlas(crop="none", out=tmp_path / "a", **CALM)
    assert made.atlas(out=tmp_path / "a", **CALM).up_to_date
    assert not made.atlas(crop="crp", out=tmp_path / "a", **CALM).up_to_date


def test_what_is_missing_is_said_with_the_command_that_adds_it(made, tmp_path):
    outcome = made.atlas(out=tmp_path / "a", **CALM)
    assert {"labels", "polysemanticity", "other images"} <= set(outcome.details["missing"])
    _, layer = chunk_of(tmp_path / "a/data/layer3/layer.js")
    told = " ".join(layer["sentences"])
    assert "`pure cluster --layer layer3 --features pure --k auto`" in told and "`pure label`" in told
    made.cluster(k="auto")
    made.choose(features="pure", k="auto")
    try:
        outcome = made.atlas(out=tmp_path / "a", **CALM)
    finally:
        made.choose(features="pure", k=2)
    _, layer = chunk_of(tmp_path / "a/data/layer3/layer.js")
    assert "polysemanticity" not in outcome.details["missing"]
    clustering = read_clusterings(made.store)["layers/layer3/pure/kauto"]
    assert np.allclose(np.array(layer["neurons"]["p"], float), clustering.p, rtol=1e-3, equal_nan=True)
    assert layer["neurons"]["k"] == clustering.counts(np.arange(12)).tolist()


def test_the_range_of_activation_is_that_of_assign(made, tmp_path):
    made.assign(neurons=3, per_quantile=2, quantiles=3, figures=0, **CALM)
    made.atlas(neurons=3, out=tmp_path / "a", **CALM)
    shown = chunk_of(tmp_path / "a/data/layer3/n/000003.js")[1]["histogram"]
    own = read_assignments(made.store)["layer3"]
    place = own.neuron.tolist().index(3)
    assert np.allclose(shown["edges"], own.edge[place], rtol=1e-3)
    assert shown["count"] == own.count[place].tolist()
    assert shown["drawn"] == [int((own.quantile[place][own.image[place] >= 0] == part).sum()) for part in range(3)]
    for part, shares in enumerate(shown["shares"]):
        there = own.quantile[place] == part
        if there.any():
            weight = own.score[place][there].clip(min=0)
            mean = (own.share[place][there] * weight[:, None]).sum(axis=0) / weight.sum()
            assert np.allclose(shares, [*mean[:2], mean[-1]], atol=1e-3)
