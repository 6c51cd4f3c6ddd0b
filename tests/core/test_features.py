"""Kinds of features by name, and the arithmetic of transforms."""

import numpy as np
import pytest

from pure_cli.core.features import Kind, joined, transformed, with_transform


@pytest.mark.parametrize(
    ("name", "base", "lower", "transform", "embedding"),
    [
        ("pure", "pure", (), "l1", False),
        ("pure@layer2", "pure", ("layer2",), "l1", False),
        ("pure-sqrt-l2@layer3.2:relu+layer2", "pure-sqrt-l2", ("layer3.2:relu", "layer2"), "sqrt-l2", False),
        ("pure-none", "pure-none", (), "none", False),
        ("lower-activation@layer2", "lower-activation", ("layer2",), "", False),
        ("activation-max", "activation-max", (), "", False),
        ("clip", "clip", (), "", True),
        ("timm:resnet18@layer3", "timm:resnet18@layer3", (), "", True),
    ],
)
def test_names_of_features_are_taken_apart(name, base, lower, transform, embedding):
    kind = Kind.of(name)
    assert (kind.base, kind.lower_layers, kind.transform, kind.is_embedding) == (base, lower, transform, embedding)
    assert kind.has_lower_layer == (base.startswith(("pure", "lower")))


def test_a_transform_is_put_into_the_names_of_relevances_alone():
    assert with_transform("pure@layer2", "sqrt-l2") == "pure-sqrt-l2@layer2"
    assert with_transform("pure", "l1") == "pure"
    assert with_transform("activation-max", "none") == "activation-max"


def test_transforms_by_hand():
    relevance, norm = np.array([[0.64, -0.36, 0.0], [0, 0, 0]]), np.array([5.0, 1e-10])
    np.testing.assert_allclose(transformed(relevance, norm, "l1"), relevance, atol=1e-7)
    np.testing.assert_allclose(transformed(relevance, norm, "none"), [[3.2, -1.8, 0], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(transformed(relevance, norm, "sqrt-l2"), [[0.8, -0.6, 0], [0, 0, 0]], atol=1e-7)


def test_shares_of_weak_relevances_add_up_to_less_than_one_and_their_roots_have_length_one_all_the_same():
    """The norm that they were divided by has 1e-10 added."""
    weak = np.array([[0.32, -0.18, 0]])
    np.testing.assert_allclose(transformed(weak, np.array([2e-10]), "sqrt-l2"), [[0.8, -0.6, 0]], rtol=1e-6)


def test_joined_layers_stand_side_by_side():
    one, two = np.ones((2, 3)), np.zeros((2, 1))
    assert joined([one]) is one
    np.testing.assert_array_equal(joined([one, two]), [[1, 1, 1, 0]] * 2)


def test_where_names_each_lower_layer_once():
    assert Kind.of("pure@layer2+layer1+layer2").where == "@layer2+layer1"
    assert Kind.of("pure").where == "" == Kind.of("clip").where
