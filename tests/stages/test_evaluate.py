"""evaluate through the command line, against plain loops over what is in the workspace's files."""

import json
from importlib import import_module

import h5py
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

N = 20


@pytest.fixture(scope="module")
def study(tmp_path_factory, images, model_file, tiny_weights):
    """A workspace of the tiny network with relevances and embeddings by two embedders."""
    from pure_cli import Workspace

    workspace = Workspace(tmp_path_factory.mktemp("evaluate") / "workspace")
    workspace.collect(
        model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=N, workers=0, layer="layer3.0.bn2"
    )
    workspace.attribute(workers=0, lower_layer="layer2")
    workspace.embed(embedder="pixels", workers=0)
    other = f"{model_file}:tiny"
    workspace.embed(embedder=other, embedder_layer="layer2", embedder_weights=tiny_weights, workers=0, crop="none")
    return workspace


@pytest.fixture
def measure(study, cli):
    """Run evaluate and return its tables by name."""

    def run(*options: object) -> dict[str, dict]:
        answer = cli("evaluate", "-w", study.path, "--json", *options)
        assert answer.code == 0, answer.err
        return {table["name"]: table for table in answer.json["tables"]}

    return run


def row(table: dict, features: str, k: int | None) -> dict:
    return next(r for r in table["rows"] if r["features"] == features and r["k"] == k)


def test_separation_equals_a_loop_over_pairs(study, measure):
    tables = measure("--metric", "pixels", "--k", "2,3")
    with h5py.File(study.path / "embed.h5") as embed, h5py.File(study.path / "cluster.h5") as cluster:
        embeddings = embed["layers/layer3.0.bn2/pixels/embedding"][:]
        for features in ("pure", "activation-max", "pixels"):
            labels = cluster[f"layers/layer3.0.bn2/{features}/k2/label"][:]
            intra, inter, overall = [], [], []
            for points, label in zip(embeddings, labels, strict=True):
                inside, across = [], []
                for i in range(N):
                    for j in range(i):
                        if label[i] >= 0 and label[j] >= 0:
                            gap = float(np.sqrt(((points[i].astype(float) - points[j]) ** 2).sum()))
                            (inside if label[i] == label[j] else across).append(gap)
                if inside or across:
                    intra.append(np.mean(inside or across))
                    inter.append(np.mean(across or inside))
                    overall.append(np.mean(inside + across))
            found = row(tables["separation-all"], features, 2)
            assert found["intra"][0] == pytest.approx(np.mean(intra), rel=1e-6)
            assert found["inter"][0] == pytest.approx(np.mean(inter), rel=1e-6)
            assert found["intra"][1] == pytest.approx(np.std(intra, ddof=1) / np.sqrt(len(intra)), rel=1e-6)
            assert row(tables["separation-all"], "random", None)["intra"][0] == pytest.approx(
                np.mean(overall), rel=1e-6
            )


def test_correlation_equals_pooled_pearson(study, measure):
    found = row_of(measure("--metric", "correlation", "--judge", "pixels")["correlation"], "pure")
    with h5py.File(study.path / "embed.h5") as embed, h5py.File(study.path / "attribute.h5") as attribute:
        embeddings = embed["layers/layer3.0.bn2/pixels/embedding"][:]
        relevance = attribute["layers/layer3.0.bn2/relevance/layer2"][:]
    with h5py.File(study.path / "collect.h5") as collect:
        excites = collect["layers/layer3.0.bn2/value"][:] > 0
    values = []
    for points, other, present in zip(relevance, embeddings, excites, strict=True):
        a, b = pdist(points[present].astype(float)), pdist(other[present].astype(float))
        kept = (a > 0) & (b > 0)
        if kept.sum() > 1:
            values.append(np.corrcoef(a[kept], b[kept])[0, 1])
    assert found["r"][0] == pytest.approx(np.mean(values), abs=1e-6)  # fewer than 30 neurons: each is a subset
    assert found["subsets"] == len(values)


def row_of(table: dict, features: str) -> dict:
    return next(r for r in table["rows"] if r["features"] == features)


def test_labels_equal_scikit_learn(study, measure):
    found = row(measure("--metric", "labels", "--k", "2")["labels"], "pure", 2)
    with h5py.File(study.path / "collect.h5") as collect, h5py.File(study.path / "cluster.h5") as cluster:
        names = dict(zip(collect["images/index"][:], collect["images/label"][:], strict=True))
        image = collect["layers/layer3.0.bn2/image"][:]
        labels = cluster["layers/layer3.0.bn2/pure/k2/label"][:]
    ari, nmi, purity = [], [], []
    for label, references in zip(labels, image, strict=True):
        classes = np.array([names[i] for i in references])
        kept = label >= 0
        if not kept.any():
            continue
        ari.append(adjusted_rand_score(classes[kept], label[kept]))
        nmi.append(normalized_mutual_info_score(classes[kept], label[kept]))
        most = sum(np.bincount(classes[label == v]).max() for v in np.unique(label[kept]))
        purity.append(most / kept.sum())
    assert found["ari"][0] == pytest.approx(np.mean(ari), abs=1e-9)
    assert found["nmi"][0] == pytest.approx(np.mean(nmi), abs=1e-9)
    assert found["purity"][0] == pytest.approx(np.mean(purity), abs=1e-9)


