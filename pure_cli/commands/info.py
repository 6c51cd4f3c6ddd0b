"""pure info"""

from typing import Annotated

import typer

from pure_cli.commands.command import WHOLE, Command
from pure_cli.commands.common import Session, escaped, print_json
from pure_cli.views import inventory


def info(
    session: Session,
    damaged: Annotated[bool, typer.Option("--damaged", help="List the images that could not be read.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all images again: does any differ from the collected?")
    ] = False,
) -> None:
    """Show what the workspace holds, and what of it is stale and why.

    Example: pure info
    """
    found = session.workspace.info(verify, channels=session.json)
    if session.json:
        print_json(found)
        return
    origin = found["origin"]
    session.say(f"[bold]Workspace[/] {escaped(found['workspace'])}{inventory.verdict(found['results'])}")
    for line in inventory.heading(found):
        session.say(f"  {escaped(line)}")
    if origin:
        if session.verbose:
            session.say(f"  seen as  {escaped(str(origin['preprocessing']))}")
        if found["damaged"]:
            session.say(f"  damaged  {len(found['damaged'])} images could not be read (--damaged lists them)")
    for name, size in found["files"].items():
        unread = "  (not read as a whole; --verify does)" if name in found["unchecked"] else ""
        session.say(f"  {name + '.h5':<14} {size / 1e6:,.1f} MB{unread}")
    if found["results"]:
        session.show(*inventory.as_table(found["results"]))
    else:
        session.say("It holds no results yet. `pure collect` comes first.")
    for name in found["unfinished"]:
        session.say(f"  unfinished work of {escaped(name.partition('-')[0])}: the same command goes on from there")
    for line in inventory.of_parts(found["parts"]):
        session.say(f"  {escaped(line)}")
    for sentence in [*found["notes"], *found["problems"]]:
        session.note(sentence)
    if damaged:
        for _, path, reason in found["damaged"]:
            session.say(f"{escaped(path)}: {escaped(reason)}")


COMMAND = Command(info, order=80, panel=WHOLE)
