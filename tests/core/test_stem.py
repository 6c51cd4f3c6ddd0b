"""Passes that begin at a place, from what was kept of each image, against whole ones."""

import pytest
import torch
from test_prefix import Concatenating, Residual, counted
from torch import nn

from pure_cli.core.circuits import Circuits, activations
from pure_cli.core.hooks import hooked
from pure_cli.core.stem import stem_of


@pytest.fixture
def pixels():
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def kept_rows(model, stem, images):
    found = {}
    with hooked(model, stem.hooks(found)), torch.no_grad():
        model(images)
    return stem.rows(found)


def residual():
    torch.manual_seed(0)
    return Residual().eval().requires_grad_(False)


@pytest.mark.parametrize("place", ["block", "block.second", "block.first.1"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_other_images_pass_from_a_place_as_they_do_as_a_whole(pixels, place, layout):
    model, pixels = residual().to(memory_format=layout), pixels.to(memory_format=layout)
    stem = stem_of(model, pixels[:2], [place], "last")
    rows = kept_rows(model, stem, pixels)
    assert rows.shape == (5, stem.width)

    counts = counted(model)
    with stem.given(model, rows[[3, 1, 4]]) as unknown:
        found = activations(model, unknown, ["last"])["last"]
        assert counts["stem"] == 0 and unknown.shape == (3, 3, 8, 8)
    torch.testing.assert_close(found, model(pixels)[[3, 1, 4]])
    assert counts["stem"] == 1, "the network is as it was"


def test_relevances_from_a_place_are_those_of_whole_passes(pixels):
    model, lower = residual(), ["block.second", "block.first"]
    stem = stem_of(model, pixels[:2], lower, "last")
    which = torch.tensor([0, 3, 1, 2, 2])
    with stem.given(model, kept_rows(model, stem, pixels)) as unknown:
        found = Circuits(model, unknown, "last", lower).relevance(which)
    expected = Circuits(model, pixels, "last", lower).relevance(which)
    for name in lower:
        torch.testing.assert_close(found[name], expected[name])


def test_the_first_place_that_a_pass_reaches_is_where_it_begins(pixels):
    model = residual()
    assert stem_of(model, pixels[:2], ["block.second", "block.first"], "last") == stem_of(
        model, pixels[:2], ["block.first"], "last"
    )


def test_what_is_changed_in_place_behind_has_memory_of_its_own(pixels):
    assert stem_of(residual(), pixels[:2], ["block"], "last").in_place


def test_nothing_is_kept_where_what_comes_before_is_used_again(pixels):
    model = Concatenating().eval()
    assert stem_of(model, pixels[:2], ["relu"], "last") is None


def test_only_what_is_needed_is_kept(pixels):
    parts = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)]
    model = nn.Sequential(*parts).eval().requires_grad_(False)
    stem = stem_of(model, pixels[:2], ["3"], "4")
    assert set(stem.others) == {"0", "1", "2"} and set(stem.kept) == {"3"} and not stem.in_place
