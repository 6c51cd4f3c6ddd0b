"""Crops against zennit-crp's own range and a plain re-statement of what the paper does with it."""

import numpy as np
import pytest
import torch
from crp.image import get_crop_range
from torchvision.transforms.functional import gaussian_blur

from pure_cli.core.crops import CROP_THRESHOLD, Box, blurred, box, cropped, masked, seen


def paper_crop(image, heat):
    """The slices of the paper: crp's range, made square, the whole image where the crop or its mask is empty."""
    mask = heat > 0.02
    r1, r2, c1, c2 = (int(v) for v in get_crop_range(heat, 0.02))
    tall, wide = r2 - r1, c2 - c1
    if tall > wide:
        c1, c2 = c1 - (tall - wide) // 2, c2 + (tall - wide) // 2
        if c1 < 0:
            c1, c2 = 0, c2 - c1
    elif wide > tall:
        r1, r2 = r1 - (wide - tall) // 2, r2 + (wide - tall) // 2
        if r1 < 0:
            r1, r2 = 0, r2 - r1
    part, part_mask = image[..., r1:r2, c1:c2], mask[r1:r2, c1:c2]
    if part.numel() == 0 or part_mask.sum() == 0:
        return image, mask
    return part, part_mask


def random_heat(generator, height, width):
    """A few blobs of either sign, at times none, at times a single pixel."""
    heat = torch.zeros(height, width)
    for _ in range(int(torch.randint(0, 4, (), generator=generator))):
        rows = torch.randint(0, height, (2,), generator=generator).sort().values
        columns = torch.randint(0, width, (2,), generator=generator).sort().values
        heat[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] += torch.randn((), generator=generator)
    return heat


@pytest.mark.parametrize(("height", "width"), [(12, 12), (9, 17), (17, 9), (1, 6), (3, 3)])
def test_box_and_mask_are_the_papers_for_random_heatmaps(height, width):
    generator = torch.Generator().manual_seed(height * 100 + width)
    image = torch.randint(1, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    for _ in range(300):
        heat = random_heat(generator, height, width).abs()
        part, part_mask = paper_crop(image, heat)
        b = box(seen(heat[None])[0])
        assert (b.bottom - b.top, b.right - b.left) == part.shape[1:]
        assert 0 <= b.top < b.bottom <= height and 0 <= b.left < b.right <= width
        np.testing.assert_array_equal(cropped(image, b), part.permute(1, 2, 0).numpy())
        expected = torch.where(part_mask, part.double(), part.double() * 0.4).round().to(torch.uint8)
        np.testing.assert_array_equal(masked(image, heat > 0.02, b), expected.permute(1, 2, 0).numpy())


def test_box_of_blurred_noise_is_the_papers():
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(1, 256, (3, 24, 30), generator=generator, dtype=torch.uint8)
    heats = torch.randn((40, 24, 30), generator=generator) * (torch.rand((40, 24, 30), generator=generator) > 0.99)
    for heat in blurred(heats):
        part, _ = paper_crop(image, heat)
        np.testing.assert_array_equal(cropped(image, box(seen(heat[None])[0])), part.permute(1, 2, 0).numpy())


def test_blurred_is_the_magnitude_of_the_signed_blur_over_its_maximum():
    heats = torch.randn((3, 10, 14), generator=torch.Generator().manual_seed(1))
    for heat, got in zip(heats, blurred(heats), strict=True):
        one = gaussian_blur(heat[None], kernel_size=5)[0].abs()
        torch.testing.assert_close(got, one / one.max())


def test_blur_keeps_the_sign_so_that_alternating_relevance_cancels():
    heat = torch.zeros(1, 21, 21)
    heat[0, 2:8, 2:8] = 1.0
    board = torch.ones(6, 6)
    board[::2, ::2] = -1
    board[1::2, 1::2] = -1
    heat[0, 12:18, 12:18] = board
    got = blurred(heat)[0]
    assert got[4:6, 4:6].min() > 0.9
    assert got[14:16, 14:16].max() < 0.2


def test_heatmap_of_zeros_stays_zero_and_shows_the_whole_image():
    got = blurred(torch.zeros(2, 8, 6))
    assert torch.equal(got, torch.zeros(2, 8, 6))
    assert box(seen(got)[0]) == Box(0, 8, 0, 6)
    assert blurred(torch.zeros(0, 8, 6)).shape == (0, 8, 6)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e20])
def test_crop_does_not_depend_on_the_scale_of_the_relevance(scale):
    heats = torch.randn((4, 16, 16), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(blurred(heats * scale), blurred(heats))


def test_half_precision_heatmaps_are_taken():
    heats = torch.randn((2, 16, 16), generator=torch.Generator().manual_seed(3)).half()
    torch.testing.assert_close(blurred(heats), blurred(heats.float()))


def test_threshold_itself_is_not_seen():
    assert seen(torch.tensor([[[CROP_THRESHOLD, 0.021, 0.0]]])).tolist() == [[[False, True, False]]]


def test_box_worked_out_by_hand():
    mask = torch.zeros(10, 10, dtype=torch.bool)
    mask[2:9, 1:3] = True  # rows 2..8, columns 1..2: 6 tall, 1 wide, 2 to add on both sides, 1 beyond the left edge
    assert box(mask) == Box(2, 8, 0, 5)


def test_crops_are_copies():
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    cropped(image, Box(0, 4, 0, 4))[:] = 9
    assert image.sum() == 0


def test_context_is_half_of_the_image_around_the_box_and_within_it():
    from pure_cli.core.crops import with_context

    assert with_context(Box(10, 20, 10, 20), 100, 80) == Box(0, 50, 0, 40)
    assert with_context(Box(48, 52, 38, 42), 100, 80) == Box(25, 75, 20, 60)
    assert with_context(Box(96, 100, 70, 80), 100, 80) == Box(50, 100, 40, 80)
    assert with_context(Box(0, 90, 5, 75), 100, 80) == Box(0, 90, 5, 75)
