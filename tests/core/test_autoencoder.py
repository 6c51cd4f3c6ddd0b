"""Sparse autoencoders, against vectors put together of atoms that are known, and plain loops."""

import numpy as np
import pytest
import torch

from pure_cli.core import autoencoder
from pure_cli.core.autoencoder import Training, held_out, nearest_cosine
from pure_cli.errors import PureError

IMAGES, POSITIONS, CHANNELS, ATOMS, ACTIVE = 60, 50, 20, 24, 2
HELD = range(10)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    for name, value in {"BATCH": 128, "STEPS": 60, "LAST_STEPS": 20, "BUFFER": (2**20, 1024)}.items():
        monkeypatch.setattr(autoencoder, name, value)


@pytest.fixture(scope="module")
def atoms():
    atoms = np.random.default_rng(1).standard_normal((ATOMS, CHANNELS))
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def activations(atoms):
    """(B, C, S), two atoms at each position, away from zero."""
    g = np.random.default_rng(2)
    amounts = np.zeros((IMAGES * POSITIONS, ATOMS))
    for row in amounts:
        row[g.permutation(ATOMS)[:ACTIVE]] = 1 + 3 * g.random(ACTIVE)
    vectors = amounts @ atoms * 40 + 7
    return torch.from_numpy(vectors.reshape(IMAGES, POSITIONS, CHANNELS).transpose(0, 2, 1)).float()


def trained(activations, sparsity="topk", sizes=(IMAGES,), latents=40):
    training, begin = Training(CHANNELS, latents, ACTIVE, sparsity, HELD, 0), 0
    for size in sizes:
        training.add(activations[begin : begin + size], np.arange(begin, begin + size))
        begin += size
    return training


def put_together(found, vectors):
    """What the autoencoder makes of (P, C) vectors, and how many latents it takes, position by position."""
    made, active = np.zeros_like(vectors), 0
    for row, h in zip(made, vectors, strict=True):
        latents = found.encoder @ (h - found.decoder_bias) + found.encoder_bias
        for i in np.argsort(-latents)[:ACTIVE]:
            if latents[i] > 0:
                row += latents[i] * found.decoder[i]
                active += 1
        row += found.decoder_bias
    return made, active / len(vectors)


@pytest.mark.parametrize("sparsity", ["topk", "batch-topk"])
def test_atoms_that_vectors_are_put_together_of_are_found(activations, atoms, sparsity, monkeypatch):
    monkeypatch.setattr(autoencoder, "STEPS", 800)
    monkeypatch.setattr(autoencoder, "LAST_STEPS", 200)
    found = trained(activations, sparsity).components(40)
    assert ((found.decoder @ atoms.T).max(axis=0) > 0.95).mean() > 0.9
    assert found.explained > 0.9 > found.quality["explained_by_pca"]
    assert found.quality["active"] == pytest.approx(ACTIVE, abs=0.2)
    np.testing.assert_allclose(np.linalg.norm(found.decoder, axis=1), 1, rtol=1e-5)
    assert (np.diff(found.share) <= 0).all() and found.share.sum() == pytest.approx(1)


def test_figures_are_those_of_a_plain_loop_over_positions_that_were_not_trained_on(activations):
    found = trained(activations).components(40)
    held = np.concatenate([activations[i].numpy().T for i in HELD]).astype(float)
    training = Training(CHANNELS, 40, ACTIVE, "topk", HELD, 0)
    training.add(activations, np.arange(IMAGES))
    drawn = training.held.vectors.astype(float)
    assert {tuple(row) for row in drawn} <= {tuple(row) for row in held}
    made, active = put_together(found, drawn)
    variance = ((drawn - drawn.mean(axis=0)) ** 2).sum()
    assert found.explained == pytest.approx(1 - ((drawn - made) ** 2).sum() / variance, abs=1e-4)
    assert found.quality["active"] == pytest.approx(active, abs=0.01)
    rest = activations[len(HELD) :].transpose(1, 2).flatten(0, 1).double().numpy()
    space = np.linalg.eigh(np.cov(rest.T))[1][:, -ACTIVE:]
    left = drawn - rest.mean(axis=0)
    left = left - left @ space @ space.T
    assert found.quality["explained_by_pca"] == pytest.approx(1 - (left**2).sum() / variance, abs=1e-6)


def test_images_held_out_change_nothing_but_the_figures(activations):
    other = activations.clone()
    other[: len(HELD)] *= -3
    one, two = trained(activations).components(40), trained(other).components(40)
    assert set(map(tuple, one.decoder)) == set(map(tuple, two.decoder))
    assert one.explained != two.explained


def test_how_images_are_dealt_into_batches_does_not_matter(activations):
    whole, apart = trained(activations).components(40), trained(activations, sizes=(7, 13, 1, 39)).components(40)
    np.testing.assert_array_equal(whole.decoder, apart.decoder)
    np.testing.assert_array_equal(whole.encoder, apart.encoder)


@pytest.mark.parametrize("sparsity", ["topk", "batch-topk"])
@pytest.mark.parametrize("seen", [5, 45])
def test_going_on_from_what_was_kept_comes_to_the_same_bytes(activations, sparsity, seen):
    whole = trained(activations, sparsity, (seen, IMAGES - seen))
    begun = trained(activations, sparsity, (seen,))
    later = Training(CHANNELS, 40, ACTIVE, sparsity, HELD, 0)
    later.restore({name: values.copy() for name, values in begun.state().items()})
    with torch.inference_mode():  # as a caller may have it
        later.add(activations[seen:], np.arange(seen, IMAGES))
        found = later.components(40)
    expected = whole.components(40)
    for name, values in expected.tensors().items():
        np.testing.assert_array_equal(found.tensors()[name], values)
    assert found.quality == pytest.approx(expected.quality, abs=1e-12)


def test_memory_does_not_grow_with_the_images(activations):
    training = Training(CHANNELS, 40, ACTIVE, "topk", HELD, 0)
    sizes = []
    for turn in range(3):
        training.add(activations[len(HELD) :], np.arange(IMAGES * (turn + 1), IMAGES * (turn + 2) - len(HELD)))
        sizes.append(sum(tensor.numel() for tensor in training._tensors.values()))
    assert sizes[0] == sizes[1] == sizes[2] and training.filled <= training.rows == 1024


@pytest.mark.parametrize(
    ("values", "says"), [(torch.ones(IMAGES, CHANNELS, 4), "the same everywhere"), (None, "kept apart")]
)
def test_what_cannot_be_taken_apart_is_said(activations, values, says):
    training = Training(CHANNELS, 40, ACTIVE, "topk", HELD, 0)
    training.add(*((values, np.arange(IMAGES)) if values is not None else (activations[10:], np.arange(10, IMAGES))))
    with pytest.raises(PureError, match=says):
        training.components(40)


def test_a_tenth_of_the_images_is_held_out_and_one_at_least():
    assert held_out(np.arange(50)[::-1]).tolist() == [49, 48, 47, 46, 45]
    assert held_out(np.arange(2)).tolist() == [0]
    with pytest.raises(PureError, match="two images"):
        held_out(np.arange(1))


def test_the_nearest_cosine_is_that_of_a_plain_loop(atoms):
    expected = [max(atoms[i] @ atoms[j] for j in range(ATOMS) if j != i) for i in range(ATOMS)]
    np.testing.assert_allclose(nearest_cosine(atoms), expected)
    assert nearest_cosine(atoms[:1]).tolist() == [0]
