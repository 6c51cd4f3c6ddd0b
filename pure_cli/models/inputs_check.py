"""Whether what a network is given looks like images that it can have been trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.preprocessing import Preprocessing, in_bgr_order, in_rgb_order

if TYPE_CHECKING:
    import torch

FAR = 10.0  # standard deviations from the mean, where no pixel of an image should be
FLAT = 2  # steps of 255 between the darkest and the brightest value: what is left of pixels that were divided twice
BYTES = (1 / 256, 1 / 127)  # deviations that put pixels on a scale of 255, as networks of Caffe want them
SAME = 0.01  # as a deviation of 1, which leaves pixels as they are
SWAPPED_MEAN, SWAPPED_STD = (0.15, 0.35), (0.35, 0.65)  # where deviations and means of photos lie


def odd_inputs(preprocessing: Preprocessing, images: list[torch.Tensor]) -> Iterator[str]:
    """What is implausible about the inputs of a network, in sentences.

    Parameters
    ----------
    images : (1, 3, H, W) uint8, some of those that it will be given
    """
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    values = np.concatenate([image.cpu().numpy().reshape(3, -1) for image in images], axis=1)
    if values.size and int(values.max()) - int(values.min()) < FLAT:
        yield (
            f"The first and last images are flat as the network is given them, with values from {values.min()} to "
            f"{values.max()} of 255. See whether their pixels are divided by 255 twice, or left out by the crop."
        )
    on_bytes = ((std >= BYTES[0]) & (std <= BYTES[1])).all()
    inputs = (values / 255 - mean[:, None]) / std[:, None]
    if not on_bytes and inputs.size and float(np.median(np.abs(inputs))) > FAR:
        yield (
            f"The inputs of the network lie between {inputs.min():.3g} and {inputs.max():.3g}, far from what images "
            f"are scaled to. Check the mean {preprocessing.mean!r} and standard deviation {preprocessing.std!r}."
        )
    if _within(mean, SWAPPED_MEAN) and _within(std, SWAPPED_STD) and (mean < std).all():
        yield (
            f"Mean {preprocessing.mean!r} and standard deviation {preprocessing.std!r} look swapped: those of photos "
            "are about 0.45 and 0.25. Check --mean and --std."
        )
    if in_bgr_order(preprocessing.mean):
        yield f"The mean {preprocessing.mean!r} is {in_rgb_order(preprocessing.mean, preprocessing.std)}."
    elif not _usual_range(mean, std):
        low, high = float(((0 - mean) / std).min()), float(((1 - mean) / std).max())
        yield (
            f"The inputs of the network lie between {low:.3g} and {high:.3g} for pixels from black to white, since the "
            f"mean is {preprocessing.mean!r} and the standard deviation {preprocessing.std!r}. Check --mean and --std."
        )


def _usual_range(mean: np.ndarray, std: np.ndarray) -> bool:
    """Whether pixels come to lie on both sides of zero, or stay in 0 to 1."""
    return bool(((mean > 0) & (mean < 1)).all() or (not mean.any() and np.abs(std - 1).max() < SAME))


def _within(values: np.ndarray, bounds: tuple[float, float]) -> bool:
    return bool(((values >= bounds[0]) & (values <= bounds[1])).all())
