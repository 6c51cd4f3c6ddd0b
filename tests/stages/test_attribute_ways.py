"""attribute in other numbers: what it computes with, and what it stores."""

import h5py
import numpy as np
import pytest

N = 10


@pytest.fixture(scope="module")
def collected(tmp_path_factory, images, model_file, tiny_weights):
    from pure_cli import Workspace

    workspace = Workspace(tmp_path_factory.mktemp("ways") / "w")
    workspace.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=N, workers=0, layer="layer3")
    return workspace.path


def relevances(path):
    with h5py.File(path / "attribute.h5") as file:
        return file["layers/layer3/relevance/layer2"][:]


def attribute(cli, path, *options):
    return cli("attribute", "-w", path, "--lower-layer", "layer2", "--workers", 0, "--json", *options)


def test_bfloat16_is_near_float32_and_a_result_of_its_own(collected, cli):
    assert attribute(cli, collected).code == 0
    exact = relevances(collected)
    answer = attribute(cli, collected, "--precision", "bfloat16")
    assert answer.code == 0, answer.err
    assert any("replaced" in note for note in answer.json["notes"])
    rough = relevances(collected)
    assert rough.dtype == np.float32
    assert not np.array_equal(rough, exact)
    fires = np.abs(exact).sum(-1) > 0
    a, b = rough[fires], exact[fires]
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    assert np.median(cosine) > 0.99
    assert attribute(cli, collected, "--precision", "bfloat16").json["up_to_date"]
    assert cli("cluster", "-w", collected, "--json").code == 0
    assert not attribute(cli, collected).json["up_to_date"]


def test_float16_halves_the_file_and_is_read_as_float32(collected, cli):
    assert attribute(cli, collected, "--force").code == 0
    exact = relevances(collected)
    assert attribute(cli, collected, "--store", "float16").code == 0
    stored = relevances(collected)
    assert stored.dtype == np.float16
    np.testing.assert_allclose(stored.astype(np.float32), exact, rtol=1e-3, atol=1e-7)
    answer = cli("cluster", "-w", collected, "--json")
    assert answer.code == 0, answer.err
    with h5py.File(collected / "cluster.h5") as file:
        assert file["layers/layer3/pure/k2/virtual/centroid"].dtype == np.float32


def test_bfloat16_is_refused_for_lrp(collected, cli):
    answer = attribute(cli, collected, "--precision", "bfloat16", "--rule", "epsilon-plus")
    assert answer.code == 2
    assert "gradient-x-input" in answer.err


def test_the_same_settings_give_the_same_bytes(collected, cli):
    found = []
    for _ in range(2):
        assert attribute(cli, collected, "--force", "--deterministic").code == 0
        found.append(relevances(collected))
    np.testing.assert_array_equal(*found)
