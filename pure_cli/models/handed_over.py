"""Models that were handed over in Python, and how they want their images.

They are known by name for as long as the process runs: a workspace remembers the name, and asks for the model again
where another process goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.errors import PureError, PureFailure, first_line
from pure_cli.models.identity import identity
from pure_cli.models.spec import ModelSpec
from pure_cli.quick_imports import compiler_later

if TYPE_CHECKING:
    from PIL import Image
    from torch import nn

NO_CHANGE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # mean and standard deviation that leave pixels as they are
SLACK = 1e-6  # beyond 0..1, for rounding

_given: dict[str, tuple[nn.Module, Preprocessing]] = {}


@dataclass(frozen=True)
class Transformed(Preprocessing):
    """Preprocessing by a function from a PIL image to the pixels of the model's input.

    Attributes
    ----------
    function : gives a PIL image, or an array or tensor (3, H, W), uint8 or floats in 0..1; they are kept in 8 bit
    name : says which function it is
    """

    function: Callable[[Any], Any] = field(default=lambda image: image, compare=False)
    name: str = ""

    def geometry(self, image: Image.Image) -> np.ndarray:
        import PIL.Image

        try:
            found = self.function(image)
        except Exception as error:
            raise PureFailure(f"The transform failed: {type(error).__name__}: {first_line(error)}.") from error
        values = np.asarray(found)
        if values.ndim == 3 and isinstance(found, PIL.Image.Image):
            values = values.transpose(2, 0, 1)
        if values.ndim != 3 or len(values) != 3:
            raise PureFailure(f"The transform gave an array of shape {values.shape}, and (3, H, W) is needed.")
        if values.dtype != np.uint8:
            if values.min(initial=0) < -SLACK or values.max(initial=0) > 1 + SLACK:
                raise PureFailure(
                    "The transform gave values outside of 0 to 1. Let it end with torchvision's Normalize, which is "
                    "taken apart so that figures show the image, or give pixels in 0 to 1."
                )
            values = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
        return np.ascontiguousarray(values)

    def as_dict(self) -> dict[str, Any]:
        return {"transform": self.name, "mean": list(self.mean), "std": list(self.std)}


def give(model: nn.Module, transform: Callable[[Any], Any] | None = None) -> str:
    """Make a model known by a name, which `parse_model` understands.

    Parameters
    ----------
    model : left as it is; a copy in eval mode is worked with
    transform : from a PIL image to the model's input (3, H, W); None for ImageNet's mean and deviation alone

    Returns
    -------
    str
        ``python:CLASS@HASH``, the hash of weights, transform and the code of both.
    """
    from pure_cli.models.plain import require_plain
    from pure_cli.models.weights import state_fingerprint

    model = require_plain(model, "The model")
    preprocessing = preprocessing_of(transform)
    digest = identity(model, state_fingerprint(model), preprocessing.as_dict())
    name = f"{type(model).__name__}@{digest[:12]}"
    _given[name] = model, preprocessing
    return str(ModelSpec("python", name))


def given_model(spec: ModelSpec) -> nn.Module:
    """A copy of the model of a name."""
    from pure_cli.models.plain import copied

    return copied(_entry(spec)[0]).cpu()


def given_preprocessing(spec: ModelSpec) -> Preprocessing:
    """The preprocessing of the model of a name."""
    return _entry(spec)[1]


def preprocessing_of(transform: Callable[[Any], Any] | None) -> Preprocessing:
    """A transform as pixels, mean and standard deviation.

    Parameters
    ----------
    transform : what torchvision's weights come with, a Compose that ends with Normalize, or any function that gives
        pixels in 0..1; None for no change but ImageNet's mean and deviation
    """
    if transform is None:
        return Preprocessing()
    parts = getattr(transform, "transforms", None)
    last: Any = parts[-1] if isinstance(parts, list | tuple) and parts else None
    if parts and type(last).__name__ == "Normalize":
        with compiler_later():
            from torchvision.transforms import Compose

        return Transformed(
            mean=_rgb(last.mean), std=_rgb(last.std), function=Compose(parts[:-1]), name=identity(transform)
        )
    if all(hasattr(transform, own) for own in ("resize_size", "crop_size", "mean", "std", "interpolation")):
        return of_preset(transform)
    mean, std = NO_CHANGE
    return Transformed(mean=mean, std=std, function=transform, name=identity(transform))


def of_preset(preset: Any) -> Preprocessing:
    """What a preset of torchvision's weights does (``weights.transforms()``)."""
    return Preprocessing(
        resize=preset.resize_size[0],
        crop_size=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=_rgb(preset.mean),
        std=_rgb(preset.std),
    )


def _entry(spec: ModelSpec) -> tuple[nn.Module, Preprocessing]:
    if spec.name not in _given:
        raise PureError(
            f"The workspace is about a model that was handed over in Python, {spec.short}, and it is not here. Go on "
            "with it in Python: pure_cli.Workspace(DIR, model=…, transform=…), with the same weights and transform."
        )
    return _given[spec.name]


def _rgb(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
