"""How a network of transformers wants its images, as its own image processor says it.

What the processor's file says becomes pure's steps (resize, crop, mean and deviation), and both are held against each
other on a few images: a processor that does anything else is refused, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from pure_cli.core.preprocessing import INTERPOLATIONS, Preprocessing
from pure_cli.errors import PureError, first_line
from pure_cli.models.from_hub import OWN_CODE, quiet, require_package
from pure_cli.models.repos import PROCESSORS, repo_files
from pure_cli.models.spec import ModelSpec

TRIED = ((301, 226), (120, 95), (227, 340))  # width and height of the images on which both are compared
PIXELS = 255.0
ROUNDED = 1.01  # of 255: how far pixels may be from those of a processor that resizes by other means than Pillow
SAME = 1e-3  # of 255: of one that resizes with Pillow, too
WARPED_FROM = 384  # pixels of ConvNeXt's short side from which it warps, and crops no more
LEVIT = 256 / 224  # what LeViT resizes to, for its short side
ADVICE = (
    "Say all of --resize, --crop-size, --interpolation, --mean and --std yourself, or hand the network over in Python, "
    "with transform=…"
)


def processor_preprocessing(spec: ModelSpec) -> Preprocessing:
    """The preprocessing of a network of transformers.

    Raises
    ------
    PureError
        There is no image processor, or one that does what pure does not.
    """
    require_package(spec)
    found = repo_files(spec)
    if not any(name in found.names for name in PROCESSORS):
        raise PureError(f"{spec} has no {PROCESSORS[0]}, which says how images are prepared. {ADVICE}")
    from transformers import AutoImageProcessor

    try:
        with quiet():
            processor = AutoImageProcessor.from_pretrained(
                found.folder, backend="pil", local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # of whatever is in the file
        if "trust_remote_code" in str(error):
            raise PureError(f"The image processor of {spec} {OWN_CODE}") from None
        raise PureError(f"The image processor of {spec} cannot be loaded ({first_line(error)}). {ADVICE}") from error
    kind = type(processor).__name__
    try:
        preprocessing = _steps(kind.removesuffix("Pil"), processor)
    except _Other as error:
        raise PureError(f"The image processor of {spec} ({kind}) {error}, which pure does not. {ADVICE}") from None
    if (difference := _difference(processor, preprocessing)) > (SAME if kind.endswith("Pil") else ROUNDED):
        raise PureError(
            f"The image processor of {spec} ({kind}) makes other pixels than resize, crop and normalisation do, by up "
            f"to {difference:.0f} of 255. {ADVICE}"
        )
    return preprocessing


class _Other(Exception):
    """A processor does something else; what it does, with its verb."""


def _steps(kind: str, processor: Any) -> Preprocessing:
    """What a processor does, as its attributes say."""
    said = _Said(processor)
    resize, crop = _sizes(kind, said)
    interpolation = _interpolation(said) if resize is not None else Preprocessing.interpolation
    if said.do_flip_channel_order:
        raise _Other("turns the channels round")
    if said.do_pad:
        raise _Other("pads images")
    mean, std = _colours(said)
    return Preprocessing(resize, crop, interpolation, mean, std, crop_down=crop is not None)


class _Said:
    """The attributes of a processor; those that it has not are None."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name, None)

    def side(self, name: str, edge: str) -> int | None:
        """A side of a size, which may be a dict or an object."""
        size = getattr(self._processor, name, None)
        value = size.get(edge) if isinstance(size, dict) else getattr(size, edge, None)
        return int(value) if value else None


def _sizes(kind: str, said: _Said) -> tuple[int | tuple[int, int] | None, int | None]:
    """What images are resized to, and the side of the crop."""
    resize: int | tuple[int, int] | None = None
    crop = None
    if said.do_resize:
        short, height, width = (said.side("size", edge) for edge in ("shortest_edge", "height", "width"))
        if said.side("size", "longest_edge") or said.side("size", "max_height"):
            raise _Other("gives images several sizes")
        if short is None and (height is None or width is None):
            raise _Other("resizes in another way")
        resize = short or (height or 0, width or 0)
        if kind.startswith("ConvNext") and short is not None:
            resize, crop = ((short, short), None) if short >= WARPED_FROM else (int(short / said.crop_pct), short)
        if kind.startswith("Levit") and short is not None:
            resize = int(LEVIT * short)
    if said.do_center_crop:
        height, width = (said.side("crop_size", edge) for edge in ("height", "width"))
        if height is None or height != width:
            raise _Other("crops a rectangle")
        crop = height
    if crop is None and isinstance(resize, tuple) and resize[0] == resize[1]:
        crop = resize[0]  # cuts nothing off, and says that all images are of one size
    return resize, crop


def _interpolation(said: _Said) -> str:
    from PIL import Image

    name = Image.Resampling(int(said.resample if said.resample is not None else Image.Resampling.BILINEAR)).name.lower()
    if name not in INTERPOLATIONS:
        raise _Other(f"resizes by {name}")
    return name


def _colours(said: _Said) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and deviation of pixels in 0 to 1: of what becomes of a pixel, (p · factor - offset - mean) / std."""
    factor = float(said.rescale_factor or 1 / PIXELS) if said.do_rescale else 1.0
    offset = 1.0 if said.do_rescale and said.rescale_offset else 0.0
    mean, std = _triple(said.image_mean, 0.0), _triple(said.image_std, 1.0)
    if not said.do_normalize:
        mean, std = (0.0,) * 3, (1.0,) * 3
    again = _triple(said.image_std, 1.0) if said.include_top else (1.0,) * 3  # EfficientNet divides twice
    unit = 1.0 if abs(factor * PIXELS - 1) < 1e-6 else factor * PIXELS
    red, green, blue = ((m + offset) / unit for m in mean)
    wide = [s * a / unit for s, a in zip(std, again, strict=True)]
    return (red, green, blue), (wide[0], wide[1], wide[2])


def _triple(values: Any, otherwise: float) -> Sequence[float]:
    if values is None:
        return (otherwise,) * 3
    return [float(value) for value in values] if isinstance(values, list | tuple) else [float(values)] * 3


def _difference(processor: Any, preprocessing: Preprocessing) -> float:
    """How far the pixels of both are apart at most, of 255; infinite where their numbers are not the same."""
    import torch
    from PIL import Image

    generator, largest = np.random.default_rng(0), 0.0
    for width, height in TRIED:
        image = Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        own = preprocessing.normalize(torch.from_numpy(preprocessing.geometry(image))[None])[0].numpy()
        theirs = np.full(0, np.nan)
        with suppress(Exception), quiet():  # of what was made for something else
            theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0], np.float32)
        if theirs.shape != own.shape or not np.isfinite(theirs).all():
            return np.inf
        scale = np.array(preprocessing.std, np.float32).reshape(3, 1, 1) * PIXELS
        largest = max(largest, float((np.abs(own - theirs) * scale).max()))
    return largest
