"""What an object of Python does, as a hash that changes when that does: for models that are handed over."""

from __future__ import annotations

import dis
import functools
import inspect
import types
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import PurePath
from typing import Any

import numpy as np

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "PIL", "builtins", "pure_cli")  # whose names say what they do
FILLING = ("append", "extend", "insert", "update", "setdefault", "add")  # methods of containers
PLAIN = (str, bytes, int, float, complex, bool, PurePath, type(None), np.generic)


def identity(*values: Any) -> str:
    """Hash of the types, contents and code of some objects, and of what they refer to.

    Functions count by their code, defaults, what they close over and the globals that they name; objects by their
    class, its code where it is not that of a library, and their attributes. Weights of modules do not count. It is the
    same in another process with the same Python.
    """
    described = _Description()
    for value in values:
        described.add(value)
    return described.digest.hexdigest()[:32]


class _Description:
    """A hash that takes in objects, each of them once."""

    def __init__(self) -> None:
        self.digest = sha256()
        self._seen: dict[int, Any] = {}  # the objects too, so that their ids stay theirs

    def add(self, value: Any) -> None:
        if isinstance(value, PLAIN):
            return self._say(f"{type(value).__name__} {value!r}")
        value = _as_written(value)
        if id(value) in self._seen:
            return self._say("again")
        self._seen[id(value)] = value
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, types.CodeType):
            self._code(value)
        elif isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
            self._say(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}")
        elif isinstance(value, functools.partial):
            self._all("partial", (value.func, value.args, value.keywords))
        elif isinstance(value, types.MethodType):
            self._all("method", (value.__func__, value.__self__))
        elif isinstance(value, Mapping):
            self._all("mapping", (part for item in value.items() for part in item))
        elif isinstance(value, set | frozenset):
            self._all("set", sorted(map(repr, value)))
        elif isinstance(value, list | tuple):
            self._all("list", value)
        elif hasattr(value, "grad_fn"):  # a tensor
            if value.grad_fn is not None:
                return self._say("computed")
            values = value.detach().cpu()
            self._array((values.float() if "bfloat16" in str(values.dtype) else values).numpy())
        elif isinstance(value, np.ndarray):
            self._array(value)
        else:
            self._object(value)
        return None

    def _say(self, text: str) -> None:
        self.digest.update(f"{len(text)} {text}".encode(errors="surrogatepass"))

    def _all(self, kind: str, values: Iterable[Any]) -> None:
        values = list(values)
        self._say(f"{kind} {len(values)}")
        for value in values:
            self.add(value)

    def _array(self, array: np.ndarray) -> None:
        self._say(f"{array.dtype} {array.shape}")
        self.digest.update(np.ascontiguousarray(array).tobytes())

    def _function(self, function: types.FunctionType) -> None:
        self._say(f"{function.__module__}.{function.__qualname__}")
        if not _of_library(function):
            named = [function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__]
            cells = [cell.cell_contents for cell in function.__closure__ or ()]
            self._code(function.__code__)
            self._all("function", [function.__defaults__, function.__kwdefaults__, cells, named])

    def _code(self, code: types.CodeType) -> None:
        self._say(f"{code.co_code.hex()} {code.co_names} {code.co_varnames}")
        self._all("code", code.co_consts)

    def _object(self, value: Any) -> None:
        from torch import nn

        for base in type(value).__mro__:
            self._say(f"{base.__module__}.{base.__qualname__}")
            if not _of_library(base):
                methods = [getattr(one, "__func__", one) for _, one in sorted(vars(base).items())]
                self._all("class", [one for one in methods if isinstance(one, types.FunctionType)])
        own = dict(getattr(value, "__dict__", {}))
        if isinstance(value, nn.Module):
            usual = vars(nn.Module()).keys()
            left = usual if _of_library(type(value)) else usual | _made_by_passes(value, own)
            own = {name: one for name, one in own.items() if name not in left} | dict(value.named_children())
        self._all("object", (part for item in own.items() for part in item))


def _as_written(value: Any) -> Any:
    """What torch.compile has made something of."""
    if isinstance(value, types.FunctionType):
        return getattr(value, "_torchdynamo_orig_callable", value)
    return value._orig_mod if type(value).__name__ == "OptimizedModule" else value


def _made_by_passes(module: Any, own: Mapping[str, Any]) -> set[str]:
    """Those attributes of a module that passes set, or the containers among them that passes fill: by the code of its
    forward, of what that calls, and of hooks."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    codes = [hook.__code__ for hook in hooks if isinstance(hook, types.FunctionType)]
    methods = {name: getattr(type(module), name) for name in dir(type(module)) if not name.startswith("__")}
    names = {"forward"}
    while called := names & methods.keys():
        new = [
            code
            for name in called
            if (code := getattr(inspect.unwrap(methods.pop(name)), "__code__", None)) is not None
        ]
        codes += new
        names.update(name for code in new for name in code.co_names)
    found, filled = set(), set()
    for code in codes:
        lines: dict[int, list[dis.Instruction]] = {}
        line = 0
        for step in dis.get_instructions(code):
            line = getattr(step, "line_number", None) or step.starts_line or line
            lines.setdefault(line, []).append(step)
        found |= {step.argval for steps in lines.values() for step in steps if step.opname == "STORE_ATTR"}
        for steps in lines.values():
            if any(step.opname == "STORE_SUBSCR" or step.argval in FILLING for step in steps):
                filled |= {step.argval for step in steps if step.opname.startswith("LOAD_")}
    return found | {name for name in filled & own.keys() if isinstance(own[name], list | dict | set)}


def _of_library(value: Any) -> bool:
    return (value.__module__ or "").partition(".")[0] in LIBRARIES


def _names(code: types.CodeType) -> list[str]:
    """Names of globals that a function's code, and that of functions within it, may look up."""
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return [*code.co_names, *(name for one in inner for name in _names(one))]
