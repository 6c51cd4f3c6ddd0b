"""Directions from files of every format, and what is wrong with a file."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pure_cli.errors import PureError
from pure_cli.models.directions import read_directions, set_name

WEIGHT = np.array([[1, 0, 0.5], [0, -2, 1]], np.float32)


def test_every_format_gives_the_same_directions(tmp_path):
    np.save(tmp_path / "a.npy", WEIGHT.astype(np.float64))
    save_file({"weight": torch.from_numpy(WEIGHT)}, tmp_path / "a.safetensors")
    (tmp_path / "a.csv").write_text("1,0,0.5\n0,-2,1\n")
    for name in ("a.npy", "a.safetensors", "a.csv"):
        found = read_directions(tmp_path / name)
        np.testing.assert_array_equal(found.weight, WEIGHT)
        assert found.weight.dtype == found.bias.dtype == np.float32
        assert not found.bias.any() and not found.relu and not found.names


def test_names_and_biases(tmp_path):
    save_file({"weight": torch.from_numpy(WEIGHT), "bias": torch.tensor([0.1, -1])}, tmp_path / "a.safetensors",
              metadata={"names": "cat\ndog"})  # fmt: skip
    (tmp_path / "a.csv").write_text("name,bias,0,1,2\ncat,0.1,1,0,0.5\n\ndog,-1,0,-2,1\n")
    for name in ("a.safetensors", "a.csv"):
        found = read_directions(tmp_path / name, relu=True)
        np.testing.assert_array_equal(found.weight, WEIGHT)
        np.testing.assert_allclose(found.bias, [0.1, -1], rtol=1e-6)
        assert list(found.names) == ["cat", "dog"] and found.relu
    (tmp_path / "pandas.csv").write_text(",0,1,2\n0,1,0,0.5\n1,0,-2,1\n")
    found = read_directions(tmp_path / "pandas.csv")
    np.testing.assert_array_equal(found.weight, WEIGHT)
    assert list(found.names) == ["0", "1"]
    (tmp_path / "plain.csv").write_text("0,1,2\n1,0,0.5\n0,-2,1\n")
    np.testing.assert_array_equal(read_directions(tmp_path / "plain.csv").weight, WEIGHT)
    (tmp_path / "b.csv").write_text("cat,1,0,0.5\ndog,0,-2,1\n")
    found = read_directions(tmp_path / "b.csv")
    np.testing.assert_array_equal(found.weight, WEIGHT)
    assert list(found.names) == ["cat", "dog"] and not found.bias.any()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", "1,2", "is no file of directions"),
        ("a.csv", "", "is empty"),
        ("a.csv", "1,2\n3\n", "Row 2 of .* has 1 columns, and the first 2"),
        ("a.csv", "1,x\n", "cannot be read as directions"),
        ("a.csv", "1,nan\n", "not finite"),
        ("a.csv", "unit,class\n1,2\n", "first line of .* is no direction"),
        ("a.npy", "no array", "cannot be read as directions"),
        ("a.safetensors", "nothing", "cannot be read as directions"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(PureError, match=says):
        read_directions(tmp_path / name)


def test_wrong_shapes_and_missing_files(tmp_path):
    np.save(tmp_path / "flat.npy", np.ones(3))
    with pytest.raises(PureError, match="one row for each direction"):
        read_directions(tmp_path / "flat.npy")
    save_file({"weight": torch.ones(2, 3), "bias": torch.ones(3)}, tmp_path / "bias.safetensors")
    with pytest.raises(PureError, match="2 directions and a bias of shape 3"):
        read_directions(tmp_path / "bias.safetensors")
    save_file({"a": torch.ones(2, 3), "b": torch.ones(2, 3)}, tmp_path / "two.safetensors")
    with pytest.raises(PureError, match="needs a tensor called weight; it has a, b"):
        read_directions(tmp_path / "two.safetensors")
    np.save(tmp_path / "huge.npy", np.full((2, 3), 1e300))
    with pytest.raises(PureError, match="not finite"):
        read_directions(tmp_path / "huge.npy")
    np.save(tmp_path / "complex.npy", np.ones((2, 3)) * 1j)
    with pytest.raises(PureError, match="complex"):
        read_directions(tmp_path / "complex.npy")
    with pytest.raises(PureError, match="no file of directions"):
        read_directions(tmp_path / "none.npy")


def test_names_of_sets_are_fit_for_layers(tmp_path):
    assert set_name(tmp_path / "my units@2.npy") == "my-units-2"
