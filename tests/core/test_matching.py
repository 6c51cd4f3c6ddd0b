"""Similarities of units against plain loops and scipy; chance; neurons that fall apart."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from pure_cli.core.matching import (
    LEVEL,
    Correlation,
    Cosine,
    Matches,
    Members,
    Overlap,
    contrasts,
    dealt_within,
    one_to_one,
)


def members(sets):
    return Members(
        np.repeat(np.arange(len(sets)), [len(one) for one in sets]), np.concatenate(list(map(list, sets))), len(sets)
    )


@pytest.fixture
def random():
    return np.random.default_rng(0)


def some_sets(random, count, most=9):
    return [set(random.choice(30, random.integers(1, most), replace=False).tolist()) for _ in range(count)]


def test_overlap_is_the_jaccard_index_also_where_images_are_dealt_out_anew(random):
    a, b = some_sets(random, 7), some_sets(random, 5)
    overlap = Overlap.of(members(a), members(b))
    order = dealt_within(np.zeros(len(overlap.columns), int), random)
    renamed = dict(zip(overlap.columns.tolist(), overlap.columns[order].tolist(), strict=True))
    for sets, found in ((b, overlap.matrix()), ([{renamed[i] for i in one} for one in b], overlap.matrix(order))):
        slow = [[len(one & other) / len(one | other) for other in sets] for one in a]
        np.testing.assert_allclose(found, slow, rtol=1e-6)


def test_cosine_is_that_of_means_of_unit_vectors(random):
    a, b = [{0, 1}, {2}, {0, 3}], [{0, 2}, {1, 3}]
    of_a, of_b = random.normal(size=(4, 6)), random.normal(size=(4, 6))
    cosine = Cosine.of(members(a), of_a, members(b), of_b, np.arange(4))

    def mean(vectors, which):
        return np.mean([vectors[i] / np.linalg.norm(vectors[i]) for i in sorted(which)], axis=0)

    def slow(which_b):
        means = [mean(of_a, one) for one in a], [mean(of_b, one) for one in which_b]
        return [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in means[1]] for x in means[0]]

    np.testing.assert_allclose(cosine.matrix(), slow(b), rtol=1e-5)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(cosine.matrix(order), slow([{order[i] for i in one} for one in b]), rtol=1e-5)


@pytest.mark.parametrize("ranks", [False, True])
def test_correlation_is_numpys_and_scipys_and_0_for_a_unit_that_is_constant(random, ranks):
    a, b = random.normal(size=(4, 50)).round(1), random.normal(size=(3, 50)).round(1)
    a[3] = 0.1
    found = Correlation.of(a, b, np.arange(50), ranks).matrix()
    for i in range(3):
        for j in range(3):
            slow = spearmanr(a[i], b[j]).statistic if ranks else np.corrcoef(a[i], b[j])[0, 1]
            assert found[i, j] == pytest.approx(slow, abs=1e-6)
    assert (found[3] == 0).all()


def test_images_are_dealt_out_within_their_groups(random):
    groups = random.integers(-1, 3, 200)
    order = dealt_within(groups, random)
    assert sorted(order.tolist()) == list(range(200))
    assert (groups[order] == groups).all()
    assert (order != np.arange(200)).mean() > 0.9


def test_of_units_that_have_nothing_in_common_the_stated_share_has_a_match(random):
    a, b = random.normal(size=(300, 80)), random.normal(size=(40, 80))
    likeness = Correlation.of(a, b, np.arange(80))
    zeros = np.zeros(80, int)
    shuffled = np.stack([likeness.matrix(dealt_within(zeros, random)).max(axis=1) for _ in range(200)])
    matches = Matches.of(likeness.matrix(), shuffled)
    assert abs(matches.found.mean() - LEVEL) < 0.035
    assert (matches.p[matches.found] <= LEVEL + 1 / 200).all()
    assert matches.similarity.mean() == pytest.approx(matches.chance.mean(), rel=0.03)


def test_one_to_one_pairs_are_the_most_similar_in_sum():
    matrix = np.array([[0.9, 0.8], [0.85, 0.1]])
    assert [pairs.tolist() for pairs in one_to_one(matrix)] == [[0, 1], [1, 0]]


def test_contrast_by_a_plain_loop(random):
    matrix, owner = random.random((9, 5)), np.array([0, 0, 1, 2, 2, 2, 2, 3, 3])
    slow = np.zeros(4)
    for v in range(9):
        for w in range(9):
            i, j = matrix[v].argmax(), matrix[w].argmax()
            if v != w and owner[v] == owner[w] and i != j:
                straight, crossed = matrix[v, i] + matrix[w, j], matrix[v, j] + matrix[w, i]
                slow[owner[v]] = max(slow[owner[v]], straight - crossed)
    np.testing.assert_allclose(contrasts(matrix, owner), slow)
    assert slow[1] == 0, "it has one virtual neuron"
