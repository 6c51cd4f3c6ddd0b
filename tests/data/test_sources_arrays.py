"""NumPy archives: names, shapes, numbers, and what is wrong with them."""

import pickle
import zipfile

import numpy as np
import pytest

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.decode import DamagedImage, decode
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches
from pure_cli.errors import PureError

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3)).astype(np.uint8)
LABELS = np.array([2, 0, 1, 1, 0, 2])


def pixels(data, cache=None) -> np.ndarray:
    listing = list_images(data, cache=cache)
    return np.stack([np.asarray(decode(listing.read(i))) for i in range(len(listing))])


def stored(tmp_path, compressed: bool = False, **arrays):
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (COLOURS, COLOURS),
        (np.asfortranarray(COLOURS), COLOURS),
        (COLOURS.transpose(0, 3, 1, 2), COLOURS),
        (COLOURS[..., 0], COLOURS[..., [0, 0, 0]]),
        (COLOURS[..., :1], COLOURS[..., [0, 0, 0]]),
        ((COLOURS / 255).astype(np.float32), COLOURS),
        ((COLOURS / 255).astype(">f8"), COLOURS),
        (COLOURS[..., 0] > 127, np.where(COLOURS[..., :1] > 127, 255, 0).repeat(3, 3)),
        (np.concatenate([COLOURS, np.full((6, 8, 9, 1), 255, np.uint8)], 3), COLOURS),  # opaque
    ],
    ids=["colour", "fortran", "channels-first", "grey", "one-channel", "float32", "float64", "bool", "alpha"],
)
def test_images_of_all_shapes_and_numbers(tmp_path, array, expected, compressed):
    file = stored(tmp_path, compressed, images=array)
    np.testing.assert_array_equal(pixels(file), expected)
    np.testing.assert_array_equal(pixels(file, tmp_path / "cache"), expected)
    assert (tmp_path / "cache").exists() == compressed


def test_array_of_an_uncompressed_archive_is_mapped_and_not_read(tmp_path):
    listing = list_images(stored(tmp_path, pad=np.arange(1000.0), images=COLOURS, more=np.arange(7)))
    assert isinstance(listing.read._load(), np.memmap)


def test_compressed_array_is_unpacked_once(tmp_path):
    file, cache = stored(tmp_path, True, images=COLOURS), tmp_path / "cache"
    pixels(file, cache)
    (unpacked,) = cache.iterdir()
    before = unpacked.stat().st_mtime_ns
    pixels(file, cache)
    assert unpacked.stat().st_mtime_ns == before
    stored(tmp_path, True, images=COLOURS[::-1])
    np.testing.assert_array_equal(pixels(file, cache), COLOURS[::-1])


@pytest.mark.parametrize(
    ("labels", "says"),
    [(LABELS[:4], r"has 4 values, .*is needed\.$"), (np.eye(3)[LABELS], "has 6 × 3 values, .*argmax")],
)
def test_labels_that_are_not_one_for_each_image_are_refused(tmp_path, labels, says):
    with pytest.raises(PureError, match=rf"'labels' in '.*' {says}"):
        list_images(stored(tmp_path, images=COLOURS, labels=labels))


@pytest.mark.parametrize(
    ("more", "labels", "names"),
    [
        ({"labels": LABELS}, LABELS, ()),
        ({"y": LABELS.astype(np.uint8), "names": np.array(["a", "b", "c"])}, LABELS, ("a", "b", "c")),
        ({"targets": LABELS[:, None].astype(float)}, LABELS, ()),
        ({"labels": np.array(["c", "a", "b", "b", "a", "c"])}, LABELS, ("a", "b", "c")),
        ({"labels": np.array([b"c", b"a", b"b", b"b", b"a", b"c"])}, LABELS, ("a", "b", "c")),
        ({"labels": LABELS - 1}, np.maximum(LABELS - 1, -1), ()),
        ({"labels": np.where(LABELS, LABELS, np.nan)}, np.where(LABELS, LABELS, -1), ()),
        ({}, np.full(6, -1), ()),
    ],
)
def test_labels_and_names(tmp_path, more, labels, names):
    listing = list_images(stored(tmp_path, images=COLOURS, **more))
    np.testing.assert_array_equal(listing.labels, labels)
    assert listing.names == names


