"""Decoding, against pixels worked out by hand from arrays that the tests write to files."""

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from pure_cli.data import decode as decode_module
from pure_cli.data.decode import DamagedImage, decode

WEBP = pytest.mark.skipif(not features.check("webp"), reason="Pillow without WebP")


def noise(height: int = 11, width: int = 17, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(height: int = 64, width: int = 48) -> np.ndarray:
    """A picture that a lossy format keeps well."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 255 // height, x * 255 // width, (x + y) * 255 // (height + width)], axis=2).astype(np.uint8)


def saved(folder: Path, image: Image.Image, ending: str, **options) -> Path:
    path = folder / f"image{ending}"
    image.save(path, **options)
    return path


def pixels(path: Path) -> np.ndarray:
    image = decode(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    a = alpha[..., None].astype(float)
    return np.rint((colour * a + 255 * (255 - a)) / 255).astype(np.uint8)


def thrice(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


# --- formats


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        (".png", {}),
        (".bmp", {}),
        (".dib", {}),
        (".ppm", {}),
        (".tif", {}),
        (".tiff", {"compression": "tiff_lzw"}),
        (".tiff", {"compression": "tiff_deflate"}),
        pytest.param(".webp", {"lossless": True}, marks=WEBP),
    ],
)
def test_lossless_format_gives_the_very_pixels(tmp_path, ending, options):
    array = noise()
    np.testing.assert_array_equal(pixels(saved(tmp_path, Image.fromarray(array), ending, **options)), array)


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        (".jpg", {"quality": 95}),
        (".jpeg", {"quality": 95, "progressive": True}),
        (".jfif", {"quality": 95}),
        pytest.param(".webp", {"quality": 95}, marks=WEBP),
    ],
)
def test_lossy_format_gives_nearly_the_pixels(tmp_path, ending, options):
    array = smooth()
    found = pixels(saved(tmp_path, Image.fromarray(array), ending, **options))
    assert np.abs(found.astype(int) - array).mean() < 3


@pytest.mark.parametrize(("kind", "error"), [("AVIF", 4), ("HEIF", 8), ("JPEG2000", 0), ("QOI", 0)])
def test_formats_of_phones_and_of_the_web_are_read(kind, error):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    pixels = np.linspace(0, 255, 16 * 24 * 3).astype(np.uint8).reshape(16, 24, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    found = np.asarray(decode(file.getvalue())).astype(int)
    assert found.shape == pixels.shape and np.abs(found - pixels).mean() <= error


def test_a_heic_file_without_its_plugin_names_the_extra(monkeypatch):
    monkeypatch.setattr(decode_module, "_there", lambda: ("JPEG", "PNG"))
    head = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + b"x" * 100
    with pytest.raises(DamagedImage, match=r"a HEIC file, which needs pip install 'pure-cli\[heif\]'"):
        decode(head)


def test_format_is_read_from_the_content_and_not_from_the_ending(tmp_path):
    path = saved(tmp_path, Image.fromarray(noise()), ".png")
    np.testing.assert_array_equal(pixels(path.rename(tmp_path / "really-a-png.jpg")), noise())


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    for ending in (".gif", ".tif", *([".webp"] if features.check("webp") else [])):
        options = {"lossless": True} if ending == ".webp" else {}
        path = saved(tmp_path, frames[0], ending, save_all=True, append_images=frames[1:], **options)
        assert (pixels(path) == (255, 0, 0)).all(), ending


# --- modes


def test_grey_and_black_and_white(tmp_path):
    grey = noise(channels=1)[..., 0]
    for ending in (".png", ".bmp", ".tif", ".pgm", ".gif"):
        np.testing.assert_array_equal(pixels(saved(tmp_path, Image.fromarray(grey), ending)), thrice(grey))
    bits = grey > 127
    for ending in (".png", ".bmp", ".tif"):
        path = saved(tmp_path, Image.fromarray(bits), ending)
        np.testing.assert_array_equal(pixels(path), thrice(np.where(bits, 255, 0)))


def palette_image() -> tuple[Image.Image, np.ndarray, np.ndarray]:
    index = np.arange(11 * 17, dtype=np.uint8).reshape(11, 17) % 5
    colours = noise(1, 5)[0]
    image = Image.fromarray(index).convert("P")
    image.putdata(index.ravel().tolist())
    image.putpalette(colours.tobytes())
    return image, index, colours


def test_palette(tmp_path):
    image, index, colours = palette_image()
    for ending in (".png", ".gif", ".bmp", ".tif"):
        np.testing.assert_array_equal(pixels(saved(tmp_path, image, ending)), colours[index])


def test_cmyk(tmp_path):
    cmyk = noise(channels=4)
    c, m, y, k = (cmyk[..., i].astype(float) for i in range(4))
    expected = np.stack([(255 - ink) * (255 - k) / 255 for ink in (c, m, y)], axis=2)
    found = pixels(saved(tmp_path, Image.fromarray(cmyk, "CMYK"), ".tif"))
    assert np.abs(found - expected).max() <= 1

    flat = Image.new("CMYK", (16, 16), (200, 100, 50, 25))
    expected = np.array([(255 - ink) * (255 - 25) / 255 for ink in (200, 100, 50)])
    assert np.abs(pixels(saved(tmp_path, flat, ".jpg", quality=100)) - expected).max() <= 3


def test_ycck(tmp_path):
    """A CMYK JPEG whose Adobe marker says that the first three planes are luma and (neutral) chroma is grey."""
    stored_luma, ink = 180, 40
    planes = Image.new("CMYK", (16, 16), (255 - stored_luma, 255 - 128, 255 - 128, ink))  # Pillow stores them inverted
    data = bytearray(saved(tmp_path, planes, ".jpg", quality=100).read_bytes())
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data[transform] = 2
    (tmp_path / "ycck.jpg").write_bytes(data)
    # In YCCK the planes hold 255 - R, so cyan as Pillow hands it on is the stored luma.
    assert np.abs(pixels(tmp_path / "ycck.jpg") - (255 - stored_luma) * (255 - ink) / 255).max() <= 3


def test_ycbcr_and_lab_come_out_as_rgb(tmp_path):
    array = smooth()
    path = saved(tmp_path, Image.fromarray(array).convert("YCbCr"), ".tif", compression="tiff_lzw")
    assert np.abs(pixels(path).astype(int) - array).max() <= 3
    assert (pixels(saved(tmp_path, Image.new("LAB", (4, 4), (255, 128, 128)), ".tif")) > 250).all()


# --- transparency


@pytest.mark.parametrize("ending", [".png", ".tif", pytest.param(".webp", marks=WEBP)])
def test_rgba_is_laid_on_white(tmp_path, ending):
    rgba = noise(channels=4)
    options = {"lossless": True, "exact": True} if ending == ".webp" else {}
    found = pixels(saved(tmp_path, Image.fromarray(rgba), ending, **options))
    np.testing.assert_array_equal(found, on_white(rgba[..., :3], rgba[..., 3]))


def test_grey_with_alpha_is_laid_on_white(tmp_path):
    la = noise(channels=2)
    expected = on_white(thrice(la[..., 0]), la[..., 1])
    for ending in (".png", ".tif"):
        np.testing.assert_array_equal(pixels(saved(tmp_path, Image.fromarray(la), ending)), expected)


def test_palette_with_one_transparent_colour(tmp_path):
    image, index, colours = palette_image()
    expected = np.where((index == 2)[..., None], 255, colours[index])
    for ending in (".png", ".gif"):
        np.testing.assert_array_equal(pixels(saved(tmp_path, image, ending, transparency=2)), expected)


def test_palette_with_an_alpha_to_each_colour(tmp_path):
    image, index, colours = palette_image()
    alpha = np.array([0, 64, 128, 200, 255], dtype=np.uint8)
    path = saved(tmp_path, image, ".png", transparency=alpha.tobytes())
    np.testing.assert_array_equal(pixels(path), on_white(colours[index], alpha[index]))


def test_transparent_colour_of_rgb_and_grey(tmp_path):
    array = noise()
    array[2:5, 3:9] = (10, 20, 30)
    expected = array.copy()
    expected[2:5, 3:9] = 255
    path = saved(tmp_path, Image.fromarray(array), ".png", transparency=(10, 20, 30))
    np.testing.assert_array_equal(pixels(path), expected)

    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = saved(tmp_path, Image.fromarray(grey), ".png", transparency=7)
    np.testing.assert_array_equal(pixels(path), thrice(np.where(grey == 7, 255, grey)))


# --- more than 8 bits


def deep(dtype: str) -> np.ndarray:
    values = np.random.default_rng(1).integers(0, 65536, (11, 17)).astype(dtype)
    values[0, :4] = (0, 65535, 128, 129)
    return values


EIGHT_BIT = np.rint(deep("<u2") / 257).astype(np.uint8)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_sixteen_bit_grey_is_scaled(tmp_path, ending):
    path = saved(tmp_path, Image.fromarray(deep("<u2")), ending)
    np.testing.assert_array_equal(pixels(path), thrice(EIGHT_BIT))
    assert pixels(path)[0, :4, 0].tolist() == [0, 255, 0, 1]


def test_sixteen_bit_grey_of_either_byte_order(tmp_path):
    path = saved(tmp_path, Image.frombytes("I;16B", (17, 11), deep(">u2").tobytes()), ".tif")
    np.testing.assert_array_equal(pixels(path), thrice(EIGHT_BIT))


def test_sixteen_bit_pgm(tmp_path):
    (tmp_path / "x.pgm").write_bytes(b"P5 17 11 65535\n" + deep(">u2").tobytes())
    np.testing.assert_array_equal(pixels(tmp_path / "x.pgm"), thrice(EIGHT_BIT))


def test_dark_sixteen_bit_image_stays_dark(tmp_path):
    dark = np.arange(256, dtype="<u2").reshape(16, 16)
    expected = thrice(np.rint(dark / 257))
    np.testing.assert_array_equal(pixels(saved(tmp_path, Image.fromarray(dark), ".png")), expected)
    (tmp_path / "x.pgm").write_bytes(b"P5 16 16 65535\n" + dark.astype(">u2").tobytes())
    np.testing.assert_array_equal(pixels(tmp_path / "x.pgm"), expected)


def test_transparent_value_of_sixteen_bit_grey(tmp_path):
    grey = deep("<u2")
    path = saved(tmp_path, Image.fromarray(grey), ".png", transparency=int(grey[5, 5]))
    expected = np.where(grey == grey[5, 5], 255, EIGHT_BIT)
    with Image.open(path) as image:
        if image.info.get("transparency") is None:
            pytest.skip("this Pillow does not write it")
    np.testing.assert_array_equal(pixels(path), thrice(expected))


def test_integers_of_32_bits(tmp_path):
    small = np.arange(256, dtype=np.int32).reshape(16, 16)
    np.testing.assert_array_equal(pixels(saved(tmp_path, Image.fromarray(small), ".tif")), thrice(small))
    large = deep("<u2").astype(np.int32)
    large[1, :2] = (-5, 70_000)
    expected = EIGHT_BIT.copy()
    expected[1, :2] = (0, 255)
    np.testing.assert_array_equal(pixels(saved(tmp_path, Image.fromarray(large), ".tif")), thrice(expected))


def test_sixteen_bits_in_colour(tmp_path):
    """Pillow cannot write it: a PNG by hand, 2 × 1 pixels."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">6H", 0, 0x8000, 0xFFFF, 0x1234, 0x4000, 0xC000)
    head = part(b"IHDR", struct.pack(">2I5B", 2, 1, 16, 2, 0, 0, 0))
    for extra in (b"", part(b"tRNS", struct.pack(">3H", 1, 2, 0x300))):  # a transparent colour that no pixel has
        data = b"\x89PNG\r\n\x1a\n" + head + extra + part(b"IDAT", zlib.compress(row)) + part(b"IEND", b"")
        (tmp_path / "x.png").write_bytes(data)
        expected = [[[0, 0x80, 0xFF], [0x12, 0x40, 0xC0]]]
        assert np.abs(pixels(tmp_path / "x.png").astype(int) - expected).max() <= 1


def test_floats(tmp_path):
    def read(values: list[float]) -> list[int]:
        array = np.array([values], dtype=np.float32)
        return pixels(saved(tmp_path, Image.fromarray(array), ".tif"))[0, :, 0].tolist()

    assert read([0, 0.5, 1, 0.1]) == [0, 128, 255, 26]  # 127.5 to the even number
    assert read([-20, 0.4, 100, 254.6, 300]) == [0, 0, 100, 255, 255]
    assert read([float("nan"), 0.25, 1]) == [0, 64, 255]
    assert read([float("nan"), float("inf"), float("-inf"), 0.25]) == [0, 255, 0, 64]
    assert read([float("nan")] * 2) == [0, 0]


# --- orientation

UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),  # a quarter clockwise
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", [".png", ".tif", ".jpg", pytest.param(".webp", marks=WEBP)])
def test_exif_orientation_is_applied(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    array = np.kron(noise(3, 5), np.ones((16, 16, 1), dtype=np.uint8))
    options: dict[str, int] = {".webp": {"lossless": 1}, ".jpg": {"quality": 100, "subsampling": 0}}.get(ending, {})
    found = pixels(saved(tmp_path, Image.fromarray(array), ending, exif=exif, **options))
    expected = UPRIGHT[orientation](array)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= (8 if ending == ".jpg" else 0)


def test_orientation_of_a_transparent_palette_image(tmp_path):
    image, index, colours = palette_image()
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, image, ".png", exif=exif, transparency=2)
    np.testing.assert_array_equal(pixels(path), np.rot90(np.where((index == 2)[..., None], 255, colours[index]), -1))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"nothing"])
