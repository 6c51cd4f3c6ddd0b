"""The MonoSemanticity score against its quadratic definition."""

import numpy as np
import pytest

from pure_cli.core.metrics import monosemanticity as module
from pure_cli.core.metrics.monosemanticity import monosemanticity, monosemanticity_of_all
from pure_cli.core.metrics.semantics import clarity

pytestmark = pytest.mark.filterwarnings("error")


def slow_monosemanticity(embeddings, activations):
    weight = (activations - activations.min()) / (activations.max() - activations.min())
    above, below = 0.0, 0.0
    for i in range(len(embeddings)):
        for j in range(len(embeddings)):
            if i != j:
                a, b = embeddings[i], embeddings[j]
                above += weight[i] * weight[j] * (a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))
                below += weight[i] * weight[j]
    return above / below


@pytest.mark.parametrize("seed", range(5))
def test_score_equals_the_double_loop(seed):
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(size=(30, 7)) + generator.normal()
    activations = generator.normal(size=(30, 4)) * 5
    activations[:, 3] = np.maximum(activations[:, 3], 0)
    found = monosemanticity_of_all(embeddings, activations)
    expected = [slow_monosemanticity(embeddings, one) for one in activations.T]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    for one, value in zip(activations.T, expected, strict=True):
        assert monosemanticity(embeddings, one) == pytest.approx(value)


def test_blocks_of_images_give_the_same_score(monkeypatch):
    generator = np.random.default_rng(9)
    embeddings, activations = generator.normal(size=(50, 6)), generator.random((50, 3))
    whole = monosemanticity_of_all(embeddings, activations)
    monkeypatch.setattr(module, "BLOCK", 7)
    np.testing.assert_allclose(monosemanticity_of_all(embeddings, activations), whole, rtol=1e-12)


def test_score_by_hand():
    embeddings = np.array([[2.0, 0], [0, 1], [3, 3], [5, 1]])
    # scaled: 1, 0.5, 0.5, 0; similarities 0, √½, √½ of the pairs 01, 02, 12
    assert monosemanticity(embeddings, np.array([3, 2, 2, 1])) == pytest.approx((0.5 + 0.25) * 0.5**0.5 / 1.25)


def test_images_that_do_not_excite_the_neuron_do_not_count():
    embeddings = np.random.default_rng(0).normal(size=(6, 4))
    activations = np.array([0.0, 1, 1, 1, 0, 0])
    assert monosemanticity(embeddings, activations) == pytest.approx(clarity(embeddings[1:4]))


def test_activations_that_are_all_equal_count_alike():
    embeddings = np.random.default_rng(1).normal(size=(8, 3))
    for value in (0, 2.5, -1):
        assert monosemanticity(embeddings, np.full(8, value)) == pytest.approx(clarity(embeddings))


def test_equal_embeddings_score_one_and_opposite_ones_minus_one():
    activations = np.random.default_rng(2).random(9)
    assert monosemanticity(np.full((9, 5), 0.3), activations) == pytest.approx(1, abs=1e-12)
    assert monosemanticity(np.array([[1.0, 2], [-2, -4], [7, 7]]), np.array([3, 2, 0.5])) == pytest.approx(-1)


def test_an_embedding_of_zeros_is_like_nothing():
    assert monosemanticity(np.array([[0.0, 0], [1, 0], [1, 0]]), np.ones(3)) == pytest.approx(1 / 3)


@pytest.mark.parametrize("activations", [[], [2.0], [1, 0], [0, 0, 5], [1e-12, 0, 5]])
def test_fewer_than_two_images_with_weight_have_no_score(activations):
    embeddings = np.random.default_rng(3).normal(size=(len(activations), 4))
    assert np.isnan(monosemanticity(embeddings, np.array(activations)))


def test_one_neuron_without_a_score_leaves_the_others_alone():
    embeddings = np.random.default_rng(4).normal(size=(3, 4)).astype(np.float32)
    activations = np.array([[0, 1, 4], [0, 1, 2], [7, 1, 0]], np.float32)
    found = monosemanticity_of_all(embeddings, activations)
    assert np.isnan(found).tolist() == [True, False, False]


def test_different_numbers_of_images_are_refused():
    with pytest.raises(ValueError, match="got 3 and 4"):
        monosemanticity_of_all(np.zeros((3, 2)), np.zeros((4, 1)))
