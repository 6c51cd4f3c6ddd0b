"""Components of activations, held against scikit-learn on the whole of them."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.decomposition import NMF, PCA

from pure_cli.core.components import (
    CentroidSample,
    Moments,
    RandomMoments,
    Sample,
    centroids,
    nonnegative,
    principal,
    random_directions,
)
from pure_cli.core.directions import Directions
from pure_cli.errors import PureError

IMAGES, CHANNELS, POSITIONS = 40, 12, 25


@pytest.fixture(scope="module")
def activations():
    """(B, C, S) with channels that go together, far from zero."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(CHANNELS, CHANNELS, generator=generator) * torch.linspace(0.1, 3, CHANNELS)[:, None]
    return torch.einsum("bks,kc->bcs", torch.randn(IMAGES, CHANNELS, POSITIONS, generator=generator), mixed) + 100


def flat(activations):
    return activations.transpose(1, 2).reshape(-1, activations.shape[1]).double().numpy()


def moments(activations, *sizes):
    found = Moments(activations.shape[1])
    for part in activations.split(list(sizes)):
        found.add(part)
    return found


def test_moments_are_those_of_numpy_however_the_images_are_dealt(activations):
    for sizes in ((40,), (1, 39), (13, 13, 14)):
        found = moments(activations, *sizes)
        assert found.count == IMAGES * POSITIONS
        np.testing.assert_allclose(found.mean, flat(activations).mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.scatter / (found.count - 1), np.cov(flat(activations).T), rtol=1e-9, atol=1e-9)


def test_principal_components_are_those_of_scikit_learn_sign_and_all(activations):
    found = principal(moments(activations, 7, 33), 5)
    theirs = PCA(5, svd_solver="full").fit(flat(activations))
    np.testing.assert_allclose(found.weight, theirs.components_, atol=1e-8)
    np.testing.assert_allclose(found.share, theirs.explained_variance_ratio_, rtol=1e-9)
    projected = flat(activations) @ found.weight.T + found.bias
    np.testing.assert_allclose(projected, theirs.transform(flat(activations)), atol=1e-7)


def test_directions_read_what_scikit_learn_transforms_to(activations):
    found = principal(moments(activations, 40), 3)
    directions = Directions(found.weight.astype(np.float32), found.bias.astype(np.float32))
    read = directions.read(activations[:, :, :, None])[..., 0]
    theirs = PCA(3, svd_solver="full").fit(flat(activations)).transform(flat(activations))
    np.testing.assert_allclose(flat(read), theirs, atol=1e-3)


def test_activations_that_are_the_same_everywhere_have_no_components():
    with pytest.raises(PureError, match="the same everywhere"):
        principal(moments(torch.ones(3, 4, 5), 3), 2)


@pytest.fixture(scope="module")
def positive():
    """(P, C) put together of six parts, a few of them at each position."""
    g = np.random.default_rng(0)
    parts = g.random((6, CHANNELS)) ** 4
    return ((g.random((600, 6)) ** 6 * 5) @ parts + g.random((600, CHANNELS)) * 0.05).astype(np.float32)


def test_nonnegative_components_reconstruct_like_scikit_learn(positive):
    found = nonnegative(positive, 6, 0)
    theirs = NMF(6, init="nndsvda", max_iter=1000, random_state=0)
    error = np.linalg.norm(positive - theirs.fit_transform(positive) @ theirs.components_)
    amounts = np.array([nnls(found.component.T, row.astype(float))[0] for row in positive])
    assert np.linalg.norm(positive - amounts @ found.component) <= 1.05 * error
    assert found.explained == pytest.approx(1 - (error / np.linalg.norm(positive)) ** 2, abs=1e-3)
    assert (found.component >= 0).all() and (np.diff(found.share) <= 0).all()
    np.testing.assert_allclose(np.linalg.norm(found.component, axis=1), 1, rtol=1e-9)


def test_reading_a_nonnegative_component_orders_positions_as_its_amounts_do(positive):
    """Better than the projection on the component does, which mixes those that overlap."""
    found = nonnegative(positive, 6, 0)
    amounts = np.array([nnls(found.component.T, row.astype(float))[0] for row in positive])

    def agreement(weight):
        read = (positive @ weight.T).clip(min=0)
        return np.array([np.corrcoef(read[:, i], amounts[:, i])[0, 1] for i in range(6)])

    assert agreement(found.weight).mean() > 0.97
    assert agreement(found.weight).mean() > agreement(found.component).mean()


def test_the_sample_of_an_image_does_not_depend_on_the_others(activations):
    whole, apart = Sample(4, 3), Sample(4, 3)
    index = np.arange(IMAGES)
    whole.add(activations, index)
    for i in range(IMAGES):
        apart.add(activations[i : i + 1], index[i : i + 1])
    np.testing.assert_array_equal(whole.vectors, apart.vectors)
    assert whole.vectors.shape == (4 * IMAGES, CHANNELS)
    other = Sample(4, 4)
    other.add(activations, index)
    assert not np.array_equal(whole.vectors, other.vectors)
    rows = {tuple(row) for row in flat(activations).astype(np.float32)}
    assert all(tuple(row) in rows for row in whole.vectors)


def test_negative_activations_count_as_zero_for_nonnegative_components(positive):
    signed = positive - positive.mean()
    np.testing.assert_array_equal(nonnegative(signed, 4, 0).weight, nonnegative(signed.clip(min=0), 4, 0).weight)
    with pytest.raises(PureError, match="0 of the positions drawn have positive"):
        nonnegative(-positive, 4, 0)


