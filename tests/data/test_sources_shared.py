"""What the sources have in common: files by process, arrays and bytes as images, subsets, places."""

import json
import multiprocessing

import numpy as np
import pytest
from made_sources import pattern, tar_shards
from PIL import Image

from pure_cli.data.decode import DamagedImage, decode
from pure_cli.data.handles import Handles
from pure_cli.data.listing import list_images
from pure_cli.data.place import ending
from pure_cli.data.sources.subset import subset
from pure_cli.errors import PureError
from pure_cli.stages.runtime.images import place_of


class Closing:
    closed: list[str] = []  # noqa: RUF012

    def __init__(self, name: str):
        self.name = name

    def close(self):
        self.closed.append(self.name)


def test_handles_keep_the_last_and_close_the_others():
    opened = Handles(Closing, most=2)
    first = opened("a")
    assert opened("a") is first
    opened("b"), opened("a"), opened("c")
    assert Closing.closed == ["b"] and opened("a") is first


def test_a_fork_opens_anew(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(100)))
    opened = Handles(open)
    ours = opened(tmp_path / "file")
    process = multiprocessing.get_context("fork").Process(target=lambda: opened(tmp_path / "file").seek(50))
    process.start()
    process.join()
    assert process.exitcode == 0 and ours.tell() == 0 and opened(tmp_path / "file") is ours


def test_bytes_of_a_file_are_its_image(made):
    file = made.files[0]
    np.testing.assert_array_equal(np.asarray(decode(file.read_bytes())), np.asarray(decode(file)))
    with pytest.raises(DamagedImage, match="not an image"):
        decode(b"not an image at all")
    with pytest.raises(DamagedImage, match="cut short"):
        decode(file.read_bytes()[:100])


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_pixels_are_an_image(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    kind = {2: "L", 1: "L", 3: "RGB", 4: "RGBA"}[shape[2] if len(shape) == 3 else 2]
    expected = Image.fromarray(pixels.reshape(shape[:2]) if kind == "L" else pixels).convert("RGBA")
    white = Image.new("RGBA", expected.size, "white")
    np.testing.assert_array_equal(
        np.asarray(decode(pixels)), np.asarray(Image.alpha_composite(white, expected))[..., :3]
    )


@pytest.mark.parametrize("pixels", [np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2)), np.zeros((0, 2), np.uint8)])
def test_arrays_that_are_no_image(pixels):
    with pytest.raises(DamagedImage, match=r"no image|no pixels"):
        decode(pixels)


def test_subset_of_any_source(made, other, tmp_path):
    whole = list_images(other[0])
    index, labels = np.array([1, 5, 20]), np.array([7, -1, 2])
    (tmp_path / "some.subset").write_text(subset(whole.data, index, labels))
    part = list_images(tmp_path / "some.subset")
    assert part.labels.tolist() == labels.tolist()
    assert [part.place(i) for i in range(3)] == [whole.place(i) for i in index.tolist()]
    pixels = np.stack([np.asarray(decode(part.read(i))) for i in range(3)])
    np.testing.assert_array_equal(pixels, made.pixels[index])


@pytest.mark.parametrize(
    "content",
    [
        *("", "{}", "[" * 100_000, '{"data": "gone", "index": "x", "label": []}'),
        *('{"data": 3, "index": [0], "label": [0]}', '{"data": "gone", "index": [1e400], "label": [0]}'),
        *(
            '{"data": "a", "index": [1000000000000000000000000000000], "label": [0]}',
            '{"data": "a", "index": [0], "label": [null]}',
        ),
    ],
)
def test_damaged_subset(tmp_path, content):
    (tmp_path / "a.subset").write_text(content)
    with pytest.raises(PureError, match=r"subset '.*' cannot be read"):
        list_images(tmp_path / "a.subset")


def test_subset_of_what_is_smaller_now(made, tmp_path):
    (tmp_path / "a.subset").write_text(json.dumps({"data": str(made.folder), "index": [500], "label": [0]}))
    with pytest.raises(PureError, match="has fewer images"):
        list_images(tmp_path / "a.subset")


def test_place_of_a_pattern_and_of_a_split_survives(made, tmp_path, monkeypatch):
    data = pattern(made, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for given in (data, data.relative_to(tmp_path)):
        assert place_of(given) == str(data) == list_images(given).data
    monkeypatch.chdir("/")
    assert len(list_images(place_of(data))) == len(made.files)


def test_folder_with_the_mark_of_a_split_in_its_name(made, tmp_path):
    (tmp_path / "a#b").symlink_to(made.folder)
    assert len(list_images(tmp_path / "a#b")) == len(made.files)
    with pytest.raises(PureError, match=r"There is no folder or file '.*gone#train'"):
        list_images(tmp_path / "gone#train")
    with pytest.raises(PureError, match="has no splits: leave out '#train'"):
        list_images(f"{made.folder}#train")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.tar", ".tar"), ("a.TAR.GZ", ".tar.gz"), ("a.b.png", ".png"), ("a", ""), (".tar", ""), ("a.gz", ".gz")],
)
def test_ending_of_a_name(name, expected):
    assert ending(name) == expected


def test_error_messages_say_where_an_item_is(made, tmp_path, cli):
    folder = tar_shards(made, tmp_path / "data", shards=1)
    file = folder / "part-000.tar"
    content = file.read_bytes()
    image = made.files[4].read_bytes()
    file.write_bytes(content.replace(image, b"x" * len(image)))
    collect = ("collect", "--model", "digits", "--data", folder, "-n", 4, "--workers", 0, "-w", tmp_path / "work")
    done = cli(*collect, "--strict")
    assert done.code == 2 and f"{folder}/part-000.tar:00004.png cannot be read" in " ".join(done.err.split())
    done = cli(*collect)
    assert done.code == 0 and "part-000.tar:00004.png (not an image)" in " ".join(done.err.split())
    info = cli("info", "-w", tmp_path / "work", "--damaged")
    assert "part-000.tar:00004.png" in info.out + info.err
