"""semanticlens's scores against scikit-learn's cosine similarities and k-means, and by hand."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import cosine_similarity

from pure_cli.core.metrics import semantics
from pure_cli.core.metrics.semantics import clarity, polysemanticity, redundancy, unit_vectors

pytestmark = pytest.mark.filterwarnings("error")


def embeddings(seed: int, n: int = 25, dimensions: int = 6) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(n, dimensions)) + generator.normal(size=dimensions)).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_clarity_is_the_mean_similarity_of_different_references(seed):
    points = embeddings(seed)
    expected = cosine_similarity(points.astype(np.float64))[~np.eye(25, dtype=bool)].mean()
    assert clarity(points) == pytest.approx(expected, rel=1e-10)


def test_clarity_reaches_its_bounds():
    assert clarity(np.full((7, 3), 0.1)) == pytest.approx(1, abs=1e-12)
    corners = np.eye(4) - 0.25  # of a simplex about the origin: as unlike as four can be
    assert clarity(corners) == pytest.approx(-1 / 3, abs=1e-12)
    assert clarity(np.array([[1, 0], [-5, 0]])) == -1


def test_clarity_with_a_zero_embedding_and_with_too_few():
    points = np.array([[0.0, 0], [2, 0], [1, 0]])
    assert clarity(points) == pytest.approx(1 / 3)
    assert clarity(points) == pytest.approx(cosine_similarity(points)[np.triu_indices(3, 1)].mean())
    assert np.isnan(clarity(np.ones((1, 4))))
    assert np.isnan(clarity(np.empty((0, 4))))


@pytest.mark.parametrize("block", [1024, 4])
def test_redundancy_is_the_similarity_to_the_most_similar_other(block, monkeypatch):
    monkeypatch.setattr(semantics, "BLOCK", block)
    concepts = embeddings(7, 15)
    similarity = cosine_similarity(concepts.astype(np.float64))
    expected = [max(similarity[i, j] for j in range(15) if j != i) for i in range(15)]
    np.testing.assert_allclose(redundancy(concepts), expected, rtol=1e-10)


def test_redundancy_by_hand_and_without_others():
    found = redundancy(np.array([[1.0, 0], [3, 0], [0, 2], [np.nan, 1]]))
    np.testing.assert_allclose(found, [1, 1, 0, np.nan])
    assert redundancy(np.array([[1.0, 0], [-1, 0]])).tolist() == [-1, -1]
    assert np.isnan(redundancy(np.ones((1, 3)))).all()
    assert np.isnan(redundancy(np.array([[1.0], [np.nan]]))).all()
    assert redundancy(np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("seed", range(5))
def test_polysemanticity_is_one_less_the_similarity_of_two_centres(seed):
    points = embeddings(seed)
    centres = KMeans(2, n_init=10, random_state=seed).fit(points).cluster_centers_
    assert polysemanticity(points, seed) == pytest.approx(1 - cosine_similarity(centres)[0, 1], abs=1e-5)


def test_polysemanticity_reaches_its_bounds():
    assert polysemanticity(np.array([[1.0, 0], [2, 0], [-1, 0], [-2, 0]]), 0) == 2
    assert polysemanticity(np.array([[1.0, 0], [0, 1]]), 0) == pytest.approx(1)
    assert polysemanticity(np.array([[1.0, 0], [9, 0]]), 0) == pytest.approx(0)


def test_polysemanticity_of_equal_or_too_few_references():
    assert polysemanticity(np.full((5, 3), 0.7), 0) == 0
    assert np.isnan(polysemanticity(np.ones((1, 3)), 0))
    assert np.isnan(polysemanticity(np.empty((0, 3)), 0))


def test_unit_vectors_have_length_one_or_zero():
    points = np.array([[3.0, 4], [0, 0], [-2, 0]])
    assert unit_vectors(points).tolist() == [[0.6, 0.8], [0, 0], [-1, 0]]