def test_ms_equals_the_double_loop(study, measure):
    table = measure("--metric", "ms", "--judge", "pixels", "--k", "2", "--sample", "30")["ms"]
    with h5py.File(study.path / "embed.h5") as embed, h5py.File(study.path / "collect.h5") as collect:
        embeddings = embed["layers/layer3.0.bn2/pixels/embedding"][:].astype(float)
        values = collect["layers/layer3.0.bn2/value"][:].astype(float)
    scores = []
    for points, value in zip(embeddings, values, strict=True):
        points, value = points[value > 0], value[value > 0]
        if len(value) < 2:
            continue
        spread = value.max() - value.min()
        weight = (value - value.min()) / spread if spread else np.ones(len(value))
        unit = points / np.linalg.norm(points, axis=1, keepdims=True)
        above = below = 0.0
        for i in range(len(unit)):
            for j in range(len(unit)):
                if i != j:
                    above += weight[i] * weight[j] * unit[i] @ unit[j]
                    below += weight[i] * weight[j]
        if below > 0:
            scores.append(above / below)
    neurons = next(r for r in table["rows"] if r["units"] == "neurons")
    assert neurons["references"][0] == pytest.approx(np.mean(scores), abs=1e-6)
    assert "sample" in table["columns"]
    assert neurons["sample"][0] is not None
    assert all(r["sample"] is None for r in table["rows"] if r["units"].endswith("pixels"))


@pytest.mark.parametrize("metric", ["stability", "semantics"])
def test_scores_lie_in_their_range(measure, metric):
    table = measure("--metric", metric, "--judge", "pixels", "--k", "2", "--features", "pure", "--neurons", "3-5")[
        metric
    ]
    for found in table["rows"]:
        for column in table["columns"]:
            if isinstance(found[column], list) and found[column][0] is not None:
                assert -1 <= found[column][0] <= 2


def test_second_run_computes_nothing_and_says_the_same(study, cli):
    options = ("evaluate", "-w", study.path, "--metric", "pixels", "--k", "2", "--json")
    first, second = cli(*options), cli(*options)
    assert second.json["up_to_date"]
    assert second.json["tables"] == first.json["tables"]


def test_tables_and_figures_are_written(study, cli):
    answer = cli("evaluate", "-w", study.path, "--metric", "pixels", "--metric", "labels", "--latex")
    assert answer.code == 0, answer.err
    assert "inter − intra" in answer.out
    names = {path.name for path in (study.path / "evaluate").rglob("*")}
    assert {"pixels-separation-all.csv", "pixels-separation-all.tex", "labels.csv", "labels-differences.csv"} <= names
    assert any(name.startswith("pixels-overview") and name.endswith(".png") for name in names)
    assert json.loads((study.path / "evaluate.json").read_text())


def test_without_embeddings_the_command_is_named(cli, tmp_path, images, model_file, tiny_weights):
    w = tmp_path / "w"
    model = ("--model", f"{model_file}:tiny", "--weights", tiny_weights, "--data", images)
    assert cli("collect", *model, "-n", 6, "-w", w, "--workers", 0).code == 0
    assert cli("attribute", "-w", w, "--workers", 0).code == 0
    answer = cli("evaluate", "-w", w, "--metric", "clip")
    assert answer.code == 2
    assert "pure embed --embedder clip" in answer.err
    answer = cli("evaluate", "-w", w, "--metric", "klip")
    assert answer.code == 2
    assert "clip" in answer.err
    answer = cli("evaluate", "-w", w, "--metric", "pixels", "--embed", "--k", 2)
    assert answer.code == 0, answer.err


def test_embeddings_by_crop_stand_side_by_side(study):
    with h5py.File(study.path / "embed.h5") as file:
        assert set(file["layers/layer3.0.bn2"]) == {"pixels", "tiny_model.py:tiny:layer2+none"}


def test_embeddings_equal_a_plain_pass(study, tiny, images):
    """Whole images through the layer of the embedder, mean over space, written out."""
    import torch
    from PIL import Image
    from torchvision.transforms.functional import normalize, to_tensor

    with h5py.File(study.path / "embed.h5") as file, h5py.File(study.path / "collect.h5") as collect:
        found = file["layers/layer3.0.bn2/tiny_model.py:tiny:layer2+none/embedding"][:]
        paths = dict(zip(collect["images/index"][:], collect["images/path"].asstr()[:], strict=True))
        image = collect["layers/layer3.0.bn2/image"][:]
    for neuron in (0, 5):
        for slot in (0, 7):
            pixels = to_tensor(Image.open(images / paths[image[neuron, slot]]).convert("RGB"))
            x = normalize(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))[None]
            with torch.no_grad():
                expected = tiny.layer2(tiny.layer1(tiny.relu(tiny.bn1(tiny.conv1(x))))).mean(dim=(2, 3))[0]
            np.testing.assert_allclose(found[neuron, slot], expected.numpy(), rtol=1e-4, atol=1e-5)


def counted(monkeypatch, place: str) -> list:
    """The calls of a function that is looked up there."""
    module, _, name = place.rpartition(".")
    original, calls = getattr(import_module(module), name), []

    def watched(*args, **kwargs):
        calls.append(args)
        return original(*args, **kwargs)

    monkeypatch.setattr(place, watched)
    return calls


def test_references_are_read_and_images_are_listed_once(study, monkeypatch):
    reads = counted(monkeypatch, "pure_cli.stages.inputs.features.read_collected")
    lists = counted(monkeypatch, "pure_cli.stages.runtime.images.list_images")
    study.evaluate(metric=["pixels", "labels"], k=[2, 4], embed=True, workers=0)
    assert len(reads) == len(lists) == 1


def test_the_first_image_is_decoded_once_before_the_pass(study, monkeypatch):
    decoded = counted(monkeypatch, "pure_cli.data.loader.decode_one")
    study.attribute(workers=0, lower_layer="layer1", neurons=[0, 1])
    first = [index for _, index, _ in decoded].count(decoded[0][1])
    assert first == 1 and len(decoded) == 2  # and another, to compare with
