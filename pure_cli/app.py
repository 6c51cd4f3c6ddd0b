"""The command line: the subcommands that there are (`pure_cli.commands`), nothing else."""

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from pure_cli import __version__
from pure_cli.commands.command import Command
from pure_cli.commands.common import Session
from pure_cli.commands.usage import MARKUP, SETTINGS, Commands, listed
from pure_cli.errors import PureError
from pure_cli.registry import COMMANDS

app = typer.Typer(
    name="pure",
    help="Find out what a neuron of a vision model responds to: split it into virtual neurons (PURE).",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
    context_settings=SETTINGS,
)


def _command(name: str) -> Command:
    """A subcommand; one that cannot be loaded says so when it is called, and leaves the others alone."""
    try:
        return COMMANDS[name]
    except PureError as error:
        refusal = error

    def refuse(session: Session) -> None:
        raise refusal

    refuse.__doc__ = str(refusal)
    return Command(refuse, any_options=True)


for _name, _found in sorted(((name, _command(name)) for name in COMMANDS), key=lambda item: (item[1].order, item[0])):
    Commands.known[_name] = _found
    app.command(_name, rich_help_panel=_found.panel)(listed(_found))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"pure {__version__}")
        raise typer.Exit


@app.callback()
def _pure(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The console script."""
    if sys.stdout is None or sys.stderr is None:  # closed by whoever started it
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 (for as long as the process lives)
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for a terminal that knows no ✓
    app()
