"""Pickles that hold data alone: what would run code is refused before it does."""

import pickle
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # how bytes are written for an old version of the format
    ("collections", "OrderedDict"),
}


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which data has no need of")
        return super().find_class(module, name)


def load_plain(file: BinaryIO) -> Any:
    """Read a pickle of numbers, texts, containers and NumPy arrays; also one of Python 2.

    Raises
    ------
    pickle.UnpicklingError
        It would call something else.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, on how old versions of it wrote arrays
        return _Plain(file, encoding="latin1").load()
