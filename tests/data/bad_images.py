"""A folder of damaged and odd images, made by a seed: ``python tests/data/bad_images.py FOLDER``."""

import io
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

GOOD, BAD, EITHER = "good", "bad", "either"  # what may become of a file; a flipped bit may be harmless
ORIENTATION = 0x0112
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "tif": "TIFF", "ppm": "PPM"}


def make_corpus(folder: Path, seed: int = 0, copies: int = 12) -> dict[str, str]:
    """Write the files in two class folders.

    Parameters
    ----------
    copies : of each way to damage an image, in each format

    Returns
    -------
    dict of name below the folder to what may become of it; folders and what has no image's ending are not in it
    """
    generator = np.random.default_rng(seed)
    expected: dict[str, str] = {}
    for number, (name, content, fate) in enumerate([*_damaged(generator, copies), *_odd(generator)]):
        path = folder / "ab"[number % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        expected[path.relative_to(folder).as_posix()] = fate
    (folder / "a" / "nowhere.jpg").symlink_to(folder / "not there.jpg")
    (folder / "a" / "itself.jpg").symlink_to(folder / "a" / "itself.jpg")
    expected |= {"a/nowhere.jpg": BAD, "a/itself.jpg": BAD}
    (folder / "b" / "folder.jpg").mkdir()
    (folder / "b" / "folder.jpg" / "inside.png").write_bytes(_encoded(_image(generator), "png"))
    expected["b/folder.jpg/inside.png"] = GOOD
    return expected


def _image(generator: np.random.Generator, height: int = 40, width: int = 48) -> Image.Image:
    coarse = generator.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _encoded(image: Image.Image, ending: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, FORMATS[ending], **options)
    return buffer.getvalue()


def _damaged(generator: np.random.Generator, copies: int) -> Iterator[tuple[str, bytes, str]]:
    for ending in FORMATS:
        for i in range(copies):
            whole = _encoded(_image(generator), ending)
            yield f"whole-{i}.{ending}", whole, GOOD
            cut = int(generator.integers(1, len(whole) - 40))
            yield f"cut-{i}.{ending}", whole[:cut], EITHER if ending in ("jpg", "gif", "webp") else BAD
            flipped = bytearray(whole)
            for place in generator.integers(0, len(whole), 8):
                flipped[place] ^= 1 << int(generator.integers(8))
            yield f"flipped-{i}.{ending}", bytes(flipped), EITHER
            yield f"zeros-{i}.{ending}", bytes(len(whole)), BAD
        yield f"empty.{ending}", b"", BAD
        yield f"text.{ending}", b"<html>404 Not Found</html>", BAD
        yield f"noise.{ending}", generator.bytes(500), BAD


def _odd(generator: np.random.Generator) -> Iterator[tuple[str, bytes, str]]:
    plain = _image(generator)
    png = _encoded(plain, "png")
    yield "really a png.jpg", png, GOOD
    yield "really a jpeg.png", _encoded(plain, "jpg"), GOOD
    yield "bomb.png", _bomb(60_000, 60_000), BAD
    yield "one pixel.png", _encoded(plain.resize((1, 1)), "png"), GOOD
    yield "long.png", _encoded(Image.new("RGB", (20_000, 10), "red"), "png"), GOOD
    yield "high.png", _encoded(Image.new("RGB", (10, 20_000), "red"), "png"), GOOD
    yield "longest.png", _encoded(Image.new("L", (300_000, 1)), "png"), BAD
    sixteen = generator.integers(0, 65536, (40, 48)).astype(np.uint16)
    yield "sixteen.png", _encoded(Image.fromarray(sixteen), "png"), GOOD
    yield "float.tif", _encoded(Image.fromarray(generator.random((40, 48)).astype(np.float32)), "tif"), GOOD
    yield "cmyk.jpg", _encoded(plain.convert("CMYK"), "jpg"), GOOD
    yield "grey and clear.png", _encoded(plain.convert("LA"), "png"), GOOD
    yield "palette.gif", _encoded(plain.convert("P"), "gif"), GOOD
    more = [_image(generator) for _ in range(3)]
    yield "animated.gif", _encoded(plain, "gif", save_all=True, append_images=more), GOOD
    yield "animated.webp", _encoded(plain, "webp", save_all=True, append_images=more), GOOD
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = turn
        yield f"turned-{turn}.jpg", _encoded(plain, "jpg", exif=exif), GOOD
    for name in ("with spaces  .png", "new\nline.png", "\x1b[31mred.png", "猫 ñ é.png", "[bold]$x$.png", "-w.png"):
        yield name, png, GOOD
        yield f"broken {name}", png[:50], BAD
    yield os.fsdecode(b"no \xff\xfe utf.png"), png, GOOD
    yield os.fsdecode(b"broken \xff utf.png"), png[:50], BAD


def _bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be huge."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1 << 16)))
        + chunk(b"IEND", b"")
    )


if __name__ == "__main__":
    made = make_corpus(Path(sys.argv[1]))
    print(f"{len(made)} files")
