"""From an image file, or what a source gives instead, to RGB pixels, as a viewer would show them."""

import io
import logging
import os
import stat
import warnings
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from pure_cli.data.source import DamagedImage
from pure_cli.files import LFS_POINTER

FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "QOI"),
    *("PCX", "SGI", "ICO", "DDS", "SUN"),
    "HEIF",  # of a plugin
)  # and no others: some start a program to be read
TGA, TGA_ENDING, TGA_FOOTER = "TGA", ".tga", b"TRUEVISION-XFILE.\0"  # not to be known by how it begins
HEIF_PLUGIN = "pillow_heif"  # the extra ``heif``

_ORIENTATION = 0x0112  # EXIF tag
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_TO_EIGHT = 257  # 65535 / 255
_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")  # Pillow may open their 16-bit grey images in its 32-bit mode
_JPEG2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_NO_JPEG2000 = "a JPEG 2000 file, which this Pillow does not read (pip install -U pillow)"
_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"qoif")  # how the formats begin

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what Pillow logs on standard error


def decode(raw: str | os.PathLike[str] | bytes | np.ndarray) -> Image.Image:
    """Read an image (of an animation, the first frame).

    Transparent pixels are laid on white, 16-bit grey is scaled to 8 bit, and the EXIF orientation is applied. Colour
    profiles are not, as in torchvision.

    Parameters
    ----------
    raw : an image file, what is in one, or pixels (H, W) or (H, W, 1, 3 or 4) uint8

    Returns
    -------
    PIL.Image.Image
        Mode RGB, 8 bit, in memory: the file is closed.

    Raises
    ------
    DamagedImage
        For whatever is wrong with it.
    """
    if isinstance(raw, np.ndarray):
        return _rgb(_of_pixels(raw))
    if isinstance(raw, bytes):
        if not raw:
            raise DamagedImage("an empty file")
        file: Path | bytes = raw
    else:
        file = Path(raw)
        _require_file(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _opened(file) as content, Image.open(content, formats=_formats(file)) as image:
                image.load()
                if 0 in image.size:
                    raise DamagedImage("no pixels")
                return _upright(_rgb(image), image)
    except DamagedImage:
        raise
    except Exception as error:
        raise DamagedImage(_reason(error, file)) from error


def _formats(file: Path | bytes) -> tuple[str, ...]:
    """Those that a file may have, by how it begins; what has no such mark only where its name or its end says so."""
    tga = file.endswith(TGA_FOOTER) if isinstance(file, bytes) else file.suffix.lower() == TGA_ENDING
    return (*_there(), TGA) if tga else _there()


@cache
def _there() -> tuple[str, ...]:
    """Those that the installed Pillow reads, with its plugin."""
    Image.init()
    with suppress(ImportError):
        import_module(HEIF_PLUGIN).register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _of_pixels(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise DamagedImage(f"an array {pixels.shape} of {pixels.dtype}, which is no image")
    if 0 in pixels.shape:
        raise DamagedImage("no pixels")
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))


def _opened(file: Path | bytes) -> IO[bytes]:
    return io.BytesIO(file) if isinstance(file, bytes) else file.open("rb")


def _require_file(path: Path) -> None:
    """Turn away what cannot be an image before it is opened: opening a pipe would wait for ever."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise DamagedImage("a link that leads nowhere" if _is_link(path) else "no such file") from error
    except OSError as error:
        raise DamagedImage(_system_reason(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise DamagedImage("a folder, not an image")
    if not stat.S_ISREG(status.st_mode):
        raise DamagedImage("not a file")
    if status.st_size == 0:
        raise DamagedImage("an empty file")


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except (OSError, ValueError):
        return False


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        return Image.fromarray(_from_float(np.asarray(image))).convert("RGB")
    if image.mode.startswith("I"):
        return Image.fromarray(_from_integer(image)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_float(values: np.ndarray) -> np.ndarray:
    """Grey as floats, in 0..1 or 0..255, to uint8; NaN is black."""
    values = np.where(np.isnan(values), 0, values)
    finite = values[np.isfinite(values)]
    scale = 255 if finite.size and finite.min() >= 0 and finite.max() <= 1 else 1
    return np.rint(np.clip(values * scale, 0, 255)).astype(np.uint8)


def _from_integer(image: Image.Image) -> np.ndarray:
    """Grey as integers of 16 or 32 bits to uint8."""
    values = np.asarray(image).astype(np.int64)
    sixteen = image.mode != "I" or image.format in _SIXTEEN_BIT_FORMATS or values.max() > 255
    grey = np.rint(values / _SIXTEEN_TO_EIGHT) if sixteen else values
    grey = np.clip(grey, 0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return grey


def _upright(rgb: Image.Image, source: Image.Image) -> Image.Image:
    try:
        turn = _TURN.get(source.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata: the pixels are there all the same
        turn = None
    return rgb if turn is None else rgb.transpose(turn)


def _reason(error: Exception, file: Path | bytes) -> str:
    message = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels"
    if isinstance(error, MemoryError):
        return "too large for the memory, or broken"
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(file)
    if isinstance(error, OSError) and error.errno is not None:
        return _system_reason(error)
    if any(word in message for word in ("truncated", "eof", "not enough")):
        return "cut short"
    return "cut short or broken"


def _unidentified(file: Path | bytes) -> str:
    try:
        with _opened(file) as content:
            head = content.read(64)
    except OSError as error:
        return _system_reason(error)
    if head.startswith(LFS_POINTER):
        return "a Git LFS pointer, not an image (run 'git lfs pull')"
    if head[4:8] == b"ftyp":
        return _of_boxes(head)
    if head.startswith(_JPEG2000):
        return _NO_JPEG2000
    return "cut short or broken" if head.startswith(_MAGIC) else "not an image"


def _of_boxes(head: bytes) -> str:
    """Why a file of the family of MP4 is not read, by the brands that it begins with."""
    brands = {head[at : at + 4] for at in range(8, min(len(head), int.from_bytes(head[:4], "big")), 4)}
    if brands & _AVIF:
        there = "AVIF" in _there()
        return (
            "a broken AVIF file" if there else "an AVIF file, which this Pillow does not read (pip install -U pillow)"
        )
    if brands & _HEIC:
        there = "HEIF" in _there()
        return "a broken HEIC file" if there else "a HEIC file, which needs pip install 'pure-cli[heif]'"
    return "a video, or another file of its family, which is not read"


def _system_reason(error: OSError) -> str:
    return "no permission to read it" if isinstance(error, PermissionError) else (error.strerror or str(error)).lower()
