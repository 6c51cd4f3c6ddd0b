"""Scores of concepts, against plain loops of the published formulas."""

import math

import numpy as np
import pytest

from pure_cli.core.labelling import Presence, similarities, soft_wpmi


@pytest.fixture
def vectors():
    random = np.random.default_rng(0)
    images, concepts = (random.normal(size=(count, 6)) for count in (40, 5))
    unit = [own / np.linalg.norm(own, axis=1, keepdims=True) for own in (images, concepts)]
    return *unit, random.random((40, 3))


def test_similarity_is_the_cosine_of_means(vectors):
    images, concepts, _ = vectors
    means = np.stack([images[:10].mean(axis=0), 7 * images[10:].mean(axis=0)])
    expected = [[m @ c / math.sqrt(m @ m) / math.sqrt(c @ c) for c in concepts] for m in means]
    np.testing.assert_allclose(similarities(means, concepts), expected, rtol=1e-5)


def test_soft_wpmi_is_that_of_a_plain_loop(vectors):
    images, concepts, activations = vectors
    top_k, log = 12, np.zeros((3, 5))
    for u in range(3):
        ranked = sorted(range(40), key=lambda i: -activations[i, u])[:top_k]
        for rank, i in enumerate(ranked):
            powers = [math.exp(10 * float(images[i] @ c)) for c in concepts]
            counts = 0.998 - (0.998 - 0.97) * rank / top_k
            for c in range(5):
                log[u, c] += math.log(1 + counts * (powers[c] / sum(powers) - 1) + 1e-7)
    prior = [math.log(sum(math.exp(log[u, c]) for u in range(3))) - math.log(3) for c in range(5)]
    np.testing.assert_allclose(soft_wpmi(images, concepts, activations, top_k), log - prior, rtol=1e-4, atol=1e-4)


def test_soft_wpmi_takes_all_images_where_there_are_few_and_tells_of_units(vectors):
    told = []
    found = soft_wpmi(*vectors, top_k=100, progress=told.append)
    np.testing.assert_allclose(found, soft_wpmi(*vectors, top_k=40))
    assert told == [1, 1, 1]


def test_presence_is_the_softmax_over_all_concepts(vectors):
    images, concepts, _ = vectors
    powers = np.exp(20 * images @ concepts.T)
    expected = (powers / powers.sum(axis=1, keepdims=True))[:, [3, 1]]
    np.testing.assert_allclose(Presence.among(images, concepts, 20).of(np.array([3, 1])), expected, rtol=1e-4)
