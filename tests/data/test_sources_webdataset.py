"""Tar shards: keys, labels, the index, and what is wrong with a tar."""

import gzip
import io
import shutil
import tarfile

import numpy as np
import pytest
from made_sources import add, tar_shards

from pure_cli import Workspace
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.decode import DamagedImage, decode
from pure_cli.data.listing import Listing, list_images
from pure_cli.data.loader import batches
from pure_cli.data.sources import webdataset
from pure_cli.errors import PureError


@pytest.fixture
def png(made) -> bytes:
    return made.files[0].read_bytes()


def shard(path, *members: tuple[str, bytes]) -> Listing:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            add(tar, name, content)
    return list_images(path)


def test_key_is_the_path_up_to_the_first_dot_of_the_name(tmp_path, png):
    listing = shard(
        tmp_path / "a.tar",
        *(("v1.0/a.seg.png", b"mask"), ("v1.0/a.png", png), ("v1.0/a.cls", b"4")),
        *(("v1.0/b.cls", b"2"), ("v1.0/b.left.png", png), ("v1.0/.hidden.png", png), ("c.cls", b"9")),
    )
    assert listing.paths == ("a.tar:v1.0/a.png", "a.tar:v1.0/b.left.png")
    assert listing.labels.tolist() == [4, 2] and listing.names == ()
    assert listing.read(0) == png and listing.place(0) == f"{tmp_path}/a.tar:v1.0/a.png"


@pytest.mark.parametrize(
    ("members", "labels", "names"),
    [
        ([("a.cls", b"1"), ("a.json", b'{"label": 7}'), ("a.txt", b"cat"), ("b.cls", b"0")], [1, 0], ()),
        ([("a.json", b'{"id": 3, "class_name": "dog"}'), ("b.json", b'{"label": "ant"}')], [1, 0], ("ant", "dog")),
        ([("a.json", b"7"), ("b.json", b"{broken")], [7, -1], ()),
        ([("a.json", b'{"label": 3.0}'), ("b.json", b'{"label": true}')], [3, -1], ()),
        ([("a.json", b'{"label": "\\ud83d"}'), ("b.json", b'{"label": 1e999}')], [0, -1], ("?",)),
        ([("a.txt", b"a photo of a cat"), ("b.txt", b"a photo of a cat")], [-1, -1], ()),
        ([("a.cls", b"ant"), ("b.cls", b"\xff\xfe")], [0, 1], ("ant", "��")),
        ([("a.cls", b"ant\0\n"), ("b.cls", b"\0\0")], [0, -1], ("ant",)),
        ([("a.cls", b"3"), ("b.cls", b"1.5")], [1, 0], ("1.5", "3")),
        ([("a.cls", b"7" * 100_000), ("a.json", b"[" * 60_000)], [-1, -1], ()),
    ],
)
def test_label_is_in_cls_or_json(tmp_path, png, members, labels, names):
    listing = shard(tmp_path / "a.tar", ("a.png", png), ("b.png", png), *members)
    assert (listing.labels.tolist(), listing.names) == (labels, names)


def test_class_names_beside_the_shards_only_where_they_reach(made, tmp_path):
    folder = tar_shards(made, tmp_path / "data")
    assert list_images(folder).names == tuple(made.names)
    (folder / "classnames.txt").write_text("one\ntwo\n")
    assert list_images(folder).names == ()


@pytest.mark.parametrize(
    ("keys", "labels", "names"),
    [
        (["cat/1", "dog/1"], [0, 1], ("cat", "dog")),
        (["folder/1", "folder/2"], [-1, -1], ()),
        (["./folder/cat/1", "./folder/dog/1", "./folder/2"], [0, 1, -1], ("cat", "dog")),
        (["a/b/cat/old/1", "a/b/cat/new/1", "a/b/dog/1"], [0, 0, 1], ("cat", "dog")),
        (["/a/cat/1", "/a/dog/1"], [0, 1], ("cat", "dog")),
        (["../x/1", "../../y/1", "2"], [0, 1, -1], ("x", "y")),
        (["cat/1", "cats/1"], [0, 1], ("cat", "cats")),
    ],
)
def test_class_folder_is_the_first_that_is_not_the_same_for_all(tmp_path, png, keys, labels, names):
    listing = shard(tmp_path / "a.tar", *((f"{key}.png", png) for key in keys))
    assert (listing.labels.tolist(), listing.names) == (labels, names)


