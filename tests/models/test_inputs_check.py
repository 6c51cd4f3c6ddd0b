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
    ("values", "said"),
    [
        ({"mean": (1.0,) * 3, "std": (0.25,) * 3}, "between -4 and 0"),
        ({"mean": (-0.5,) * 3, "std": (0.5,) * 3}, "between 1 and 3"),
        ({"mean": (0.0,) * 3, "std": (1 / 255,) * 3}, "between 0 and 255"),
        ({"mean": (0.406, 0.456, 0.485), "std": (0.225, 0.224, 0.229)}, "--mean 0.485,0.456,0.406 --std 0.229,0.224,"),
        ({"mean": (0.408, 0.458, 0.485), "std": (1.0,) * 3}, "order blue, green, red"),
    ],
)
def test_inputs_of_one_sign_and_channels_in_another_order_are_told(values, said, photos):
    (found,) = odd_inputs(Preprocessing(**values), photos)
    assert said in found


CAFFE = (103.939, 116.779, 123.68)


@pytest.mark.parametrize(
    ("values", "advice", "not_said"),
    [
        ({"mean": (123.675, 116.28, 103.53)}, "--mean 0.485,0.456,0.406.", "--std"),
        ({"std": (58.395, 57.12, 57.375)}, "--std 0.229,0.224,0.225.", "--mean"),
        ({"mean": (127.5,) * 3, "std": (127.5,) * 3}, "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5.", "blue"),
        ({"mean": CAFFE[::-1], "std": (1.0,) * 3}, "--mean 0.485,0.458,0.408 --std 0.00392,0.00392,0.00392.", "blue"),
        ({"mean": CAFFE, "std": (1.0,) * 3}, "--mean 0.485,0.458,0.408 --std 0.00392,0.00392,0.00392, and wrap", "if"),
    ],
)
def test_a_scale_of_255_is_refused_with_the_values_to_use(values, advice, not_said):
    with pytest.raises(PureError) as error:
        Preprocessing(**values)
    assert advice in str(error.value)
    assert not_said not in str(error.value)


def test_following_the_advice_gives_what_was_meant():
    """Caffe's inputs: pixels in 0 to 255 less their mean."""
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    inputs = Preprocessing(mean=(0.485, 0.458, 0.408), std=(0.00392,) * 3).normalize(white)
    torch.testing.assert_close(inputs[0, :, 0, 0], 255 - torch.tensor(CAFFE[::-1]), atol=0.5, rtol=0)
