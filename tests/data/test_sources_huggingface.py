"""Parquet and data sets saved by `datasets`: columns, splits, the real package, and what is wrong with them."""

import json
import shutil
import sys

import numpy as np
import pytest
from made_sources import Made, parquet, saved, table

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.decode import DamagedImage, decode
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


@pytest.mark.parametrize("odd", [float("inf"), float("-inf"), 1.5, 1e300, 2**63])
def test_label_that_is_no_whole_number_is_named(tmp_path, odd):
    kind = pa.uint64() if isinstance(odd, int) else pa.float64()
    write(tmp_path / "a.parquet", **PIXEL, label=pa.array([None, 3, 4], kind))
    write(tmp_path / "b.parquet", **PIXEL, label=pa.array([None, 1, odd], kind))
    with pytest.raises(PureError) as caught:
        list_images(tmp_path)
    assert f"'{tmp_path}/b.parquet:00002' is {odd}. Labels are whole numbers" in str(caught.value)


TEXT = ["dog", None, "ant"]


@pytest.mark.parametrize(
    ("parts", "labels", "names"),
    [
        ([pa.array([0, 1, None], kind) for kind in (pa.int64(), pa.int32(), pa.uint8(), pa.float32())], [0, 1, -1], ()),
        ([pa.array(TEXT), pa.array(TEXT).dictionary_encode(), pa.array(TEXT, pa.large_string())], [1, -1, 0], TEXT),
    ],
    ids=["numbers", "texts"],
)
def test_labels_stored_in_other_ways_are_the_same_labels(tmp_path, parts, labels, names):
    parts = [pa.nulls(3), *parts]
    for i, part in enumerate(parts):
        write(tmp_path / f"{i}.parquet", **PIXEL, label=part)
    listing = list_images(tmp_path)
    assert listing.labels.tolist() == [-1, -1, -1, *labels * (len(parts) - 1)]
    assert listing.names == tuple(sorted(filter(None, names)))


def test_image_column_of_every_file_holds_images(tmp_path):
    write(tmp_path / "a.parquet", **PIXEL)
    write(tmp_path / "b.parquet", image=[1, 2, 10**12])
    with pytest.raises(PureError, match=r"b\.parquet' has no column 'image' of images, as '.*a\.parquet' has"):
        list_images(tmp_path)


def test_columns_of_one_name(tmp_path):
    values = [pa.array(PIXEL["image"]), pa.array([1, 2, 3]), pa.array([1, 2, 3])]
    pq.write_table(pa.Table.from_arrays(values, ["image", "label", "label"]), tmp_path / "a.parquet")
    with pytest.raises(PureError, match=r"a\.parquet' has several columns 'label'"):
        list_images(tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_arrays([values[0]] * 2, ["image", "image"]), tmp_path / "a.parquet")
    with pytest.raises(PureError, match=r"no column of images.*its columns are image, image"):
        list_images(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("features", "labels", "names"),
    [
        ({"label": {"_type": "ClassLabel", "names": 5}}, [1, 0, -1], ()),
        ({"label": {"_type": "ClassLabel", "names": ["a", "b"]}}, [1, 0, -1], ("a", "b")),
        ({"list": {"_type": "ClassLabel", "names": ["a", "b"]}, "label": 3}, [1, 0, -1], ()),
        ([1], [1, 0, -1], ()),
    ],
)
def test_metadata_that_makes_no_sense_is_as_none(tmp_path, features, labels, names):
    whole = pa.table({**PIXEL, "list": [[1], [2], [3]], "label": [1, 0, None]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(whole.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    listing = list_images(tmp_path / "a.parquet")
    assert (listing.labels.tolist(), listing.names) == (labels, names)


def test_text_that_is_not_valid_unicode(tmp_path):
    text = pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff\xfe", b"near.png", None]).buffers())
    cells = pa.StructArray.from_arrays([pa.array([b"x", None, None], pa.binary()), text], ["bytes", "path"])
    listing = list_images(write(tmp_path / "a.parquet", image=cells, label=text))
    assert listing.names == ("near.png", "��") and listing.labels.tolist() == [1, 0, -1]
    with pytest.raises(DamagedImage, match="its row is damaged"):
        listing.read(0)


@pytest.mark.parametrize("path", ["../out.png", "/etc/hostname", "in/../../out.png", "{}/../out.png", "", None])
def test_cell_that_names_a_file_outside_of_the_data_reads_nothing(made, tmp_path, path):
    (tmp_path / "data" / "in").mkdir(parents=True)
    shutil.copy(made.files[0], tmp_path / "out.png")
    shutil.copy(made.files[0], tmp_path / "data" / "in" / "near.png")
    path = path and path.format(tmp_path / "data")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    inside = ["in/near.png", "./in/../in/near.png", str(tmp_path / "data" / "in" / "near.png")]
    cells = pa.array([{"bytes": None, "path": name} for name in [path, *inside]], kind)
    listing = list_images(write(tmp_path / "data" / "a.parquet", image=cells))
    with pytest.raises(DamagedImage, match="outside of the data set's folder" if path else "no image in its row"):
        listing.read(0)
    for i in (1, 2, 3):
        np.testing.assert_array_equal(np.asarray(decode(listing.read(i))), made.pixels[0])


@pytest.mark.parametrize("name", ["../data/data-00000-of-00002.arrow", "/etc/hostname", "..", ""])
def test_saved_data_set_reads_what_lies_in_it_alone(made, tmp_path, name):
    folder = saved(made, tmp_path / "data")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(PureError, match=rf"state\.json' names '{name}', which does not lie beside it"):
        list_images(folder)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    with pytest.raises(PureError, match=rf"dataset_dict\.json' names '{name}', which does not lie beside it"):
        list_images(folder)


def test_saved_column_that_points_outside_of_the_memory_is_damaged(made, tmp_path):
    folder = saved(made, tmp_path / "data")
    file = folder / "data-00000-of-00002.arrow"
    offsets = np.cumsum([0, *(len(image.read_bytes()) for image in made.files[:5])]).astype("<i4")
    wrong = offsets.copy()
    wrong[1:5] = 2**31 - 1
    content = file.read_bytes()
    assert content.count(offsets.tobytes()) == 1
    file.write_bytes(content.replace(offsets.tobytes(), wrong.tobytes()))
    with pytest.raises(DamagedImage, match="the file that it is in is damaged"):
        list_images(folder).read(0)


def test_files_of_other_labels_are_named(tmp_path):
    pq.write_table(pa.table({**PIXEL, "label": [0, 1, 2]}), tmp_path / "a.parquet")
    for odd in ({"label": ["a", "b", "c"]}, {}):
        pq.write_table(pa.table({**PIXEL, **odd}), tmp_path / "b.parquet")
        with pytest.raises(PureError, match=r"'label' of '.*b\.parquet'"):
            list_images(tmp_path)
    pq.write_table(pa.table({**PIXEL, "label": [0.5, 1, 2]}), tmp_path / "c.parquet")
    with pytest.raises(PureError, match=r"The label of '.*c\.parquet:00000' is 0\.5\. Labels are whole numbers"):
        list_images(tmp_path / "c.parquet")