def test_class_folders_of_several_shards(tmp_path, png):
    for name in ("cat", "dog"):
        shard(tmp_path / f"{name}.tar", (f"{name}/1.png", png))
    assert list_images(tmp_path / "*.tar").names == ("cat", "dog")
    assert list_images(tmp_path / "cat.tar").names == ()


@pytest.mark.parametrize("names", [["a.jpg", "a.png"], ["a.left.png", "a.right.png"], ["a.jpg", "a.left.jpg"]])
def test_of_two_images_of_one_key_the_same_counts_in_any_order(tmp_path, names):
    contents = [name.encode() for name in names]
    for members in (list(zip(names, contents, strict=True)), list(zip(names, contents, strict=True))[::-1]):
        listing = shard(tmp_path / "a.tar", *members)
        assert listing.paths == (f"a.tar:{names[0]}",) and listing.read(0) == contents[0]


def test_of_two_members_with_one_name_the_later_counts(tmp_path, made):
    first, second = (file.read_bytes() for file in made.files[:2])
    listing = shard(tmp_path / "a.tar", ("a.png", first), ("b.png", first), ("a.png", second))
    assert [listing.read(i) for i in range(2)] == [second, first]


@pytest.mark.parametrize(
    ("members", "items", "told"),
    [
        ([f"t/{kind}.{i}.jpg" for i in range(3) for kind in ("cat", "dog")], 6, "names in the tar have dots"),
        ([f"{day}.jpg" for day in ("v.2020.01.05", "v.2020.01.06")], 2, "names in the tar have dots"),
        (["x.ab12.jpg", "x.cd34.jpg", "y.ef56.jpg", "y.0a1b.jpg"], 4, "names in the tar have dots"),
        ([f"{i}.{view}.jpg" for i in range(3) for view in ("left", "right")], 3, "3 images share their keys"),
        ([f"{i}.{view}" for i in range(3) for view in ("0.jpg", "1.jpg", "cls")], 3, "3 images share their keys"),
        ([f"{i}.{view}" for i in range(3) for view in ("jpg", "cls", "json", "txt")], 3, None),
        ([f"a.{i}.jpg" for i in range(1)], 1, None),
        (["a.jpg", "b.jxl", "c.jxl", "c.cls", "readme.md", "a.jxl"], 1, "2 files were left out: 2 .jxl."),
    ],
)  # fmt: skip
def test_members_that_would_share_a_key(tmp_path, png, members, items, told):
    listing = shard(tmp_path / "a.tar", *((name, name.encode()) for name in members))
    assert len(listing) == items and len(listing.notes) == (told is not None)
    assert told is None or told in listing.notes[0]
    assert all(listing.paths[i] == f"a.tar:{listing.read(i).decode()}" for i in range(items))


def test_names_with_dots_keep_their_labels(tmp_path, png):
    members = [(f"cat.{i}.{end}", png if end == "png" else b"%d" % i) for i in range(3) for end in ("png", "cls")]
    assert shard(tmp_path / "a.tar", *members).labels.tolist() == [0, 1, 2]


def test_path_that_climbs_out_is_a_name_and_nothing_is_written(tmp_path, png):
    (tmp_path / "in").mkdir()
    listing = shard(tmp_path / "in" / "a.tar", ("../../evil.png", png), ("/abs.png", png))
    assert [listing.read(i) for i in range(2)] == [png, png]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "in"]


def link(tar: tarfile.TarFile, name: str, to: str, kind: bytes = tarfile.LNKTYPE) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    tar.addfile(member)