@pytest.mark.parametrize("form", ["x_{}", "{}_images"])
def test_splits(tmp_path, form):
    label = form.replace("x", "y").replace("images", "labels")
    file = stored(
        tmp_path,
        **{form.format("train"): COLOURS[:4], label.format("train"): LABELS[:4]},
        **{form.format("test"): COLOURS[4:], label.format("test"): LABELS[4:]},
    )
    with pytest.raises(PureError, match=r"several splits: train, test.*--data '.*a\.npz#test'"):
        list_images(file)
    listing = list_images(f"{file}#test")
    assert listing.labels.tolist() == [0, 2] and listing.paths == ("a.npz:test:00000", "a.npz:test:00001")
    np.testing.assert_array_equal(pixels(f"{file}#test"), COLOURS[4:])


def test_the_only_array_that_looks_like_images(tmp_path):
    np.testing.assert_array_equal(pixels(stored(tmp_path, arr_0=COLOURS, arr_1=LABELS)), COLOURS)


def test_other_pixels_of_the_same_size_change_the_fingerprint(tmp_path):
    before = list_images(stored(tmp_path, images=COLOURS)).fingerprint
    assert list_images(stored(tmp_path, True, images=COLOURS)).fingerprint == before
    assert list_images(stored(tmp_path, images=COLOURS[::-1])).fingerprint != before


def test_float_that_is_no_brightness_is_a_damaged_image(tmp_path):
    values = (COLOURS / 255).astype(np.float32)
    values[1, 0, 0, 0], values[2, 0, 0, 0], values[4, 0, 0, 0] = np.nan, 1.5, -0.1
    listing = list_images(stored(tmp_path, images=values))
    (batch,) = batches(listing, listing.index, Preprocessing(resize=None, crop_size=None), 8, 0)
    assert batch.index.tolist() == [0, 3, 5]
    assert {damaged.reason for damaged in batch.damaged} == {
        "numbers outside of 0 to 1 (save images as uint8, or divide floats by 255)"
    }


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle ran",))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": COLOURS.astype(np.int32)}, "is int32. Images are uint8"),
        ({"images": COLOURS[0, 0]}, r"has the shape \(9, 3\)"),
        ({"images": COLOURS.repeat(2, 3)}, r"has the shape \(6, 8, 9, 6\)"),
        ({"images": COLOURS[:0]}, "no image in"),
        ({"stuff": LABELS}, "no array 'images': it holds stuff"),
        ({"a": COLOURS, "b": COLOURS}, "no array 'images': it holds a, b"),
        ({"images": COLOURS[:, :0]}, r"has the shape \(6, 0, 9, 3\)"),
        ({"images": np.array([Bomb()], object)}, "pickled objects or damaged"),
        ({"images": COLOURS, "labels": np.array([Bomb()] * 6, object)}, "'labels' in '.*' are pickled objects"),
        ({"images": COLOURS, "labels": np.array(3)}, "'labels' in '.*' has a single value"),
        ({"images": COLOURS, "labels": LABELS + np.array([0, 0, np.inf, 0, 0, 0])}, "The label of image 2 .* is inf"),
        ({"images": COLOURS, "labels": LABELS + np.array([0, 1e300, 0, 0, 0, 0])}, r"image 1 .* is 1e\+300"),
        ({"images": COLOURS, "labels": np.full(6, 2**63, np.uint64)}, "image 0 .* is 9223372036854775808"),
        ({"images": COLOURS, "labels": LABELS / 3}, "Labels are whole numbers"),
        ({"images": COLOURS, "labels": LABELS.astype("datetime64[s]")}, "Labels are whole numbers"),
        (
            {"images": COLOURS, "labels": LABELS, "names": np.array(["a"])},
            "a label 2, and names for the classes 0 to 0",
        ),
    ],
)
def test_arrays_that_are_no_images(tmp_path, arrays, words):
    with pytest.raises(PureError, match=words):
        list_images(stored(tmp_path, **arrays))


