"""The methods of `Workspace` that do a stage each, made from the declarations of the stages and their options.

``methods.pyi`` beside this file says the same to editors and type checkers, which run nothing; ``make stubs``
writes it.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pure_cli import config
from pure_cli.registry import STAGES
from pure_cli.settings.option import Option, options_of
from pure_cli.settings.shared import Options

if TYPE_CHECKING:
    from pure_cli.stages.outcome import Outcome

Progress = bool | Callable[[int, int], None]
PROGRESS = "bool | Callable[[int, int], None]"
TELLS = "progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done, total)"
WIDTH = 108  # characters
RAISES = "Raises\n------\nPureError\n    What is asked for cannot be: a sentence says why, and what to do."


class StageMethods:
    """A method for each stage."""

    def do(self, stage: str, options: dict[str, Any], progress: Progress = True) -> Outcome:
        """Do a stage, by its name."""
        raise NotImplementedError


def parameters_of(settings: type[Options]) -> Iterator[inspect.Parameter]:
    """The options of some settings as parameters, with types as text."""
    for option in options_of(settings):
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if option.argument else inspect.Parameter.KEYWORD_ONLY
        if option.required and not option.otherwise:
            yield inspect.Parameter(option.name, kind, annotation=option.accepts)
            continue
        nothing = option.default is None or isinstance(option.default, list)
        type_ = f"{option.accepts} | None" if nothing else option.accepts
        yield inspect.Parameter(option.name, kind, default=None if nothing else option.default, annotation=type_)


def signature_of(settings: type[Options], returns: str, *more: inspect.Parameter) -> inspect.Signature:
    """Of a method that takes these options, and more."""
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature([own, *parameters_of(settings), *more], return_annotation=returns)


def docstring_of(settings: type[Options], *more: str, listing: bool = True) -> str:
    """What settings are for and what each option is, in NumPy's form.

    Parameters
    ----------
    more : lines of further parameters, then further sections
    listing : with what registries hold, which may differ from here to there
    """
    lines = [line for line in more if "\n" not in line]
    sections = [text for text in more if "\n" in text]
    described = [f"{option.name} : {_in_python(option, listing)}" for option in options_of(settings)]
    wrapped = [textwrap.fill(line, WIDTH, subsequent_indent="    ") for line in [*described, *lines]]
    parameters = "\n".join(["Parameters", "----------", *wrapped])
    return "\n\n".join([inspect.cleandoc(settings.__doc__ or ""), parameters, *sections])


def _in_python(option: Option, listing: bool) -> str:
    """The help of an option, as it is said of a parameter."""
    text = option.described if listing else f"{option.help} {option.usual}".strip()
    text = text.replace("; repeat for several", ", or a list of several")
    return text.replace("Repeat for several.", "One, or a list of several.")


def add_method(cls: type, name: str) -> None:
    """Give a class the method of a stage."""
    stage = STAGES[name]

    def method(self: StageMethods, *given: Any, progress: Progress = True, **options: Any) -> Any:
        positional = [option.name for option in options_of(stage.settings) if option.argument]
        if len(given) > len(positional):
            raise TypeError(
                f"{method.__name__}() takes {len(positional)} positional arguments but {len(given)} were given"
            )
        return self.do(name, {**dict(zip(positional, given, strict=False)), **options}, progress)

    shown = inspect.Parameter("progress", inspect.Parameter.KEYWORD_ONLY, default=True, annotation=PROGRESS)
    called = stage.method or name
    method.__name__, method.__qualname__ = called, f"{cls.__name__}.{called}"
    method.__doc__ = _docstring(name)
    method.__signature__ = signature_of(stage.settings, "Outcome", shown)  # type: ignore[attr-defined]
    setattr(cls, called, method)


def _docstring(name: str, listing: bool = True) -> str:
    """Of the method of a stage."""
    stage = STAGES[name]
    told = textwrap.fill(f"What was done. {stage.returns}", WIDTH, initial_indent="    ", subsequent_indent="    ")
    returns = f"Returns\n-------\nOutcome\n{told.rstrip()}"
    return docstring_of(stage.settings, TELLS, returns, RAISES, listing=listing)


def stub() -> str:
    """What ``methods.pyi`` has to be."""
    lines = [
        '"""The methods of `Workspace` that do a stage each. Written by ``make stubs``."""',
        "",
        "from collections.abc import Callable, Sequence",
        "from os import PathLike",
        "from pathlib import Path",
        "from typing import Any, Literal",
        "",
        "from pure_cli.stages.outcome import Outcome",
        "",
        "class StageMethods:",
        "    def do(",
        f"        self, stage: str, options: dict[str, Any], progress: {PROGRESS} = True",
        "    ) -> Outcome: ...",
    ]
    for name in config.stage_names():
        called = STAGES[name].method or name
        signature = getattr(StageMethods, called).__signature__
        lines.append(f"    def {called}(")
        starred = False
        for parameter in signature.parameters.values():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
                lines.append("        *,")
                starred = True
            text = parameter.name if parameter.name == "self" else f"{parameter.name}: {parameter.annotation}"
            usual = "" if parameter.default is inspect.Parameter.empty else f" = {_literal(parameter.default)}"
            lines.append(f"        {text}{usual},")
        lines.append(f"    ) -> {signature.return_annotation}:")
        lines += [f"        {line}".rstrip() for line in f'"""{_docstring(name, listing=False)}\n"""'.split("\n")]
        lines.append("")
    return "\n".join(lines)


def _literal(value: Any) -> str:
    """A default as Python's formatters write it."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


for _name in config.stage_names():
    add_method(StageMethods, _name)
