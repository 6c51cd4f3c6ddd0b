"""Parquet and data sets saved by `datasets`: columns, splits, the real package, and what is wrong with them."""

import json
import shutil
import sys

import numpy as np
import pytest
from made_sources import Made, parquet, saved, table

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.decode import decode
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches
from pure_cli.data.sources import huggingface
from pure_cli.errors import PureError

pa = pytest.importorskip("pyarrow", reason="pyarrow, the extra 'parquet', is not installed")
pq = pytest.importorskip("pyarrow.parquet")


def pixels(data) -> np.ndarray:
    listing = list_images(data)
    return np.stack([np.asarray(decode(listing.read(i))) for i in range(len(listing))])


# --- by the real package


@pytest.fixture(scope="module")
def dataset(made: Made):
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=made.names)})
    rows = {"image": [str(file) for file in made.files], "label": made.labels.tolist()}
    return datasets.Dataset.from_dict(rows, features=features)


def test_what_datasets_saves_is_read_without_it(made, dataset, tmp_path):
    dataset.save_to_disk(tmp_path / "one", num_shards=2)
    dataset.select([5, 3, 1]).save_to_disk(tmp_path / "selected")
    dataset.to_parquet(tmp_path / "one.parquet")
    for data in (tmp_path / "one", tmp_path / "one.parquet"):
        listing = list_images(data)
        assert listing.names == tuple(made.names) and listing.labels.tolist() == made.labels.tolist()
        np.testing.assert_array_equal(pixels(data), made.pixels)
    np.testing.assert_array_equal(pixels(tmp_path / "selected"), made.pixels[[5, 3, 1]])


def test_split_of_a_dataset_dict(made, dataset, tmp_path):
    import datasets

    both = datasets.DatasetDict({"train": dataset, "test": dataset.select(range(4))})
    both.save_to_disk(tmp_path / "both")
    with pytest.raises(PureError, match=r"several splits: train, test\. Name one: --data '.*both#train'"):
        list_images(tmp_path / "both")
    with pytest.raises(PureError, match="no split 'dev'"):
        list_images(tmp_path / "both#dev")
    assert len(list_images(tmp_path / "both#test")) == len(list_images(tmp_path / "both/test")) == 4
    np.testing.assert_array_equal(pixels(tmp_path / "both#train"), made.pixels)


# --- columns


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_plain_bytes_and_text_labels(made, tmp_path):
    content = [file.read_bytes() for file in made.files[:3]]
    labels = pa.array(["dog", None, "ant"]).dictionary_encode()
    listing = list_images(write(tmp_path / "a.parquet", key=["x", "y", "z"], picture=pa.array(content), label=labels))
    assert [listing.read(i) for i in range(3)] == content
    assert listing.names == ("ant", "dog") and listing.labels.tolist() == [1, -1, 0]
    assert listing.paths == ("a.parquet:00000", "a.parquet:00001", "a.parquet:00002")


def test_cells_that_name_files_and_cells_without_an_image(made, tmp_path):
    shutil.copy(made.files[0], tmp_path / "near.png")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": None, "path": "near.png"}, None, {"bytes": b"", "path": ""}, {"bytes": b"x", "path": "near.png"}]
    listing = list_images(write(tmp_path / "a.parquet", image=pa.array(cells, kind)))
    (batch,) = batches(listing, listing.index, Preprocessing(resize=None, crop_size=None), 8, 0)
    assert batch.index.tolist() == [0]
    reasons = ["no image in its row", "an empty file", "not an image"]
    assert [damaged.reason for damaged in batch.damaged] == reasons


def test_row_groups_are_read_once_by_going_in_order(made, tmp_path, monkeypatch):
    listing = list_images(parquet(made, tmp_path / "data"))
    opened, reads = huggingface._parquet, []
    monkeypatch.setattr(huggingface, "_parquet", lambda file: (reads.append(file), opened(file))[1])
    for i in range(len(listing)):
        listing.read(i)
    half = len(made.files) // 2
    assert len(reads) == -(-half // 7) + -(-(len(made.files) - half) // 7)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": [1, 2]}, "has no column of images.*its columns are a"),
        ({"a": [b"x"], "b": [b"y"]}, "several columns that may hold images: a, b"),
    ],
)
def test_no_telling_which_column(tmp_path, columns, words):
    with pytest.raises(PureError, match=words):
        list_images(write(tmp_path / "a.parquet", **columns))


# --- files


def test_splits_by_the_names_of_the_files(made, tmp_path):
    folder = parquet(made, tmp_path / "data")
    pq.write_table(table(made).slice(0, 5), folder / "test-00000-of-00001.parquet")
    with pytest.raises(PureError, match=r"several splits: test, train"):
        list_images(folder)
    np.testing.assert_array_equal(pixels(tmp_path / "data#train"), made.pixels)
    np.testing.assert_array_equal(pixels(folder / "train-*.parquet"), made.pixels)
    assert len(list_images(folder / "test-00000-of-00001.parquet")) == 5


