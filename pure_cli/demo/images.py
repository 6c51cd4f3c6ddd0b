"""The demo's images: scikit-learn's handwritten digits (1,797 of 8 × 8 pixels) as a folder of PNG files."""

import io
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from pure_cli.errors import unknown

SIDE = 32  # pixels, what the demo's network takes
INK = 16  # the data set's darkest value; its values are 0..16
HELD_OUT = 500  # images that the shipped weights were not trained on
SPLIT_SEED = 0
SPLITS = ("train", "held-out", "all")


class Digits(NamedTuple):
    """Images of one split, by ascending index."""

    indices: np.ndarray  # (N,) int64, in scikit-learn's data set
    pixels: np.ndarray  # (N, 32, 32) uint8, the ink bright
    labels: np.ndarray  # (N,) int64, 0..9


def read_digits(split: str) -> Digits:
    """The digits of one split, 32 × 32.

    Parameters
    ----------
    split : ``train`` (1,297), ``held-out`` (500) or ``all``

    Raises
    ------
    PureError
        There is no such split.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    data = load_digits()
    indices = _indices(split, len(data.target))
    grey = np.rint(data.images[indices] * (255 / INK)).astype(np.uint8)
    pixels = np.stack([_enlarged(image) for image in grey])
    return Digits(indices, pixels, data.target[indices].astype(np.int64))


def write_digits(folder: Path, *, split: str) -> int:
    """Write the digits of one split as ``folder/CLASS/NNNN.png``, NNNN being the index in scikit-learn's data set.

    Files that are there with the right content are left alone, and so is everything else in the folder.

    Parameters
    ----------
    folder : made where it is missing
    split : ``train`` (1,297), ``held-out`` (500) or ``all``

    Returns
    -------
    int
        Images of the split, all of which are in the folder now.

    Raises
    ------
    PureError
        There is no such split.
    """
    digits = read_digits(split)
    for label in np.unique(digits.labels):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
    for index, pixels, label in zip(*digits, strict=True):
        file = folder / str(label) / f"{index:04d}.png"
        content = _png(pixels)
        if not file.is_file() or file.read_bytes() != content:
            file.write_bytes(content)
    return len(digits.indices)


def _indices(split: str, total: int) -> np.ndarray:
    # Python promises the same random() for the same seed in every version; numpy's generators do not.
    draw = random.Random(SPLIT_SEED)
    order = sorted(range(total), key=lambda _: draw.random())
    chosen = {"held-out": order[:HELD_OUT], "train": order[HELD_OUT:], "all": order}[split]
    return np.array(sorted(chosen), dtype=np.int64)


def _enlarged(grey: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(buffer, format="PNG")
    return buffer.getvalue()
