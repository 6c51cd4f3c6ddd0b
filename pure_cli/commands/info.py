"""pure info"""

from typing import Annotated

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import WHOLE, Command
from pure_cli.commands.common import Session, escaped, print_json, reports_errors


@reports_errors
def info(
    damaged: Annotated[bool, typer.Option("--damaged", help="List the images that could not be read.")] = False,
    verify: opt.Verify = None,
    workspace: opt.WorkspaceDir = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Show what the workspace holds, and what of it is stale and why.

    Example: pure info
    """
    from rich.table import Table

    session = Session(locals())
    found = session.workspace.info(bool(verify))
    if as_json:
        print_json(found)
        return
    origin = found["origin"]
    session.say(f"[bold]Workspace[/] {escaped(found['workspace'])}")
    if origin:
        session.say(f"  model    {escaped(origin['model'])}")
        session.say(f"  weights  {escaped(origin['weights'] or 'of the model itself')}")
        limit = f" (limit {origin['limit']:,})" if origin["limit"] else ""
        session.say(f"  images   {escaped(origin['data'])}: {origin['images']:,}{limit}")
        if verbose:
            session.say(f"  seen as  {escaped(str(origin['preprocessing']))}")
        if found["damaged"]:
            session.say(f"  damaged  {len(found['damaged'])} images could not be read (--damaged lists them)")
    for name, size in found["files"].items():
        unread = "  (not read as a whole; --verify does)" if name in found["unchecked"] else ""
        session.say(f"  {name + '.h5':<14} {size / 1e6:,.1f} MB{unread}")
    if found["results"]:
        table = Table("stage", "layer", "holds", "status", box=None, header_style="bold", padding=(0, 2, 0, 0))
        for result in found["results"]:
            colour = "green" if result["stale"] is None else "red"
            cells = [escaped(result[key]) for key in ("stage", "layer", "what")]
            table.add_row(*cells, f"[{colour}]{escaped(result['status'])}[/]")
        session.show(table)
    else:
        session.say("It holds no results yet. `pure collect` comes first.")
    for name in found["unfinished"]:
        session.say(f"  unfinished work of {escaped(name.partition('-')[0])}: the same command goes on from there")
    for sentence in [*found["notes"], *found["problems"]]:
        session.note(sentence)
    if damaged:
        for _, path, reason in found["damaged"]:
            session.say(f"{escaped(path)}: {escaped(reason)}")


COMMAND = Command(info, order=80, panel=WHOLE)
