"""Many small tensors in one copy."""

import numpy as np
import pytest
import torch

from pure_cli.core.transfer import on_host


def test_each_comes_back_with_its_values_shape_and_type():
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(3, 4, generator=generator).T,  # not contiguous
        torch.arange(5),
        torch.tensor([True, False, True]),
        torch.randn(2, 1, 3, generator=generator, dtype=torch.float64, requires_grad=True),
        torch.zeros(0, 7),
        torch.tensor(2.5),
    ]
    found = on_host(tensors)
    for array, tensor in zip(found, tensors, strict=True):
        expected = tensor.detach().numpy()
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(array, expected)


def test_there_is_one_copy(monkeypatch):
    copies, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: copies.append(1) or cpu(self))
    on_host([torch.ones(2), torch.ones(3), torch.ones(4, dtype=torch.int64)])
    assert copies == [1]
    assert on_host([]) == []


def test_types_that_numpy_lacks_are_refused():
    with pytest.raises(TypeError, match="BFloat16"):
        on_host([torch.ones(2, dtype=torch.bfloat16)])
