"""Data by URL is what the same data is on the disk."""

import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from made_sources import Made, add, parquet, tar_shards

from pure_cli.data.content import contents
from pure_cli.data.listing import list_images
from pure_cli.data.source import DamagedImage
from pure_cli.errors import PureError, PureFailure
from pure_cli.remote import files
from pure_cli.remote.faults import fault_notes


@pytest.fixture(scope="module")
def made(images):
    return Made(images)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def same(ours, theirs):
    """Whether two listings are of the same images."""
    assert list(ours.paths) == list(theirs.paths) and ours.names == theirs.names
    assert np.array_equal(ours.labels, theirs.labels) and np.array_equal(ours.sizes, theirs.sizes)
    assert np.array_equal(contents(ours, ours.index), contents(theirs, theirs.index))


@pytest.mark.parametrize("way", ["s3", "http"])
@pytest.mark.parametrize("where", ["", "part-{000..002}.tar", "part-*.tar", "part-001.tar"])
def test_shards(bucket, proxy, made, tmp_path, where, way):
    if way == "http" and where in ("", "part-*.tar"):
        pytest.skip("a bucket has no pages with links")
    shards = tar_shards(made, tmp_path / "shards")
    url = bucket({f"d/{name}": content for name, content in files_in(shards).items()})
    base = url if way == "s3" else f"{proxy.url}/{bucket.name}"
    same(list_images(f"{base}/d/{where}", cache=tmp_path / "index"), list_images(shards / where))


def test_parquet(bucket, made, tmp_path):
    folder = parquet(made, tmp_path / "rows")
    url = bucket({f"d/{name}": content for name, content in files_in(folder).items()})
    same(list_images(f"{url}/d"), list_images(folder))


def test_class_folders(bucket, made, tmp_path):
    url = bucket({f"d/{name}": content for name, content in files_in(made.folder).items()} | {"d/notes.xyz": b"x"})
    ours, theirs = list_images(f"{url}/d/"), list_images(made.folder)
    same(ours, theirs)
    assert ours.place(0) == f"{url}/d/{theirs.paths[0]}" and ours.notes == ("1 file was left out: 1 .xyz.",)


@pytest.mark.parametrize("split", ["train", "val"])
def test_splits_of_class_folders(bucket, made, tmp_path, split):
    files = files_in(made.folder)
    url = bucket({f"{one}/{name}": content for one in ("train", "val") for name, content in files.items()})
    same(list_images(f"{url}#{split}"), list_images(made.folder))
    with pytest.raises(PureError, match=f"has several splits: train, val. Name one: --data '{url}#train'"):
        list_images(url)


def test_a_web_server_with_pages_and_without_ranges(plain_server, proxy, made, tmp_path):
    folder, url = plain_server
    tar_shards(made, folder / "d")
    same(list_images(f"{url}/d/"), list_images(folder / "d"))
    assert "ETag" not in "".join(list_images(f"{url}/d/").notes)  # there are dates


def test_a_server_without_ranges_needs_a_cache(plain_server, proxy, made, tmp_path, monkeypatch):
    folder, url = plain_server
    tar_shards(made, folder / "d")
    monkeypatch.setenv("PURE_CACHE_SIZE", "0")
    with pytest.raises(PureError, match="as a whole only, and the cache has no room for it"):
        list_images(f"{url}/d/part-001.tar")


def test_a_second_listing_is_one_request(bucket, proxy, made, tmp_path):
    for kind, make in (("tar", tar_shards), ("parquet", parquet)):
        folder = make(made, tmp_path / kind)
        url = bucket({f"{kind}/{name}": content for name, content in files_in(folder).items()})
        first = list_images(f"{url}/{kind}", cache=tmp_path / "index")
        proxy.reset()
        again = list_images(f"{url}/{kind}", cache=tmp_path / "index")
        assert (len(proxy.asked), again.fingerprint) == (1, first.fingerprint), proxy.asked


def test_a_pass_fetches_every_shard_once_and_single_images_are_ranges(bucket, proxy, made, tmp_path, monkeypatch):
    shards = tar_shards(made, tmp_path / "shards")
    url = bucket({f"d/{name}": content for name, content in files_in(shards).items()})
    whole = sum(file.stat().st_size for file in shards.glob("*.tar"))
    monkeypatch.setenv("PURE_CACHE_SIZE", "1GB")
    listing = list_images(f"{url}/d", cache=tmp_path / "index")
    contents(listing, listing.index)
    assert proxy.count("GET", ".tar") == 3 and whole <= proxy.sent <= whole + 20_000
    monkeypatch.setenv("PURE_CACHE", str(tmp_path / "other"))
    listing = list_images(f"{url}/d", cache=tmp_path / "index")
    proxy.reset()
    contents(listing, [3, 30])
    assert proxy.count("GET", ".tar") == 2 and proxy.sent == int(listing.sizes[[3, 30]].sum())


def test_a_cache_that_is_too_small_gives_the_same(bucket, proxy, made, tmp_path, monkeypatch):
    shards = tar_shards(made, tmp_path / "shards")
    url = bucket({f"d/{name}": content for name, content in files_in(shards).items()})
    monkeypatch.setenv("PURE_CACHE_SIZE", "0")
    same(list_images(f"{url}/d"), list_images(shards))
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and file.stat().st_size]


