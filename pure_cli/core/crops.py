"""What a neuron saw of an image: from its relevance heatmap to a crop around it (PURE's feature visualisation)."""

from typing import NamedTuple

import numpy as np
import torch

from pure_cli.quick_imports import compiler_later

with compiler_later():
    from torchvision.transforms.functional import gaussian_blur

BLUR_KERNEL = 5  # pixels; PURE's setting
CROP_THRESHOLD = 0.02  # of the heatmap's maximum; PURE's setting
UNSEEN_BRIGHTNESS = 0.4  # of the image outside of what was seen; PURE's setting


class Box(NamedTuple):
    """A part of an image in pixels, half-open like a slice: ``image[top:bottom, left:right]``."""

    top: int
    bottom: int
    left: int
    right: int

    def clipped(self, height: int, width: int) -> "Box":
        """The part of it that lies within an image of this size, for a box that begins within it."""
        return Box(self.top, min(self.bottom, height), self.left, min(self.right, width))


def blurred(heatmaps: torch.Tensor) -> torch.Tensor:
    """Smoothed magnitude of relevance over an image.

    Parameters
    ----------
    heatmaps : (B, H, W) float, signed relevance of each pixel; H and W at least 3

    Returns
    -------
    (B, H, W) float32
        In [0, 1], the maximum of each heatmap 1; a heatmap of zeros stays zero.
    """
    if not len(heatmaps):
        return heatmaps.float()
    magnitude = gaussian_blur(heatmaps.float(), [BLUR_KERNEL, BLUR_KERNEL]).abs()
    peak = magnitude.amax(dim=(1, 2), keepdim=True)
    return torch.where(peak > 0, magnitude / peak, torch.zeros_like(magnitude))


def seen(blurred: torch.Tensor) -> torch.Tensor:
    """The pixels that a neuron saw.

    Parameters
    ----------
    blurred : (B, H, W) float in [0, 1], from :func:`blurred`

    Returns
    -------
    (B, H, W) bool
    """
    return blurred > CROP_THRESHOLD


def box(seen: torch.Tensor) -> Box:
    """The square around what a neuron saw, cut off where it leaves the image on the far side.

    Parameters
    ----------
    seen : (H, W) bool, one image of :func:`seen`

    Returns
    -------
    Box
        Within the image and never empty: the whole image where nothing, or nothing that a crop would hold, was seen.

    Notes
    -----
    Pixel for pixel the crop of Dreyer et al. 2024, whose slices end *at* the last row and column with something in
    them, and so leave these out.
    """
    height, width = seen.shape
    part = _around(seen).clipped(height, width)
    if not seen[part.top : part.bottom, part.left : part.right].any():
        return Box(0, height, 0, width)
    return part


def with_context(box: Box, height: int, width: int) -> Box:
    """A box enlarged to half of the image, so that one sees where in it the box lies; larger ones stay."""
    top, bottom = _at_least(box.top, box.bottom, height // 2, height)
    left, right = _at_least(box.left, box.right, width // 2, width)
    return Box(top, bottom, left, right)


def masked(image: torch.Tensor, seen: torch.Tensor, box: Box) -> np.ndarray:
    """An image as a neuron saw it: the unseen darkened, cropped to the box.

    Parameters
    ----------
    image : (3, H, W) uint8
    seen : (H, W) bool
    box : from :func:`box`

    Returns
    -------
    (h, w, 3) uint8
        Seen pixels unchanged, the others at 40 % of their value.
    """
    dark = (image.float() * UNSEEN_BRIGHTNESS).round().to(torch.uint8)
    return cropped(torch.where(seen.to(image.device), image, dark), box)


def cropped(image: torch.Tensor, box: Box) -> np.ndarray:
    """The part of an image inside a box.

    Parameters
    ----------
    image : (3, H, W) uint8
    box : from :func:`box`

    Returns
    -------
    (h, w, 3) uint8, a copy
    """
    part = image[:, box.top : box.bottom, box.left : box.right]
    return part.permute(1, 2, 0).contiguous().cpu().numpy().copy()


def _around(seen: torch.Tensor) -> Box:
    """The square from the first to the last row and column with something seen; it may reach beyond the far edges."""
    rows = seen.any(dim=1).nonzero().flatten().tolist()
    columns = seen.any(dim=0).nonzero().flatten().tolist()
    if len(rows) <= 1 and len(columns) <= 1:
        # zennit-crp's (0, -1, 0, -1) for "nothing", or for a single pixel, as it comes out when used as slices
        return Box(0, len(seen) - 1, 0, seen.shape[1] - 1)

    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    height, width = bottom - top, right - left
    if height > width:
        left, right = _widened(left, right, (height - width) // 2)
    elif width > height:
        top, bottom = _widened(top, bottom, (width - height) // 2)
    return Box(top, bottom, left, right)


def _at_least(start: int, stop: int, least: int, length: int) -> tuple[int, int]:
    """The interval enlarged on both sides to a least length, and moved to lie within 0 … length."""
    missing = least - (stop - start)
    if missing <= 0:
        return start, stop
    start = min(max(start - missing // 2, 0), length - least)
    return start, start + least


def _widened(start: int, stop: int, margin: int) -> tuple[int, int]:
    """The interval with the margin added on both sides, moved up where it would begin below zero."""
    start, stop = start - margin, stop + margin
    return (0, stop - start) if start < 0 else (start, stop)
