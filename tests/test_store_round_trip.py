"""What is written to the store is what is read from it, whatever it is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pure_cli.core.references import TopImages
from pure_cli.stages.resume.checkpoint import Checkpoint
from pure_cli.workspace import Store, read_texts, write_array, write_texts

KINDS = st.sampled_from(["float32", "float64", "float16", "int64", "int32", "int16", "uint8", "bool"])
FILE_NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff")
)


@settings(max_examples=60)
@given(KINDS.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))))
def test_arrays_come_back_to_the_bit(tmp_path_factory, values):
    store = Store(tmp_path_factory.mktemp("store"))
    with store.replace("collect") as file:
        write_array(file, "some/values", values)
    with store.read("collect") as file:
        found = np.asarray(file["some/values"][()])
    assert found.dtype == values.dtype and found.shape == values.shape
    assert found.tobytes() == values.tobytes()  # NaN with its sign and its payload


@settings(max_examples=60)
@given(st.lists(FILE_NAMES))
def test_texts_come_back_also_as_names_that_are_no_utf_8(tmp_path_factory, values):
    store = Store(tmp_path_factory.mktemp("store"))
    with store.replace("collect") as file:
        write_texts(file, "names", values)
    with store.read("collect") as file:
        assert read_texts(file["names"]) == values


@settings(max_examples=40)
@given(
    hnp.arrays("float32", (3, 4)),
    st.lists(st.tuples(st.integers(0, 2**40), FILE_NAMES, st.text(max_size=5))),
    st.integers(0, 2**40),
)
def test_an_unfinished_pass_goes_on_with_what_it_had(tmp_path_factory, values, damaged, chunks):
    store = Store(tmp_path_factory.mktemp("store"))
    top = TopImages(values, np.arange(12).reshape(3, 4), np.zeros((3, 4), np.int32), -values)
    state = Checkpoint(store, "key")
    state.tops["layer"], state.damaged, state.next_chunk = top, damaged, chunks
    state.save()
    again = Checkpoint(store, "key")
    assert (again.damaged, again.next_chunk) == (damaged, chunks)
    for part in ("value", "image", "position", "mean"):
        np.testing.assert_array_equal(getattr(again.tops["layer"], part), getattr(top, part))
    assert not Checkpoint(store, "another").tops
