"""Parameters of a command, as typer wants them: the options that its settings declare, and those that all have."""

from collections.abc import Callable, Iterator
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pure_cli.settings.option import Option
    from pure_cli.settings.shared import Options

HABITS = "Everywhere"  # the panel of the options that all commands have
NUMBERS = (int, float)


def habits() -> Iterator[Parameter]:
    """The options that all commands have."""
    yield _parameter(
        "workspace", str | None, None, "--workspace", "-w", metavar="DIR", rich_help_panel=HABITS, path_type=str,
        help="Folder of the results, or a URL. [env PURE_WORKSPACE; default: ./pure-workspace]",
    )  # fmt: skip
    yield _parameter(
        "config", Path | None, None, "--config", "-c", metavar="FILE", rich_help_panel=HABITS,
        help="YAML file of options; what is on the command line wins.",
    )  # fmt: skip
    yield _parameter(
        "as_json", bool, False, "--json", rich_help_panel=HABITS,
        help="One JSON object on standard output, all else on standard error.",
    )  # fmt: skip
    yield _parameter("quiet", bool, False, "--quiet", "-q", rich_help_panel=HABITS, help="Errors and warnings only.")
    yield _parameter(
        "verbose", bool, False, "--verbose", "-v", rich_help_panel=HABITS, help="Say more about what was done."
    )
    yield _parameter("debug", bool, False, "--debug", rich_help_panel=HABITS, help="Show the traceback of an error.")


def declared(settings: "type[Options]") -> Iterator[Parameter]:
    """The options of some settings; what is not said on the command line is None."""
    from pure_cli.settings.option import options_of

    for option in options_of(settings):
        kind = _kind(option)
        if option.argument:
            info: Any = typer.Argument(metavar=option.metavar, show_default=False, help=option.help)
        else:
            info = typer.Option(
                *option.flags,
                metavar=option.metavar,
                rich_help_panel=option.panel,
                help=option.described,
                path_type=str if option.is_place else None,
                autocompletion=_completes(option.choices) if option.choices else None,
            )
        yield Parameter(option.name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, info])


def is_argument(parameter: Parameter) -> bool:
    """It stands on the command line without a name."""
    return any(isinstance(one, typer.models.ArgumentInfo) for one in getattr(parameter.annotation, "__metadata__", ()))


def _kind(option: "Option") -> Any:
    """The type of an option on the command line: text, but for switches and numbers."""
    if option.switch:
        return bool
    if option.repeats:
        return list[str]
    (kind, *more) = option.parts
    return kind if not more and kind in (*NUMBERS, Path) else str


def _completes(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def _parameter(name: str, kind: Any, default: Any, *flags: str, **info: Any) -> Parameter:
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, typer.Option(*flags, **info)]
    )
