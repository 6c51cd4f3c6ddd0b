"""Imports that leave out what takes long and is not used."""

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"
UTILITIES = f"{COMPILER}.utils"


@contextmanager
def compiler_later() -> Iterator[None]:
    """A context in which torchvision and timm are imported without torch's compiler.

    They name two of its functions, and it takes longer to import than both of them and torch together. What they keep
    of it loads it as soon as it is called or looked at.
    """
    if COMPILER in sys.modules:
        yield
        return
    sys.modules[COMPILER] = _Later(COMPILER, disable=_disable)
    sys.modules[UTILITIES] = _Later(UTILITIES, is_compile_supported=_is_compile_supported)
    try:
        yield
    finally:
        _remove()


class _Later(ModuleType):
    """Stands for a module until something of it is wanted that is not given here."""

    def __init__(self, name: str, **given: Callable[..., Any]):
        super().__init__(name)
        self.__path__: list[str] = []
        self.__dict__.update(given)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # import itself looks for these
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


def _real(name: str) -> ModuleType:
    _remove()
    return importlib.import_module(name)


def _remove() -> None:
    for name in (COMPILER, UTILITIES):
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]


def _is_compile_supported(device_type: Any) -> Any:
    return _real(UTILITIES).is_compile_supported(device_type)


def _disable(fn: Any = None, recursive: bool = True, **how: Any) -> Any:
    """As torch's, which a function gets when it is first called; the mark tells the compiler to leave it alone."""
    if not callable(fn) or isinstance(fn, type) or not recursive:
        return _real(COMPILER).disable(fn, recursive, **how)

    @functools.cache
    def disabled() -> Any:
        return _real(COMPILER).disable(fn, recursive, **how)

    @functools.wraps(fn)
    def call(*values: Any, **named: Any) -> Any:
        return disabled()(*values, **named)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]
    return call
