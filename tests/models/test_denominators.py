"""What LRP rules divide by is zennit's, to the bit."""

import pytest
import torch
from zennit.core import stabilize

from pure_cli.models.denominators import stabilized


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_is_what_zennit_has_for_all_kinds_of_numbers(dtype):
    drawn = torch.randn(1000, generator=torch.Generator().manual_seed(0)).to(dtype)
    odd = torch.tensor(
        [0.0, -0.0, 1e-6, -1e-6, 1e-38, -1e-38, 1e30, float("inf"), -float("inf"), float("nan")], dtype=dtype
    )
    values = torch.cat([drawn, odd])
    found, expected = stabilized(values), stabilize(values)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