@pytest.mark.parametrize("content", [b"", b"PK nothing", pickle.dumps(1)])
def test_file_that_is_no_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(PureError, match=r"archive '.*a\.npz' cannot be read"):
        list_images(tmp_path / "a.npz")


def header(descr: str = "|u1", shape: object = (4, 8, 8)) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}".encode()
    text = text.ljust(117 + len(text) // 64 * 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "content",
    [
        header(shape=(10**12, 32, 32, 3)) + bytes(100),
        header(shape=(-1, 8, 8)) + bytes(256),
        header(shape=(4, 8, 9)) + bytes(256),
        header() + bytes(257),
        header(shape="(" * 5000),
        header(shape="'''"),
        header(descr="nonsense") + bytes(256),
        b"",
    ],
    ids=["huge", "negative", "short", "long", "nested", "quote", "type", "empty"],
)
def test_array_that_is_not_as_its_header_says_is_named(tmp_path, content, compression):
    good = header() + bytes(256)
    for images, labels, words in (
        (content, good, "images: pickled objects or damaged"),
        (good, content, "'labels' in"),
    ):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
            archive.writestr("images.npy", images)
            archive.writestr("labels.npy", labels)
        with pytest.raises(PureError, match=rf"a\.npz'.*{words}|{words} '.*a\.npz'.*damaged"):
            list_images(tmp_path / "a.npz")


def test_archive_that_claims_to_unpack_to_more_than_it_can(tmp_path):
    shape = (10**12, 32, 32, 3)
    content = header(shape=shape) + bytes(1000)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content)
        info = archive.getinfo("images.npy")
        info.file_size = len(header(shape=shape)) + int(np.prod(shape))  # in the directory at the end
    with pytest.raises(PureError, match="images: pickled objects or damaged"):
        list_images(tmp_path / "a.npz")


def test_members_that_are_no_arrays_are_left_alone(tmp_path):
    stored(tmp_path, images=COLOURS, y=LABELS)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        for name in ("labels", "names", "../../x.npy", "/y.npy"):
            archive.writestr(name, b"text")
    assert list_images(tmp_path / "a.npz").labels.tolist() == LABELS.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_single_array_is_refused_with_the_way_to_save_it(tmp_path):
    np.save(tmp_path / "a.npy", COLOURS)
    with pytest.raises(PureError, match=r"a\.npy' is a single array\. Save it .* np\.savez"):
        list_images(tmp_path / "a.npy")


def test_floats_up_to_255_say_what_to_do(tmp_path, cli):
    file = stored(tmp_path, images=COLOURS.astype(np.float32))
    done = cli("collect", "--model", "digits", "--data", file, "-n", 4, "--workers", 0, "-w", tmp_path / "work")
    assert done.code == 2 and "save images as uint8, or divide floats by 255" in " ".join(done.err.split())


def test_split_where_there_is_none(tmp_path):
    with pytest.raises(PureError, match="has no splits: leave out '#test'"):
        list_images(f"{stored(tmp_path, images=COLOURS)}#test")


def test_damaged_compressed_array(tmp_path):
    file = stored(tmp_path, True, images=np.random.default_rng(0).integers(0, 256, (50, 32, 32)).astype(np.uint8))
    with zipfile.ZipFile(file) as archive:
        middle = archive.getinfo("images.npy").compress_size // 2
    content = bytearray(file.read_bytes())
    content[middle : middle + 500] = bytes(500)
    file.write_bytes(content)
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(DamagedImage, match="damaged or gone"):
            list_images(file, cache=cache).read(0)
    assert not list((tmp_path / "cache").glob("*"))