def test_changed_images_change_the_fingerprint(made, tmp_path):
    before = list_images(parquet(made, tmp_path / "a")).fingerprint
    assert list_images(parquet(made, tmp_path / "b")).fingerprint == before
    pq.write_table(table(Made(made.folder)).slice(1), tmp_path / "b" / "train-00001-of-00002.parquet")
    assert list_images(tmp_path / "b").fingerprint != before


@pytest.mark.parametrize("harm", ["cut", "nonsense", "empty"])
def test_damaged_parquet_file_is_named(made, tmp_path, harm):
    folder = parquet(made, tmp_path / "data")
    file = folder / "train-00001-of-00002.parquet"
    content = {"cut": file.read_bytes()[:-100], "nonsense": b"PAR1 nothing", "empty": b""}[harm]
    file.write_bytes(content)
    with pytest.raises(PureError, match=r"00001-of-00002\.parquet' is damaged or cannot be read"):
        list_images(folder)


def test_damaged_row_group_costs_its_images_alone(made, tmp_path):
    folder = parquet(made, tmp_path / "data")
    file = folder / "train-00000-of-00002.parquet"
    content = bytearray(file.read_bytes())
    chunk = pq.ParquetFile(file).metadata.row_group(1).column(0)
    start, length = chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size
    content[start : start + length] = bytes(length)
    file.write_bytes(content)
    listing = list_images(folder)
    damaged = [d for b in batches(listing, listing.index, Preprocessing(), 5, 2) for d in b.damaged]
    assert [d.index for d in damaged] == list(range(7, 14))
    assert {d.reason for d in damaged} == {"the row group that it is in is damaged or gone"}


def test_damaged_saved_data_set_is_named(made, tmp_path):
    folder = saved(made, tmp_path / "data")
    (folder / "data-00001-of-00002.arrow").write_bytes(b"x" * 100)
    with pytest.raises(PureError, match=r"data-00001-of-00002\.arrow' is damaged"):
        list_images(folder)
    for content in ("{", "[]", "{}", '{"_data_files": 3}'):
        (folder / "state.json").write_text(content)
        with pytest.raises(PureError, match=r"state\.json' is damaged"):
            list_images(folder)


def test_selection_of_rows_is_refused(made, tmp_path):
    folder = saved(made, tmp_path / "data")
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(PureError, match="flatten_indices"):
        list_images(folder)


def test_images_with_such_files_beside_stay_a_folder(made, tmp_path):
    shutil.copytree(made.folder / made.names[0], tmp_path / "flat")
    shutil.copy(parquet(made, tmp_path / "data") / "train-00000-of-00002.parquet", tmp_path / "flat/metadata.parquet")
    (tmp_path / "flat/state.json").write_text("{}")
    assert list_images(tmp_path / "flat").paths[0].endswith(".png")


def test_without_pyarrow_the_error_names_the_extra(made, tmp_path, monkeypatch):
    folder = parquet(made, tmp_path / "data")
    monkeypatch.setattr(huggingface, "find_spec", lambda name: None)
    with pytest.raises(PureError, match=r"pip install 'pure-cli\[parquet\]'"):
        list_images(folder)


def test_other_sources_do_without_pyarrow(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert len(list_images(made.folder)) == len(made.files)


PIXEL = {"image": [b"x", b"y", b"z"]}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0.0, 1.0, None], [0, 1, -1]), ([True, False, True], [1, 0, 1]), ([0.0, float("nan"), 2.0], [0, -1, 2])],
)
def test_labels_as_pandas_writes_them(tmp_path, labels, expected):
    pq.write_table(pa.table({**PIXEL, "y": labels}), tmp_path / "a.parquet")
    assert list_images(tmp_path / "a.parquet").labels.tolist() == expected


def test_files_of_other_labels_are_named(tmp_path):
    pq.write_table(pa.table({**PIXEL, "label": [0, 1, 2]}), tmp_path / "a.parquet")
    for odd in ({"label": ["a", "b", "c"]}, {}):
        pq.write_table(pa.table({**PIXEL, **odd}), tmp_path / "b.parquet")
        with pytest.raises(PureError, match=r"'label' of '.*b\.parquet'"):
            list_images(tmp_path)
    pq.write_table(pa.table({**PIXEL, "label": [0.5, 1, 2]}), tmp_path / "c.parquet")
    with pytest.raises(PureError, match=r"A label is 0\.5"):
        list_images(tmp_path / "c.parquet")
