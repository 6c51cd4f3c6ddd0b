"""Lists of files as other programs and other people leave them: line ends, quotes, bytes that are no text."""

import numpy as np
import pytest
from PIL import Image

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.listing import Listing, list_images
from pure_cli.data.loader import batches
from pure_cli.errors import PureError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": " ", ".lst": "\t"}


@pytest.fixture(params=SEPARATORS)
def listed(request, tmp_path):
    """Lists what stands in a list of each kind, with ``|`` between path and label."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)

    def write(content: str | bytes, encoding: str = "utf-8") -> Listing:
        if isinstance(content, str):
            content = content.replace("|", SEPARATORS[request.param]).encode(encoding)
        (tmp_path / f"list{request.param}").write_bytes(content)
        return list_images(tmp_path / f"list{request.param}")

    return write


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_marks_of_the_encoding(listed, end, encoding):
    listing = listed(end.join(["a.png|cat", "b.png|dog", ""]), encoding)
    assert listing.paths == ("a.png", "b.png") and listing.names == ("cat", "dog")
    assert listing.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "content",
    [
        "a.png|x\n".encode("utf-32"),
        "a.png|x\n".encode("utf-16-le"),
        "a.png|x\n".encode("utf-16") + b"x",
        b"a.png\n" * 20_000 + b"b\0.png\n",
        "a\0.png\n".encode("utf-16"),
        bytes(range(256)),
    ],
    ids=["utf-32", "no mark", "odd", "zero", "zero in utf-16", "binary"],
)
def test_what_is_no_text_is_named(listed, content):
    with pytest.raises(PureError, match=r"list\.\w+' is not text, so it is no list of files"):
        listed(content)


@pytest.mark.parametrize("content", ["", "\n\n  \n", "# nothing\n"])
def test_list_of_nothing_is_named(listed, content):
    with pytest.raises(PureError, match=r"list '.*list\.\w+' names no image"):
        listed(content)


def test_rows_that_are_short_or_long(listed):
    listing = listed("a.png|cat\nb.png\n")
    assert listing.paths == ("a.png", "b.png") and listing.labels.tolist() == [0, -1]


def test_labels_of_mixed_kinds_are_names(listed):
    listing = listed("a.png|3\nb.png|cat\nc.png|inf\nd.png|1e300\n")
    assert listing.names == ("1e300", "3", "cat", "inf") and listing.labels.tolist() == [1, 2, 3, 0]


def test_devices_and_folders_and_text_files_are_damaged_and_never_waited_for(listed):
    listing = listed("a.png\n/dev/zero\n/dev/stdin\n.\n/etc/passwd\n" + "x" * 5000)
    (batch,) = batches(listing, listing.index, Preprocessing(resize=None, crop_size=None), 8, 0)
    assert batch.index.tolist() == [0]
    reasons = [damaged.reason for damaged in batch.damaged]
    assert reasons[:4] == ["not a file", "not a file", "a folder, not an image", "not an image"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("row", ['"a.png|cat', 'a.png|"cat', 'b.png|"say ""hi'])
def test_quote_that_is_not_closed_is_an_error_and_swallows_no_rows(tmp_path, suffix, row):
    text = f"path|label\n{row}\nb.png|dog\n".replace("|", SEPARATORS[suffix])
    (tmp_path / f"l{suffix}").write_text(text)
    with pytest.raises(PureError, match=rf"l\{suffix}' cannot be read as a table \(a quote is opened and not closed\)"):
        list_images(tmp_path / f"l{suffix}")


@pytest.mark.parametrize("end", ["", "\n"])
def test_quotes_that_are_closed_may_hold_anything(tmp_path, end):
    (tmp_path / "l.csv").write_text(f'path,label\n"a ""b"", c.png","two\nlines"\nb.png,5" wide\n"c.png","x"{end}')
    listing = list_images(tmp_path / "l.csv")
    assert listing.paths == ('a "b", c.png', "b.png", "c.png")
    assert listing.names == ('5" wide', "two\nlines", "x")


def test_label_that_is_not_valid_unicode_goes_all_the_way(made, tmp_path, cli):
    rows = [f"{file},{'größe' if i % 2 else 'klein'}".encode("latin-1") for i, file in enumerate(made.files[:8])]
    (tmp_path / "l.csv").write_bytes(b"\n".join(rows))
    collect = ("collect", "--model", "digits", "--data", tmp_path / "l.csv", "-n", 4, "--workers", 0)
    done = cli(*collect, "-w", tmp_path / "work")
    assert done.code == 0, done.err
    assert cli("info", "-w", tmp_path / "work").code == 0
    np.testing.assert_array_equal(list_images(tmp_path / "l.csv").labels, [1, 0] * 4)
