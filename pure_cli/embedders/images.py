"""From a crop to the input of an embedder: small objects that a worker process can be handed without the network."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from pure_cli.core.preprocessing import Preprocessing

LONGEST = 32  # times the short side; of a longer strip only the middle is used, as its square crop would be


@dataclass(frozen=True)
class Prepare:
    """An embedder's own preprocessing.

    Attributes
    ----------
    transform : of a PIL image to (3, H, W) float32
    """

    transform: Callable[[Image.Image], torch.Tensor]

    def __call__(self, image: np.ndarray) -> torch.Tensor:
        """
        Parameters
        ----------
        image : (h, w, 3) uint8, of any size from 1×1 on

        Returns
        -------
        (3, H, W) float32
        """
        return self.transform(Image.fromarray(np.ascontiguousarray(_without_far_ends(image))))


@dataclass(frozen=True)
class Torchvision:
    """Resize, centre crop and normalisation, bit for bit as torchvision's."""

    preprocessing: Preprocessing

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return self.preprocessing.normalize(torch.from_numpy(self.preprocessing.geometry(image))[None])[0]


@dataclass(frozen=True)
class Squashed:
    """The whole image at a fixed size, 0..1."""

    size: int

    def __call__(self, image: Image.Image) -> torch.Tensor:
        small = np.asarray(image.resize((self.size, self.size), Image.Resampling.BILINEAR))
        return torch.from_numpy(small.transpose(2, 0, 1).copy()).float().div(255)


def _without_far_ends(image: np.ndarray) -> np.ndarray:
    """The middle of a strip: a resize of its short side to 256 pixels would fill the memory."""
    height, width = image.shape[:2]
    longest = LONGEST * min(height, width)
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    return image[top : height - top, left : width - left]
