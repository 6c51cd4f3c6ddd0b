"""Data sets of the hub: from a hub on this machine, and from its cache."""

import io
import tarfile

import numpy as np
import pytest
from fake_hub import lay_into_cache
from PIL import Image

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.hub_layout import layout_of
from pure_cli.data.listing import list_images
from pure_cli.data.loader import decode_one
from pure_cli.data.sources.hub import parse_dataset
from pure_cli.errors import PureError, PureFailure

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
KIND = "dataset"


def png(value):
    content = io.BytesIO()
    Image.fromarray(np.full((5, 4, 3), value, np.uint8)).save(content, "PNG")
    return content.getvalue()


def parquet(file, values, named=True, rows=None):
    """A file as `datasets` writes them: rows of images of one grey value and label value // 10."""
    import json

    table = pa.table({
        "image": [{"bytes": png(value), "path": None} for value in values],
        "label": pa.array([value // 10 for value in values], pa.int64()),
    })  # fmt: skip
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    if named:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)


def grey_values(listing):
    return [int(decode_one(listing, i, Preprocessing())[0, 0, 0]) for i in listing.index]


@pytest.fixture
def two_splits(tmp_path):
    folder = tmp_path / "repo"
    parquet(folder / "data" / "train-00000-of-00002.parquet", [0, 10])
    parquet(folder / "data" / "train-00001-of-00002.parquet", [1, 11])
    parquet(folder / "data" / "test-00000-of-00001.parquet", [2, 12, 13])
    return folder


def test_a_split_is_fetched_and_read_and_no_other(hub, two_splits, hub_cache):
    commit = hub.put("a/b", two_splits, KIND)
    found = list_images("hf:a/b:train")
    assert grey_values(found) == [0, 10, 1, 11]
    assert found.labels.tolist() == [0, 1, 0, 1] and found.names == ("cat", "dog")
    assert found.paths[0] == "train-00000-of-00002.parquet:00000"
    assert found.data == f"hf:a/b@{commit}:train"
    assert sorted(path.name for path in hub_cache.rglob("*.parquet")) == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]


def test_what_was_listed_is_found_again_without_the_hub(hub, two_splits):
    hub.put("a/b", two_splits, KIND)
    before = list_images("hf:a/b:test")
    hub.asked.clear()
    again = list_images(before.data)
    assert hub.asked == [] and again.fingerprint == before.fingerprint and grey_values(again) == [2, 12, 13]


def test_other_content_is_another_listing_and_another_readme_is_not(hub, two_splits):
    hub.put("a/b", two_splits, KIND)
    before = list_images("hf:a/b:test")
    (two_splits / "README.md").write_text("words")
    hub.put("a/b", two_splits, KIND)
    assert list_images("hf:a/b:test").fingerprint == before.fingerprint
    assert list_images("hf:a/b:test").data != before.data
    parquet(two_splits / "data" / "test-00000-of-00001.parquet", [3, 12, 13])
    hub.put("a/b", two_splits, KIND)
    assert list_images("hf:a/b:test").fingerprint != before.fingerprint
    assert grey_values(list_images(before.data)) == [2, 12, 13]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "hf:a/b",
            "'hf:a/b' has several splits: test, train. Name one: --data 'hf:a/b:test' or --data 'hf:a/b:train'.",
        ),
        (
            "hf:a/b:trian",
            "'hf:a/b:trian' has no split 'trian', only: test, train. Pass --data 'hf:a/b:test' or --data ",
        ),
        ("hf:a/b/small:test", "has no configuration 'small', only: default. Pass --data 'hf:a/b/default:test'."),
    ],
)
def test_a_wrong_split_lists_those_that_there_are(hub, two_splits, name, sentence):
    hub.put("a/b", two_splits, KIND)
    with pytest.raises(PureError) as caught:
        list_images(name)
    assert sentence in str(caught.value)