@pytest.mark.parametrize(
    "make",
    [lambda: Moments(CHANNELS), lambda: Sample(4, 3), lambda: CentroidSample(4, 3), lambda: RandomMoments(CHANNELS, 3)],
)
def test_going_on_from_what_was_kept_comes_to_the_same(activations, make):
    whole, begun, later = make(), make(), make()
    whole.add(activations, np.arange(IMAGES))
    begun.add(activations[:15], np.arange(15))
    later.restore({name: values.copy() for name, values in begun.state().items()})
    later.add(activations[15:], np.arange(15, IMAGES))
    expected, found = whole.components(3), later.components(3)
    np.testing.assert_allclose(found.component, expected.component, atol=1e-9)
    np.testing.assert_allclose(found.share, expected.share, rtol=1e-9)
    assert later.negative == whole.negative


def test_a_sample_knows_how_much_of_it_is_negative():
    sample = Sample(2, 0)
    assert sample.negative == 0 and sample.vectors.shape[0] == 0
    sample.restore(sample.state())
    assert sample.negative == 0
    sample.add(torch.tensor([[[-1.0, -1, -1]], [[0, 2, 3]]]), np.arange(2))
    assert sample.negative == 0.5


def test_a_single_vector_has_no_components():
    with pytest.raises(PureError, match="the same everywhere"):
        principal(moments(torch.tensor([[[3.0], [4.0]]]), 1), 1)


def test_two_vectors_have_the_component_between_them():
    found = principal(moments(torch.tensor([[[3.0, 6.0], [4.0, 8.0]]]), 1), 1)
    np.testing.assert_allclose(found.component, [[3 / 5, 4 / 5]])
    assert found.explained == pytest.approx(1)


@pytest.mark.parametrize("m", [2, 6])
def test_shares_of_nonnegative_components_are_what_each_puts_together(positive, m):
    found = nonnegative(positive, m, 0)
    model = NMF(m, init="nndsvda", max_iter=300, random_state=0)
    amounts = model.fit_transform(positive).astype(float)
    parts = sorted((np.outer(amounts[:, i], model.components_[i]).sum() for i in range(m)), reverse=True)
    np.testing.assert_allclose(found.share, np.array(parts) / sum(parts), rtol=1e-4)
    rest = positive - amounts @ model.components_
    assert found.explained == pytest.approx(1 - (rest**2).sum() / (positive.astype(float) ** 2).sum(), abs=1e-4)
    assert found.explained < 1


def test_as_many_vectors_as_components_are_enough():
    assert nonnegative(np.eye(3, dtype=np.float32) + 0.1, 3, 0).component.shape == (3, 3)
    with pytest.raises(PureError, match="2 of the positions drawn have positive"):
        nonnegative(np.array([[1.0, 0], [0, 2], [-1, 0]], np.float32), 3, 0)


def test_centroids_are_means_of_the_clusters_and_their_directions_are_from_the_mean():
    g = np.random.default_rng(0)
    centers = np.array([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]]) + 20
    sample = np.concatenate(
        [g.standard_normal((n, 3)) * 0.1 + c for n, c in zip((300, 200, 100), centers, strict=True)]
    )
    found = centroids(sample.astype(np.float32), 3, 0)
    means = np.stack([part.mean(axis=0) for part in np.split(sample, [300, 500])]) - sample.mean(axis=0)
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(found.component, expected, atol=5e-3)  # by mini-batches
    np.testing.assert_allclose(found.share, [1 / 2, 1 / 3, 1 / 6])
    np.testing.assert_allclose(found.weight @ sample.mean(axis=0) + found.bias, 0, atol=1e-4)
    assert found.explained == pytest.approx(1 - 0.1**2 * 3 / sample.var(axis=0).sum(), abs=1e-3)


@pytest.mark.parametrize(("m", "says"), [(1, "is the mean"), (4, "3 of the positions drawn differ")])
def test_centroids_need_vectors_that_differ(m, says):
    with pytest.raises(PureError, match=says):
        centroids(np.repeat(np.eye(3, dtype=np.float32), 5, axis=0), m, 0)


def test_random_directions_explain_what_lies_in_the_space_they_span(activations):
    whole = moments(activations, 40)
    for m in (3, 30):
        found = random_directions(whole, m, 5)
        projected = (flat(activations) - whole.mean) @ found.component.T
        np.testing.assert_allclose(projected.var(axis=0), found.share * flat(activations).var(axis=0).sum())
        np.testing.assert_allclose(flat(activations) @ found.weight.T + found.bias, projected, atol=1e-9)
        rest = flat(activations) - whole.mean
        basis = np.linalg.svd(found.component, full_matrices=False)[2]
        rest = rest - rest @ basis.T @ basis
        expected = 1 - (rest**2).sum() / (flat(activations).var(axis=0).sum() * len(rest))
        assert found.explained == pytest.approx(expected, abs=1e-9)
        np.testing.assert_allclose(np.linalg.norm(found.component, axis=1), 1)
        assert not np.allclose(found.component, random_directions(whole, m, 6).component)


def test_batches_without_any_image_change_nothing(activations):
    whole = moments(activations, 40)
    whole.add(activations[:0])
    empty = Moments(CHANNELS)
    empty.add(activations[:0])
    assert empty.count == 0 and np.isfinite(empty.mean).all() and np.isfinite(whole.mean).all()
