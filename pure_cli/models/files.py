"""The Python files of models: imported as programs are, with what lies beside them."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pure_cli.errors import PureError, first_line, unknown
from pure_cli.models.spec import ModelSpec


@contextmanager
def neighbours(spec: ModelSpec) -> Iterator[None]:
    """A context in which modules beside a model's file, and packages that it is in, come first when one is imported.

    Afterwards they come last, for what a network imports only when it runs.
    """
    assert spec.file is not None
    folders = list(dict.fromkeys([str(spec.file.parent), str(_root(spec.file))]))
    _forget_others(spec.file.parent)
    before = list(sys.path)
    sys.path[:0] = folders
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(folder)
        sys.path += [folder for folder in folders if folder not in before]


def import_file(spec: ModelSpec) -> ModuleType:
    """The module of a model's file, run anew; within `neighbours`.

    Raises
    ------
    PureError
        It fails.
    """
    assert spec.file is not None
    package = ".".join(spec.file.parent.relative_to(_root(spec.file)).parts)
    name = f"{package}.pure_model_{spec.file.stem}".lstrip(".")  # in its package, for relative imports
    description = importlib.util.spec_from_file_location(name, spec.file)
    if description is None or description.loader is None:
        raise PureError(f"{spec.file} cannot be imported.")
    module = importlib.util.module_from_spec(description)
    sys.modules[name] = module
    try:
        description.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise PureError(f"{spec.file} cannot be imported: {type(error).__name__}: {first_line(error)}.") from error
    return module


def function_in(module: ModuleType, spec: ModelSpec) -> Any:
    """What the spec names in a file, which can be called.

    Raises
    ------
    PureError
        There is none of that name, or it cannot be called.
    """
    found = getattr(module, spec.name, None)
    if callable(found):
        return found
    made_here = [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]
    if not hasattr(module, spec.name):
        raise unknown(f"function in {spec.file}", spec.name, made_here)
    there = f" Functions there: {', '.join(made_here)}." if made_here else ""
    raise PureError(f"'{spec.name}' in {spec.file} is no function, but of type {type(found).__name__}.{there}")


def _root(file: Path) -> Path:
    """The folder in which the outermost package of a file lies; its own where it is in none."""
    folder = file.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier() and folder != folder.parent:
        folder = folder.parent
    return folder


_folders: set[Path] = set()  # of model files, in this process


def _forget_others(folder: Path) -> None:
    """Two model files may each have a neighbour of one name: that of another folder is no longer meant by it."""
    others = tuple(f"{other}{os.sep}" for other in _folders if other != folder)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if not file.startswith(others) or folder in Path(file).parents:
            continue
        top = name.partition(".")[0]
        beside = any(file.startswith((f"{other}{top}{os.sep}", f"{other}{top}.py")) for other in others)
        if beside and any(place.exists() for place in (folder / f"{top}.py", folder / top)):
            del sys.modules[name]
    _folders.add(folder)