def test_hard_links_are_the_members_that_they_lead_to(tmp_path, made):
    first, second = (file.read_bytes() for file in made.files[:2])
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in (("a.png", first), ("a.cls", b"3"), ("b.cls", b"4")):
            add(tar, name, content)
        link(tar, "b.png", "./a.png")
        link(tar, "c.png", "b.png")
        link(tar, "c.cls", "a.cls")
        add(tar, "a.png", second)
        link(tar, "d.png", "a.png")
    listing = list_images(tmp_path / "a.tar")
    assert listing.paths == tuple(f"a.tar:{name}.png" for name in "abcd")
    assert [listing.read(i) for i in range(4)] == [second, first, first, second]
    assert listing.labels.tolist() == [3, 4, 3, -1]


def test_hard_links_of_a_real_tar(tmp_path, png):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "a.png").write_bytes(png)
    for name in ("b.png", "sub/c.png"):
        (tmp_path / "data" / name).hardlink_to(tmp_path / "data" / "a.png")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "data", arcname="data")
    listing = list_images(tmp_path / "a.tar")
    assert sorted(listing.paths) == [f"a.tar:data/{name}" for name in ("a.png", "b.png", "sub/c.png")]
    assert {listing.read(i) for i in range(3)} == {png}


def test_links_that_leave_the_tar_read_nothing(tmp_path, png):
    (tmp_path / "out.png").write_bytes(png)
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "a.tar", "w") as tar:
        link(tar, "a.png", "../out.png")
        link(tar, "b.png", str(tmp_path / "out.png"))
        link(tar, "c.png", "c.png")
        link(tar, "d.png", "../out.png", tarfile.SYMTYPE)
        link(tar, "e.cls", "../out.png", tarfile.SYMTYPE)
        link(tar, "e.cls", "../out.png")
        add(tar, "e.png", png)
    listing = list_images(tmp_path / "in" / "a.tar")
    (batch,) = batches(listing, listing.index, Preprocessing(resize=None, crop_size=None), 8, 0)
    assert batch.index.tolist() == [4] and listing.labels.tolist() == [-1] * 5
    nowhere, symbolic = "a link that leads nowhere in its tar", "a symbolic link in its tar (make the tar with"
    assert [damaged.reason for damaged in batch.damaged][:3] == [nowhere] * 3
    assert batch.damaged[3].reason.startswith(symbolic)


def test_devices_and_pipes_are_no_images(tmp_path, png):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            link(tar, f"{kind.decode()}.png", "", kind)
        add(tar, "a.png", png)
    assert list_images(tmp_path / "a.tar").paths == ("a.tar:a.png",)


def test_sparse_member_is_damaged_and_not_what_lies_behind_it(tmp_path, png):
    headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "a.png", "GNU.sparse.size": "9999"}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("GNUSparseFile.0/a.png")
        member.size = 3
        member.pax_headers = {**headers, "GNU.sparse.map": "0,3,9999,0"}
        tar.addfile(member, io.BytesIO(b"abc"))
        add(tar, "b.png", png)
    listing = list_images(tmp_path / "a.tar")
    assert listing.paths == ("a.tar:a.png", "a.tar:b.png") and listing.read(1) == png
    with pytest.raises(DamagedImage, match="a sparse file in its tar"):
        listing.read(0)


@pytest.mark.parametrize("size", [-1, -512, -1024, -(2**40), 10**15, 2**62, 2**87])
@pytest.mark.parametrize("start", [0, 1024])
def test_member_of_an_impossible_size_ends_in_an_error(tmp_path, size, start):
    shard(tmp_path / "a.tar", ("a.png", b"x"), ("b.png", b"y"), ("c.png", b"z"))
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[start + 124 : start + 136] = (size % 256**12 | (0 if size < 0 else 128 << 88)).to_bytes(12, "big")
    content[start + 148 : start + 156] = b" " * 8
    content[start + 148 : start + 156] = f"{sum(content[start : start + 512]):06o}\0 ".encode()
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(PureError, match=r"The shard '.*b\.tar' is damaged"):
        list_images(tmp_path / "b.tar")


