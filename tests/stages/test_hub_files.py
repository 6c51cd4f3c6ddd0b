"""Directions and weights that lie on the hub."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_hub import lay_into_cache
from safetensors.torch import save_file

from pure_cli import Workspace
from pure_cli.demo.network import WEIGHTS
from pure_cli.errors import PureError, PureFailure
from pure_cli.models.directions import read_directions

HOW = {"n": 3, "limit": 40, "workers": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    from pure_cli.demo.images import write_digits

    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder, split="held-out")
    return folder


@pytest.fixture
def autoencoder(tmp_path):
    """A repo with a sparse autoencoder of 6 latents over 16 channels, as SAELens writes it."""
    generator = torch.Generator().manual_seed(0)
    tensors = {"W_dec": torch.randn(6, 16, generator=generator), "W_enc": torch.randn(16, 6, generator=generator),
               "b_enc": torch.randn(6, generator=generator), "b_dec": torch.randn(16, generator=generator)}  # fmt: skip
    (tmp_path / "repo" / "layer3").mkdir(parents=True)
    save_file(tensors, tmp_path / "repo" / "layer3" / "sae.safetensors")
    np.savez(tmp_path / "repo" / "probes.npz", coef=np.ones((2, 16)), intercept=np.zeros(2))
    torch.save(tensors, tmp_path / "repo" / "sae.pt")
    return tmp_path / "repo"


@pytest.mark.parametrize("file", ["layer3/sae.safetensors", "probes.npz", "sae.pt"])
def test_directions_of_the_hub_are_those_of_the_file(hub, autoencoder, file):
    hub.put("a/sae", autoencoder)
    found, expected = read_directions(Path(f"hf:a/sae/{file}")), read_directions(autoencoder / file)
    np.testing.assert_array_equal(found.weight, expected.weight)
    np.testing.assert_array_equal(found.bias, expected.bias)


def test_collected_directions_of_the_hub_are_those_of_the_file(no_hub, autoencoder, digits, tmp_path):
    lay_into_cache(no_hub, "a/sae", autoencoder)
    study, other = Workspace(tmp_path / "study"), Workspace(tmp_path / "other")
    how = {"model": "digits", "data": digits, "layer": "layer3", "directions_part": "encoder", **HOW}
    study.collect(directions="hf:a/sae/layer3/sae.safetensors", **how)
    other.collect(directions=autoencoder / "layer3" / "sae.safetensors", **how)
    layer = "sae-encoder@layer3"
    np.testing.assert_array_equal(study.references(layer)["value"], other.references(layer)["value"])
    study.attribute(layer=layer, neurons=[0], workers=0, device="cpu")


def test_weights_of_the_hub_keep_their_commit(hub, tmp_path, digits):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "digits.safetensors").write_bytes(WEIGHTS.read_bytes())
    first = hub.put("a/digits", tmp_path / "repo")
    study = Workspace(tmp_path / "study")
    study.collect(model="pure:digits", weights="hf:a/digits/digits.safetensors", data=digits, resize=32, **HOW)
    assert study.info()["origin"]["weights"] == f"hf:a/digits@{first}/digits.safetensors"
    from safetensors.torch import load_file

    save_file(
        {name: value * 1.5 for name, value in load_file(WEIGHTS).items()}, tmp_path / "repo" / "digits.safetensors"
    )
    hub.put("a/digits", tmp_path / "repo")
    hub.asked.clear()
    study.attribute(neurons=[0], workers=0, device="cpu")
    assert hub.asked == []
    again = study.collect(weights="hf:a/digits/digits.safetensors")
    assert not again.up_to_date and any("weights changed" in note for note in again.notes)


def test_a_file_that_is_not_there_is_said(hub, autoencoder, hub_cache):
    hub.put("a/sae", autoencoder)
    with pytest.raises(PureError, match=r"Unknown file of hf:a/sae 'layer3/sea.safetensors'. Did you mean 'layer3/sae"):
        read_directions(Path("hf:a/sae/layer3/sea.safetensors"))
    with pytest.raises(PureError, match="names no file of a repo"):
        read_directions(Path("hf:a/sae"))


def test_without_a_network_the_command_is_named(no_hub):
    with pytest.raises(PureFailure, match=r"hf:a/sae is not on this machine.*run `hf download a/sae`"):
        read_directions(Path("hf:a/sae/sae.pt"))
