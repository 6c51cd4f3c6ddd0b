"""Neurons by number, range and ``all``."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pure_cli.core.neurons import parse_neurons
from pure_cli.errors import PureError

COUNT = 64


@st.composite
def written(draw):
    """A set of neurons, and one of the many ways to write it."""
    wanted, parts = set(), []
    for _ in range(draw(st.integers(1, 6))):
        first = draw(st.integers(0, COUNT - 1))
        last = draw(st.integers(first, COUNT - 1))
        single = first == last and draw(st.booleans())
        parts.append(str(first) if single else f"{first}-{last}")
        wanted |= set(range(first, last + 1))
    spaces = draw(st.sampled_from(["", " ", "  "]))
    return wanted, f"{spaces},{spaces}".join(parts)


@given(written())
def test_what_is_written_is_what_is_meant(case):
    wanted, text = case
    found = parse_neurons(text, COUNT, "layer4")
    assert found.dtype == np.int64
    assert found.tolist() == sorted(wanted)


@given(st.sets(st.integers(0, COUNT - 1), min_size=1))
def test_the_numbers_of_neurons_name_them_again(neurons):
    found = parse_neurons(",".join(map(str, neurons)), COUNT, "layer4")
    assert parse_neurons(",".join(map(str, found)), COUNT, "layer4").tolist() == sorted(neurons)


@pytest.mark.parametrize("text", ["all", " all "])
def test_all_means_every_neuron(text):
    assert parse_neurons(text, 5, "layer4").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("text", ["3,3,3", "3-3", "03", "3,", ",3", "3,,3"])
def test_a_neuron_is_named_once_however_it_is_written(text):
    assert parse_neurons(text, 5, "layer4").tolist() == [3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "No neuron is named"),
        (" , ", "No neuron is named"),
        ("ten", "'ten' is no neuron"),
        ("-1", "'-1' is no neuron"),
        ("1-", "'1-' is no neuron"),
        ("1.5", "'1.5' is no neuron"),
        ("1;2", "'1;2' is no neuron"),
        ("0-3-5", "'0-3-5' is no neuron"),
        ("5-2", "Write 2-5"),
        ("64", "has no neuron 64. Its 64 neurons are 0 to 63"),
        ("60-64", "has no neuron 64"),
        ("0-99999999999", "has no neuron 99999999999"),
        ("9" * 5000, "is no neuron"),
    ],
)
def test_what_is_no_list_of_neurons_is_told(text, words):
    with pytest.raises(PureError, match=words):
        parse_neurons(text, COUNT, "layer4")


def test_the_layer_is_named_where_a_neuron_is_not_there():
    with pytest.raises(PureError, match=r"The layer 'features\.6' has no neuron 12"):
        parse_neurons("12", 12, "features.6")


@given(st.text(max_size=12))
def test_any_text_gives_neurons_or_a_sentence(text):
    try:
        found = parse_neurons(text, COUNT, "layer4")
    except PureError as error:
        assert str(error).endswith((".", "0-63."))
    else:
        assert len(found) and 0 <= found.min() <= found.max() < COUNT