def test_broken_metadata_is_no_broken_image(tmp_path, exif):
    path = saved(tmp_path, Image.fromarray(smooth()), ".jpg", exif=exif)
    assert pixels(path).shape == (64, 48, 3)


# --- damage


def reason(path: Path) -> str:
    with pytest.raises(DamagedImage) as caught:
        decode(path)
    assert str(caught.value) == caught.value.reason
    assert "\n" not in caught.value.reason and len(caught.value.reason) < 60
    return caught.value.reason


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
@pytest.mark.parametrize(
    ("ending", "options"),
    [
        (".jpg", {}),
        (".jpg", {"progressive": True}),
        (".png", {}),
        (".bmp", {}),
        (".gif", {}),
        (".ppm", {}),
        (".tif", {}),
        (".tif", {"compression": "tiff_lzw"}),
        pytest.param(".webp", {}, marks=WEBP),
    ],
)
def test_file_that_is_cut_short(tmp_path, ending, options, part):
    path = saved(tmp_path, Image.fromarray(noise(96, 80)), ending, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    assert "cut short" in reason(path)


def test_truncated_jpeg_and_png_are_cut_short_in_just_these_words(tmp_path):
    for ending in (".jpg", ".png"):
        path = saved(tmp_path, Image.fromarray(noise(96, 80)), ending)
        path.write_bytes(path.read_bytes()[:3000])
        assert reason(path) == "cut short"


def test_what_is_no_image(tmp_path):
    for content in (b"<html>404</html>", b"\0" * 500, bytes(range(256)), b"GIF", b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        (tmp_path / "x.jpg").write_bytes(content)
        assert reason(tmp_path / "x.jpg") == "not an image"


def test_what_is_no_image_for_a_known_reason(tmp_path):
    for content, words in {
        b"": "an empty file",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "Git LFS pointer",
        b"\0\0\0\x20ftypavif" + b"\0" * 50: "AVIF",
        b"\x89PNG\r\n\x1a\n": "cut short",
    }.items():
        (tmp_path / "x.png").write_bytes(content)
        assert words in reason(tmp_path / "x.png")


def test_broken_pixels(tmp_path):
    path = saved(tmp_path, Image.fromarray(noise(96, 80)), ".png")
    data = bytearray(path.read_bytes())
    data[60:1000] = bytes(940)
    path.write_bytes(data)
    assert reason(path)


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "file").touch()
    assert reason(tmp_path / "gone.jpg") == "no such file"
    assert reason(tmp_path / "file/x.jpg") == "no such file"
    assert reason(tmp_path / "a\0b.jpg") == "no such file"
    assert reason(tmp_path / "folder.jpg") == "a folder, not an image"
    assert reason(tmp_path / "link.jpg") == "a link that leads nowhere"
    assert "link" in reason(tmp_path / "round.jpg")
    assert reason(tmp_path / "pipe.jpg") == "not a file"
    assert reason(tmp_path / ("n" * 300)) == "file name too long"


def test_file_without_permission(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(noise()), ".png")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, to whom all is open
    assert reason(path) == "no permission to read it"


def test_decompression_bomb(tmp_path):
    """A PNG that claims 100,000 × 100,000 pixels, and one that just warns, which is decoded."""
    path = saved(tmp_path, Image.fromarray(noise()), ".png")
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">2I", 100_000, 100_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "bomb.png").write_bytes(data)
    assert reason(tmp_path / "bomb.png") == "too many pixels"


