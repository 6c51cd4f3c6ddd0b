import subprocess
import sys

import pytest
import torch

from pure_cli.core.memory import is_out_of_memory

FREED = """
import ctypes, sys
from pure_cli.core.memory import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 256 << 20  # bytes
block = libc.malloc(size)
ctypes.memset(block, 1, size)
libc.free(block)
print(int(open("/proc/self/statm").read().split()[1]) * 4096 // size)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="for glibc")
def test_freed_memory_stays_with_the_process_only_when_asked():
    for how, blocks in (("keep", "1"), ("leave", "0")):
        found = subprocess.run([sys.executable, "-c", FREED, how], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == blocks


def test_another_c_library_is_left_alone(monkeypatch):
    import ctypes

    from pure_cli.core.memory import keep_memory

    for error in (AttributeError, OSError, TypeError):

        def none(_, error=error):
            raise error

        monkeypatch.setattr(ctypes, "CDLL", none)
        assert keep_memory() is False


def test_a_lack_of_memory_is_known_in_all_the_ways_in_which_torch_says_it():
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(1 << 60)
    for error in (of_torch.value, torch.OutOfMemoryError("no"), MemoryError(), RuntimeError("CUDA out of memory.")):
        assert is_out_of_memory(error)
    for other in (RuntimeError("shapes do not fit"), ValueError("out of memory"), KeyError("x")):
        assert not is_out_of_memory(other)
