"""Listings of folders and of lists of files."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pure_cli.config import make as settings_of
from pure_cli.data.labels import BY_NAME, BY_NUMBER
from pure_cli.data.listing import Listing, list_images
from pure_cli.data.place import place_text
from pure_cli.errors import PureError, PureFailure

EVERY_ENDING = [
    *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "gif", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"),
    *("avif", "heic", "heif", "hif", "jp2", "j2k", "j2c", "jpc", "jpf", "jpx", "mpo", "apng", "qoi"),
    *("tga", "pcx", "sgi", "ico", "dds", "ras"),
]


def make(root: Path, *names: str) -> Path:
    """Files whose size is their number in `names`, from 1."""
    for size, name in enumerate(names, 1):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * size)
    return root


def labelled(listing: Listing) -> dict[str, str]:
    return {p: listing.names[k] if k >= 0 else "-" for p, k in zip(listing.paths, listing.labels, strict=True)}


# --- folders


def test_class_folders_give_labels_in_the_order_of_their_names(tmp_path):
    make(tmp_path, "zebra/1.jpg", "ant/2.jpg", "ant/1.jpg", "ant/more/deep/3.png", "zebra/notes.txt")
    listing = list_images(tmp_path)
    assert listing.paths == ("ant/1.jpg", "ant/2.jpg", "ant/more/deep/3.png", "zebra/1.jpg")
    assert listing.names == ("ant", "zebra")
    assert listing.labels.tolist() == [0, 0, 0, 1]
    assert listing.sizes.tolist() == [3, 2, 4, 1]
    assert listing.index.tolist() == [0, 1, 2, 3] and len(listing) == 4
    assert listing.root == tmp_path and listing.path(3) == tmp_path / "zebra/1.jpg"
    assert listing.labels.dtype == listing.sizes.dtype == listing.index.dtype == np.int64


def test_flat_folder_has_no_labels(tmp_path):
    listing = list_images(make(tmp_path, "b.png", "a.jpg"))
    assert listing.paths == ("a.jpg", "b.png") and listing.names == ()
    assert listing.labels.tolist() == [-1, -1]


def test_images_beside_class_folders_are_used_without_a_label(tmp_path):
    listing = list_images(make(tmp_path, "cat/1.jpg", "0.jpg", "dog/1.jpg"))
    assert labelled(listing) == {"0.jpg": "-", "cat/1.jpg": "cat", "dog/1.jpg": "dog"}


def test_folder_without_images_is_no_class(tmp_path):
    make(tmp_path, "b/1.jpg", "docs/readme.md", "a/deep/notes.txt")
    (tmp_path / "empty").mkdir()
    assert list_images(tmp_path).names == ("b",)


def test_every_ending_in_any_case_and_nothing_hidden(tmp_path):
    shown = [f"{i}.{e}" for i, e in enumerate(EVERY_ENDING)] + [f"u{i}.{e.upper()}" for i, e in enumerate(EVERY_ENDING)]
    make(tmp_path, *shown, ".hidden.jpg", "._1.jpg", ".cache/1.jpg", "x.npy", "jpg", "a.jpg.part")
    assert sorted(list_images(tmp_path).paths) == sorted(shown)


def test_folder_named_like_an_image_is_a_class(tmp_path):
    assert labelled(list_images(make(tmp_path, "x.jpg/1.png"))) == {"x.jpg/1.png": "x.jpg"}


def test_strange_names(tmp_path):
    names = ["a b/c d.jpg", "köln/ü.jpg", "line\nbreak/x\ny.jpg", "写真/猫 1.png", "'\"/;,#.jpg"]
    listing = list_images(make(tmp_path, *names))
    assert listing.paths == tuple(sorted(names))
    assert all(listing.path(i).is_file() for i in range(len(names)))
    assert len(listing.fingerprint) == 64


def test_name_that_is_not_unicode(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    try:
        make(tmp_path, name)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    listing = list_images(tmp_path)
    assert listing.path(0).is_file() and len(listing.fingerprint) == 64


def test_links_are_followed_without_going_round(tmp_path):
    make(tmp_path / "else", "pets/1.jpg")
    data = make(tmp_path / "data", "cat/1.jpg")
    (data / "dog").symlink_to(tmp_path / "else/pets")
    (data / "cat/loop").symlink_to(data)
    (data / "cat/self").symlink_to(data / "cat")
    (data / "tom.jpg").symlink_to(data / "cat/1.jpg")
    assert labelled(list_images(data)) == {"cat/1.jpg": "cat", "dog/1.jpg": "dog", "tom.jpg": "-"}


def test_links_that_lead_nowhere_are_listed_to_be_reported(tmp_path):
    make(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "c.jpg").symlink_to(tmp_path / "c.jpg")
    (tmp_path / "d").symlink_to(tmp_path / "d")
    listing = list_images(tmp_path)
    assert listing.paths == ("a.jpg", "b.jpg", "c.jpg")
    assert listing.sizes.tolist() == [1, -1, -1]


def test_pipe_named_like_an_image_is_no_image(tmp_path):
    make(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    assert list_images(tmp_path).paths == ("a.jpg",)


@pytest.mark.parametrize(
    ("folders", "labels", "names", "order"),
    [
        ("0 1 2 9", [0, 1, 2, 9], (), BY_NUMBER),
        ("2 5 10", [10, 2, 5], (), BY_NUMBER),
        ("0 1 2 3 4 5 6 7 8 9 10", [0, 1, 10, *range(2, 10)], tuple(map(str, range(11))), BY_NUMBER),
        ("000 001 002", [0, 1, 2], ("000", "001", "002"), ""),
        ("001 100", [1, 100], (), BY_NUMBER),
        ("01 1 2", [0, 1, 2], ("01", "1", "2"), BY_NAME),
        ("1 10 2 none", [0, 1, 2, 3], ("1", "10", "2", "none"), BY_NAME),
    ],
)
def test_folders_that_are_called_by_numbers_are_the_classes_of_these_numbers(tmp_path, folders, labels, names, order):
    listing = list_images(make(tmp_path, *(f"{name}/1.jpg" for name in folders.split())))
    assert (listing.labels.tolist(), listing.names, listing.order) == (labels, names, order)


def test_what_is_left_out_of_a_folder_is_counted_and_named(tmp_path):
    make(tmp_path, "a/1.jpg", "a/2.JXL", "a/3.jxl", "a/4.psd", "a/notes.txt", "b/1.jxl", "c/labels.json", "a/README")
    make(tmp_path, "a/00af31", ".b/1.jxl", "a/Thumbs.db", "a/1.2.0017")
    (tmp_path / "d").mkdir()
    assert list_images(tmp_path).notes == (
        "6 files were left out: 3 .jxl, 1 without an ending, 1 .psd, 1 of other endings.",
        "The folders 'b', 'd' hold no image.",
        "All images in folders are in 'a', so that there is one class.",
    )


@pytest.mark.parametrize(
    ("files", "names", "labels", "inner"),
    [
        ("animals/cat/1.jpg animals/dog/1.jpg readme.txt", ("cat", "dog"), [0, 1], "animals"),
        ("a/b/c/dog/x/1.jpg a/b/c/cat/1.jpg a/x.csv", ("cat", "dog"), [0, 1], "a/b/c"),
        ("images/10/1.jpg images/2/1.jpg labels/2/1.txt", (), [10, 2], "images"),
        ("train/cat/1.jpg train/dog/1.jpg readme.md", ("cat", "dog"), [0, 1], "train"),
        ("cat/1.jpg cat/2.jpg", ("cat",), [0, 0], ""),
        ("cat/1.jpg cat/a/2.jpg cat/b/3.jpg", ("cat",), [0, 0, 0], ""),
        ("cat/a/2.jpg", ("cat",), [0], ""),
        ("animals/cat/1.jpg animals/dog/1.jpg 1.jpg", ("animals",), [-1, 0, 0], ""),
    ],
)
def test_a_folder_that_all_images_are_in_is_no_class(tmp_path, files, names, labels, inner):
    listing = list_images(make(tmp_path, *files.split()))
    assert (listing.names, listing.labels.tolist()) == (names, labels)
    assert listing.root == tmp_path / inner and all(listing.path(i).is_file() for i in range(len(labels)))
    told = f"All images are in '{inner}'" if inner else f"All images in folders are in '{names[0]}'"
    assert any(note.startswith(told) for note in listing.notes)


@pytest.mark.parametrize("inside", ["cat/", ""])
def test_splits_in_a_folder_that_all_images_are_in(tmp_path, inside):
    data = make(tmp_path, f"images/train/{inside}1.jpg", f"images/val/{inside}2.jpg", "labels/train/1.txt")
    with pytest.raises(PureError, match="several splits: train, val"):
        list_images(data)
    listing = list_images(f"{data}#val")
    assert listing.paths == (f"{inside}2.jpg",) and listing.root == data / "images/val"


def test_a_folder_in_a_folder_without_end_stays_as_it_is(tmp_path):
    make(tmp_path, "cat/notes.txt", "dog/1.jpg", "dog/more/2.jpg")
    (tmp_path / "cat/round").symlink_to(tmp_path / "cat")
    assert labelled(list_images(tmp_path)) == {"dog/1.jpg": "dog", "dog/more/2.jpg": "dog"}


@pytest.mark.parametrize(
    ("files", "odd"),
    [
        ("JPEGImages/1.jpg SegmentationClass/1.png", "'JPEGImages', 'SegmentationClass' look"),
        ("train2017/1.jpg val2017/2.jpg annotations/masks/1.png", "'annotations', 'train2017', 'val2017' look"),
        ("x/1.jpg x/2.jpg y/1.png y/2.png z/3.jpg", "'x', 'y' look"),
        ("cat/1.jpg dog/1.jpg", ""),
        ("cat/1.jpg dog/1.png dog/2.png", ""),
        ("mask/1.jpg no_mask/1.jpg", ""),
    ],
)
def test_folders_that_look_like_no_classes_are_told(tmp_path, files, odd):
    notes = " ".join(list_images(make(tmp_path, *files.split())).notes)
    assert (odd in notes and f"--data '{tmp_path}/" in notes) if odd else not notes
    assert f"--data '{tmp_path}/annotations" not in notes


def test_images_without_a_label_beside_others_are_counted(tmp_path):
    listing = list_images(make(tmp_path, "1.jpg", "2.jpg", "cat/1.jpg", "dog/1.jpg"))
    assert listing.notes == ("2 of the 4 images lie in no class folder and have no label.",)
    (tmp_path / "list.csv").write_text("path,label\n1.jpg,\n2.jpg,5\ncat/1.jpg,5\n")
    assert list_images(tmp_path / "list.csv").notes == ("1 of the 3 images have no label.",)
    assert not list_images(make(tmp_path / "flat", "1.jpg")).notes


# --- limit


@pytest.mark.parametrize(("count", "limit"), [(10, 3), (10, 10), (7, 5), (1000, 1), (12, 99), (5, None)])
def test_limit_is_spread_evenly(tmp_path, count, limit):
    listing = list_images(make(tmp_path, *(f"{i:04}.jpg" for i in range(count))), limit)
    expected = range(count) if limit is None or limit >= count else [i * count // limit for i in range(limit)]
    assert listing.index.tolist() == list(expected) and len(listing) == len(listing.index)
    assert len(listing.paths) == len(listing.labels) == len(listing.sizes) == count


def test_limit_takes_from_every_class(tmp_path):
    make(tmp_path, *(f"{c}/{i:02}.jpg" for c in "abcde" for i in range(20)))
    listing = list_images(tmp_path, limit=10)
    assert np.bincount(listing.labels[listing.index]).tolist() == [2] * 5


@pytest.mark.parametrize("limit", [0, -4])
def test_limit_below_one_is_refused(tmp_path, limit):
    with pytest.raises(PureError, match=f"--limit.*{limit}"):
        list_images(make(tmp_path, "a.jpg"), limit)


# --- fingerprint


def test_fingerprint_stays_when_the_data_set_moves(tmp_path):
    make(tmp_path / "a", "cat/1.jpg", "dog/1.jpg")
    before = list_images(tmp_path / "a").fingerprint
    (tmp_path / "a").rename(tmp_path / "b")
    assert list_images(tmp_path / "b").fingerprint == before
    assert list_images(tmp_path / "b", limit=2).fingerprint == before


def test_fingerprint_changes_with_path_size_label_and_limit(tmp_path):
    seen = {list_images(make(tmp_path, "cat/1.jpg", "dog/1.jpg")).fingerprint}
    seen.add(list_images(tmp_path, limit=1).fingerprint)
    (tmp_path / "dog/1.jpg").write_bytes(b"longer")
    seen.add(list_images(tmp_path).fingerprint)
    (tmp_path / "dog/1.jpg").rename(tmp_path / "dog/2.jpg")
    seen.add(list_images(tmp_path).fingerprint)
    (tmp_path / "dog").rename(tmp_path / "wolf")
    seen.add(list_images(tmp_path).fingerprint)
    for label in ("0", "1"):
        (tmp_path / "list.txt").write_text(f"cat/1.jpg {label}\n")
        seen.add(list_images(tmp_path / "list.txt").fingerprint)
    assert len(seen) == 7


# --- lists of files


def test_plain_list(tmp_path):
    make(tmp_path, "a.jpg", "sub/b.jpg", "c d.jpg")
    (tmp_path / "list.txt").write_text("# chosen by hand\n\nsub/b.jpg\n  ./a.jpg  \nc d.jpg\r\n")
    listing = list_images(tmp_path / "list.txt")
    assert listing.paths == ("sub/b.jpg", "a.jpg", "c d.jpg")  # in the order of the list
    assert listing.sizes.tolist() == [2, 1, 3]
    assert listing.labels.tolist() == [-1, -1, -1] and listing.names == ()
    assert listing.root == tmp_path


@pytest.mark.parametrize("gap", [" ", "\t", "   ", " \t "])
def test_plain_list_with_integer_labels(tmp_path, gap):
    make(tmp_path, "a.jpg", "c d.JPEG")
    (tmp_path / "list.lst").write_text(f"a.jpg{gap}3\nc d.JPEG{gap}0\ngone.jpg\n")
    listing = list_images(tmp_path / "list.lst")
    assert listing.paths == ("a.jpg", "c d.JPEG", "gone.jpg")
    assert listing.labels.tolist() == [3, 0, -1] and listing.names == ()
    assert listing.sizes.tolist() == [1, 2, -1]


def test_plain_list_with_class_names_of_several_words(tmp_path):
    make(tmp_path, "a.jpg", "c d.jpg")
    (tmp_path / "list.txt").write_text("a.jpg polar bear\nc d.jpg\tant\nb.jpg 7\n")
    listing = list_images(tmp_path / "list.txt")
    assert listing.paths == ("a.jpg", "c d.jpg", "b.jpg")
    assert listing.names == ("7", "ant", "polar bear") and listing.labels.tolist() == [2, 1, 0]


def test_whole_line_that_is_a_file_wins_over_a_label(tmp_path):
    make(tmp_path, "photo.jpg 1", "photo.jpg", "scan 12")
    (tmp_path / "list.txt").write_text("photo.jpg 1\nscan 12\nphoto.jpg 2\nscan 13\nmissing photo.jpg\n")
    listing = list_images(tmp_path / "list.txt")
    assert listing.paths == ("photo.jpg 1", "scan 12", "photo.jpg", "scan", "missing photo.jpg")
    assert listing.labels.tolist() == [-1, -1, 2, 13, -1]


def test_absolute_paths_stay_outside_of_the_root_and_become_relative_within(tmp_path):
    make(tmp_path / "far", "a.jpg")
    make(tmp_path / "near", "b.jpg")
    (tmp_path / "near/list.txt").write_text(f"{tmp_path}/far/a.jpg 1\n{tmp_path}/near/b.jpg 2\n")
    listing = list_images(tmp_path / "near/list.txt")
    assert listing.paths == (f"{tmp_path}/far/a.jpg", "b.jpg")
    assert [listing.path(i).read_bytes() for i in range(2)] == [b"x"] * 2
    assert listing.sizes.tolist() == [1, 1]


@pytest.mark.parametrize("path", ["../far/a.jpg", "b/../../far/a.jpg", "./../far/a.jpg", "../near/../far/a.jpg"])
def test_a_path_of_a_list_that_climbs_out_of_its_folder_is_refused(tmp_path, path):
    make(tmp_path / "far", "a.jpg")
    make(tmp_path / "near", "b/c.jpg", "..odd/d.jpg")
    (tmp_path / "near/list.txt").write_text("b/../b/c.jpg\n..odd/d.jpg\n")
    assert list_images(tmp_path / "near/list.txt").sizes.tolist() == [1, 2]
    for name in ("list.txt", "list.csv"):
        (tmp_path / "near" / name).write_text(f"b/c.jpg\n{path}\n")
        with pytest.raises(PureError, match=r"leads out of its folder\. Write the whole path"):
            list_images(tmp_path / "near" / name)


TABLE = [("a.jpg", "cat"), ("b, c.jpg", "dog"), ("line\nbreak.jpg", "cat")]
QUOTED = 'a.jpg,cat\n"b, c.jpg",dog\n"line\nbreak.jpg",cat\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no-header.csv", QUOTED),
        ("header.csv", "path,label\n" + QUOTED),
        ("capitals.csv", "Filename, Class \r\n" + QUOTED.replace("t\n", "t\r\n").replace("g\n", "g\r\n")),
        ("two-columns.csv", "image,species\n" + QUOTED),
        ("label-only.csv", "photo,label\n" + QUOTED),
        ("bom.csv", "\ufeffpath,label\n" + QUOTED),
        ("blank.csv", "\n# made by hand\nfile,target\n\n" + QUOTED + ",\n\n"),
        ("swapped.csv", 'label,path\ncat,a.jpg\ndog,"b, c.jpg"\ncat,"line\nbreak.jpg"\n'),
        ("pandas.csv", ',filepath,width,label\n0,a.jpg,3,cat\n1,"b, c.jpg",4,dog\n2,"line\nbreak.jpg",5,cat\n'),
        ("semicolon.csv", 'path;label\na.jpg;cat\nb, c.jpg;dog\n"line\nbreak.jpg";cat\n'),
        ("tab.tsv", 'path\tlabel\na.jpg\tcat\nb, c.jpg\tdog\n"line\nbreak.jpg"\tcat\n'),
        ("tab-no-header.tsv", 'a.jpg\tcat\nb, c.jpg\tdog\n"line\nbreak.jpg"\tcat\n'),
    ],
)
def test_table(tmp_path, name, text):
    make(tmp_path, *(p for p, _ in TABLE))
    (tmp_path / name).write_bytes(text.encode())
    listing = list_images(tmp_path / name)
    assert [(p, listing.names[k]) for p, k in zip(listing.paths, listing.labels, strict=True)] == TABLE
    assert listing.sizes.tolist() == [1, 2, 3]


def test_table_with_integers_gaps_and_what_pandas_makes_of_them(tmp_path):
    (tmp_path / "l.csv").write_text("path,label\na.jpg,3.0\nb.jpg,\nc.jpg,-1\nd.jpg,12\ne.jpg\n")
    listing = list_images(tmp_path / "l.csv")
    assert listing.labels.tolist() == [3, -1, -1, 12, -1] and listing.names == ()
    assert listing.sizes.tolist() == [-1] * 5


def test_table_without_labels(tmp_path):
    (tmp_path / "one.csv").write_text("path\na.jpg\n")
    (tmp_path / "many.csv").write_text("path,width,height\na.jpg,3,4\n")
    for name in ("one.csv", "many.csv"):
        assert list_images(tmp_path / name).labels.tolist() == [-1]


def test_list_in_utf16_as_powershell_writes_it(tmp_path):
    make(tmp_path, "ü.jpg")
    (tmp_path / "list.txt").write_bytes("ü.jpg 1\r\n".encode("utf-16"))
    listing = list_images(tmp_path / "list.txt")
    assert listing.paths == ("ü.jpg",) and listing.sizes.tolist() == [1]


def test_label_too_long_for_a_number_is_a_name(tmp_path):
    (tmp_path / "l.txt").write_text(f"a.jpg {'9' * 30}\n")
    assert list_images(tmp_path / "l.txt").names == ("9" * 30,)


def test_an_image_that_a_list_names_again_is_left_out_and_told(tmp_path):
    make(tmp_path, "a.jpg", "sub/b.jpg", "c.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    os.link(tmp_path / "c.jpg", tmp_path / "hard.jpg")  # a file of its own, as far as anyone can tell
    again = f"./sub/../a.jpg,1\n{tmp_path}/sub/b.jpg,0\nlink.jpg,2\ngone.jpg,5\n"
    (tmp_path / "l.csv").write_text(f"path,label\na.jpg,1\nsub/b.jpg,2\nc.jpg,3\nhard.jpg,4\ngone.jpg,5\n{again}")
    listing = list_images(tmp_path / "l.csv")
    assert listing.paths == ("a.jpg", "sub/b.jpg", "c.jpg", "hard.jpg", "gone.jpg")
    assert listing.labels.tolist() == [1, 2, 3, 4, 5]
    assert listing.notes == (
        "4 lines name an image again and were left out; 2 of them with another label than the first one, which counts.",
    )


@pytest.mark.parametrize(
    ("text", "labels", "told"),
    [
        ("id,breed\n01ab,pug\n02cd,boxer\n", ["pug", "boxer"], "The labels are those of the column 'breed'."),
        ("breed,id\npug,01ab\nboxer,02cd\n", ["pug", "boxer"], "The labels are those of the column 'breed'."),
        ("image_id,x,label\n01ab,3,pug\n02cd,4,boxer\n", ["pug", "boxer"], None),
        ("photo,kind\n01ab.jpg,pug\n02cd.PNG,boxer\n", ["pug", "boxer"], "The labels are those of the column 'kind'."),
        ("filename,width,class,xmin\n01ab.jpg,9,pug,0\n02cd.PNG,9,boxer,0\n", ["pug", "boxer"], None),
        (
            "id,class,label\n01ab,pug,7\n02cd,boxer,8\n", ["pug", "boxer"],
            "The labels are those of the column 'class', and not of 'label'.",
        ),
        (
            "image_id,healthy,rust\n01ab,0,1\n02cd,1,0\n", None,
            "The images of 'train.csv' have no labels, since none of its columns 'image_id', 'healthy', 'rust' is "
            "called 'label' or 'class'.",
        ),
        (
            "7,01ab.jpg,pug\n8,02cd.PNG,boxer\n", ["pug", "boxer"],
            "'train.csv' has no header: column 2 was taken for the paths, column 3 for the labels.",
        ),
    ],
)  # fmt: skip
def test_a_list_beside_the_folder_of_its_images(tmp_path, text, labels, told):
    make(tmp_path, "train/01ab.jpg", "train/02cd.PNG", "test/03ef.jpg")
    (tmp_path / "train.csv").write_text(text)
    listing = list_images(tmp_path / "train.csv")
    assert listing.paths == ("train/01ab.jpg", "train/02cd.PNG") and listing.sizes.tolist() == [1, 2]
    assert ([listing.names[k] for k in listing.labels] if labels else None) == labels
    *guesses, where = listing.notes
    assert guesses == ([told] if told else [])
    assert where.startswith("2 images were found beside the list 'train.csv', by another name than it has: '01ab")


@pytest.mark.parametrize("on_disk", [b"b\xc3\xa9.jpg", b"b\xe9.jpg"])
def test_a_list_in_latin_1_finds_its_files_and_has_readable_names(tmp_path, on_disk):
    make(tmp_path, "a.jpg", os.fsdecode(on_disk))
    (tmp_path / "list.csv").write_bytes("path,label\na.jpg,käse\nbé.jpg,“é”\n".encode("cp1252"))
    listing = list_images(tmp_path / "list.csv")
    assert labelled(listing) == {"a.jpg": "käse", os.fsdecode(on_disk): "“é”"}
    assert listing.sizes.tolist() == [1, 2] and listing.notes == (
        "'list.csv' is not UTF-8: it was read as Windows-1252.",
    )


def test_paths_with_backslashes_are_found(tmp_path):
    make(tmp_path, "a/1.jpg", "b\\2.jpg")
    (tmp_path / "list.csv").write_text("path,label\na\\1.jpg,5\nb\\2.jpg,6\n")
    listing = list_images(tmp_path / "list.csv")
    assert listing.paths == ("a/1.jpg", "b\\2.jpg") and listing.sizes.tolist() == [1, 2]
    assert listing.notes == ("The backslashes in the paths of 'list.csv' were read as slashes.",)


@pytest.mark.parametrize(("labels", "said"), [("0.00 0.37", "0.37"), ("1 2.5", "2.5"), ("nan 1e-3", "1e-3")])
def test_fractional_labels_of_a_list_are_refused(tmp_path, labels, said):
    make(tmp_path, "0.jpg", "1.jpg")
    (tmp_path / "list.csv").write_text("path,score\n" + "".join(f"{i}.jpg,{x}\n" for i, x in enumerate(labels.split())))
    with pytest.raises(PureError, match=rf"is {said}\. .*a class of its own"):
        list_images(tmp_path / "list.csv")


@pytest.mark.parametrize(
    ("labels", "names"), [("1.0 2.0", ()), ("1.5 cat", ("1.5", "cat")), ("v1.5 v2", ("v1.5", "v2"))]
)
def test_other_labels_with_dots_are_taken(tmp_path, labels, names):
    make(tmp_path, "0.jpg", "1.jpg")
    (tmp_path / "list.csv").write_text("path,class\n" + "".join(f"{i}.jpg,{x}\n" for i, x in enumerate(labels.split())))
    assert list_images(tmp_path / "list.csv").names == names


def test_a_name_that_may_be_several_files_is_an_error_unless_the_list_is_called_after_a_folder(tmp_path):
    make(tmp_path, "small/1.jpg", "test/1.jpg", "train/1.jpg", "train/2.jpg")
    for name in ("list.csv", "train_labels.csv"):
        (tmp_path / name).write_text("id,label\n2,5\n1,4\n3,3\n")
    assert list_images(tmp_path / "train_labels.csv").paths == ("train/2.jpg", "train/1.jpg", "3")
    with pytest.raises(PureError, match=r"'1', which may be 'small/1\.jpg' or 'test/1\.jpg' or 'train/1\.jpg'"):
        list_images(tmp_path / "list.csv")


def test_a_list_of_names_that_are_nowhere_says_so(tmp_path):
    (tmp_path / "train.csv").write_text("id,breed\nabc,pug\n")
    with pytest.raises(PureError, match=r"names 'abc', and there is no such file beside it or in a folder beside it"):
        list_images(tmp_path / "train.csv")


def test_lines_without_a_path_are_counted(tmp_path):
    (tmp_path / "l.csv").write_text("path,label\na.jpg,1\n,2\n ,3\n")
    assert list_images(tmp_path / "l.csv").notes == ("2 lines of 'l.csv' name no image.",)


# --- errors


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone", None, "There is no folder or file '.*gone'"),
        ("a\0b", None, "There is no folder or file"),
        ("n" * 300, None, "There is no folder or file"),
        ("empty.txt", b"", "names no image"),
        ("comments.txt", b"# nothing\n\n", "names no image"),
        ("header.csv", b"path,label\n", "names no image"),
        ("binary.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not text"),
        ("half.txt", b"\xff\xfea", "is not text"),
        ("quotes.csv", b'"' + b"x" * 200_000, "cannot be read as a table"),
        ("photo.jpg", b"\xff\xd8\xff", "single image"),
        ("data.zip", b"PK", "neither a folder nor a list"),
    ],
)
def test_path_that_is_no_data_set_is_one_clear_error(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PureError, match=words) as caught:
        list_images(tmp_path / name)
    assert caught.value.exit_code == 2 and not isinstance(caught.value, PureFailure)


def test_folder_without_an_image_says_what_it_holds_and_what_is_read(tmp_path):
    with pytest.raises(PureError, match=r"it is empty.*\.jpg.*\.webp"):
        list_images(tmp_path)
    make(tmp_path, "a.npy", "b.npy", "c/x.parquet", "README")
    with pytest.raises(PureError, match=r"2 \.npy, 1 \.parquet|2 \.npy, 1 without an ending"):
        list_images(tmp_path)


@pytest.mark.parametrize(
    ("name", "says"), [("data_batch_1.bin", "cifar-10-batches-py"), ("a.h5", "np.savez"), ("a.mat", "np.savez")]
)
def test_data_of_another_form_says_what_to_make_of_it(tmp_path, name, says):
    data = make(tmp_path / "data", name)
    for path in (data, data / name):
        with pytest.raises(PureError, match=says):
            list_images(path)


def test_folder_without_permission_is_named(tmp_path, monkeypatch):
    make(tmp_path, "a/1.jpg", "secret/1.jpg")
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("secret"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as root, to whom all is open
    with pytest.raises(PureError, match=r"secret' cannot be read \(Permission denied\)"):
        list_images(tmp_path)


# --- light


def test_ten_thousand_files_in_no_time(tmp_path):
    for c in range(10):
        (tmp_path / f"c{c}").mkdir()
        for i in range(1000):
            (tmp_path / f"c{c}/{i:04}.jpg").touch()
    start = time.process_time()
    assert len(list_images(tmp_path)) == 10_000
    assert time.process_time() - start < 0.3  # 0.04 on an idle machine


def test_import_is_light():
    code = "import sys, pure_cli.data.listing; assert not {'torch', 'torchvision', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("url", ["s3://bucket/images", "hf:cifar10:test", "https://host/a//b.tar?x=1#train"])
def test_a_url_stays_as_it_is_and_a_path_becomes_absolute(url, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert place_text(url) == url
    assert [place_text(path) for path in ("a//b", Path("a/b"), "./a/b")] == [str(tmp_path / "a/b")] * 3


def test_the_setting_of_the_images_keeps_urls_and_takes_paths():
    def data(value):
        return settings_of("collect", {"model": "m.py:f", "data": value}).data

    assert data("s3://b/x") == "s3://b/x" and data(Path("a/b")) == "a/b" and data("hf:n") == "hf:n"
