"""Copies between the memory of a device and that of the processor, few and large: each one makes both wait."""

from collections.abc import Sequence

import numpy as np
import torch


def on_host(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """Tensors of one device as arrays, in a single copy.

    Parameters
    ----------
    tensors : of any shapes and numpy's types

    Returns
    -------
    list of np.ndarray
        One for each, of its shape and type.
    """
    if not tensors:
        return []
    one = torch.cat([tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in tensors]).cpu().numpy()
    sizes = [tensor.numel() * tensor.element_size() for tensor in tensors]
    parts = np.split(one, np.cumsum(sizes)[:-1])
    types = [torch.empty(0, dtype=tensor.dtype).numpy().dtype for tensor in tensors]
    return [
        part.view(dtype).reshape(tuple(tensor.shape)) for part, dtype, tensor in zip(parts, types, tensors, strict=True)
    ]
