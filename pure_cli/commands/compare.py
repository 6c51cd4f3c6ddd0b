"""pure compare"""

from typing import Annotated

import typer

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session, escaped
from pure_cli.words import counted

SHOWN = 20  # rows of a long table, without --verbose


def compare(
    session: Session,
    workspace: Annotated[
        str,
        typer.Argument(
            metavar="A", show_default=False, help="The workspace whose units are matched, and that keeps the result."
        ),
    ],
) -> None:
    """Match the units of two workspaces: checkpoints, models or layers, on the same images.

    For each neuron and virtual neuron the most similar one there, what has no match by chance's measure, one-to-one
    pairs, and neurons whose virtual neurons match different neurons. Tables, CSV and figures.

    Example: pure compare resnet20 resnet32 --layer layer3
    """
    outcome = session.do("compare")
    tables = outcome.details["tables"]
    for table in tables if session.verbose else [one for one in tables if one["verdict"]]:
        session.show(table if session.verbose else {**table, "rows": table["rows"][:SHOWN]})
    session.report(outcome, f"{counted(outcome.computed, 'comparison')} of {escaped(', '.join(outcome.layers))}")
    for folder in outcome.details["folders"]:
        session.say(f"  all matches and figures in {escaped(folder)}")


COMMAND = Command(compare, order=97, panel=BEYOND, settings="pure_cli.settings.compare:CompareSettings")