def test_the_cache_is_enough_without_a_network(no_hub, two_splits):
    lay_into_cache(no_hub, "a/b", two_splits, KIND)
    assert grey_values(list_images("hf:a/b:train")) == [0, 10, 1, 11]
    (two_splits / "data" / "train-00001-of-00002.parquet").unlink()
    lay_into_cache(no_hub, "a/half", two_splits, KIND)
    with pytest.raises(
        PureFailure, match=r"^1 of the files of hf:a/half@\w+ are not on this machine.*--repo-type dataset"
    ):
        list_images("hf:a/half:train")
    with pytest.raises(PureFailure) as caught:
        list_images("hf:a/none")
    assert str(caught.value) == (
        "hf:a/none is not on this machine, and the hub cannot be reached. Where there is a network, run `hf download "
        "a/none --repo-type dataset`."
    )


def test_configurations_and_splits_that_the_card_names(hub, tmp_path):
    folder = tmp_path / "repo"
    parquet(folder / "big" / "first.parquet", [0], named=False)
    parquet(folder / "big" / "second.parquet", [10], named=False)
    parquet(folder / "little" / "only.parquet", [11, 1], named=False)
    (folder / "README.md").write_text(
        "---\n"
        "dataset_info:\n"
        "- config_name: little\n"
        "  features:\n"
        "  - {name: image, dtype: image}\n"
        "  - {name: label, dtype: {class_label: {names: {'0': hen, '1': owl}}}}\n"
        "configs:\n"
        "- config_name: big\n"
        "  data_files:\n"
        "  - {split: train, path: big/f*}\n"
        "  - {split: held_out, path: [big/second.parquet]}\n"
        "- config_name: little\n"
        "  default: true\n"
        "  data_files: '**/only.parquet'\n"
        "---\n# A data set\n"
    )
    hub.put("a/b", folder, KIND)
    usual = list_images("hf:a/b")
    assert grey_values(usual) == [11, 1] and usual.names == ("hen", "owl")
    assert grey_values(list_images("hf:a/b/big:held_out")) == [10]
    assert list_images("hf:a/b/big:train").names == ()
    with pytest.raises(PureError, match="'hf:a/b/big' has several splits: train, held_out"):
        list_images("hf:a/b/big")


