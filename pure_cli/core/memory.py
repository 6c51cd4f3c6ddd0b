"""Memory that is kept for what comes next, and memory that ran out."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # glibc's numbers for the parameters of mallopt
LARGEST_KEPT = 1 << 30  # bytes; larger blocks come from the system each time
NEVER = (1 << 31) - 1
NO_MEMORY = (
    *("DefaultCPUAllocator", "can't allocate memory", "not enough memory", "out of memory"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
)  # torch says so in a RuntimeError, of many kinds


def keep_memory() -> bool:
    """Have the C library keep freed blocks for the process instead of giving them back to the system.

    A network's layers take and free blocks of the same sizes again and again; taken from the system anew, every page of
    them is cleared first, which costs as much time as the arithmetic. Affects the whole process; it holds on to what it
    needed at most.

    Returns
    -------
    bool
        Whether the C library is one that can be told so (glibc).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or no Unix
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(TRIM_THRESHOLD, NEVER))


def free_memory(device: torch.device) -> int | None:
    """Bytes that a GPU has left for this process, those included that torch holds and does not use; None elsewhere."""
    import torch

    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no more memory, on a device or in the machine."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
