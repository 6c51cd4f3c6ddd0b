"""Directions in checkpoints: sparse autoencoders of several packages, probes, concept vectors; files to be refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pure_cli.errors import PureError
from pure_cli.models.directions import read_directions, set_name

M, C = 7, 3


class Linear(nn.Module):
    """A sparse autoencoder of linear layers, as dictionary_learning and OpenAI have it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.pre_bias = nn.Parameter(torch.randn(C))
        self.encoder, self.decoder = nn.Linear(C, M), nn.Linear(M, C, bias=False)

    def latents(self, h):
        return torch.relu(self.encoder(h - self.pre_bias))


class Matrices(nn.Module):
    """A sparse autoencoder of plain matrices, as SAELens has it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.W_enc, self.W_dec = nn.Parameter(torch.randn(C, M)), nn.Parameter(torch.randn(M, C))
        self.b_enc, self.b_dec = nn.Parameter(torch.randn(M)), nn.Parameter(torch.randn(C))

    def latents(self, h):
        return torch.relu((h - self.b_dec) @ self.W_enc + self.b_enc)


class Jumps(Matrices):
    """One with JumpReLU, as Gemma Scope has it; nothing is subtracted."""

    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.full((M,), 0.3))

    def latents(self, h):
        before = h @ self.W_enc + self.b_enc
        return before * (before > self.threshold)


def read(path, h, **options):
    """(B, M) activations of the directions of a file."""
    return read_directions(path, **options).read(h).detach()


H = torch.randn(50, C, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("autoencoder", [Linear, Matrices])
def test_encoder_reads_the_latents_and_decoder_what_they_add(autoencoder, tmp_path):
    model = autoencoder()
    torch.save(model.state_dict(), tmp_path / "sae.pt")
    torch.testing.assert_close(read(tmp_path / "sae.pt", H, relu=True, part="encoder"), model.latents(H).detach())
    added = model.decoder.weight.T if autoencoder is Linear else model.W_dec
    found = read_directions(tmp_path / "sae.pt")
    np.testing.assert_array_equal(found.weight, added.detach().numpy())
    assert not found.bias.any()


def test_latents_above_the_threshold_of_a_jump_relu(tmp_path):
    model = Jumps()
    torch.save(model.state_dict(), tmp_path / "sae.pt")
    latents, found = model.latents(H).detach(), read(tmp_path / "sae.pt", H, relu=True, part="encoder")
    torch.testing.assert_close(found[latents > 0], latents[latents > 0])
    assert (found[latents == 0] <= 0.3 + 1e-6).all()


@pytest.mark.parametrize(
    "wrapped", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {f"module.sae.{k}": v for k, v in s.items()}]
)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_wrapped_checkpoints_are_those_that_they_wrap(wrapped, suffix, tmp_path):
    state = Matrices().state_dict()
    torch.save(wrapped(state), tmp_path / f"sae{suffix}")
    save_file(state, tmp_path / "sae.safetensors")
    for part in (None, "encoder"):
        found = read_directions(tmp_path / f"sae{suffix}", part=part)
        plain = read_directions(tmp_path / "sae.safetensors", part=part)
        np.testing.assert_array_equal(found.weight, plain.weight)
        np.testing.assert_array_equal(found.bias, plain.bias)


def test_a_matrix_that_lies_the_other_way_is_turned_by_the_biases_beside_it(tmp_path):
    state = Matrices().state_dict()
    torch.save({**state, "W_dec": state["W_dec"].T, "W_enc": state["W_enc"].T.bfloat16()}, tmp_path / "turned.pt")
    torch.save(state, tmp_path / "sae.pt")
    decoder, encoder = (read_directions(tmp_path / "turned.pt", part=part) for part in (None, "encoder"))
    np.testing.assert_array_equal(decoder.weight, read_directions(tmp_path / "sae.pt").weight)
    np.testing.assert_allclose(encoder.weight, read_directions(tmp_path / "sae.pt", part="encoder").weight, rtol=1e-2)


def test_overcomplete_dictionaries_are_scaled_and_archetypes_put_together(tmp_path):
    g = torch.Generator().manual_seed(0)
    weights = torch.randn(M, C, generator=g)
    torch.save({"dictionary._weights": weights, "dictionary.multiplier": torch.tensor(0.7)}, tmp_path / "a.pt")
    np.testing.assert_allclose(read_directions(tmp_path / "a.pt").weight, weights * np.exp(0.7), rtol=1e-6)
    points, mixture = torch.randn(9, C, generator=g), torch.rand(M, 9, generator=g)
    state = {"C": points, "W": mixture, "Relax": weights, "multiplier": torch.tensor(0.0)}
    torch.save({f"dictionary.{key}": value for key, value in state.items()}, tmp_path / "b.pt")
    np.testing.assert_allclose(read_directions(tmp_path / "b.pt").weight, mixture @ points + weights, atol=1e-6)


@pytest.fixture
def overcomplete(monkeypatch):
    import matplotlib
    import matplotlib.cm

    if not hasattr(matplotlib.cm, "get_cmap"):  # overcomplete 0.3 asks for it, matplotlib 3.9 took it away
        monkeypatch.setattr(matplotlib.cm, "get_cmap", matplotlib.colormaps.__getitem__, raising=False)
    return pytest.importorskip("overcomplete.sae")


@pytest.mark.parametrize("kind", ["SAE", "TopKSAE", "BatchTopKSAE", "JumpSAE", "QSAE", "MpSAE", "OMPSAE", "RATopKSAE"])
def test_what_overcomplete_saves(kind, overcomplete, tmp_path):
    torch.manual_seed(0)
    options = {"top_k": 2} if "TopK" in kind else {}
    options |= {"points": torch.randn(20, C)} if kind.startswith("RA") else {}
    model = getattr(overcomplete, kind)(C, nb_concepts=M, **options).eval()
    torch.save(model.state_dict(), tmp_path / "sae.pt")
    found = read_directions(tmp_path / "sae.pt")
    np.testing.assert_allclose(found.weight, model.get_dictionary().detach(), atol=1e-6)
    if kind in ("SAE", "TopKSAE"):
        before, _ = model.encode(H)
        torch.testing.assert_close(read(tmp_path / "sae.pt", H, part="encoder"), before.detach())
        tied = model.train().tied(bias=True).eval()
        nn.init.normal_(tied.encoder.bias)
        torch.save(tied.state_dict(), tmp_path / "tied.pt")
        torch.testing.assert_close(read(tmp_path / "tied.pt", H, part="encoder"), tied.encode(H)[0].detach())
    torch.save(model, tmp_path / "whole.pt")
    with pytest.raises(PureError, match="state_dict"):
        read_directions(tmp_path / "whole.pt")


def test_encoder_that_is_not_linear_is_refused(tmp_path):
    layers = nn.Sequential(nn.Linear(C, M), nn.LayerNorm(M)).state_dict()
    state = {f"encoder.final_block.{key}": value for key, value in layers.items()}
    torch.save({**state, "dictionary._weights": torch.ones(M, C)}, tmp_path / "sae.pt")
    assert len(read_directions(tmp_path / "sae.pt")) == M
    with pytest.raises(PureError, match=r"not linear .*final_block\.1"):
        read_directions(tmp_path / "sae.pt", part="encoder")


def test_probes_of_scikit_learn_read_the_decision_function(tmp_path):
    from sklearn.linear_model import LogisticRegression

    names = np.array(["cat", "dog", "owl"])
    labels = names[np.arange(len(H)) % 3]
    for classes, suffix in ((labels, ""), (np.where(labels == "cat", "cat", "other"), "-two")):
        probe = LogisticRegression().fit(H.numpy(), classes)
        np.savez(tmp_path / f"cav{suffix}.npz", coef=probe.coef_, intercept=probe.intercept_, classes=probe.classes_)
        found = read_directions(tmp_path / f"cav{suffix}.npz")
        theirs = probe.decision_function(H.numpy()).reshape(len(H), -1)
        np.testing.assert_allclose(found.read(H), theirs, rtol=1e-4, atol=1e-5)
        assert list(found.names) == (["other"] if suffix else ["cat", "dog", "owl"])


def test_concepts_are_vectors_by_name_in_every_format(tmp_path):
    concepts = {"striped": torch.tensor([1.0, 0, 2]), "dotted": torch.tensor([0.0, -1, 0])}
    torch.save(concepts, tmp_path / "a.pt")
    save_file(concepts, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **{name: vector[None].numpy() for name, vector in concepts.items()})
    for name in ("a.pt", "a.safetensors", "a.npz"):
        found = read_directions(tmp_path / name)
        by_name = dict(zip(found.names, found.weight.tolist(), strict=True))
        assert by_name == {key: vector.tolist() for key, vector in concepts.items()}


def test_plain_tensors_and_linear_layers(tmp_path):
    torch.save(torch.ones(M, C), tmp_path / "bare.pt")
    assert read_directions(tmp_path / "bare.pt").weight.shape == (M, C)
    linear = nn.Linear(C, M)
    torch.save({**linear.state_dict(), "names": [f"n{i}" for i in range(M)]}, tmp_path / "linear.pt")
    torch.testing.assert_close(read(tmp_path / "linear.pt", H), linear(H).detach())
    assert read_directions(tmp_path / "linear.pt").names[2] == "n2"


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "it ran")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".pt", ".bin"])
def test_pickle_that_would_run_code_is_refused_and_does_not_run(suffix, tmp_path):
    for save in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
        save({"W_dec": torch.ones(2, 3), "more": Malicious(tmp_path / "ran")}, tmp_path / f"bad{suffix}")
        with pytest.raises(PureError, match=r"Save the model's state_dict\(\)"):
            read_directions(tmp_path / f"bad{suffix}")
    np.savez(tmp_path / "bad.npz", W_dec=np.array([Malicious(tmp_path / "ran")], dtype=object))
    with pytest.raises(PureError, match="Python objects as W_dec"):
        read_directions(tmp_path / "bad.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("state", "part", "says"),
    [
        ({"conv.weight": torch.ones(2, 3), "fc.weight": torch.ones(4, 2)}, None, "it has conv.weight, fc.weight"),
        ({f"layer{i}": torch.ones(2, 2) for i in range(20)}, None, "layer11, … .20 in all"),
        ({"weight": torch.ones(2, 3)}, "encoder", "has no encoder of a sparse autoencoder; it has weight"),
        ({"W_enc": torch.ones(2, 3)}, "decoder", "has no decoder of a sparse autoencoder; it has W_enc"),
        ({"a.W_dec": torch.ones(2, 3), "b.W_dec": torch.ones(2, 3)}, None, "several sparse autoencoders"),
        ({"W_dec": torch.ones(2, 3, 4)}, None, "no matrix as W_dec, but 2 × 3 × 4 numbers"),
        ({"W_enc": torch.ones(2, 3), "b_enc": torch.ones(5)}, "encoder", "has 5 numbers as b_enc"),
        ({"a": torch.ones(3), "b": torch.ones(4)}, None, "it has a, b"),
        ({"epoch": 3}, None, "needs a tensor called weight; it has none"),
        ({"W_dec": torch.tensor([[1.0, float("nan")]])}, None, "not finite"),
        ([torch.ones(2, 3)], None, "no tensors by name"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_said(state, part, says, tmp_path):
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(PureError, match=says):
        read_directions(tmp_path / "a.pt", part=part)


def test_files_that_are_no_checkpoints(tmp_path):
    (tmp_path / "a.pt").write_text("no checkpoint")
    (tmp_path / "a.npz").write_text("no archive")
    for name in ("a.pt", "a.npz"):
        with pytest.raises(PureError, match=r"a\.(pt|npz)"):
            read_directions(tmp_path / name)
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    with pytest.raises(PureError, match="Leave out --directions-part"):
        read_directions(tmp_path / "a.npy", part="encoder")


def test_encoder_and_decoder_are_sets_of_their_own():
    assert set_name(Path("sae.pt")) == set_name(Path("sae.pt"), "decoder") == "sae"
    assert set_name(Path("sae.pt"), "encoder") == "sae-encoder"