@pytest.mark.parametrize("size", ["-5", "9" * 30])
def test_pax_header_of_an_impossible_size(tmp_path, size):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a.png")
        member.pax_headers = {"size": size}
        tar.addfile(member)
        add(tar, "b.png", b"x")
    with pytest.raises(PureError, match=r"The shard '.*a\.tar' is damaged"):
        list_images(tmp_path / "a.tar")


def test_long_names_without_end(tmp_path):
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 4
    (tmp_path / "a.tar").write_bytes((name.tobuf(tarfile.GNU_FORMAT) + b"abc".ljust(512, b"\0")) * 3000)
    with pytest.raises(PureError, match=r"The shard '.*a\.tar' is damaged"):
        list_images(tmp_path / "a.tar")


def test_long_and_odd_names(tmp_path, png):
    names = ["d/" * 60 + "x" * 120 + ".png", "ünï.png", "a b:c.png"]
    listing = shard(tmp_path / "a.tar", *((name, png) for name in names))
    assert listing.paths == tuple(f"a.tar:{name}" for name in names)


# --- the index beside the workspace


def test_the_next_stage_does_not_scan_again(made, tmp_path, monkeypatch):
    data = tar_shards(made, tmp_path / "data") / "part-{000..002}.tar"
    workspace = Workspace(tmp_path / "work")
    workspace.collect(model="digits", data=data, n=4, device="cpu", workers=0)
    assert [path.suffix for path in (tmp_path / "work" / "data-index").iterdir()] == [".npz"]
    monkeypatch.setattr(webdataset, "_index", lambda file: pytest.fail("scanned again"))
    workspace.attribute(neurons="0", device="cpu", workers=0)
    assert workspace.info()["problems"] == []


def test_only_the_shard_that_changed_is_scanned_again(made, tmp_path, monkeypatch):
    folder, cache = tar_shards(made, tmp_path / "data"), tmp_path / "cache"
    before = list_images(folder, cache=cache)
    scan, scanned = webdataset._index, []
    monkeypatch.setattr(webdataset, "_index", lambda file: (scanned.append(file.name), scan(file))[1])
    with tarfile.open(folder / "part-001.tar", "a") as tar:
        add(tar, "zzz.png", made.files[0].read_bytes())
    after = list_images(folder, cache=cache)
    assert scanned == ["part-001.tar"]
    assert len(after) == len(before) + 1 and after.fingerprint == list_images(folder).fingerprint != before.fingerprint


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 broken"])
def test_damaged_index_is_made_again(made, tmp_path, content):
    folder, cache = tar_shards(made, tmp_path / "data"), tmp_path / "cache"
    before = list_images(folder, cache=cache)
    (index,) = cache.iterdir()
    index.write_bytes(content)
    assert list_images(folder, cache=cache).fingerprint == before.fingerprint
    assert index.read_bytes() != content


def test_results_stay_when_the_shards_move(made, tmp_path):
    folder = tar_shards(made, tmp_path / "data")
    before = list_images(folder).fingerprint
    shutil.move(folder, tmp_path / "elsewhere")
    assert list_images(tmp_path / "elsewhere").fingerprint == before
    assert list_images(tmp_path / "elsewhere" / "part-*.tar").fingerprint == before


# --- errors


def test_compressed_tar_is_refused_with_the_reason(made, tmp_path):
    plain = tar_shards(made, tmp_path / "data", shards=1) / "part-000.tar"
    (tmp_path / "other").mkdir()
    for name in ("a.tar.gz", "b.tgz"):
        (tmp_path / "other" / name).write_bytes(gzip.compress(plain.read_bytes()))
        with pytest.raises(PureError, match=rf"{name}' is compressed.*Unpack"):
            list_images(tmp_path / "other" / name)
    with pytest.raises(PureError, match=r"a\.tar\.gz' is compressed"):
        list_images(tmp_path / "other")
    plain.write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(PureError, match=r"part-000\.tar' is compressed.*Unpack"):
        list_images(plain)