def test_folders_of_images_and_their_classes(hub, tmp_path, hub_cache):
    folder = tmp_path / "repo"
    for split, values in (("train", (0, 10)), ("val", (1, 11))):
        for value in values:
            file = folder / "data" / split / ("cat", "dog")[value // 10] / f"{value}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(value))
    hub.put("a/b", folder, KIND)
    found = list_images("hf:a/b:validation")
    assert grey_values(found) == [1, 11] and found.names == ("cat", "dog") and found.labels.tolist() == [0, 1]
    assert list(found.paths) == ["cat/1.png", "dog/11.png"]
    assert len(list(hub_cache.rglob("*.png"))) == 2
    assert list_images("hf:a/b:val").fingerprint == found.fingerprint


def test_images_of_one_split_in_class_folders_of_the_repo(hub, tmp_path):
    for value in (0, 10):
        file = tmp_path / "repo" / ("cat", "dog")[value // 10] / f"{value}.png"
        file.parent.mkdir(parents=True)
        file.write_bytes(png(value))
    (tmp_path / "repo" / "README.md").write_text("words")
    (tmp_path / "repo" / "metadata.parquet").write_text("more of the images")
    hub.put("a/b", tmp_path / "repo", KIND)
    found = list_images("hf:a/b")
    assert found.names == ("cat", "dog")
    assert "metadata.parquet is not read; labels are those of the class folders." in found.notes


def test_tar_shards(hub, tmp_path):
    (tmp_path / "repo").mkdir()
    for shard, values in enumerate(((0, 10), (1,))):
        with tarfile.open(tmp_path / "repo" / f"train-{shard:06d}.tar", "w") as tar:
            for value in values:
                for ending, content in (("png", png(value)), ("cls", str(value // 10).encode())):
                    member = tarfile.TarInfo(f"{value:04d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    hub.put("a/b", tmp_path / "repo", KIND)
    found = list_images("hf:a/b", cache=tmp_path / "index")
    assert grey_values(found) == [0, 10, 1] and found.labels.tolist() == [0, 1, 0]


def test_the_hubs_copy_in_parquet_stands_in_for_what_is_not_read(hub, tmp_path):
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "b.py").write_text("raise SystemExit('was run')")
    hub.put("a/b", tmp_path / "script", KIND)
    with pytest.raises(
        PureError, match=r"^hf:a/b has no Parquet files, tar shards or images that pure reads; it has b.py"
    ):
        list_images("hf:a/b")
    parquet(tmp_path / "copy" / "default" / "train" / "0000.parquet", [0, 10])
    parquet(tmp_path / "copy" / "default" / "test" / "0000.parquet", [1])
    commit = hub.put("a/b", tmp_path / "copy", KIND, branch="refs/convert/parquet")
    found = list_images("hf:a/b:test")
    assert grey_values(found) == [1] and found.data == f"hf:a/b@{commit}:test"
    assert list_images(found.data).fingerprint == found.fingerprint


def test_names_say_splits_as_the_package_datasets_reads_them():
    names = ["a/train-00000-of-00001-0a1b.parquet", "a/my_split-00000-of-00001.parquet", "b/data_val.parquet"]
    found = layout_of([*names, "README.md"], {})
    assert {config: {split: one.names for split, one in splits.items()} for config, splits in found.items()} == {
        "a": {"my_split": [names[1]], "train": [names[0]]},
        "b": {"validation": [names[2]]},
    }


def test_what_a_name_means():
    found = parse_dataset("hf:a/b/small@v1:train")
    assert (found.repo.name, found.config, found.repo.revision, found.split) == ("a/b", "small", "v1", "train")
    assert found.text == "hf:a/b/small@v1:train"
    assert parse_dataset("hf:mnist").text == "hf:mnist"
    with pytest.raises(PureError, match="no name of the hub"):
        parse_dataset("hf:../b")


def test_collect_remembers_the_commit(hub, two_splits, tmp_path):
    from pure_cli import Workspace

    commit = hub.put("a/b", two_splits, KIND)
    study = Workspace(tmp_path / "study")
    how = {"resize": 32, "crop_size": 32, "n": 2, "workers": 0, "device": "cpu"}
    study.collect(model="digits", data="hf:a/b:test", **how)
    assert study.info()["origin"]["data"] == f"hf:a/b@{commit}:test"
    hub.asked.clear()
    study.attribute(neurons=[0], device="cpu", workers=0)
    assert hub.asked == []
    assert study.collect(data="hf:a/b:test").up_to_date


def test_parts_of_assign_remember_the_commit_as_those_of_collect_do(hub, two_splits, tmp_path):
    from pure_cli import Workspace
    from pure_cli.artifacts import read_assignments

    first = hub.put("a/b", two_splits, KIND)
    study = Workspace(tmp_path / "study")
    how = {"workers": 0, "device": "cpu", "progress": False}
    study.collect(model="digits", data="hf:a/b:train", resize=32, crop_size=32, n=4, **how)
    study.attribute(neurons=[0, 1], **how)
    study.cluster(k=2, features="activation-mean", progress=False)
    for _ in ("scores", "circuits"):
        for part in ("1/2", "2/2"):
            study.assign(neurons=[0, 1], data="hf:a/b:test", part=part, figures=0, **how)
    parquet(two_splits / "data" / "test-00000-of-00001.parquet", [4, 14, 15])
    assert hub.put("a/b", two_splits, KIND) != first
    study.merge(device="cpu", progress=False)
    (found,) = read_assignments(study.store).values()
    assert found.provenance.settings["data"] == f"hf:a/b@{first}:test"
