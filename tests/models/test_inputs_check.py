"""Inputs that no network can have been trained on are told."""

import pytest
import torch

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.errors import PureError
from pure_cli.models.inputs_check import odd_inputs


@pytest.fixture
def photos():
    return [
        torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(i))
        for i in (0, 1)
    ]


SOUND = [
    {},
    {"mean": (0.5,) * 3, "std": (0.5,) * 3},
    {"mean": (0.0,) * 3, "std": (1.0,) * 3},
    {"mean": (0.485, 0.458, 0.408), "std": (1 / 255,) * 3},
    {"mean": (0.1307,) * 3, "std": (0.3081,) * 3},
]


@pytest.mark.parametrize("values", SOUND)
def test_usual_inputs_pass(values, photos):
    assert list(odd_inputs(Preprocessing(**values), photos)) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mean": (0.229, 0.224, 0.225), "std": (0.485, 0.456, 0.406)}, "look swapped"),
        ({"std": (0.02, 0.02, 0.02)}, "lie between"),
    ],
)
def test_odd_inputs_are_told(values, said, photos):
    (found,) = odd_inputs(Preprocessing(**values), photos)
    assert said in found


def test_pixels_divided_twice_are_told(photos):
    (found,) = odd_inputs(Preprocessing(), [photo // 255 for photo in photos])
    assert "divided by 255 twice" in found


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"mean": (123.675, 116.28, 103.53)}, "--mean 0.485,0.456,0.406"),
        ({"std": (58.395, 57.12, 57.375)}, "--std 0.229,0.224,0.225"),
    ],
)
def test_a_scale_of_255_is_refused_with_the_value_to_use(values, advice):
    with pytest.raises(PureError) as error:
        Preprocessing(**values)
    assert advice in str(error.value)
