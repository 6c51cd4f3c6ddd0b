"""Neurons by number, range and ``all``."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pure_cli.core.neurons import choose_neurons, parse_addresses, parse_neurons, parse_virtual, virtual_of
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
        ("1.5", r"1\.5 is a virtual neuron\. Here whole neurons are meant: write 1"),
        ("1.0", "counted from 1"),
        ("layer3/1", "No neuron of 'layer4' is named"),
        ("layer4/", "'layer4/' is no neuron"),
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


@pytest.mark.parametrize(
    "text", ["201", "0-63", "201.2", "layer4/201", "layer4.1.conv3/201.2", "resnet50/layer4/201.2", "m.py:f/layer4/0-3"]
)
def test_an_address_is_written_as_it_was_read(text):
    (address,) = parse_addresses(text)
    assert str(address) == text


def test_addresses_name_virtual_neurons_and_what_is_of_other_layers_is_left_out():
    text = "layer4/3.2, layer3/9, resnet50/layer4/3.1, layer4/0-1, layer4/5.1, layer4/5"
    whole = frozenset()
    assert parse_virtual(text, COUNT, "layer4") == {0: whole, 1: whole, 3: {1, 2}, 5: whole}
    assert parse_virtual(text, COUNT, "layer3") == {9: whole}
    assert choose_neurons("3.2,5", np.array([3, 5, 7]), COUNT, "a", "x", "y", virtual=True).tolist() == [3, 5]


def test_virtual_neurons_are_counted_from_one_and_must_be_there():
    assert virtual_of(3, frozenset({3, 1}), 3, "a") == [0, 2]
    assert virtual_of(3, frozenset(), 2, "a") == [0, 1]
    with pytest.raises(PureError, match=r"no virtual neuron 3\.4\. Its virtual neurons are 3\.1 to 3\.2"):
        virtual_of(3, frozenset({4}), 2, "a")
    with pytest.raises(PureError, match="It never fires"):
        virtual_of(3, frozenset({1}), 0, "a")
