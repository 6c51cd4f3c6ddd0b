"""How an option is declared: once, as a field of a stage's settings.

The command line, the keys of config files, the methods of Python with their docstrings, and the reference in the docs
are made from it.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field
from pydantic_core import PydanticUndefined

RUNNING = "How to run"  # the panel of what changes how fast a result comes, and not the result
PLACE = "Path | str"  # type in Python of what is a path, or a URL
_OPTION = "option"
_NAMES = {bool: "bool", int: "int", float: "float", str: "str", Path: PLACE}


@dataclass(frozen=True)
class Option:
    """What an option is, beside its type.

    Attributes
    ----------
    name : of the setting
    kind : type of the setting
    default : None where that depends on other things
    required : nothing holds where nothing is said
    help : a sentence or two
    flags : on the command line, the one that messages name first
    metavar : what stands for its value there
    panel : of the help
    otherwise : what holds where nothing is said, where `default` does not say it
    argument : it stands on the command line without a name
    python : type in Python, where it takes more than its own
    values : some that it may have, for completion
    listed : what there is to choose from of what files and other packages declare, for the help
    """

    name: str
    kind: Any
    default: Any
    required: bool
    help: str
    flags: tuple[str, ...]
    metavar: str | None
    panel: str | None
    otherwise: str
    argument: bool
    python: str
    values: Iterable[str]
    listed: str

    @property
    def called(self) -> str:
        """The option in a message."""
        return " or ".join(self.choices) if self.argument else self.flags[0].partition("/")[0]

    @property
    def parts(self) -> list[Any]:
        """The types that it may have, None left out."""
        kinds = get_args(self.kind) if get_origin(self.kind) in (Union, types.UnionType) else (self.kind,)
        plain = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds]
        return [kind for kind in plain if kind is not type(None)]

    @property
    def is_place(self) -> bool:
        """It is a path or a URL, and a text, since a `Path` would make one slash of two."""
        return self.python == PLACE

    @property
    def repeats(self) -> bool:
        """Several values can be given."""
        return get_origin(self.parts[0]) is list

    @property
    def switch(self) -> bool:
        return self.parts == [bool]

    @property
    def choices(self) -> tuple[str, ...]:
        """Values that it may have."""
        return get_args(self.parts[0]) if get_origin(self.parts[0]) is Literal else tuple(self.values)

    @property
    def described(self) -> str:
        """The help with what there is to choose from, and what holds where nothing is said."""
        return " ".join(filter(None, [self.help, self.listed, self.usual]))

    @property
    def usual(self) -> str:
        """What holds where nothing is said, in words."""
        usual = self.otherwise or _as_said(self.default)
        return f"[default: {usual}]" if usual else ""

    @property
    def accepts(self) -> str:
        """The type in Python, as a signature says it."""
        return self.python or " | ".join(_as_python(kind) for kind in self.parts)


def option(
    default: Any,
    help: str,
    *flags: str,
    metavar: str | None = None,
    panel: str | None = None,
    otherwise: str = "",
    argument: bool = False,
    python: str = "",
    values: Iterable[str] = (),
    listed: str = "",
    **checks: Any,
) -> Any:
    """Declare a field of settings; see `Option`, and for `checks` pydantic's ``Field``. Default ... means: needed."""
    more: Any = {
        _OPTION: {
            "flags": flags, "metavar": metavar, "panel": panel, "otherwise": otherwise, "argument": argument,
            "python": python, "values": values, "listed": listed,
        }
    }  # fmt: skip
    return Field(default, description=help, json_schema_extra=more, **checks)


def options_of(settings: type[BaseModel]) -> Iterator[Option]:
    """The options of some settings: what is asked for first, then how to run."""
    found = []
    for name, field in settings.model_fields.items():
        more: Any = field.json_schema_extra
        declared = dict(more[_OPTION])
        dashed = "--" + name.replace("_", "-")
        usual = None if field.default is PydanticUndefined else field.default
        flags = declared.pop("flags") or ((f"{dashed}/--no-{dashed[2:]}",) if usual is True else (dashed,))
        text = field.description or ""
        found.append(Option(name, field.annotation, usual, field.is_required(), text, flags, **declared))
    yield from sorted(found, key=lambda one: (one.panel == RUNNING, not one.argument, not one.required))


def _as_said(value: Any) -> str:
    """A default in words; "" for what is off."""
    if value is None or value is False or value == []:
        return ""
    if value is True:
        return "on"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _as_python(kind: Any) -> str:
    """A type as a signature says it: one value stands for a list of one, and paths are texts, too."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is list:
        (inner,) = get_args(kind)
        return f"{_as_python(inner)} | Sequence[{_as_python(inner)}]"
    if get_origin(kind) is Literal:
        return f"Literal[{', '.join(map(json.dumps, get_args(kind)))}]"
    if get_origin(kind) in (Union, types.UnionType):
        return " | ".join(_as_python(part) for part in get_args(kind))
    if get_origin(kind) is tuple:
        return f"Sequence[{_as_python(get_args(kind)[0])}]"
    return _NAMES[kind]
