"""The command line: names the subcommands, nothing else."""

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from pure_cli import __version__
from pure_cli.commands.attribute import attribute
from pure_cli.commands.calibrate import calibrate
from pure_cli.commands.cluster import cluster
from pure_cli.commands.collect import collect
from pure_cli.commands.demo import demo
from pure_cli.commands.directions import directions
from pure_cli.commands.embed import embed
from pure_cli.commands.evaluate import evaluate
from pure_cli.commands.info import info
from pure_cli.commands.render import render
from pure_cli.commands.run import run
from pure_cli.commands.usage import Command, Commands

app = typer.Typer(
    name="pure",
    help="Find out what a neuron of a vision model responds to: split it into virtual neurons (PURE).",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = {  # in the order of work
    "First": (demo,),
    "Stages, one after the other": (collect, attribute, embed, cluster, evaluate, render),
    "All of it": (run, info),
    "Beyond the paper": (calibrate, directions),
}
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(cls=Command, rich_help_panel=panel)(command)


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
