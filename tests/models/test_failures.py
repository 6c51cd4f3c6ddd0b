"""Errors of models that fail say where, and advise only what helps."""

import pytest
import torch
from torch import nn

from pure_cli.errors import PureError
from pure_cli.models.layers import list_layers


class Two(nn.Conv2d):
    def forward(self, x, age, *, place=None):
        return super().forward(x)


class Raises(nn.Module):
    def forward(self, x):
        raise ValueError("no such thing")


class Fixed(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size, self.conv = size, nn.Conv2d(3, 4, 3)

    def forward(self, x):
        assert x.shape[-1] == self.size, "wrong size"
        return self.conv(x)


def told(model: nn.Module) -> str:
    with pytest.raises(PureError) as caught:
        list_layers(model.eval(), torch.zeros(1, 3, 40, 40))
    return str(caught.value)


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_a_network_of_other_channels_is_told_so(channels):
    text = told(nn.Sequential(nn.Sequential(nn.Conv2d(channels, 8, 3)), nn.ReLU()))
    assert "in its module '0.0'" in text and f"takes images of {channels} channel" in text and "wraps" in text
    assert "--crop-size" not in text


def test_a_second_input_is_named():
    text = told(Two(3, 4, 3))
    assert "needs 'age' beside the image" in text and "wraps" in text and "--crop-size" not in text


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 2)), 32),
        (nn.Sequential(nn.Conv2d(3, 4, 50)), 224),
        (Fixed(64), 64),
    ],
)
def test_a_size_that_would_run_is_found(model, size):
    assert f"runs on {size} × {size} pixels: --resize {size} --crop-size {size}." in told(model)


def test_other_failures_name_the_module_and_no_option():
    text = told(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), Raises())))
    assert "in its module '1.1': ValueError: no such thing" in text and "size" not in text


def test_a_part_that_is_deep_inside_is_named_by_its_own_name():
    text = told(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(5, 4, 3))))
    assert "in its module '1.0'" in text and "takes images" not in text


class Cast(nn.Module):
    """Weights in float32, as pure has them, and a forward that casts."""

    def __init__(self, dtype, *layers):
        super().__init__()
        self.dtype, self.inner = dtype, nn.Sequential(*layers)

    def forward(self, x):
        return self.inner(x.to(self.dtype)).float()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "layers", [[nn.Conv2d(3, 4, 3)], [nn.Flatten(), nn.Linear(4800, 4)], [nn.LayerNorm(40), nn.Conv2d(3, 4, 3)]]
)
def test_a_cast_to_another_precision_is_told(dtype, layers):
    text = told(Cast(dtype, *layers))
    assert "in its module 'inner." in text and "float32" in text and "leave out .half()" in text