@pytest.mark.parametrize("harm", ["cut", "header", "nonsense", "empty"])
def test_damaged_shard_is_named(made, tmp_path, harm):
    folder = tar_shards(made, tmp_path / "data")
    file = folder / "part-001.tar"
    content = bytearray(file.read_bytes())
    if harm == "cut":
        content = content[: len(content) // 2]
    elif harm == "header":
        with tarfile.open(file) as tar:
            start = tar.getmembers()[4].offset
        content[start : start + 512] = b"\x07" * 512
    else:
        content = bytearray(b"no tar at all " * 100 if harm == "nonsense" else b"")
    file.write_bytes(content)
    with pytest.raises(PureError, match=r"The shard '.*part-001\.tar' is damaged.*Fetch it again"):
        list_images(folder)


def test_damaged_image_in_a_shard_is_skipped_and_named(tmp_path, png):
    listing = shard(tmp_path / "a.tar", ("a.png", png), ("b.png", png[:200]), ("c.png", b""), ("d.jpg", b"x"))
    (batch,) = batches(listing, listing.index, Preprocessing(resize=None, crop_size=None), 8, 0)
    assert batch.index.tolist() == [0]
    found = [(damaged.path, damaged.reason) for damaged in batch.damaged]
    assert found == [("a.tar:b.png", "cut short"), ("a.tar:c.png", "an empty file"), ("a.tar:d.jpg", "not an image")]


def test_shard_that_goes_away_or_shrinks_while_it_is_read(made, tmp_path):
    folder = tar_shards(made, tmp_path / "data")
    listing = list_images(folder)
    (folder / "part-002.tar").unlink()
    (folder / "part-001.tar").write_bytes(b"")
    with pytest.raises(DamagedImage, match="its shard cannot be read: no such file"):
        listing.read(len(listing) - 1)
    with pytest.raises(DamagedImage, match="cut short"):
        listing.read(len(listing) // 2)
    assert decode(listing.read(0)).size == (32, 32)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("part-{000..004}.tar", r"2 of the files .* not there, the first of them '.*part-003\.tar'"),
        ("part-{007..009}.tar", "no file that fits the pattern"),
        ("gone-*.tar", "no file that fits the pattern"),
        ("part-{a..c}.tar", "no range of numbers"),
        ("{part-000.tar,classnames.txt}", "a pattern is for tar shards or for Parquet"),
        ("part-000.tar#train", "has no splits: leave out '#train'"),
        ("part-{0..99999999}.tar", "more than 1,000,000 files"),
    ],
)
def test_pattern_that_does_not_fit(made, tmp_path, pattern, words):
    folder = tar_shards(made, tmp_path / "data")
    with pytest.raises(PureError, match=words):
        list_images(folder / pattern)


def test_patterns_expand_as_in_a_shell(made, tmp_path):
    folder = tar_shards(made, tmp_path / "data")
    whole = list_images(folder)
    for pattern in ("part-{000..002}.tar", "part-{000,001,002}.tar", "part-*.tar", "part-00{0..2}.tar", "p*-00?.tar"):
        assert list_images(folder / pattern).paths == whole.paths
    backwards = list_images(folder / "part-{002..000}.tar").paths
    assert sorted(backwards) == sorted(whole.paths) and backwards != whole.paths


def test_shards_without_an_image(tmp_path):
    with pytest.raises(PureError, match="no image in"):
        shard(tmp_path / "a.tar", ("a.cls", b"1"))


def test_folder_of_images_with_a_tar_beside_stays_a_folder(made, tmp_path):
    shutil.copytree(made.folder, tmp_path / "data")
    tar_shards(made, tmp_path / "data")
    listing = list_images(tmp_path / "data")
    assert listing.labels.tolist() == made.labels.tolist() and listing.paths[0].endswith(".png")


def test_missing_label_is_unknown(tmp_path, png):
    listing = shard(tmp_path / "a.tar", ("a.png", png), ("a.cls", b"3"), ("b.png", png))
    np.testing.assert_array_equal(listing.labels, [3, -1])
