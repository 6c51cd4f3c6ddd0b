"""The commands as typer calls them: each is made when it is called, and wrong usage is told as JSON where asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from pure_cli.commands.command import Command
from pure_cli.commands.common import print_error

JSON = "--json"
SETTINGS: Any = {"help_option_names": ["-h", "--help"]}
ANY_OPTIONS = {"ignore_unknown_options": True, "allow_extra_args": True}
MARKUP: Any = "markdown"


@contextmanager
def _told(json: bool) -> Iterator[None]:
    """A context in which wrong usage is told as JSON too."""
    try:
        yield
    except Exception as error:
        if json and hasattr(error, "format_message"):  # click's, or typer's own copy of it
            print_error(error.format_message(), getattr(error, "exit_code", 2))
        raise


class OneCommand(TyperCommand):
    """A command."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        with _told(JSON in args):
            return super().make_context(info_name, args, parent, **extra)


def whole(name: str, command: Command) -> TyperCommand:
    """A command with all of its options, as typer makes it."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=MARKUP)
    more = ANY_OPTIONS if command.any_options else {}
    app.command(name, cls=OneCommand, context_settings={**SETTINGS, **more})(command.callback())
    made: Any = typer.main.get_command(app)
    return made


def listed(command: Command) -> Callable[[], None]:
    """A function with the docstring of a command and without its options, for the list of commands."""

    def listing() -> None:
        raise NotImplementedError

    listing.__doc__ = command.run.__doc__
    return listing


class Commands(TyperGroup):
    """All commands; those that are not called have no options."""

    known: ClassVar[dict[str, Command]] = {}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        with _told(JSON in args):
            name, command, rest = super().resolve_command(ctx, args)
        return name, whole(name, self.known[name]) if name in self.known else command, rest
