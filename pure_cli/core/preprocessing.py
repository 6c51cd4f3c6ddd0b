"""What happens to an image between the file and the model: resize, crop, scale, normalise.

Bit for bit what torchvision's Resize, CenterCrop, ToTensor and Normalize make of a PIL image, in two halves: `geometry`
on the image, in the workers that decode, and `normalize` on a batch, wherever the model is. Without importing torch or
torchvision, which would cost every worker seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.errors import PureError, unknown

if TYPE_CHECKING:
    import torch
    from PIL import Image

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MOST_STD = 1.5  # of pixels in 0 to 1, which deviate by 0.5 at most; 1 leaves them as they are
BGR_MEAN, SAME_MEAN = IMAGENET_MEAN[::-1], 0.01  # and how far from it the means of other collections of photos are


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop and normalisation of a model's input.

    Attributes
    ----------
    resize : length of the short side in pixels; height and width, whatever the proportions; None to leave the size
    crop_size : side of the square cut from the centre, None to leave it whole
    interpolation : "nearest", "bilinear" or "bicubic"
    mean, std : of the three channels, on the scale 0..1
    crop_down : where an odd number of pixels is cut off, the smaller half goes from the top and the left, as
        transformers does; torchvision rounds to the even number

    Raises
    ------
    PureError
        A value is out of its range.
    """

    resize: int | tuple[int, int] | None = None
    crop_size: int | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    crop_down: bool = False

    def __post_init__(self) -> None:
        sides = self.resize if isinstance(self.resize, tuple) else (self.resize,)
        for option, size in (*(("--resize", side) for side in sides), ("--crop-size", self.crop_size)):
            if size is not None and size < 1:
                raise PureError(f"{option} is a number of pixels, 1 or more, and not {size}.")
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)
        for option, values in (("--mean", self.mean), ("--std", self.std)):
            if len(values) != 3 or not np.isfinite(values).all():
                raise PureError(f"{option} takes three numbers, for red, green and blue, and not {values!r}.")
        if min(self.std) <= 0:
            raise PureError(f"--std has to be above 0 in every channel, and is {self.std!r}.")
        _require_unit_scale(self.mean, self.std)

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the resize, before the crop."""
        if self.resize is None:
            return width, height
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        short, long = min(width, height), max(width, height)
        long = int(self.resize * long / short)
        return (self.resize, long) if width <= height else (long, self.resize)

    def geometry(self, image: "Image.Image") -> np.ndarray:
        """Resize and crop.

        Parameters
        ----------
        image : mode RGB; where it is smaller than the crop, black is added on all sides

        Returns
        -------
        (3, H, W) uint8
        """
        from PIL import Image

        size = self.resized(*image.size)
        if size != image.size:
            image = image.resize(size, Image.Resampling[self.interpolation.upper()])
        if self.crop_size is not None:
            left, top = (_offset(length, self.crop_size, self.crop_down) for length in image.size)
            image = image.crop((left, top, left + self.crop_size, top + self.crop_size))
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))

    def pixels(self, images: "torch.Tensor") -> "torch.Tensor":
        """Images as the model sees them before normalisation.

        Parameters
        ----------
        images : (B, 3, H, W) uint8

        Returns
        -------
        (B, 3, H, W) float32 in 0..1, on the same device
        """
        scaled = images.float()
        # By a tensor: a GPU divides by a Python number as a product with its reciprocal, which rounds differently.
        return scaled.div_(_numbers((255.0,), scaled))

    def normalize(self, images: "torch.Tensor") -> "torch.Tensor":
        """Input of the model.

        Parameters
        ----------
        images : (B, 3, H, W) uint8

        Returns
        -------
        (B, 3, H, W) float32, on the same device
        """
        scaled = self.pixels(images)
        mean, std = (_numbers(values, scaled).view(3, 1, 1) for values in (self.mean, self.std))
        return scaled.sub_(mean).div_(std)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON or YAML; `from_dict` takes them back."""
        return {
            "resize": list(self.resize) if isinstance(self.resize, tuple) else self.resize,
            "crop_size": self.crop_size,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
            **({"crop_down": True} if self.crop_down else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `as_dict`; what is left out has its default.

        Raises
        ------
        PureError
            A name is not known, or a value out of its range.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise unknown("preprocessing setting", name, known)
        try:
            numbers: dict[str, Any] = {name: _triple(values[name]) for name in ("mean", "std") if name in values}
            if isinstance(values.get("resize"), list):
                numbers["resize"] = tuple(values["resize"])
        except (TypeError, ValueError) as error:
            raise PureError(f"Mean and standard deviation are three numbers each ({error}).") from error
        return cls(**{**values, **numbers})


def in_bgr_order(mean: tuple[float, float, float]) -> bool:
    """Whether a mean, on the scale 0..1, is ImageNet's in the order of OpenCV and Caffe."""
    return bool(np.abs(np.subtract(mean, BGR_MEAN)).max() < SAME_MEAN)


def in_rgb_order(mean: tuple[float, float, float], std: tuple[float, float, float]) -> str:
    """What to do about values for blue, green and red, as the second half of a sentence."""
    return (
        "in the order blue, green, red, and the network is given red, green, blue: pass "
        f"{_option('--mean', mean[::-1])} {_option('--std', std[::-1])}, and wrap a network that wants blue first in a "
        "function in FILE.py that turns the channels round"
    )


def _require_unit_scale(mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
    """Raises `PureError`, with both values to use, where mean or standard deviation is of pixels in 0 to 255."""
    of_mean, of_std = max(mean) > 1, max(std) > MOST_STD
    if not (of_mean or of_std):
        return
    of_std |= set(std) == {1.0}  # Caffe's networks have their mean taken off, and no more
    what = [f"mean {mean!r}"] * of_mean + [f"standard deviation {std!r}"] * of_std
    mean, std = _divided(mean) if of_mean else mean, _divided(std) if of_std else std
    advice = [_option("--mean", mean)] * of_mean + [_option("--std", std)] * of_std
    start = f"Pixels are in 0 to 1, and {' and '.join(what)} are on the scale of pixels in 0 to 255"
    if of_mean and in_bgr_order(mean):
        raise PureError(f"{start}, {in_rgb_order(mean, std)}.")
    raise PureError(f"{start}. Divide by 255: {' '.join(advice)}.")


def _divided(values: tuple[float, float, float]) -> tuple[float, float, float]:
    red, green, blue = (value / 255 for value in values)
    return red, green, blue


def _option(name: str, values: tuple[float, ...]) -> str:
    """``--mean 0.485,0.456,0.406``"""
    return f"{name} {','.join(f'{value:.3g}' for value in values)}"


def _numbers(values: tuple[float, ...], like: "torch.Tensor") -> "torch.Tensor":
    """Numbers where a tensor is, written there: copying them to a GPU would wait until it has nothing else to do."""
    numbers = like.new_empty(len(values))
    for place, value in enumerate(values):
        numbers[place].fill_(value)
    return numbers


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _offset(length: int, crop: int, down: bool) -> int:
    """Where the centre crop begins; negative where it adds a margin."""
    if crop > length:
        return -((crop - length) // 2)
    return (length - crop) // 2 if down else round((length - crop) / 2)