def test_large_image_below_the_bound_is_decoded_without_a_warning(tmp_path, monkeypatch, recwarn):
    path = saved(tmp_path, Image.fromarray(noise(10, 10)), ".png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80)  # Pillow warns above it, and refuses above twice as many
    assert pixels(path).shape == (10, 10, 3)
    assert not recwarn.list


# --- manners


def test_nothing_is_printed_and_no_warning_gets_out(tmp_path):
    """In a process of its own: what pytest catches would not be seen here."""
    buffer = io.BytesIO()
    Image.fromarray(noise(96, 80)).save(buffer, "TIFF", compression="tiff_lzw")
    tiff = buffer.getvalue()
    (tmp_path / "1.tif").write_bytes(tiff[: len(tiff) // 2])
    samples = bytearray(tiff)
    tag = samples.index(struct.pack("<HHI", 277, 3, 1))  # samples per pixel
    samples[tag + 8 : tag + 10] = struct.pack("<H", 999)
    (tmp_path / "2.tif").write_bytes(samples)
    image, _, _ = palette_image()
    image.save(tmp_path / "3.png", transparency=bytes([0, 64, 128, 200, 255]))
    Image.fromarray(smooth()).save(tmp_path / "4.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    code = (
        "import sys; from pure_cli.data.decode import *\n"
        "for p in sys.argv[1:]:\n"
        "    try: decode(p)\n"
        "    except DamagedImage: pass\n"
    )
    files = sorted(str(p) for p in tmp_path.iterdir())
    done = subprocess.run([sys.executable, "-W", "always", "-c", code, *files], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_warning_filters_are_left_as_they_were(tmp_path):
    before = list(warnings.filters)
    decode(saved(tmp_path, Image.fromarray(noise()), ".png"))
    reason(tmp_path / "gone.png")
    assert list(warnings.filters) == before


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_files_are_closed(tmp_path):
    frames = [Image.fromarray(noise(seed=i)) for i in range(3)]
    paths = [saved(tmp_path, frames[0], e, save_all=True, append_images=frames[1:]) for e in (".gif", ".tif")]
    paths += [saved(tmp_path, frames[0], e) for e in (".jpg", ".png", ".bmp", ".ppm")]
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "image.png").read_bytes()[:100])
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [decode(p) for p in paths]
    reason(cut)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert all(np.asarray(image).size for image in kept)


@pytest.mark.parametrize("ending", ["tga", "pcx", "sgi", "ico", "dds"])
def test_formats_of_graphics_programs_are_read_as_they_were_saved(tmp_path, ending):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    file = tmp_path / f"a.{ending.upper()}"
    Image.fromarray(pixels).save(file, ending.upper())
    assert np.array_equal(np.asarray(decode(file)), pixels)
    assert np.array_equal(np.asarray(decode(file.read_bytes())), pixels)


def test_a_file_is_read_as_tga_only_where_it_says_so(tmp_path):
    file = tmp_path / "a.tga"
    Image.new("RGB", (8, 8)).save(file)
    content = file.read_bytes()[:-26]  # without the footer of the second version
    file.write_bytes(content)
    assert decode(file).size == (8, 8)
    for other in (content, file.rename(tmp_path / "a.jpg")):
        with pytest.raises(DamagedImage, match="not an image"):
            decode(other)
