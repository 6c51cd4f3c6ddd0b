"""Wrong usage of the command line, as JSON too where that was asked for. Light: nothing but typer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperCommand, TyperGroup

from pure_cli.commands.common import print_error

JSON = "--json"


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


class Commands(TyperGroup):
    """All commands."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        with _told(JSON in args):
            return super().resolve_command(ctx, args)