def test_faults_in_a_pass_change_nothing(bucket, proxy, made, tmp_path, impatient):
    shards = tar_shards(made, tmp_path / "shards")
    url = bucket({f"d/{name}": content for name, content in files_in(shards).items()})
    proxy.reset(500, "cut", 503, "", "other range", "cut", "slow")
    same(list_images(f"{url}/d"), list_images(shards))
    assert fault_notes() == ["The storage failed 6 times and was asked again."]


def test_another_etag_is_another_image_and_the_same_content_is_not(bucket, made, tmp_path):
    shards = tar_shards(made, tmp_path / "shards")
    files = files_in(shards)
    url = bucket(files)
    before = list_images(url, cache=tmp_path / "index")
    bucket(files)
    same_again = list_images(url, cache=tmp_path / "index")
    assert same_again.versioned and np.array_equal(before.times, same_again.times)
    content = bytearray(files["part-001.tar"])
    content[-1] ^= 1  # behind the end
    bucket({"part-001.tar": bytes(content)})
    after = list_images(url, cache=tmp_path / "index")
    differ = np.flatnonzero(after.times != before.times)
    assert differ.tolist() == [i for i, path in enumerate(before.paths) if path.startswith("part-001")]


def test_a_shard_that_is_gone_is_no_damaged_image(bucket, proxy, made, tmp_path):
    files = files_in(tar_shards(made, tmp_path / "shards"))
    url = bucket(files)
    listing = list_images(url, cache=tmp_path / "index")
    proxy.reset(always=500)
    for file in (tmp_path / "cache").rglob("*.tar"):
        file.unlink()
    with pytest.raises(PureFailure, match=r"part-00\d.tar"):
        contents(listing, listing.index)


def test_what_is_no_data_by_url_says_what_is(bucket):
    url = bucket({"x.npz": b"123", "y/a.bin": b""})
    with pytest.raises(PureError, match=r"x.npz' is no data that is read by its URL: tar shards"):
        list_images(f"{url}/x.npz")
    with pytest.raises(PureError, match=r"There is no image in .*it holds 1 \.bin"):
        list_images(f"{url}/y")
    with pytest.raises(PureError, match=r"nothing at s3://bucket-\d+/none"):
        list_images(f"{url}/none")


def test_files_and_memory_by_url(made, tmp_path):
    shards = tar_shards(made, tmp_path / "shards")
    same(list_images(f"file://{shards}"), list_images(shards))


def test_lists_that_name_urls_and_lists_in_a_bucket(bucket, proxy, made, tmp_path):
    files = files_in(made.folder)
    rows = [(name, made.names[label]) for name, label in zip(files, made.labels.tolist(), strict=True)]
    beside = "".join(f"{name},{label}\n" for name, label in rows)
    url = bucket(files | {"all.csv": beside.encode()})
    (made_list := tmp_path / "here.csv").write_text(
        "".join(f"{proxy.url}/{bucket.name}/{name},{label}\n" for name, label in rows)
    )
    theirs = list_images(made.folder)
    same(list_images(f"{url}/all.csv"), theirs)
    of_urls = list_images(made_list)
    assert np.array_equal(contents(of_urls, of_urls.index), contents(theirs, theirs.index))
    assert np.array_equal(of_urls.labels, theirs.labels) and of_urls.names == theirs.names
    assert of_urls.place(0) == f"{proxy.url}/{bucket.name}/{theirs.paths[0]}" and "--verify" in of_urls.notes[-1]
    (tmp_path / "odd.txt").write_text(f"{proxy.url}/1.jpg\n2.jpg\n")
    with pytest.raises(PureError, match=r"names '2.jpg', beside URLs"):
        list_images(tmp_path / "odd.txt")


def test_a_url_in_a_list_that_leads_nowhere_is_a_damaged_image(bucket, proxy, tmp_path):
    url = bucket({"x": b""})
    (tmp_path / "odd.txt").write_text(f"{url}/1.jpg\n")
    listing = list_images(tmp_path / "odd.txt")
    with pytest.raises(DamagedImage, match="no such file"):
        listing.read(0)


def test_where_the_cache_does_not_hold_the_shards_their_headers_alone_are_read(bucket, proxy, tmp_path, monkeypatch):
    monkeypatch.setenv("PURE_CACHE_SIZE", "0")
    monkeypatch.setattr(files, "ROUND_TRIP", 50_000)
    random = np.random.default_rng(0)
    images = {f"{i}.png": random.bytes(200_000) for i in range(20)}
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in images.items():
            add(tar, name, content)
            add(tar, f"{name[:-4]}.cls", b"3")
    url = bucket({"a.tar": (tmp_path / "a.tar").read_bytes()})
    proxy.reset()
    ours, theirs = list_images(f"{url}/a.tar"), list_images(tmp_path / "a.tar")
    assert proxy.sent < 400_000 and proxy.count("GET", ".tar") == 21
    same(ours, theirs)
