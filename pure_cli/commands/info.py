"""pure info"""

from typing import Annotated, Any

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import WHOLE, Command
from pure_cli.commands.common import Session, escaped, print_json, reports_errors
from pure_cli.words import counted


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
    session = Session(locals())
    found = session.workspace.info(bool(verify))
    if as_json:
        print_json(found)
        return
    origin = found["origin"]
    session.say(f"[bold]Workspace[/] {escaped(found['workspace'])}{_verdict(found['results'])}")
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
        session.show(*_results(found["results"]))
    else:
        session.say("It holds no results yet. `pure collect` comes first.")
    for name in found["unfinished"]:
        session.say(f"  unfinished work of {escaped(name.partition('-')[0])}: the same command goes on from there")
    for sentence in [*found["notes"], *found["problems"]]:
        session.note(sentence)
    if damaged:
        for _, path, reason in found["damaged"]:
            session.say(f"{escaped(path)}: {escaped(reason)}")


def _verdict(results: list[dict[str, Any]]) -> str:
    stale = sum(result["stale"] is not None for result in results)
    if not results:
        return ""
    if not stale:
        return ": all is up to date"
    return f": {stale} of {counted(len(results), 'result')} {'is' if stale == 1 else 'are'} stale"


def _results(results: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """A table of the results, and the colour of each row."""
    names = {"stage": "stage", "layer": "layer", "what": "holds", "status": "status"}
    rows = [{shown: result[key] for key, shown in names.items()} for result in results]
    table = {"title": "", "columns": list(names.values()), "rows": rows, "note": ""}
    return table, ["" if result["stale"] is None else "red" for result in results]


COMMAND = Command(info, order=80, panel=WHOLE)
